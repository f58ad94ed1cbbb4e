//! Convolution with 3x3 kernels in tiles, with fewer than 9 products per output.
//!
//! The pixels under a tile and the kernel are transformed to points, multiplied there (a matrix product over channels
//! at every point), and the products are transformed back (Lavin and Gray, "Fast Algorithms for Convolutional Neural
//! Networks", 2016). The gradient of the weights is computed in the same way: points of patches times points of
//! gradients, summed over tiles. Nine products for four outputs, or 36 for sixteen, are a quarter of the products of
//! direct convolution; the image size decides which tiling is used (`tiling.rs`).

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    epilogue::{Epilogue, SecondTensor, TileRows},
    grid::{Grid, Images, ImagesMut, TileLayout, tile_origins},
    lanes::{Isa, LANES, transpose},
    matrix_product::{ROW_BLOCK, Start, product, transposed_product},
    scratch::{TileOrigins, TileScratch, filled_by, load_into_cache, with_scratch},
    step::{ParamGradients, Resizing},
    tiling::TilingKind,
    winograd_kernels::{
        ChannelBlock, Strides, Tiles, blocks, kernels, kernels_from_points, outputs, patches,
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

/// Running sums of the gradients of weights and bias, those of the weights as points, `[cout / 16][point][cin]`.
pub(super) struct PointSums {
    weight: Vec<Row>,
    bias: Vec<Row>,
}

impl PointSums {
    /// Adds the sums of another part of the batch.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.weight, &other.weight);
        add(&mut self.bias, &other.bias);
    }
}

/// A convolution in tiles: its tiling and numbers of channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Winograd {
    tiling: TilingKind,
    pub cin: usize,
    pub cout: usize,
}

impl Winograd {
    /// Returns the convolution of images of this shape with `cout` kernels of side `k`. Returns `None` unless the
    /// kernel is 3x3, channels fill vectors, and sides are covered by full tiles.
    pub fn fitting(input: Grid, k: usize, cout: usize, resize: Resizing) -> Option<Self> {
        let Grid { height, width, channels: cin, .. } = input;
        let divides = |by: usize| height.is_multiple_of(by) && width.is_multiple_of(by);
        let full = |channels: usize| channels.is_multiple_of(LANES);
        if k != 3 || !full(cin) || !full(cout) {
            return None;
        }
        let tiling = match [height, width] {
            _ if resize.upscale => TilingKind::Upscaled,
            [2, 2] => TilingKind::TwoPixels,
            _ if divides(4) => TilingKind::F43,
            _ if divides(2) => TilingKind::F23,
            _ => return None,
        };
        Some(Self { tiling, cin, cout })
    }

    /// The convolution that computes the gradient of the input, in which inputs and outputs are exchanged.
    pub fn mirrored(self) -> Self {
        let tiling =
            if self.tiling == TilingKind::Upscaled { TilingKind::UpscaledGradient } else { self.tiling };
        Self { tiling, cin: self.cout, cout: self.cin }
    }

    /// The width of the border of zeros that the convolution reads, in pixels.
    pub fn edge(self) -> usize {
        self.tiling.before()
    }

    /// Whether the layer is narrow, so that every part of a batch can have its own gradient sums.
    pub fn is_narrow(self) -> bool {
        self.cin * self.cout <= NARROW
    }

    fn points(self) -> usize {
        self.tiling.points()
    }

    /// The number of rows of all kernels' points, and of the sums of their gradients: `[cout / 16][point][cin]`.
    fn sum_rows(self) -> usize {
        self.cout / LANES * self.points() * self.cin
    }

    /// The arrangement of the patches that tiles read in an image of this input grid.
    fn patch_layout(self, input: Grid) -> TileLayout {
        let (step, before) = (self.tiling.step(), self.tiling.before());
        TileLayout { down: input.height / step, across: input.width / step, step, before }
    }

