//! The inner kernels of Winograd's convolution: transforms of 4x4 patches and the matrix products between them.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Isa, LANES, Lanes, on_isa};

/// Points of a transformed 4x4 patch.
pub(super) const POINTS: usize = 16;

/// Rows of a product are a multiple of this: of the tile's rows on every instruction set.
pub(super) const ROW_BLOCK: usize = 16;

static ZEROS: [f32; LANES] = [0.0; LANES];

/// Floats from one point of patches to the next, for `tiles` tiles: not a power of two, or all points of a tile would
/// compete for the same few lines of the cache.
pub(super) fn patch_stride(tiles: usize, channels: usize) -> usize {
    tiles * channels + LANES
}

/// Rows of lanes from one point of blocks or products to the next; see [`patch_stride`].
pub(super) fn row_stride(tiles: usize) -> usize {
    tiles + 1
}

/// Where a row of pixels begins in an image, or outside of it.
pub(super) type Row = Option<usize>;

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
        on_isa!(isa, product_body[16, 4, 4, 4](a: &[f32], panel: &[[f32; LANES]], out: &mut [[f32; LANES]]));
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
/// If the sizes do not fit together, or the length of `sum` is no multiple of [`LANES`].
pub(super) fn transposed_product(isa: Isa, a: &[f32], b: &[[f32; LANES]], sum: &mut [[f32; LANES]]) {
    assert!(sum.len().is_multiple_of(LANES) && a.len() == sum.len() * b.len(), "product of unequal sizes");
    // SAFETY: the sizes are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, transposed_product_body[16, 4, 4, 4](a: &[f32], b: &[[f32; LANES]], sum: &mut [[f32; LANES]]));
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

/// `Bᵀ·d·B` of the 4x4 patches `d` around every second pixel of one pair of rows, zero outside the image, for every
/// channel: `out[point][first + tile][channel]`, with [`patch_stride`] between points.
///
/// # Panics
/// If a row lies outside `x`, or `out` is too short.
pub(super) fn patches(
    isa: Isa,
    (x, rows): (&[f32], &[Row; 4]),
    (width, channels): (usize, usize),
    (out, tiles, first): (&mut [f32], usize, usize),
) {
    let inside = |row: &usize| row + width * channels <= x.len();
    assert!(rows.iter().flatten().all(inside), "a row lies outside the image");
    assert!(channels.is_multiple_of(LANES) && first + width / 2 <= tiles, "tiles do not fit");
    assert!(out.len() >= POINTS * patch_stride(tiles, channels), "the patches do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, patches_body[1, 1, 1, 1](
            x: &[f32], rows: &[Row; 4], width: usize, channels: usize, out: &mut [f32], tiles: usize, first: usize,
        ));
    }
}

/// # Safety
/// As [`patches`] checks.
#[inline(always)]
unsafe fn patches_body<L: Lanes, const R: usize>(
    x: &[f32],
    rows: &[Row; 4],
    width: usize,
    channels: usize,
    out: &mut [f32],
    tiles: usize,
    first: usize,
) {
    // SAFETY: pixels of a row that is there lie inside `x`, others are not read; `out` has room for every point.
    unsafe {
        let point = patch_stride(tiles, channels);
        for tile in 0..width / 2 {
            // Pixels outside the image are read from zeros, which do not move with the channel.
            let (mut pixels, mut steps) = ([ZEROS.as_ptr(); 16], [0; 16]);
            for i in 0..4 {
                for j in 0..4 {
                    // Column 2·tile + j - 1.
                    if let (Some(row), true) = (rows[i], (1..=width).contains(&(2 * tile + j))) {
                        pixels[i * 4 + j] = x.as_ptr().add(row + (2 * tile + j - 1) * channels);
                        steps[i * 4 + j] = 1;
                    }
                }
            }
            for c in (0..channels).step_by(LANES) {
                // Loops, no closures: what a closure calls is not inlined with the instruction set.
                let mut d = [[L::splat(0.0); 4]; 4];
                for i in 0..4 {
                    let mut row = [L::splat(0.0); 4];
                    for j in 0..4 {
                        row[j] = L::load(pixels[i * 4 + j].add(steps[i * 4 + j] * c));
                    }
                    d[i] = input_points(row);
                }
                let to = out.as_mut_ptr().add((first + tile) * channels + c);
                for j in 0..4 {
                    let column = input_points([d[0][j], d[1][j], d[2][j], d[3][j]]);
                    for i in 0..4 {
                        column[i].store(to.add((i * 4 + j) * point));
                    }
                }
            }
        }
    }
}

