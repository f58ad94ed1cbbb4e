//! An eighth autoencoder beside the paper's seven: noise on the *latent* makes near latents decode to similar images.
//! The whole variant is in this file; the `lerp` command provides training, resuming, metrics, tables and figures.

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Model, Objectives, ParamStore, Result, Spec, check_range,
};
use lerp_nn::{Coder, mean_squared_error};

#[derive(serde::Serialize, serde::Deserialize)]
struct Config {
    sigma: f64,
}
impl Default for Config {
    fn default() -> Self {
        Self { sigma: 0.1 }
    }
}

struct LatentNoise {
    coder: Coder,
    config: Config,
}
impl Model for LatentNoise {
    const NAME: &'static str = "latent-noise";
    const TITLE: &'static str = "Latent noise";
    type Config = Config;
    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "sigma", config.sigma, 0.0..)
    }
    fn new(config: Config, build: &Build) -> Result<Self> {
        Ok(Self { coder: Coder::new(Self::NAME, build)?, config })
    }
}
impl Autoencoder for LatentNoise {
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
    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let z = self.coder.encoder.forward(x)?;
        let noisy = (&z + (draws.normal("latent noise", z.shape())? * self.config.sigma)?)?;
        let loss = mean_squared_error(&self.coder.decoder.forward(&noisy)?, x)?;
        Ok(Objectives::new(AUTOENCODER, loss.clone(), &z)?.term("mse", &loss))
    }
}

fn main() -> std::process::ExitCode {
    lerp::App::new().model::<LatentNoise>().main()
}
