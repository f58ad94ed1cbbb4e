//! Exponential moving averages of weights.

use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

use crate::{At, Backend, backend, cpu::with_value_mut};

/// Updates exponential moving averages in place, given as pairs of average and value:
/// `average ← average + w·(value − average)` with `w = max(1 − decay, 9/(10 + t))` in update number `t` (from 1), so
/// that the initial values have no influence after a few hundred updates (TensorFlow's `ExponentialMovingAverage` with
/// `num_updates`).
///
/// # Shapes
/// Average and value of a pair have the same shape.
///
/// # Errors
/// If the shapes of a pair differ, or two tensors share their memory.
pub fn average_steps(pairs: &[(&Var, &Var)], decay: f64, at: At) -> Result<()> {
    for (average, value) in pairs {
        if average.dims() != value.dims() {
            candle_core::bail!("average: {:?} of {:?}", average.dims(), value.dims());
        }
    }
    let least = 1.0 - decay;
    match at {
        At::Step(updates) => {
            let weight = least.max(9.0 / (10.0 + updates as f64));
            pairs.iter().try_for_each(|(average, value)| by_number(average, value, weight))
        }
        At::Clock(clock) => {
            // The clock still shows the previous step. The maximum is computed as `relu(ramp − least) + least`, which
            // needs no constant to be uploaded to the device.
            let ramp = ((clock.generator().step(0, true)? + 11.0)?.recip()? * 9.0)?;
            let weight = ((ramp - least)?.relu()? + least)?;
            pairs.iter().try_for_each(|(average, value)| by_tensor(average, value, &weight))
        }
    }
}

/// Updates one average with a weight known on the host.
fn by_number(average: &Var, value: &Var, weight: f64) -> Result<()> {
    if backend(average) == Backend::Cpu {
        let weight = weight as f32;
        return with_value_mut(average, value, |average, value| {
            let chunks = average.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK));
            chunks.for_each(|(average, value)| {
                average.iter_mut().zip(value).for_each(|(a, v)| *a += weight * (v - *a));
            });
        });
    }
    let way = (value.as_tensor().detach() - average.as_tensor().detach())?;
    average.set(&(average.as_tensor().detach() + (way * weight)?)?)
}

/// Updates one average with a weight that is a scalar tensor on the device.
fn by_tensor(average: &Var, value: &Var, weight: &Tensor) -> Result<()> {
    let way = (value.as_tensor().detach() - average.as_tensor().detach())?;
    average.set(&(average.as_tensor().detach() + way.broadcast_mul(weight)?)?)
}

/// Elements that a thread updates at a time.
const CHUNK: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{Kernels, with_kernels};

    #[test]
    fn averages_equal_tensorflows_formula_in_both_forms() {
        let var = |v: f32| Var::from_tensor(&Tensor::full(v, 3, &Device::Cpu).unwrap()).unwrap();
        let follow = |form| {
            let average = var(0.0);
            let mut wanted = 0.0_f64;
            for step in 1..=300_u64 {
                let value = var(step as f32);
                with_kernels(form, || average_steps(&[(&average, &value)], 0.9, At::Step(step)).unwrap());
                let keep = 0.9_f64.min((1.0 + step as f64) / (10.0 + step as f64));
                wanted = keep * wanted + (1.0 - keep) * step as f64;
            }
            let got = average.to_vec1::<f32>().unwrap();
            assert!(got.iter().all(|v| (f64::from(*v) - wanted).abs() < 1e-3), "{got:?} {wanted}");
        };
        follow(Kernels::Fused);
        follow(Kernels::Composed);
        let (average, value) = (var(0.0), Var::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap());
        assert!(average_steps(&[(&average, &value)], 0.9, At::Step(1)).is_err());
    }
}
