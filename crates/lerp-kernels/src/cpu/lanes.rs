//! Vectors of `f32` on this machine's widest instruction set, and the choice of the instruction set.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always)]

use std::{cell::Cell, fmt, sync::OnceLock};

/// The number of lanes of a vector. A lane usually holds an output channel.
pub(crate) const LANES: usize = 16;

/// An instruction set that the inner kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// The target's baseline instructions, chosen by the compiler.
    Portable,
    /// 256-bit vectors with fused multiply-add (x86-64).
    Avx2,
    /// 512-bit vectors (x86-64).
    Avx512,
    /// 128-bit vectors with fused multiply-add (64-bit Arm).
    Neon,
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "no vector instructions",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
            Self::Neon => "NEON",
        })
    }
}

/// Returns this machine's instruction sets, the fastest last.
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

/// The previously forced instruction set; dropping this restores it, also if the closure panics.
struct Restore(Option<Isa>);

impl Drop for Restore {
    fn drop(&mut self) {
        FORCED.set(self.0);
    }
}

/// Runs `f` with one instruction set forced onto the operations called on this thread, for tests and measurements.
///
/// # Panics
/// If this machine does not have it.
pub fn with_isa<T>(isa: Isa, f: impl FnOnce() -> T) -> T {
    assert!(isas().contains(&isa), "this machine has no {isa:?}");
    let _restore = Restore(FORCED.replace(Some(isa)));
    f()
}

/// Returns the instruction set of operations called on this thread.
pub(crate) fn isa() -> Isa {
    FORCED.get().unwrap_or_else(|| isas()[isas().len() - 1])
}

/// A vector of [`Self::WIDTH`] `f32` lanes.
///
/// The methods are unsafe because they may only run where the instruction set exists and pointers are valid.
pub(crate) trait Lanes: Copy {
    /// The number of lanes.
    const WIDTH: usize;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    /// 1 in lanes that are positive, `otherwise` in the others.
    unsafe fn one_if_positive(self, otherwise: Self) -> Self;
    /// `self + a·b`.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The sum of all lanes, in a fixed order.
    unsafe fn sum(self) -> f32;
}

/// Transposes [`LANES`] rows: `to[c][row] = from[row][c]`.
///
/// # Panics
/// If the sizes do not fit together.
pub(crate) fn transpose(isa: Isa, from: &[f32], to: &mut [f32]) {
    let columns = from.len() / LANES;
    assert!(from.len() == to.len() && columns * LANES == to.len(), "a transpose of unequal sizes");
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx2 | Isa::Avx512) && columns.is_multiple_of(8) {
        for (row, column) in
            (0..LANES).step_by(8).flat_map(|row| (0..columns).step_by(8).map(move |c| (row, c)))
        {
            // SAFETY: eight rows of eight values begin at both pointers; a machine with AVX-512 has AVX2.
            unsafe {
                let from = from.as_ptr().add(row * columns + column);
                x86::transpose_8x8(from, columns, to.as_mut_ptr().add(column * LANES + row), LANES);
            }
        }
        return;
    }
    let _ = isa;
    for (c, to) in to.chunks_exact_mut(LANES).enumerate() {
        to.iter_mut().zip(from[c..].iter().step_by(columns)).for_each(|(to, value)| *to = *value);
    }
}

/// Calls a function that is generic over [`Lanes`] and a number of rows, for an instruction set, with vectors of
/// [`LANES`] lanes. The four literals are the numbers of rows for AVX-512, AVX2, NEON and portable code.
///
/// Must be used in an `unsafe` block: the arguments must satisfy the function's requirements.
macro_rules! on_isa {
    ($isa:expr, $body:ident[$wide:literal, $middle:literal, $neon:literal, $portable:literal]
     ($($argument:ident: $type:ty),* $(,)?)) => {
        $crate::cpu::lanes::dispatch!(
            $isa,
            [$body::<$crate::cpu::lanes::Avx512, $wide>] [$body::<$crate::cpu::lanes::Avx2, $middle>]
            [$body::<$crate::cpu::lanes::Neon, $neon>] [$body::<$crate::cpu::lanes::Portable, $portable>]
            ($($argument: $type),*)
        )
    };
}
pub(crate) use on_isa;

