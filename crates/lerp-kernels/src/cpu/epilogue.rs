//! What happens to the outputs of a convolution: in a tiled one while they are in registers, in a direct one after it.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use std::mem::MaybeUninit;

use super::{
    grid::{Grid, tile_origins},
    lanes::{Isa, LANES, Lanes, Single, on_isa_registers},
    points::MOST,
};

/// What happens to outputs.
pub(super) enum Epilogue<'a> {
    /// Forward: plus bias, through a leaky ReLU (of slope 1 where there is none).
    Activate { bias: Option<&'a [f32]>, slope: f32 },
    /// The same, and the means over 2x2 blocks go elsewhere.
    Average { bias: &'a [f32], slope: f32, means: (&'a mut [MaybeUninit<f32>], Grid) },
    /// Back through the leaky ReLU that made these values.
    Gate { made: (&'a [f32], Grid), slope: f32 },
    /// Back through means over 2x2 blocks, each to the four values it was made of, and the leaky ReLU that made these.
    Spread { made: (&'a [f32], Grid), slope: f32 },
}

impl Epilogue<'_> {
    /// Outputs as they are.
    pub const NONE: Self = Self::Activate { bias: None, slope: 1.0 };

    /// Pixels that are written for an output, a side.
    pub fn pixels(&self) -> usize {
        if matches!(self, Self::Spread { .. }) { 2 } else { 1 }
    }

    /// The grid of the other values that a tile reads or writes, and how far apart tiles of `out` outputs a side are there.
    pub fn beside(&self, out: usize) -> Option<(Grid, usize)> {
        match self {
            Self::Activate { .. } => None,
            Self::Average { means: (_, grid), .. } => Some((*grid, out / 2)),
            Self::Gate { made: (_, grid), .. } => Some((*grid, out)),
            Self::Spread { made: (_, grid), .. } => Some((*grid, 2 * out)),
        }
    }

    /// What [`finish`] and the tiles of a convolution need of it, for rows of `count` tiles of `out` outputs a side that begin at
    /// `origins` of `to`, and at `beside` of the other values; `channel` is the first of [`LANES`], or of all channels.
    ///
    /// # Panics
    /// If a tile lies outside, or channels differ.
    pub fn ends<'a>(
        &'a mut self,
        (to, grid): (&'a mut [MaybeUninit<f32>], Grid),
        (origins, beside): (&'a [usize], &'a [usize]),
        (out, count): (usize, usize),
        channel: usize,
    ) -> Ends<'a> {
        let channels = grid.channels;
        let inside = |len: usize, origins: &[usize], side: usize, grid: Grid| {
            assert_eq!(grid.channels, channels, "channels of one tile differ");
            let furthest =
                origins.iter().max().map_or(0, |o| o + (side - 1) * grid.pitch() + count * side * channels);
            assert!(furthest <= len, "a tile reaches {furthest} of {len}");
        };
        if let Self::Activate { bias: Some(bias), .. } | Self::Average { bias, .. } = self {
            assert_eq!(bias.len(), channels, "a bias has a value for each channel");
        }
        assert!(channel.is_multiple_of(LANES) && channel < channels, "channels do not fit");
        inside(to.len(), origins, out * self.pixels(), grid);
        if let Some((other, step)) = self.beside(out) {
            assert_eq!(origins.len(), beside.len(), "tiles of one convolution differ in number");
            let len = match self {
                Self::Average { means: (means, _), .. } => means.len(),
                Self::Gate { made: (made, _), .. } | Self::Spread { made: (made, _), .. } => made.len(),
                Self::Activate { .. } => 0,
            };
            inside(len, beside, step, other);
        } else {
            assert!(beside.is_empty(), "tiles of other values that there are not");
        }
        let mut ends = Ends {
            kind: Kind::Activate,
            side: out,
            count,
            left: channels - channel,
            to: to[channel..].as_mut_ptr().cast(),
            pitch: grid.pitch(),
            channels,
            origins,
            beside,
            beside_pitch: self.beside(out).map_or(0, |(grid, _)| grid.pitch()),
            bias: None,
            slope: 1.0,
            made: std::ptr::null(),
            means: std::ptr::null_mut(),
        };
        ends.kind = match self {
            Self::Activate { bias, slope } => {
                (ends.bias, ends.slope) = (bias.map(|bias| &bias[channel..]), *slope);
                Kind::Activate
            }
            Self::Average { bias, slope, means: (means, _) } => {
                (ends.bias, ends.slope) = (Some(&bias[channel..]), *slope);
                ends.means = means[channel..].as_mut_ptr().cast();
                Kind::Average
            }
            Self::Gate { made: (made, _), slope } => {
                (ends.made, ends.slope) = (made[channel..].as_ptr(), *slope);
                Kind::Gate
            }
            Self::Spread { made: (made, _), slope } => {
                (ends.made, ends.slope) = (made[channel..].as_ptr(), *slope);
                Kind::Spread
            }
        };
        ends
    }
}

/// Which epilogue.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Activate,
    Average,
    Gate,
    Spread,
}

