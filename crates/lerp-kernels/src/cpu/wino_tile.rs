//! The inner kernels of Winograd's convolution: transforms of patches and the matrix products between them.
//!
//! A tile has `n - 2` by `n - 2` outputs and `n` by `n` points, `n` being 4 or 6 (`points.rs`).
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use std::mem::MaybeUninit;

use super::{
    lanes::{Isa, LANES, Lanes, on_isa, on_isa_registers},
    points::{block_points, input_points, kernel_from_points, kernel_points, output_points},
};

/// Rows of a product are a multiple of this: of the tile's rows on every instruction set.
pub(super) const ROW_BLOCK: usize = 8;

/// Floats from one point of patches to the next, for `tiles` tiles: not a power of two, or all points of a tile would
/// compete for the same few lines of the cache.
pub(super) fn patch_stride(tiles: usize, channels: usize) -> usize {
    tiles * channels + LANES
}

/// Rows of lanes from one point of blocks or products to the next; see [`patch_stride`].
pub(super) fn row_stride(tiles: usize) -> usize {
    tiles + 1
}

/// Calls a body in the form of an instruction set and of `n`, which is 4 or 6; see [`on_isa_registers`].
macro_rules! on_points {
    ($isa:expr, $n:expr, $body:ident($($argument:ident: $type:ty),* $(,)?)) => {
        if $n == 4 {
            on_isa_registers!($isa, $body[4]($($argument: $type),*));
        } else {
            on_isa_registers!($isa, $body[6]($($argument: $type),*));
        }
    };
}

/// Tiles of channels-last images: where each begins, and floats from one row of pixels to the next.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    pub origins: &'a [usize],
    pub pitch: usize,
    pub channels: usize,
}

/// # Panics
/// If squares of `side` pixels at the origins do not lie inside `len` values.
fn check_inside(len: usize, origins: &[usize], side: usize, (pitch, channels): (usize, usize)) {
    let furthest = origins.iter().max().map_or(0, |o| o + (side - 1) * pitch + side * channels);
    assert!(furthest <= len, "a tile reaches {furthest} of {len}");
}

/// `out[t] = Σ_c a[t·depth + c]·panel[c]`, for all rows `t`.
///
/// # Panics
/// If the sizes do not fit together, or the rows are no multiple of [`ROW_BLOCK`].
pub(super) fn product(isa: Isa, a: &[f32], panel: &[[f32; LANES]], out: &mut [[f32; LANES]]) {
    assert!(
        out.len().is_multiple_of(ROW_BLOCK) && a.len() == out.len() * panel.len(),
        "product of unequal sizes"
    );
    // SAFETY: the sizes are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, product_body[8, 4, 4, 2](a: &[f32], panel: &[[f32; LANES]], out: &mut [[f32; LANES]]));
    }
}

/// # Safety
/// As [`product`] checks.
#[inline(always)]
unsafe fn product_body<L: Lanes, const R: usize>(
    a: &[f32],
    panel: &[[f32; LANES]],
    out: &mut [[f32; LANES]],
) {
    // SAFETY: rows lie inside `a`, since it is as long as `out` and `panel` say; R divides the number of rows.
    unsafe {
        let depth = panel.len();
        for t in (0..out.len()).step_by(R) {
            let rows = a.as_ptr().add(t * depth);
            let mut sums = [L::splat(0.0); R];
            for (c, lanes) in panel.iter().enumerate() {
                let lanes = L::load(lanes.as_ptr());
                for r in 0..R {
                    sums[r] = sums[r].fma(L::splat(*rows.add(r * depth + c)), lanes);
                }
            }
            for r in 0..R {
                sums[r].store(out.as_mut_ptr().add(t + r).cast());
            }
        }
    }
}

/// `sum[c] += Σ_t a[t·sum.len() + c]·b[t]`: the product of `a`'s transpose with `b`.
///
/// # Panics
/// If the sizes do not fit together, `b` is empty, or the length of `sum` is no multiple of [`LANES`].
pub(super) fn transposed_product(isa: Isa, a: &[f32], b: &[[f32; LANES]], sum: &mut [[f32; LANES]]) {
    assert!(
        !b.is_empty() && sum.len().is_multiple_of(LANES) && a.len() == sum.len() * b.len(),
        "product of unequal sizes"
    );
    // SAFETY: the sizes are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, transposed_product_body[16, 4, 4, 2](a: &[f32], b: &[[f32; LANES]], sum: &mut [[f32; LANES]]));
    }
}

