//! Winograd's convolution F(2x2, 3x3): 16 products for four outputs instead of 36.
//!
//! A 3x3 convolution of an image with even sides is computed for blocks of 2x2 outputs: the 4x4 patch under a block and
//! the kernel are taken to 16 points each, multiplied there (a matrix product over channels at every point), and the
//! result is taken back (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The gradient of the
//! weights goes the same way: points of patches times points of gradient blocks, summed over blocks.
//!
//! A *strip* is one pair of output rows of one image, `width / 2` blocks.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    conv::Sizes,
    lanes::{LANES, isa},
    scratch::{with_lanes, with_scratch},
    wino_tile::{
        POINTS, ROW_BLOCK, Row, blocks, kernels, outputs, patch_stride, patches, product, row_stride,
        transposed_product,
    },
};
use crate::Activation;

/// Floats of patches and products that are worked on at a time: inside the nearest caches.
const SCRATCH: usize = 1 << 13;

/// Strips of a task, in blocks of those.
const TASK: usize = 4;

/// Floats of patches and blocks that the weights' gradient of wide layers lays out at a time: inside a third-level cache.
const ROUND: usize = 1 << 20;

/// Blocks of a chunk of the weights' gradient: enough for the sums to stay in registers for a while.
const CHUNK: usize = 64;

/// Parts in which the weights' gradient of narrow layers is summed: fixed, so that the sum has the same bits for any
/// number of threads.
const PARTS: usize = 8;

/// Products of channels up to which a layer is narrow: its sums fit a second-level cache.
const NARROW: usize = 64 * 64;

/// Whether this form fits the sizes.
pub(super) fn fits(s: Sizes) -> bool {
    let even = |n: usize| n > 0 && n.is_multiple_of(2);
    let full = |n: usize| n > 0 && n.is_multiple_of(LANES);
    s.k == 3 && even(s.height) && even(s.width) && full(s.cin) && full(s.cout)
}

/// Strips of the whole batch.
fn strips(s: Sizes) -> usize {
    s.batch * s.height / 2
}

/// The four rows of channels-last pixels under strip `strip`.
fn rows(s: Sizes, strip: usize) -> [Row; 4] {
    let (image, y) = (strip / (s.height / 2), 2 * (strip % (s.height / 2)));
    let row = |y: usize| (image * s.height + y) * s.width * s.cin;
    std::array::from_fn(|i| (1..=s.height).contains(&(y + i)).then(|| row(y + i - 1)))
}

/// The points of all kernels, `[cout / 16][point][cin][16]`.
fn forward_kernels(s: Sizes, weight: &[f32]) -> Vec<[f32; LANES]> {
    let isa = isa();
    let mut points = vec![[0.0; LANES]; s.cout / LANES * POINTS * s.cin];
    points.par_chunks_mut(POINTS * s.cin).enumerate().for_each(|(block, out)| {
        kernels(isa, weight, (s.cout, block * LANES), out);
    });
    points
}

/// The points of all kernels turned by half a turn, with inputs and outputs exchanged: `[cin / 16][point][cout][16]`.
fn backward_kernels(s: Sizes, weight: &[f32]) -> Vec<[f32; LANES]> {
    let isa = isa();
    let mut points = vec![[0.0; LANES]; s.cin / LANES * POINTS * s.cout];
    points.par_chunks_mut(POINTS * s.cout).enumerate().for_each_init(Vec::new, |turned, (block, out)| {
        turned.resize(9 * s.cout * LANES, 0.0);
        for (tap, to) in turned.chunks_exact_mut(s.cout * LANES).enumerate() {
            let from = &weight[((8 - tap) * s.cin + block * LANES) * s.cout..][..LANES * s.cout];
            for (lane, row) in from.chunks_exact(s.cout).enumerate() {
                for (to, value) in to.chunks_exact_mut(LANES).zip(row) {
                    to[lane] = *value;
                }
            }
        }
        kernels(isa, turned, (LANES, 0), out);
    });
    points
}

/// `out = activation(x * weight + bias)`.
pub(super) fn forward(
    s: Sizes,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    out: &mut [f32],
) {
    convolve(s, x, &forward_kernels(s, weight), Some(bias), activation, out);
}

/// The gradient of the input.
pub(super) fn input_grad(s: Sizes, grad: &[f32], weight: &[f32], out: &mut [f32]) {
    let mirrored = Sizes { cin: s.cout, cout: s.cin, ..s };
    convolve(mirrored, grad, &backward_kernels(s, weight), None, Activation::Linear, out);
}

