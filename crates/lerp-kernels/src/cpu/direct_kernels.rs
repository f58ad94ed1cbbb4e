//! The inner kernels of direct convolution: sums over one row of pixels, kept in registers.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]
// An index loop over a register array is unrolled and inlined with the instruction set; an iterator's closure is not.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Isa, LANES, Lanes, on_isa};

/// A row of pixels of an image, as a convolution reads it.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<'a> {
    pub values: &'a [f32],
    /// The index in `values` of the first pixel's first tap.
    pub start: usize,
    /// Floats from one pixel to the next.
    pub step: usize,
    /// The number of pixels.
    pub count: usize,
}

impl Pixels<'_> {
    /// # Panics
    /// If, for some pixel, this number of rows of taps does not lie inside the image.
    fn check(self, rows: usize, TapRows { row, shift }: TapRows) {
        assert!(self.count > 0 && rows > 0 && row > 0, "a row of no pixels or taps");
        let furthest = self.start + (self.count - 1) * self.step + (rows - 1) * shift + row;
        assert!(furthest <= self.values.len(), "a row reads {furthest} of {}", self.values.len());
    }
}

/// Rows of kernel taps.
#[derive(Clone, Copy)]
pub(crate) struct TapRows {
    /// Floats of a row of taps.
    pub row: usize,
    /// Floats from one row of taps to the next, in the image.
    pub shift: usize,
}

/// The weights of 16 output channels, in rows of taps.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub lanes: &'a [[f32; LANES]],
    pub taps: TapRows,
}

/// The weights of one output channel, in rows of taps.
#[derive(Clone, Copy)]
pub(crate) struct ChannelWeights<'a> {
    pub values: &'a [f32],
    pub taps: TapRows,
}

/// Values of pixels, `stride` floats from one pixel to the next.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

/// Values of pixels to be written, `stride` floats from one pixel to the next.
pub(crate) struct StridedMut<'a> {
    pub values: &'a mut [f32],
    pub stride: usize,
}

/// Computes `out[p·stride + c] = Σ_d Σ_j x[p, d, j]·panel[d][j][c]` for every pixel `p` and 16 lanes `c`.
///
/// # Panics
/// If a read or write would be out of bounds.
pub(crate) fn pixels_by_panel(isa: Isa, x: Pixels, panel: Panel, out: StridedMut) {
    let (Panel { lanes: panel, taps }, StridedMut { values: out, stride }) = (panel, out);
    assert!(panel.len().is_multiple_of(taps.row), "rows of taps are not full");
    x.check(panel.len() / taps.row, taps);
    assert!((x.count - 1) * stride + LANES <= out.len(), "outputs end before the row");
    // SAFETY: all reads and writes lie inside, as checked above; this machine has the instruction set (`isas`), which
    // `isa()` and `with_isa` guarantee.
    unsafe {
        on_isa!(isa, pixels_by_panel_body[8, 4, 4, 2](
            x: Pixels, panel: &[[f32; LANES]], taps: TapRows, out: &mut [f32], stride: usize,
        ));
    }
}

/// The loop of [`pixels_by_panel`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`pixels_by_panel`].
#[inline(always)]
unsafe fn pixels_by_panel_body<L: Lanes, const R: usize>(
    x: Pixels,
    panel: &[[f32; LANES]],
    taps: TapRows,
    out: &mut [f32],
    stride: usize,
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let (from, to) = (x.values.as_ptr().add(x.start), out.as_mut_ptr());
        let mut p = 0;
        while p + R <= x.count {
            some_by_panel::<L, R>(from.add(p * x.step), x.step, panel, taps, to.add(p * stride), stride);
            p += R;
        }
        while p < x.count {
            some_by_panel::<L, 1>(from.add(p * x.step), x.step, panel, taps, to.add(p * stride), stride);
            p += 1;
        }
    }
}

/// The loop of [`pixels_by_panel`] for `R` pixels at a time.
///
/// # Safety
/// The arguments must have passed the checks in [`pixels_by_panel`], for `R` pixels from `from` on.
#[inline(always)]
unsafe fn some_by_panel<L: Lanes, const R: usize>(
    from: *const f32,
    step: usize,
    panel: &[[f32; LANES]],
    taps: TapRows,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let mut sums = [L::splat(0.0); R];
        for (d, panel) in panel.chunks_exact(taps.row).enumerate() {
            let from = from.add(d * taps.shift);
            for (j, lanes) in panel.iter().enumerate() {
                let lanes = L::load(lanes.as_ptr());
                for r in 0..R {
                    sums[r] = sums[r].fma(L::splat(*from.add(r * step + j)), lanes);
                }
            }
        }
        for r in 0..R {
            sums[r].store(to.add(r * stride));
        }
    }
}

