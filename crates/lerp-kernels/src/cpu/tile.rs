//! The inner kernel: a tile of [`ROWS`] x [`LANES`] sums kept in registers, on the widest instruction set at hand.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]

use std::{cell::Cell, sync::OnceLock};

/// Rows of a tile: pixels (output, input gradient) or weights (weight gradient).
pub(crate) const ROWS: usize = 6;
/// Columns of a tile: output channels.
pub(crate) const LANES: usize = 16;

/// One tile of sums.
pub(crate) type Tile = [[f32; LANES]; ROWS];

/// An instruction set that the inner kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// What every machine has; the compiler chooses.
    Portable,
    /// 256-bit vectors with fused multiply-add (x86-64).
    Avx2,
    /// 512-bit vectors (x86-64).
    Avx512,
    /// 128-bit vectors with fused multiply-add (64-bit Arm).
    Neon,
}

/// The instruction sets of this machine, best last.
pub fn isas() -> &'static [Isa] {
    static FOUND: OnceLock<Vec<Isa>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut found = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                found.push(Isa::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa::Neon);
        found
    })
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// Runs `f` with the operations called on this thread forced onto one instruction set, for tests and measurements.
///
/// # Panics
/// If this machine does not have it.
pub fn with_isa<T>(isa: Isa, f: impl FnOnce() -> T) -> T {
    assert!(isas().contains(&isa), "this machine has no {isa:?}");
    let before = FORCED.replace(Some(isa));
    let result = f();
    FORCED.set(before);
    result
}

/// The instruction set that operations called on this thread use.
pub(crate) fn isa() -> Isa {
    FORCED.get().unwrap_or_else(|| isas()[isas().len() - 1])
}

/// `acc[r][c] += Σₖ a[starts[r] + k]·b[k][c]` for `k` below `b.len()`.
///
/// # Panics
/// If a row would be read outside `a`.
pub(crate) fn rows_by_panel(isa: Isa, acc: &mut Tile, a: &[f32], starts: &[usize; ROWS], b: &[[f32; LANES]]) {
    let furthest = starts.iter().max().map_or(0, |s| s + b.len());
    assert!(furthest <= a.len(), "tile reads {furthest} of {}", a.len());
    // SAFETY: every a[starts[r] + k] read is below `furthest`, checked above; the instruction set is one of this
    // machine's (`isas`), which `isa()` and `with_isa` guarantee.
    unsafe {
        match isa {
            Isa::Portable => rows_by_panel_body::<Portable>(acc, a, starts, b),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => rows_by_panel_avx2(acc, a, starts, b),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => rows_by_panel_avx512(acc, a, starts, b),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => rows_by_panel_body::<Neon>(acc, a, starts, b),
            #[allow(unreachable_patterns)]
            _ => rows_by_panel_body::<Portable>(acc, a, starts, b),
        }
    }
}

