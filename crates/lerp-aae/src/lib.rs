//! The adversarial autoencoder (section 4, "AAE").
//!
//! A discriminator `D` learns to distinguish latents from draws of the prior `N(0, I)`, and the encoder learns
//! to make them indistinguishable. The autoencoder minimises `‖x − d(e(x))‖² + weight·BCE(D(e(x)), 1)`, the
//! discriminator `BCE(D(z), 1) + BCE(D(e(x)), 0)` with `z ~ N(0, I)`. `D` has three dense layers of 100, 100
//! and 1 units, with leaky ReLU between them.

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, CRITIC, Draws, Model, Objectives, ParamStore, Reconstruction, Result,
    Spec, check_range, through_latent,
};
use lerp_kernels::leaky_relu;
use lerp_nn::{Coder, Dense, binary_cross_entropy, mean_squared_error};
use serde::{Deserialize, Serialize};

/// The hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The weight of the adversarial term in the autoencoder's loss.
    pub advweight: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { advweight: 1.0 }
    }
}

/// The numbers of units of the discriminator's layers.
const UNITS: [usize; 3] = [100, 100, 1];

/// The discriminator, a dense network on latents.
#[derive(Debug, Clone)]
pub struct Discriminator([Dense; 3]);

impl Discriminator {
    /// The logit of the probability that a latent is a draw from the prior.
    ///
    /// # Shapes
    /// `z` `[batch, h, w, c]` to `[batch, 1]`.
    pub fn forward(&self, z: &Tensor) -> Result<Tensor> {
        let [first, second, last] = &self.0;
        let x = leaky_relu(&first.forward(&z.flatten_from(1)?)?, 0.2)?;
        Ok(last.forward(&leaky_relu(&second.forward(&x)?, 0.2)?)?)
    }
}

/// The adversarial autoencoder.
#[derive(Debug)]
pub struct Aae {
    coder: Coder,
    /// The discriminator.
    pub discriminator: Discriminator,
    frozen: Discriminator,
    advweight: f64,
}

impl Model for Aae {
    const NAME: &'static str = "aae";
    const TITLE: &'static str = "AAE";
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "advweight", config.advweight, 0.0..)
    }

    fn new(config: Config, build: &Build) -> Result<Self> {
        let mut coder = Coder::new(Self::NAME, build)?;
        let mut inputs = coder.spec.shape.dims();
        let builder = coder.store.builder(CRITIC).pp("critic");
        let mut layer = |i: usize| {
            let dense = Dense::new(inputs, UNITS[i], &builder.pp(format!("dense{i}")));
            inputs = UNITS[i];
            dense
        };
        let discriminator = Discriminator([layer(0)?, layer(1)?, layer(2)?]);
        drop(builder);
        let frozen = Discriminator(discriminator.0.each_ref().map(Dense::frozen));
        Ok(Self { coder, discriminator, frozen, advweight: config.advweight })
    }
}

impl Autoencoder for Aae {
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

    fn prior(&self, count: usize, draws: &Draws) -> Result<Option<Tensor>> {
        Ok(Some(draws.normal("prior", self.coder.spec.shape.batch(count))?))
    }

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        through_latent(self, x, draws)
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let z = self.coder.encoder.forward(x)?;
        let mse = mean_squared_error(&self.coder.decoder.forward(&z)?, x)?;
        let fool = binary_cross_entropy(&self.frozen.forward(&z)?, 1.0)?;
        let autoencoder = (&mse + (&fool * self.advweight)?)?;

        let prior = draws.normal("prior", z.shape())?;
        let real = binary_cross_entropy(&self.discriminator.forward(&prior)?, 1.0)?;
        let fake = binary_cross_entropy(&self.discriminator.forward(&z.detach())?, 0.0)?;
        let critic = (&real + &fake)?;

        Ok(Objectives::new(AUTOENCODER, autoencoder, &z)?
            .loss(CRITIC, critic)
            .term("mse", &mse)
            .term("fool", &fool)
            .term("prior", &real)
            .term("latent", &fake))
    }
}
