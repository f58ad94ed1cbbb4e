//! The errors of this crate.

/// An error that keeps the comparison from going on. A value beyond its tolerance is no error but a failed
/// [`Check`](crate::Check).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The golden values cannot be read, or lack a value. The string is the message.
    #[error("{0}")]
    Golden(String),
    /// A model or dataset lacks a value that the golden values are compared with.
    #[error("{owner} has no {value}")]
    Missing {
        /// The model or dataset.
        owner: String,
        /// The missing value.
        value: String,
    },
    /// No check has a name that contains the filter.
    #[error("no check's name contains '{0}'; leave the filter out to see the names")]
    NoCheck(String),
    /// An error of [`lerp_core`].
    #[error(transparent)]
    Core(#[from] lerp_core::Error),
    /// An error of a dataset.
    #[error(transparent)]
    Data(#[from] lerp_data::Error),
    /// An error of a metric.
    #[error(transparent)]
    Eval(#[from] lerp_eval::Error),
    /// An error of a training step.
    #[error(transparent)]
    Train(#[from] lerp_train::Error),
    /// An error of the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Returns the error of a value that `owner` lacks.
    pub(crate) fn missing(owner: &str, value: impl Into<String>) -> Self {
        Self::Missing { owner: owner.into(), value: value.into() }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
