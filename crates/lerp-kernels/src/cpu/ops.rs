//! The fused operations as candle sees them, with their gradients.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    conv::{self, Sizes},
    lanes::isa,
    resize,
    scratch::filled_by,
    slice,
    tile::gate,
};
use crate::Activation;

/// See [`crate::conv2d`].
///
/// # Shapes
/// `x` `[batch, height, width, in]`, `weight` `[k, k, in, out]`, `bias` `[out]`; result `[batch, height, width, out]`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Conv(activation))
}

/// See [`crate::downscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, height / 2, width / 2, channels]`.
pub fn downscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Downscale { factor: 0.25 })
}

/// See [`crate::upscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, 2·height, 2·width, channels]`.
pub fn upscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Upscale { factor: 1.0 })
}

fn sizes(x: &Shape, weight: &Shape) -> Result<Sizes> {
    let (batch, height, width, cin) = x.dims4()?;
    let (k, _, _, cout) = weight.dims4()?;
    Ok(Sizes { batch, height, width, cin, cout, k })
}

struct Conv(Activation);

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        weight: &CpuStorage,
        lw: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let s = sizes(lx.shape(), lw.shape())?;
        let (x, weight, bias) = (slice(x, lx)?, slice(weight, lw)?, slice(bias, lb)?);
        let len = s.batch * s.height * s.width * s.cout;
        // SAFETY: a convolution writes every pixel and channel of its output.
        let out = unsafe { filled_by(len, |out| conv::forward(s, x, weight, bias, self.0, out)) };
        Ok((CpuStorage::F32(out), Shape::from((s.batch, s.height, s.width, s.cout))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let grad = match self.0 {
            Activation::Linear => grad,
            Activation::LeakyRelu(slope) => y.apply_op2_no_bwd(&grad, &Gate { slope })?,
        };
        // A gradient that nobody asked for is not computed: the input image's, a frozen critic's weights'.
        let dx = if x.track_op() { Some(grad.apply_op2_no_bwd(weight, &InputGrad)?) } else { None };
        if !weight.track_op() && !bias.track_op() {
            return Ok((dx, None, None));
        }
        let both = x.apply_op2_no_bwd(&grad, &WeightGrad { k: weight.dims4()?.0 })?;
        let n = weight.elem_count();
        let dw = both.narrow(0, 0, n)?.reshape(weight.shape())?;
        let db = both.narrow(0, n, bias.elem_count())?;
        Ok((dx, Some(dw), Some(db)))
    }
}

/// Elements that one task takes.
const CHUNK: usize = 1 << 14;

/// `y` and the output's gradient to the gradient before the leaky ReLU (`y > 0` where its input was).
struct Gate {
    slope: f32,
}

impl CustomOp2 for Gate {
    fn name(&self) -> &'static str {
        "leaky-relu-gate"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        ly: &Layout,
        grad: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (isa, y, grad) = (isa(), slice(y, ly)?, slice(grad, lg)?);
        if y.len() != grad.len() {
            candle_core::bail!("leaky-relu-gate: {:?} and {:?} differ", ly.shape(), lg.shape());
        }
        let inputs = y.par_chunks(CHUNK).zip(grad.par_chunks(CHUNK));
        // SAFETY: the chunks of equally long slices cover all of the output.
        let out = unsafe {
            filled_by(grad.len(), |out| {
                out.par_chunks_mut(CHUNK).zip(inputs).for_each(|(out, (y, grad))| {
                    gate(isa, y, grad, self.slope, out);
                });
            })
        };
        Ok((CpuStorage::F32(out), lg.shape().clone()))
    }
}

/// The output's gradient and the weight to the input's gradient.
struct InputGrad;

impl CustomOp2 for InputGrad {
    fn name(&self) -> &'static str {
        "conv2d-input-grad"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        lg: &Layout,
        weight: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, cout) = lg.shape().dims4()?;
        let (k, _, cin, _) = lw.shape().dims4()?;
        let s = Sizes { batch, height, width, cin, cout, k };
        let (grad, weight) = (slice(grad, lg)?, slice(weight, lw)?);
        // SAFETY: it is a convolution, which writes every pixel and channel of its output.
        let out =
            unsafe { filled_by(batch * height * width * cin, |out| conv::input_grad(s, grad, weight, out)) };
        Ok((CpuStorage::F32(out), Shape::from((batch, height, width, cin))))
    }
}

/// The input and the output's gradient to the gradients of weight and bias, one after the other.
struct WeightGrad {
    k: usize,
}

impl CustomOp2 for WeightGrad {
    fn name(&self) -> &'static str {
        "conv2d-weight-grad"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        grad: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, cin) = lx.shape().dims4()?;
        let s = Sizes { batch, height, width, cin, cout: lg.shape().dims4()?.3, k: self.k };
        let out = conv::weight_grad(s, slice(x, lx)?, slice(grad, lg)?);
        let n = out.len();
        Ok((CpuStorage::F32(out), Shape::from(n)))
    }
}

/// Sum over 2x2 blocks times a factor.
struct Downscale {
    factor: f32,
}

impl CustomOp1 for Downscale {
    fn name(&self) -> &'static str {
        "downscale2"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = lx.shape().dims4()?;
        let x = slice(x, lx)?;
        let fill = |out: &mut [f32]| resize::sum_blocks(x, w / 2, c, self.factor, out);
        // SAFETY: the sides are even, so that every output pixel has its block, and is written.
        let out = unsafe { filled_by(b * (h / 2) * (w / 2) * c, fill) };
        Ok((CpuStorage::F32(out), Shape::from((b, h / 2, w / 2, c))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&Upscale { factor: self.factor })?))
    }
}

/// Each pixel four times, times a factor.
struct Upscale {
    factor: f32,
}

impl CustomOp1 for Upscale {
    fn name(&self) -> &'static str {
        "upscale2"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, h, w, c) = lx.shape().dims4()?;
        let x = slice(x, lx)?;
        let fill = |out: &mut [f32]| resize::repeat_blocks(x, w, c, self.factor, out);
        // SAFETY: every input pixel writes its four output pixels, which are all there are.
        let out = unsafe { filled_by(4 * b * h * w * c, fill) };
        Ok((CpuStorage::F32(out), Shape::from((b, 2 * h, 2 * w, c))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&Downscale { factor: self.factor })?))
    }
}