fn convolve(
    s: Sizes,
    x: &[f32],
    points: &[[f32; LANES]],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    let isa = isa();
    let slope = if let Activation::LeakyRelu(slope) = activation { slope } else { 1.0 };
    let (per_strip, all) = (s.width / 2, strips(s));
    // No output depends on the division.
    let some = (SCRATCH / (POINTS * per_strip * (s.cin + LANES))).max(ROW_BLOCK.div_ceil(per_strip));
    let task = (TASK * some).clamp(1, all.div_ceil(rayon::current_num_threads()));
    let some = some.min(task);
    let tiles = (some * per_strip).next_multiple_of(ROW_BLOCK);
    let (stride, rows_apart) = (patch_stride(tiles, s.cin), row_stride(tiles));
    let strip = 2 * s.width * s.cout;
    let run = |first: usize, out: &mut [f32], laid: &mut [f32], products: &mut [[f32; LANES]]| {
        for (n, _) in out.chunks_exact(strip).enumerate() {
            let (from, to) = ((x, &rows(s, first + n)), (&mut laid[..], tiles, n * per_strip));
            patches(isa, from, (s.width, s.cin), to);
        }
        for (block, panels) in points.chunks_exact(POINTS * s.cin).enumerate() {
            let mut start = [0.0; LANES];
            if let Some(bias) = bias {
                start.copy_from_slice(&bias[block * LANES..][..LANES]);
            }
            for (point, panel) in panels.chunks_exact(s.cin).enumerate() {
                let (a, to) = (&laid[point * stride..], &mut products[point * rows_apart..]);
                product(isa, &a[..tiles * s.cin], panel, &mut to[..tiles]);
            }
            for (n, out) in out.chunks_exact_mut(strip).enumerate() {
                let from = (&products[..], tiles, n * per_strip);
                outputs(isa, from, (&start, slope), (s.width, s.cout, block * LANES), out);
            }
        }
    };
    out.par_chunks_mut(task * strip).enumerate().for_each(|(i, out)| {
        with_scratch(POINTS * stride, |laid| {
            with_lanes(POINTS * rows_apart, |products| {
                for (n, out) in out.chunks_mut(some * strip).enumerate() {
                    run(i * task + n * some, out, laid, products);
                }
            });
        });
    });
}

/// The gradients of the weights (`[3, 3, in, out]`) and, after them, of the bias (`[out]`), in one vector.
pub(super) fn weight_grad(s: Sizes, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let (sums, bias) = if s.cin * s.cout <= NARROW { sum_parts(s, x, grad) } else { sum_rounds(s, x, grad) };
    let mut out = vec![0.0; 9 * s.cin * s.cout + s.cout];
    let (weights, biases) = out.split_at_mut(9 * s.cin * s.cout);
    weights.par_chunks_mut(s.cin * s.cout).enumerate().for_each(|(tap, out)| from_points(s, &sums, tap, out));
    biases.copy_from_slice(bias.as_flattened());
    out
}

/// Rows of lanes.
type Rows = Vec<[f32; LANES]>;

/// Point (1, 1): of a block, the sum of its four pixels.
const MIDDLE: usize = 5;

/// The points of the weights' gradient, `[cout / 16][point][cin]`, and the bias's gradient, of a narrow layer: every part
/// of the batch has sums of its own, which stay in the cache.
fn sum_parts(s: Sizes, x: &[f32], grad: &[f32]) -> (Rows, Rows) {
    let isa = isa();
    let (per_strip, all, output_blocks) = (s.width / 2, strips(s), s.cout / LANES);
    let some = (SCRATCH / (POINTS * per_strip * (s.cin + s.cout))).max(LANES.div_ceil(per_strip)).min(all);
    let tiles = some * per_strip;
    let part = all.div_ceil(PARTS);
    let (stride, rows_apart) = (patch_stride(tiles, s.cin), row_stride(tiles));
    let sum = |strips: Range<usize>, laid: &mut [f32], heaped: &mut [[f32; LANES]]| {
        let mut sums = vec![[0.0; LANES]; output_blocks * POINTS * s.cin];
        let mut bias = vec![[0.0; LANES]; output_blocks];
        for first in strips.clone().step_by(some) {
            let count = some.min(strips.end - first);
            let rows_of = count * per_strip;
            for n in 0..count {
                patches(isa, (x, &rows(s, first + n)), (s.width, s.cin), (laid, tiles, n * per_strip));
            }
            for (block, (sums, bias)) in sums.chunks_exact_mut(POINTS * s.cin).zip(&mut bias).enumerate() {
                for n in 0..count {
                    let row = 2 * (first + n) * s.width * s.cout;
                    let from = (grad, [row, row + s.width * s.cout]);
                    blocks(isa, from, (s.width, s.cout, block * LANES), (heaped, tiles, n * per_strip));
                }
                for (point, sum) in sums.chunks_exact_mut(s.cin).enumerate() {
                    let heaped = &heaped[point * rows_apart..][..rows_of];
                    transposed_product(isa, &laid[point * stride..][..rows_of * s.cin], heaped, sum);
                }
                for row in &heaped[MIDDLE * rows_apart..][..rows_of] {
                    bias.iter_mut().zip(row).for_each(|(b, v)| *b += v);
                }
            }
        }
        (sums, bias)
    };
    let parts: Vec<(Rows, Rows)> = (0..all.div_ceil(part))
        .into_par_iter()
        .map(|i| {
            let strips = i * part..((i + 1) * part).min(all);
            with_scratch(POINTS * stride, |laid| {
                with_lanes(POINTS * rows_apart, |heaped| sum(strips, laid, heaped))
            })
        })
        .collect();
    let add = |a: &mut Rows, b: Rows| {
        a.as_flattened_mut().iter_mut().zip(b.as_flattened()).for_each(|(a, b)| *a += b);
    };
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for (sums, bias) in parts {
        add(&mut total.0, sums);
        add(&mut total.1, bias);
    }
    total
}

