//! ACAI, adversarially constrained autoencoder interpolation (section 3, equations 2 and 3).
//!
//! A critic `c` learns to recover the interpolation coefficient α from a decoded interpolation of two latents,
//! and the autoencoder learns to make interpolations for which the critic's output is 0. They minimise:
//!
//! * autoencoder: `‖x − x̂‖² + λ·mean(c(x̂_α)²)`,
//! * critic: `mean((c(x̂_α) − α)²) + mean(c(x̂ + γ(x − x̂))²)`,
//!
//! with `x̂ = d(e(x))`, `x̂_α = d(α·z_i + (1−α)·z_{B−1−i})` and `α ~ U[0, ½]` for each sample. The second
//! latent of a pair is that of the *reversed* batch, and the gradient of λ's term reaches the encoder through
//! both latents. The critic is a network like the encoder, whose output is averaged over positions and
//! channels.

use candle_core::{Module, Tensor, Var, backprop::GradStore};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, CRITIC, Draws, Loss, Model, Objectives, ParamStore, Reconstruction,
    Result, Spec, check_range, through_latent,
};
use lerp_kernels::gradients;
use lerp_nn::{Coder, Encoder, mean_squared_error};
use serde::{Deserialize, Serialize};

/// The hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The weight λ of the critic's output in the autoencoder's loss.
    pub advweight: f64,
    /// The fraction γ of the original in the image for which the critic's output must be 0.
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
    config: Config,
}

/// Interpolations of the latents of a batch, for the critic.
#[derive(Debug)]
pub struct Mixture {
    /// The interpolation coefficients α in [0, ½], `[batch]`.
    pub alpha: Tensor,
    /// The interpolated latents, `[batch, h, w, c]`.
    pub latent: Tensor,
}

impl Acai {
    /// Interpolates between each latent and that of the reversed batch. The coefficients α are drawn from the
    /// stream `alpha` of `draws` and folded to [0, ½].
    ///
    /// # Shapes
    /// `z` `[batch, h, w, c]`.
    pub fn mixture(&self, z: &Tensor, draws: &Draws) -> Result<Mixture> {
        let batch = z.dim(0)?;
        let raw = draws.uniform("alpha", batch)?.to_dtype(z.dtype())?;
        let alpha = ((raw - 0.5)?.abs()?.neg()? + 0.5)?;
        let weight = alpha.reshape((batch, 1, 1, 1))?;
        let reversed = Tensor::arange_step(batch as i64 - 1, -1, -1, z.device())?;
        let partner = z.index_select(&reversed, 0)?;
        let latent = (z.broadcast_mul(&weight)? + partner.broadcast_mul(&(1.0 - weight)?)?)?;
        Ok(Mixture { alpha, latent })
    }

    /// The critic's estimate of α for each image.
    ///
    /// # Shapes
    /// `x` `[batch, height, width, channels]` to `[batch]`.
    pub fn guess(&self, x: &Tensor) -> Result<Tensor> {
        mean_per_image(&self.critic.forward(x)?)
    }

    /// The images for which the critic's output must be 0: `x̂ + γ(x − x̂)`.
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
        let network = coder.network();
        let critic = Encoder::new(build.image.channels, network, &coder.store.builder(CRITIC).pp("critic"))?;
        Ok(Self { coder, critic, config })
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
        Ok(self.coder.encoder.forward(x)?)
    }

    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.coder.decoder.forward(z)?)
    }

    fn coefficient(&self, images: &Tensor) -> Result<Option<Tensor>> {
        self.guess(images).map(Some)
    }

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        through_latent(self, x, draws)
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let batch = x.dim(0)?;
        let z = self.coder.encoder.forward(x)?;
        let Mixture { alpha, latent } = self.mixture(&z, draws)?;
        // One forward pass of the decoder, and one of the critic, process all their images: on a GPU this
        // halves the number of kernel launches.
        let decoded = self.coder.decoder.forward(&Tensor::cat(&[&z, &latent], 0)?)?;
        let (recon, mixed) = (decoded.narrow(0, 0, batch)?, decoded.narrow(0, batch, batch)?);
        let mse = mean_squared_error(&recon, x)?;

        // The critic's loss gives no gradient to the autoencoder, so the images are detached.
        let blend = self.blend(x, &recon.detach())?;
        let seen = Var::from_tensor(&Tensor::cat(&[&mixed.detach(), &blend], 0)?)?;
        let guesses = self.guess(&seen)?;
        let guess = guesses.narrow(0, 0, batch)?;
        let fooled = guess.detach().sqr()?.mean_all()?;
        let wrong = (guess.detach() - &alpha)?;
        let error = wrong.sqr()?.mean_all()?;
        let real = guesses.narrow(0, batch, batch)?.sqr()?.mean_all()?;

        let shared = self.shared_backward(&seen, &guess, &wrong, &real)?;
        let surrogate = (&mse + (&mixed * shared.images)?.sum_all()?)?;
        let mse = mse.detach();
        let autoencoder =
            Loss::Surrogate { value: (&mse + (&fooled * self.config.advweight)?)?, root: surrogate };
        let critic = Loss::Differentiated { value: (&error + &real)?, gradients: shared.critic };
        Ok(Objectives::new(AUTOENCODER, autoencoder, &z)?
            .loss(CRITIC, critic)
            .term("mse", &mse)
            .term("fooled", &fooled)
            .term("alpha_error", &error)
            .term("real", &real))
    }
}

