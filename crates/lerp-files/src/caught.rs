//! Catches panics of libraries that read files.

use std::{
    cell::Cell,
    panic::{self, UnwindSafe},
    sync::Once,
};

thread_local! {
    /// Whether a panic of this thread is being caught, so that its message is not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which calls a library that may panic on a damaged file, and returns the message of a panic as
/// an error. The message is not printed.
///
/// # Errors
/// Returns the message of the panic if `work` panics.
pub fn caught<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                others(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(work);
    QUIET.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
    })
}

#[cfg(test)]
mod tests {
    use super::caught;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(caught(|| 3), Ok(3));
        let none: Option<u8> = std::hint::black_box(None);
        assert_eq!(caught(|| none.expect("a byte")), Err("a byte".into()));
        let index = std::hint::black_box(7);
        assert!(caught(|| [1, 2][index]).unwrap_err().contains("out of bounds"));
    }
}
