//! Convolution with 3x3 kernels in tiles, with fewer than 9 products per output.
//!
//! The pixels under a tile and the kernel are transformed to points, multiplied there (a matrix product over channels
//! at every point), and the products are transformed back (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", 2016). The gradient of the weights is computed in the same way: points of patches times points of
//! gradients, summed over tiles. Nine products for four outputs, or 36 for sixteen, are a quarter of the products of
//! direct convolution; the image size decides which form is used (`points.rs`).

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    epilogue::Epilogue,
    grid::{Grid, tile_origins},
    lanes::{Isa, LANES, transpose},
    points::Tiled,
    scratch::{Room, filled_by, touch, with_scratch},
    step::{ParamGradients, Resizing},
    wino_tile::{
        ROW_BLOCK, Start, Strides, Tiles, blocks, kernels, kernels_from_points, outputs, patches, product,
        transposed_product,
    },
};

/// Floats of patches and products that are processed at a time, which fit into the nearest caches.
const SCRATCH: usize = 1 << 13;

/// Floats of transformed patches and gradients that the weight gradient of wide layers stores at a time, which fit into
/// a third-level cache.
const ROUND: usize = 1 << 20;

/// Tiles of a chunk in the weight gradient of a wide layer: enough for sums to stay in registers for a while, but fewer
/// if there would be less than [`CHUNKS`] chunks. It does not depend on the number of threads, so that sums always have
/// the same bits.
const CHUNK: usize = 64;
/// The least number of chunks in the weight gradient of a wide layer.
const CHUNKS: usize = 4;

/// The largest product of input and output channels of a narrow layer, whose gradient sums fit into a second-level
/// cache for every part of a batch.
const NARROW: usize = 32 * 32;

/// A row of lanes.
pub(super) type Row = [f32; LANES];

/// A convolution in tiles: its tiling and numbers of channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Winograd {
    tiled: Tiled,
    pub cin: usize,
    pub cout: usize,
}

impl Winograd {
    /// Returns the form for images of these sides, upscaled by two first or not. Returns `None` unless the kernel is
    /// 3x3, channels fill vectors, and sides are covered by full tiles.
    pub fn fitting(
        k: usize,
        [height, width]: [usize; 2],
        resize: Resizing,
        cin: usize,
        cout: usize,
    ) -> Option<Self> {
        let divides = |by: usize| height.is_multiple_of(by) && width.is_multiple_of(by);
        let full = |channels: usize| channels.is_multiple_of(LANES);
        if k != 3 || !full(cin) || !full(cout) {
            return None;
        }
        let tiled = match [height, width] {
            _ if resize.upscale => Tiled::Enlarged,
            [2, 2] => Tiled::Whole,
            _ if divides(4) => Tiled::Four,
            _ if divides(2) => Tiled::Two,
            _ => return None,
        };
        Some(Self { tiled, cin, cout })
    }

    /// The convolution that computes the gradient of the input, in which inputs and outputs are exchanged.
    pub fn mirrored(self) -> Self {
        let tiled = if self.tiled == Tiled::Enlarged { Tiled::Gathered } else { self.tiled };
        Self { tiled, cin: self.cout, cout: self.cin }
    }

    /// The width of the border of zeros that the convolution reads, in pixels.
    pub fn edge(self) -> usize {
        self.tiled.before()
    }

    /// Whether the layer is narrow, so that every part of a batch can have its own gradient sums.
    pub fn narrow(self) -> bool {
        self.cin * self.cout <= NARROW
    }

    fn points(self) -> usize {
        self.tiled.points()
    }

    /// The number of rows of all kernels' points, and of the sums of their gradients: `[cout / 16][point][cin]`.
    fn sum_rows(self) -> usize {
        self.cout / LANES * self.points() * self.cin
    }

    /// The numbers of tiles of an image, vertically and horizontally.
    fn tiles_of(self, grid: Grid) -> [usize; 2] {
        [grid.height / self.tiled.step(), grid.width / self.tiled.step()]
    }

