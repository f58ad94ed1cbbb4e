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

/// Updates the entries in place. With `n` vectors assigned to an entry and `Σ` their sum,
/// `count ← decay·count + (1−decay)·n`, `sums ← decay·sums + (1−decay)·Σ`, then
/// `means ← sums / ((count + ε) / (N + codes·ε) · N)`, where `N` is the sum of the new counts and `ε` is `epsilon`.
///
/// # Shapes
/// `vectors` `[n, d]`; `indices` `[n]`, `u32` below `codes`: the entry that each vector is assigned to.
///
/// # Errors
/// If the shapes do not fit together or are empty, an index is too large, or the vectors are a view of the codebook.
pub fn follow(
    book: &CodebookAverages,
    vectors: &Tensor,
    indices: &Tensor,
    decay: f64,
    epsilon: f64,
) -> Result<()> {
    let (codes, depth) = check(book, vectors)?;
    if indices.dims() != [vectors.dim(0)?] {
        candle_core::bail!("codebook: indices {:?} for vectors {:?}", indices.dims(), vectors.dims());
    }
    if backend(&book.means) != Backend::Cpu {
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

/// Checks that vectors fit a codebook; returns its number of entries and their size.
fn check(book: &CodebookAverages, vectors: &Tensor) -> Result<(usize, usize)> {
    let ((codes, depth), (n, wanted)) = (book.means.dims2()?, vectors.dims2()?);
    let fits = book.sums.dims() == [codes, depth] && book.count.dims() == [codes];
    if depth != wanted || !fits || depth == 0 || n == 0 {
        candle_core::bail!(
            "codebook: vectors {:?} do not fit {codes} entries of {depth}, or are empty",
            vectors.dims()
        );
    }
    Ok((codes, depth))
}

/// The composed form of [`follow`].
fn composed(
    book: &CodebookAverages,
    vectors: &Tensor,
    indices: &Tensor,
    decay: f64,
    epsilon: f64,
) -> Result<()> {
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

/// Replaces rarely used entries by vectors of the batch, in place (random restarts; Jukebox, Dhariwal et al. 2020,
/// section 3.1). As many entries are checked as there are vectors, and each whose `count` is less than `below` becomes
/// one of the vectors, with a count of 1 and the vector as its sum. The checked entries are consecutive, from a
/// randomly drawn one on and wrapping around at the end. No vector is used twice in a call, so that the new entries
/// differ; filling a whole codebook takes at least `codes / n` calls.
///
/// # Shapes
/// `vectors` `[n, d]`; `draws` `[2]`, uniform in [0, 1), which choose the first entry and the first vector; `order`
/// `[codes]`: 0, 1, 2 and so on, in the vectors' type.
///
/// # Errors
/// If the shapes do not fit together or are empty, or the vectors are a view of the codebook.
pub fn restart(
    book: &CodebookAverages,
    vectors: &Tensor,
    draws: &Tensor,
    order: &Tensor,
    below: f64,
) -> Result<()> {
    let ((codes, depth), n) = (check(book, vectors)?, vectors.dim(0)?);
    if draws.dims() != [2] || order.dims() != [codes] {
        candle_core::bail!(
            "codebook: draws {:?}, wanted [2]; order {:?}, wanted [{codes}]",
            draws.dims(),
            order.dims()
        );
    }
    let looked = n.min(codes);
    if backend(&book.means) != Backend::Cpu {
        return restart_composed(book, vectors, draws, &order.narrow(0, 0, looked)?, below);
    }
    let first = |draw: f32, of: usize| (draw * of as f32) as usize;
    let draws = draws.to_vec1::<f32>()?;
    let (entry, vector) = (first(draws[0], codes), first(draws[1], n));
    let vectors = vectors.detach().contiguous()?;
    with_values_mut([&book.means, &book.count, &book.sums], &vectors, |[means, count, sums], vectors| {
        for i in 0..looked {
            let (entry, vector) = ((entry + i) % codes, (vector + i) % n);
            if count[entry] < below as f32 {
                let vector = &vectors[vector * depth..][..depth];
                count[entry] = 1.0;
                means[entry * depth..][..depth].copy_from_slice(vector);
                sums[entry * depth..][..depth].copy_from_slice(vector);
            }
        }
    })
}

/// The composed form of [`restart`]; `order` is only as long as the number of entries to check.
fn restart_composed(
    book: &CodebookAverages,
    vectors: &Tensor,
    draws: &Tensor,
    order: &Tensor,
    below: f64,
) -> Result<()> {
    let ((codes, depth), n, looked) = (book.means.dims2()?, vectors.dim(0)?, order.dim(0)?);
    // Returns 1 for positive numbers and 0 otherwise, without uploading a constant to the device.
    let positive = |x: Tensor| x.sign()?.relu();
    // Returns consecutive indices from the drawn one on, wrapping around at `of`.
    let indices = |draw: usize, of: usize| -> Result<Tensor> {
        let first = (draws.narrow(0, draw, 1)? * of as f64)?.floor()?;
        let places = order.broadcast_add(&first)?;
        let beyond = positive((&places - (of as f64 - 0.5))?)?;
        (places - (beyond * of as f64)?)?.to_dtype(DType::U32)
    };
    let entries = indices(0, codes)?;
    let vectors = vectors.detach().contiguous()?.index_select(&indices(1, n)?, 0)?;
    let count = book.count.as_tensor().detach().index_select(&entries, 0)?;
    let unused = positive(((&count * -1.0)? + below)?)?;
    let used = ((&unused * -1.0)? + 1.0)?;
    // Products with 0 and 1 are exact, so unchanged entries keep their bits.
    let count = ((count * &used)? + &unused)?;
    let (used, unused) = (used.unsqueeze(1)?, unused.unsqueeze(1)?);
    let rows = entries.unsqueeze(1)?.expand((looked, depth))?.contiguous()?;
    let new = vectors.broadcast_mul(&unused)?;
    for var in [&book.means, &book.sums] {
        let old = var.as_tensor().detach().index_select(&entries, 0)?;
        var.scatter_set(&rows, &(old.broadcast_mul(&used)? + &new)?, 0)?;
    }
    book.count.scatter_set(&entries, &count, 0)
}
