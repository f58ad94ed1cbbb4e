//! Errors of training and of the run directory.

use std::path::{Path, PathBuf};

use lerp_files::printable;

/// An error of training or of the run directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] lerp_files::Error),
    /// A file exists but its content is invalid.
    #[error("{} {problem}", printable(&.path.to_string_lossy()))]
    BadFile {
        /// Path of the file.
        path: PathBuf,
        /// The problem and its remedy, as the predicate of a sentence about the file.
        problem: String,
    },
    /// A run folder is being written by another process.
    #[error("{} is being trained by {by}; wait for it, or choose another folder", printable(&.dir.to_string_lossy()))]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// Description of the other process.
        by: String,
    },
    /// A run folder was taken over by another process, so that this process must not write in it any more.
    #[error("{} was taken over by {by}, so this process leaves it", printable(&.dir.to_string_lossy()))]
    Lost {
        /// The folder.
        dir: PathBuf,
        /// Description of the other process.
        by: String,
    },
    /// A cell is invalid, so that it cannot be trained or measured; the text is the whole message.
    #[error("{0}")]
    BadCell(String),
    /// The content of a file could not be encoded.
    #[error("{} cannot be made: {problem}", printable(.file))]
    Encoding {
        /// Name or path of the file.
        file: String,
        /// Message of the library that encodes it.
        problem: String,
    },
    /// The answers to a task lack an array.
    #[error("the answers have no array '{array}' in {file}")]
    MissingAnswer {
        /// Name of the file without its extension, `decoded` or `latents`.
        file: String,
        /// Name of the array.
        array: String,
    },
    /// A loss or parameter is no longer finite.
    #[error(
        "{loss} became {value} at step {step} ({samples} samples); lower the learning rate or change the weights of the losses"
    )]
    NotFinite {
        /// Name of the loss or parameter.
        loss: String,
        /// Its value, infinite or not a number.
        value: f64,
        /// Step at which it was detected, counted from 1.
        step: u64,
        /// Number of training samples seen by the end of that step, including those of the step itself.
        samples: u64,
    },
    /// A dataset panicked while a batch was read.
    #[error("{dataset}: the batch of step {step} cannot be read: the reader panicked: {problem}")]
    Unreadable {
        /// Name of the dataset.
        dataset: String,
        /// Step that needs the batch, counted from 1.
        step: u64,
        /// Message of the panic.
        problem: String,
    },
    /// A variant breaks a rule of the trait [`lerp_core::Autoencoder`].
    #[error("{variant} does not conform: {problem}")]
    NotConforming {
        /// Name of the variant.
        variant: String,
        /// The rule and how it is broken.
        problem: String,
    },
    /// An error of [`lerp_core`].
    #[error(transparent)]
    Core(#[from] lerp_core::Error),
    /// An error of a dataset.
    #[error(transparent)]
    Data(#[from] lerp_data::Error),
    /// An error of a metric.
    #[error(transparent)]
    Eval(#[from] lerp_eval::Error),
    /// An error of the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn encoding(file: &str, problem: &impl ToString) -> Self {
        Self::Encoding { file: file.to_owned(), problem: problem.to_string() }
    }

    pub(crate) fn bad_file(path: &Path, problem: impl Into<String>) -> Self {
        Self::BadFile { path: path.to_owned(), problem: problem.into() }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
