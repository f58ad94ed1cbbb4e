//! Updates of a codebook by moving averages of the vectors assigned to its entries.

use candle_core::{DType, Result, Tensor, Var};
use rayon::prelude::*;

use crate::{Backend, backend, cpu::with_values_mut};

/// The variables of a codebook.
#[derive(Debug, Clone)]
pub struct CodebookAverages {
    /// The entries, `[codes, d]`.
    pub means: Var,
    /// Moving average of the number of vectors assigned to each entry, `[codes]`.
    pub count: Var,
    /// Moving average of the sum of the vectors assigned to each entry, `[codes, d]`.
    pub sums: Var,
}

/// The constants of [`CodebookAverages::update`].
#[derive(Debug, Clone, Copy)]
pub struct CodebookUpdate {
    /// Decay of the moving averages.
    pub decay: f64,
    /// The `ε` that is added to every count, so that no mean is divided by zero.
    pub epsilon: f64,
}

/// The random choices and the threshold of [`CodebookAverages::restart`].
#[derive(Debug, Clone, Copy)]
pub struct CodebookRestart<'a> {
    /// Two numbers, uniform in [0, 1), `[2]`. They choose the first entry that is checked and the first vector that is
    /// used.
    pub draws: &'a Tensor,
    /// The constant 0, 1, 2 and so on, `[codes]`, in the vectors' type.
    pub order: &'a Tensor,
    /// Entries whose `count` is less than this are replaced.
    pub min_count: f64,
}

/// The numbers of a codebook's entries and of the numbers in each.
struct Size {
    codes: usize,
    depth: usize,
}

impl CodebookAverages {
    /// Updates the entries in place. With `n` vectors assigned to an entry and `Σ` their sum,
    /// `count ← decay·count + (1−decay)·n`, `sums ← decay·sums + (1−decay)·Σ`, then
    /// `means ← sums / ((count + ε) / (N + codes·ε) · N)`, where `N` is the sum of the new counts.
    ///
    /// # Shapes
    /// `vectors` `[n, d]`; `indices` `[n]`, `u32` below `codes`: the entry that each vector is assigned to.
    ///
    /// # Errors
    /// If the shapes do not fit together or are empty, an index is too large, or the vectors are a view of the
    /// codebook.
    pub fn update(&self, vectors: &Tensor, indices: &Tensor, constants: CodebookUpdate) -> Result<()> {
        let Size { codes, depth } = self.check(vectors)?;
        if indices.dims() != [vectors.dim(0)?] {
            candle_core::bail!(
                "codebook: indices of shape {:?} do not fit vectors of shape {:?}",
                indices.dims(),
                vectors.dims()
            );
        }
        if backend(&self.means) != Backend::Cpu {
            return self.composed_update(vectors, indices, constants);
        }
        let vectors = vectors.detach().contiguous()?;
        let mut assigned = vec![Vec::new(); codes];
        for (i, code) in indices.to_vec1::<u32>()?.into_iter().enumerate() {
            match assigned.get_mut(code as usize) {
                Some(assigned) => assigned.push(i),
                None => candle_core::bail!("codebook: there is no entry {code}, only {codes} entries from 0"),
            }
        }
        let CodebookUpdate { decay, epsilon } = constants;
        let (keep, rest, epsilon) = (decay as f32, (1.0 - decay) as f32, epsilon as f32);
        with_values_mut([&self.means, &self.count, &self.sums], &vectors, |[means, count, sums], vectors| {
            for (count, assigned) in count.iter_mut().zip(&assigned) {
                *count = *count * keep + assigned.len() as f32 * rest;
            }
            // The order of this sum does not depend on the number of threads.
            let total: f32 = count.iter().sum();
            let smoothing = total / (total + codes as f32 * epsilon);
            let rows = means.par_chunks_exact_mut(depth).zip(sums.par_chunks_exact_mut(depth));
            let entries = rows.zip(count.par_iter().zip(&assigned)).with_min_len(64);
            entries.for_each(|((mean, sum), (count, assigned))| {
                for s in &mut *sum {
                    *s *= keep;
                }
                for i in assigned {
                    sum.iter_mut().zip(&vectors[i * depth..]).for_each(|(s, v)| *s += v * rest);
                }
                let smoothed = (*count + epsilon) * smoothing;
                mean.iter_mut().zip(&*sum).for_each(|(m, s)| *m = s / smoothed);
            });
        })
    }

    /// The composed implementation of [`Self::update`].
    fn composed_update(&self, vectors: &Tensor, indices: &Tensor, constants: CodebookUpdate) -> Result<()> {
        let CodebookUpdate { decay, epsilon } = constants;
        let (codes, rest) = (self.means.dim(0)?, 1.0 - decay);
        let ones = Tensor::ones(indices.dim(0)?, vectors.dtype(), vectors.device())?;
        let assigned = self.count.zeros_like()?.index_add(indices, &ones, 0)?;
        let count = ((self.count.as_tensor().detach() * decay)? + (assigned * rest)?)?;
        let added = (vectors.detach() * rest)?;
        let sums = (self.sums.as_tensor().detach() * decay)?.index_add(indices, &added, 0)?;
        let total = count.sum_all()?;
        let smoothing = (&total / (&total + codes as f64 * epsilon)?)?;
        let smoothed = (&count + epsilon)?.broadcast_mul(&smoothing)?;
        self.means.set(&sums.broadcast_div(&smoothed.unsqueeze(1)?)?)?;
        self.count.set(&count)?;
        self.sums.set(&sums)
    }

