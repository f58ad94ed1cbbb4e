//! Adam over many parameters in a few launches.

use candle_core::{Result, Tensor, cuda_backend::cudarc::driver::DeviceRepr};

use super::{Clock, address, blocks, chain::ENTRIES, count, launch};
use crate::{Adam, Moments};

/// A table of trained parameters with their gradients, moments and sizes: the kernel's argument.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Trained {
    value: [u64; ENTRIES],
    gradient: [u64; ENTRIES],
    m: [u64; ENTRIES],
    v: [u64; ENTRIES],
    n: [u32; ENTRIES],
}

// SAFETY: the struct consists of plain numbers and has the layout of the kernel's struct.
unsafe impl DeviceRepr for Trained {}

/// The CUDA kernel of [`crate::adam_steps`]. The step size is the clock's if there is one, otherwise `rate`, which
/// already includes the bias correction.
pub(crate) fn adam_steps(all: &[Moments], rate: f64, adam: &Adam, clock: Option<&Clock>) -> Result<()> {
    let clock = clock.map_or(Ok(0), |clock| address::<f32>(clock.step_size()))?;
    let grads = all.iter().map(|one| one.grad.contiguous()).collect::<Result<Vec<Tensor>>>()?;
    let all: Vec<_> = all.iter().zip(&grads).map(|(one, grad)| Moments { grad, ..*one }).collect();
    for part in all.chunks(ENTRIES) {
        let mut table = Trained::default();
        let mut largest = 0;
        for (i, Moments { param, grad, m, v }) in part.iter().enumerate() {
            table.value[i] = address::<f32>(param)?;
            table.gradient[i] = address::<f32>(grad)?;
            table.m[i] = address::<f32>(m)?;
            table.v[i] = address::<f32>(v)?;
            table.n[i] = count(grad.elem_count())?;
            largest = largest.max(grad.elem_count());
        }
        let Adam { beta1, beta2, epsilon } = *adam;
        let constants = [rate, beta1, 1.0 - beta1, beta2, 1.0 - beta2, epsilon].map(|c| c as f32);
        let [rate, decay1, rest1, decay2, rest2, epsilon] = constants;
        let grid = [blocks(largest).min(128), part.len() as u32];
        // SAFETY: the four tensors of an entry have `n` values each, as `crate::adam_steps` has checked, and no other
        // thread uses this device's stream.
        unsafe {
            launch!(
                part[0].param.device().as_cuda_device()?,
                "adam",
                [grid[0], grid[1]],
                table,
                clock,
                rate,
                decay1,
                rest1,
                decay2,
                rest2,
                epsilon
            );
        }
    }
    Ok(())
}
