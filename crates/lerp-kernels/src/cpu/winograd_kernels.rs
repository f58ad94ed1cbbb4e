//! The inner kernels of tiled convolutions: the transforms of tiles and kernels.
//!
//! A [`Tiling`] defines a tile's size and transforms in each dimension (`tiling.rs`).
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use std::{hint::black_box, mem::MaybeUninit};

use super::{
    epilogue::{Destination, TileEpilogue, on_epilogue},
    lanes::{Isa, LANES, Lanes, on_isa_registers},
    tiling::{F23, F43, MAX_POINTS, Tiling, TilingKind, TwoPixels, Upscaled, UpscaledGradient, with_tiling},
};

/// Calls a generic function with a vector type and the type of a tiling.
macro_rules! on_tiling {
    ($kind:expr, $isa:expr, $body:ident($($argument:ident: $type:ty),* $(,)?)) => {
        with_tiling!($kind, T => on_isa_registers!($isa, $body[T]($($argument: $type),*)))
    };
}

/// The tiles of channels-last images.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    /// The images.
    pub values: &'a [f32],
    /// The index in `values` at which each tile begins.
    pub origins: &'a [usize],
    /// Floats from one row of pixels to the next.
    pub pitch: usize,
    pub channels: usize,
}

impl Tiles<'_> {
    /// # Panics
    /// If a tile of `side` pixels per dimension does not lie inside the images.
    fn check(self, side: usize) {
        let Self { values, origins, pitch, channels } = self;
        let furthest = origins.iter().max().map_or(0, |o| o + (side - 1) * pitch + side * channels);
        assert!(furthest <= values.len(), "a tile reaches {furthest} of {}", values.len());
    }
}

/// 16 of a layer's output channels.
#[derive(Clone, Copy)]
pub(super) struct ChannelBlock {
    /// The first of them.
    pub first: usize,
    /// The number of all channels, which is the number of floats from one input channel's weights to the next one's.
    pub channels: usize,
}

impl ChannelBlock {
    /// # Panics
    /// If there are less than 16 channels from the first one on.
    fn check(self) {
        assert!(self.first + LANES <= self.channels, "channels do not fit");
    }
}

/// The distances, in floats or rows of lanes, from one tile and from one point to the next.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub tile: usize,
    pub point: usize,
}

impl Strides {
    /// The layout that keeps all tiles of a point together. `pad`, a cache line, keeps the distance of points from
    /// being a power of two; otherwise all points of a tile would compete for the same few cache lines.
    pub fn by_point(tiles: usize, tile: usize, pad: usize) -> Self {
        Self { tile, point: tiles * tile + pad }
    }

    /// The layout that keeps all points of a tile together.
    pub fn by_tile(points: usize, channels: usize) -> Self {
        Self { tile: points * channels, point: channels }
    }

    /// Whether this many tiles and points, of `width` values each, fit into `len` values.
    fn fit(self, tiles: usize, points: usize, width: usize, len: usize) -> bool {
        tiles == 0 || (tiles - 1) * self.tile + (points - 1) * self.point + width <= len
    }
}

/// Transforms the patches under tiles to points, for every channel.
///
/// # Panics
/// If a patch lies outside the images, or `out` is too short.
pub(super) fn patches(isa: Isa, tiling: TilingKind, tiles: Tiles, out: &mut [f32], strides: Strides) {
    tiles.check(tiling.patch());
    let Tiles { values, origins, pitch, channels } = tiles;
    assert!(channels.is_multiple_of(LANES), "channels are no vectors");
    assert!(strides.fit(origins.len(), tiling.points(), channels, out.len()), "the patches do not fit");
    // SAFETY: the bounds are checked above; this machine has the instruction set.
    unsafe {
        on_tiling!(
            tiling,
            isa,
            patches_body(
                values: &[f32], origins: &[usize], pitch: usize, channels: usize, out: &mut [f32],
                strides: Strides,
            )
        );
    }
}

