//! Errors of datasets.

/// What can go wrong while a dataset is found or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that belongs to no dataset.
    #[error("there is no dataset '{name}'{}; there is: {}", did_you_mean(*.nearest), crate::DATASETS.join(", "))]
    UnknownDataset {
        /// The name that was given.
        name: String,
        /// The dataset whose name is closest to it, if one is close.
        nearest: Option<&'static str>,
    },
    /// A failure inside the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean '{n}'?)"))
}
