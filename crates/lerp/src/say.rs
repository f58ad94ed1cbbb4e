//! Output for people. A reader that has gone away (`lerp verify | head`) is no reason to stop, so errors are dropped.

use std::io::Write;

/// Prints a line on standard output.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints the error that ends the program.
pub fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// Prints what a person should know, where standard output may be read by a program.
pub fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}

/// Prints what was done besides, where standard output may be read by a program.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