/// The loop of [`patches`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`patches`].
#[inline(always)]
unsafe fn patches_body<L: Lanes, T: Tiling>(
    values: &[f32],
    origins: &[usize],
    pitch: usize,
    channels: usize,
    out: &mut [f32],
    strides: Strides,
) {
    // SAFETY: patches lie inside `values`; `out` has room for every point.
    unsafe {
        for (tile, origin) in origins.iter().enumerate() {
            for c in (0..channels).step_by(L::WIDTH) {
                // Loops are used instead of closures, because functions that a closure calls are not inlined with the
                // instruction set.
                let from = values.as_ptr().add(origin + c);
                let to = out.as_mut_ptr().add(tile * strides.tile + c);
                // Six rows of six points do not fit into registers, but two points of each row do. So pairs of points
                // that share computations are taken together, and the pixels are loaded again for each pair.
                // `black_box` keeps the compiler from sharing the loads between the three pairs and spilling them.
                if T::POINTS == 6 {
                    some_points::<L, T>(
                        from,
                        pitch,
                        channels,
                        to,
                        strides.point,
                        [true, false, false, false, false, true],
                    );
                    let from = black_box(from);
                    some_points::<L, T>(
                        from,
                        pitch,
                        channels,
                        to,
                        strides.point,
                        [false, true, true, false, false, false],
                    );
                    let from = black_box(from);
                    some_points::<L, T>(
                        from,
                        pitch,
                        channels,
                        to,
                        strides.point,
                        [false, false, false, true, true, false],
                    );
                } else {
                    some_points::<L, T>(from, pitch, channels, to, strides.point, [true; MAX_POINTS]);
                }
            }
        }
    }
}

/// Transforms a patch to points, in some columns only.
///
/// The loop of [`patches`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`patches`].
#[inline(always)]
unsafe fn some_points<L: Lanes, T: Tiling>(
    from: *const f32,
    pitch: usize,
    channels: usize,
    to: *mut f32,
    stride: usize,
    columns: [bool; MAX_POINTS],
) {
    // SAFETY: the patch lies inside; there is room for every point.
    unsafe {
        let mut across = [[L::splat(0.0); MAX_POINTS]; MAX_POINTS];
        for i in 0..T::PATCH {
            let mut row = [L::splat(0.0); MAX_POINTS];
            for j in 0..T::PATCH {
                row[j] = L::load(from.add(i * pitch + j * channels));
            }
            across[i] = T::patch(row);
        }
        for j in 0..T::POINTS {
            if columns[j] {
                let mut column = [L::splat(0.0); MAX_POINTS];
                for i in 0..T::PATCH {
                    column[i] = across[i][j];
                }
                let column = T::patch(column);
                for i in 0..T::POINTS {
                    column[i].store(to.add((i * T::POINTS + j) * stride));
                }
            }
        }
    }
}

/// Transforms the gradients of tiles' outputs to points, for 16 channels from `channel` on, and adds the gradients
/// themselves to `sum`. Strides are in rows of lanes.
///
/// # Panics
/// If a tile lies outside the images, or `out` is too short.
pub(super) fn blocks(
    isa: Isa,
    tiling: TilingKind,
    tiles: Tiles,
    channel: usize,
    out: &mut [[f32; LANES]],
    strides: Strides,
    sum: &mut [f32; LANES],
) {
    tiles.check(tiling.out());
    let Tiles { values, origins, pitch, channels } = tiles;
    assert!(channel + LANES <= channels, "channels do not fit");
    assert!(strides.fit(origins.len(), tiling.points(), 1, out.len()), "the blocks do not fit");
    // SAFETY: the bounds are checked above; this machine has the instruction set.
    unsafe {
        let grad = values.as_ptr().add(channel);
        on_tiling!(
            tiling,
            isa,
            blocks_body(
                grad: *const f32, origins: &[usize], pitch: usize, channels: usize,
                out: &mut [[f32; LANES]], strides: Strides, sum: &mut [f32; LANES],
            )
        );
    }
}

