//! The fused operations as candle sees them, with their gradients.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor};
use lerp_core::leave;
use rayon::prelude::*;

use super::{
    chain::{self, Saved, Step, Wanted, Weights},
    grid::Grid,
    resize,
    scratch::filled_by,
    slice, with_values,
};
use crate::Link;

/// See [`crate::chain`].
///
/// # Shapes
/// `x` `[batch, height, width, channels]`; result as the last link says.
pub fn chain(x: &Tensor, links: &[Link]) -> Result<Tensor> {
    let (_, height, width, channels) = x.dims4()?;
    let mut shape = [height, width, channels];
    let mut steps = Vec::with_capacity(links.len());
    for link in links {
        let (k, _, _, cout) = link.weight.dims4()?;
        let step = Step::new(shape, [k, cout], link.activation, [link.upscale, link.downscale]);
        shape = step.out();
        steps.push(step);
    }
    // candle hands gradients to at most three arguments. So the parameters hang on a chain of empty operations of their
    // own, which ends in an argument of the convolutions; those leave the gradients where these find them.
    let left = Arc::new(Mutex::new(links.iter().map(|_| None).collect::<Vec<_>>()));
    let mut hook = Tensor::zeros(1, x.dtype(), x.device())?;
    let wanted: Vec<bool> = links.iter().map(trained).collect();
    for (i, link) in links.iter().enumerate() {
        if wanted[i] {
            hook = hook.apply_op3(&link.weight, &link.bias, Claim { i, left: left.clone() })?;
        }
    }
    let contiguous = |link: &Link| {
        let (weight, bias) = (link.weight.detach().contiguous()?, link.bias.detach().contiguous()?);
        Ok([weight, bias])
    };
    let params = links.iter().map(contiguous).collect::<Result<_>>()?;
    let back = x.track_op() || wanted.contains(&true);
    let op = Chain { steps, params, wanted, back, saved: Mutex::new(None), left };
    x.contiguous()?.apply_op2(&hook, op)
}

fn trained(link: &Link) -> bool {
    link.weight.track_op() || link.bias.track_op()
}

/// Where the gradients of each link's parameters lie between the convolutions' way back and the parameters' own.
type Left = Arc<Mutex<Vec<Option<Weights>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic elsewhere leaves behind is whole: values are put there at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hangs the parameters of link `i` on the chain.
struct Claim {
    i: usize,
    left: Left,
}

impl CustomOp3 for Claim {
    fn name(&self) -> &'static str {
        "conv2d-parameters"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(
        &self,
        _: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some((dw, db)) = lock(&self.left)[self.i].take() else {
            candle_core::bail!("the convolutions have left no gradients");
        };
        let of = |param: &Tensor, grad: Vec<f32>| {
            let grad =
                param.track_op().then(|| Tensor::from_vec(grad, param.shape(), &Device::Cpu)).transpose()?;
            Ok::<_, candle_core::Error>(grad.and_then(|grad| leave(param, grad)))
        };
        Ok((Some(grad.clone()), of(weight, dw)?, of(bias, db)?))
    }
}

/// Convolutions one after the other.
struct Chain {
    steps: Vec<Step>,
    params: Vec<[Tensor; 2]>,
    /// Whether the parameters of each are trained.
    wanted: Vec<bool>,
    /// Whether anything asks for a way back.
    back: bool,
    saved: Mutex<Option<Arc<Saved>>>,
    left: Left,
}

impl CustomOp2 for Chain {
    fn name(&self) -> &'static str {
        "conv2d-chain"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, ..) = lx.shape().dims4()?;
        let x = slice(x, lx)?;
        let params: Vec<&Tensor> = self.params.iter().flatten().collect();
        let (out, saved) = with_values(&params, |values| {
            let params: Vec<_> = values.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            Ok(chain::forward(&self.steps, batch, x, &params, self.back))
        })?;
        *lock(&self.saved) = self.back.then(|| Arc::new(saved));
        let [height, width, channels] = self.steps[self.steps.len() - 1].out();
        Ok((CpuStorage::F32(out), Shape::from((batch, height, width, channels))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        hook: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (grad, y) = (grad.contiguous()?, y.contiguous()?);
        let Some(saved) = lock(&self.saved).clone() else {
            candle_core::bail!("the convolutions go back before they went forward");
        };
        let mut tensors = vec![&y, &grad];
        tensors.extend(self.params.iter().map(|[weight, _]| weight));
        let wanted = Wanted { input: x.track_op(), params: &self.wanted };
        let (dx, params) = with_values(&tensors, |values| {
            let ends = (values[0], values[1]);
            Ok(chain::backward(&self.steps, x.dim(0)?, &saved, ends, &values[2..], &wanted))
        })?;
        *lock(&self.left) = params;
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), &Device::Cpu)).transpose()?;
        Ok((dx, hook.track_op().then(|| hook.zeros_like()).transpose()?))
    }
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
        let grid = Grid { height: h, width: w, channels: c, edge: 0 };
        let half = grid.halved();
        let fill = |out: &mut [f32]| {
            let images = out.par_chunks_mut(half.image()).zip(x.par_chunks(grid.image()));
            images.for_each(|(out, x)| resize::sum_blocks((x, grid), self.factor, (out, half)));
        };
        // SAFETY: the sides are even, so that every output pixel has its block, and is written.
        let out = unsafe { filled_by(b * half.image(), fill) };
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
        let grid = Grid { height: h, width: w, channels: c, edge: 0 };
        let double = grid.doubled();
        let fill = |out: &mut [f32]| {
            let images = out.par_chunks_mut(double.image()).zip(x.par_chunks(grid.image()));
            images.for_each(|(out, x)| resize::repeat_blocks((x, grid), self.factor, (out, double)));
        };
        // SAFETY: every input pixel writes its four output pixels, which are all there are.
        let out = unsafe { filled_by(b * double.image(), fill) };
        Ok((CpuStorage::F32(out), Shape::from((b, 2 * h, 2 * w, c))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&Downscale { factor: self.factor })?))
    }
}
