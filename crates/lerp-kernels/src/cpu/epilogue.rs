//! The operations on a convolution's outputs before they are written: in a tiled convolution while the outputs are in
//! registers, after a direct convolution in a pass of its own.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use super::{
    grid::{Grid, Images, ImagesMut, TileLayout, tile_origins},
    lanes::{Isa, LANES, Lanes, Single, on_isa_registers},
    scratch::TileOrigins,
    tiling::MAX_POINTS,
};

/// The operations on a convolution's outputs.
pub(super) enum Epilogue<'a> {
    /// Forward pass: adds the bias and applies a leaky ReLU (with slope 1 where there is none).
    Activate { bias: Option<&'a [f32]>, slope: f32 },
    /// Forward pass: the same as `Activate`, and the means over 2x2 blocks are written to `means`.
    Average { bias: &'a [f32], slope: f32, means: ImagesMut<'a> },
    /// Backward pass of the leaky ReLU whose results are `activated`.
    Gate { activated: Images<'a>, slope: f32 },
    /// Backward pass of the 2x2 mean, which distributes each gradient to the four values of its block, and of the leaky
    /// ReLU before it, whose results are `activated`.
    Spread { activated: Images<'a>, slope: f32 },
}

impl Epilogue<'_> {
    /// The epilogue that leaves outputs unchanged.
    pub const NONE: Self = Self::Activate { bias: None, slope: 1.0 };

    /// The number of pixels per dimension that are written for one output.
    pub fn pixels(&self) -> usize {
        if matches!(self, Self::Spread { .. }) { 2 } else { 1 }
    }

    /// Returns the second tensor that a tile reads or writes (`means` or `activated`), for tiles of `side` outputs per
    /// dimension. Returns `None` if there is none.
    pub fn second(&self, side: usize) -> Option<SecondTensor> {
        let (grid, len, step) = match self {
            Self::Activate { .. } => return None,
            Self::Average { means, .. } => (means.grid, means.values.len(), side / 2),
            Self::Gate { activated, .. } => (activated.grid, activated.values.len(), side),
            Self::Spread { activated, .. } => (activated.grid, activated.values.len(), 2 * side),
        };
        Some(SecondTensor { grid, len, step })
    }

    /// Checks bounds and returns the pointers with which tiles write their outputs. `channel` is the first of the
    /// [`LANES`] channels that are written, or of all channels.
    ///
    /// # Panics
    /// If a tile lies outside its tensor, or numbers of channels differ.
    pub fn destination<'a>(
        &'a mut self,
        out: ImagesMut<'a>,
        rows: TileRows<'a>,
        channel: usize,
    ) -> Destination<'a> {
        let ImagesMut { values: to, grid } = out;
        let TileRows { origins, second_origins, side, count } = rows;
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
        inside(to.len(), origins, side * self.pixels(), grid);
        let second = self.second(side);
        if let Some(SecondTensor { grid, len, step }) = second {
            assert_eq!(origins.len(), second_origins.len(), "tiles of one convolution differ in number");
            inside(len, second_origins, step, grid);
        } else {
            assert!(second_origins.is_empty(), "there are tiles of a second tensor, but no such tensor");
        }
        let mut destination = Destination {
            kind: EpilogueKind::Activate,
            side,
            count,
            left: channels - channel,
            to: to[channel..].as_mut_ptr().cast(),
            pitch: grid.pitch(),
            channels,
            origins,
            second_origins,
            second_pitch: second.map_or(0, |second| second.grid.pitch()),
            bias: None,
            slope: 1.0,
            activated: std::ptr::null(),
            means: std::ptr::null_mut(),
        };
        destination.kind = match self {
            Self::Activate { bias, slope } => {
                (destination.bias, destination.slope) = (bias.map(|bias| &bias[channel..]), *slope);
                EpilogueKind::Activate
            }
            Self::Average { bias, slope, means } => {
                (destination.bias, destination.slope) = (Some(&bias[channel..]), *slope);
                destination.means = means.values[channel..].as_mut_ptr().cast();
                EpilogueKind::Average
            }
            Self::Gate { activated, slope } => {
                (destination.activated, destination.slope) = (activated.values[channel..].as_ptr(), *slope);
                EpilogueKind::Gate
            }
            Self::Spread { activated, slope } => {
                (destination.activated, destination.slope) = (activated.values[channel..].as_ptr(), *slope);
                EpilogueKind::Spread
            }
        };
        destination
    }
}

/// The second tensor that the tiles of an [`Epilogue`] read or write.
#[derive(Clone, Copy)]
pub(super) struct SecondTensor {
    pub grid: Grid,
    /// Floats of the whole tensor.
    len: usize,
    /// Pixels of the tensor from one tile to the next.
    pub step: usize,
}

