//! The adversarially constrained autoencoder interpolation (section 3, equations 2 and 3).
//!
//! A critic guesses the interpolation coefficient α from a decoded mixture of two latents; the autoencoder makes
//! mixtures for which it guesses 0:
//!
//! * autoencoder: `min ‖x − x̂‖² + λ·mean(c(x̂_α)²)`,
//! * critic: `min mean((c(x̂_α) − α)²) + mean(c(x̂ + γ(x − x̂))²)`,
//!
//! with `x̂ = d(e(x))`, `x̂_α = d(α·z_i + (1−α)·z_{B−1−i})`, `α ~ U[0, ½]` per sample. The partner is the *reversed*
//! batch, and λ's term reaches the encoder through both ends. The critic is an encoder whose output is averaged over
//! positions and channels.

use candle_core::Tensor;
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, CRITIC, Draws, Model, Objectives, ParamStore, Result, Spec, check_range,
};
use lerp_nn::{Coder, Encoder, mean_squared_error};
use serde::{Deserialize, Serialize};

/// Hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Weight λ of the critic's guess in the autoencoder's loss.
    pub advweight: f64,
    /// Fraction γ of the original in the image on which the critic must guess 0.
    pub reg: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { advweight: 0.5, reg: 0.2 }
    }
}

/// The ACAI autoencoder with its critic.
#[derive(Debug)]
pub struct Acai {
    coder: Coder,
    critic: Encoder,
    frozen: Encoder,
    config: Config,
}

/// Mixtures of the latents of a batch, for the critic.
#[derive(Debug)]
pub struct Mixture {
    /// Coefficients α in [0, ½], `[batch]`.
    pub alpha: Tensor,
    /// Mixed latents, `[batch, h, w, c]`.
    pub latent: Tensor,
}

impl Acai {
    /// Mixes each latent with the one at the same distance from the batch's other end; α is stream `alpha`, folded.
    ///
    /// # Shapes
    /// `z` `[batch, h, w, c]`.
    pub fn mixture(&self, z: &Tensor, draws: &Draws) -> Result<Mixture> {
        let batch = z.dim(0)?;
        let raw = draws.uniform("alpha", batch)?;
        let alpha = ((raw - 0.5)?.abs()?.neg()? + 0.5)?;
        let weight = alpha.reshape((batch, 1, 1, 1))?;
        let reversed = Tensor::arange_step(batch as i64 - 1, -1, -1, z.device())?;
        let partner = z.index_select(&reversed, 0)?;
        let latent = (z.broadcast_mul(&weight)? + partner.broadcast_mul(&(1.0 - weight)?)?)?;
        Ok(Mixture { alpha, latent })
    }

    /// The critic's guess of α.
    ///
    /// # Shapes
    /// `x` `[batch, height, width, channels]` to `[batch]`.
    pub fn guess(&self, x: &Tensor) -> Result<Tensor> {
        mean_per_image(&self.critic.forward(x)?)
    }

    /// The image on which the critic must guess 0: `x̂ + γ(x − x̂)`.
    ///
    /// # Shapes
    /// Two batches of images to a third.
    pub fn blend(&self, x: &Tensor, recon: &Tensor) -> Result<Tensor> {
        Ok((recon + ((x - recon)? * self.config.reg)?)?)
    }
}

fn mean_per_image(maps: &Tensor) -> Result<Tensor> {
    Ok(maps.flatten_from(1)?.mean(1)?)
}

impl Model for Acai {
    const NAME: &'static str = "acai";
    const TITLE: &'static str = "ACAI";
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "advweight", config.advweight, 0.0..)?;
        check_range(Self::NAME, "reg", config.reg, 0.0..=1.0)
    }

    fn new(config: Config, build: &Build) -> Result<Self> {
        let mut coder = Coder::new(Self::NAME, build)?;
        let critic = Encoder::new(&mut coder.store, "critic", CRITIC, build.image.channels, build.network)?;
        Ok(Self { coder, frozen: critic.frozen(), critic, config })
    }
}

impl Autoencoder for Acai {
    fn spec(&self) -> &Spec {
        &self.coder.spec
    }

    fn params(&self) -> &ParamStore {
        &self.coder.store
    }

    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        self.coder.encoder.forward(x)
    }

    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        self.coder.decoder.forward(z)
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let z = self.coder.encoder.forward(x)?;
        let recon = self.coder.decoder.forward(&z)?;
        let mse = mean_squared_error(&recon, x)?;

        let Mixture { alpha, latent } = self.mixture(&z, draws)?;
        let mixed = self.coder.decoder.forward(&latent)?;
        // The critic is constant in the autoencoder's loss, the images are constant in the critic's.
        let fooled = mean_per_image(&self.frozen.forward(&mixed)?)?.sqr()?.mean_all()?;
        let autoencoder = (&mse + (&fooled * self.config.advweight)?)?;

        let error = (self.guess(&mixed.detach())? - alpha)?.sqr()?.mean_all()?;
        let blend = self.blend(x, &recon.detach())?;
        let real = self.guess(&blend)?.sqr()?.mean_all()?;
        let critic = (&error + &real)?;

        Ok(Objectives::new(AUTOENCODER, autoencoder, &z)?
            .loss(CRITIC, critic)
            .term("mse", &mse)
            .term("fooled", &fooled)
            .term("alpha_error", &error)
            .term("real", &real))
    }
}