/// `Bᵀ·d`.
#[inline(always)]
unsafe fn input_points<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 4] {
    // SAFETY: passed on to the caller.
    unsafe { [a.sub(c), b.add(c), c.sub(b), b.sub(d)] }
}

/// `A·g·Aᵀ` of the 2x2 blocks `g` of one pair of rows, for 16 channels from `channel` on:
/// `out[point][first + tile]`, with [`row_stride`] between points.
///
/// # Panics
/// If a row lies outside `grad`, or `out` is too short.
pub(super) fn blocks(
    isa: Isa,
    (grad, rows): (&[f32], [usize; 2]),
    (width, channels, channel): (usize, usize, usize),
    (out, tiles, first): (&mut [[f32; LANES]], usize, usize),
) {
    assert!(rows.iter().all(|row| row + width * channels <= grad.len()), "a row lies outside the image");
    assert!(channel + LANES <= channels && first + width / 2 <= tiles, "tiles do not fit");
    assert!(out.len() >= POINTS * row_stride(tiles), "the blocks do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, blocks_body[1, 1, 1, 1](
            grad: &[f32], rows: [usize; 2], width: usize, channels: usize, channel: usize,
            out: &mut [[f32; LANES]], tiles: usize, first: usize,
        ));
    }
}

/// # Safety
/// As [`blocks`] checks.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn blocks_body<L: Lanes, const R: usize>(
    grad: &[f32],
    rows: [usize; 2],
    width: usize,
    channels: usize,
    channel: usize,
    out: &mut [[f32; LANES]],
    tiles: usize,
    first: usize,
) {
    // SAFETY: both rows lie inside `grad`; `out` has room for every point.
    unsafe {
        for tile in 0..width / 2 {
            let mut across = [[L::splat(0.0); 4]; 2];
            for i in 0..2 {
                let from = grad.as_ptr().add(rows[i] + 2 * tile * channels + channel);
                across[i] = block_points([L::load(from), L::load(from.add(channels))]);
            }
            for j in 0..4 {
                let column = block_points([across[0][j], across[1][j]]);
                for i in 0..4 {
                    column[i]
                        .store(out.as_mut_ptr().add((i * 4 + j) * row_stride(tiles) + first + tile).cast());
                }
            }
        }
    }
}

/// `A·g`.
#[inline(always)]
unsafe fn block_points<L: Lanes>([a, b]: [L; 2]) -> [L; 4] {
    // SAFETY: passed on to the caller.
    unsafe { [a, a.add(b), a.sub(b), L::splat(0.0).sub(b)] }
}

/// `Aᵀ·m·A` of the products `m[point][first + tile]`, plus bias, through a leaky ReLU of the given slope (1: none), to
/// one pair of output rows, of which 16 channels from `channel` on are written.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn outputs(
    isa: Isa,
    (products, tiles, first): (&[[f32; LANES]], usize, usize),
    (bias, slope): (&[f32; LANES], f32),
    (width, channels, channel): (usize, usize, usize),
    out: &mut [f32],
) {
    assert!(products.len() >= POINTS * row_stride(tiles) && first + width / 2 <= tiles, "tiles do not fit");
    assert!(channel + LANES <= channels && out.len() == 2 * width * channels, "the outputs do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, outputs_body[1, 1, 1, 1](
            products: &[[f32; LANES]], tiles: usize, first: usize, bias: &[f32; LANES], slope: f32,
            width: usize, channels: usize, channel: usize, out: &mut [f32],
        ));
    }
}