/// Rows of tiles that write their outputs.
#[derive(Clone, Copy)]
pub(super) struct TileRows<'a> {
    /// The index in the output at which each row begins.
    pub origins: &'a [usize],
    /// The index in the second tensor at which each row begins; empty if there is none.
    pub second_origins: &'a [usize],
    /// Outputs of a tile per dimension.
    pub side: usize,
    /// Tiles of a row.
    pub count: usize,
}

/// The kind of an [`Epilogue`].
#[derive(Debug, Clone, Copy)]
pub(super) enum EpilogueKind {
    Activate,
    Average,
    Gate,
    Spread,
}

/// A checked epilogue: every tile that begins at one of the origins lies inside the tensors.
#[derive(Clone, Copy)]
pub(super) struct Destination<'a> {
    kind: EpilogueKind,
    /// Outputs of a tile per dimension.
    side: usize,
    /// Tiles in the row that begins at each origin.
    count: usize,
    /// Channels from the first written one to the last.
    left: usize,
    to: *mut f32,
    pitch: usize,
    channels: usize,
    pub origins: &'a [usize],
    second_origins: &'a [usize],
    second_pitch: usize,
    bias: Option<&'a [f32]>,
    slope: f32,
    activated: *const f32,
    means: *mut f32,
}

impl Destination<'_> {
    pub fn kind(&self) -> EpilogueKind {
        self.kind
    }

    /// Whether each origin has a single tile of `side` outputs per dimension, and there are channels for a full vector.
    pub fn fit(&self, side: usize) -> bool {
        self.side == side && self.count == 1 && self.left >= LANES
    }

    /// Returns where a tile begins.
    ///
    /// # Safety
    /// `tile` must be less than the number of origins.
    #[inline(always)]
    pub unsafe fn tile_start(&self, tile: usize) -> TileStart {
        // SAFETY: the caller keeps `tile` in bounds; `second_origins` is empty or as long as `origins`, as
        // `Epilogue::destination` has checked.
        unsafe {
            let second =
                if self.second_origins.is_empty() { 0 } else { *self.second_origins.get_unchecked(tile) };
            TileStart { to: *self.origins.get_unchecked(tile), second }
        }
    }
}

/// The index of a tile's first value in the output, and in the second tensor.
#[derive(Clone, Copy)]
pub(super) struct TileStart {
    to: usize,
    second: usize,
}

/// One kind of epilogue, as a type argument of the kernels.
pub(super) trait TileEpilogue {
    /// Applies the epilogue to the outputs of a tile of `side` outputs per dimension, in channels from `c` on, and
    /// writes them.
    ///
    /// # Safety
    /// `destination` must be of this kind, and `at` a tile inside its tensors.
    unsafe fn put<L: Lanes>(
        values: &[[L; MAX_POINTS]; MAX_POINTS],
        side: usize,
        destination: &Destination,
        at: TileStart,
        c: usize,
    );
}

/// Calls a generic function with the type of an epilogue as its last type argument.
macro_rules! on_epilogue {
    ($kind:expr, $isa:expr, $body:ident[$($own:ty),*]($($argument:ident: $type:ty),* $(,)?)) => {
        match $kind {
            $crate::cpu::epilogue::EpilogueKind::Activate =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Activate]($($argument: $type),*)),
            $crate::cpu::epilogue::EpilogueKind::Average =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Average]($($argument: $type),*)),
            $crate::cpu::epilogue::EpilogueKind::Gate =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Gate]($($argument: $type),*)),
            $crate::cpu::epilogue::EpilogueKind::Spread =>
                on_isa_registers!($isa, $body[$($own,)* $crate::cpu::epilogue::Spread]($($argument: $type),*)),
        }
    };
}
pub(super) use on_epilogue;

/// The type for [`Epilogue::Activate`].
pub(super) struct Activate;
/// The type for [`Epilogue::Average`].
pub(super) struct Average;
/// The type for [`Epilogue::Gate`].
pub(super) struct Gate;
/// The type for [`Epilogue::Spread`].
pub(super) struct Spread;

/// Returns the outputs of a tile with bias and leaky ReLU applied.
///
/// # Safety
/// As for [`TileEpilogue::put`].
#[inline(always)]
unsafe fn activate<L: Lanes>(
    values: &[[L; MAX_POINTS]; MAX_POINTS],
    side: usize,
    destination: &Destination,
    c: usize,
) -> [[L; MAX_POINTS]; MAX_POINTS] {
    // SAFETY: the bias has as many values as there are channels.
    unsafe {
        let mut out = *values;
        let bias = match destination.bias {
            Some(bias) => L::load(bias.as_ptr().add(c)),
            None => L::splat(0.0),
        };
        for i in 0..side {
            for j in 0..side {
                let value = values[i][j].add(bias);
                out[i][j] = value.max(value.mul(L::splat(destination.slope)));
            }
        }
        out
    }
}

