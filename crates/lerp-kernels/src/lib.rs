//! The tensor operations of the benchmark's networks, on channels-last tensors (`[batch, height, width, channels]`).
//!
//! An operation has up to two implementations:
//!
//! * *fused* kernels: one custom candle operation with its own backward pass, implemented for a device ([`cpu`],
//!   `cuda`) where that is faster;
//! * the *composed* implementation ([`composed`]): a composition of candle's own operations, differentiated by candle,
//!   correct on every device and in `f64`. It is the test oracle of the fused kernels, and finite differences in `f64`
//!   are the oracle of both.
//!
//! | operations | functions |
//! |---|---|
//! | convolutions, leaky ReLU, resizing | [`chain`], [`conv2d`], [`downscale2`], [`upscale2`], [`leaky_relu`] |
//! | dense layers and losses | [`dense`], [`mean_squared_error`], [`mean_cross_entropy`] |
//! | vector quantisation | [`nearest`], [`CodebookAverages`] |
//! | training | [`gradients`], [`adam_steps`], [`average_steps`] |
//! | training steps as CUDA graphs | [`CapturedGraph`], [`Clock`], [`generator`] |
//!
//! The functions of this module run the fused kernels if there are any for the tensor's device and type, and the
//! composed implementation otherwise. Both give correct gradients when an input is used more than once.
//! [`with_implementation`] overrides the choice. [`gradients`] differentiates a loss that contains either.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use lerp_kernels::{Activation, Implementation, conv2d, gradients, with_implementation};
//!
//! // Two images of 8x8 pixels with 3 channels, and a convolution with 3x3 kernels and 16 output channels.
//! let x = Tensor::ones((2, 8, 8, 3), DType::F32, &Device::Cpu)?;
//! let weight = Var::from_tensor(&Tensor::full(0.1_f32, (3, 3, 3, 16), &Device::Cpu)?)?;
//! let bias = Var::zeros(16, DType::F32, &Device::Cpu)?;
//!
//! let y = conv2d(&x, &weight, &bias, Activation::LEAKY)?;
//! assert_eq!(y.dims(), [2, 8, 8, 16]);
//!
//! // Fused operations are differentiated by `gradients`, not by `Tensor::backward`.
//! let gradient_of_weight = gradients(&y.sqr()?.mean_all()?)?.get(&weight).cloned();
//! assert_eq!(gradient_of_weight.expect("the loss depends on the weight").dims(), [3, 3, 3, 16]);
//!
//! // The composed implementation gives the same values up to rounding.
//! let composed = with_implementation(Implementation::Composed, || conv2d(&x, &weight, &bias, Activation::LEAKY))?;
//! let largest_difference = (y - composed)?.abs()?.max_all()?.to_scalar::<f32>()?;
//! assert!(largest_difference < 1e-5);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! This is the only crate of the workspace that may contain `unsafe` code.

mod average;
mod codebook;
pub mod composed;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
mod no_cuda;
mod notice;
mod optim;
mod tape;

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

pub use average::{AveragedWeight, average_steps};
pub use codebook::{CodebookAverages, CodebookRestart, CodebookUpdate};
#[cfg(feature = "cuda")]
pub use cuda::{CapturedGraph, Clock, generator, prepare_capture, release_device};
#[cfg(not(feature = "cuda"))]
pub use no_cuda::{CapturedGraph, Clock, generator, prepare_capture, release_device};
pub use notice::{notice, noticed, on_notice};
pub use optim::{Adam, Moments, UpdateNumber, adam_steps};
pub use tape::gradients;

/// The activation function after a convolution's sum and bias. candle-nn's `Activation` has no identity, and has many
/// functions that [`chain`] does not support.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// The identity.
    Linear,
    /// `max(x, slope·x)`, with a slope in [0, 1): 0.2 in the paper.
    LeakyRelu(f32),
}

impl Activation {
    /// Leaky ReLU with the paper's slope, 0.2.
    pub const LEAKY: Self = Self::LeakyRelu(0.2);
}