    /// Replaces rarely used entries by vectors of the batch, in place (random restarts; Jukebox, Dhariwal et al. 2020,
    /// section 3.1). As many entries are checked as there are vectors, and each whose `count` is less than
    /// [`CodebookRestart::min_count`] becomes one of the vectors, with a count of 1 and the vector as its sum. The
    /// checked entries are consecutive, from a randomly drawn one on and wrapping around at the end. No vector is used
    /// twice in a call, so that the new entries differ; filling a whole codebook takes at least `codes / n` calls.
    ///
    /// # Shapes
    /// `vectors` `[n, d]`.
    ///
    /// # Errors
    /// If the shapes do not fit together or are empty, or the vectors are a view of the codebook.
    pub fn restart(&self, vectors: &Tensor, choice: CodebookRestart) -> Result<()> {
        let (Size { codes, depth }, n) = (self.check(vectors)?, vectors.dim(0)?);
        let CodebookRestart { draws, order, min_count } = choice;
        if draws.dims() != [2] || order.dims() != [codes] {
            candle_core::bail!(
                "codebook: draws have the shape {:?} and must have [2]; the order has {:?} and must have [{codes}]",
                draws.dims(),
                order.dims()
            );
        }
        let checked = n.min(codes);
        if backend(&self.means) != Backend::Cpu {
            return self.composed_restart(
                vectors,
                CodebookRestart { order: &order.narrow(0, 0, checked)?, ..choice },
            );
        }
        let first = |draw: f32, of: usize| (draw * of as f32) as usize;
        let draws = draws.to_vec1::<f32>()?;
        let (entry, vector) = (first(draws[0], codes), first(draws[1], n));
        let vectors = vectors.detach().contiguous()?;
        with_values_mut([&self.means, &self.count, &self.sums], &vectors, |[means, count, sums], vectors| {
            for i in 0..checked {
                let (entry, vector) = ((entry + i) % codes, (vector + i) % n);
                if count[entry] < min_count as f32 {
                    let vector = &vectors[vector * depth..][..depth];
                    count[entry] = 1.0;
                    means[entry * depth..][..depth].copy_from_slice(vector);
                    sums[entry * depth..][..depth].copy_from_slice(vector);
                }
            }
        })
    }

    /// The composed implementation of [`Self::restart`]; `order` is only as long as the number of entries to check.
    fn composed_restart(&self, vectors: &Tensor, choice: CodebookRestart) -> Result<()> {
        let CodebookRestart { draws, order, min_count } = choice;
        let ((codes, depth), n, checked) = (self.means.dims2()?, vectors.dim(0)?, order.dim(0)?);
        // Returns 1 for positive numbers and 0 otherwise, without uploading a constant to the device.
        let positive = |x: Tensor| x.sign()?.relu();
        // Returns consecutive indices from the drawn one on, wrapping around at `of`.
        let indices = |draw: usize, of: usize| -> Result<Tensor> {
            let first = (draws.narrow(0, draw, 1)? * of as f64)?.floor()?;
            let unwrapped = order.broadcast_add(&first)?;
            let beyond = positive((&unwrapped - (of as f64 - 0.5))?)?;
            (unwrapped - (beyond * of as f64)?)?.to_dtype(DType::U32)
        };
        let entries = indices(0, codes)?;
        let vectors = vectors.detach().contiguous()?.index_select(&indices(1, n)?, 0)?;
        let count = self.count.as_tensor().detach().index_select(&entries, 0)?;
        let unused = positive(((&count * -1.0)? + min_count)?)?;
        let used = ((&unused * -1.0)? + 1.0)?;
        // Products with 0 and 1 are exact, so unchanged entries keep their bits.
        let count = ((count * &used)? + &unused)?;
        let (used, unused) = (used.unsqueeze(1)?, unused.unsqueeze(1)?);
        let rows = entries.unsqueeze(1)?.expand((checked, depth))?.contiguous()?;
        let new = vectors.broadcast_mul(&unused)?;
        for var in [&self.means, &self.sums] {
            let old = var.as_tensor().detach().index_select(&entries, 0)?;
            var.scatter_set(&rows, &(old.broadcast_mul(&used)? + &new)?, 0)?;
        }
        self.count.scatter_set(&entries, &count, 0)
    }

    /// Checks that vectors fit the codebook; returns its size.
    fn check(&self, vectors: &Tensor) -> Result<Size> {
        let ((codes, depth), (n, length)) = (self.means.dims2()?, vectors.dims2()?);
        let fits = self.sums.dims() == [codes, depth] && self.count.dims() == [codes];
        if depth != length || !fits || depth == 0 || n == 0 {
            candle_core::bail!(
                "codebook: vectors {:?} do not fit {codes} entries of {depth}, or are empty",
                vectors.dims()
            );
        }
        Ok(Size { codes, depth })
    }
}