/// Writes the outputs of a tile.
///
/// # Safety
/// As for [`TileEpilogue::put`].
#[inline(always)]
unsafe fn write<L: Lanes>(
    values: &[[L; MAX_POINTS]; MAX_POINTS],
    side: usize,
    destination: &Destination,
    at: TileStart,
    c: usize,
) {
    // SAFETY: the tile lies inside.
    unsafe {
        let to = destination.to.add(at.to + c);
        for i in 0..side {
            for j in 0..side {
                values[i][j].store(to.add(i * destination.pitch + j * destination.channels));
            }
        }
    }
}

// SAFETY of every block below: the tile lies inside the tensors, as `Epilogue::destination` has checked.
impl TileEpilogue for Activate {
    #[inline(always)]
    unsafe fn put<L: Lanes>(
        values: &[[L; MAX_POINTS]; MAX_POINTS],
        side: usize,
        destination: &Destination,
        at: TileStart,
        c: usize,
    ) {
        unsafe { write(&activate(values, side, destination, c), side, destination, at, c) }
    }
}

impl TileEpilogue for Average {
    #[inline(always)]
    unsafe fn put<L: Lanes>(
        values: &[[L; MAX_POINTS]; MAX_POINTS],
        side: usize,
        destination: &Destination,
        at: TileStart,
        c: usize,
    ) {
        unsafe {
            let values = activate(values, side, destination, c);
            write(&values, side, destination, at, c);
            let to = destination.means.add(at.second + c);
            for i in 0..side / 2 {
                for j in 0..side / 2 {
                    let (top, bottom) = (&values[2 * i], &values[2 * i + 1]);
                    let sum = top[2 * j].add(top[2 * j + 1]).add(bottom[2 * j]).add(bottom[2 * j + 1]);
                    sum.mul(L::splat(0.25))
                        .store(to.add(i * destination.second_pitch + j * destination.channels));
                }
            }
        }
    }
}

impl TileEpilogue for Gate {
    #[inline(always)]
    unsafe fn put<L: Lanes>(
        values: &[[L; MAX_POINTS]; MAX_POINTS],
        side: usize,
        destination: &Destination,
        at: TileStart,
        c: usize,
    ) {
        unsafe {
            let activated = destination.activated.add(at.second + c);
            let mut out = *values;
            for i in 0..side {
                for j in 0..side {
                    let activated =
                        L::load(activated.add(i * destination.second_pitch + j * destination.channels));
                    out[i][j] = values[i][j].mul(activated.one_if_positive(L::splat(destination.slope)));
                }
            }
            write(&out, side, destination, at, c);
        }
    }
}

impl TileEpilogue for Spread {
    #[inline(always)]
    unsafe fn put<L: Lanes>(
        values: &[[L; MAX_POINTS]; MAX_POINTS],
        side: usize,
        destination: &Destination,
        at: TileStart,
        c: usize,
    ) {
        unsafe {
            let activated = destination.activated.add(at.second + c);
            let to = destination.to.add(at.to + c);
            for i in 0..side {
                for j in 0..side {
                    let value = values[i][j].mul(L::splat(0.25));
                    for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        let (y, x) = (2 * i + y, 2 * j + x);
                        let activated =
                            L::load(activated.add(y * destination.second_pitch + x * destination.channels));
                        let passed = activated.one_if_positive(L::splat(destination.slope));
                        value.mul(passed).store(to.add(y * destination.pitch + x * destination.channels));
                    }
                }
            }
        }
    }
}

