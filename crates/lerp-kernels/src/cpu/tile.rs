//! The inner kernels: tiles of sums kept in registers.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use std::mem::MaybeUninit;

use super::lanes::{Isa, LANES, Lanes, on_isa};

/// Rows of a tile: pixels (output, input gradient) or weights (weight gradient).
pub(crate) const ROWS: usize = 6;

/// Offsets in ascending order, so that the last one bounds them all.
#[derive(Clone, Copy)]
pub(crate) struct Ascending<'a>(&'a [usize]);

impl<'a> Ascending<'a> {
    /// # Panics
    /// If they are not ascending.
    pub(crate) fn new(offsets: &'a [usize]) -> Self {
        assert!(offsets.is_sorted(), "offsets are not ascending");
        Self(offsets)
    }
}

/// One tile of sums.
pub(crate) type Tile = [[f32; LANES]; ROWS];

/// `acc[r][c] += Σ_d Σ_j a[starts[r] + d·shift + j]·b[d][j][c]` for rows `b[d]` of `row` taps.
///
/// # Panics
/// If a row would be read outside `a`.
pub(crate) fn rows_by_panel(
    isa: Isa,
    acc: &mut Tile,
    (a, starts): (&[f32], &[usize; ROWS]),
    (b, row, shift): (&[[f32; LANES]], usize, usize),
) {
    assert!(row > 0 && b.len().is_multiple_of(row) && !b.is_empty(), "rows of taps are not full");
    let furthest = starts.iter().max().map_or(0, |s| s + (b.len() / row - 1) * shift + row);
    assert!(furthest <= a.len(), "tile reads {furthest} of {}", a.len());
    // SAFETY: every value read is below `furthest`, checked above; the instruction set is one of this machine's
    // (`isas`), which `isa()` and `with_isa` guarantee.
    unsafe {
        on_isa!(isa, rows_by_panel_body[6, 6, 6, 6](
            acc: &mut Tile, a: &[f32], starts: &[usize; ROWS], b: &[[f32; LANES]], row: usize, shift: usize,
        ));
    }
}

/// `acc[r][c] += Σₚ a[offsets[p] + shift + r]·b[p·stride + first + c]` for `p` below `offsets.len()`.
///
/// # Panics
/// If a value would be read outside `a` or `b`.
pub(crate) fn taps_by_pixels(
    isa: Isa,
    acc: &mut Tile,
    (values, Ascending(offsets), shift): (&[f32], Ascending, usize),
    (panel, stride, first): (&[f32], usize, usize),
) {
    let Some(furthest) = offsets.last() else { return };
    assert!(
        furthest + shift + ROWS <= values.len(),
        "tile reads {} of {}",
        furthest + shift + ROWS,
        values.len()
    );
    assert!(
        (offsets.len() - 1) * stride + first + LANES <= panel.len(),
        "panel of {} is too short",
        panel.len()
    );
    // SAFETY: all reads lie below the two bounds checked above; the instruction set is one of this machine's.
    let (a, b) = ((values, offsets, shift), (panel, stride, first));
    unsafe {
        on_isa!(isa, taps_by_pixels_body[6, 6, 6, 6](
            acc: &mut Tile, a: (&[f32], &[usize], usize), b: (&[f32], usize, usize),
        ));
    }
}

/// # Safety
/// As [`rows_by_panel`] checks.
#[inline(always)]
unsafe fn rows_by_panel_body<L: Lanes, const R: usize>(
    acc: &mut Tile,
    a: &[f32],
    starts: &[usize; ROWS],
    b: &[[f32; LANES]],
    row: usize,
    shift: usize,
) {
    // SAFETY: the caller has checked all bounds; `acc` rows are LANES wide.
    unsafe {
        let (mut sums, mut rows) = ([L::splat(0.0); R], [a.as_ptr(); R]);
        for r in 0..R {
            sums[r] = L::load(acc[r].as_ptr());
            rows[r] = rows[r].add(starts[r]);
        }
        for (d, taps) in b.chunks_exact(row).enumerate() {
            for (k, panel) in taps.iter().enumerate() {
                let panel = L::load(panel.as_ptr());
                for r in 0..R {
                    sums[r] = sums[r].fma(L::splat(*rows[r].add(d * shift + k)), panel);
                }
            }
        }
        for r in 0..R {
            sums[r].store(acc[r].as_mut_ptr());
        }
    }
}