/// # Safety
/// As [`transposed_product`] checks.
#[inline(always)]
unsafe fn transposed_product_body<L: Lanes, const R: usize>(
    a: &[f32],
    b: &[[f32; LANES]],
    sum: &mut [[f32; LANES]],
) {
    // SAFETY: as in `product_body`; R divides LANES, which divides the length of `sum`.
    unsafe {
        let width = sum.len();
        for c in (0..width).step_by(R) {
            let to: *mut f32 = sum.as_mut_ptr().add(c).cast();
            let mut sums = [L::splat(0.0); R];
            for r in 0..R {
                sums[r] = L::load(to.add(r * LANES));
            }
            let mut from = a.as_ptr().add(c);
            for lanes in b {
                let lanes = L::load(lanes.as_ptr());
                for r in 0..R {
                    sums[r] = sums[r].fma(L::splat(*from.add(r)), lanes);
                }
                from = from.wrapping_add(width);
            }
            for r in 0..R {
                sums[r].store(to.add(r * LANES));
            }
        }
    }
}

/// `Bᵀ·d·B` of the patches `d` of `n` by `n` pixels, for every channel: `out[point][tile][channel]`, with `stride` floats
/// between points.
///
/// # Panics
/// If a patch lies outside the images, or `out` is too short.
pub(super) fn patches(isa: Isa, n: usize, (values, tiles): (&[f32], Tiles), out: &mut [f32], stride: usize) {
    let Tiles { origins, pitch, channels } = tiles;
    check_inside(values.len(), origins, n, (pitch, channels));
    assert!(channels.is_multiple_of(LANES) && origins.len() * channels <= stride, "tiles do not fit");
    assert!(out.len() >= n * n * stride, "the patches do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        on_points!(isa, n, patches_body(
        values: &[f32], origins: &[usize], pitch: usize, channels: usize, out: &mut [f32], stride: usize,
        ));
    }
}

/// # Safety
/// As [`patches`] checks.
#[inline(always)]
unsafe fn patches_body<L: Lanes, const N: usize>(
    values: &[f32],
    origins: &[usize],
    pitch: usize,
    channels: usize,
    out: &mut [f32],
    stride: usize,
) {
    // SAFETY: patches lie inside `values`; `out` has room for every point.
    unsafe {
        for (tile, origin) in origins.iter().enumerate() {
            for c in (0..channels).step_by(L::WIDTH) {
                // Loops, no closures: what a closure calls is not inlined with the instruction set.
                let from = values.as_ptr().add(origin + c);
                let mut d = [[L::splat(0.0); N]; N];
                for i in 0..N {
                    let mut row = [L::splat(0.0); N];
                    for j in 0..N {
                        row[j] = L::load(from.add(i * pitch + j * channels));
                    }
                    d[i] = input_points(row);
                }
                let to = out.as_mut_ptr().add(tile * channels + c);
                for j in 0..N {
                    let mut column = [L::splat(0.0); N];
                    for i in 0..N {
                        column[i] = d[i][j];
                    }
                    let column = input_points(column);
                    for i in 0..N {
                        column[i].store(to.add((i * N + j) * stride));
                    }
                }
            }
        }
    }
}

/// `A·g·Aᵀ` of the blocks `g` of `n - 2` by `n - 2` gradients, for 16 channels from `channel` on: `out[point][tile]`, with
/// `stride` rows between points. Adds the blocks' sums to `sum`.
///
/// # Panics
/// If a block lies outside the images, or `out` is too short.
pub(super) fn blocks(
    isa: Isa,
    n: usize,
    (values, tiles, channel): (&[f32], Tiles, usize),
    (out, stride): (&mut [[f32; LANES]], usize),
    sum: &mut [f32; LANES],
) {
    let Tiles { origins, pitch, channels } = tiles;
    check_inside(values.len(), origins, n - 2, (pitch, channels));
    assert!(channel + LANES <= channels && origins.len() <= stride, "tiles do not fit");
    assert!(out.len() >= n * n * stride, "the blocks do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let grad = values.as_ptr().add(channel);
        on_points!(isa, n, blocks_body(
        grad: *const f32, origins: &[usize], pitch: usize, channels: usize, out: &mut [[f32; LANES]],
        stride: usize, sum: &mut [f32; LANES],
        ));
    }
}