    /// The number of tiles of an image.
    pub fn tiles(self, grid: Grid) -> usize {
        self.tiles_of(grid).iter().product()
    }

    /// Computes the index at which each patch begins.
    fn patch_origins(self, images: usize, grid: Grid, origins: &mut Vec<usize>) {
        tile_origins(images, grid, self.tiles_of(grid), (self.tiled.step(), self.tiled.before()), origins);
    }

    /// The number of tiles that are processed at a time, where a tile has `floats` floats and there are `all` tiles.
    fn block(floats: usize, all: usize) -> usize {
        let fitting = SCRATCH / floats;
        (fitting / ROW_BLOCK * ROW_BLOCK).max(ROW_BLOCK).min(all.next_multiple_of(ROW_BLOCK))
    }

    /// Returns the points of all kernels, `[cout / 16][point][cin]`.
    pub fn forward_kernels(self, isa: Isa, weight: &[f32]) -> Vec<Row> {
        let fill = |points: &mut [MaybeUninit<Row>]| {
            points.par_chunks_mut(self.points() * self.cin).enumerate().for_each(|(block, out)| {
                kernels(isa, self.tiled, weight, (self.cout, block * LANES), out);
            });
        };
        // SAFETY: the chunks cover all points, and `kernels` writes all of a chunk.
        unsafe { filled_by(self.sum_rows(), fill) }
    }

    /// Returns the points of all kernels for [`Self::mirrored`], with inputs and outputs exchanged,
    /// `[cin / 16][point][cout]`. The kernels are rotated by 180°, except for an upscaled image, where the transposed
    /// form uses the same kernels.
    pub fn backward_kernels(self, isa: Isa, weight: &[f32]) -> Vec<Row> {
        let (cin, cout) = (self.cin, self.cout);
        let turned = self.tiled != Tiled::Enlarged;
        let block = |exchanged: &mut Vec<f32>, (block, out): (usize, &mut [MaybeUninit<Row>])| {
            exchanged.resize(9 * cout * LANES, 0.0);
            for (tap, to) in exchanged.chunks_exact_mut(cout * LANES).enumerate() {
                let tap = if turned { 8 - tap } else { tap };
                let from = &weight[(tap * cin + block * LANES) * cout..][..LANES * cout];
                transpose(isa, from, to);
            }
            kernels(isa, self.tiled, exchanged, (LANES, 0), out);
        };
        let fill = |points: &mut [MaybeUninit<Row>]| {
            points.par_chunks_mut(self.points() * cout).enumerate().for_each_init(Vec::new, block);
        };
        // SAFETY: the chunks cover all points, and `kernels` writes all of a chunk.
        unsafe { filled_by(cin / LANES * self.points() * cout, fill) }
    }

