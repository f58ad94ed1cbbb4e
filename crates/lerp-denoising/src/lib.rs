//! The denoising autoencoder (section 4, "Denoising"): `min ‖x − d(e(x + σε))‖²`, `ε ~ N(0, I)`.
//!
//! The noisy image is not clipped, and the target is the clean image. Interpolation and the classifier use the
//! latent of the clean image.

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Model, Objectives, ParamStore, Reconstruction, Result, Spec,
    check_range, through_latent,
};
use lerp_nn::{Coder, Encoder, mean_squared_error};
use serde::{Deserialize, Serialize};

/// The hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The standard deviation σ of the noise, in units of pixel values, which lie in [-1, 1].
    pub noise: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { noise: 1.0 }
    }
}

/// The denoising autoencoder.
#[derive(Debug)]
pub struct Denoising {
    coder: Coder,
    frozen: Encoder,
    noise: f64,
}

impl Denoising {
    /// Adds noise from the stream `noise` of `draws` to images.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to the same.
    pub fn corrupt(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        Ok((x + (draws.normal("noise", x.shape())? * self.noise)?)?)
    }
}

impl Model for Denoising {
    const NAME: &'static str = "denoising";
    const TITLE: &'static str = "Denoising";
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "noise", config.noise, 0.0..)
    }

    fn new(config: Config, build: &Build) -> Result<Self> {
        let coder = Coder::new(Self::NAME, build)?;
        Ok(Self { frozen: coder.encoder.frozen(), coder, noise: config.noise })
    }
}

impl Autoencoder for Denoising {
    fn spec(&self) -> &Spec {
        &self.coder.spec
    }

    fn params(&self) -> &ParamStore {
        &self.coder.store
    }

    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        Ok(self.coder.encoder.forward(x)?)
    }

    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.coder.decoder.forward(z)?)
    }

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        through_latent(self, x, draws)
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let noisy = self.corrupt(x, draws)?;
        let recon = self.coder.decoder.forward(&self.coder.encoder.forward(&noisy)?)?;
        let loss = mean_squared_error(&recon, x)?;
        // The classifier's features need no gradient, so the frozen encoder computes them and stores nothing
        // for a backward pass.
        let clean = self.frozen.forward(x)?;
        Ok(Objectives::new(AUTOENCODER, loss.clone(), &clean)?.term("mse", &loss))
    }
}