/// [`sum_parts`] for a wide layer: patches and blocks of a round are laid out first, then every point is summed by a task
/// of its own, always in the order of blocks.
fn sum_rounds(s: Sizes, x: &[f32], grad: &[f32]) -> (Rows, Rows) {
    let isa = isa();
    let (per_strip, all) = (s.width / 2, strips(s));
    let output_blocks = s.cout / LANES;
    // A chunk of strips is laid out by one task, a round of chunks before its products are summed.
    let chunk = (CHUNK / per_strip).clamp(1, all.div_ceil(rayon::current_num_threads()));
    let tiles = chunk * per_strip;
    let (laid_floats, heaped_rows) =
        (POINTS * patch_stride(tiles, s.cin), POINTS * row_stride(tiles) * output_blocks);
    let round = (ROUND / (laid_floats + heaped_rows * LANES)).clamp(1, all.div_ceil(chunk));
    let mut sums = vec![[0.0; LANES]; output_blocks * POINTS * s.cin];
    let mut bias = vec![[0.0; LANES]; output_blocks];
    let mut rounds = |laid: &mut [f32], heaped: &mut [[f32; LANES]]| {
        for begin in (0..all).step_by(round * chunk) {
            let count = round.min((all - begin).div_ceil(chunk));
            let strips_of = |i: usize| begin + i * chunk..(begin + (i + 1) * chunk).min(all);
            let lay = |(i, (laid, heaped)): (usize, (&mut [f32], &mut [[f32; LANES]]))| {
                for (n, strip) in strips_of(i).enumerate() {
                    patches(isa, (x, &rows(s, strip)), (s.width, s.cin), (laid, tiles, n * per_strip));
                    let row = 2 * strip * s.width * s.cout;
                    for (block, heaped) in heaped.chunks_exact_mut(POINTS * row_stride(tiles)).enumerate() {
                        let from = (grad, [row, row + s.width * s.cout]);
                        blocks(isa, from, (s.width, s.cout, block * LANES), (heaped, tiles, n * per_strip));
                    }
                }
            };
            let tasks = laid.par_chunks_mut(laid_floats).zip(heaped.par_chunks_mut(heaped_rows));
            tasks.take(count).enumerate().for_each(lay);
            let laid_out = || {
                laid.chunks_exact(laid_floats).zip(heaped.chunks_exact(heaped_rows)).take(count).enumerate()
            };
            // The last chunk may be shorter than the others; what is behind it is of an earlier one.
            let of_chunk = |i: usize| strips_of(i).len() * per_strip;
            sums.par_chunks_mut(s.cin).enumerate().for_each(|(at, sum)| {
                let (block, point) = (at / POINTS, at % POINTS);
                for (i, (laid, heaped)) in laid_out() {
                    let laid = &laid[point * patch_stride(tiles, s.cin)..][..of_chunk(i) * s.cin];
                    let heaped = &heaped[(block * POINTS + point) * row_stride(tiles)..][..of_chunk(i)];
                    transposed_product(isa, laid, heaped, sum);
                }
            });
            for (i, (_, heaped)) in laid_out() {
                for (block, sum) in bias.iter_mut().enumerate() {
                    for row in &heaped[(block * POINTS + MIDDLE) * row_stride(tiles)..][..of_chunk(i)] {
                        sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
                    }
                }
            }
        }
    };
    with_scratch(round * laid_floats, |laid| with_lanes(round * heaped_rows, |heaped| rounds(laid, heaped)));
    (sums, bias)
}

/// One tap of `Gᵀ·u·G` for all channels.
fn from_points(s: Sizes, points: &[[f32; LANES]], tap: usize, out: &mut [f32]) {
    const G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    let factors: Vec<(usize, f32)> = (0..POINTS)
        .map(|point| (point, G[point / 4][tap / 3] * G[point % 4][tap % 3]))
        .filter(|(_, factor)| *factor != 0.0)
        .collect();
    for (block, points) in points.chunks_exact(POINTS * s.cin).enumerate() {
        for c in 0..s.cin {
            let mut sum = [0.0; LANES];
            for (point, factor) in &factors {
                sum.iter_mut().zip(&points[point * s.cin + c]).for_each(|(s, v)| *s += factor * v);
            }
            out[c * s.cout + block * LANES..][..LANES].copy_from_slice(&sum);
        }
    }
}
