//! The errors of this crate.

/// An error while something is timed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number or name in the options is out of range. The string is the message.
    #[error("{0}")]
    BadOption(String),
    /// The variant has no network, so that no model can be built.
    #[error("the variant {0} has no network")]
    NoNetwork(&'static str),
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

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