    /// The number of tiles of an image of this input grid.
    pub fn tiles(self, input: Grid) -> usize {
        let TileLayout { down, across, .. } = self.patch_layout(input);
        down * across
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
                kernels(isa, self.tiling, weight, self.output_channels(block), out);
            });
        };
        // SAFETY: the chunks cover all points, and `kernels` writes all of a chunk.
        unsafe { filled_by(self.sum_rows(), fill) }
    }

    /// Returns the points of all kernels for [`Self::mirrored`], with inputs and outputs exchanged,
    /// `[cin / 16][point][cout]`. The kernels are rotated by 180°, except for an upscaled image, whose transposed
    /// tiling uses the same kernels.
    pub fn backward_kernels(self, isa: Isa, weight: &[f32]) -> Vec<Row> {
        let (cin, cout) = (self.cin, self.cout);
        let turned = self.tiling != TilingKind::Upscaled;
        let block = |exchanged: &mut Vec<f32>, (block, out): (usize, &mut [MaybeUninit<Row>])| {
            exchanged.resize(9 * cout * LANES, 0.0);
            for (tap, to) in exchanged.chunks_exact_mut(cout * LANES).enumerate() {
                let tap = if turned { 8 - tap } else { tap };
                let from = &weight[(tap * cin + block * LANES) * cout..][..LANES * cout];
                transpose(isa, from, to);
            }
            kernels(isa, self.tiling, exchanged, ChannelBlock { first: 0, channels: LANES }, out);
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
        x: Images,
        points: &[Row],
        mut epilogue: Epilogue,
        mut out: ImagesMut,
        scratch: &mut TileScratch,
    ) {
        let (images, side) = (out.count(), self.tiling.out());
        let TileOrigins { input: origins, output: targets, second } = &mut scratch.origins;
        let patches_at = self.patch_layout(x.grid);
        tile_origins(images, x.grid, patches_at, origins);
        let written_at = |step| TileLayout { step, before: 0, ..patches_at };
        tile_origins(images, out.grid, written_at(side * epilogue.pixels()), targets);
        second.clear();
        if let Some(SecondTensor { grid, step, .. }) = epilogue.second(side) {
            tile_origins(images, grid, written_at(step), second);
        }
        // There is one product per point, or a single one that sums over all points.
        let products_at = self.tiling.products();
        let depth = self.cin * self.points() / products_at;
        let block = Self::block(self.points() * self.cin + products_at * LANES, origins.len());
        let patch_strides = if products_at == 1 {
            Strides::by_tile(self.points(), self.cin)
        } else {
            Strides::by_point(block, self.cin, LANES)
        };
        let by = Strides::by_point(block, 1, 1);
        let patch_points =
            scratch.floats.first((self.points() * patch_strides.point).max(block * patch_strides.tile));
        let products = scratch.rows.first(self.cout / LANES * products_at * by.point);
        for first in (0..origins.len()).step_by(block) {
            let some = first..(first + block).min(origins.len());
            let origins = &origins[some.clone()];
            let source = self.patches_of(x, origins);
            patches(isa, self.tiling, source, patch_points, patch_strides);
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
            let second_origins = second.get(some.clone()).unwrap_or_default();
            let rows = TileRows { origins: &targets[some], second_origins, side, count: 1 };
            for (i, products) in products.chunks_exact(products_at * by.point).enumerate() {
                let destination = epilogue.destination(out.reborrow(), rows, i * LANES);
                outputs(isa, self.tiling, products, by, destination);
            }
        }
    }

    /// Returns sums of zero for [`Self::add_weights`].
    pub fn no_sums(self) -> PointSums {
        PointSums { weight: vec![[0.0; LANES]; self.sum_rows()], bias: vec![[0.0; LANES]; self.cout / LANES] }
    }

    /// The patches of input images that begin at the given origins.
    fn patches_of<'a>(self, x: Images<'a>, origins: &'a [usize]) -> Tiles<'a> {
        Tiles { values: x.values, origins, pitch: x.grid.pitch(), channels: self.cin }
    }

    /// The tiles of the outputs' gradients that begin at the given origins.
    fn blocks_of<'a>(self, grad: Images<'a>, origins: &'a [usize]) -> Tiles<'a> {
        Tiles { values: grad.values, origins, pitch: grad.grid.pitch(), channels: self.cout }
    }

    /// A block of output channels.
    fn output_channels(self, block: usize) -> ChannelBlock {
        ChannelBlock { first: block * LANES, channels: self.cout }
    }

    /// Computes the index at which each patch begins in the inputs, and each tile in the gradients of the outputs.
    fn gradient_origins(self, x: Grid, grad: Images, origins: &mut TileOrigins) {
        let (images, patches_at) = (grad.count(), self.patch_layout(x));
        tile_origins(images, x, patches_at, &mut origins.input);
        let blocks_at = TileLayout { step: self.tiling.out(), before: 0, ..patches_at };
        tile_origins(images, grad.grid, blocks_at, &mut origins.output);
    }

    /// Adds to the sums the gradients of weights and bias, from images `x` with a border and the gradients `grad` of
    /// their outputs.
    pub fn add_weights(
        self,
        isa: Isa,
        x: Images,
        grad: Images,
        sums: &mut PointSums,
        scratch: &mut TileScratch,
    ) {
        self.gradient_origins(x.grid, grad, &mut scratch.origins);
        let TileOrigins { input: origins, output: targets, .. } = &scratch.origins;
        let block = Self::block(self.points() * (self.cin + self.cout), origins.len());
        let (patch_strides, by) = (Strides::by_point(block, self.cin, LANES), Strides::by_point(block, 1, 1));
        let patch_points = scratch.floats.first(self.points() * patch_strides.point);
        let grad_points = scratch.rows.first(self.points() * by.point);
        for (origins, targets) in origins.chunks(block).zip(targets.chunks(block)) {
            patches(isa, self.tiling, self.patches_of(x, origins), patch_points, patch_strides);
            let target = self.blocks_of(grad, targets);
            let weight = sums.weight.chunks_exact_mut(self.points() * self.cin);
            for (i, (sums, bias)) in weight.zip(&mut sums.bias).enumerate() {
                blocks(isa, self.tiling, target, i * LANES, grad_points, by, bias);
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
    pub fn sum_weights(self, isa: Isa, x: Images, grad: Images) -> ParamGradients {
        let mut origins = TileOrigins::default();
        self.gradient_origins(x.grid, grad, &mut origins);
        let TileOrigins { input: origins, output: targets, .. } = origins;
        let output_blocks = self.cout / LANES;
        let chunk = CHUNK.min(origins.len().div_ceil(CHUNKS));
        let (patch_strides, by) = (Strides::by_point(chunk, self.cin, LANES), Strides::by_point(chunk, 1, 1));
        let (floats, rows) = (self.points() * patch_strides.point, self.points() * by.point * output_blocks);
        let round = (ROUND / (floats + rows * LANES)).clamp(1, origins.len().div_ceil(chunk));
        let mut total = vec![[0.0; LANES]; output_blocks];
        let weight = with_scratch(|scratch| {
            let sums = scratch.step.sums.first(self.sum_rows());
            let mut start = Start::Zero;
            let patch_points = scratch.step.tiles.floats.first(round * floats);
            let grad_points = scratch.step.tiles.rows.first(round * rows);
            for (origins, targets) in origins.chunks(round * chunk).zip(targets.chunks(round * chunk)) {
                let tasks = patch_points.par_chunks_mut(floats).zip(grad_points.par_chunks_mut(rows));
                let tiles = origins.par_chunks(chunk).zip(targets.par_chunks(chunk));
                let biases: Vec<Vec<Row>> = tasks
                    .zip(tiles)
                    .map(|((patch_points, grad_points), (origins, targets))| {
                        load_into_cache(&x.values[origins[0]..=origins[origins.len() - 1]]);
                        load_into_cache(&grad.values[targets[0]..=targets[targets.len() - 1]]);
                        patches(isa, self.tiling, self.patches_of(x, origins), patch_points, patch_strides);
                        let target = self.blocks_of(grad, targets);
                        let mut bias = vec![[0.0; LANES]; output_blocks];
                        let grad_points = grad_points.chunks_exact_mut(self.points() * by.point);
                        for (i, (grad_points, bias)) in grad_points.zip(&mut bias).enumerate() {
                            blocks(isa, self.tiling, target, i * LANES, grad_points, by, bias);
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

    /// Returns the gradients of weights and bias from their sums.
    pub fn gradients(self, isa: Isa, sums: PointSums) -> ParamGradients {
        ParamGradients { weight: self.weights(isa, &sums.weight), bias: sums.bias.into_flattened() }
    }

    /// Returns the gradients of the weights, `[3, 3, in, out]`, from those of their points, `sums`.
    ///
    /// # Panics
    /// If the number of sums does not fit.
    fn weights(self, isa: Isa, sums: &[Row]) -> Vec<f32> {
        assert_eq!(sums.len(), self.sum_rows(), "these are sums of another convolution");
        let fill = |out: &mut [MaybeUninit<f32>]| {
            for (block, sums) in sums.chunks_exact(self.points() * self.cin).enumerate() {
                kernels_from_points(isa, self.tiling, sums, self.output_channels(block), out);
            }
        };
        // SAFETY: there is a block for every 16 output channels, and together the blocks make up all weights.
        unsafe { filled_by(9 * self.cin * self.cout, fill) }
    }
}

/// Adds rows element by element.
fn add(to: &mut [Row], from: &[Row]) {
    to.as_flattened_mut().iter_mut().zip(from.as_flattened()).for_each(|(a, b)| *a += b);
}