/// # Safety
/// As [`blocks`] checks.
#[inline(always)]
unsafe fn blocks_body<L: Lanes, const N: usize>(
    grad: *const f32,
    origins: &[usize],
    pitch: usize,
    channels: usize,
    out: &mut [[f32; LANES]],
    stride: usize,
    sum: &mut [f32; LANES],
) {
    // SAFETY: blocks lie inside the images; `out` has room for every point.
    unsafe {
        for c in (0..LANES).step_by(L::WIDTH) {
            let mut total = L::load(sum.as_ptr().add(c));
            for (tile, origin) in origins.iter().enumerate() {
                let from = grad.add(origin + c);
                let mut across = [[L::splat(0.0); N]; 4];
                for i in 0..N - 2 {
                    let mut row = [L::splat(0.0); 4];
                    for j in 0..N - 2 {
                        row[j] = L::load(from.add(i * pitch + j * channels));
                        total = total.add(row[j]);
                    }
                    across[i] = block_points(row);
                }
                let to = out.as_mut_ptr().add(tile).cast::<f32>().add(c);
                for j in 0..N {
                    let column: [L; N] =
                        block_points([across[0][j], across[1][j], across[2][j], across[3][j]]);
                    for i in 0..N {
                        column[i].store(to.add((i * N + j) * stride * LANES));
                    }
                }
            }
            total.store(sum.as_mut_ptr().add(c));
        }
    }
}

/// `Aᵀ·m·A` of the products `m[point][tile]`, with `stride` rows between points, plus bias, through a leaky ReLU of the
/// given slope (1: none), to 16 channels from `channel` on of the tiles of `out`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn outputs(
    isa: Isa,
    n: usize,
    (products, stride): (&[[f32; LANES]], usize),
    (bias, slope): (&[f32; LANES], f32),
    (out, tiles, channel): (&mut [MaybeUninit<f32>], Tiles, usize),
) {
    let Tiles { origins, pitch, channels } = tiles;
    check_inside(out.len(), origins, n - 2, (pitch, channels));
    assert!(channel + LANES <= channels && origins.len() <= stride, "tiles do not fit");
    assert!(products.len() >= n * n * stride, "there are not enough products");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let out = out.as_mut_ptr().cast::<f32>().add(channel);
        on_points!(isa, n, outputs_body(
        products: &[[f32; LANES]], stride: usize, bias: &[f32; LANES], slope: f32, origins: &[usize],
        pitch: usize, channels: usize, out: *mut f32,
        ));
    }
}

/// # Safety
/// As [`outputs`] checks.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn outputs_body<L: Lanes, const N: usize>(
    products: &[[f32; LANES]],
    stride: usize,
    bias: &[f32; LANES],
    slope: f32,
    origins: &[usize],
    pitch: usize,
    channels: usize,
    out: *mut f32,
) {
    // SAFETY: every point has a product for each tile; tiles lie inside `out`.
    unsafe {
        let slope = L::splat(slope);
        for (tile, origin) in origins.iter().enumerate() {
            for c in (0..LANES).step_by(L::WIDTH) {
                let from = products.as_ptr().add(tile).cast::<f32>().add(c);
                let mut down = [[L::splat(0.0); 4]; N];
                for j in 0..N {
                    let mut column = [L::splat(0.0); N];
                    for i in 0..N {
                        column[i] = L::load(from.add((i * N + j) * stride * LANES));
                    }
                    down[j] = output_points(column);
                }
                let bias = L::load(bias.as_ptr().add(c));
                for i in 0..N - 2 {
                    let mut row = [L::splat(0.0); N];
                    for j in 0..N {
                        row[j] = down[j][i];
                    }
                    let row = output_points(row);
                    for j in 0..N - 2 {
                        let value = row[j].add(bias);
                        value.max(value.mul(slope)).store(out.add(origin + i * pitch + j * channels + c));
                    }
                }
            }
        }
    }
}

