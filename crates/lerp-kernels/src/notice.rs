//! Notices: what a user should know although nothing failed, such as that a slower method is used.

use std::sync::{Mutex, OnceLock, PoisonError};

static LISTENER: OnceLock<fn(&str)> = OnceLock::new();
static ISSUED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Sets the function that receives this process's notices. Only the first call has an effect.
pub fn on_notice(listener: fn(&str)) {
    let _ = LISTENER.set(listener);
}

/// Issues a notice, unless the same text was issued before in this process.
pub fn notice(text: &str) {
    let mut issued = ISSUED.lock().unwrap_or_else(PoisonError::into_inner);
    if !issued.iter().any(|before| before == text) {
        issued.push(text.to_owned());
        if let Some(listener) = LISTENER.get() {
            listener(text);
        }
    }
}

/// Returns all notices issued so far in this process.
pub fn noticed() -> Vec<String> {
    ISSUED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
