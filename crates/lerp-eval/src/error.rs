//! Errors of metrics.

/// An error while a metric is computed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor has the wrong shape.
    #[error("{what} must be {wanted}, but {given:?} was given")]
    Shape {
        /// Name of the tensor or tensors.
        what: &'static str,
        /// Description of the expected shape.
        wanted: String,
        /// The shape that was given.
        given: Vec<usize>,
    },
    /// A number is out of range.
    #[error("{what} must be {wanted}, but is {given}")]
    Range {
        /// Name of the number.
        what: &'static str,
        /// Description of the valid range.
        wanted: &'static str,
        /// The number.
        given: f64,
    },
    /// A tensor holds NaN or infinity.
    #[error("{what} must be finite, but row {row} holds NaN or infinity")]
    NotFinite {
        /// Name of the tensor.
        what: &'static str,
        /// Index of the first such row.
        row: usize,
    },
    /// A computation was stopped on request.
    #[error("stopped on request")]
    Stopped,
    /// A user-defined metric is invalid or failed.
    #[error("the metric '{key}': {problem}")]
    Metric {
        /// Key of the metric.
        key: String,
        /// The problem.
        problem: String,
    },
    /// Any other error of a user-defined metric, with its whole message.
    #[error("{0}")]
    Other(String),
    /// An error of [`lerp_core`].
    #[error(transparent)]
    Core(#[from] lerp_core::Error),
    /// An error of a dataset.
    #[error(transparent)]
    Data(#[from] lerp_data::Error),
    /// An error of the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
