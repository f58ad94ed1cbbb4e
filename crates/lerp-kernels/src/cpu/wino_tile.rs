//! The inner kernels of tiled convolutions: transforms of patches and the matrix products between them.
//!
//! A [`Tiling`] says what a tile is, in either dimension (`points.rs`).
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use std::{hint::black_box, mem::MaybeUninit};

use super::{
    epilogue::{Ends, Finish, on_epilogue},
    lanes::{Isa, LANES, Lanes, on_isa, on_isa_registers},
    points::{Enlarged, Four, Gathered, MOST, Tiled, Tiling, Two, Whole, with_tiling},
};

/// Rows of a product are a multiple of this: of the tile's rows on every instruction set.
pub(super) const ROW_BLOCK: usize = 8;

/// Where sums start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// From zero, whatever is there.
    Zero,
    /// From what is there.
    AsIs,
}

/// Calls a body with a type of vectors and a tiling.
macro_rules! on_tiling {
    ($tiled:expr, $isa:expr, $body:ident($($argument:ident: $type:ty),* $(,)?)) => {
        with_tiling!($tiled, T => on_isa_registers!($isa, $body[T]($($argument: $type),*)))
    };
}

/// Tiles of channels-last images: where each begins, and floats from one row of pixels to the next.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    pub origins: &'a [usize],
    pub pitch: usize,
    pub channels: usize,
}

/// Floats (or rows of lanes) from one tile and from one point to the next.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub tile: usize,
    pub point: usize,
}

impl Strides {
    /// All tiles of a point together. Not a power of two apart, or all points of a tile would compete for the same few lines
    /// of the cache; `pad` is a line of it.
    pub fn by_point(tiles: usize, tile: usize, pad: usize) -> Self {
        Self { tile, point: tiles * tile + pad }
    }

    /// All points of a tile together.
    pub fn by_tile(points: usize, channels: usize) -> Self {
        Self { tile: points * channels, point: channels }
    }

    /// Whether so many tiles and points of `width` each fit into `len`.
    fn fit(self, tiles: usize, points: usize, width: usize, len: usize) -> bool {
        tiles == 0 || (tiles - 1) * self.tile + (points - 1) * self.point + width <= len
    }
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

/// `sum[c] = Σ_t a[t·sum.len() + c]·b[t]`: the product of `a`'s transpose with `b`, added to what is there or not.
///
/// # Panics
/// If the sizes do not fit together, `b` is empty, or the length of `sum` is no multiple of [`LANES`].
pub(super) fn transposed_product(
    isa: Isa,
    a: &[f32],
    b: &[[f32; LANES]],
    sum: &mut [[f32; LANES]],
    start: Start,
) {
    assert!(
        !b.is_empty() && sum.len().is_multiple_of(LANES) && a.len() == sum.len() * b.len(),
        "product of unequal sizes"
    );
    // SAFETY: the sizes are checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, transposed_product_body[16, 4, 4, 2](
            a: &[f32], b: &[[f32; LANES]], sum: &mut [[f32; LANES]], start: Start,
        ));
    }
}

/// # Safety
/// As [`transposed_product`] checks.
#[inline(always)]
unsafe fn transposed_product_body<L: Lanes, const R: usize>(
    a: &[f32],
    b: &[[f32; LANES]],
    sum: &mut [[f32; LANES]],
    start: Start,
) {
    // SAFETY: as in `product_body`; R divides LANES, which divides the length of `sum`.
    unsafe {
        let width = sum.len();
        for c in (0..width).step_by(R) {
            let to: *mut f32 = sum.as_mut_ptr().add(c).cast();
            let mut sums = [L::splat(0.0); R];
            if start == Start::AsIs {
                for r in 0..R {
                    sums[r] = L::load(to.add(r * LANES));
                }
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

/// The points of the patches under tiles, for every channel.
///
/// # Panics
/// If a patch lies outside the images, or `out` is too short.
pub(super) fn patches(
    isa: Isa,
    tiled: Tiled,
    (values, tiles): (&[f32], Tiles),
    out: &mut [f32],
    strides: Strides,
) {
    let Tiles { origins, pitch, channels } = tiles;
    check_inside(values.len(), origins, tiled.patch(), (pitch, channels));
    assert!(channels.is_multiple_of(LANES), "channels are no vectors");
    assert!(strides.fit(origins.len(), tiled.points(), channels, out.len()), "the patches do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        on_tiling!(
            tiled,
            isa,
            patches_body(
                values: &[f32], origins: &[usize], pitch: usize, channels: usize, out: &mut [f32],
                strides: Strides,
            )
        );
    }
}

/// # Safety
/// As [`patches`] checks.
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
                // Loops, no closures: what a closure calls is not inlined with the instruction set.
                let from = values.as_ptr().add(origin + c);
                let to = out.as_mut_ptr().add(tile * strides.tile + c);
                // Six rows of six points do not stay in registers. Two points of each row do, and those that are computed from
                // each other are taken together; the pixels are loaded again instead. `black_box` keeps the compiler from
                // sharing the loads between the three, and from spilling them.
                if T::POINTS == 6 {
                    some_points::<L, T>(
                        from,
                        (pitch, channels),
                        to,
                        strides.point,
                        [true, false, false, false, false, true],
                    );
                    let from = black_box(from);
                    some_points::<L, T>(
                        from,
                        (pitch, channels),
                        to,
                        strides.point,
                        [false, true, true, false, false, false],
                    );
                    let from = black_box(from);
                    some_points::<L, T>(
                        from,
                        (pitch, channels),
                        to,
                        strides.point,
                        [false, false, false, true, true, false],
                    );
                } else {
                    some_points::<L, T>(from, (pitch, channels), to, strides.point, [true; MOST]);
                }
            }
        }
    }
}

