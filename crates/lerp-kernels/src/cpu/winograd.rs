//! Convolution with 3x3 kernels in tiles, with fewer products than 9 an output.
//!
//! The pixels under a tile and the kernel are taken to points, multiplied there (a matrix product over channels at every
//! point), and the result is taken back (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The
//! gradient of the weights goes the same way: points of patches times points of gradients, summed over tiles. Nine products
//! for four outputs or 36 for sixteen are a quarter of direct convolution's; which it is depends on the map (`points.rs`).

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
    tiled: Tiled,
    pub cin: usize,
    pub cout: usize,
}

impl Winograd {
    /// The form for maps of these sides, enlarged by two first or not, if there is one: a 3x3 kernel, channels in full vectors,
    /// sides in full tiles.
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

    /// The same for the gradient of the input, in which inputs and outputs change places.
    pub fn mirrored(self) -> Self {
        let tiled = if self.tiled == Tiled::Enlarged { Tiled::Gathered } else { self.tiled };
        Self { tiled, cin: self.cout, cout: self.cin }
    }

    /// Width of the edge of zeros that images have around them.
    pub fn edge(self) -> usize {
        self.tiled.before()
    }

    /// Whether every part of a batch can have sums of its own.
    pub fn narrow(self) -> bool {
        self.cin * self.cout <= NARROW
    }

    fn points(self) -> usize {
        self.tiled.points()
    }

    /// Rows of the points of all kernels, and of the sums of their gradients: `[cout / 16][point][cin]`.
    fn sum_rows(self) -> usize {
        self.cout / LANES * self.points() * self.cin
    }

    /// Tiles of an image that is read, down and across.
    fn tiles_of(self, grid: Grid) -> [usize; 2] {
        [grid.height / self.tiled.step(), grid.width / self.tiled.step()]
    }

    /// Tiles of an image that is read.
    pub fn tiles(self, grid: Grid) -> usize {
        self.tiles_of(grid).iter().product()
    }

    /// Where the patches begin in some images.
    fn patch_origins(self, images: usize, grid: Grid, origins: &mut Vec<usize>) {
        tile_origins(images, grid, self.tiles_of(grid), (self.tiled.step(), self.tiled.before()), origins);
    }

    /// Tiles that are worked on at a time, for so many floats a tile.
    fn block(floats: usize, all: usize) -> usize {
        let fitting = SCRATCH / floats;
        (fitting / ROW_BLOCK * ROW_BLOCK).max(ROW_BLOCK).min(all.next_multiple_of(ROW_BLOCK))
    }

    /// The points of all kernels, `[cout / 16][point][cin]`.
    pub fn forward_kernels(self, isa: Isa, weight: &[f32]) -> Vec<Row> {
        let fill = |points: &mut [MaybeUninit<Row>]| {
            points.par_chunks_mut(self.points() * self.cin).enumerate().for_each(|(block, out)| {
                kernels(isa, self.tiled, weight, (self.cout, block * LANES), out);
            });
        };
        // SAFETY: the chunks cover all points, and `kernels` sets all of a chunk.
        unsafe { filled_by(self.sum_rows(), fill) }
    }

