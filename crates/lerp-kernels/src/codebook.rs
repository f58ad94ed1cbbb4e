//! Moving averages of the vectors assigned to a codebook's entries.

use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

use crate::{Place, cpu::with_values_mut, place};

/// The variables of a codebook.
#[derive(Debug, Clone)]
pub struct Codebook {
    /// Entries, `[codes, d]`.
    pub means: Var,
    /// Moving average of the number of vectors assigned to each, `[codes]`.
    pub count: Var,
    /// Moving average of their sums, `[codes, d]`.
    pub sums: Var,
}

/// Moves the entries, in place: with `n` vectors assigned to an entry and `Σ` their sum,
/// `count ← decay·count + (1−decay)·n`, `sums ← decay·sums + (1−decay)·Σ`, then
/// `means ← sums / ((count + ε) / (N + codes·ε) · N)` with `N` the sum of the new counts and `ε` the given epsilon.
///
/// # Shapes
/// `vectors` `[n, d]`; `indices` `[n]`, `u32` below `codes`.
///
/// # Errors
/// If the shapes do not fit together or are empty, an index is too large, or the vectors are a view of the codebook.
pub fn follow(book: &Codebook, vectors: &Tensor, indices: &Tensor, decay: f64, epsilon: f64) -> Result<()> {
    let ((codes, depth), (n, wanted)) = (book.means.dims2()?, vectors.dims2()?);
    let fits = book.sums.dims() == [codes, depth] && book.count.dims() == [codes] && indices.dims() == [n];
    if depth != wanted || !fits || depth == 0 || n == 0 {
        candle_core::bail!(
            "codebook: vectors {:?} and indices {:?} do not fit {codes} entries of {depth}, or are empty",
            vectors.dims(),
            indices.dims()
        );
    }
    if place(&book.means) != Place::Cpu {
        return composed(book, vectors, indices, decay, epsilon);
    }
    let vectors = vectors.detach().contiguous()?;
    let mut assigned = vec![Vec::new(); codes];
    for (i, code) in indices.to_vec1::<u32>()?.into_iter().enumerate() {
        match assigned.get_mut(code as usize) {
            Some(assigned) => assigned.push(i),
            None => candle_core::bail!("codebook: index {code} of {codes} entries"),
        }
    }
    let (keep, rest, epsilon) = (decay as f32, (1.0 - decay) as f32, epsilon as f32);
    with_values_mut([&book.means, &book.count, &book.sums], &vectors, |[means, count, sums], vectors| {
        for (count, assigned) in count.iter_mut().zip(&assigned) {
            *count = *count * keep + assigned.len() as f32 * rest;
        }
        // In one order, whatever the number of threads.
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

/// [`follow`] from candle's own operations.
fn composed(book: &Codebook, vectors: &Tensor, indices: &Tensor, decay: f64, epsilon: f64) -> Result<()> {
    let (codes, rest) = (book.means.dim(0)?, 1.0 - decay);
    let ones = Tensor::ones(indices.dim(0)?, vectors.dtype(), vectors.device())?;
    let assigned = book.count.zeros_like()?.index_add(indices, &ones, 0)?;
    let count = ((book.count.as_tensor().detach() * decay)? + (assigned * rest)?)?;
    let added = (vectors.detach() * rest)?;
    let sums = (book.sums.as_tensor().detach() * decay)?.index_add(indices, &added, 0)?;
    let total = count.sum_all()?;
    let smoothing = (&total / (&total + codes as f64 * epsilon)?)?;
    let smoothed = (&count + epsilon)?.broadcast_mul(&smoothing)?;
    book.means.set(&sums.broadcast_div(&smoothed.unsqueeze(1)?)?)?;
    book.count.set(&count)?;
    book.sums.set(&sums)
}