/// [`on_isa`] with vectors of one register, for functions that keep many vectors at a time; the types in brackets are
/// the function's further type arguments.
macro_rules! on_isa_registers {
    ($isa:expr, $body:ident[$($own:ty),*]($($argument:ident: $type:ty),* $(,)?)) => {
        $crate::cpu::lanes::dispatch!(
            $isa,
            [$body::<$crate::cpu::lanes::Avx512, $($own),*>] [$body::<$crate::cpu::lanes::Avx2Half, $($own),*>]
            [$body::<$crate::cpu::lanes::NeonQuarter, $($own),*>]
            [$body::<$crate::cpu::lanes::PortableQuarter, $($own),*>]
            ($($argument: $type),*)
        )
    };
}
pub(crate) use on_isa_registers;

/// Calls one of four functions by instruction set, the first two with their instruction set enabled.
macro_rules! dispatch {
    ($isa:expr, [$($wide:tt)*] [$($middle:tt)*] [$($neon:tt)*] [$($portable:tt)*]
     ($($argument:ident: $type:ty),*)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn wide($($argument: $type),*) {
            // SAFETY: the requirements are passed on to the caller.
            unsafe { $($wide)*($($argument),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn middle($($argument: $type),*) {
            // SAFETY: the requirements are passed on to the caller.
            unsafe { $($middle)*($($argument),*) }
        }
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::lanes::Isa::Avx512 => wide($($argument),*),
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::lanes::Isa::Avx2 => middle($($argument),*),
            #[cfg(target_arch = "aarch64")]
            $crate::cpu::lanes::Isa::Neon => $($neon)*($($argument),*),
            _ => $($portable)*($($argument),*),
        }
    }};
}
pub(crate) use dispatch;

/// Two vectors used as one.
#[derive(Clone, Copy)]
pub(crate) struct Pair<L>(L, L);

// SAFETY: the requirements are passed on to the caller.
impl<L: Lanes> Lanes for Pair<L> {
    const WIDTH: usize = 2 * L::WIDTH;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(L::load(from), L::load(from.add(L::WIDTH))) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Self(L::splat(value), L::splat(value)) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(self.0.add(other.0), self.1.add(other.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(self.0.sub(other.0), self.1.sub(other.1)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(self.0.mul(other.0), self.1.mul(other.1)) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(self.0.max(other.0), self.1.max(other.1)) }
    }
    #[inline(always)]
    unsafe fn one_if_positive(self, otherwise: Self) -> Self {
        unsafe { Self(self.0.one_if_positive(otherwise.0), self.1.one_if_positive(otherwise.1)) }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        unsafe { Self(self.0.fma(a.0, b.0), self.1.fma(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            self.0.store(to);
            self.1.store(to.add(L::WIDTH));
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { self.0.add(self.1).sum() }
    }
}

/// Four lanes as an array, which the compiler vectorises with the target's baseline instructions.
#[derive(Clone, Copy)]
pub(crate) struct PortableQuarter([f32; 4]);
/// Sixteen lanes as arrays.
pub(crate) type Portable = Pair<Pair<PortableQuarter>>;

// SAFETY of every block below: the caller gives WIDTH readable or writable values.
impl Lanes for PortableQuarter {
    const WIDTH: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|c| self.0[c] + other.0[c]))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|c| self.0[c] - other.0[c]))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|c| self.0[c] * other.0[c]))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|c| if self.0[c] > other.0[c] { self.0[c] } else { other.0[c] }))
    }
    #[inline(always)]
    unsafe fn one_if_positive(self, otherwise: Self) -> Self {
        Self(std::array::from_fn(|c| if self.0[c] > 0.0 { 1.0 } else { otherwise.0[c] }))
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|c| self.0[c] + a.0[c] * b.0[c]))
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self.0[0] + self.0[2]) + (self.0[1] + self.0[3])
    }
}

/// A single lane, for numbers of channels that are not a multiple of a vector's lanes.
#[derive(Clone, Copy)]
pub(crate) struct Single(f32);

