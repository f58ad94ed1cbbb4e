//! Adam, with TensorFlow's placement of epsilon.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var};
use rayon::prelude::*;

use crate::{
    cpu::{slice, slice_mut},
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
/// If the shapes differ.
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
        m.inplace_op2(&grad, &Moment { decay: adam.beta1 as f32, square: false })?;
        v.inplace_op2(&grad, &Moment { decay: adam.beta2 as f32, square: true })?;
        return param.inplace_op3(m, v, &Update { rate: rate as f32, epsilon: adam.epsilon as f32 });
    }
    m.set(&((m.as_tensor() * adam.beta1)? + (grad * (1.0 - adam.beta1))?)?)?;
    v.set(&((v.as_tensor() * adam.beta2)? + (grad.sqr()? * (1.0 - adam.beta2))?)?)?;
    let update = (m.as_tensor() * rate)?.div(&(v.as_tensor().sqrt()? + adam.epsilon)?)?;
    param.set(&param.as_tensor().sub(&update)?)
}

/// Elements a thread takes at a time.
const CHUNK: usize = 1 << 14;

struct Moment {
    decay: f32,
    square: bool,
}

impl InplaceOp2 for Moment {
    fn name(&self) -> &'static str {
        "adam-moment"
    }

    fn cpu_fwd(&self, m: &mut CpuStorage, lm: &Layout, g: &CpuStorage, lg: &Layout) -> Result<()> {
        let (m, g) = (slice_mut(m, lm)?, slice(g, lg)?);
        let (decay, rest) = (self.decay, 1.0 - self.decay);
        m.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).for_each(|(m, g)| {
            if self.square {
                m.iter_mut().zip(g).for_each(|(m, g)| *m = *m * decay + rest * g * g);
            } else {
                m.iter_mut().zip(g).for_each(|(m, g)| *m = *m * decay + rest * g);
            }
        });
        Ok(())
    }
}

struct Update {
    rate: f32,
    epsilon: f32,
}

impl InplaceOp3 for Update {
    fn name(&self) -> &'static str {
        "adam-update"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        lp: &Layout,
        m: &CpuStorage,
        lm: &Layout,
        v: &CpuStorage,
        lv: &Layout,
    ) -> Result<()> {
        let (p, m, v) = (slice_mut(p, lp)?, slice(m, lm)?, slice(v, lv)?);
        p.par_chunks_mut(CHUNK).zip(m.par_chunks(CHUNK)).zip(v.par_chunks(CHUNK)).for_each(|((p, m), v)| {
            for ((p, m), v) in p.iter_mut().zip(m).zip(v) {
                *p -= self.rate * m / (v.sqrt() + self.epsilon);
            }
        });
        Ok(())
    }
}