    /// Convolves images whose border is [`Self::edge`] pixels wide, and applies an epilogue to the outputs.
    pub fn convolve(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        points: &[Row],
        mut epilogue: Epilogue,
        (out, to): (&mut [MaybeUninit<f32>], Grid),
        room: &mut Room,
    ) {
        let images = out.len() / to.image();
        let [origins, targets, beside] = &mut room.offsets;
        let (tiles, side) = (self.tiles_of(from), self.tiled.out());
        self.patch_origins(images, from, origins);
        tile_origins(images, to, tiles, (side * epilogue.pixels(), 0), targets);
        beside.clear();
        if let Some((grid, step)) = epilogue.beside(side) {
            tile_origins(images, grid, tiles, (step, 0), beside);
        }
        // There is one product per point, or a single one that sums over all points.
        let products_at = self.tiled.products();
        let depth = self.cin * self.points() / products_at;
        let block = Self::block(self.points() * self.cin + products_at * LANES, origins.len());
        let patch_strides = if products_at == 1 {
            Strides::by_tile(self.points(), self.cin)
        } else {
            Strides::by_point(block, self.cin, LANES)
        };
        let by = Strides::by_point(block, 1, 1);
        let patch_points =
            room.floats.first((self.points() * patch_strides.point).max(block * patch_strides.tile));
        let products = room.rows.first(self.cout / LANES * products_at * by.point);
        for first in (0..origins.len()).step_by(block) {
            let some = first..(first + block).min(origins.len());
            let origins = &origins[some.clone()];
            let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
            patches(isa, self.tiled, (x, source), patch_points, patch_strides);
            // Rows after the last tile hold values of an earlier block; their products are not used.
            let rows = origins.len().next_multiple_of(ROW_BLOCK);
            // One point of all patches stays in the nearest cache for all output channels.
            for point in 0..products_at {
                let a = &patch_points[point * patch_strides.point..][..rows * depth];
                let panels = points[point * depth..].chunks(depth).step_by(products_at);
                for (i, panel) in panels.enumerate() {
                    product(isa, a, panel, &mut products[(i * products_at + point) * by.point..][..rows]);
                }
            }
            let beside = beside.get(some.clone()).unwrap_or_default();
            for (i, products) in products.chunks_exact(products_at * by.point).enumerate() {
                let destination = epilogue.destination(
                    (&mut *out, to),
                    (&targets[some.clone()], beside),
                    (side, 1),
                    i * LANES,
                );
                outputs(isa, self.tiled, (products, by), destination);
            }
        }
    }

    /// Returns sums of zero for [`Self::add_weights`]: `[cout / 16][point][cin]`.
    pub fn no_sums(self) -> Vec<Row> {
        vec![[0.0; LANES]; self.sum_rows()]
    }

    /// Computes the index at which each patch begins in the inputs, and each tile in the gradients of the outputs.
    fn pairs(self, images: usize, (from, of): (Grid, Grid), [origins, targets, _]: &mut [Vec<usize>; 3]) {
        self.patch_origins(images, from, origins);
        tile_origins(images, of, self.tiles_of(from), (self.tiled.out(), 0), targets);
    }

    /// Adds to the sums the weight gradient, as points, and the bias gradient, from images `x` with a border and the
    /// gradients `grad` of their outputs.
    pub fn add_weights(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        (grad, of): (&[f32], Grid),
        (sums, bias): (&mut [Row], &mut [Row]),
        room: &mut Room,
    ) {
        self.pairs(grad.len() / of.image(), (from, of), &mut room.offsets);
        let [origins, targets, _] = &room.offsets;
        let block = Self::block(self.points() * (self.cin + self.cout), origins.len());
        let (patch_strides, by) = (Strides::by_point(block, self.cin, LANES), Strides::by_point(block, 1, 1));
        let patch_points = room.floats.first(self.points() * patch_strides.point);
        let grad_points = room.rows.first(self.points() * by.point);
        for (origins, targets) in origins.chunks(block).zip(targets.chunks(block)) {
            let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
            let target = Tiles { origins: targets, pitch: of.pitch(), channels: self.cout };
            patches(isa, self.tiled, (x, source), patch_points, patch_strides);
            let sums = sums.chunks_exact_mut(self.points() * self.cin);
            for (i, (sums, bias)) in sums.zip(&mut *bias).enumerate() {
                blocks(isa, self.tiled, (grad, target, i * LANES), (grad_points, by), bias);
                for (point, sum) in sums.chunks_exact_mut(self.cin).enumerate() {
                    let patch_points =
                        &patch_points[point * patch_strides.point..][..origins.len() * self.cin];
                    let grad_points = &grad_points[point * by.point..][..origins.len()];
                    transposed_product(isa, patch_points, grad_points, sum, Start::AsIs);
                }
            }
        }
    }

