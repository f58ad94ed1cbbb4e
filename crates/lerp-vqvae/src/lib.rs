//! The vector-quantised autoencoder (section 4, "VQ-VAE"), with a codebook of moving averages.
//!
//! The encoder's flattened output `h` (`D` numbers) is projected to 10 vectors of `D` numbers each; every vector is
//! replaced by the nearest of the codebook's entries, and two dense layers bring the result back to `D` for the decoder:
//! `min ‖x − x̂‖² + β·mean((v − sg(code))²)`. Gradients pass the replacement unchanged; the codebook follows by moving
//! averages ([`Codebook::follow`]).
//!
//! As in the reference, interpolation uses `h`, *before* projection and quantisation; decoding applies both; the
//! classifier sees what the decoder sees. On lines the latent is 4x4 (256 numbers), not 2x2.

mod codebook;

use candle_core::{Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, Carry, Draws, Model, Network, Objectives, ParamStore, Result, Spec,
    check_range,
};
use lerp_nn::{Coder, Dense, mean_squared_error};
use serde::{Deserialize, Serialize};

pub use codebook::{Codebook, Quantised};

/// Hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Weight β of the commitment term.
    pub beta: f64,
    /// Entries of the codebook.
    pub codes: usize,
    /// Vectors an image is projected to.
    pub vectors: usize,
    /// Units of the hidden layer after quantisation.
    pub filter: usize,
    /// Decay of the moving averages.
    pub decay: f64,
    /// Smooths the counts of the codebook's entries.
    pub epsilon: f64,
    /// Random restarts: an entry whose moving count is below this becomes a vector of the batch. 0 is the paper's: none do.
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

/// What a step carries to [`VqVae::after_step`]: its vectors `[n, D]` and the indices of their codes, `[n]`.
pub const VECTORS: &str = "vectors";
/// See [`VECTORS`].
pub const INDICES: &str = "indices";
/// Draws for random restarts, `[2]`, if there are any.
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

/// What the bottleneck makes of a batch of latents.
#[derive(Debug)]
pub struct Bottleneck {
    /// The projected vectors and their codes.
    pub quantised: Quantised,
    /// What the decoder sees, `[batch, D]`.
    pub output: Tensor,
}

impl VqVae {
    /// Projection, quantisation and the two dense layers after it.
    ///
    /// # Shapes
    /// `h` `[batch, h, w, c]`.
    pub fn bottleneck(&self, h: &Tensor) -> Result<Bottleneck> {
        self.discretise(&self.project.forward(&h.flatten_from(1)?)?)
    }

    /// The bottleneck after its projection.
    ///
    /// # Shapes
    /// `wide` `[batch, vectors·D]`.
    pub fn discretise(&self, wide: &Tensor) -> Result<Bottleneck> {
        let quantised = self.quantise(wide)?;
        let codes = quantised.straight_through()?.reshape(wide.shape())?;
        let output = self.output.forward(&self.hidden.forward(&codes.relu()?)?.relu()?)?;
        Ok(Bottleneck { quantised, output })
    }
}

impl VqVae {
    /// The projected vectors and their codes; `wide` `[batch, vectors·D]`.
    fn quantise(&self, wide: &Tensor) -> Result<Quantised> {
        let ((batch, width), vectors) = (wide.dims2()?, self.config.vectors);
        self.codebook.quantise(&wide.reshape((batch * vectors, width / vectors))?)
    }
}

impl Model for VqVae {
    const NAME: &'static str = "vqvae";
    const TITLE: &'static str = "VQ-VAE";
    type Config = Config;

    const OMITTED_BY_DEFAULT: &'static [&'static str] = &["restart"];

    fn network(dataset: &str, default: Network) -> Network {
        // The paper's results on lines come from a 4x4 latent for this variant alone.
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
        let wide = config.vectors * dims;
        let builder = coder.store.builder(AUTOENCODER).pp("vq");
        let project = Dense::new(dims, wide, &builder.pp("proj"))?;
        let hidden = Dense::new(wide, config.filter, &builder.pp("vch2"))?;
        let output = Dense::new(config.filter, dims, &builder.pp("vcfin"))?;
        drop(builder);
        let codebook =
            Codebook::new(&mut coder.store, "vq", config.codes, dims, config.decay, config.epsilon)?;
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

    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<(Tensor, Tensor)> {
        // One search of the codebook for both.
        let features = self.features(x, draws)?;
        Ok((self.coder.decoder.forward(&self.coder.unflatten(&features)?)?, features))
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
        let wide = self.project.forward(&self.encode(x, draws)?.flatten_from(1)?)?;
        let indices = self.quantise(&wide)?.indices;
        Ok(Some(indices.reshape((x.dim(0)?, self.config.vectors))?))
    }

    fn after_step(&self, carry: &Carry) -> Result<()> {
        let vectors = carry.get(VECTORS)?;
        self.codebook.follow(vectors, carry.get(INDICES)?)?;
        if self.config.restart > 0.0 {
            self.codebook.restart(vectors, carry.get(RESTART)?, self.config.restart)?;
        }
        Ok(())
    }
}
