//! The fused operations as candle's custom operations, with their backward passes.
#![allow(unsafe_code)]

use std::{
    mem::MaybeUninit,
    sync::{Mutex, OnceLock},
};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    chain::{self, ChainOutput, Saved},
    grid::{Grid, Images, ImagesMut},
    merge::{MergedPair, PairGradients},
    resize,
    scratch::filled_by,
    slice,
    step::{ParamGradients, Params, Resizing, Step},
    with_values,
};
use crate::{
    Direction, Link, Purpose, RequiredGradients, composed,
    tape::{self, is_computed},
};

/// The fused kernels of [`crate::chain`].
///
/// # Shapes
/// `x` `[batch, height, width, channels]`; result as of [`crate::chain`].
pub fn chain(x: &Tensor, links: &[Link]) -> Result<Tensor> {
    let (_, height, width, channels) = x.dims4()?;
    let mut grid = Grid { height, width, channels, edge: 0 };
    let merge = MergedPair::of(links);
    let mut steps = Vec::with_capacity(links.len());
    for (i, link) in links.iter().enumerate().skip(usize::from(merge.is_some())) {
        let (k, _, _, cout) = link.weight.dims4()?;
        let resize = Resizing { upscale: link.upscale, downscale: link.downscale };
        let step = Step::new(grid, k, cout, link.activation, resize);
        let step = if i == 1 && merge.is_some() { step.with_ones() } else { step };
        grid = step.outgoing();
        steps.push(step);
    }
    let hook = hook(links.iter().flat_map(|link| [&link.weight, &link.bias]))?;
    let params = links.iter().map(|link| [link.weight.clone(), link.bias.clone()]).collect::<Vec<_>>();
    let contiguous =
        |[weight, bias]: &[Tensor; 2]| Ok([weight.detach().contiguous()?, bias.detach().contiguous()?]);
    let values = params.iter().map(contiguous).collect::<Result<_>>()?;
    let mut trained: Vec<bool> = params.iter().map(|pair| pair.iter().any(Tensor::track_op)).collect();
    if merge.is_some() {
        let first = trained.remove(0);
        trained[0] |= first;
    }
    let training = x.track_op() || trained.contains(&true);
    let purpose = if training { Purpose::Training } else { Purpose::Inference };
    let op = Chain { steps, merge, params, values, trained, purpose, saved: OnceLock::new() };
    x.contiguous()?.apply_op2(&hook, op)
}

/// Returns the argument that represents all parameters of an operation: candle calls an operation's backward pass if
/// one of its arguments is trained. The gradients of parameters are put onto the tape; [`Computed`] takes those of
/// parameters that are computed from variables off it again.
fn hook<'a>(params: impl Iterator<Item = &'a Tensor> + Clone) -> Result<Tensor> {
    let none = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
    if !params.clone().any(is_computed) {
        return Ok(params.clone().find(|param| param.track_op()).cloned().unwrap_or(none));
    }
    params.filter(|param| is_computed(param)).try_fold(none, |hook, param| hook.apply_op2(param, Computed))
}

/// The fused kernels of [`crate::dense`].
///
/// # Shapes
/// `x` `[batch, in]`, `weight` `[in, out]`, `bias` `[out]`; result `[batch, out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let value = composed::dense(&x.detach(), &weight.detach(), &bias.detach())?;
    let params = [weight.clone(), bias.clone()];
    if !x.track_op() && !params.iter().any(Tensor::track_op) {
        return Ok(value);
    }
    x.apply_op2(&hook(params.iter())?, Dense { params, value: Mutex::new(Some(value)) })
}

/// A dense layer as a candle operation. Its parameters' gradients are put onto the tape, which saves adding them to
/// zeros.
struct Dense {
    params: [Tensor; 2],
    /// The result, computed beforehand, until candle takes it.
    value: Mutex<Option<Tensor>>,
}

impl CustomOp2 for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some(value) = self.value.lock().ok().and_then(|mut value| value.take()) else {
            candle_core::bail!(
                "the result of a dense layer was taken before; its forward pass runs only once"
            );
        };
        let values = with_values(&[&value], |values| Ok(values[0].to_vec()))?;
        Ok((CpuStorage::F32(values), value.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        hook: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [weight, bias] = &self.params;
        if weight.track_op() {
            tape::put(weight, x.detach().t()?.matmul(grad)?)?;
        }
        if bias.track_op() {
            tape::put(bias, grad.sum(0)?)?;
        }
        let dx = x.track_op().then(|| grad.matmul(&weight.detach().t()?)).transpose()?;
        Ok((dx, is_computed(hook).then(|| hook.zeros_like()).transpose()?))
    }
}

/// The operation that connects a computed parameter to the argument that represents all parameters ([`hook`]). candle
/// calls its backward pass after the operation has put the parameter's gradient onto the tape.
struct Computed;

impl CustomOp2 for Computed {
    fn name(&self) -> &'static str {
        "computed-parameter"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(
        &self,
        _: &Tensor,
        param: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), tape::take(param)?))
    }
}

/// A chain of convolutions as a candle operation.
struct Chain {
    steps: Vec<Step>,
    /// How the first two links are merged into the first step; `None` if they are not.
    merge: Option<MergedPair>,
    /// Weight and bias of each link as they were given.
    params: Vec<[Tensor; 2]>,
    /// The same parameters, contiguous and detached.
    values: Vec<[Tensor; 2]>,
    /// Whether a parameter of each step is trained.
    trained: Vec<bool>,
    purpose: Purpose,
    /// The values that the forward pass keeps for the backward pass.
    saved: OnceLock<Saved>,
}

