//! The codebook: finds nearest entries, and updates entries by the vectors assigned to them.

use candle_core::Tensor;
use lerp_core::{ParamStore, Result};
use lerp_kernels::{CodebookAverages, CodebookRestart, CodebookUpdate, nearest};

/// A codebook of `K` entries of `D` numbers, which are exponential moving averages of the vectors assigned to
/// them.
#[derive(Debug)]
pub struct Codebook {
    averages: CodebookAverages,
    /// The constant 0, 1, 2 and so on, `[codes]`.
    order: Tensor,
    decay: f64,
    epsilon: f64,
}

/// The sizes of a [`Codebook`], and how its entries follow the vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodebookConfig {
    /// Number of entries.
    pub codes: usize,
    /// Number of numbers of an entry, and of a vector.
    pub dims: usize,
    /// The decay of the moving averages.
    pub decay: f64,
    /// The constant ε that smooths the counts of the entries.
    pub epsilon: f64,
}

/// Vectors with their nearest entries.
#[derive(Debug)]
pub struct Quantised {
    /// The vectors, `[n, D]`.
    pub vectors: Tensor,
    /// The nearest entry of each vector, `[n, D]`, constant.
    pub codes: Tensor,
    /// The index of that entry, `[n]`, `u32`.
    pub indices: Tensor,
}

impl Quantised {
    /// Returns the entries, with the gradient passed on to the vectors (straight-through estimator).
    ///
    /// # Shapes
    /// `[n, D]`.
    pub fn straight_through(&self) -> Result<Tensor> {
        let vectors = self.vectors.detach();
        Ok((&self.vectors + (&self.codes - vectors)?)?)
    }
}

impl Codebook {
    /// Makes a codebook whose buffers are in `store`: `{name}.means` `[codes, dims]`, initialised uniformly in
    /// ±√(3/codes) as by TensorFlow's unit scaling, `{name}.ema_count` `[codes]`, zero, and `{name}.ema_means`
    /// `[codes, dims]`, equal to the means.
    ///
    /// # Errors
    /// Returns an error if a buffer of the same name exists already.
    pub fn new(name: &str, config: CodebookConfig, store: &mut ParamStore) -> Result<Self> {
        let CodebookConfig { codes, dims, decay, epsilon } = config;
        let limit = (3.0 / codes as f64).sqrt();
        let means_name = format!("{name}.means");
        let means = store.init().uniform(&means_name, (codes, dims))?.affine(2.0 * limit, -limit)?;
        let count = Tensor::zeros(codes, store.dtype(), store.device())?;
        let averages = CodebookAverages {
            count: store.add_buffer(&format!("{name}.ema_count"), &count)?,
            sums: store.add_buffer(&format!("{name}.ema_means"), &means)?,
            means: store.add_buffer(&means_name, &means)?,
        };
        let order = Tensor::arange(0, codes as u32, store.device())?.to_dtype(store.dtype())?;
        Ok(Self { averages, order, decay, epsilon })
    }

    /// Finds the nearest entry of each vector, by squared Euclidean distance.
    ///
    /// # Shapes
    /// `vectors` `[n, D]`.
    pub fn quantise(&self, vectors: &Tensor) -> Result<Quantised> {
        let (x, means) = (vectors.detach(), self.averages.means.as_tensor().detach());
        let indices = nearest(&x, &means)?;
        let codes = means.index_select(&indices, 0)?;
        Ok(Quantised { vectors: vectors.clone(), codes, indices })
    }

    /// Updates the entries by the vectors assigned to them; see [`CodebookAverages::update`].
    ///
    /// Counts start at zero without bias correction, as in the paper's code. So the first update throws an entry
    /// without vectors far away, and it then decays to the zero vector.
    ///
    /// # Shapes
    /// `vectors` `[n, D]` and `indices` `[n]` (`u32`) from before the step.
    pub fn update(&self, vectors: &Tensor, indices: &Tensor) -> Result<()> {
        let constants = CodebookUpdate { decay: self.decay, epsilon: self.epsilon };
        Ok(self.averages.update(vectors, indices, constants)?)
    }

    /// Replaces entries whose moving count is below `below` by vectors of the batch; see
    /// [`CodebookAverages::restart`].
    ///
    /// # Shapes
    /// `vectors` `[n, D]` from before the step; `draws` `[2]`, uniform in [0, 1).
    pub fn restart(&self, vectors: &Tensor, draws: &Tensor, below: f64) -> Result<()> {
        let choice = CodebookRestart { draws, order: &self.order, min_count: below };
        Ok(self.averages.restart(vectors, choice)?)
    }
}
