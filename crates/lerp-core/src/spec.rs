//! Shapes and sizes of models.

use serde::{Deserialize, Serialize};

use crate::{Error, Hyper, Result};

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

/// Height, width and channels of a latent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatentShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl LatentShape {
    /// Number of elements of one latent.
    pub fn dims(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// Size of the encoder and decoder (protocol of the paper's appendix: `scales` halvings, `depth << scale` channels).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// How often the encoder halves the image.
    pub scales: usize,
    /// Channels at full resolution.
    pub depth: usize,
    /// Channels of the latent.
    pub latent: usize,
}

impl Network {
    /// The latent's shape for images of shape `image`.
    ///
    /// # Errors
    /// If a size is zero or the image cannot be halved `scales` times.
    pub fn latent_shape(&self, image: ImageShape) -> Result<LatentShape> {
        let factor = 1_usize.checked_shl(self.scales as u32).filter(|f| *f <= 4096);
        let divides = |n: usize| factor.is_some_and(|f| n > 0 && n.is_multiple_of(f));
        if self.depth == 0 || self.latent == 0 || image.channels == 0 {
            return Err(Error::BadNetwork("depth, latent and image channels must be at least 1".into()));
        }
        if !divides(image.height) || !divides(image.width) {
            return Err(Error::BadNetwork(format!(
                "a {}x{} image cannot be halved {} times",
                image.height, image.width, self.scales
            )));
        }
        let halve = |n: usize| n >> self.scales;
        Ok(LatentShape { height: halve(image.height), width: halve(image.width), channels: self.latent })
    }
}

/// What a built model is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spec {
    /// The variant's name, such as `acai`.
    pub variant: String,
    /// Shape of its images.
    pub image: ImageShape,
    /// Size of its encoder and decoder.
    pub network: Network,
    /// Shape of the latent that is interpolated.
    pub latent: LatentShape,
    /// Length of the vector that the single-layer classifier sees.
    pub features: usize,
    /// Every hyperparameter, as checked and completed.
    pub hyper: Hyper,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latent_shapes_and_their_errors() {
        let lines = ImageShape { height: 32, width: 32, channels: 1 };
        let net = Network { scales: 4, depth: 16, latent: 16 };
        assert_eq!(net.latent_shape(lines).unwrap(), LatentShape { height: 2, width: 2, channels: 16 });
        assert!(Network { scales: 6, ..net }.latent_shape(lines).is_err());
        assert!(Network { scales: 999, ..net }.latent_shape(lines).is_err());
        assert!(Network { depth: 0, ..net }.latent_shape(lines).is_err());
    }
}
