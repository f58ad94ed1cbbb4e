//! A chain of convolutions as one candle operation.
//!
//! In the forward pass, each convolution is one call of cuDNN and one kernel after it, for bias, leaky ReLU, and the
//! 2x2 mean or the upscaling that the next convolution needs. In the backward pass, one kernel takes the gradient back
//! through these operations and sums it for the bias, and cuDNN computes the gradients of input and kernels.
//! Convolutions with 1x1 kernels are matrix products.

use std::{
    rc::Rc,
    sync::{Mutex, PoisonError},
};

use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor,
    cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr},
};

use super::{
    address, blocks,
    conv::{self, Plan},
    count, launch, memory, resize, tensor,
};
use crate::{
    Activation, Link, Purpose, RequiredGradients,
    tape::{self, is_computed},
};

/// The resizing between one convolution and the next, with the constants of `kernels.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing = 0,
    Mean = 1,
    Upscaled = 2,
}

/// One convolution of a chain; `height` and `width` are those of its own input and output, after upscaling and before
/// averaging.
#[derive(Debug, Clone, Copy)]
struct Step {
    height: usize,
    width: usize,
    cin: usize,
    cout: usize,
    k: usize,
    slope: f32,
    after: Between,
}

/// The CUDA kernels of [`crate::chain`]. No link may downscale if the next one upscales.
///
/// # Shapes
/// `x` `[batch, height, width, channels]`; result as of [`crate::chain`].
pub(crate) fn chain(x: &Tensor, links: &[Link]) -> Result<Tensor> {
    if links.iter().any(|link| is_computed(&link.weight) || is_computed(&link.bias)) {
        return crate::composed::chain(x, links);
    }
    let (batch, mut height, mut width, mut cin) = x.dims4()?;
    let mut steps = Vec::with_capacity(links.len());
    for (i, link) in links.iter().enumerate() {
        let (k, _, _, cout) = link.weight.dims4()?;
        if link.upscale {
            (height, width) = (2 * height, 2 * width);
        }
        let slope = match link.activation {
            Activation::Linear => 1.0,
            Activation::LeakyRelu(slope) => slope,
        };
        let after = match (link.downscale, links.get(i + 1)) {
            (true, _) => Between::Mean,
            (false, Some(next)) if next.upscale => Between::Upscaled,
            _ => Between::Nothing,
        };
        steps.push(Step { height, width, cin, cout, k, slope, after });
        count(batch * height * width * cin.max(cout) * if after == Between::Upscaled { 4 } else { 1 })?;
        if link.downscale {
            (height, width) = (height / 2, width / 2);
        }
        cin = cout;
    }
    // Algorithms are chosen before anything runs, so that a convolution which cuDNN does not support is found here.
    let device = x.device().as_cuda_device()?;
    let training = x.track_op() || links.iter().any(|link| link.weight.track_op() || link.bias.track_op());
    let purpose = if training { Purpose::Training } else { Purpose::Inference };
    for step in steps.iter().filter(|step| step.k > 1) {
        if let Err(error) = plan(device, batch, step).and_then(|plan| plan.choose(purpose)) {
            crate::notice(&format!(
                "{error}; such convolutions are computed by candle's own operations, which are slower"
            ));
            return crate::composed::chain(x, links);
        }
    }
    let params = links.iter().map(|link| [link.weight.clone(), link.bias.clone()]).collect();
    run(&x.contiguous()?, Layers { batch, steps, upscale_first: links[0].upscale }, params, None)
}

/// The CUDA kernels of [`crate::dense`]: a 1x1 convolution over images of one pixel.
///
/// # Shapes
/// `x` `[batch, in]`, `weight` `[in, out]`, `bias` `[out]`; result `[batch, out]`.
pub(crate) fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if is_computed(weight) || is_computed(bias) {
        return crate::composed::dense(x, weight, bias);
    }
    let ((batch, cin), (inputs, cout)) = (x.dims2()?, weight.dims2()?);
    if cin != inputs || bias.dims() != [cout] || batch * cin * cout == 0 {
        candle_core::bail!(
            "dense: input {:?}, weight {:?} and bias {:?} do not fit or are empty",
            x.dims(),
            weight.dims(),
            bias.dims()
        );
    }
    count(batch * cin.max(cout))?;
    let step = Step { height: 1, width: 1, cin, cout, k: 1, slope: 1.0, after: Between::Nothing };
    let params = vec![[weight.clone(), bias.clone()]];
    let layers = Layers { batch, steps: vec![step], upscale_first: false };
    run(&x.contiguous()?, layers, params, Some(Shape::from((batch, cout))))
}