/// # Safety
/// As [`taps_by_pixels`] checks.
#[inline(always)]
unsafe fn taps_by_pixels_body<L: Lanes, const R: usize>(
    acc: &mut Tile,
    (a, offsets, shift): (&[f32], &[usize], usize),
    (b, stride, first): (&[f32], usize, usize),
) {
    // SAFETY: the caller has checked all bounds; `acc` rows are LANES wide.
    unsafe {
        let mut sums = [L::splat(0.0); R];
        for r in 0..R {
            sums[r] = L::load(acc[r].as_ptr());
        }
        let (a, mut b) = (a.as_ptr().add(shift), b.as_ptr().add(first));
        for (p, offset) in offsets.iter().enumerate() {
            let (panel, taps) = (L::load(b), a.add(*offset));
            for r in 0..R {
                sums[r] = sums[r].fma(L::splat(*taps.add(r)), panel);
            }
            if p + 1 < offsets.len() {
                b = b.add(stride);
            }
        }
        for r in 0..R {
            sums[r].store(acc[r].as_mut_ptr());
        }
    }
}

/// `out[r] = Σ_d Σ_j a[starts[r] + d·shift + j]·taps[d][j]`, for rows of taps whose length is a multiple of [`LANES`]: a
/// convolution with few output channels, taken one by one, for which a tile's lanes would be idle.
///
/// # Panics
/// If a row would be read outside `a`.
pub(crate) fn rows_by_taps(
    isa: Isa,
    (a, starts): (&[f32], &[usize; ROWS]),
    (taps, row, shift): (&[f32], usize, usize),
    out: &mut [f32; ROWS],
) {
    let furthest = starts.iter().max().map_or(0, |s| s + (taps.len() / row - 1) * shift + row);
    assert!(furthest <= a.len(), "row reads {furthest} of {}", a.len());
    assert!(row.is_multiple_of(LANES) && taps.len().is_multiple_of(row), "rows of taps are not full");
    // SAFETY: all reads lie below the bound checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, rows_by_taps_body[6, 6, 6, 6](
            a: &[f32], starts: &[usize; ROWS], taps: &[f32], row: usize, shift: usize, out: &mut [f32; ROWS],
        ));
    }
}

/// # Safety
/// As [`rows_by_taps`] checks.
#[inline(always)]
unsafe fn rows_by_taps_body<L: Lanes, const R: usize>(
    a: &[f32],
    starts: &[usize; ROWS],
    taps: &[f32],
    row: usize,
    shift: usize,
    out: &mut [f32; ROWS],
) {
    // SAFETY: the caller has checked all bounds; R is ROWS.
    unsafe {
        let mut sums = [L::splat(0.0); R];
        for (d, taps) in taps.chunks_exact(row).enumerate() {
            for j in (0..row).step_by(LANES) {
                let taps = L::load(taps.as_ptr().add(j));
                for r in 0..R {
                    sums[r] = sums[r].fma(L::load(a.as_ptr().add(starts[r] + d * shift + j)), taps);
                }
            }
        }
        for r in 0..R {
            let mut lanes = [0.0_f32; LANES];
            sums[r].store(lanes.as_mut_ptr());
            for half in [8, 4, 2, 1] {
                for i in 0..half {
                    lanes[i] += lanes[i + half];
                }
            }
            out[r] = lanes[0];
        }
    }
}

