//! The tensor operations of the benchmark, channels last, each in two forms.
//!
//! * *fused*: one custom operation with its own gradient, in a folder per device ([`cpu`], `cuda`), where it pays;
//! * *composed* ([`composed`]): candle's own operations, differentiated by candle, right on every device and in `f64`.
//!   It is the fused form's test oracle, and finite differences in `f64` are the oracle of both.
//!
//! The functions of this module take the fused form where there is one for the tensor's device and type, and the
//! composed form elsewhere. Both are correct when an input is used more than once. [`with_form`] overrides the choice.
//! [`gradients`] differentiates a loss made of either.
//!
//! This is the only crate in which `unsafe` may stand.

mod average;
mod codebook;
pub mod composed;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(not(feature = "cuda"))]
mod none;
mod notice;
mod optim;
mod tape;

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

pub use average::average_steps;
pub use codebook::{Codebook, follow, restart};
#[cfg(feature = "cuda")]
pub use cuda::{Clock, Recording, generator, preparing, release};
#[cfg(not(feature = "cuda"))]
pub use none::{Clock, Recording, generator, preparing, release};
pub use notice::{notice, noticed, on_notice};
pub use optim::{Adam, At, Moments, adam_step, adam_steps};
pub use tape::gradients;

/// What follows a convolution's sum. candle-nn's `Activation` has no identity, and many that no chain takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// `max(x, slope·x)`, with a slope in [0, 1): 0.2 in the paper.
    LeakyRelu(f32),
}

impl Activation {
    /// Leaky ReLU with the slope of the paper, 0.2.
    pub const LEAKY: Self = Self::LeakyRelu(0.2);
}

/// Which form of an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The fused form where the device has one.
    Fused,
    /// Always the composed form.
    Composed,
}

thread_local! {
    static FORM: Cell<Form> = const { Cell::new(Form::Fused) };
}

/// The form before, brought back also if `f` panics.
struct Restore(Form);

impl Drop for Restore {
    fn drop(&mut self) {
        FORM.set(self.0);
    }
}

/// Runs `f` with the given form on this thread; an operation's backward pass takes the form of its forward pass.
pub fn with_form<T>(form: Form, f: impl FnOnce() -> T) -> T {
    let _restore = Restore(FORM.replace(form));
    f()
}

/// Which form of an operation runs, by its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Composed,
    Cpu,
    #[cfg(feature = "cuda")]
    Cuda,
}

fn place(x: &Tensor) -> Place {
    match x.device() {
        _ if FORM.get() == Form::Composed || x.dtype() != DType::F32 => Place::Composed,
        Device::Cpu => Place::Cpu,
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Place::Cuda,
        _ => Place::Composed,
    }
}

/// A convolution with what stands before and after it.
#[derive(Debug, Clone)]
pub struct Link {
    /// Kernels, `[k, k, in, out]` with odd `k`.
    pub weight: Tensor,
    /// Bias, `[out]`.
    pub bias: Tensor,
    /// What follows the sum.
    pub activation: Activation,
    /// Whether the input is enlarged by two first ([`upscale2`]).
    pub upscale: bool,
    /// Whether the result is averaged over 2x2 blocks ([`downscale2`]).
    pub downscale: bool,
}

/// Convolutions one after the other, each with stride 1 and zero padding that keeps the size ("same"), bias and activation.
///
/// # Shapes
/// `x` `[batch, height, width, in]`; result `[batch, height, width, out]` with the last link's `out`, and sides as
/// upscaling and downscaling left them.
///
/// # Errors
/// If the shapes do not fit together or are empty, a side to be halved is odd, a slope is not in [0, 1), or there is no
/// link.
pub fn chain(x: &Tensor, links: &[Link]) -> Result<Tensor> {
    check_chain(x, links)?;
    match place(x) {
        Place::Composed => composed::chain(x, links),
        Place::Cpu => cpu::chain(x, links),
        // There a chain cannot average and then enlarge between two of its links, so it is cut in such places.
        #[cfg(feature = "cuda")]
        Place::Cuda => links
            .chunk_by(|before, after| !(before.downscale && after.upscale))
            .try_fold(x.clone(), |x, links| cuda::chain(&x, links)),
    }
}

/// One convolution: [`chain`] of a single link.
///
/// # Shapes
/// `x` `[batch, height, width, in]`, `weight` `[k, k, in, out]` with odd `k`, `bias` `[out]`; result
/// `[batch, height, width, out]`.
///
/// # Errors
/// As [`chain`].
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let (weight, bias) = (weight.clone(), bias.clone());
    chain(x, &[Link { weight, bias, activation, upscale: false, downscale: false }])
}