/// Returns cuDNN's plan for a step.
fn plan(device: &CudaDevice, batch: usize, step: &Step) -> Result<Rc<Plan>> {
    let Step { height, width, cin, cout, k, .. } = *step;
    conv::plan(device, conv::Shape { batch, height, width, cin, cout, k })
}

/// The sizes of a chain of convolutions.
struct Layers {
    batch: usize,
    steps: Vec<Step>,
    /// Whether the first convolution upscales its input.
    upscale_first: bool,
}

/// Runs a chain of convolutions on contiguous `x`. The result has the shape `flat`, if given.
fn run(x: &Tensor, layers: Layers, params: Vec<[Tensor; 2]>, flat: Option<Shape>) -> Result<Tensor> {
    let trained: Vec<_> = params.iter().map(|pair| pair.iter().any(Tensor::track_op)).collect();
    let training = x.track_op() || trained.contains(&true);
    let purpose = if training { Purpose::Training } else { Purpose::Inference };
    let convolutions = Convolutions::new(x, layers, &params)?;
    let (out, shape, saved) = convolutions.forward(&x.detach(), purpose)?;
    let shape = flat.unwrap_or(shape);
    if purpose == Purpose::Inference {
        return Ok(tensor(&convolutions.device, out, shape));
    }
    // candle calls an operation's backward pass if one of its two arguments is trained, so the first trained parameter
    // represents all of them. The gradients of all parameters are put onto the tape, not returned.
    let hook = params.iter().flatten().find(|p| p.track_op()).cloned().unwrap_or_else(|| x.detach());
    x.apply_op2(&hook, Chain { convolutions, params, trained, saved, out: Mutex::new(Some((out, shape))) })
}

/// The values that the backward pass needs: of each convolution its input, and its activated output before resizing,
/// which is `None` where that is the chain's own result.
type Saved = Vec<(Tensor, Option<Tensor>)>;

/// The gradients of each link's weight and bias, `None` where they are not required.
type LinkGradients = Vec<Option<[Tensor; 2]>>;

/// A chain's result and its gradient.
#[derive(Clone, Copy)]
struct ChainOutput<'a> {
    values: &'a Tensor,
    grad: &'a Tensor,
}

/// The steps and parameters of a chain.
struct Convolutions {
    device: CudaDevice,
    batch: usize,
    steps: Vec<Step>,
    params: Vec<[Tensor; 2]>,
    /// Kernels in cuDNN's layout, `[out, k, k, in]`; 1x1 kernels unchanged.
    kernels: Vec<Tensor>,
    /// Whether the first convolution upscales its input.
    upscale_first: bool,
}

impl Convolutions {
    fn new(x: &Tensor, layers: Layers, params: &[[Tensor; 2]]) -> Result<Self> {
        let Layers { batch, steps, upscale_first } = layers;
        let device = x.device().as_cuda_device()?.clone();
        let constant =
            |[weight, bias]: &[Tensor; 2]| Ok([weight.detach().contiguous()?, bias.detach().contiguous()?]);
        let params = params.iter().map(constant).collect::<Result<Vec<_>>>()?;
        let wide = |step: &Step| step.k > 1;
        let matrices: Vec<_> = steps
            .iter()
            .zip(&params)
            .filter(|(step, _)| wide(step))
            .map(|(s, [w, _])| Matrix { values: w.clone(), rows: s.k * s.k * s.cin, cols: s.cout })
            .collect();
        let mut transposed = transpose_all(&device, &matrices)?.into_iter();
        let kernels = steps.iter().zip(&params).map(|(step, [w, _])| {
            let transposed = if wide(step) { transposed.next() } else { None };
            transposed.unwrap_or_else(|| w.clone())
        });
        let kernels = kernels.collect();
        Ok(Self { device, batch, steps, params, kernels, upscale_first })
    }

    fn pixels(&self, step: &Step) -> usize {
        self.batch * step.height * step.width
    }

