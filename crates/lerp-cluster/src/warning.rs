//! Warnings that Slurm's commands print although they succeed.

use std::sync::OnceLock;

static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

/// Sets the function that receives the warnings of Slurm's commands. Only the first call has an effect; without one the
/// warnings are dropped.
pub fn on_warning(listener: fn(&str)) {
    let _ = LISTENER.set(listener);
}

/// Passes a warning on to the listener.
pub(crate) fn warn(text: &str) {
    if let Some(listener) = LISTENER.get() {
        listener(text);
    }
}