/// Where outputs go and what is done to them, checked: every tile of the origins lies inside.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    kind: Kind,
    /// Outputs of a tile, a side.
    side: usize,
    /// Tiles from each origin on.
    count: usize,
    /// Channels from the first one on.
    left: usize,
    to: *mut f32,
    pitch: usize,
    channels: usize,
    pub origins: &'a [usize],
    beside: &'a [usize],
    beside_pitch: usize,
    bias: Option<&'a [f32]>,
    slope: f32,
    made: *const f32,
    means: *mut f32,
}

impl Ends<'_> {
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether these are single tiles of so many outputs a side, with channels for a vector.
    pub fn fit(&self, side: usize) -> bool {
        self.side == side && self.count == 1 && self.left >= LANES
    }

    /// Where a tile's outputs go.
    ///
    /// # Safety
    /// `tile` must be below the number of origins.
    #[inline(always)]
    pub unsafe fn place(&self, tile: usize) -> Place {
        // SAFETY: there are as many tiles beside, if any, as `Epilogue::ends` has checked.
        unsafe {
            let beside = if self.beside.is_empty() { 0 } else { *self.beside.get_unchecked(tile) };
            Place { to: *self.origins.get_unchecked(tile), beside }
        }
    }
}

/// Where a tile begins in what is written and in the other values.
#[derive(Clone, Copy)]
pub(super) struct Place {
    to: usize,
    beside: usize,
}

/// One kind of epilogue, in a kernel.
pub(super) trait Finish {
    /// Takes the outputs of a tile, `side` a side, in channels from `c` on, to a place.
    ///
    /// # Safety
    /// `ends` must be of this kind, and the place inside.
    unsafe fn put<L: Lanes>(values: &[[L; MOST]; MOST], side: usize, ends: &Ends, at: Place, c: usize);
}

/// Calls a body with the type of an epilogue as its last generic argument.
macro_rules! on_epilogue {
    ($kind:expr, $isa:expr, $body:ident[$($own:ty),*]($($argument:ident: $type:ty),* $(,)?)) => {
        match $kind {
            $crate::cpu::epilogue::Kind::Activate =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Activate]($($argument: $type),*)),
            $crate::cpu::epilogue::Kind::Average =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Average]($($argument: $type),*)),
            $crate::cpu::epilogue::Kind::Gate =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Gate]($($argument: $type),*)),
            $crate::cpu::epilogue::Kind::Spread =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Spread]($($argument: $type),*)),
        }
    };
}
pub(super) use on_epilogue;

/// [`Epilogue::Activate`].
pub(super) struct Activate;
/// [`Epilogue::Average`].
pub(super) struct Average;
/// [`Epilogue::Gate`].
pub(super) struct Gate;
/// [`Epilogue::Spread`].
pub(super) struct Spread;

/// # Safety
/// As [`Finish::put`].
#[inline(always)]
unsafe fn activated<L: Lanes>(
    values: &[[L; MOST]; MOST],
    side: usize,
    ends: &Ends,
    c: usize,
) -> [[L; MOST]; MOST] {
    // SAFETY: the bias has as many values as there are channels.
    unsafe {
        let mut out = *values;
        let bias = match ends.bias {
            Some(bias) => L::load(bias.as_ptr().add(c)),
            None => L::splat(0.0),
        };
        for i in 0..side {
            for j in 0..side {
                let value = values[i][j].add(bias);
                out[i][j] = value.max(value.mul(L::splat(ends.slope)));
            }
        }
        out
    }
}

