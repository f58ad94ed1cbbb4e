//! The Adam optimizer, with TensorFlow's placement of epsilon.
//!
//! It does not implement `candle_nn::Optimizer`, and candle-nn's `AdamW` cannot replace it, because that optimizer adds
//! epsilon to the root after the bias correction; counts its steps on the host, which a captured graph does not consult
//! again; keeps its moments private, so that a checkpoint cannot contain them; and takes the gradients of one loss,
//! whereas a training step here has one loss for each group of parameters.

use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

use crate::{
    Backend, Clock, backend,
    cpu::{self, with_values_mut},
};

/// Adam's constants; the defaults are those of TensorFlow and the paper.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay β₁ of the first moment.
    pub beta1: f64,
    /// Decay β₂ of the second moment.
    pub beta2: f64,
    /// The ε that is added to the root of the second moment and is *not* divided by the bias correction.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// One Adam update in place, number `step` (`t` in the formula, from 1), with the learning rate `rate` (`η`):
/// `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← p - η·√(1-β₂ᵗ)/(1-β₁ᵗ)·m/(√v + ε)`.
///
/// # Shapes
/// `param`, `grad`, `m` and `v` have the same shape.
///
/// # Errors
/// If the shapes differ, or two of the tensors share their memory.
pub fn adam_step(
    param: &Var,
    grad: &Tensor,
    m: &Var,
    v: &Var,
    rate: f64,
    step: u64,
    adam: &Adam,
) -> Result<()> {
    adam_steps(&[Moments { param, grad, m, v }], rate, At::Step(step), adam)
}

/// A parameter, its gradient and its moments.
#[derive(Debug, Clone, Copy)]
pub struct Moments<'a> {
    /// The parameter.
    pub param: &'a Var,
    /// The gradient of the loss with respect to the parameter.
    pub grad: &'a Tensor,
    /// The first moment.
    pub m: &'a Var,
    /// The second moment.
    pub v: &'a Var,
}

/// The number of an Adam update.
#[derive(Debug, Clone, Copy)]
pub enum At<'a> {
    /// This number, from 1.
    Step(u64),
    /// The number that a device's clock shows, plus one.
    Clock(&'a Clock),
}

/// The update of [`adam_step`] for many parameters; on a GPU it takes only a few launches.
///
/// # Shapes
/// `param`, `grad`, `m` and `v` of each entry have the same shape.
///
/// # Errors
/// The same as of [`adam_step`].
pub fn adam_steps(all: &[Moments], rate: f64, at: At, adam: &Adam) -> Result<()> {
    for Moments { param, grad, m, v } in all {
        if [grad.dims(), m.dims(), v.dims()].iter().any(|d| *d != param.dims()) {
            candle_core::bail!(
                "adam: parameter {:?}, gradient {:?} and moments differ",
                param.dims(),
                grad.dims()
            );
        }
    }
    // A clock keeps its own learning rate on the device, and `rate` is then not used.
    let step = if let At::Step(step) = at { step as f64 } else { 1.0 };
    let rate = rate * (1.0 - adam.beta2.powf(step)).sqrt() / (1.0 - adam.beta1.powf(step));
    let Some(first) = all.first() else { return Ok(()) };
    #[cfg(feature = "cuda")]
    if backend(first.param) == Backend::Cuda {
        let clock = if let At::Clock(clock) = at { Some(clock) } else { None };
        return crate::cuda::adam_steps(all, rate, adam, clock);
    }
    let fused = backend(first.param) == Backend::Cpu;
    all.iter().try_for_each(|moments| one_step(moments, rate, adam, fused))
}

fn one_step(moments: &Moments, rate: f64, adam: &Adam, fused: bool) -> Result<()> {
    let Moments { param, grad, m, v } = *moments;
    if fused {
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

/// Elements that a thread updates at a time.
const CHUNK: usize = 1 << 14;