/// The result of one backward pass through the critic for both losses.
struct SharedGradients {
    /// The gradients of the critic's loss.
    critic: GradStore,
    /// The gradient of the autoencoder's loss with respect to the decoded interpolations, constant.
    images: Tensor,
}

impl Acai {
    /// Computes the gradients of both losses with one backward pass through the critic. Both depend on the
    /// critic's outputs `c` for the decoded interpolations, and their derivatives with respect to the output
    /// for image `i` differ only by a factor: `2(cᵢ − αᵢ)/B` and `2λcᵢ/B`. The critic processes each image
    /// independently, so one backward pass with the critic's factors gives its own gradients and, after the
    /// factors are exchanged, those of the images.
    fn shared_backward(
        &self,
        seen: &Var,
        guess: &Tensor,
        wrong: &Tensor,
        real: &Tensor,
    ) -> Result<SharedGradients> {
        let batch = guess.dim(0)? as f64;
        // The gradient is divided by this factor below, so it must not be zero.
        let tiny = wrong.abs()?.lt(MIN_ERROR)?;
        let factor = tiny.where_cond(&wrong.ones_like()?.affine(MIN_ERROR, 0.0)?, wrong)?;
        let root = ((guess * &factor)?.sum_all()? * (2.0 / batch))?;
        let mut critic = gradients(&(root + real)?)?;
        let Some(gradient) = critic.remove(seen.as_tensor()) else {
            return Err(candle_core::Error::Msg("the critic does not see the images".into()).into());
        };
        let exchange = ((guess.detach() * self.config.advweight)? / factor)?;
        let images =
            gradient.narrow(0, 0, guess.dim(0)?)?.broadcast_mul(&exchange.reshape(((), 1, 1, 1))?)?.detach();
        Ok(SharedGradients { critic, images })
    }
}

/// The least magnitude of an error of the critic's estimate; smaller ones are replaced by it. It is far below
/// the rounding error of a gradient.
const MIN_ERROR: f64 = 1e-7;

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use lerp_core::{GroupLoss, Hyper, ImageShape, ModelVariant, Network, Variant, check_hyper};

    use super::*;

    #[test]
    fn one_backward_pass_gives_the_gradients_of_both_losses() {
        let device = Device::Cpu;
        let hyper = ModelVariant::<Acai>::new().check(&Hyper::new()).unwrap();
        let build = Build {
            image: ImageShape { height: 16, width: 16, channels: 1 },
            network: &Network { scales: 3, depth: 3, latent: 2 }.into(),
            hyper: &hyper,
            seed: 5,
            dtype: DType::F64,
            device: &device,
        };
        let model = Acai::new(check_hyper("acai", &hyper).unwrap(), &build).unwrap();
        let draws = Draws::new(1, &device);
        let x = draws.normal("x", (6, 16, 16, 1)).unwrap().to_dtype(DType::F64).unwrap();
        let objectives = model.objectives(&x, &draws).unwrap();

        // The reference computes the losses by the equations, each with a backward pass of its own.
        let z = model.coder.encoder.forward(&x).unwrap();
        let recon = model.coder.decoder.forward(&z).unwrap();
        let mixture = model.mixture(&z, &draws).unwrap();
        let mixed = model.coder.decoder.forward(&mixture.latent).unwrap();
        let fooled = mean_per_image(&model.critic.frozen().forward(&mixed).unwrap()).unwrap();
        let fooled = (fooled.sqr().unwrap().mean_all().unwrap() * model.config.advweight).unwrap();
        let autoencoder = (mean_squared_error(&recon, &x).unwrap() + fooled).unwrap();
        let error = (model.guess(&mixed.detach()).unwrap() - mixture.alpha).unwrap();
        let real = model.guess(&model.blend(&x, &recon.detach()).unwrap()).unwrap();
        let critic =
            (error.sqr().unwrap().mean_all().unwrap() + real.sqr().unwrap().mean_all().unwrap()).unwrap();

        for (GroupLoss { group, loss }, plain) in objectives.losses.into_iter().zip([autoencoder, critic]) {
            let value = |t: &Tensor| t.to_scalar::<f64>().unwrap();
            assert!((value(loss.value()) - value(&plain)).abs() < 1e-12);
            let plain = gradients(&plain).unwrap();
            let shared = match loss {
                Loss::Plain(root) | Loss::Surrogate { root, .. } => gradients(&root).unwrap(),
                Loss::Differentiated { gradients, .. } => gradients,
            };
            let mut compared = 0;
            for param in model.params().params().iter().filter(|p| p.group == group) {
                let (a, b) = (shared.get(param.var.as_tensor()), plain.get(param.var.as_tensor()));
                let (a, b) = (a.unwrap(), b.unwrap());
                let norm = |t: &Tensor| value(&t.sqr().unwrap().sum_all().unwrap()).sqrt();
                assert!(norm(&(a - b).unwrap()) <= 1e-10 * norm(b), "{}", param.name);
                compared += 1;
            }
            assert!(compared > 10);
        }
    }
}