// SAFETY of every block below: the caller gives a readable or writable value.
impl Lanes for Single {
    const WIDTH: usize = 1;
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.read() })
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(value)
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(if self.0 > other.0 { self.0 } else { other.0 })
    }
    #[inline(always)]
    unsafe fn one_if_positive(self, otherwise: Self) -> Self {
        Self(if self.0 > 0.0 { 1.0 } else { otherwise.0 })
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Self(self.0 + a.0 * b.0)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.write(self.0) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2Half, Avx512};
/// Sixteen lanes in two registers.
#[cfg(target_arch = "x86_64")]
pub(crate) type Avx2 = Pair<Avx2Half>;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::{
        __m256, __m512, _CMP_GT_OQ, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps,
        _mm256_add_ps, _mm256_blendv_ps, _mm256_castps256_ps128, _mm256_cmp_ps, _mm256_extractf128_ps,
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_permute2f128_ps,
        _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_sub_ps,
        _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_mask_blend_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
    };

    /// Eight lanes in a 256-bit register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Half(__m256);

    // SAFETY of every block below: the caller runs only where AVX2 and FMA exist and gives WIDTH values.
    impl Lanes for Avx2Half {
        const WIDTH: usize = 8;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm256_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Self(_mm256_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Self(_mm256_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(_mm256_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Self(_mm256_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn one_if_positive(self, otherwise: Self) -> Self {
            unsafe {
                let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps());
                Self(_mm256_blendv_ps(otherwise.0, _mm256_set1_ps(1.0), positive))
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm256_fmadd_ps(a.0, b.0, self.0)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
    }

    /// Transposes 8x8 values; strides are in floats from one row to the next.
    ///
    /// # Safety
    /// AVX2 must exist, all rows of `from` must be readable, and those of `to` writable.
    #[target_feature(enable = "avx2")]
    pub(crate) unsafe fn transpose_8x8(from: *const f32, stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the requirements are passed on to the caller.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(from.add(i * stride));
            }
            // Interleaves pairs of values, then groups of four, then halves of vectors.
            let mut pairs = rows;
            for i in (0..8).step_by(2) {
                pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
                pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
            }
            let mut fours = pairs;
            for i in (0..8).step_by(4) {
                fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
                fours[i + 1] = _mm256_shuffle_ps::<0xee>(pairs[i], pairs[i + 2]);
                fours[i + 2] = _mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
                fours[i + 3] = _mm256_shuffle_ps::<0xee>(pairs[i + 1], pairs[i + 3]);
            }
            for i in 0..4 {
                let (low, high) = (fours[i], fours[i + 4]);
                _mm256_storeu_ps(to.add(i * to_stride), _mm256_permute2f128_ps::<0x20>(low, high));
                _mm256_storeu_ps(to.add((i + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(low, high));
            }
        }
    }

    /// Sixteen lanes in a 512-bit register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY of every block below: the caller runs only where AVX-512 exists and gives LANES values.
    impl Lanes for Avx512 {
        const WIDTH: usize = 16;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(_mm512_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Self(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Self(_mm512_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn one_if_positive(self, otherwise: Self) -> Self {
            unsafe {
                let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
                Self(_mm512_mask_blend_ps(positive, otherwise.0, _mm512_set1_ps(1.0)))
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use neon::NeonQuarter;
/// Sixteen lanes in four registers.
#[cfg(target_arch = "aarch64")]
pub(crate) type Neon = Pair<Pair<NeonQuarter>>;

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Lanes;
    use std::arch::aarch64::{
        float32x4_t, vaddq_f32, vaddvq_f32, vbslq_f32, vcgtq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32,
        vmaxq_f32, vmulq_f32, vst1q_f32, vsubq_f32,
    };

    /// Four lanes in a 128-bit register.
    #[derive(Clone, Copy)]
    pub(crate) struct NeonQuarter(float32x4_t);

    // SAFETY of every block below: NEON is part of every 64-bit Arm; the caller gives WIDTH values.
    impl Lanes for NeonQuarter {
        const WIDTH: usize = 4;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { Self(vld1q_f32(from)) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self(vdupq_n_f32(value)) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { Self(vaddq_f32(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Self(vsubq_f32(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(vmulq_f32(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Self(vmaxq_f32(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn one_if_positive(self, otherwise: Self) -> Self {
            unsafe {
                let positive = vcgtq_f32(self.0, vdupq_n_f32(0.0));
                Self(vbslq_f32(positive, vdupq_n_f32(1.0), otherwise.0))
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            unsafe { Self(vfmaq_f32(self.0, a.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { vst1q_f32(to, self.0) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { vaddvq_f32(self.0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_change_places_on_every_instruction_set() {
        for columns in [1, 7, 8, 12, 16, 40] {
            let from: Vec<f32> = (0..LANES * columns).map(|i| i as f32).collect();
            for isa in isas() {
                let mut to = vec![0.0; from.len()];
                transpose(*isa, &from, &mut to);
                for (c, column) in to.chunks_exact(LANES).enumerate() {
                    for (row, value) in column.iter().enumerate() {
                        assert_eq!(*value, from[row * columns + c], "{isa:?}, {columns} columns");
                    }
                }
            }
        }
    }
}
