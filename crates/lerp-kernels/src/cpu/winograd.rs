//! Winograd's convolution: 36 products for sixteen outputs, F(4x4, 3x3), or 16 for four, F(2x2, 3x3), instead of 9 each.
//!
//! A 3x3 convolution is computed for tiles of outputs: the patch under a tile and the kernel are taken to `n` by `n`
//! points each, multiplied there (a matrix product over channels at every point), and the result is taken back (Lavin and
//! Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The gradient of the weights goes the same way: points
//! of patches times points of gradient blocks, summed over tiles.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    grid::Grid,
    lanes::{Isa, LANES},
    scratch::{Room, filled_by, with_scratch},
    wino_tile::{
        ROW_BLOCK, Tiles, blocks, kernels, kernels_from_points, outputs, patch_stride, patches, product,
        row_stride, transposed_product,
    },
};

/// Floats of patches and products that are worked on at a time: inside the nearest caches.
const SCRATCH: usize = 1 << 13;

/// Floats of patches and blocks that the weights' gradient of wide layers lays out at a time: inside a third-level cache.
const ROUND: usize = 1 << 20;

/// Tiles of a chunk of the weights' gradient of a wide layer: enough for the sums to stay in registers for a while; fewer
/// where there would be less than four chunks. Not a matter of threads, so that sums have the same bits for any number.
const CHUNK: usize = 64;
const CHUNKS: usize = 4;

/// Products of channels up to which a layer is narrow: its sums fit a second-level cache, for every part of a batch.
const NARROW: usize = 32 * 32;

/// A row of lanes.
pub(super) type Row = [f32; LANES];

/// How a convolution is tiled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Winograd {
    /// Points a side, 4 or 6.
    n: usize,
    pub cin: usize,
    pub cout: usize,
}

impl Winograd {
    /// The form for images of these sides, if there is one: a 3x3 kernel, channels in full vectors, sides in full tiles.
    pub fn fitting(k: usize, (height, width): (usize, usize), cin: usize, cout: usize) -> Option<Self> {
        let divides = |by: usize| height.is_multiple_of(by) && width.is_multiple_of(by);
        let full = |channels: usize| channels.is_multiple_of(LANES);
        if k != 3 || !full(cin) || !full(cout) {
            return None;
        }
        let n = if divides(4) {
            6
        } else if divides(2) {
            4
        } else {
            return None;
        };
        Some(Self { n, cin, cout })
    }

    /// The same for the gradient of the input, in which inputs and outputs change places.
    pub fn mirrored(self) -> Self {
        Self { cin: self.cout, cout: self.cin, ..self }
    }

    /// Whether every part of a batch can have sums of its own.
    pub fn narrow(self) -> bool {
        self.cin * self.cout <= NARROW
    }

    fn points(self) -> usize {
        self.n * self.n
    }

    /// Tiles of an image.
    pub fn tiles(self, grid: Grid) -> usize {
        grid.height * grid.width / (self.n - 2) / (self.n - 2)
    }

    /// Where the tiles of some images begin, `up` pixels further up and left than their outputs.
    fn origins(self, images: usize, grid: Grid, up: usize, origins: &mut Vec<usize>) {
        let side = self.n - 2;
        origins.clear();
        for image in 0..images {
            for y in (0..grid.height).step_by(side) {
                let row = image * grid.image() + grid.at(y, 0) - up * (grid.pitch() + grid.channels);
                origins.extend((0..grid.width).step_by(side).map(|x| row + x * grid.channels));
            }
        }
    }

    /// Tiles that are worked on at a time, for channels beside each other.
    fn block(self, channels: usize, all: usize) -> usize {
        let fitting = SCRATCH / (self.points() * channels);
        (fitting / ROW_BLOCK * ROW_BLOCK).max(ROW_BLOCK).min(all.next_multiple_of(ROW_BLOCK))
    }

    /// The points of all kernels, `[cout / 16][point][cin]`.
    pub fn forward_kernels(self, isa: Isa, weight: &[f32]) -> Vec<Row> {
        let fill = |points: &mut [MaybeUninit<Row>]| {
            points.par_chunks_mut(self.points() * self.cin).enumerate().for_each(|(block, out)| {
                kernels(isa, self.n, weight, (self.cout, block * LANES), out);
            });
        };
        // SAFETY: the chunks cover all points, and `kernels` sets all of a chunk.
        unsafe { filled_by(self.cout / LANES * self.points() * self.cin, fill) }
    }