/// `acc[r][c] += Σₚ a[offsets[p] + shift + r]·b[p·stride + first + c]` for `p` below `offsets.len()`.
///
/// # Panics
/// If a value would be read outside `a` or `b`.
pub(crate) fn taps_by_pixels(
    isa: Isa,
    acc: &mut Tile,
    (a, offsets, shift): (&[f32], &[usize], usize),
    (b, stride, first): (&[f32], usize, usize),
) {
    let Some(furthest) = offsets.iter().max() else { return };
    assert!(furthest + shift + ROWS <= a.len(), "tile reads {} of {}", furthest + shift + ROWS, a.len());
    assert!((offsets.len() - 1) * stride + first + LANES <= b.len(), "panel of {} is too short", b.len());
    // SAFETY: all reads lie below the two bounds checked above; the instruction set is one of this machine's.
    unsafe {
        match isa {
            Isa::Portable => taps_by_pixels_body::<Portable>(acc, (a, offsets, shift), (b, stride, first)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => taps_by_pixels_avx2(acc, (a, offsets, shift), (b, stride, first)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => taps_by_pixels_avx512(acc, (a, offsets, shift), (b, stride, first)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => taps_by_pixels_body::<Neon>(acc, (a, offsets, shift), (b, stride, first)),
            #[allow(unreachable_patterns)]
            _ => taps_by_pixels_body::<Portable>(acc, (a, offsets, shift), (b, stride, first)),
        }
    }
}

/// Sixteen lanes of `f32`.
///
/// The methods are unsafe because they may only run where the instruction set exists.
trait Lanes: Copy {
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn store(self, to: *mut f32);
}

/// # Safety
/// As [`rows_by_panel`] checks.
#[inline(always)]
unsafe fn rows_by_panel_body<L: Lanes>(
    acc: &mut Tile,
    a: &[f32],
    starts: &[usize; ROWS],
    b: &[[f32; LANES]],
) {
    // SAFETY: the caller has checked all bounds; `acc` rows are LANES wide.
    unsafe {
        let mut sums: [L; ROWS] = std::array::from_fn(|r| L::load(acc[r].as_ptr()));
        let rows: [*const f32; ROWS] = std::array::from_fn(|r| a.as_ptr().add(starts[r]));
        for (k, panel) in b.iter().enumerate() {
            let panel = L::load(panel.as_ptr());
            for r in 0..ROWS {
                sums[r] = sums[r].fma(L::splat(*rows[r].add(k)), panel);
            }
        }
        for r in 0..ROWS {
            sums[r].store(acc[r].as_mut_ptr());
        }
    }
}

/// # Safety
/// As [`taps_by_pixels`] checks.
#[inline(always)]
unsafe fn taps_by_pixels_body<L: Lanes>(
    acc: &mut Tile,
    (a, offsets, shift): (&[f32], &[usize], usize),
    (b, stride, first): (&[f32], usize, usize),
) {
    // SAFETY: the caller has checked all bounds; `acc` rows are LANES wide.
    unsafe {
        let mut sums: [L; ROWS] = std::array::from_fn(|r| L::load(acc[r].as_ptr()));
        let (a, mut b) = (a.as_ptr().add(shift), b.as_ptr().add(first));
        for (p, offset) in offsets.iter().enumerate() {
            let (panel, taps) = (L::load(b), a.add(*offset));
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = sum.fma(L::splat(*taps.add(r)), panel);
            }
            if p + 1 < offsets.len() {
                b = b.add(stride);
            }
        }
        for r in 0..ROWS {
            sums[r].store(acc[r].as_mut_ptr());
        }
    }
}

#[derive(Clone, Copy)]
struct Portable([f32; LANES]);

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives LANES readable values.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|c| self.0[c] + a.0[c] * b.0[c]))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives LANES writable values.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Lanes, ROWS, Tile, rows_by_panel_body, taps_by_pixels_body};
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    #[derive(Clone, Copy)]
    struct Avx2(__m256, __m256);

    // SAFETY of every block below: the caller runs only where AVX2 and FMA exist and gives LANES values.
    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }
    }

    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    // SAFETY of every block below: the caller runs only where AVX-512 exists and gives LANES values.
    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm512_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
    }

    /// # Safety
    /// As [`super::rows_by_panel`] checks.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn rows_by_panel_avx2(
        acc: &mut Tile,
        a: &[f32],
        starts: &[usize; ROWS],
        b: &[[f32; LANES]],
    ) {
        // SAFETY: passed on to the caller.
        unsafe { rows_by_panel_body::<Avx2>(acc, a, starts, b) }
    }

    /// # Safety
    /// As [`super::rows_by_panel`] checks.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn rows_by_panel_avx512(
        acc: &mut Tile,
        a: &[f32],
        starts: &[usize; ROWS],
        b: &[[f32; LANES]],
    ) {
        // SAFETY: passed on to the caller.
        unsafe { rows_by_panel_body::<Avx512>(acc, a, starts, b) }
    }

    /// # Safety
    /// As [`super::taps_by_pixels`] checks.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn taps_by_pixels_avx2(
        acc: &mut Tile,
        a: (&[f32], &[usize], usize),
        b: (&[f32], usize, usize),
    ) {
        // SAFETY: passed on to the caller.
        unsafe { taps_by_pixels_body::<Avx2>(acc, a, b) }
    }

    /// # Safety
    /// As [`super::taps_by_pixels`] checks.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn taps_by_pixels_avx512(
        acc: &mut Tile,
        a: (&[f32], &[usize], usize),
        b: (&[f32], usize, usize),
    ) {
        // SAFETY: passed on to the caller.
        unsafe { taps_by_pixels_body::<Avx512>(acc, a, b) }
    }
}
#[cfg(target_arch = "x86_64")]
use x86::{rows_by_panel_avx2, rows_by_panel_avx512, taps_by_pixels_avx2, taps_by_pixels_avx512};

#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy)]
struct Neon([std::arch::aarch64::float32x4_t; 4]);

// SAFETY of every block below: NEON is part of every 64-bit Arm; the caller gives LANES values.
#[cfg(target_arch = "aarch64")]
impl Lanes for Neon {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(std::array::from_fn(|i| std::arch::aarch64::vld1q_f32(from.add(4 * i)))) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self([std::arch::aarch64::vdupq_n_f32(value); 4]) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { Self(std::array::from_fn(|i| std::arch::aarch64::vfmaq_f32(self.0[i], a.0[i], b.0[i]))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            for (i, lanes) in self.0.into_iter().enumerate() {
                std::arch::aarch64::vst1q_f32(to.add(4 * i), lanes);
            }
        }
    }
}
