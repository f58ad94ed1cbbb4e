//! What a user should know although nothing failed, such as a slower way taken.

use std::sync::{Mutex, OnceLock, PoisonError};

static LISTENER: OnceLock<fn(&str)> = OnceLock::new();
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Names who hears of notices in this process; the first that is named stays.
pub fn on_notice(listener: fn(&str)) {
    let _ = LISTENER.set(listener);
}

/// Gives notice of something, once.
pub fn notice(text: &str) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.iter().any(|before| before == text) {
        said.push(text.to_owned());
        if let Some(listener) = LISTENER.get() {
            listener(text);
        }
    }
}

/// All notices so far.
pub fn noticed() -> Vec<String> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