/// `G·w·Gᵀ` of 3x3 kernels, 16 output channels from `channel` on: `weights[tap][c][channels]` to `out[point][c]`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels(
    isa: Isa,
    n: usize,
    weights: &[f32],
    (channels, channel): (usize, usize),
    out: &mut [MaybeUninit<[f32; LANES]>],
) {
    let depth = out.len() / (n * n);
    assert!(out.len() == n * n * depth && weights.len() == 9 * depth * channels, "kernels of unequal sizes");
    assert!(channel + LANES <= channels, "channels do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let weights = weights.as_ptr().add(channel);
        on_points!(isa, n, kernels_body(
        weights: *const f32, channels: usize, out: &mut [MaybeUninit<[f32; LANES]>], depth: usize,
        ));
    }
}

/// # Safety
/// As [`kernels`] checks.
#[inline(always)]
unsafe fn kernels_body<L: Lanes, const N: usize>(
    weights: *const f32,
    channels: usize,
    out: &mut [MaybeUninit<[f32; LANES]>],
    depth: usize,
) {
    // SAFETY: there are nine taps and `N`² points of `depth` rows each.
    unsafe {
        for at in 0..depth {
            for c in (0..LANES).step_by(L::WIDTH) {
                let mut down = [[L::splat(0.0); N]; 3];
                for j in 0..3 {
                    let mut column = [L::splat(0.0); 3];
                    for i in 0..3 {
                        column[i] = L::load(weights.add(((i * 3 + j) * depth + at) * channels + c));
                    }
                    down[j] = kernel_points(column);
                }
                for i in 0..N {
                    let row: [L; N] = kernel_points([down[0][i], down[1][i], down[2][i]]);
                    for j in 0..N {
                        row[j].store(out.as_mut_ptr().add((i * N + j) * depth + at).cast::<f32>().add(c));
                    }
                }
            }
        }
    }
}

/// `Gᵀ·u·G` of the gradients of the points of 3x3 kernels, `points[point][c]`, of 16 output channels: `out[tap][c]`, with
/// `channels` floats from one `c` to the next. The output channels begin at `channel`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels_from_points(
    isa: Isa,
    n: usize,
    points: &[[f32; LANES]],
    (channels, channel): (usize, usize),
    out: &mut [MaybeUninit<f32>],
) {
    let depth = points.len() / (n * n);
    assert!(points.len() == n * n * depth && out.len() == 9 * depth * channels, "kernels of unequal sizes");
    assert!(channel + LANES <= channels, "channels do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let out = out.as_mut_ptr().cast::<f32>().add(channel);
        on_points!(isa, n, kernels_from_points_body(
        points: &[[f32; LANES]], depth: usize, channels: usize, out: *mut f32,
        ));
    }
}

/// # Safety
/// As [`kernels_from_points`] checks.
#[inline(always)]
unsafe fn kernels_from_points_body<L: Lanes, const N: usize>(
    points: &[[f32; LANES]],
    depth: usize,
    channels: usize,
    out: *mut f32,
) {
    // SAFETY: there are nine taps and `N`² points of `depth` rows each.
    unsafe {
        for at in 0..depth {
            for c in (0..LANES).step_by(L::WIDTH) {
                let mut down = [[L::splat(0.0); 3]; N];
                for j in 0..N {
                    let mut column = [L::splat(0.0); N];
                    for i in 0..N {
                        column[i] =
                            L::load(points.as_ptr().add((i * N + j) * depth + at).cast::<f32>().add(c));
                    }
                    down[j] = kernel_from_points(column);
                }
                for i in 0..3 {
                    let mut row = [L::splat(0.0); N];
                    for j in 0..N {
                        row[j] = down[j][i];
                    }
                    let row = kernel_from_points(row);
                    for j in 0..3 {
                        row[j].store(out.add(((i * 3 + j) * depth + at) * channels + c));
                    }
                }
            }
        }
    }
}
