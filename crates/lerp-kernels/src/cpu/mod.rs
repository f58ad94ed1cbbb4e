//! Fused forms on the CPU, in `f32`.
//!
//! Convolutions run in chains (`chain.rs`), with leaky ReLU, 2x2 mean and enlargement between them and their gradients in
//! one operation of candle's. A convolution of 3x3 kernels over even sides, with channels in full vectors, takes Winograd's
//! form (`winograd.rs`, `wino_tile.rs`, `points.rs`), any other goes tap by tap (`direct.rs`, `tile.rs`).
//!
//! Every sum is taken in an order, or in parts, that depend on the shapes alone, so results have the same bits for any number
//! of threads.

mod chain;
mod direct;
mod grid;
mod lanes;
mod nearest;
mod ops;
mod points;
mod resize;
mod scratch;
mod tile;
mod wino_tile;
mod winograd;

use candle_core::{CpuStorage, Layout, Result};

pub use lanes::{Isa, isas, with_isa};
pub(crate) use nearest::nearest;
pub(crate) use ops::{chain, downscale2, upscale2};

/// Multiply-adds a second of this machine's threads in the inner product, from the nearest cache, times two: GFLOP/s.
pub fn matrix_rate() -> f64 {
    use rayon::prelude::*;
    let (isa, depth, rows) = (lanes::isa(), 256, 2 * wino_tile::ROW_BLOCK);
    let (a, panel) = (vec![1.0; rows * depth], vec![[1.0; lanes::LANES]; depth]);
    let (threads, times) = (rayon::current_num_threads(), 20_000);
    let run = || {
        (0..threads).into_par_iter().for_each(|_| {
            let mut out = vec![[0.0; lanes::LANES]; rows];
            for _ in 0..times {
                wino_tile::product(isa, &a, std::hint::black_box(&panel), &mut out);
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

/// The contiguous `f32` values of a storage.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused operation was given a tensor that is not contiguous");
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// The contiguous `f32` values of a storage, to be changed.
pub(crate) fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused operation was given a tensor that is not contiguous");
    };
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[start..end]),
        _ => candle_core::bail!("a fused operation was given a tensor that is not f32"),
    }
}