    /// Returns the gradients of weights and bias of a wide layer for a whole batch. The transformed patches and
    /// gradients of a round are stored first; then every point is summed by its own task, always in the order of tiles.
    pub fn sum_weights(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        (grad, of): (&[f32], Grid),
    ) -> ParamGradients {
        let mut offsets = [Vec::new(), Vec::new(), Vec::new()];
        self.pairs(grad.len() / of.image(), (from, of), &mut offsets);
        let [origins, targets, _] = offsets;
        let output_blocks = self.cout / LANES;
        let chunk = CHUNK.min(origins.len().div_ceil(CHUNKS));
        let (patch_strides, by) = (Strides::by_point(chunk, self.cin, LANES), Strides::by_point(chunk, 1, 1));
        let (floats, rows) = (self.points() * patch_strides.point, self.points() * by.point * output_blocks);
        let round = (ROUND / (floats + rows * LANES)).clamp(1, origins.len().div_ceil(chunk));
        let mut total = vec![[0.0; LANES]; output_blocks];
        let weight = with_scratch(|scratch| {
            let sums = scratch.work.sums.first(self.sum_rows());
            let mut start = Start::Zero;
            let patch_points = scratch.work.room.floats.first(round * floats);
            let grad_points = scratch.work.room.rows.first(round * rows);
            for (origins, targets) in origins.chunks(round * chunk).zip(targets.chunks(round * chunk)) {
                let tasks = patch_points.par_chunks_mut(floats).zip(grad_points.par_chunks_mut(rows));
                let tiles = origins.par_chunks(chunk).zip(targets.par_chunks(chunk));
                let biases: Vec<Vec<Row>> = tasks
                    .zip(tiles)
                    .map(|((patch_points, grad_points), (origins, targets))| {
                        touch(&x[origins[0]..=origins[origins.len() - 1]]);
                        touch(&grad[targets[0]..=targets[targets.len() - 1]]);
                        let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
                        let target = Tiles { origins: targets, pitch: of.pitch(), channels: self.cout };
                        patches(isa, self.tiled, (x, source), patch_points, patch_strides);
                        let mut bias = vec![[0.0; LANES]; output_blocks];
                        let grad_points = grad_points.chunks_exact_mut(self.points() * by.point);
                        for (i, (grad_points, bias)) in grad_points.zip(&mut bias).enumerate() {
                            blocks(isa, self.tiled, (grad, target, i * LANES), (grad_points, by), bias);
                        }
                        bias
                    })
                    .collect();
                let chunks = || {
                    patch_points
                        .chunks_exact(floats)
                        .zip(grad_points.chunks_exact(rows))
                        .zip(origins.chunks(chunk))
                };
                sums.par_chunks_mut(self.cin).enumerate().for_each(|(at, sum)| {
                    let mut start = start;
                    for ((patch_points, grad_points), tiles) in chunks() {
                        let patch_points = &patch_points[at % self.points() * patch_strides.point..]
                            [..tiles.len() * self.cin];
                        transposed_product(
                            isa,
                            patch_points,
                            &grad_points[at * by.point..][..tiles.len()],
                            sum,
                            start,
                        );
                        start = Start::AsIs;
                    }
                });
                start = Start::AsIs;
                for bias in &biases {
                    add(&mut total, bias);
                }
            }
            self.weights(isa, sums)
        });
        ParamGradients { weight, bias: total.into_flattened() }
    }

    /// Returns the gradients of the weights, `[3, 3, in, out]`, from those of their points, `sums`.
    ///
    /// # Panics
    /// If the number of sums does not fit.
    pub fn weights(self, isa: Isa, sums: &[Row]) -> Vec<f32> {
        assert_eq!(sums.len(), self.sum_rows(), "sums of another form");
        let fill = |out: &mut [MaybeUninit<f32>]| {
            for (block, sums) in sums.chunks_exact(self.points() * self.cin).enumerate() {
                kernels_from_points(isa, self.tiled, sums, (self.cout, block * LANES), out);
            }
        };
        // SAFETY: there is a block for every 16 output channels, and together the blocks make up all weights.
        unsafe { filled_by(9 * self.cin * self.cout, fill) }
    }
}

/// Adds rows element by element.
pub(super) fn add(to: &mut [Row], from: &[Row]) {
    to.as_flattened_mut().iter_mut().zip(from.as_flattened()).for_each(|(a, b)| *a += b);
}