/// The choice between the two implementations of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implementation {
    /// The fused kernels if the device has them, otherwise the composed implementation.
    Fused,
    /// Always the composed implementation.
    Composed,
}

thread_local! {
    static IMPLEMENTATION: Cell<Implementation> = const { Cell::new(Implementation::Fused) };
}

/// The choice that was made before; dropping this restores it, also if the closure panics.
struct Restore(Implementation);

impl Drop for Restore {
    fn drop(&mut self) {
        IMPLEMENTATION.set(self.0);
    }
}

/// Runs `f` with the given implementation of operations on this thread. The backward pass of an operation uses the
/// implementation that its forward pass used.
pub fn with_implementation<T>(implementation: Implementation, f: impl FnOnce() -> T) -> T {
    let _restore = Restore(IMPLEMENTATION.replace(implementation));
    f()
}

/// The direction of a resizing by two; each is the backward pass of the other, up to a factor.
#[derive(Debug, Clone, Copy)]
enum Direction {
    /// Nearest-neighbour upscaling.
    Up,
    /// Sums over 2x2 blocks.
    Down,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }

    /// The name of the operation.
    fn name(self) -> &'static str {
        match self {
            Self::Up => "upscale2",
            Self::Down => "downscale2",
        }
    }
}

/// The implementation that an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Composed,
    Cpu,
    #[cfg(feature = "cuda")]
    Cuda,
}

/// Returns the implementation for a tensor's device, its type, and the choice made by [`with_implementation`].
fn backend(x: &Tensor) -> Backend {
    match x.device() {
        _ if IMPLEMENTATION.get() == Implementation::Composed || x.dtype() != DType::F32 => Backend::Composed,
        Device::Cpu => Backend::Cpu,
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Backend::Cuda,
        _ => Backend::Composed,
    }
}

/// What a forward pass is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// The output alone.
    Inference,
    /// The output, and a backward pass afterwards.
    Training,
}

/// The gradients that the backward pass of a [`chain`] must compute.
#[derive(Debug, Clone, Copy)]
struct RequiredGradients<'a> {
    /// Whether the gradient of the chain's input is required.
    input: bool,
    /// Whether the gradients of the parameters are required, for each convolution.
    params: &'a [bool],
}

/// A convolution of a [`chain`], with its activation and the resizing before and after it.
#[derive(Debug, Clone)]
pub struct Link {
    /// Kernels, `[k, k, in, out]` with odd `k`.
    pub weight: Tensor,
    /// Bias, `[out]`.
    pub bias: Tensor,
    /// The activation after sum and bias.
    pub activation: Activation,
    /// Whether the input is first upscaled by two ([`upscale2`]).
    pub upscale: bool,
    /// Whether the result is averaged over 2x2 blocks afterwards ([`downscale2`]).
    pub downscale: bool,
}

/// A sequence of convolutions, each with stride 1, zero padding that keeps the size ("same"), bias and activation.
///
/// # Shapes
/// `x` `[batch, height, width, in]`; result `[batch, height', width', out]`, with the last link's `out` and the sides
/// after all upscaling and downscaling.
///
/// # Errors
/// If the shapes do not fit together or are empty, a side to be halved is odd, a slope is not in [0, 1), or `links` is
/// empty.
pub fn chain(x: &Tensor, links: &[Link]) -> Result<Tensor> {
    check_chain(x, links)?;
    match backend(x) {
        Backend::Composed => composed::chain(x, links),
        Backend::Cpu => cpu::chain(x, links),
        // The CUDA kernels cannot downscale and then upscale between two convolutions, so the chain is split there.
        #[cfg(feature = "cuda")]
        Backend::Cuda => links
            .chunk_by(|before, after| !(before.downscale && after.upscale))
            .try_fold(x.clone(), |x, links| cuda::chain(&x, links)),
    }
}