/// # Safety
/// As [`Finish::put`].
#[inline(always)]
unsafe fn write<L: Lanes>(values: &[[L; MOST]; MOST], side: usize, ends: &Ends, at: Place, c: usize) {
    // SAFETY: the tile lies inside.
    unsafe {
        let to = ends.to.add(at.to + c);
        for i in 0..side {
            for j in 0..side {
                values[i][j].store(to.add(i * ends.pitch + j * ends.channels));
            }
        }
    }
}

// SAFETY of every block below: the tile lies inside the values, as whoever made `ends` has checked.
impl Finish for Activate {
    #[inline(always)]
    unsafe fn put<L: Lanes>(values: &[[L; MOST]; MOST], side: usize, ends: &Ends, at: Place, c: usize) {
        unsafe { write(&activated(values, side, ends, c), side, ends, at, c) }
    }
}

impl Finish for Average {
    #[inline(always)]
    unsafe fn put<L: Lanes>(values: &[[L; MOST]; MOST], side: usize, ends: &Ends, at: Place, c: usize) {
        unsafe {
            let values = activated(values, side, ends, c);
            write(&values, side, ends, at, c);
            let to = ends.means.add(at.beside + c);
            for i in 0..side / 2 {
                for j in 0..side / 2 {
                    let (top, bottom) = (&values[2 * i], &values[2 * i + 1]);
                    let sum = top[2 * j].add(top[2 * j + 1]).add(bottom[2 * j]).add(bottom[2 * j + 1]);
                    sum.mul(L::splat(0.25)).store(to.add(i * ends.beside_pitch + j * ends.channels));
                }
            }
        }
    }
}

impl Finish for Gate {
    #[inline(always)]
    unsafe fn put<L: Lanes>(values: &[[L; MOST]; MOST], side: usize, ends: &Ends, at: Place, c: usize) {
        unsafe {
            let made = ends.made.add(at.beside + c);
            let mut out = *values;
            for i in 0..side {
                for j in 0..side {
                    let made = L::load(made.add(i * ends.beside_pitch + j * ends.channels));
                    out[i][j] = values[i][j].mul(made.one_if_positive(L::splat(ends.slope)));
                }
            }
            write(&out, side, ends, at, c);
        }
    }
}

impl Finish for Spread {
    #[inline(always)]
    unsafe fn put<L: Lanes>(values: &[[L; MOST]; MOST], side: usize, ends: &Ends, at: Place, c: usize) {
        unsafe {
            let made = ends.made.add(at.beside + c);
            let to = ends.to.add(at.to + c);
            for i in 0..side {
                for j in 0..side {
                    let value = values[i][j].mul(L::splat(0.25));
                    for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let (y, x) = (2 * i + y, 2 * j + x);
                        let made = L::load(made.add(y * ends.beside_pitch + x * ends.channels));
                        let passed = made.one_if_positive(L::splat(ends.slope));
                        value.mul(passed).store(to.add(y * ends.pitch + x * ends.channels));
                    }
                }
            }
        }
    }
}

