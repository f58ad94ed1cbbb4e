//! The description of an exported model, which is written beside its tensors.

use lerp_core::ImageShape;
use lerp_train::{Cell, Provenance};
use serde::Serialize;

/// Name and version of the format of `config.json`. In version 1 the sizes of a latent were a table of named sizes.
pub const FORMAT: &str = "lerp model 2";

/// The contents of `config.json`.
#[derive(Debug, Serialize)]
pub struct Config<'a> {
    /// The constant [`FORMAT`].
    pub format: &'static str,
    /// Identifier of the run.
    pub id: &'a str,
    /// Title of the variant, for tables and text.
    pub title: &'a str,
    /// Shape of the images.
    pub image: ImageShape,
    /// Sizes of one latent, for example height, width and channels.
    pub latent: &'a [usize],
    /// Number of features that the classifier reads.
    pub features: usize,
    /// Number of classes of the classifier; `None` if the model has no classifier.
    pub classes: Option<usize>,
    /// Number of training steps.
    pub step: u64,
    /// Configuration of the run.
    pub cell: &'a Cell,
    /// Machine, software versions and data of the run.
    pub provenance: &'a Provenance,
}

/// A tensor of the model, as the model card lists it.
#[derive(Debug)]
pub struct Parameter {
    /// Name of the tensor.
    pub name: String,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// The loss whose gradient updates the tensor in training, in words.
    pub moved_by: String,
}
