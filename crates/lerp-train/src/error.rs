//! Errors of training and of the run directory.

use std::path::{Path, PathBuf};

use lerp_files::printable;

/// What can go wrong in a run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    File(#[from] lerp_files::Error),
    /// A file that is there but is not what it should be.
    #[error("{} {problem}", printable(&.path.to_string_lossy()))]
    BadFile {
        /// Where.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A run folder that another process is writing.
    #[error("{} is being trained by {by}; wait for it, or choose another folder", printable(&.dir.to_string_lossy()))]
    Busy {
        /// The folder.
        dir: PathBuf,
        /// Who that is.
        by: String,
    },
    /// A run folder that another process has taken over, so that this one must not write in it any more.
    #[error("{} was taken over by {by}, so this process leaves it", printable(&.dir.to_string_lossy()))]
    Lost {
        /// The folder.
        dir: PathBuf,
        /// Who that is.
        by: String,
    },
    /// A cell that cannot be trained.
    #[error("{0}")]
    BadCell(String),
    /// A loss that is no longer a number.
    #[error(
        "{loss} became {value} at step {step} ({samples} samples); lower the learning rate or change the weights of the losses"
    )]
    NotFinite {
        /// The loss.
        loss: String,
        /// Its value, infinite or not a number.
        value: f64,
        /// The step at which it was seen, from 1.
        step: u64,
        /// Samples seen by then.
        samples: u64,
    },
    /// A dataset that panicked while a batch was read.
    #[error("{dataset}: the batch of step {step} cannot be read: the reader panicked: {problem}")]
    Unreadable {
        /// The dataset.
        dataset: String,
        /// The step that needs the batch, from 1.
        step: u64,
        /// What the panic says.
        problem: String,
    },
    /// A variant that breaks a rule of the trait.
    #[error("{variant} does not conform: {problem}")]
    NotConforming {
        /// The variant.
        variant: String,
        /// The rule and how it is broken.
        problem: String,
    },
    /// An error of the shared vocabulary.
    #[error(transparent)]
    Core(#[from] lerp_core::Error),
    /// An error of a dataset.
    #[error(transparent)]
    Data(#[from] lerp_data::Error),
    /// An error of a metric.
    #[error(transparent)]
    Eval(#[from] lerp_eval::Error),
    /// A failure inside the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn bad_file(path: &Path, problem: impl Into<String>) -> Self {
        Self::BadFile { path: path.to_owned(), problem: problem.into() }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