    /// Runs the forward pass. Returns the result's values and shape, and the values that the backward pass needs; these
    /// are empty for [`Purpose::Inference`].
    fn forward(&self, x: &Tensor, purpose: Purpose) -> Result<(CudaSlice<f32>, Shape, Saved)> {
        let mut x = if self.upscale_first { resize::upscale(x, 1.0)? } else { x.clone() };
        let mut saved = Saved::new();
        for (i, step) in self.steps.iter().enumerate() {
            let [weight, bias] = &self.params[i];
            let y = if step.k == 1 {
                let rows = x.reshape((self.pixels(step), step.cin))?;
                let y = rows.matmul(&weight.reshape((step.cin, step.cout))?)?;
                y.reshape((self.batch, step.height, step.width, step.cout))?
            } else {
                plan(&self.device, self.batch, step)?.forward(&x, &self.kernels[i])?
            };
            let last = i + 1 == self.steps.len();
            let next = self.activate(step, &y, bias, last)?;
            // The output is not kept if the chain's own result has the same values.
            let kept = (!last || step.after != Between::Nothing).then(|| y.clone());
            if purpose == Purpose::Training {
                saved.push((x, kept));
            }
            match next {
                Some((out, shape)) if last => return Ok((out, shape, saved)),
                Some((out, shape)) => x = tensor(&self.device, out, shape),
                None => x = y,
            }
        }
        candle_core::bail!("a chain of no convolutions")
    }

    /// Applies bias, leaky ReLU and resizing to a convolution's output `y`, and returns the result. Without resizing
    /// the result overwrites `y` and `None` is returned, unless `separate` asks for separate memory.
    fn activate(
        &self,
        step: &Step,
        y: &Tensor,
        bias: &Tensor,
        separate: bool,
    ) -> Result<Option<(CudaSlice<f32>, Shape)>> {
        let (from, bias) = (address::<f32>(y)?, address::<f32>(bias)?);
        let n = y.elem_count();
        let (height, width, channels) = match step.after {
            Between::Nothing => (step.height, step.width, step.cout),
            Between::Mean => (step.height / 2, step.width / 2, step.cout),
            Between::Upscaled => (2 * step.height, 2 * step.width, step.cout),
        };
        let shape = Shape::from((self.batch, height, width, channels));
        let new = separate || step.after != Between::Nothing;
        let new = new.then(|| memory::<f32>(&self.device, shape.elem_count())).transpose()?;
        let to = new.as_ref().map_or(from, |(_, to)| *to);
        let (device, channels, width, slope) = (&self.device, channels as u32, step.width as u32, step.slope);
        // SAFETY: y has `n` values and bias one for each channel; the result's memory has its shape's size, and sides
        // to be halved are even, as `crate::chain` has checked.
        unsafe {
            match step.after {
                Between::Nothing => {
                    launch!(device, "bias_leaky", [blocks(n), 1], from, bias, to, n as u32, channels, slope);
                }
                Between::Mean => {
                    let (n, grid) = ((n / 4) as u32, blocks(n / 4));
                    launch!(device, "bias_leaky_down", [grid, 1], from, bias, to, n, channels, width, slope);
                }
                Between::Upscaled => {
                    let grid = blocks(n);
                    launch!(
                        device,
                        "bias_leaky_up",
                        [grid, 1],
                        from,
                        bias,
                        to,
                        n as u32,
                        channels,
                        width,
                        slope
                    );
                }
            }
        }
        Ok(new.map(|(out, _)| (out, shape)))
    }