/// The points of a patch in some columns.
///
/// # Safety
/// As [`patches`] checks.
#[inline(always)]
unsafe fn some_points<L: Lanes, T: Tiling>(
    from: *const f32,
    (pitch, channels): (usize, usize),
    to: *mut f32,
    stride: usize,
    columns: [bool; MOST],
) {
    // SAFETY: the patch lies inside; there is room for every point.
    unsafe {
        let mut across = [[L::splat(0.0); MOST]; MOST];
        for i in 0..T::PATCH {
            let mut row = [L::splat(0.0); MOST];
            for j in 0..T::PATCH {
                row[j] = L::load(from.add(i * pitch + j * channels));
            }
            across[i] = T::patch(row);
        }
        for j in 0..T::POINTS {
            if columns[j] {
                let mut column = [L::splat(0.0); MOST];
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

/// The points of the gradients of tiles' outputs, for 16 channels from `channel` on; strides are in rows of lanes. Adds the
/// gradients to `sum`.
///
/// # Panics
/// If a tile lies outside the images, or `out` is too short.
pub(super) fn blocks(
    isa: Isa,
    tiled: Tiled,
    (values, tiles, channel): (&[f32], Tiles, usize),
    (out, strides): (&mut [[f32; LANES]], Strides),
    sum: &mut [f32; LANES],
) {
    let Tiles { origins, pitch, channels } = tiles;
    check_inside(values.len(), origins, tiled.out(), (pitch, channels));
    assert!(channel + LANES <= channels, "channels do not fit");
    assert!(strides.fit(origins.len(), tiled.points(), 1, out.len()), "the blocks do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let grad = values.as_ptr().add(channel);
        on_tiling!(
            tiled,
            isa,
            blocks_body(
                grad: *const f32, origins: &[usize], pitch: usize, channels: usize,
                out: &mut [[f32; LANES]], strides: Strides, sum: &mut [f32; LANES],
            )
        );
    }
}

/// # Safety
/// As [`blocks`] checks.
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
                let mut across = [[L::splat(0.0); MOST]; MOST];
                for i in 0..T::OUT {
                    let mut row = [L::splat(0.0); MOST];
                    for j in 0..T::OUT {
                        row[j] = L::load(from.add(i * pitch + j * channels));
                        total = total.add(row[j]);
                    }
                    across[i] = T::block(row);
                }
                let to = out.as_mut_ptr().add(tile * strides.tile).cast::<f32>().add(c);
                for j in 0..T::POINTS {
                    let mut column = [L::splat(0.0); MOST];
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

/// The outputs of tiles from their products, for 16 channels, through an epilogue; strides are in rows of lanes.
///
/// # Panics
/// If there are not enough products.
pub(super) fn outputs(isa: Isa, tiled: Tiled, (products, strides): (&[[f32; LANES]], Strides), ends: Ends) {
    assert!(ends.fit(tiled.out()), "the outputs do not fit their tiles");
    let enough = strides.fit(ends.origins.len(), tiled.products(), 1, products.len());
    assert!(enough, "there are not enough products");
    // SAFETY: there is a product for every tile and point; the tiles lie inside, as `Epilogue::ends` has checked; the
    // instruction set is one of this machine's.
    unsafe {
        with_tiling!(tiled, T => on_epilogue!(
            ends.kind(), isa, outputs_body[T](products: &[[f32; LANES]], strides: Strides, ends: Ends)
        ));
    }
}

/// # Safety
/// As [`outputs`] checks.
#[inline(always)]
unsafe fn outputs_body<L: Lanes, T: Tiling, E: Finish>(
    products: &[[f32; LANES]],
    strides: Strides,
    ends: Ends,
) {
    // SAFETY: every point has a product for each tile.
    unsafe {
        for tile in 0..ends.origins.len() {
            for c in (0..LANES).step_by(L::WIDTH) {
                let from = products.as_ptr().add(tile * strides.tile).cast::<f32>().add(c);
                let mut down = [[L::splat(0.0); MOST]; MOST];
                for j in 0..T::PRODUCTS {
                    let mut column = [L::splat(0.0); MOST];
                    for i in 0..T::PRODUCTS {
                        column[i] = L::load(from.add((i * T::PRODUCTS + j) * strides.point * LANES));
                    }
                    down[j] = T::outputs(column);
                }
                let mut values = [[L::splat(0.0); MOST]; MOST];
                for i in 0..T::OUT {
                    let mut row = [L::splat(0.0); MOST];
                    for j in 0..T::PRODUCTS {
                        row[j] = down[j][i];
                    }
                    values[i] = T::outputs(row);
                }
                E::put(&values, T::OUT, &ends, ends.place(tile), c);
            }
        }
    }
}

/// The points of 3x3 kernels, 16 output channels from `channel` on: `weights[tap][c][channels]` to `out[point][c]`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels(
    isa: Isa,
    tiled: Tiled,
    weights: &[f32],
    (channels, channel): (usize, usize),
    out: &mut [MaybeUninit<[f32; LANES]>],
) {
    let depth = out.len() / tiled.points();
    let fit = out.len() == tiled.points() * depth && weights.len() == 9 * depth * channels;
    assert!(fit, "kernels of unequal sizes");
    assert!(channel + LANES <= channels, "channels do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let weights = weights.as_ptr().add(channel);
        on_tiling!(
            tiled,
            isa,
            kernels_body(
                weights: *const f32, channels: usize, out: &mut [MaybeUninit<[f32; LANES]>], depth: usize,
            )
        );
    }
}

/// # Safety
/// As [`kernels`] checks.
#[inline(always)]
unsafe fn kernels_body<L: Lanes, T: Tiling>(
    weights: *const f32,
    channels: usize,
    out: &mut [MaybeUninit<[f32; LANES]>],
    depth: usize,
) {
    // SAFETY: there are nine taps and as many points of `depth` rows each as the tiling has.
    unsafe {
        for at in 0..depth {
            for c in (0..LANES).step_by(L::WIDTH) {
                let mut down = [[L::splat(0.0); MOST]; 3];
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

/// The gradients of 3x3 kernels from those of their points, `points[point][c]`, of 16 output channels: `out[tap][c]`, with
/// `channels` floats from one `c` to the next. The output channels begin at `channel`.
///
/// # Panics
/// If the sizes do not fit together.
pub(super) fn kernels_from_points(
    isa: Isa,
    tiled: Tiled,
    points: &[[f32; LANES]],
    (channels, channel): (usize, usize),
    out: &mut [MaybeUninit<f32>],
) {
    let depth = points.len() / tiled.points();
    let fit = points.len() == tiled.points() * depth && out.len() == 9 * depth * channels;
    assert!(fit, "kernels of unequal sizes");
    assert!(channel + LANES <= channels, "channels do not fit");
    // SAFETY: the bounds are checked above; the instruction set is one of this machine's.
    unsafe {
        let out = out.as_mut_ptr().cast::<f32>().add(channel);
        on_tiling!(
            tiled,
            isa,
            kernels_from_points_body(
                points: &[[f32; LANES]], depth: usize, channels: usize, out: *mut f32,
            )
        );
    }
}

/// # Safety
/// As [`kernels_from_points`] checks.
#[inline(always)]
unsafe fn kernels_from_points_body<L: Lanes, T: Tiling>(
    points: &[[f32; LANES]],
    depth: usize,
    channels: usize,
    out: *mut f32,
) {
    // SAFETY: there are nine taps and as many points of `depth` rows each as the tiling has.
    unsafe {
        for at in 0..depth {
            for c in (0..LANES).step_by(L::WIDTH) {
                let mut down = [[L::splat(0.0); 3]; MOST];
                for j in 0..T::POINTS {
                    let mut column = [L::splat(0.0); MOST];
                    for i in 0..T::POINTS {
                        let point = i * T::POINTS + j;
                        column[i] = L::load(points.as_ptr().add(point * depth + at).cast::<f32>().add(c));
                    }
                    down[j] = T::kernel_gradient(column);
                }
                for i in 0..3 {
                    let mut row = [L::splat(0.0); MOST];
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
