//! The fused Adam update of a parameter and its moments.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always, clippy::extra_unused_type_parameters)]

use super::lanes::{Isa, on_isa};
use crate::Adam;

/// The constants of an update, in the parameters' precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamConstants {
    /// The decay β₁ of the first moment.
    decay1: f32,
    /// 1 - β₁.
    rest1: f32,
    /// The decay β₂ of the second moment.
    decay2: f32,
    /// 1 - β₂.
    rest2: f32,
    /// The step size, bias correction included.
    rate: f32,
    epsilon: f32,
}

impl AdamConstants {
    /// The constants of `adam`, with a step size that includes the bias correction.
    pub fn new(rate: f64, adam: &Adam) -> Self {
        let Adam { beta1, beta2, epsilon } = *adam;
        Self {
            decay1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            decay2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
            rate: rate as f32,
            epsilon: epsilon as f32,
        }
    }
}

/// Updates in place `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← p - rate·m/(√v + ε)`.
pub(crate) fn adam(isa: Isa, [p, m, v]: [&mut [f32]; 3], g: &[f32], constants: AdamConstants) {
    // SAFETY: the body is safe; this machine has the instruction set.
    unsafe {
        on_isa!(isa, adam_body[1, 1, 1, 1](
            p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], constants: AdamConstants,
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
    AdamConstants { decay1, rest1, decay2, rest2, rate, epsilon }: AdamConstants,
) {
    for ((p, g), (m, v)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
        *m = *m * decay1 + rest1 * g;
        *v = *v * decay2 + rest2 * g * g;
        *p -= rate * *m / (v.sqrt() + epsilon);
    }
}