    /// The points of all kernels for [`Self::mirrored`], with inputs and outputs exchanged, `[cin / 16][point][cout]`; turned by
    /// half a turn, unless the map is enlarged, where the transpose has the same kernels.
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
        // SAFETY: the chunks cover all points, and `kernels` sets all of a chunk.
        unsafe { filled_by(cin / LANES * self.points() * cout, fill) }
    }

    /// Convolves some images with an edge of [`Self::edge`] pixels.
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
        // Products at each point by itself, or one over all points.
        let products_at = self.tiled.products();
        let depth = self.cin * self.points() / products_at;
        let block = Self::block(self.points() * self.cin + products_at * LANES, origins.len());
        let laid_by = if products_at == 1 {
            Strides::by_tile(self.points(), self.cin)
        } else {
            Strides::by_point(block, self.cin, LANES)
        };
        let by = Strides::by_point(block, 1, 1);
        let laid = room.floats.first((self.points() * laid_by.point).max(block * laid_by.tile));
        let products = room.rows.first(self.cout / LANES * products_at * by.point);
        for first in (0..origins.len()).step_by(block) {
            let some = first..(first + block).min(origins.len());
            let origins = &origins[some.clone()];
            let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
            patches(isa, self.tiled, (x, source), laid, laid_by);
            // Rows behind the last tile are of an earlier block; nobody reads what comes of them.
            let rows = origins.len().next_multiple_of(ROW_BLOCK);
            // A point of all patches stays in the nearest cache for all output channels.
            for point in 0..products_at {
                let a = &laid[point * laid_by.point..][..rows * depth];
                let panels = points[point * depth..].chunks(depth).step_by(products_at);
                for (i, panel) in panels.enumerate() {
                    product(isa, a, panel, &mut products[(i * products_at + point) * by.point..][..rows]);
                }
            }
            let beside = beside.get(some.clone()).unwrap_or_default();
            for (i, products) in products.chunks_exact(products_at * by.point).enumerate() {
                let ends =
                    epilogue.ends((&mut *out, to), (&targets[some.clone()], beside), (side, 1), i * LANES);
                outputs(isa, self.tiled, (products, by), ends);
            }
        }
    }

    /// Zeros for [`Self::add_weights`]: `[cout / 16][point][cin]`.
    pub fn no_sums(self) -> Vec<Row> {
        vec![[0.0; LANES]; self.sum_rows()]
    }

    /// Where patches begin in what was read, and tiles in the gradients of what came of it.
    fn pairs(self, images: usize, (from, of): (Grid, Grid), [origins, targets, _]: &mut [Vec<usize>; 3]) {
        self.patch_origins(images, from, origins);
        tile_origins(images, of, self.tiles_of(from), (self.tiled.out(), 0), targets);
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
        self.pairs(grad.len() / of.image(), (from, of), &mut room.offsets);
        let [origins, targets, _] = &room.offsets;
        let block = Self::block(self.points() * (self.cin + self.cout), origins.len());
        let (laid_by, by) = (Strides::by_point(block, self.cin, LANES), Strides::by_point(block, 1, 1));
        let laid = room.floats.first(self.points() * laid_by.point);
        let heaped = room.rows.first(self.points() * by.point);
        for (origins, targets) in origins.chunks(block).zip(targets.chunks(block)) {
            let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
            let target = Tiles { origins: targets, pitch: of.pitch(), channels: self.cout };
            patches(isa, self.tiled, (x, source), laid, laid_by);
            let sums = sums.chunks_exact_mut(self.points() * self.cin);
            for (i, (sums, bias)) in sums.zip(&mut *bias).enumerate() {
                blocks(isa, self.tiled, (grad, target, i * LANES), (heaped, by), bias);
                for (point, sum) in sums.chunks_exact_mut(self.cin).enumerate() {
                    let laid = &laid[point * laid_by.point..][..origins.len() * self.cin];
                    let heaped = &heaped[point * by.point..][..origins.len()];
                    transposed_product(isa, laid, heaped, sum, Start::AsIs);
                }
            }
        }
    }

    /// The gradients of weights and bias of a whole batch of a wide layer: patches and blocks of a round are laid out first,
    /// then every point is summed by a task of its own, always in the order of tiles.
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
        let (laid_by, by) = (Strides::by_point(chunk, self.cin, LANES), Strides::by_point(chunk, 1, 1));
        let (floats, rows) = (self.points() * laid_by.point, self.points() * by.point * output_blocks);
        let round = (ROUND / (floats + rows * LANES)).clamp(1, origins.len().div_ceil(chunk));
        let mut total = vec![[0.0; LANES]; output_blocks];
        let weight = with_scratch(|scratch| {
            let sums = scratch.work.sums.first(self.sum_rows());
            let mut start = Start::Zero;
            let laid = scratch.work.room.floats.first(round * floats);
            let heaped = scratch.work.room.rows.first(round * rows);
            for (origins, targets) in origins.chunks(round * chunk).zip(targets.chunks(round * chunk)) {
                let tasks = laid.par_chunks_mut(floats).zip(heaped.par_chunks_mut(rows));
                let tiles = origins.par_chunks(chunk).zip(targets.par_chunks(chunk));
                let biases: Vec<Vec<Row>> = tasks
                    .zip(tiles)
                    .map(|((laid, heaped), (origins, targets))| {
                        touch(&x[origins[0]..=origins[origins.len() - 1]]);
                        touch(&grad[targets[0]..=targets[targets.len() - 1]]);
                        let source = Tiles { origins, pitch: from.pitch(), channels: self.cin };
                        let target = Tiles { origins: targets, pitch: of.pitch(), channels: self.cout };
                        patches(isa, self.tiled, (x, source), laid, laid_by);
                        let mut bias = vec![[0.0; LANES]; output_blocks];
                        let heaped = heaped.chunks_exact_mut(self.points() * by.point);
                        for (i, (heaped, bias)) in heaped.zip(&mut bias).enumerate() {
                            blocks(isa, self.tiled, (grad, target, i * LANES), (heaped, by), bias);
                        }
                        bias
                    })
                    .collect();
                let chunks =
                    || laid.chunks_exact(floats).zip(heaped.chunks_exact(rows)).zip(origins.chunks(chunk));
                sums.par_chunks_mut(self.cin).enumerate().for_each(|(at, sum)| {
                    let mut start = start;
                    for ((laid, heaped), tiles) in chunks() {
                        let laid = &laid[at % self.points() * laid_by.point..][..tiles.len() * self.cin];
                        transposed_product(isa, laid, &heaped[at * by.point..][..tiles.len()], sum, start);
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

    /// The gradients of the weights, `[3, 3, in, out]`, from those of their points, `sums`.
    ///
    /// # Panics
    /// If there are not as many sums.
    pub fn weights(self, isa: Isa, sums: &[Row]) -> Vec<f32> {
        assert_eq!(sums.len(), self.sum_rows(), "sums of another form");
        let fill = |out: &mut [MaybeUninit<f32>]| {
            for (block, sums) in sums.chunks_exact(self.points() * self.cin).enumerate() {
                kernels_from_points(isa, self.tiled, sums, (self.cout, block * LANES), out);
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