impl Chain {
    /// Calls `f` with the parameters of every step (merged where two links are), and the values of other tensors.
    fn with_steps<T>(
        &self,
        others: &[&Tensor],
        f: impl FnOnce(&[Params], &[&[f32]]) -> Result<T>,
    ) -> Result<T> {
        let mut tensors = others.to_vec();
        tensors.extend(self.values.iter().flatten());
        with_values(&tensors, |values| {
            let (others, values) = values.split_at(others.len());
            let pairs = values.chunks_exact(2);
            let mut params: Vec<_> = pairs.map(|pair| Params { weight: pair[0], bias: pair[1] }).collect();
            let merged = self.merge.map(|merge| merge.weight(params[0], params[1].weight));
            if let Some(merged) = &merged {
                params.remove(0);
                params[0].weight = merged;
            }
            f(&params, others)
        })
    }

    /// Converts the gradients of the steps' parameters to those of the links' parameters.
    fn gradients_of_links(
        &self,
        mut gradients: Vec<Option<ParamGradients>>,
    ) -> Result<Vec<Option<ParamGradients>>> {
        let Some(merge) = self.merge else { return Ok(gradients) };
        let pair = match gradients[0].take() {
            None => None,
            Some(ParamGradients { weight: grad, bias }) => {
                let [[weight, first_bias], [second, _]] = [&self.values[0], &self.values[1]];
                let PairGradients { first_weight, first_bias, second_weight } =
                    with_values(&[weight, first_bias, second], |values| {
                        let first = Params { weight: values[0], bias: values[1] };
                        Ok(merge.gradients(&grad, first, values[2]))
                    })?;
                let first = ParamGradients { weight: first_weight, bias: first_bias };
                Some((first, ParamGradients { weight: second_weight, bias }))
            }
        };
        let (first, second) = pair.unzip();
        gradients[0] = second;
        gradients.insert(0, first);
        Ok(gradients)
    }
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
        let (out, saved) = self
            .with_steps(&[], |params, _| Ok(chain::forward(&self.steps, batch, x, params, self.purpose)))?;
        if self.purpose == Purpose::Training && self.saved.set(saved).is_err() {
            candle_core::bail!("the forward pass of a chain of convolutions runs only once");
        }
        let Grid { height, width, channels, .. } = self.steps[self.steps.len() - 1].outgoing();
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
        let Some(saved) = self.saved.get() else {
            candle_core::bail!("the backward pass of a chain of convolutions ran before its forward pass");
        };
        let required = RequiredGradients { input: x.track_op(), params: &self.trained };
        let (dx, gradients) = self.with_steps(&[&y, &grad], |params, values| {
            let output = ChainOutput { values: values[0], grad: values[1] };
            Ok(chain::backward(&self.steps, x.dim(0)?, saved, output, params, &required))
        })?;
        for (params, gradients) in self.params.iter().zip(self.gradients_of_links(gradients)?) {
            let Some(ParamGradients { weight, bias }) = gradients else { continue };
            for (param, gradient) in params.iter().zip([weight, bias]) {
                if param.track_op() {
                    tape::put(param, Tensor::from_vec(gradient, param.shape(), &Device::Cpu)?)?;
                }
            }
        }
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), &Device::Cpu)).transpose()?;
        Ok((dx, is_computed(hook).then(|| hook.zeros_like()).transpose()?))
    }
}

/// The fused kernels of [`crate::downscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, height / 2, width / 2, channels]`.
pub fn downscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resize { direction: Direction::Down, factor: 0.25 })
}

/// The fused kernels of [`crate::upscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, 2·height, 2·width, channels]`.
pub fn upscale2(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Resize { direction: Direction::Up, factor: 1.0 })
}

/// Downscaling or upscaling, and multiplication by a factor, as a candle operation.
struct Resize {
    direction: Direction,
    factor: f32,
}

impl CustomOp1 for Resize {
    fn name(&self) -> &'static str {
        self.direction.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, channels) = lx.shape().dims4()?;
        let x = slice(x, lx)?;
        let grid = Grid { height, width, channels, edge: 0 };
        let resized = match self.direction {
            Direction::Up => grid.doubled(),
            Direction::Down => grid.halved(),
        };
        let fill = |out: &mut [MaybeUninit<f32>]| {
            let images = out.par_chunks_mut(resized.image()).zip(x.par_chunks(grid.image()));
            images.for_each(|(out, x)| {
                let (x, out) = (Images { values: x, grid }, ImagesMut { values: out, grid: resized });
                match self.direction {
                    Direction::Up => resize::repeat_blocks(x, self.factor, out),
                    Direction::Down => resize::sum_blocks(x, self.factor, out),
                }
            });
        };
        // SAFETY: every output pixel is written. Upscaling writes four of them for each input pixel; downscaling writes
        // one for each block, and sides are even, so that there is a block for every output pixel.
        let out = unsafe { filled_by(batch * resized.image(), fill) };
        Ok((CpuStorage::F32(out), Shape::from((batch, resized.height, resized.width, channels))))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { direction: self.direction.reversed(), factor: self.factor };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}
