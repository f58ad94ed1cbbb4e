//! The fused kernels for the CPU, in `f32`.
//!
//! A chain of convolutions with leaky ReLU, 2x2 mean and upscaling between them is one custom operation of candle, with
//! one backward pass (`chain.rs`); `merge.rs` replaces the first two convolutions by one where that saves work. A
//! convolution uses Winograd tiles (`winograd.rs`, `winograd_kernels.rs`, `tiling.rs`) if its kernels are 3x3, full
//! tiles cover the image, and channels fill vectors; any other one is computed directly (`direct.rs`,
//! `direct_kernels.rs`). The operations between two convolutions are applied to outputs that are still in registers
//! (`epilogue.rs`).
//!
//! The order of every sum, or its division into parts, depends on the shapes alone, so results have the same bits for
//! any number of threads.

mod adam;
mod chain;
mod direct;
mod direct_kernels;
mod epilogue;
mod grid;
mod lanes;
mod matrix_product;
mod merge;
mod nearest;
mod ops;
mod resize;
mod scratch;
mod step;
mod tiling;
mod winograd;
mod winograd_kernels;

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, Var};

pub(crate) use adam::{AdamConstants, adam};
pub(crate) use lanes::isa;
pub use lanes::{Isa, isas, with_isa};
pub(crate) use nearest::nearest;
pub(crate) use ops::{chain, dense, downscale2, upscale2};

/// Measures the speed of the inner matrix product on all threads, with data in the nearest caches, in GFLOP/s (a
/// multiply-add counts as two operations). Returns the best of three runs.
pub fn matrix_rate() -> f64 {
    use rayon::prelude::*;
    let (isa, depth, rows) = (lanes::isa(), 256, 2 * matrix_product::ROW_BLOCK);
    let (a, panel) = (vec![1.0; rows * depth], vec![[1.0; lanes::LANES]; depth]);
    let (threads, times) = (rayon::current_num_threads(), 20_000);
    let run = || {
        (0..threads).into_par_iter().for_each(|_| {
            let mut out = vec![[0.0; lanes::LANES]; rows];
            for _ in 0..times {
                matrix_product::product(isa, &a, std::hint::black_box(&panel), &mut out);
            }
            std::hint::black_box(&out);
        });
    };
    let flops = (2 * threads * times * a.len() * lanes::LANES) as f64;
    let rate = || {
        let started = std::time::Instant::now();
        run();
        flops / started.elapsed().as_secs_f64() / 1e9
    };
    (0..3).map(|_| rate()).fold(0.0, f64::max)
}

/// Returns the contiguous `f32` values of a storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused operation was given a tensor that is not contiguous");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Calls `f` with the values of some `f32` tensors on the CPU.
pub(crate) fn with_values<T>(tensors: &[&Tensor], f: impl FnOnce(&[&[f32]]) -> Result<T>) -> Result<T> {
    let guards: Vec<_> = tensors.iter().map(|t| t.storage_and_layout()).collect();
    let values = guards.iter().map(|(storage, layout)| match &**storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => candle_core::bail!("a fused operation was given a tensor of another device"),
    });
    f(&values.collect::<Result<Vec<_>>>()?)
}

/// Calls `f` with mutable values of three `f32` variables on the CPU, and the values of another tensor.
pub(crate) fn with_values_mut(
    vars: [&Var; 3],
    other: &Tensor,
    f: impl FnOnce([&mut [f32]; 3], &[f32]),
) -> Result<()> {
    let [a, b, c] = vars;
    refuse_shared([a.as_tensor(), b.as_tensor(), c.as_tensor(), other])?;
    // candle gives access to one tensor's values per call, so the calls are nested and the innermost one has all
    // values.
    with_values(&[other], |other| {
        change(a, |a| {
            change(b, |b| {
                change(c, |c| {
                    f([a, b, c], other[0]);
                    Ok(())
                })
            })
        })
    })
}

/// Calls `f` with mutable values of one `f32` variable on the CPU, and the values of another tensor.
pub(crate) fn with_value_mut(var: &Var, other: &Tensor, f: impl FnOnce(&mut [f32], &[f32])) -> Result<()> {
    refuse_shared([var.as_tensor(), other])?;
    with_values(&[other], |other| {
        change(var, |values| {
            f(values, other[0]);
            Ok(())
        })
    })
}

/// Fails if two of the tensors share their memory: candle locks a tensor's values while they are in use, so locking the
/// same values twice would deadlock.
fn refuse_shared<const N: usize>(tensors: [&Tensor; N]) -> Result<()> {
    let guards = tensors.map(|tensor| tensor.storage_and_layout().0);
    let addresses = guards.each_ref().map(|storage| std::ptr::from_ref::<Storage>(storage));
    if (1..addresses.len()).any(|i| addresses[..i].contains(&addresses[i])) {
        candle_core::bail!("a fused operation was given two tensors that share their values");
    }
    Ok(())
}

/// Calls `f` with the mutable values of a variable.
fn change(var: &Var, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    struct Change<F>(Cell<Option<F>>);

    impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Change<F> {
        fn name(&self) -> &'static str {
            "change"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
            let Some((start, end)) = layout.contiguous_offsets() else {
                candle_core::bail!("a fused operation was given a variable that is not contiguous");
            };
            match (storage, self.0.take()) {
                (CpuStorage::F32(values), Some(f)) => f(&mut values[start..end]),
                _ => candle_core::bail!("a fused operation was given a variable that is not f32"),
            }
        }
    }

    var.inplace_op1(&Change(Cell::new(Some(f))))
}