/// The loop of [`blocks`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`blocks`].
#[inline(always)]
unsafe fn blocks_body<L: Lanes, T: Tiling>(
    grad: *const f32,
    origins: &[usize],
    pitch: usize,
    channels: usize,
    out: &mut [[f32; LANES]],
    strides: Strides,
    sum: &mut [f32; LANES],
) {
    // SAFETY: tiles lie inside the images; `out` has room for every point.
    unsafe {
        for c in (0..LANES).step_by(L::WIDTH) {
            let mut total = L::load(sum.as_ptr().add(c));
            for (tile, origin) in origins.iter().enumerate() {
                let from = grad.add(origin + c);
                let mut across = [[L::splat(0.0); MAX_POINTS]; MAX_POINTS];
                for i in 0..T::OUT {
                    let mut row = [L::splat(0.0); MAX_POINTS];
                    for j in 0..T::OUT {
                        row[j] = L::load(from.add(i * pitch + j * channels));
                        total = total.add(row[j]);
                    }
                    across[i] = T::block(row);
                }
                let to = out.as_mut_ptr().add(tile * strides.tile).cast::<f32>().add(c);
                for j in 0..T::POINTS {
                    let mut column = [L::splat(0.0); MAX_POINTS];
                    for i in 0..T::OUT {
                        column[i] = across[i][j];
                    }
                    let column = T::block(column);
                    for i in 0..T::POINTS {
                        column[i].store(to.add((i * T::POINTS + j) * strides.point * LANES));
                    }
                }
            }
            total.store(sum.as_mut_ptr().add(c));
        }
    }
}

/// Transforms tiles' products to outputs, for 16 channels, and applies an epilogue. Strides are in rows of lanes.
///
/// # Panics
/// If there are not enough products.
pub(super) fn outputs(
    isa: Isa,
    tiling: TilingKind,
    products: &[[f32; LANES]],
    strides: Strides,
    destination: Destination,
) {
    assert!(destination.fit(tiling.out()), "the outputs do not fit their tiles");
    let enough = strides.fit(destination.origins.len(), tiling.products(), 1, products.len());
    assert!(enough, "there are not enough products");
    // SAFETY: there is a product for every tile and point; the tiles lie inside, as `Epilogue::destination` has
    // checked; this machine has the instruction set.
    unsafe {
        with_tiling!(tiling, T => on_epilogue!(
            destination.kind(),
            isa,
            outputs_body[T](products: &[[f32; LANES]], strides: Strides, destination: Destination)
        ));
    }
}

/// The loop of [`outputs`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`outputs`].
#[inline(always)]
unsafe fn outputs_body<L: Lanes, T: Tiling, E: TileEpilogue>(
    products: &[[f32; LANES]],
    strides: Strides,
    destination: Destination,
) {
    // SAFETY: every point has a product for each tile.
    unsafe {
        for tile in 0..destination.origins.len() {
            for c in (0..LANES).step_by(L::WIDTH) {
                let from = products.as_ptr().add(tile * strides.tile).cast::<f32>().add(c);
                let mut down = [[L::splat(0.0); MAX_POINTS]; MAX_POINTS];
                for j in 0..T::PRODUCTS {
                    let mut column = [L::splat(0.0); MAX_POINTS];
                    for i in 0..T::PRODUCTS {
                        column[i] = L::load(from.add((i * T::PRODUCTS + j) * strides.point * LANES));
                    }
                    down[j] = T::outputs(column);
                }
                let mut values = [[L::splat(0.0); MAX_POINTS]; MAX_POINTS];
                for i in 0..T::OUT {
                    let mut row = [L::splat(0.0); MAX_POINTS];
                    for j in 0..T::PRODUCTS {
                        row[j] = down[j][i];
                    }
                    values[i] = T::outputs(row);
                }
                E::put(&values, T::OUT, &destination, destination.tile_start(tile), c);
            }
        }
    }
}

