//! Exponential moving averages of weights.

use candle_core::{Result, Tensor, Var};
use lerp_core::DrawStep;
use rayon::prelude::*;

use crate::{Backend, UpdateNumber, backend, cpu::with_value_mut, optim::CHUNK};

/// A weight and its exponential moving average.
#[derive(Debug, Clone, Copy)]
pub struct AveragedWeight<'a> {
    /// The average.
    pub average: &'a Var,
    /// The weight itself.
    pub value: &'a Var,
}

/// Updates exponential moving averages in place:
/// `average ← average + w·(value − average)` with `w = max(1 − decay, 9/(10 + t))` in update number `t` (from 1), so
/// that the initial values have no influence after a few hundred updates (TensorFlow's `ExponentialMovingAverage` with
/// `num_updates`).
///
/// # Shapes
/// Average and value of an entry have the same shape.
///
/// # Errors
/// If the shapes of an entry differ, or two tensors share their memory.
pub fn average_steps(weights: &[AveragedWeight], decay: f64, number: UpdateNumber) -> Result<()> {
    for AveragedWeight { average, value } in weights {
        if average.dims() != value.dims() {
            candle_core::bail!(
                "average of weights: the average has the shape {:?}, and the weight {:?}",
                average.dims(),
                value.dims()
            );
        }
    }
    let least = 1.0 - decay;
    match number {
        UpdateNumber::Given(number) => {
            let factor = least.max(9.0 / (10.0 + number as f64));
            weights.iter().try_for_each(|weight| by_number(weight, factor))
        }
        UpdateNumber::Clock(clock) => {
            // The clock still shows the previous step. The maximum is computed as `relu(ramp − least) + least`, which
            // needs no constant to be uploaded to the device.
            let ramp = ((clock.generator().step(DrawStep::Counted(0))? + 11.0)?.recip()? * 9.0)?;
            let factor = ((ramp - least)?.relu()? + least)?;
            weights.iter().try_for_each(|weight| by_tensor(weight, &factor))
        }
    }
}

/// Updates one average with a factor `w` that the host knows.
fn by_number(&AveragedWeight { average, value }: &AveragedWeight, factor: f64) -> Result<()> {
    if backend(average) == Backend::Cpu {
        let factor = factor as f32;
        return with_value_mut(average, value, |average, value| {
            let chunks = average.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK));
            chunks.for_each(|(average, value)| {
                average.iter_mut().zip(value).for_each(|(a, v)| *a += factor * (v - *a));
            });
        });
    }
    let difference = (value.as_tensor().detach() - average.as_tensor().detach())?;
    average.set(&(average.as_tensor().detach() + (difference * factor)?)?)
}

/// Updates one average with a factor `w` that is a scalar tensor on the device.
fn by_tensor(&AveragedWeight { average, value }: &AveragedWeight, factor: &Tensor) -> Result<()> {
    let difference = (value.as_tensor().detach() - average.as_tensor().detach())?;
    average.set(&(average.as_tensor().detach() + difference.broadcast_mul(factor)?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{Implementation, with_implementation};

    #[test]
    fn fused_and_composed_averages_equal_tensorflows_formula() {
        let var = |v: f32| Var::from_tensor(&Tensor::full(v, 3, &Device::Cpu).unwrap()).unwrap();
        let check = |implementation| {
            let average = var(0.0);
            let mut expected = 0.0_f64;
            for step in 1..=300_u64 {
                let value = var(step as f32);
                let weights = [AveragedWeight { average: &average, value: &value }];
                let number = UpdateNumber::Given(step);
                with_implementation(implementation, || average_steps(&weights, 0.9, number).unwrap());
                let keep = 0.9_f64.min((1.0 + step as f64) / (10.0 + step as f64));
                expected = keep * expected + (1.0 - keep) * step as f64;
            }
            let got = average.to_vec1::<f32>().unwrap();
            assert!(got.iter().all(|v| (f64::from(*v) - expected).abs() < 1e-3), "{got:?} {expected}");
        };
        check(Implementation::Fused);
        check(Implementation::Composed);
        let (average, value) = (var(0.0), Var::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap());
        let weights = [AveragedWeight { average: &average, value: &value }];
        assert!(average_steps(&weights, 0.9, UpdateNumber::Given(1)).is_err(), "shapes differ");
    }
}