    /// The points of all kernels turned by half a turn, with inputs and outputs exchanged: `[cin / 16][point][cout]`.
    pub fn backward_kernels(self, isa: Isa, weight: &[f32]) -> Vec<Row> {
        let (cin, cout) = (self.cin, self.cout);
        let block = |turned: &mut Vec<f32>, (block, out): (usize, &mut [MaybeUninit<Row>])| {
            turned.resize(9 * cout * LANES, 0.0);
            for (tap, to) in turned.chunks_exact_mut(cout * LANES).enumerate() {
                let from = &weight[((8 - tap) * cin + block * LANES) * cout..][..LANES * cout];
                for (c, to) in to.chunks_exact_mut(LANES).enumerate() {
                    to.iter_mut().zip(from[c..].iter().step_by(cout)).for_each(|(to, value)| *to = *value);
                }
            }
            kernels(isa, self.n, turned, (LANES, 0), out);
        };
        let fill = |points: &mut [MaybeUninit<Row>]| {
            points.par_chunks_mut(self.points() * cout).enumerate().for_each_init(Vec::new, block);
        };
        // SAFETY: the chunks cover all points, and `kernels` sets all of a chunk.
        unsafe { filled_by(cin / LANES * self.points() * cout, fill) }
    }

    /// Convolves some images with an edge of one pixel.
    pub fn convolve(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        points: &[Row],
        (bias, slope): (Option<&[f32]>, f32),
        (out, to): (&mut [MaybeUninit<f32>], Grid),
        room: &mut Room,
    ) {
        let images = out.len() / to.image();
        let [origins, targets] = &mut room.offsets;
        self.origins(images, from, 1, origins);
        self.origins(images, to, 0, targets);
        let block = self.block(self.cin + LANES, origins.len());
        let (stride, apart) = (patch_stride(block, self.cin), row_stride(block));
        let laid = room.floats.first(self.points() * stride);
        let products = room.rows.first(self.cout / LANES * self.points() * apart);
        for (origins, targets) in origins.chunks(block).zip(targets.chunks(block)) {
            let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
            patches(isa, self.n, (x, source), laid, stride);
            // Rows behind the last tile are of an earlier block; nobody reads what comes of them.
            let rows = origins.len().next_multiple_of(ROW_BLOCK);
            // A point of all patches stays in the nearest cache for all output channels.
            for point in 0..self.points() {
                let a = &laid[point * stride..][..rows * self.cin];
                let panels = points[point * self.cin..].chunks(self.cin).step_by(self.points());
                for (i, panel) in panels.enumerate() {
                    product(isa, a, panel, &mut products[(i * self.points() + point) * apart..][..rows]);
                }
            }
            for (i, products) in products.chunks_exact(self.points() * apart).enumerate() {
                let mut start = [0.0; LANES];
                if let Some(bias) = bias {
                    start.copy_from_slice(&bias[i * LANES..][..LANES]);
                }
                let target = Tiles { origins: targets, pitch: to.pitch(), channels: self.cout };
                outputs(isa, self.n, (products, apart), (&start, slope), (out, target, i * LANES));
            }
        }
    }

    /// Zeros for [`Self::add_weights`]: `[cout / 16][point][cin]`.
    pub fn no_sums(self) -> Vec<Row> {
        vec![[0.0; LANES]; self.cout / LANES * self.points() * self.cin]
    }

    /// Adds the points of the weights' gradient, and the bias's gradient, of some images `x` with an edge and the gradients
    /// `grad` of their outputs.
    pub fn add_weights(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        (grad, of): (&[f32], Grid),
        (sums, bias): (&mut [Row], &mut [Row]),
        room: &mut Room,
    ) {
        let [origins, targets] = &mut room.offsets;
        self.origins(grad.len() / of.image(), from, 1, origins);
        self.origins(grad.len() / of.image(), of, 0, targets);
        let block = self.block(self.cin + self.cout, origins.len());
        let (stride, apart) = (patch_stride(block, self.cin), row_stride(block));
        let laid = room.floats.first(self.points() * stride);
        let heaped = room.rows.first(self.points() * apart);
        for (origins, targets) in origins.chunks(block).zip(targets.chunks(block)) {
            let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
            let target = Tiles { origins: targets, pitch: of.pitch(), channels: self.cout };
            patches(isa, self.n, (x, source), laid, stride);
            let sums = sums.chunks_exact_mut(self.points() * self.cin);
            for (i, (sums, bias)) in sums.zip(&mut *bias).enumerate() {
                blocks(isa, self.n, (grad, target, i * LANES), (heaped, apart), bias);
                for (point, sum) in sums.chunks_exact_mut(self.cin).enumerate() {
                    let laid = &laid[point * stride..][..origins.len() * self.cin];
                    transposed_product(isa, laid, &heaped[point * apart..][..origins.len()], sum);
                }
            }
        }
    }