/// Transforms 3x3 kernels to points, for a block of output channels: `weights[tap][c][channels]` to `out[point][c]`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels(
    isa: Isa,
    tiling: TilingKind,
    weights: &[f32],
    block: ChannelBlock,
    out: &mut [MaybeUninit<[f32; LANES]>],
) {
    let ChannelBlock { first, channels } = block;
    let depth = out.len() / tiling.points();
    let fit = out.len() == tiling.points() * depth && weights.len() == 9 * depth * channels;
    assert!(fit, "kernels of unequal sizes");
    block.check();
    // SAFETY: the bounds are checked above; this machine has the instruction set.
    unsafe {
        let weights = weights.as_ptr().add(first);
        on_tiling!(
            tiling,
            isa,
            kernels_body(
                weights: *const f32, channels: usize, out: &mut [MaybeUninit<[f32; LANES]>], depth: usize,
            )
        );
    }
}

/// The loop of [`kernels`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`kernels`].
#[inline(always)]
unsafe fn kernels_body<L: Lanes, T: Tiling>(
    weights: *const f32,
    channels: usize,
    out: &mut [MaybeUninit<[f32; LANES]>],
    depth: usize,
) {
    // SAFETY: there are nine taps, and as many points as the tiling has, of `depth` rows each.
    unsafe {
        for at in 0..depth {
            for c in (0..LANES).step_by(L::WIDTH) {
                let mut down = [[L::splat(0.0); MAX_POINTS]; 3];
                for j in 0..3 {
                    let mut column = [L::splat(0.0); 3];
                    for i in 0..3 {
                        column[i] = L::load(weights.add(((i * 3 + j) * depth + at) * channels + c));
                    }
                    down[j] = T::kernel(column);
                }
                for i in 0..T::POINTS {
                    let row = T::kernel([down[0][i], down[1][i], down[2][i]]);
                    for j in 0..T::POINTS {
                        let point = i * T::POINTS + j;
                        row[j].store(out.as_mut_ptr().add(point * depth + at).cast::<f32>().add(c));
                    }
                }
            }
        }
    }
}

/// Transforms the gradients of 3x3 kernels' points, `points[point][c]`, to those of the kernels, `out[tap][c]`, for a
/// block of output channels.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels_from_points(
    isa: Isa,
    tiling: TilingKind,
    points: &[[f32; LANES]],
    block: ChannelBlock,
    out: &mut [MaybeUninit<f32>],
) {
    let ChannelBlock { first, channels } = block;
    let depth = points.len() / tiling.points();
    let fit = points.len() == tiling.points() * depth && out.len() == 9 * depth * channels;
    assert!(fit, "kernels of unequal sizes");
    block.check();
    // SAFETY: the bounds are checked above; this machine has the instruction set.
    unsafe {
        let out = out.as_mut_ptr().cast::<f32>().add(first);
        on_tiling!(
            tiling,
            isa,
            kernels_from_points_body(
                points: &[[f32; LANES]], depth: usize, channels: usize, out: *mut f32,
            )
        );
    }
}

/// The loop of [`kernels_from_points`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`kernels_from_points`].
#[inline(always)]
unsafe fn kernels_from_points_body<L: Lanes, T: Tiling>(
    points: &[[f32; LANES]],
    depth: usize,
    channels: usize,
    out: *mut f32,
) {
    // SAFETY: there are nine taps, and as many points as the tiling has, of `depth` rows each.
    unsafe {
        for at in 0..depth {
            for c in (0..LANES).step_by(L::WIDTH) {
                let mut down = [[L::splat(0.0); 3]; MAX_POINTS];
                for j in 0..T::POINTS {
                    let mut column = [L::splat(0.0); MAX_POINTS];
                    for i in 0..T::POINTS {
                        let point = i * T::POINTS + j;
                        column[i] = L::load(points.as_ptr().add(point * depth + at).cast::<f32>().add(c));
                    }
                    down[j] = T::kernel_gradient(column);
                }
                for i in 0..3 {
                    let mut row = [L::splat(0.0); MAX_POINTS];
                    for j in 0..T::POINTS {
                        row[j] = down[j][i];
                    }
                    let row = T::kernel_gradient(row);
                    for j in 0..3 {
                        row[j].store(out.add(((i * 3 + j) * depth + at) * channels + c));
                    }
                }
            }
        }
    }
}
