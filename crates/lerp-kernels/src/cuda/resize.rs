//! 2x2 means and nearest-neighbour upscaling by two.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{address_in, blocks, count, launch, memory};
use crate::Direction;

/// The CUDA kernel of [`crate::downscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, height / 2, width / 2, channels]`.
pub(crate) fn downscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resize { direction: Direction::Down, factor: 0.25 })
}

/// The CUDA kernel of [`crate::upscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, 2·height, 2·width, channels]`.
pub(crate) fn upscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resize { direction: Direction::Up, factor: 1.0 })
}

/// Sums over 2x2 blocks and multiplies by a factor, without a gradient.
pub(super) fn downscale(x: &Tensor, factor: f32) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Resize { direction: Direction::Down, factor })
}

/// Repeats each pixel in a 2x2 block and multiplies by a factor, without a gradient.
pub(super) fn upscale(x: &Tensor, factor: f32) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Resize { direction: Direction::Up, factor })
}

/// Downscaling or upscaling as a candle operation; each is the other's gradient.
struct Resize {
    direction: Direction,
    factor: f32,
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        self.direction.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("this resizing is for CUDA")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (b, h, w, c) = layout.shape().dims4()?;
        let device = &x.device;
        let (height, width) = match self.direction {
            Direction::Up => (2 * h, 2 * w),
            Direction::Down => (h / 2, w / 2),
        };
        let shape = Shape::from((b, height, width, c));
        let n = count(shape.elem_count())?;
        count(b * h * w * c)?;
        let (out, to) = memory::<f32>(device, shape.elem_count())?;
        let x = address_in::<f32>(x, layout)?;
        let grid = blocks(n as usize);
        // SAFETY: sides to be halved are even, as `crate::downscale2` has checked, and the memory has the result's
        // size.
        unsafe {
            match self.direction {
                Direction::Up => {
                    launch!(device, "upscale", [grid, 1], x, to, n, c as u32, w as u32, self.factor);
                }
                Direction::Down => {
                    launch!(device, "downscale", [grid, 1], x, to, n, c as u32, width as u32, self.factor);
                }
            }
        }
        Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), shape))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { direction: self.direction.reversed(), factor: self.factor };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}
