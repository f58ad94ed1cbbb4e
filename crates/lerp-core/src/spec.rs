//! What a built model is.

use serde::{Deserialize, Serialize};

use crate::{Architecture, Hyper};

/// Height, width and channels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels: 1 for gray, 3 for colour.
    pub channels: usize,
}

/// What a built model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spec {
    /// The variant's name, such as `acai`.
    pub variant: String,
    /// Shape of its images.
    pub image: ImageShape,
    /// Its encoder and decoder.
    pub network: Architecture,
    /// Shape and features as built.
    pub shape: LatentShape,
    /// Every hyperparameter, as checked and completed.
    pub hyper: Hyper,
}

/// The shape of a model's latents and the length of its features, as it was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatentShape {
    /// Sizes of one latent, without the batch: `[h, w, c]` of the paper's networks, any rank of one's own.
    pub latent: Vec<usize>,
    /// Length of the vector that the single-layer classifier sees.
    pub features: usize,
}

impl LatentShape {
    /// That of a model whose features are its flattened latent.
    pub fn new(latent: impl Into<Vec<usize>>) -> Self {
        let latent = latent.into();
        let features = latent.iter().product();
        Self { latent, features }
    }

    /// Numbers in one latent; the largest number there is where a record claims more.
    pub fn dims(&self) -> usize {
        self.latent.iter().fold(1, |dims, size| dims.saturating_mul(*size))
    }

    /// The sizes of `batch` latents.
    pub fn batch(&self, batch: usize) -> Vec<usize> {
        [&[batch], &self.latent[..]].concat()
    }
}
