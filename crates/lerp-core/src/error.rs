//! The errors of this crate.

/// An error while a model is configured, built or evaluated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variant does not have this hyperparameter, or the network does not have this setting.
    #[error("{variant} has no hyperparameter '{key}'{}; it has: {known}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// The variant or network that was configured.
        variant: String,
        /// The given key.
        key: String,
        /// The valid key closest to it, if one is close.
        nearest: Option<String>,
        /// All valid keys, comma separated.
        known: String,
    },
    /// The value of a hyperparameter has the wrong type or is out of range.
    #[error("{variant}: hyperparameter '{key}' {problem}")]
    BadValue {
        /// The variant or network that was configured.
        variant: String,
        /// The key of the value.
        key: String,
        /// What is wrong with the value, and which values are valid.
        problem: String,
    },
    /// No variant has the given name. The string is the message, as
    /// [`unknown_name_message`](crate::unknown_name_message) makes it.
    #[error("{0}")]
    UnknownVariant(String),
    /// A network is not known, not valid, or does not fit the images. The string is the message.
    #[error("{0}")]
    BadNetwork(String),
    /// A parameter or buffer does not exist in the model, exists twice, or has another shape.
    #[error("parameter '{name}': {problem}")]
    BadParameter {
        /// The parameter's name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// [`Autoencoder::after_step`](crate::Autoencoder::after_step) needs a tensor of this name that the
    /// objectives did not pass to it.
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
