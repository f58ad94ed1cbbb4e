//! 2x2 means and nearest-neighbour upscaling by two.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{address_in, blocks, count, launch, memory};

/// The CUDA form of [`crate::downscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, height / 2, width / 2, channels]`.
pub(crate) fn downscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resize { up: false, factor: 0.25 })
}

/// The CUDA form of [`crate::upscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, 2·height, 2·width, channels]`.
pub(crate) fn upscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resize { up: true, factor: 1.0 })
}

/// Sums over 2x2 blocks and multiplies by a factor, without a gradient.
pub(super) fn downscale(x: &Tensor, factor: f32) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Resize { up: false, factor })
}

/// Repeats each pixel in a 2x2 block and multiplies by a factor, without a gradient.
pub(super) fn upscale(x: &Tensor, factor: f32) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Resize { up: true, factor })
}

/// Downscaling or upscaling as a candle operation; each is the other's gradient.
struct Resize {
    up: bool,
    factor: f32,
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        if self.up { "upscale2" } else { "downscale2" }
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("this resizing is for CUDA")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (b, h, w, c) = layout.shape().dims4()?;
        let Some((start, _)) = layout.contiguous_offsets() else {
            candle_core::bail!("a fused operation was given a tensor that is not contiguous");
        };
        let device = &x.device;
        let (height, width) = if self.up { (2 * h, 2 * w) } else { (h / 2, w / 2) };
        let shape = Shape::from((b, height, width, c));
        let n = count(shape.elem_count())?;
        count(b * h * w * c)?;
        let (out, to) = memory::<f32>(device, shape.elem_count())?;
        let x = address_in::<f32>(x, start)?;
        let grid = blocks(n as usize);
        // SAFETY: sides to be halved are even, as `crate::downscale2` has checked, and the memory has the result's
        // size.
        unsafe {
            if self.up {
                launch!(device, "upscale", [grid, 1], x, to, n, c as u32, w as u32, self.factor);
            } else {
                launch!(device, "downscale", [grid, 1], x, to, n, c as u32, width as u32, self.factor);
            }
        }
        Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), shape))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { up: !self.up, factor: self.factor };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}
