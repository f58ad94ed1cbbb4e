//! Convolution over channels-last images: output, gradient of the input, gradients of weights and bias.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    lanes::{Isa, LANES, isa},
    tile::{Ascending, ROWS, Tile, rows_by_panel, rows_by_taps, taps_by_one, taps_by_pixels},
    winograd,
};
use crate::Activation;

/// Sizes of one convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub cin: usize,
    pub cout: usize,
    /// Side of the kernel, odd.
    pub k: usize,
}

/// Parts into which the batch is split for the weights' gradient: fixed, so that the sum has the same bits for any
/// number of threads.
const PARTS: usize = 8;

/// Floats of padded images that a task lays out at a time: about half of a second-level cache.
const SCRATCH: usize = 1 << 17;

impl Sizes {
    fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Floats of one zero-padded image.
    fn padded(&self) -> usize {
        (self.height + self.k - 1) * (self.width + self.k - 1) * self.cin
    }

    /// Floats of one row of taps: they are contiguous in the padded image.
    fn tap_row(&self) -> usize {
        self.k * self.cin
    }

    /// Where the taps of kernel row `dy` begin, relative to a pixel's first.
    fn shift(&self, dy: usize) -> usize {
        dy * (self.width + self.k - 1) * self.cin
    }

    /// Images that a task takes at a time, for `floats` of scratch an image.
    fn group(&self, floats: usize) -> usize {
        (SCRATCH / floats.max(1)).clamp(1, self.batch.div_ceil(PARTS).max(1))
    }

    /// Whether a tile's lanes are better filled with inputs than with output channels.
    fn narrow(&self) -> bool {
        self.cout <= 4 && self.tap_row().is_multiple_of(3 * LANES)
    }

    /// Copies the images `x` into zero-padded ones. Ends with room for a tile that reads past the last tap.
    fn pad(&self, x: &[f32], padded: &mut Vec<f32>) {
        let images = x.len() / (self.pixels() * self.cin);
        let (edge, row) = (self.k / 2, (self.width + self.k - 1) * self.cin);
        padded.clear();
        padded.resize(images * self.padded() + ROWS, 0.0);
        for (image, to) in
            x.chunks_exact(self.pixels() * self.cin).zip(padded.chunks_exact_mut(self.padded()))
        {
            for (y, from) in image.chunks_exact(self.width * self.cin).enumerate() {
                let start = (y + edge) * row + edge * self.cin;
                to[start..start + from.len()].copy_from_slice(from);
            }
        }
    }

    /// Where each pixel's first tap lies in `images` padded images.
    fn offsets(&self, images: usize) -> Vec<usize> {
        let row = (self.width + self.k - 1) * self.cin;
        let pixel = |image, y, x| image * self.padded() + y * row + x * self.cin;
        (0..images)
            .flat_map(|i| (0..self.height).flat_map(move |y| (0..self.width).map(move |x| (i, y, x))))
            .map(|(i, y, x)| pixel(i, y, x))
            .collect()
    }
}

/// Panels of 16 output channels: `panels[block][tap]`, the last one filled up with zeros.
fn panels(weight: &[f32], cout: usize) -> Vec<Vec<[f32; LANES]>> {
    let block = |first: usize| {
        let width = LANES.min(cout - first);
        let row = |row: &[f32]| {
            let mut lanes = [0.0; LANES];
            lanes[..width].copy_from_slice(&row[first..first + width]);
            lanes
        };
        weight.chunks_exact(cout).map(row).collect()
    };
    (0..cout).step_by(LANES).map(block).collect()
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
    if winograd::fits(s) {
        return winograd::forward(s, x, weight, bias, activation, out);
    }
    direct(s, x, weight, Some(bias), activation, out);
}

