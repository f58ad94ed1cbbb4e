//! The plain autoencoder, trained with the reconstruction error alone: `min ‖x − d(e(x))‖²` (section 2,
//! equation 1), where the squared norm is the mean over pixels.
//!
//! Nothing else shapes its latent space, so its interpolations tend to cross-fade.

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Model, Objectives, ParamStore, Reconstruction, Result, Spec,
    through_latent,
};
use lerp_nn::{Coder, mean_squared_error};
use serde::{Deserialize, Serialize};

/// The hyperparameters: there are none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {}

/// The plain autoencoder.
#[derive(Debug)]
pub struct Baseline(Coder);

impl Model for Baseline {
    const NAME: &'static str = "baseline";
    const TITLE: &'static str = "Baseline";
    type Config = Config;

    fn check(_: &Config) -> Result<()> {
        Ok(())
    }

    fn new(_: Config, build: &Build) -> Result<Self> {
        Ok(Self(Coder::new(Self::NAME, build)?))
    }
}

impl Autoencoder for Baseline {
    fn spec(&self) -> &Spec {
        &self.0.spec
    }

    fn params(&self) -> &ParamStore {
        &self.0.store
    }

    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        Ok(self.0.encoder.forward(x)?)
    }

    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.0.decoder.forward(z)?)
    }

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        through_latent(self, x, draws)
    }

    fn objectives(&self, x: &Tensor, _: &Draws) -> Result<Objectives> {
        let z = self.0.encoder.forward(x)?;
        let loss = mean_squared_error(&self.0.decoder.forward(&z)?, x)?;
        Ok(Objectives::new(AUTOENCODER, loss.clone(), &z)?.term("mse", &loss))
    }
}
