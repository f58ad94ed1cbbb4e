//! Losses, each in one or two launches for the forward pass and one for the backward pass.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor};

use super::{address, address_in, blocks, count, launch, memory, tensor};

/// The largest number of partial sums of a loss.
const PARTS: usize = 256;

/// The CUDA kernels of [`crate::mean_squared_error`].
///
/// # Shapes
/// Two tensors of the same shape; result `[]`.
pub(crate) fn mean_squared_error(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op2(&b.contiguous()?, SquaredError)
}

/// The CUDA kernels of [`crate::mean_cross_entropy`].
///
/// # Shapes
/// `logits` `[batch, classes]`, `labels` `[batch]`, `u32`; result `[]`.
pub(crate) fn mean_cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let labels = labels.to_dtype(DType::U32)?.contiguous()?;
    logits.contiguous()?.apply_op1(CrossEntropy { labels, gradient: Mutex::new(None) })
}

struct SquaredError;

impl CustomOp2 for SquaredError {
    fn name(&self) -> &'static str {
        "mean-squared-error"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("this loss is for CUDA")
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        la: &Layout,
        b: &CudaStorage,
        lb: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (device, n) = (&a.device, count(la.shape().elem_count())?);
        let parts = (n.div_ceil(super::THREADS) as usize).min(PARTS);
        let (_partial, sums) = memory::<f32>(device, parts)?;
        let (out, to) = memory::<f32>(device, 1)?;
        let (a, b) = (address_in::<f32>(a, la)?, address_in::<f32>(b, lb)?);
        // SAFETY: both tensors have `n` values, and each block writes one partial sum.
        unsafe {
            launch!(device, "squared_error", [parts as u32, 1], a, b, sums, n);
            launch!(device, "total", [1, 1], sums, to, parts as u32, 1.0 / n as f32);
        }
        Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), Shape::from(())))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let device = a.device().as_cuda_device()?;
        let (n, shape) = (a.elem_count(), a.shape());
        let gradient = |required: bool, sign: f32| -> Result<Option<Tensor>> {
            if !required {
                return Ok(None);
            }
            let (out, to) = memory::<f32>(device, n)?;
            let (a, b, grad) = (address::<f32>(a)?, address::<f32>(b)?, address::<f32>(grad)?);
            let factor = sign * 2.0 / n as f32;
            // SAFETY: all tensors have `n` values, except `grad`, which has one.
            unsafe {
                launch!(device, "squared_error_back", [blocks(n), 1], a, b, grad, to, n as u32, factor);
            }
            Ok(Some(tensor(device, out, shape)))
        };
        Ok((gradient(a.track_op(), 1.0)?, gradient(b.track_op(), -1.0)?))
    }
}

struct CrossEntropy {
    labels: Tensor,
    /// The gradient of the logits, which the kernel computes together with the loss.
    gradient: Mutex<Option<Tensor>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "mean-cross-entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("this loss is for CUDA")
    }

    fn cuda_fwd(&self, logits: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (device, (batch, classes)) = (&logits.device, layout.shape().dims2()?);
        let (out, to) = memory::<f32>(device, 1)?;
        let (gradient, left) = memory::<f32>(device, count(batch * classes)? as usize)?;
        let (logits, labels) = (address_in::<f32>(logits, layout)?, address::<u32>(&self.labels)?);
        // SAFETY: there is a label for each row of logits, and the gradient's memory has the size of the logits.
        unsafe {
            launch!(device, "cross_entropy", [1, 1], logits, labels, to, left, batch as u32, classes as u32);
        }
        *self.gradient.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(tensor(device, gradient, (batch, classes)));
        Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let device = logits.device().as_cuda_device()?;
        let gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(gradient) = gradient else {
            candle_core::bail!("the backward pass of a cross entropy ran before its forward pass");
        };
        let n = gradient.elem_count();
        let (out, to) = memory::<f32>(device, n)?;
        let (from, factor) = (address::<f32>(&gradient)?, address::<f32>(grad)?);
        // SAFETY: gradient and result have `n` values; `grad` has one.
        unsafe {
            launch!(device, "scale", [blocks(n), 1], from, factor, to, n as u32);
        }
        Ok(Some(tensor(device, out, logits.shape())))
    }
}
