//! The codebook: nearest entries, and how entries follow the vectors assigned to them.

use candle_core::Tensor;
use lerp_core::{ParamStore, Result};
use lerp_kernels::{Codebook as Averages, follow, nearest, restart};

/// `K` entries of `D` numbers, kept as moving averages of the vectors assigned to them.
#[derive(Debug)]
pub struct Codebook {
    averages: Averages,
    /// `[codes]`: 0, 1, 2 and so on; constant.
    order: Tensor,
    decay: f64,
    epsilon: f64,
}

/// Vectors and the entries nearest to them.
#[derive(Debug)]
pub struct Quantised {
    /// The vectors, `[n, D]`.
    pub vectors: Tensor,
    /// Their entries, `[n, D]`, constant.
    pub codes: Tensor,
    /// Index of each entry, `[n]`, `u32`.
    pub indices: Tensor,
}

impl Quantised {
    /// The entries, with the gradient of the vectors.
    ///
    /// # Shapes
    /// `[n, D]`.
    pub fn straight_through(&self) -> Result<Tensor> {
        let vectors = self.vectors.detach();
        Ok((&self.vectors + (&self.codes - vectors)?)?)
    }
}

impl Codebook {
    /// Buffers `{name}.means` `[codes, dims]`, uniform in ±√(3/codes) as TensorFlow's unit scaling makes them,
    /// `{name}.ema_count` `[codes]`, zero, and `{name}.ema_means` `[codes, dims]`, equal to the means.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(
        store: &mut ParamStore,
        name: &str,
        codes: usize,
        dims: usize,
        decay: f64,
        epsilon: f64,
    ) -> Result<Self> {
        let limit = (3.0 / codes as f64).sqrt();
        let means_name = format!("{name}.means");
        let means = store.init().uniform(&means_name, (codes, dims))?.affine(2.0 * limit, -limit)?;
        let count = Tensor::zeros(codes, store.dtype(), store.device())?;
        let averages = Averages {
            count: store.add_buffer(&format!("{name}.ema_count"), &count)?,
            sums: store.add_buffer(&format!("{name}.ema_means"), &means)?,
            means: store.add_buffer(&means_name, &means)?,
        };
        let order = Tensor::arange(0, codes as u32, store.device())?.to_dtype(store.dtype())?;
        Ok(Self { averages, order, decay, epsilon })
    }

    /// The nearest entry of each vector, by squared distance.
    ///
    /// # Shapes
    /// `vectors` `[n, D]`.
    pub fn quantise(&self, vectors: &Tensor) -> Result<Quantised> {
        let (x, means) = (vectors.detach(), self.averages.means.as_tensor().detach());
        let indices = nearest(&x, &means)?;
        let codes = means.index_select(&indices, 0)?;
        Ok(Quantised { vectors: vectors.clone(), codes, indices })
    }

    /// Moves the entries toward the vectors assigned to them ([`follow`]).
    ///
    /// Counts start at zero and are not corrected for it, as in the reference: an entry that is never used is first
    /// thrown far away, then decays to the zero vector.
    ///
    /// # Shapes
    /// `vectors` `[n, D]` and `indices` `[n]` (`u32`) from before the step.
    pub fn follow(&self, vectors: &Tensor, indices: &Tensor) -> Result<()> {
        Ok(follow(&self.averages, vectors, indices, self.decay, self.epsilon)?)
    }

    /// Puts entries whose moving count is below `below` back where vectors are ([`restart`]).
    ///
    /// # Shapes
    /// `vectors` `[n, D]` from before the step; `draws` `[2]`, uniform in [0, 1).
    pub fn restart(&self, vectors: &Tensor, draws: &Tensor, below: f64) -> Result<()> {
        Ok(restart(&self.averages, vectors, draws, &self.order, below)?)
    }
}