/// The convolution tap by tap.
fn direct(
    s: Sizes,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    if s.narrow() {
        return narrow(s, x, weight, bias, activation, out);
    }
    let (isa, panels) = (isa(), panels(weight, s.cout));
    let group = s.group(s.padded());
    let offsets = s.offsets(group);
    let tasks = out.par_chunks_mut(group * s.pixels() * s.cout).zip(x.par_chunks(group * s.pixels() * s.cin));
    tasks.for_each_init(Vec::new, |padded, (out, x)| {
        s.pad(x, padded);
        let pixels = out.len() / s.cout;
        for (block, panel) in panels.iter().enumerate() {
            let first = block * LANES;
            let width = LANES.min(s.cout - first);
            let mut start = [0.0; LANES];
            if let Some(bias) = bias {
                start[..width].copy_from_slice(&bias[first..first + width]);
            }
            for pixel in (0..pixels).step_by(ROWS) {
                // The last tile of a group repeats its last pixel and throws the copies away.
                let starts = std::array::from_fn(|r| offsets[(pixel + r).min(pixels - 1)]);
                let mut tile: Tile = [start; ROWS];
                for (dy, taps) in panel.chunks_exact(s.tap_row()).enumerate() {
                    rows_by_panel(isa, &mut tile, &padded[s.shift(dy)..], &starts, taps);
                }
                if let Activation::LeakyRelu(slope) = activation {
                    tile.iter_mut().flatten().for_each(|v| *v = if *v > 0.0 { *v } else { *v * slope });
                }
                for (r, row) in tile.iter().enumerate().take(pixels - pixel) {
                    let to = (pixel + r) * s.cout + first;
                    out[to..to + width].copy_from_slice(&row[..width]);
                }
            }
        }
    });
}

/// [`direct`] for few output channels.
fn narrow(
    s: Sizes,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    out: &mut [f32],
) {
    let isa = isa();
    // `[out][k, k, in]`.
    let taps: Vec<f32> = (0..s.cout).flat_map(|co| weight.iter().skip(co).step_by(s.cout).copied()).collect();
    let group = s.group(s.padded());
    let offsets = s.offsets(group);
    let tasks = out.par_chunks_mut(group * s.pixels() * s.cout).zip(x.par_chunks(group * s.pixels() * s.cin));
    tasks.for_each_init(Vec::new, |padded, (out, x)| {
        s.pad(x, padded);
        let pixels = out.len() / s.cout;
        for pixel in (0..pixels).step_by(ROWS) {
            let starts = std::array::from_fn(|r| offsets[(pixel + r).min(pixels - 1)]);
            for (co, taps) in taps.chunks_exact(weight.len() / s.cout).enumerate() {
                let mut sums = [0.0; ROWS];
                rows_by_taps(isa, (padded, &starts), (taps, s.tap_row(), s.shift(1)), &mut sums);
                for (r, sum) in sums.iter().enumerate().take(pixels - pixel) {
                    let value = sum + bias.map_or(0.0, |bias| bias[co]);
                    out[(pixel + r) * s.cout + co] = match activation {
                        Activation::LeakyRelu(slope) if value <= 0.0 => value * slope,
                        _ => value,
                    };
                }
            }
        }
    });
}

/// The gradient of the input: the same convolution of the output's gradient with the kernel turned by half a turn and
/// its channels exchanged.
pub(super) fn input_grad(s: Sizes, grad: &[f32], weight: &[f32], out: &mut [f32]) {
    if winograd::fits(s) {
        return winograd::input_grad(s, grad, weight, out);
    }
    let mut turned = vec![0.0; weight.len()];
    let taps = s.k * s.k;
    for tap in 0..taps {
        let from = &weight[tap * s.cin * s.cout..][..s.cin * s.cout];
        let to = &mut turned[(taps - 1 - tap) * s.cin * s.cout..][..s.cin * s.cout];
        for (ci, row) in from.chunks_exact(s.cout).enumerate() {
            for (co, value) in row.iter().enumerate() {
                to[co * s.cin + ci] = *value;
            }
        }
    }
    let mirrored = Sizes { cin: s.cout, cout: s.cin, ..s };
    direct(mirrored, grad, &turned, None, Activation::Linear, out);
}