    /// Runs the backward pass. Returns the gradient of the input and those of each link's weight and bias, as far as
    /// they are required. Their values are in the right order, but shapes may differ.
    fn backward(
        &self,
        saved: &Saved,
        output: ChainOutput,
        required: RequiredGradients,
    ) -> Result<(Option<Tensor>, LinkGradients)> {
        let mut grad = Some(output.grad.contiguous()?);
        let mut weights: Vec<Option<Tensor>> = vec![None; self.steps.len()];
        let mut biases = weights.clone();
        // Kernel gradients in cuDNN's layout, and partial sums of bias gradients, each with the number of its link.
        let (mut transposed, mut sums) = (Vec::new(), Vec::new());
        for (i, (step, (x, y))) in self.steps.iter().zip(saved).enumerate().rev() {
            let Some(above) = grad.take() else { break };
            let y = y.as_ref().unwrap_or(output.values);
            let (gated, partial) = self.gate(step, &above, y, required.params[i])?;
            if let Some(partial) = partial {
                let rows = partial.dim(0)?;
                sums.push((i, Matrix { values: partial, rows, cols: step.cout }));
            }
            // The gradient of this link's input is needed for the chain's input or for an earlier link.
            let continues = required.input || required.params[..i].contains(&true);
            if step.k == 1 {
                let rows = gated.reshape((self.pixels(step), step.cout))?;
                if required.params[i] {
                    let x = x.reshape((self.pixels(step), step.cin))?;
                    weights[i] = Some(x.t()?.matmul(&rows)?);
                }
                if continues {
                    let weight = self.params[i][0].reshape((step.cin, step.cout))?;
                    grad = Some(rows.matmul(&weight.t()?)?);
                }
            } else {
                let plan = plan(&self.device, self.batch, step)?;
                if required.params[i] {
                    let values = plan.backward_filter(x, &gated)?;
                    let cols = step.k * step.k * step.cin;
                    transposed.push((i, Matrix { values, rows: step.cout, cols }));
                }
                if continues {
                    grad = Some(plan.backward_data(&gated, &self.kernels[i])?);
                }
            }
        }
        let (links, matrices): (Vec<usize>, Vec<Matrix>) = transposed.into_iter().unzip();
        for (i, weight) in links.into_iter().zip(transpose_all(&self.device, &matrices)?) {
            weights[i] = Some(weight);
        }
        let (links, matrices): (Vec<usize>, Vec<Matrix>) = sums.into_iter().unzip();
        for (i, sum) in links.into_iter().zip(sum_all(&self.device, &matrices)?) {
            biases[i] = Some(sum);
        }
        let params = weights.into_iter().zip(biases).map(|(w, b)| w.zip(b).map(|(w, b)| [w, b])).collect();
        let dx = match grad.filter(|_| required.input) {
            Some(grad) if self.upscale_first => {
                let Step { height, width, cin, .. } = self.steps[0];
                Some(resize::downscale(&grad.reshape((self.batch, height, width, cin))?, 1.0)?)
            }
            grad => grad,
        };
        Ok((dx, params))
    }

    /// Takes the gradient `above` of a convolution's resized output back through resizing and activation. Returns it
    /// and, if `sums` is set, partial sums of it over pixels, for the bias.
    ///
    /// # Shapes
    /// `above` has the shape after resizing; the results have the shape of `y`, and `[parts, channels]`.
    fn gate(&self, step: &Step, above: &Tensor, y: &Tensor, sums: bool) -> Result<(Tensor, Option<Tensor>)> {
        let pixels = self.pixels(step);
        // A block processes about 4096 values, and there are at most 256 parts, so that adding them stays cheap.
        let parts = (pixels * step.cout).div_ceil(4096).clamp(1, 256).min(pixels);
        let share = pixels.div_ceil(parts);
        let parts = pixels.div_ceil(share);
        let (out, to) = memory::<f32>(&self.device, y.elem_count())?;
        let partial = sums.then(|| memory::<f32>(&self.device, parts * step.cout)).transpose()?;
        let at = partial.as_ref().map_or(0, |(_, at)| *at);
        let (grad, from) = (address::<f32>(above)?, address::<f32>(y)?);
        let sizes = [pixels, share, step.cout, step.width].map(|v| v as u32);
        // SAFETY: `above` has y's shape after resizing; every block writes a row of `partial`, if there is one.
        unsafe {
            launch!(
                &self.device,
                "gate",
                [parts as u32, 1],
                grad,
                from,
                to,
                at,
                sizes[0],
                sizes[1],
                sizes[2],
                sizes[3],
                step.after as u32,
                step.slope
            );
        }
        let partial = partial.map(|(slice, _)| tensor(&self.device, slice, (parts, step.cout)));
        Ok((tensor(&self.device, out, y.shape()), partial))
    }
}

/// A matrix, as a tensor of any shape whose values are in the order of rows.
struct Matrix {
    values: Tensor,
    rows: usize,
    cols: usize,
}