/// # Safety
/// As [`outputs`] checks.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn outputs_body<L: Lanes, const R: usize>(
    products: &[[f32; LANES]],
    tiles: usize,
    first: usize,
    bias: &[f32; LANES],
    slope: f32,
    width: usize,
    channels: usize,
    channel: usize,
    out: &mut [f32],
) {
    // SAFETY: every point has `tiles` products; both rows of `out` are there.
    unsafe {
        let (bias, slope) = (L::load(bias.as_ptr()), L::splat(slope));
        for tile in 0..width / 2 {
            let mut down = [[L::splat(0.0); 2]; 4];
            for j in 0..4 {
                let mut column = [L::splat(0.0); 4];
                for i in 0..4 {
                    column[i] =
                        L::load(products.as_ptr().add((i * 4 + j) * row_stride(tiles) + first + tile).cast());
                }
                down[j] = output_points(column);
            }
            for i in 0..2 {
                let pair = output_points([down[0][i], down[1][i], down[2][i], down[3][i]]);
                for j in 0..2 {
                    let value = pair[j].add(bias);
                    let to = (i * width + 2 * tile + j) * channels + channel;
                    value.max(value.mul(slope)).store(out.as_mut_ptr().add(to));
                }
            }
        }
    }
}

/// `Aᵀ·m`.
#[inline(always)]
unsafe fn output_points<L: Lanes>([a, b, c, d]: [L; 4]) -> [L; 2] {
    // SAFETY: passed on to the caller.
    unsafe { [a.add(b).add(c), b.sub(c).sub(d)] }
}

/// `G·w·Gᵀ` of 3x3 kernels, 16 output channels from `channel` on: `weights[tap][c][channels]` to `out[point][c]`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels(
    isa: Isa,
    weights: &[f32],
    (channels, channel): (usize, usize),
    out: &mut [[f32; LANES]],
) {
    let depth = out.len() / POINTS;
    assert!(out.len() == POINTS * depth && weights.len() == 9 * depth * channels, "kernels of unequal sizes");
    assert!(channel + LANES <= channels, "channels do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, kernels_body[1, 1, 1, 1](
            weights: &[f32], channels: usize, channel: usize, out: &mut [[f32; LANES]], depth: usize,
        ));
    }
}

/// # Safety
/// As [`kernels`] checks.
#[inline(always)]
unsafe fn kernels_body<L: Lanes, const R: usize>(
    weights: &[f32],
    channels: usize,
    channel: usize,
    out: &mut [[f32; LANES]],
    depth: usize,
) {
    // SAFETY: there are nine taps and sixteen points of `depth` rows each.
    unsafe {
        for c in 0..depth {
            let mut down = [[L::splat(0.0); 4]; 3];
            for j in 0..3 {
                let mut column = [L::splat(0.0); 3];
                for i in 0..3 {
                    column[i] = L::load(weights.as_ptr().add(((i * 3 + j) * depth + c) * channels + channel));
                }
                down[j] = kernel_points(column);
            }
            for i in 0..4 {
                let row = kernel_points([down[0][i], down[1][i], down[2][i]]);
                for j in 0..4 {
                    row[j].store(out.as_mut_ptr().add((i * 4 + j) * depth + c).cast());
                }
            }
        }
    }
}

/// `G·w`.
#[inline(always)]
unsafe fn kernel_points<L: Lanes>([a, b, c]: [L; 3]) -> [L; 4] {
    // SAFETY: passed on to the caller.
    unsafe {
        let half = L::splat(0.5);
        let outer = a.add(c);
        [a, outer.add(b).mul(half), outer.sub(b).mul(half), c]
    }
}