    /// [`Self::add_weights`] of a whole batch of a wide layer, from zero: patches and blocks of a round are laid out first,
    /// then every point is summed by a task of its own, always in the order of tiles.
    pub fn sum_weights(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        (grad, of): (&[f32], Grid),
    ) -> [Vec<Row>; 2] {
        let images = grad.len() / of.image();
        let (mut origins, mut targets) = (Vec::new(), Vec::new());
        self.origins(images, from, 1, &mut origins);
        self.origins(images, of, 0, &mut targets);
        let output_blocks = self.cout / LANES;
        let chunk = CHUNK.min(origins.len().div_ceil(CHUNKS));
        let (stride, apart) = (patch_stride(chunk, self.cin), row_stride(chunk));
        let (floats, rows) = (self.points() * stride, self.points() * apart * output_blocks);
        let round = (ROUND / (floats + rows * LANES)).clamp(1, origins.len().div_ceil(chunk));
        let (mut sums, mut total) = (self.no_sums(), vec![[0.0; LANES]; output_blocks]);
        with_scratch(|scratch| {
            let laid = scratch.room.floats.first(round * floats);
            let heaped = scratch.room.rows.first(round * rows);
            for (origins, targets) in origins.chunks(round * chunk).zip(targets.chunks(round * chunk)) {
                let tasks = laid.par_chunks_mut(floats).zip(heaped.par_chunks_mut(rows));
                let tiles = origins.par_chunks(chunk).zip(targets.par_chunks(chunk));
                let biases: Vec<Vec<Row>> = tasks
                    .zip(tiles)
                    .map(|((laid, heaped), (origins, targets))| {
                        let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
                        let target = Tiles { origins: targets, pitch: of.pitch(), channels: self.cout };
                        patches(isa, self.n, (x, source), laid, stride);
                        let mut bias = vec![[0.0; LANES]; output_blocks];
                        for (i, heaped) in heaped.chunks_exact_mut(self.points() * apart).enumerate() {
                            blocks(isa, self.n, (grad, target, i * LANES), (heaped, apart), &mut bias[i]);
                        }
                        bias
                    })
                    .collect();
                let chunks =
                    || laid.chunks_exact(floats).zip(heaped.chunks_exact(rows)).zip(origins.chunks(chunk));
                sums.par_chunks_mut(self.cin).enumerate().for_each(|(at, sum)| {
                    for ((laid, heaped), tiles) in chunks() {
                        let laid = &laid[at % self.points() * stride..][..tiles.len() * self.cin];
                        transposed_product(isa, laid, &heaped[at * apart..][..tiles.len()], sum);
                    }
                });
                for bias in &biases {
                    add(&mut total, bias);
                }
            }
        });
        [sums, total]
    }

    /// The gradients of the weights, `[3, 3, in, out]`, from those of their points, `sums`.
    pub fn weights(self, isa: Isa, sums: &[Row]) -> Vec<f32> {
        let fill = |out: &mut [MaybeUninit<f32>]| {
            for (block, sums) in sums.chunks_exact(self.points() * self.cin).enumerate() {
                kernels_from_points(isa, self.n, sums, (self.cout, block * LANES), out);
            }
        };
        // SAFETY: there is a block for every 16 output channels, which together make up all weights.
        unsafe { filled_by(9 * self.cin * self.cout, fill) }
    }
}

/// Adds rows to rows.
pub(super) fn add(to: &mut [Row], from: &[Row]) {
    to.as_flattened_mut().iter_mut().zip(from.as_flattened()).for_each(|(a, b)| *a += b);
}