/// Computes `out[p·stride] = Σ_d Σ_j x[p, d, j]·weights[d][j]` for every pixel `p`, for rows of taps whose length is a
/// multiple of [`LANES`]. It is for a convolution with few output channels, taken one by one, for which most lanes of a
/// panel would be idle.
///
/// # Panics
/// If a read or write would be out of bounds.
pub(crate) fn pixels_by_taps(isa: Isa, x: Pixels, weights: ChannelWeights, out: StridedMut) {
    let (ChannelWeights { values: weights, taps }, StridedMut { values: out, stride }) = (weights, out);
    let full = taps.row.is_multiple_of(LANES) && weights.len().is_multiple_of(taps.row);
    assert!(full, "rows of taps are not full");
    x.check(weights.len() / taps.row, taps);
    assert!((x.count - 1) * stride < out.len(), "outputs end before the row");
    // SAFETY: all reads and writes lie inside, as checked above; this machine has the instruction set.
    unsafe {
        on_isa!(isa, pixels_by_taps_body[8, 4, 4, 2](
            x: Pixels, weights: &[f32], taps: TapRows, out: &mut [f32], stride: usize,
        ));
    }
}

/// The loop of [`pixels_by_taps`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`pixels_by_taps`].
#[inline(always)]
unsafe fn pixels_by_taps_body<L: Lanes, const R: usize>(
    x: Pixels,
    weights: &[f32],
    taps: TapRows,
    out: &mut [f32],
    stride: usize,
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let (from, to) = (x.values.as_ptr().add(x.start), out.as_mut_ptr());
        let mut p = 0;
        while p + R <= x.count {
            some_by_taps::<L, R>(from.add(p * x.step), x.step, weights, taps, to.add(p * stride), stride);
            p += R;
        }
        while p < x.count {
            some_by_taps::<L, 1>(from.add(p * x.step), x.step, weights, taps, to.add(p * stride), stride);
            p += 1;
        }
    }
}

/// The loop of [`pixels_by_taps`] for `R` pixels at a time.
///
/// # Safety
/// The arguments must have passed the checks in [`pixels_by_taps`], for `R` pixels from `from` on.
#[inline(always)]
unsafe fn some_by_taps<L: Lanes, const R: usize>(
    from: *const f32,
    step: usize,
    weights: &[f32],
    taps: TapRows,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let mut sums = [L::splat(0.0); R];
        for (d, weights) in weights.chunks_exact(taps.row).enumerate() {
            let from = from.add(d * taps.shift);
            for j in (0..taps.row).step_by(LANES) {
                let weights = L::load(weights.as_ptr().add(j));
                for r in 0..R {
                    sums[r] = sums[r].fma(L::load(from.add(r * step + j)), weights);
                }
            }
        }
        for r in 0..R {
            to.add(r * stride).write(sums[r].sum());
        }
    }
}

/// Adds `sums[t][c] += Σₚ x[p, t]·grad[p·stride + c]` for every tap `t` of a row and 16 lanes `c`: the weights'
/// gradient.
///
/// # Panics
/// If a read would be out of bounds.
pub(crate) fn taps_by_pixels(isa: Isa, x: Pixels, grad: Strided, sums: &mut [[f32; LANES]]) {
    x.check(1, TapRows { row: sums.len(), shift: 0 });
    let Strided { values: grad, stride } = grad;
    assert!((x.count - 1) * stride + LANES <= grad.len(), "there are more pixels than gradients");
    // SAFETY: all reads lie inside, as checked above; this machine has the instruction set.
    unsafe {
        on_isa!(isa, taps_by_pixels_body[6, 6, 6, 6](
            x: Pixels, grad: &[f32], stride: usize, sums: &mut [[f32; LANES]],
        ));
    }
}

/// The loop of [`taps_by_pixels`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`taps_by_pixels`].
#[inline(always)]
unsafe fn taps_by_pixels_body<L: Lanes, const R: usize>(
    x: Pixels,
    grad: &[f32],
    stride: usize,
    sums: &mut [[f32; LANES]],
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let from = x.values.as_ptr().add(x.start);
        let mut t = 0;
        while t + R <= sums.len() {
            some_taps::<L, R>(from.add(t), x, grad, stride, &mut sums[t..]);
            t += R;
        }
        while t < sums.len() {
            some_taps::<L, 1>(from.add(t), x, grad, stride, &mut sums[t..]);
            t += 1;
        }
    }
}

