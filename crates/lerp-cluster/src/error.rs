//! Errors of Slurm's commands and of the records of submissions.

use std::path::{Path, PathBuf};

use lerp_files::printable;

/// An error of Slurm's commands or of the records of submissions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] lerp_files::Error),
    /// A file of the records has invalid content, or its content cannot be represented.
    #[error("{} {problem}", printable(&.path.to_string_lossy()))]
    BadFile {
        /// Path of the file.
        path: PathBuf,
        /// The problem and its remedy, as the predicate of a sentence about the file.
        problem: String,
    },
    /// This machine does not have one of Slurm's commands.
    #[error("{command} was not found; use a machine that has Slurm's commands")]
    NotFound {
        /// Name of the command.
        command: String,
    },
    /// A command could not be started.
    #[error("{command} cannot be started: {problem}")]
    NotStarted {
        /// Name of the command.
        command: String,
        /// The error of the operating system.
        problem: std::io::Error,
    },
    /// A command ended with an error.
    #[error("{command} refused: {reason}")]
    Refused {
        /// Name of the command.
        command: String,
        /// What the command printed on standard error.
        reason: String,
    },
    /// A command succeeded, but its output has not the expected form.
    #[error("{problem}")]
    BadOutput {
        /// A sentence about the output, which names the command.
        problem: String,
    },
    /// The cluster allows no arrays of jobs.
    #[error("this cluster allows no arrays of jobs (its MaxArraySize or max_array_tasks is 0)")]
    NoArrays,
}

impl Error {
    pub(crate) fn bad_file(path: &Path, problem: impl Into<String>) -> Self {
        Self::BadFile { path: path.to_owned(), problem: problem.into() }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
