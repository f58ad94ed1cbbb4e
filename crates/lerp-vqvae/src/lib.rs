//! The vector-quantised autoencoder (section 4, "VQ-VAE"), with a codebook of exponential moving averages.
//!
//! The encoder's flattened output `h` (`D` numbers) is projected to 10 vectors of `D` numbers each. Every
//! vector `v` is replaced by the nearest entry of the codebook, and two dense layers reduce the result to the
//! `D` numbers of the decoder's input: `min ‖x − x̂‖² + β·mean((v − sg(code))²)`, where `sg` stops gradients.
//! Gradients pass through the replacement unchanged (straight-through estimator); the codebook is updated by
//! moving averages ([`Codebook::update`]).
//!
//! As in the paper's code, interpolation uses `h`, *before* projection and quantisation; decoding applies both;
//! the classifier's features are the decoder's input. On lines the latent is 4x4 (256 numbers), not 2x2.

mod codebook;

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Carry, Draws, Model, Network, Objectives, ParamStore, Reconstruction,
    Result, Spec, check_range,
};
use lerp_nn::{Coder, Dense, mean_squared_error};
use serde::{Deserialize, Serialize};

pub use codebook::{Codebook, CodebookConfig, Quantised};

/// The hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The weight β of the commitment term.
    pub beta: f64,
    /// Number of entries of the codebook.
    pub codes: usize,
    /// Number of vectors to which the latent of an image is projected.
    pub vectors: usize,
    /// Number of units of the hidden layer after quantisation.
    pub filter: usize,
    /// The decay of the moving averages.
    pub decay: f64,
    /// The constant ε that smooths the counts of the codebook's entries.
    pub epsilon: f64,
    /// The threshold of random restarts: an entry whose moving count is below it becomes a vector of the batch.
    /// At 0, the paper's value, there are no restarts.
    pub restart: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beta: 10.0,
            codes: 1 << 14,
            vectors: 10,
            filter: 512,
            decay: 0.999,
            epsilon: 1e-5,
            restart: 0.0,
        }
    }
}

/// The name under which a step passes its vectors, `[n, D]`, to [`VqVae::after_step`].
pub const VECTORS: &str = "vectors";
/// The name under which a step passes the indices of the codes of its vectors, `[n]`, to [`VqVae::after_step`].
pub const INDICES: &str = "indices";
/// The name of the draws for random restarts, `[2]`, which are passed only if there are restarts.
const RESTART: &str = "restart";

/// The vector-quantised autoencoder.
#[derive(Debug)]
pub struct VqVae {
    coder: Coder,
    project: Dense,
    hidden: Dense,
    output: Dense,
    codebook: Codebook,
    config: Config,
}

/// The result of the bottleneck for a batch of latents.
#[derive(Debug)]
pub struct Bottleneck {
    /// The projected vectors and their codes.
    pub quantised: Quantised,
    /// The decoder's input, flattened, `[batch, D]`.
    pub output: Tensor,
}

impl VqVae {
    /// Applies the projection, the quantisation and the two dense layers after it.
    ///
    /// # Shapes
    /// `h` `[batch, h, w, c]`.
    pub fn bottleneck(&self, h: &Tensor) -> Result<Bottleneck> {
        self.after_projection(&self.project.forward(&h.flatten_from(1)?)?)
    }

    /// Applies the bottleneck without its projection: the quantisation and the two dense layers after it.
    ///
    /// # Shapes
    /// `projected` `[batch, vectors·D]`.
    pub fn after_projection(&self, projected: &Tensor) -> Result<Bottleneck> {
        let quantised = self.quantise(projected)?;
        let codes = quantised.straight_through()?.reshape(projected.shape())?;
        let output = self.output.forward(&self.hidden.forward(&codes.relu()?)?.relu()?)?;
        Ok(Bottleneck { quantised, output })
    }
}

impl VqVae {
    /// Splits the projected latents `[batch, vectors·D]` into vectors, and finds their codes.
    fn quantise(&self, projected: &Tensor) -> Result<Quantised> {
        let ((batch, width), vectors) = (projected.dims2()?, self.config.vectors);
        self.codebook.quantise(&projected.reshape((batch * vectors, width / vectors))?)
    }
}

