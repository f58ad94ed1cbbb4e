//! Adam, with TensorFlow's placement of epsilon.

use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

use crate::{
    cpu::{self, with_values_mut},
    fused,
};

/// Constants of Adam; the defaults are TensorFlow's and the paper's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment, *not* divided by the bias correction.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// One Adam step, number `step` (from 1), in place:
/// `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← p - η·√(1-β₂ᵗ)/(1-β₁ᵗ)·m/(√v + ε)`.
///
/// # Shapes
/// `param`, `grad`, `m` and `v` have one shape.
///
/// # Errors
/// If the shapes differ, or two of the tensors share their values.
pub fn adam_step(
    param: &Var,
    grad: &Tensor,
    m: &Var,
    v: &Var,
    rate: f64,
    step: u64,
    adam: &Adam,
) -> Result<()> {
    if [grad.dims(), m.dims(), v.dims()].iter().any(|d| *d != param.dims()) {
        candle_core::bail!(
            "adam: parameter {:?}, gradient {:?} and moments differ",
            param.dims(),
            grad.dims()
        );
    }
    let t = step as f64;
    let rate = rate * (1.0 - adam.beta2.powf(t)).sqrt() / (1.0 - adam.beta1.powf(t));
    if fused(param.as_tensor()) {
        let grad = grad.contiguous()?;
        let constants = [adam.beta1, 1.0 - adam.beta1, adam.beta2, 1.0 - adam.beta2, rate, adam.epsilon];
        let constants = constants.map(|v| v as f32);
        let isa = cpu::isa();
        return with_values_mut([param, m, v], &grad, |[p, m, v], grad| {
            let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
            let all = p.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)).zip(moments);
            all.for_each(|((p, g), (m, v))| cpu::adam(isa, [p, m, v], g, constants));
        });
    }
    m.set(&((m.as_tensor() * adam.beta1)? + (grad * (1.0 - adam.beta1))?)?)?;
    v.set(&((v.as_tensor() * adam.beta2)? + (grad.sqr()? * (1.0 - adam.beta2))?)?)?;
    let update = (m.as_tensor() * rate)?.div(&(v.as_tensor().sqrt()? + adam.epsilon)?)?;
    param.set(&param.as_tensor().sub(&update)?)
}

/// Elements a thread takes at a time.
const CHUNK: usize = 1 << 14;