/// An epilogue by itself, for outputs that have been written, row by row of pixels or of blocks.
///
/// # Panics
/// If shapes differ, or means are wanted of odd sides.
pub(super) fn finish(
    isa: Isa,
    (values, from): (&[f32], Grid),
    epilogue: &mut Epilogue,
    (out, to): (&mut [MaybeUninit<f32>], Grid),
    [origins, targets, beside]: &mut [Vec<usize>; 3],
) {
    let images = values.len() / from.image();
    let side = if matches!(epilogue, Epilogue::Average { .. }) { 2 } else { 1 };
    let (down, count) = (from.height / side, from.width / side);
    assert!(from.height.is_multiple_of(side) && from.width.is_multiple_of(side), "blocks of odd sides");
    tile_origins(images, from, [down, 1], (side, 0), origins);
    tile_origins(images, to, [down, 1], (side * epilogue.pixels(), 0), targets);
    beside.clear();
    let mut apart = Apart { from: side, to: side * epilogue.pixels(), beside: 0, pitch: from.pitch() };
    if let Some((grid, step)) = epilogue.beside(side) {
        tile_origins(images, grid, [down, 1], (step, 0), beside);
        apart.beside = step;
    }
    let ends = epilogue.ends((out, to), (targets, beside), (side, count), 0);
    let kind = ends.kind();
    assert_eq!(ends.channels, from.channels, "channels of one tile differ");
    // SAFETY: the tiles of both sides lie inside; the instruction set is one of this machine's.
    unsafe {
        if from.channels.is_multiple_of(LANES) {
            on_epilogue!(
                kind,
                isa,
                finish_body[](values: &[f32], origins: &[usize], count: usize, apart: Apart, ends: Ends)
            );
        } else {
            match kind {
                Kind::Activate => finish_body::<Single, Activate>(values, origins, count, apart, ends),
                Kind::Average => finish_body::<Single, Average>(values, origins, count, apart, ends),
                Kind::Gate => finish_body::<Single, Gate>(values, origins, count, apart, ends),
                Kind::Spread => finish_body::<Single, Spread>(values, origins, count, apart, ends),
            }
        }
    }
}

/// Pixels from one tile of a row to the next, and floats from one row of values to the next.
#[derive(Clone, Copy)]
struct Apart {
    from: usize,
    to: usize,
    beside: usize,
    pitch: usize,
}

/// # Safety
/// As [`finish`] checks.
#[inline(always)]
unsafe fn finish_body<L: Lanes, E: Finish>(
    values: &[f32],
    origins: &[usize],
    count: usize,
    apart: Apart,
    ends: Ends,
) {
    // SAFETY: the tiles lie inside.
    unsafe {
        for (row, origin) in origins.iter().enumerate() {
            let first = ends.place(row);
            for tile in 0..count {
                let skip = tile * ends.channels;
                let at = Place { to: first.to + skip * apart.to, beside: first.beside + skip * apart.beside };
                for c in (0..ends.channels).step_by(L::WIDTH) {
                    let from = values.as_ptr().add(origin + skip * apart.from + c);
                    let mut tiles = [[L::splat(0.0); MOST]; MOST];
                    // Of one pixel or four: the length of the loop is known, so that all stays in registers.
                    if apart.from == 1 {
                        tiles[0][0] = L::load(from);
                        E::put(&tiles, 1, &ends, at, c);
                    } else {
                        for i in 0..2 {
                            for j in 0..2 {
                                tiles[i][j] = L::load(from.add(i * apart.pitch + j * ends.channels));
                            }
                        }
                        E::put(&tiles, 2, &ends, at, c);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tile of 2x2 outputs at these places needs, of images of 4x4 pixels with an edge of one.
    fn ends(origins: &[usize], beside: &[usize], made: usize, channels: usize, channel: usize) -> bool {
        let grid = Grid { height: 4, width: 4, channels, edge: 1 };
        let (made, mut out) = (vec![0.0; made], vec![MaybeUninit::new(0.0); grid.image()]);
        let mut epilogue = Epilogue::Gate { made: (&made, grid), slope: 0.2 };
        epilogue.ends((&mut out, grid), (origins, beside), (2, 1), channel).fit(2)
    }

    #[test]
    fn tiles_inside_fit() {
        assert!(ends(&[0, 64], &[0, 64], 36 * 16, 16, 0));
        assert!(!ends(&[0], &[0], 36 * 20, 20, 16), "four channels are no vector");
    }

    #[test]
    #[should_panic(expected = "a tile reaches")]
    fn a_tile_beyond_what_is_written_is_refused() {
        ends(&[29 * 16], &[0], 36 * 16, 16, 0);
    }

    #[test]
    #[should_panic(expected = "a tile reaches")]
    fn a_tile_beyond_the_other_values_is_refused() {
        ends(&[0], &[0], 100, 16, 0);
    }

    #[test]
    #[should_panic(expected = "differ in number")]
    fn fewer_tiles_of_other_values_are_refused() {
        ends(&[0, 16], &[0], 36 * 16, 16, 0);
    }
}