/// The loop of [`taps_by_pixels`] for `R` taps at a time.
///
/// # Safety
/// The arguments must have passed the checks in [`taps_by_pixels`], for `R` taps from `from` on.
#[inline(always)]
unsafe fn some_taps<L: Lanes, const R: usize>(
    from: *const f32,
    x: Pixels,
    grad: &[f32],
    stride: usize,
    sums: &mut [[f32; LANES]],
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let mut taps = [L::splat(0.0); R];
        for r in 0..R {
            taps[r] = L::load(sums[r].as_ptr());
        }
        for p in 0..x.count {
            let (grad, from) = (L::load(grad.as_ptr().add(p * stride)), from.add(p * x.step));
            for r in 0..R {
                taps[r] = taps[r].fma(L::splat(*from.add(r)), grad);
            }
        }
        for r in 0..R {
            taps[r].store(sums[r].as_mut_ptr());
        }
    }
}

/// Adds `sums[v] += Σₚ x[p, 16·v ..]·grad[p·stride]` for three vectors `v`: the gradient of the taps of one output
/// channel.
///
/// # Panics
/// If a read would be out of bounds.
pub(crate) fn taps_by_one(isa: Isa, x: Pixels, grad: Strided, sums: &mut [[f32; LANES]; 3]) {
    x.check(1, TapRows { row: 3 * LANES, shift: 0 });
    let Strided { values: grad, stride } = grad;
    assert!((x.count - 1) * stride < grad.len(), "there are more pixels than gradients");
    // SAFETY: all reads lie inside, as checked above; this machine has the instruction set.
    unsafe {
        on_isa!(isa, taps_by_one_body[3, 3, 3, 3](
            x: Pixels, grad: &[f32], stride: usize, sums: &mut [[f32; LANES]; 3],
        ));
    }
}

/// The loop of [`taps_by_one`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`taps_by_one`].
#[inline(always)]
unsafe fn taps_by_one_body<L: Lanes, const R: usize>(
    x: Pixels,
    grad: &[f32],
    stride: usize,
    sums: &mut [[f32; LANES]; 3],
) {
    // SAFETY: the caller has checked all bounds; R is three.
    unsafe {
        let from = x.values.as_ptr().add(x.start);
        let mut taps = [L::splat(0.0); R];
        for v in 0..R {
            taps[v] = L::load(sums[v].as_ptr());
        }
        for p in 0..x.count {
            let (factor, from) = (L::splat(*grad.as_ptr().add(p * stride)), from.add(p * x.step));
            for v in 0..R {
                taps[v] = taps[v].fma(L::load(from.add(v * LANES)), factor);
            }
        }
        for v in 0..R {
            taps[v].store(sums[v].as_mut_ptr());
        }
    }
}

/// Adds `sum[c] += Σₚ grad[p·stride + c]` over `count` pixels `p` for 16 lanes `c`: the bias's gradient.
///
/// # Panics
/// If a read would be out of bounds.
pub(crate) fn sum_pixels(isa: Isa, grad: Strided, count: usize, sum: &mut [f32; LANES]) {
    let Strided { values: grad, stride } = grad;
    assert!(count > 0 && (count - 1) * stride + LANES <= grad.len(), "there are more pixels than gradients");
    // SAFETY: all reads lie inside, as checked above; this machine has the instruction set.
    unsafe {
        on_isa!(isa, sum_pixels_body[1, 1, 1, 1](
            grad: &[f32], stride: usize, count: usize, sum: &mut [f32; LANES],
        ));
    }
}

/// The loop of [`sum_pixels`], compiled for one instruction set.
///
/// # Safety
/// The arguments must have passed the checks in [`sum_pixels`].
#[inline(always)]
unsafe fn sum_pixels_body<L: Lanes, const R: usize>(
    grad: &[f32],
    stride: usize,
    count: usize,
    sum: &mut [f32; LANES],
) {
    // SAFETY: the caller has checked all bounds.
    unsafe {
        let mut total = L::load(sum.as_ptr());
        for p in 0..count {
            total = total.add(L::load(grad.as_ptr().add(p * stride)));
        }
        total.store(sum.as_mut_ptr());
    }
}