/// `sums[v] += Σₚ a[offsets[p] + shift + v·16 ..]·b[p·stride]` for three vectors `v`: the gradient of the taps of one
/// output channel.
///
/// # Panics
/// If a value would be read outside `a` or `b`.
pub(crate) fn taps_by_one(
    isa: Isa,
    sums: &mut [[f32; LANES]; 3],
    (a, Ascending(offsets), shift): (&[f32], Ascending, usize),
    (b, stride): (&[f32], usize),
) {
    let Some(furthest) = offsets.last() else { return };
    assert!(furthest + shift + 3 * LANES <= a.len(), "taps lie outside");
    assert!((offsets.len() - 1) * stride < b.len(), "there are more pixels than gradients");
    // SAFETY: all reads lie below the bounds checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, taps_by_one_body[3, 3, 3, 3](
            sums: &mut [[f32; LANES]; 3], a: &[f32], offsets: &[usize], shift: usize, b: &[f32], stride: usize,
        ));
    }
}

/// # Safety
/// As [`taps_by_one`] checks.
#[inline(always)]
unsafe fn taps_by_one_body<L: Lanes, const R: usize>(
    sums: &mut [[f32; LANES]; 3],
    a: &[f32],
    offsets: &[usize],
    shift: usize,
    b: &[f32],
    stride: usize,
) {
    // SAFETY: the caller has checked all bounds; R is three.
    unsafe {
        let mut acc = [L::splat(0.0); R];
        for v in 0..R {
            acc[v] = L::load(sums[v].as_ptr());
        }
        for (p, offset) in offsets.iter().enumerate() {
            let factor = L::splat(*b.as_ptr().add(p * stride));
            let from = a.as_ptr().add(offset + shift);
            for v in 0..R {
                acc[v] = acc[v].fma(L::load(from.add(v * LANES)), factor);
            }
        }
        for v in 0..R {
            acc[v].store(sums[v].as_mut_ptr());
        }
    }
}

/// The gradients of one row of pixels behind a leaky ReLU, `out = factor·grad` where `y` is positive and
/// `slope·factor·grad` elsewhere: pixel `x` has its output in `y` `step` floats after the one before, and its gradient in
/// `grad` at pixel `x >> halving`.
///
/// # Panics
/// If a pixel lies outside `y` or `grad`.
pub(crate) fn gate(
    isa: Isa,
    (y, step): (&[f32], usize),
    (grad, halving): (&[f32], u32),
    (factor, slope): (f32, f32),
    (out, channels): (&mut [MaybeUninit<f32>], usize),
) {
    let pixels = out.len() / channels;
    assert!(out.len().is_multiple_of(channels) && pixels > 0, "a row ends inside a pixel");
    assert!((pixels - 1) * step + channels <= y.len(), "outputs end before the row");
    assert!((((pixels - 1) >> halving) + 1) * channels <= grad.len(), "gradients end before the row");
    if !channels.is_multiple_of(LANES) {
        for (x, out) in out.chunks_exact_mut(channels).enumerate() {
            let (y, grad) = (&y[x * step..], &grad[(x >> halving) * channels..]);
            for (c, out) in out.iter_mut().enumerate() {
                out.write(grad[c] * if y[c] > 0.0 { factor } else { slope * factor });
            }
        }
        return;
    }
    // SAFETY: all reads lie inside the slices, as checked above; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, gate_body[1, 1, 1, 1](
            y: &[f32], step: usize, grad: &[f32], halving: u32, factor: f32, slope: f32,
            out: &mut [MaybeUninit<f32>], channels: usize,
        ));
    }
}

/// # Safety
/// As [`gate`] checks; the channels are a multiple of [`LANES`].
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn gate_body<L: Lanes, const R: usize>(
    y: &[f32],
    step: usize,
    grad: &[f32],
    halving: u32,
    factor: f32,
    slope: f32,
    out: &mut [MaybeUninit<f32>],
    channels: usize,
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let (factor, slope) = (L::splat(factor), L::splat(slope));
        for x in 0..out.len() / channels {
            let (y, grad) = (y.as_ptr().add(x * step), grad.as_ptr().add((x >> halving) * channels));
            let out = out.as_mut_ptr().cast::<f32>().add(x * channels);
            for c in (0..channels).step_by(LANES) {
                let passed = L::load(y.add(c)).one_if_positive(slope).mul(factor);
                L::load(grad.add(c)).mul(passed).store(out.add(c));
            }
        }
    }
}
