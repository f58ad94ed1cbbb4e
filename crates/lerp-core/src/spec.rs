//! The specification of a built model.

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

/// The specification of a built model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spec {
    /// The name of the variant, such as `acai`.
    pub variant: String,
    /// The shape of the images.
    pub image: ImageShape,
    /// The encoder and decoder.
    pub network: Architecture,
    /// The sizes of latents and features.
    pub shape: LatentShape,
    /// All hyperparameters, checked and completed with defaults.
    pub hyper: Hyper,
}

/// The shape of a model's latents and the length of its features, as it was built.
///
/// ```
/// let shape = lerp_core::LatentShape::new([2, 2, 16]);
/// assert_eq!((shape.dims(), shape.features), (64, 64));
/// assert_eq!(shape.batch(8), [8, 2, 2, 16]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatentShape {
    /// The sizes of one latent without the batch dimension: `[h, w, c]` for the paper's networks, any rank for
    /// a variant's own.
    pub latent: Vec<usize>,
    /// Length of the feature vector for the single-layer classifier.
    pub features: usize,
}

impl LatentShape {
    /// The sizes of a model whose features are its flattened latent.
    pub fn new(latent: impl Into<Vec<usize>>) -> Self {
        let latent = latent.into();
        let features = latent.iter().product();
        Self { latent, features }
    }

    /// Number of elements in one latent. It saturates at `usize::MAX`, which a damaged record may exceed.
    pub fn dims(&self) -> usize {
        self.latent.iter().fold(1, |dims, size| dims.saturating_mul(*size))
    }

    /// The shape of a batch of `batch` latents.
    pub fn batch(&self, batch: usize) -> Vec<usize> {
        [&[batch], &self.latent[..]].concat()
    }
}
