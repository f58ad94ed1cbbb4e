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
    cpu::{self, AdamConstants, with_values_mut},
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

/// The number of an update, counted from 1: the `t` in the formulas of [`adam_steps`] and
/// [`average_steps`](crate::average_steps).
#[derive(Debug, Clone, Copy)]
pub enum UpdateNumber<'a> {
    /// A number that the host knows.
    Given(u64),
    /// One more than the step that a device's clock shows when the update runs.
    Clock(&'a Clock),
}

/// One Adam update of parameters in place, with the learning rate `rate` (`η`) and the update's number `t`:
/// `m ← β₁m + (1-β₁)g`, `v ← β₂v + (1-β₂)g²`, `p ← p - η·√(1-β₂ᵗ)/(1-β₁ᵗ)·m/(√v + ε)`.
///
/// On a GPU it takes only a few launches, however many parameters there are. A clock has a learning rate of its own,
/// which takes the place of `rate`.
///
/// # Shapes
/// `param`, `grad`, `m` and `v` of each entry have the same shape.
///
/// # Errors
/// If the shapes of an entry differ, two of its tensors share their memory, or they are not on the clock's device.
pub fn adam_steps(all: &[Moments], rate: f64, number: UpdateNumber, adam: &Adam) -> Result<()> {
    for Moments { param, grad, m, v } in all {
        if [grad.dims(), m.dims(), v.dims()].iter().any(|d| *d != param.dims()) {
            candle_core::bail!(
                "adam: parameter {:?}, gradient {:?} and moments differ",
                param.dims(),
                grad.dims()
            );
        }
    }
    // With a clock, the step size is computed on the device, and this one is not used.
    let t = if let UpdateNumber::Given(number) = number { number as f64 } else { 1.0 };
    let rate = rate * (1.0 - adam.beta2.powf(t)).sqrt() / (1.0 - adam.beta1.powf(t));
    let Some(first) = all.first() else { return Ok(()) };
    #[cfg(feature = "cuda")]
    if backend(first.param) == Backend::Cuda {
        let clock = if let UpdateNumber::Clock(clock) = number { Some(clock) } else { None };
        return crate::cuda::adam_steps(all, rate, adam, clock);
    }
    match number {
        UpdateNumber::Clock(clock) => {
            let step_size = clock.step_size().to_dtype(first.param.dtype())?.reshape(())?;
            all.iter().try_for_each(|moments| composed_step(moments, |m| m.broadcast_mul(&step_size), adam))
        }
        UpdateNumber::Given(_) if backend(first.param) == Backend::Cpu => {
            all.iter().try_for_each(|moments| fused_step(moments, rate, adam))
        }
        UpdateNumber::Given(_) => {
            all.iter().try_for_each(|moments| composed_step(moments, |m| m * rate, adam))
        }
    }
}

/// Updates one parameter by the fused kernel; `rate` includes the bias correction.
fn fused_step(&Moments { param, grad, m, v }: &Moments, rate: f64, adam: &Adam) -> Result<()> {
    let grad = grad.contiguous()?;
    let constants = AdamConstants::new(rate, adam);
    let isa = cpu::isa();
    with_values_mut([param, m, v], &grad, |[p, m, v], grad| {
        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
        let all = p.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)).zip(moments);
        all.for_each(|((p, g), (m, v))| cpu::adam(isa, [p, m, v], g, constants));
    })
}

/// Updates one parameter by candle's operations; `scaled` multiplies the first moment by the step size, which includes
/// the bias correction.
fn composed_step(
    &Moments { param, grad, m, v }: &Moments,
    scaled: impl Fn(&Tensor) -> Result<Tensor>,
    adam: &Adam,
) -> Result<()> {
    m.set(&((m.as_tensor() * adam.beta1)? + (grad * (1.0 - adam.beta1))?)?)?;
    v.set(&((v.as_tensor() * adam.beta2)? + (grad.sqr()? * (1.0 - adam.beta2))?)?)?;
    let update = scaled(m)?.div(&(v.as_tensor().sqrt()? + adam.epsilon)?)?;
    param.set(&param.as_tensor().sub(&update)?)
}

/// Elements that a thread updates at a time.
pub(crate) const CHUNK: usize = 1 << 14;
