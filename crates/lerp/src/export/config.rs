//! What is told of an exported model beside its tensors.

use lerp_core::ImageShape;
use lerp_train::{Cell, Provenance};
use serde::Serialize;

/// The form of [`Config`]; in the first one, latents were named sizes.
pub const FORMAT: &str = "lerp model 2";

/// `config.json`.
#[derive(Debug, Serialize)]
pub struct Config<'a> {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The run's name.
    pub id: &'a str,
    /// The variant's name in text.
    pub title: &'a str,
    /// Shape of the images.
    pub image: ImageShape,
    /// Sizes of a latent.
    pub latent: &'a [usize],
    /// Length of what the classifier sees.
    pub features: usize,
    /// Classes of the classifier; none without one.
    pub classes: Option<usize>,
    /// Steps of the training.
    pub step: u64,
    /// Configuration.
    pub cell: &'a Cell,
    /// Where the run was made.
    pub provenance: &'a Provenance,
}

/// A tensor of the model, for the card.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What moves it in training.
    pub moved_by: String,
}