/// One convolution with stride 1 and "same" padding: a [`chain`] of a single link.
///
/// # Shapes
/// `x` `[batch, height, width, in]`, `weight` `[k, k, in, out]` with odd `k`, `bias` `[out]`; result
/// `[batch, height, width, out]`.
///
/// # Errors
/// The same as of [`chain`].
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let (weight, bias) = (weight.clone(), bias.clone());
    chain(x, &[Link { weight, bias, activation, upscale: false, downscale: false }])
}

/// Downscaling by two: the mean over 2x2 blocks.
///
/// # Shapes
/// `[batch, height, width, channels]` with even sides to `[batch, height / 2, width / 2, channels]`.
///
/// # Errors
/// If a side is odd or `x` is empty.
pub fn downscale2(x: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    if h % 2 != 0 || w % 2 != 0 || x.elem_count() == 0 {
        candle_core::bail!("downscale2: {:?} is empty or has an odd side", x.dims());
    }
    match backend(x) {
        Backend::Composed => composed::downscale2(x),
        Backend::Cpu => cpu::downscale2(x),
        #[cfg(feature = "cuda")]
        Backend::Cuda => cuda::downscale2(x),
    }
}

/// Nearest-neighbour upscaling by two.
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, 2·height, 2·width, channels]`.
///
/// # Errors
/// If `x` is empty.
pub fn upscale2(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        candle_core::bail!("upscale2: {:?} is empty", x.dims());
    }
    match backend(x) {
        Backend::Composed => composed::upscale2(x),
        Backend::Cpu => cpu::upscale2(x),
        #[cfg(feature = "cuda")]
        Backend::Cuda => cuda::upscale2(x),
    }
}

/// A dense layer: `x·weight + bias`.
///
/// # Shapes
/// `x` `[batch, in]`, `weight` `[in, out]`, `bias` `[out]`; result `[batch, out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    match backend(x) {
        #[cfg(feature = "cuda")]
        Backend::Cuda => cuda::dense(x, weight, bias),
        Backend::Cpu => cpu::dense(x, weight, bias),
        Backend::Composed => composed::dense(x, weight, bias),
    }
}

/// The squared difference of two tensors, averaged over all elements.
///
/// # Shapes
/// Two tensors of the same shape; result `[]`.
///
/// # Errors
/// If the shapes differ.
pub fn mean_squared_error(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match backend(a) {
        #[cfg(feature = "cuda")]
        Backend::Cuda if a.dims() == b.dims() && a.elem_count() > 0 => cuda::mean_squared_error(a, b),
        _ => candle_nn::loss::mse(a, b),
    }
}

/// Softmax cross entropy, in nats, averaged over the batch.
///
/// # Shapes
/// `logits` `[batch, classes]`, `labels` `[batch]`, `u32` below `classes`; result `[]`.
///
/// # Errors
/// If the shapes do not fit or are empty.
pub fn mean_cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (batch, _) = logits.dims2()?;
    if labels.dims() != [batch] || logits.elem_count() == 0 {
        candle_core::bail!(
            "cross entropy: logits {:?} and labels {:?} do not fit or are empty",
            logits.dims(),
            labels.dims()
        );
    }
    match backend(logits) {
        #[cfg(feature = "cuda")]
        Backend::Cuda => cuda::mean_cross_entropy(logits, labels),
        _ => composed::mean_cross_entropy(logits, labels),
    }
}

/// The size of an image of a line.
#[derive(Debug, Clone, Copy)]
pub struct LineImage {
    /// Height of the image, pixels.
    pub height: usize,
    /// Width of the image, pixels.
    pub width: usize,
    /// Width of the line, pixels.
    pub line_width: f64,
}

/// Draws lines on the tensor's device, from the image's centre at the angles `2π·turn`, with pixel values in [-1, 1].
/// Returns `None` if the device has no kernel for it.
///
/// # Shapes
/// `turns` `[n]`, `f64`; result `[n, height, width, 1]`, `f32`.
///
/// # Errors
/// If the launch fails.
pub fn draw_lines(turns: &Tensor, image: LineImage) -> Result<Option<Tensor>> {
    match turns.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => cuda::draw_lines(turns, image).map(Some),
        _ => {
            let _ = image;
            Ok(None)
        }
    }
}

