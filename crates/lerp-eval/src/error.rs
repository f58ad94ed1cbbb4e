//! Errors of metrics.

/// What can go wrong while a metric is computed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor whose shape does not fit the metric.
    #[error("{what} must be {wanted}, but {given:?} was given")]
    Shape {
        /// The tensor or tensors.
        what: &'static str,
        /// The shape that would be right.
        wanted: String,
        /// The shape that was given.
        given: Vec<usize>,
    },
    /// A number that is out of range.
    #[error("{what} must be {wanted}, but is {given}")]
    Range {
        /// The number's name.
        what: &'static str,
        /// The range.
        wanted: &'static str,
        /// The number.
        given: f64,
    },
    /// NaN or infinity among numbers that a fit needs.
    #[error("{what} must be finite, but row {row} holds NaN or infinity")]
    NotFinite {
        /// The tensor.
        what: &'static str,
        /// The first such row.
        row: usize,
    },
    /// A fit that was asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// A metric of one's own that cannot be taken.
    #[error("the metric '{key}': {problem}")]
    Metric {
        /// Its key.
        key: String,
        /// Why not.
        problem: String,
    },
    /// What a metric of one's own says.
    #[error("{0}")]
    Other(String),
    /// An error of the shared vocabulary.
    #[error(transparent)]
    Core(#[from] lerp_core::Error),
    /// An error of a dataset.
    #[error(transparent)]
    Data(#[from] lerp_data::Error),
    /// A failure inside the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