/// The gradients of the weights (`[k, k, in, out]`) and, after them, of the bias (`[out]`), in one vector.
pub(super) fn weight_grad(s: Sizes, x: &[f32], grad: &[f32]) -> Vec<f32> {
    if winograd::fits(s) {
        return winograd::weight_grad(s, x, grad);
    }
    let isa = isa();
    let part = s.batch.div_ceil(PARTS).max(1);
    let group = s.group(s.padded()).min(part);
    let offsets = s.offsets(group);
    let lanes = s.cout.next_multiple_of(LANES);
    let partial = |images: Range<usize>| {
        let mut sum = vec![0.0; s.k * s.k * s.cin * s.cout + s.cout];
        let (weights, bias) = sum.split_at_mut(s.k * s.k * s.cin * s.cout);
        let (mut padded, mut filled) = (Vec::new(), Vec::new());
        for first in images.clone().step_by(group) {
            let n = group.min(images.end - first);
            let pixels = Ascending::new(&offsets[..n * s.pixels()]);
            let per = |channels: usize| first * s.pixels() * channels..(first + n) * s.pixels() * channels;
            s.pad(&x[per(s.cin)], &mut padded);
            let grad = &grad[per(s.cout)];
            for row in grad.chunks_exact(s.cout) {
                bias.iter_mut().zip(row).for_each(|(b, g)| *b += g);
            }
            if s.narrow() {
                one_by_one(s, isa, (&padded, pixels), grad, weights);
            } else {
                tile_by_tile(
                    s,
                    isa,
                    (&padded, pixels),
                    fill_lanes(grad, s.cout, lanes, &mut filled),
                    weights,
                );
            }
        }
        sum
    };
    let parts: Vec<Vec<f32>> = (0..s.batch)
        .step_by(part)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|first| partial(first..(first + part).min(s.batch)))
        .collect();
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| vec![0.0; s.k * s.k * s.cin * s.cout + s.cout]);
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(a, b)| *a += b);
    }
    sum
}

/// Adds the gradient of the weights of some padded images; the rows of `grad` are full.
fn tile_by_tile(
    s: Sizes,
    isa: Isa,
    (padded, pixels): (&[f32], Ascending),
    grad: &[f32],
    weights: &mut [f32],
) {
    let lanes = s.cout.next_multiple_of(LANES);
    for channel in (0..s.cout).step_by(LANES) {
        let width = LANES.min(s.cout - channel);
        for dy in 0..s.k {
            for tap in (0..s.tap_row()).step_by(ROWS) {
                let mut tile: Tile = [[0.0; LANES]; ROWS];
                let a = (padded, pixels, s.shift(dy) + tap);
                taps_by_pixels(isa, &mut tile, a, (grad, lanes, channel));
                for (r, row) in tile.iter().enumerate().take(s.tap_row() - tap) {
                    let to = (dy * s.tap_row() + tap + r) * s.cout + channel;
                    weights[to..to + width].iter_mut().zip(row).for_each(|(w, g)| *w += g);
                }
            }
        }
    }
}

/// [`tile_by_tile`] for few output channels.
fn one_by_one(s: Sizes, isa: Isa, (padded, pixels): (&[f32], Ascending), grad: &[f32], weights: &mut [f32]) {
    for co in 0..s.cout {
        for dy in 0..s.k {
            for tap in (0..s.tap_row()).step_by(3 * LANES) {
                let mut sums = [[0.0; LANES]; 3];
                let a = (padded, pixels, s.shift(dy) + tap);
                taps_by_one(isa, &mut sums, a, (&grad[co..], s.cout));
                let to = weights[(dy * s.tap_row() + tap) * s.cout..].iter_mut().skip(co).step_by(s.cout);
                to.zip(sums.as_flattened()).for_each(|(w, g)| *w += g);
            }
        }
    }
}

/// Rows of `channels` filled up to `lanes` with zeros; `grad` itself where they are equal.
fn fill_lanes<'a>(grad: &'a [f32], channels: usize, lanes: usize, filled: &'a mut Vec<f32>) -> &'a [f32] {
    if channels == lanes {
        return grad;
    }
    filled.clear();
    filled.resize(grad.len() / channels * lanes, 0.0);
    for (from, to) in grad.chunks_exact(channels).zip(filled.chunks_exact_mut(lanes)) {
        to[..channels].copy_from_slice(from);
    }
    filled
}