/// Returns the classes of lines at the angles `2π·turn`: the number of the tenth of the circle that the angle lies in,
/// from 0 and at most `classes - 1`. Returns `None` if the tensor's device has no kernel for it.
///
/// # Shapes
/// `turns` `[n]`, `f64`; result `[n]`, `u32`.
///
/// # Errors
/// If the launch fails.
pub fn line_labels(turns: &Tensor, classes: u32) -> Result<Option<Tensor>> {
    match turns.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => cuda::line_labels(turns, classes).map(Some),
        _ => {
            let _ = classes;
            Ok(None)
        }
    }
}

/// The index of the row of `table` that is nearest to each vector by squared distance; of equally near rows, the first.
/// No gradient passes through it.
///
/// # Shapes
/// `x` `[n, d]`, `table` `[k, d]`; result `[n]`, `u32`.
///
/// # Errors
/// If the shapes do not fit together, or the table is empty.
pub fn nearest(x: &Tensor, table: &Tensor) -> Result<Tensor> {
    let ((_, depth), (rows, row_length)) = (x.dims2()?, table.dims2()?);
    if depth != row_length || rows == 0 || x.elem_count() == 0 {
        candle_core::bail!(
            "nearest: vectors {:?} and table {:?} do not fit or are empty",
            x.dims(),
            table.dims()
        );
    }
    let (x, table) = (x.detach(), table.detach());
    if backend(&x) == Backend::Cpu { cpu::nearest(&x, &table) } else { composed::nearest(&x, &table) }
}

/// Leaky ReLU: `max(x, slope·x)` for a slope in [0, 1).
///
/// # Shapes
/// `x` of any shape; the result has the same shape.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    composed::leaky_relu(x, slope)
}

/// Keeps candle from starting a thread pool of its own, whose idle threads spin and so compete for cores with rayon's
/// global pool. It must be called at the start of a program: it does nothing if the process already has a second
/// thread, because changing the environment is then unsafe, or if the number of threads cannot be determined. A value
/// of `CANDLE_NUM_THREADS` in the environment takes precedence.
pub fn disable_candle_thread_pool() {
    const NAME: &str = "CANDLE_NUM_THREADS";
    // The folder has one entry for each thread.
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && std::env::var_os(NAME).is_none() {
        // SAFETY: this is the process's only thread, so no other thread reads the environment at the same time.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(NAME, "1");
        }
    }
}

fn check_chain(x: &Tensor, links: &[Link]) -> Result<()> {
    let (_, mut height, mut width, mut channels) = x.dims4()?;
    if links.is_empty() || x.elem_count() == 0 {
        candle_core::bail!(
            "chain: {} links over an input {:?}; there must be a link, and the input must not be empty",
            links.len(),
            x.dims()
        );
    }
    for Link { weight, bias, activation, upscale, downscale } in links {
        let (kh, kw, cin, cout) = weight.dims4()?;
        if kh != kw || kh % 2 == 0 || cin != channels || bias.dims() != [cout] {
            candle_core::bail!(
                "convolution: {channels} channels, weight {:?} and bias {:?} do not fit together; the weight must \
                 be [k, k, in, out] with odd k, and the bias [out]",
                weight.dims(),
                bias.dims()
            );
        }
        if weight.elem_count() == 0 {
            candle_core::bail!("convolution: weight {:?} must not be empty", weight.dims());
        }
        if let Activation::LeakyRelu(slope) = activation
            && !(0.0..1.0).contains(slope)
        {
            candle_core::bail!("convolution: the slope of a leaky ReLU must lie in [0, 1), not {slope}");
        }
        if *upscale {
            (height, width) = (2 * height, 2 * width);
        }
        if *downscale {
            if height % 2 != 0 || width % 2 != 0 {
                candle_core::bail!("convolution: a side of {height}x{width} is odd and cannot be halved");
            }
            (height, width) = (height / 2, width / 2);
        }
        channels = cout;
    }
    Ok(())
}