/// Mean over 2x2 blocks.
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
    match place(x) {
        Place::Composed => composed::downscale2(x),
        Place::Cpu => cpu::downscale2(x),
        #[cfg(feature = "cuda")]
        Place::Cuda => cuda::downscale2(x),
    }
}

/// Nearest-neighbour enlargement by two.
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
    match place(x) {
        Place::Composed => composed::upscale2(x),
        Place::Cpu => cpu::upscale2(x),
        #[cfg(feature = "cuda")]
        Place::Cuda => cuda::upscale2(x),
    }
}

/// `x·weight + bias`.
///
/// # Shapes
/// `x` `[batch, in]`, `weight` `[in, out]`, `bias` `[out]`; result `[batch, out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    match place(x) {
        #[cfg(feature = "cuda")]
        Place::Cuda => cuda::dense(x, weight, bias),
        Place::Cpu => cpu::dense(x, weight, bias),
        Place::Composed => composed::dense(x, weight, bias),
    }
}

/// Mean of the squared difference over all elements.
///
/// # Shapes
/// Two tensors of one shape to `[]`.
///
/// # Errors
/// If the shapes differ.
pub fn mean_squared_error(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match place(a) {
        #[cfg(feature = "cuda")]
        Place::Cuda if a.dims() == b.dims() && a.elem_count() > 0 => cuda::mean_squared_error(a, b),
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
    match place(logits) {
        #[cfg(feature = "cuda")]
        Place::Cuda => cuda::mean_cross_entropy(logits, labels),
        _ => composed::mean_cross_entropy(logits, labels),
    }
}

/// Lines drawn on the tensor's device, from the middle at the angles `2π·turn`, in [-1, 1]; none where that device has no
/// kernel for it.
///
/// # Shapes
/// `turns` `[n]`, `f64`; result `[n, height, width, 1]`.
///
/// # Errors
/// If the launch fails.
pub fn draw_lines(turns: &Tensor, height: usize, width: usize, thickness: f64) -> Result<Option<Tensor>> {
    match turns.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => cuda::draw_lines(turns, height, width, thickness).map(Some),
        _ => {
            let _ = (height, width, thickness);
            Ok(None)
        }
    }
}

/// Classes of lines at the angles `2π·turn`, equal parts of the circle; none where the tensor's device has no kernel for it.
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

/// The index of the row of `table` that is nearest to each vector by squared distance, the first of equally near ones. No
/// gradient passes.
///
/// # Shapes
/// `x` `[n, d]`, `table` `[k, d]`; result `[n]`, `u32`.
///
/// # Errors
/// If the shapes do not fit together, or the table is empty.
pub fn nearest(x: &Tensor, table: &Tensor) -> Result<Tensor> {
    let ((_, depth), (rows, wanted)) = (x.dims2()?, table.dims2()?);
    if depth != wanted || rows == 0 || x.elem_count() == 0 {
        candle_core::bail!(
            "nearest: vectors {:?} and table {:?} do not fit or are empty",
            x.dims(),
            table.dims()
        );
    }
    let (x, table) = (x.detach(), table.detach());
    if place(&x) == Place::Cpu { cpu::nearest(&x, &table) } else { composed::nearest(&x, &table) }
}

/// `max(x, slope·x)` for a slope in [0, 1).
///
/// # Shapes
/// Any; the result has the same.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    composed::leaky_relu(x, slope)
}

/// Keeps candle from starting a second pool of threads, whose waiting threads take the cores from ours by spinning. For
/// the start of a program: it does nothing once the process has a second thread, since changing the environment beside one
/// is not safe, or where that cannot be told. `CANDLE_NUM_THREADS` overrides it.
pub fn keep_to_one_pool() {
    const NAME: &str = "CANDLE_NUM_THREADS";
    // A folder a thread.
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if alone && std::env::var_os(NAME).is_none() {
        // SAFETY: no other thread can read the environment meanwhile, for there is none.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(NAME, "1");
        }
    }
}

fn check_chain(x: &Tensor, links: &[Link]) -> Result<()> {
    let (_, mut height, mut width, mut channels) = x.dims4()?;
    if links.is_empty() || x.elem_count() == 0 {
        candle_core::bail!("chain: {} links over {:?}", links.len(), x.dims());
    }
    for Link { weight, bias, activation, upscale, downscale } in links {
        let (kh, kw, cin, cout) = weight.dims4()?;
        if kh != kw || kh % 2 == 0 || cin != channels || bias.dims() != [cout] {
            candle_core::bail!(
                "convolution: {channels} channels, weight {:?} and bias {:?} do not fit; wanted [k, k, in, out] with odd k, \
                 and [out]",
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