/// Applies an epilogue to outputs that a direct convolution has written, row by row of pixels or of 2x2 blocks.
///
/// # Panics
/// If shapes differ, or sides to be averaged are odd.
pub(super) fn apply_epilogue(
    isa: Isa,
    x: Images,
    epilogue: &mut Epilogue,
    out: ImagesMut,
    TileOrigins { input: origins, output: targets, second }: &mut TileOrigins,
) {
    let (images, Images { values, grid: from }) = (x.count(), x);
    let side = if matches!(epilogue, Epilogue::Average { .. }) { 2 } else { 1 };
    let (down, count) = (from.height / side, from.width / side);
    assert!(from.height.is_multiple_of(side) && from.width.is_multiple_of(side), "blocks of odd sides");
    // One origin for each row of tiles.
    let rows = |step| TileLayout { down, across: 1, step, before: 0 };
    tile_origins(images, from, rows(side), origins);
    tile_origins(images, out.grid, rows(side * epilogue.pixels()), targets);
    second.clear();
    let mut spacing = Spacing { from: side, to: side * epilogue.pixels(), second: 0, pitch: from.pitch() };
    if let Some(SecondTensor { grid, step, .. }) = epilogue.second(side) {
        tile_origins(images, grid, rows(step), second);
        spacing.second = step;
    }
    let rows = TileRows { origins: targets, second_origins: second, side, count };
    let destination = epilogue.destination(out, rows, 0);
    let kind = destination.kind();
    assert_eq!(destination.channels, from.channels, "channels of one tile differ");
    // SAFETY: the tiles of both sides lie inside; this machine has the instruction set.
    unsafe {
        if from.channels.is_multiple_of(LANES) {
            on_epilogue!(
                kind,
                isa,
                rows_body[](
                    values: &[f32], origins: &[usize], count: usize, spacing: Spacing, destination: Destination,
                )
            );
        } else {
            match kind {
                EpilogueKind::Activate => {
                    rows_body::<Single, Activate>(values, origins, count, spacing, destination);
                }
                EpilogueKind::Average => {
                    rows_body::<Single, Average>(values, origins, count, spacing, destination);
                }
                EpilogueKind::Gate => {
                    rows_body::<Single, Gate>(values, origins, count, spacing, destination);
                }
                EpilogueKind::Spread => {
                    rows_body::<Single, Spread>(values, origins, count, spacing, destination);
                }
            }
        }
    }
}

/// The distances between tiles: in pixels from one tile of a row to the next, for the input, the output and the second
/// tensor; and `pitch`, in floats from one row of the input to the next.
#[derive(Clone, Copy)]
struct Spacing {
    from: usize,
    to: usize,
    second: usize,
    pitch: usize,
}

/// The loop of [`apply_epilogue`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`apply_epilogue`].
#[inline(always)]
unsafe fn rows_body<L: Lanes, E: TileEpilogue>(
    values: &[f32],
    origins: &[usize],
    count: usize,
    spacing: Spacing,
    destination: Destination,
) {
    // SAFETY: the tiles lie inside.
    unsafe {
        for (row, origin) in origins.iter().enumerate() {
            let first = destination.tile_start(row);
            for tile in 0..count {
                let skip = tile * destination.channels;
                let at = TileStart {
                    to: first.to + skip * spacing.to,
                    second: first.second + skip * spacing.second,
                };
                for c in (0..destination.channels).step_by(L::WIDTH) {
                    let from = values.as_ptr().add(origin + skip * spacing.from + c);
                    let mut tiles = [[L::splat(0.0); MAX_POINTS]; MAX_POINTS];
                    // Tiles of one pixel and of four are separate branches, so that the loop's length is known and all
                    // values stay in registers.
                    if spacing.from == 1 {
                        tiles[0][0] = L::load(from);
                        E::put(&tiles, 1, &destination, at, c);
                    } else {
                        for i in 0..2 {
                            for j in 0..2 {
                                tiles[i][j] = L::load(from.add(i * spacing.pitch + j * destination.channels));
                            }
                        }
                        E::put(&tiles, 2, &destination, at, c);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    /// Builds an epilogue for tiles of 2x2 outputs at these origins, in images of 4x4 pixels with a border of one
    /// pixel and a second tensor of `len` values. Returns whether the tiles fit a vector kernel.
    fn destination(
        origins: &[usize],
        second_origins: &[usize],
        len: usize,
        channels: usize,
        channel: usize,
    ) -> bool {
        let grid = Grid { height: 4, width: 4, channels, edge: 1 };
        let (activated, mut out) = (vec![0.0; len], vec![MaybeUninit::new(0.0); grid.image()]);
        let activated = Images { values: &activated, grid };
        let mut epilogue = Epilogue::Gate { activated, slope: 0.2 };
        let rows = TileRows { origins, second_origins, side: 2, count: 1 };
        epilogue.destination(ImagesMut { values: &mut out, grid }, rows, channel).fit(2)
    }

    #[test]
    fn tiles_inside_fit() {
        assert!(destination(&[0, 64], &[0, 64], 36 * 16, 16, 0));
        assert!(!destination(&[0], &[0], 36 * 20, 20, 16), "four channels are no vector");
    }

    #[test]
    #[should_panic(expected = "a tile reaches")]
    fn a_tile_beyond_what_is_written_is_refused() {
        destination(&[29 * 16], &[0], 36 * 16, 16, 0);
    }

    #[test]
    #[should_panic(expected = "a tile reaches")]
    fn a_tile_beyond_the_other_values_is_refused() {
        destination(&[0], &[0], 100, 16, 0);
    }

    #[test]
    #[should_panic(expected = "differ in number")]
    fn fewer_tiles_of_other_values_are_refused() {
        destination(&[0, 16], &[0], 36 * 16, 16, 0);
    }
}
