//! Errors of the shared vocabulary.

/// What can go wrong while a model is configured, built or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A hyperparameter that the variant does not have, or a setting that a network does not have.
    #[error("{variant} has no hyperparameter '{key}'{}; it has: {known}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The variant that was configured.
        variant: String,
        /// The key that was given.
        key: String,
        /// The valid key closest to it, if one is close.
        nearest: Option<String>,
        /// All valid keys, comma separated.
        known: String,
    },
    /// A hyperparameter whose value is of the wrong type or out of range.
    #[error("{variant}: hyperparameter '{key}' {problem}")]
    BadValue {
        /// The variant that was configured.
        variant: String,
        /// The key whose value is wrong.
        key: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A network that cannot be built on these images.
    #[error("{0}")]
    BadNetwork(String),
    /// A parameter or buffer that a model lacks, or whose shape differs.
    #[error("parameter '{name}': {problem}")]
    BadParameter {
        /// The parameter's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A tensor that a model's follow-up to a step wants and its objectives did not leave.
    #[error("the objectives of the step carry no '{0}' for what follows it")]
    NotCarried(String),
    /// A failure inside the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean '{n}'?)"))
}