impl Model for VqVae {
    const NAME: &'static str = "vqvae";
    const TITLE: &'static str = "VQ-VAE";
    type Config = Config;

    const OMITTED_BY_DEFAULT: &'static [&'static str] = &["restart"];

    fn network(dataset: &str, default: Network) -> Network {
        // For this variant alone, the paper's results on lines come from a 4x4 latent.
        if dataset == "lines" { Network { scales: 3, ..default } } else { default }
    }

    fn check(config: &Config) -> Result<()> {
        check_range(Self::NAME, "beta", config.beta, 0.0..)?;
        check_range(Self::NAME, "codes", config.codes as f64, 1.0..=1e7)?;
        check_range(Self::NAME, "vectors", config.vectors as f64, 1.0..=1e4)?;
        check_range(Self::NAME, "filter", config.filter as f64, 1.0..=1e6)?;
        check_range(Self::NAME, "decay", config.decay, 0.0..1.0)?;
        check_range(Self::NAME, "epsilon", config.epsilon, 1e-12..=1.0)?;
        check_range(Self::NAME, "restart", config.restart, 0.0..=1.0)
    }

    fn new(config: Config, build: &Build) -> Result<Self> {
        let mut coder = Coder::new(Self::NAME, build)?;
        let dims = coder.spec.shape.dims();
        let width = config.vectors * dims;
        let builder = coder.store.builder(AUTOENCODER).pp("vq");
        let project = Dense::new(dims, width, &builder.pp("proj"))?;
        let hidden = Dense::new(width, config.filter, &builder.pp("vch2"))?;
        let output = Dense::new(config.filter, dims, &builder.pp("vcfin"))?;
        drop(builder);
        let Config { codes, decay, epsilon, .. } = config;
        let codebook = CodebookConfig { codes, dims, decay, epsilon };
        let codebook = Codebook::new("vq", codebook, &mut coder.store)?;
        Ok(Self { coder, project, hidden, output, codebook, config })
    }
}

impl Autoencoder for VqVae {
    fn spec(&self) -> &Spec {
        &self.coder.spec
    }

    fn params(&self) -> &ParamStore {
        &self.coder.store
    }

    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        Ok(self.coder.encoder.forward(x)?)
    }

    fn features(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        Ok(self.bottleneck(&self.encode(x, draws)?)?.output)
    }

    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.coder.decoder.forward(&self.coder.unflatten(&self.bottleneck(z)?.output)?)?)
    }

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        // Both results need only one search of the codebook.
        let features = self.features(x, draws)?;
        let images = self.coder.decoder.forward(&self.coder.unflatten(&features)?)?;
        Ok(Reconstruction { images, features })
    }

    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let Bottleneck { quantised, output } = self.bottleneck(&self.coder.encoder.forward(x)?)?;
        let recon = self.coder.decoder.forward(&self.coder.unflatten(&output)?)?;
        let mse = mean_squared_error(&recon, x)?;
        let commitment = mean_squared_error(&quantised.vectors, &quantised.codes)?;
        let loss = (&mse + (&commitment * self.config.beta)?)?;
        let objectives = Objectives::new(AUTOENCODER, loss, &output)?
            .carry(VECTORS, &quantised.vectors)
            .carry(INDICES, &quantised.indices)
            .term("mse", &mse)
            .term("commitment", &commitment);
        if self.config.restart > 0.0 {
            return Ok(objectives.carry(RESTART, &draws.uniform(RESTART, 2)?));
        }
        Ok(objectives)
    }

    fn codes(&self, x: &Tensor, draws: &Draws) -> Result<Option<Tensor>> {
        let projected = self.project.forward(&self.encode(x, draws)?.flatten_from(1)?)?;
        let indices = self.quantise(&projected)?.indices;
        Ok(Some(indices.reshape((x.dim(0)?, self.config.vectors))?))
    }

    fn after_step(&self, carry: &Carry) -> Result<()> {
        let vectors = carry.get(VECTORS)?;
        self.codebook.update(vectors, carry.get(INDICES)?)?;
        if self.config.restart > 0.0 {
            self.codebook.restart(vectors, carry.get(RESTART)?, self.config.restart)?;
        }
        Ok(())
    }
}
