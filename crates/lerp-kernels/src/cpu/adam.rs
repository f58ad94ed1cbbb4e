//! The fused Adam update of a parameter and its moments.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always, clippy::extra_unused_type_parameters)]

use super::lanes::{Isa, on_isa};

/// Updates in place `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← p - rate·m/(√v + ε)`. The constants are β₁, 1-β₁,
/// β₂, 1-β₂, rate and ε, in this order.
pub(crate) fn adam(isa: Isa, [p, m, v]: [&mut [f32]; 3], g: &[f32], constants: [f32; 6]) {
    // SAFETY: the body is safe; this machine has the instruction set.
    unsafe {
        on_isa!(isa, adam_body[1, 1, 1, 1](
            p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], constants: [f32; 6],
        ));
    }
}

/// The loop of [`adam`], compiled for one instruction set.
///
/// # Safety
/// This machine must have the instruction set of `L`; the loop is vectorised by the compiler.
#[inline(always)]
unsafe fn adam_body<L, const R: usize>(
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    [decay1, rest1, decay2, rest2, rate, epsilon]: [f32; 6],
) {
    for ((p, g), (m, v)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
        *m = *m * decay1 + rest1 * g;
        *v = *v * decay2 + rest2 * g * g;
        *p -= rate * *m / (v.sqrt() + epsilon);
    }
}
