//! The autoencoder with dropout on its latent (section 4, "Dropout").
//!
//! During training, each element of the latent is kept with probability `keep` and divided by it, or else set
//! to zero: `min ‖x − d(m ⊙ e(x) / keep)‖²`, `m ~ Bernoulli(keep)`. Interpolation and the classifier use the
//! latent without dropout.

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Model, Objectives, ParamStore, Reconstruction, Result, Spec,
    check_range, through_latent,
};
use lerp_nn::{Coder, mean_squared_error};
use serde::{Deserialize, Serialize};

/// The hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The probability with which an element of the latent is kept, in [0.01, 1]. The paper's CIFAR-10 table
    /// used 0.75.
    pub keep: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { keep: 0.5 }
    }
}

/// The autoencoder with dropout on its latent.
#[derive(Debug)]
pub struct Dropout {
    coder: Coder,
    keep: f64,
}

impl Dropout {
    /// Applies dropout to the latent: sets elements to zero and scales the others by `1 / keep`. Uses the
    /// stream `dropout` of `draws`.
    ///
    /// # Shapes
    /// `z` `[batch, h, w, c]` to the same shape.
    pub fn drop(&self, z: &Tensor, draws: &Draws) -> Result<Tensor> {
        let uniform = draws.uniform("dropout", z.shape())?;
        let mask = (uniform + self.keep)?.floor()?;
        Ok((z * (mask / self.keep)?)?)
    }
}

impl Model for Dropout {
    const NAME: &'static str = "dropout";
    const TITLE: &'static str = "Dropout";
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "keep", config.keep, 0.01..=1.0)
    }

    fn new(config: Config, build: &Build) -> Result<Self> {
        Ok(Self { coder: Coder::new(Self::NAME, build)?, keep: config.keep })
    }
}

impl Autoencoder for Dropout {
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
        let z = self.coder.encoder.forward(x)?;
        let loss = mean_squared_error(&self.coder.decoder.forward(&self.drop(&z, draws)?)?, x)?;
        Ok(Objectives::new(AUTOENCODER, loss.clone(), &z)?.term("mse", &loss))
    }
}
