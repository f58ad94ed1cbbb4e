//! The variational autoencoder (section 4, "VAE"): `min −E[log p(x|z)] + β·KL(q(z|x) ‖ N(0, I))`.
//!
//! Two dense layers compute the mean μ and the logarithm of the variance of `q(z|x)` from the encoder's
//! flattened output `h`. The decoder's output is the Bernoulli logits of the image scaled to [0, 1]. Both terms
//! are sums over pixels or latents, averaged over the batch. As in the paper's code, interpolation and clustering
//! use a *fresh sample* `z ~ q(z|x)`, not μ, and the classifier's features are `h`.

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Draws, Model, Objectives, ParamStore, Reconstruction, Result, Spec,
    check_range,
};
use lerp_nn::{Coder, Dense, bernoulli_nll};
use serde::{Deserialize, Serialize};

/// The hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The weight β of the KL divergence from the prior.
    pub beta: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { beta: 1.0 }
    }
}

/// The variational autoencoder.
#[derive(Debug)]
pub struct Vae {
    coder: Coder,
    mean: Dense,
    log_variance: Dense,
    beta: f64,
}

/// The parameters of the posterior `q(z|x)`, a normal distribution with diagonal covariance.
#[derive(Debug)]
pub struct Posterior {
    /// The mean μ, `[batch, h·w·c]`.
    pub mean: Tensor,
    /// The logarithm of the variance, `[batch, h·w·c]`.
    pub log_variance: Tensor,
}

impl Vae {
    /// Computes `q(z|x)` from the encoder's output.
    ///
    /// # Shapes
    /// `h` `[batch, h, w, c]`.
    pub fn posterior(&self, h: &Tensor) -> Result<Posterior> {
        let flat = h.flatten_from(1)?;
        Ok(Posterior { mean: self.mean.forward(&flat)?, log_variance: self.log_variance.forward(&flat)? })
    }

    /// Draws a sample `μ + ε·exp(½ log σ²)` of `q`, with ε from the stream `vae` of `draws`.
    ///
    /// # Shapes
    /// The result is `[batch, h, w, c]`.
    pub fn sample(&self, q: &Posterior, draws: &Draws) -> Result<Tensor> {
        let epsilon = draws.normal("vae", q.mean.shape())?;
        let z = (&q.mean + ((&q.log_variance * 0.5)?.exp()? * epsilon)?)?;
        self.coder.unflatten(&z)
    }

    /// Decodes latents to Bernoulli logits of the image's pixels.
    ///
    /// # Shapes
    /// `z` `[batch, h, w, c]` to `[batch, height, width, channels]`.
    pub fn logits(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.coder.decoder.forward(z)?)
    }
}

impl Model for Vae {
    const NAME: &'static str = "vae";
    const TITLE: &'static str = "VAE";
    type Config = Config;

    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "beta", config.beta, 0.0..)
    }

    fn new(config: Config, build: &Build) -> Result<Self> {
        let mut coder = Coder::new(Self::NAME, build)?;
        let dims = coder.spec.shape.dims();
        let builder = coder.store.builder(AUTOENCODER).pp("lat");
        let mean = Dense::new(dims, dims, &builder.pp("mu"))?;
        let log_variance = Dense::new(dims, dims, &builder.pp("logvar"))?;
        drop(builder);
        Ok(Self { coder, mean, log_variance, beta: config.beta })
    }
}

impl Autoencoder for Vae {
    fn spec(&self) -> &Spec {
        &self.coder.spec
    }

    fn params(&self) -> &ParamStore {
        &self.coder.store
    }

    fn encode(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        self.sample(&self.posterior(&self.coder.encoder.forward(x)?)?, draws)
    }

    fn features(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        Ok(self.coder.encoder.forward(x)?.flatten_from(1)?)
    }

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        let h = self.coder.encoder.forward(x)?;
        let images = self.decode(&self.sample(&self.posterior(&h)?, draws)?)?;
        Ok(Reconstruction { images, features: h.flatten_from(1)? })
    }

    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        // 2·sigmoid(l) − 1 = tanh(l/2) is one operation that candle differentiates, and avoids the overflow of
        // e^-l in `sigmoid`.
        Ok((self.logits(z)? * 0.5)?.tanh()?)
    }

    fn prior(&self, count: usize, draws: &Draws) -> Result<Option<Tensor>> {
        Ok(Some(draws.normal("prior", self.coder.spec.shape.batch(count))?))
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let batch = x.dim(0)? as f64;
        let h = self.coder.encoder.forward(x)?;
        let q = self.posterior(&h)?;
        let logits = self.logits(&self.sample(&q, draws)?)?;
        let nll = (bernoulli_nll(&logits, &x.affine(0.5, 0.5)?)?.sum_all()? / batch)?;
        let divergence = ((q.mean.sqr()? + q.log_variance.exp()?)? - (&q.log_variance + 1.0)?)?;
        let kl = (divergence.sum_all()? * (0.5 / batch))?;
        let loss = (&nll + (&kl * self.beta)?)?;
        Ok(Objectives::new(AUTOENCODER, loss, &h)?.term("nll", &nll).term("kl", &kl))
    }
}
