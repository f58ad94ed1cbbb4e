//! Errors of the watcher.

/// An error of the watcher.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is not that of a sweep; the text is a sentence that says what to give instead.
    #[error("{0}")]
    NoSweep(String),
    /// The folder cannot be read.
    #[error("cannot read {folder}: {problem}")]
    Unreadable {
        /// Path of the folder, fit to print.
        folder: String,
        /// The error of the operating system.
        problem: std::io::Error,
    },
    /// The terminal cannot be drawn on.
    #[error("cannot draw on this terminal (--once prints a table): {0}")]
    Terminal(std::io::Error),
    /// The handler of termination signals cannot be installed.
    #[error("cannot catch signals: {0}")]
    Signals(ctrlc::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