/// A table of matrices: the kernels' argument. It has as many entries as the arguments of a launch can hold.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Matrices {
    from: [u64; ENTRIES],
    to: [u64; ENTRIES],
    rows: [u32; ENTRIES],
    cols: [u32; ENTRIES],
}

/// The number of entries of a table, the same as in `kernels.cu`.
pub(super) const ENTRIES: usize = 24;

// SAFETY: the struct consists of plain numbers and has the layout of the kernels' struct.
unsafe impl DeviceRepr for Matrices {}

/// Transposes matrices.
fn transpose_all(device: &CudaDevice, matrices: &[Matrix]) -> Result<Vec<Tensor>> {
    by_table(
        device,
        matrices,
        |rows, cols| vec![cols, rows],
        |table, n, largest| {
            let tiles = largest.div_ceil(1024).clamp(1, 64) as u32;
            // SAFETY: the table has the addresses of `n` matrices, and of memory of the same sizes.
            unsafe { launch!(device, "transpose", [tiles, n], table) }
            Ok(())
        },
    )
}

/// Sums over the rows of matrices.
fn sum_all(device: &CudaDevice, matrices: &[Matrix]) -> Result<Vec<Tensor>> {
    let widest = matrices.iter().map(|matrix| matrix.cols).max().unwrap_or(0).div_ceil(32);
    by_table(
        device,
        matrices,
        |_, cols| vec![cols],
        |table, n, _| {
            // SAFETY: the table has the addresses of `n` matrices, and of memory for as many values as they have
            // columns.
            unsafe { launch!(device, "sum_rows", [widest as u32, n], table) }
            Ok(())
        },
    )
}

/// Calls `run` with tables of matrices, the number of entries and the elements of the largest matrix. Returns the
/// results, whose shapes `shape` computes from rows and columns.
fn by_table(
    device: &CudaDevice,
    matrices: &[Matrix],
    shape: impl Fn(usize, usize) -> Vec<usize>,
    run: impl Fn(Matrices, u32, usize) -> Result<()>,
) -> Result<Vec<Tensor>> {
    let mut results = Vec::with_capacity(matrices.len());
    for part in matrices.chunks(ENTRIES) {
        let mut table = Matrices::default();
        let mut largest = 0;
        for (i, Matrix { values, rows, cols }) in part.iter().enumerate() {
            let shape = shape(*rows, *cols);
            let (out, to) = memory::<f32>(device, shape.iter().product())?;
            table.from[i] = address::<f32>(values)?;
            table.to[i] = to;
            (table.rows[i], table.cols[i]) = (*rows as u32, *cols as u32);
            largest = largest.max(rows * cols);
            results.push(tensor(device, out, shape));
        }
        run(table, part.len() as u32, largest)?;
    }
    Ok(results)
}

/// A chain of convolutions as a candle operation.
struct Chain {
    convolutions: Convolutions,
    /// Weights and biases as they were given.
    params: Vec<[Tensor; 2]>,
    /// Whether a parameter of each link is trained.
    trained: Vec<bool>,
    saved: Saved,
    /// The result, computed beforehand, until candle takes it.
    out: Mutex<Option<(CudaSlice<f32>, Shape)>>,
}

impl CustomOp2 for Chain {
    fn name(&self) -> &'static str {
        "conv2d-chain"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("this chain of convolutions is for CUDA")
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        // A poisoned lock is no problem, because the value is never partially written.
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((out, shape)) = out else {
            candle_core::bail!(
                "the result of a chain of convolutions was taken before; its forward pass runs only once"
            )
        };
        Ok((CudaStorage::wrap_cuda_slice(out, self.convolutions.device.clone()), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _hook: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let required = RequiredGradients { input: x.track_op(), params: &self.trained };
        let (dx, gradients) =
            self.convolutions.backward(&self.saved, ChainOutput { values: y, grad }, required)?;
        for (params, gradients) in self.params.iter().zip(gradients) {
            for (parameter, gradient) in params.iter().zip(gradients.into_iter().flatten()) {
                let gradient = gradient.reshape(parameter.shape())?;
                if parameter.track_op() {
                    tape::put(parameter, gradient)?;
                }
            }
        }
        let dx = dx.map(|dx| dx.reshape(x.shape())).transpose()?;
        Ok((dx, None))
    }
}
