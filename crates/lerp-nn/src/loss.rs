//! Losses that several variants share.

use candle_core::Tensor;
use lerp_core::Result;

/// The mean squared error over the batch *and* all pixels. The paper writes a squared norm; its code takes the
/// mean.
///
/// # Shapes
/// Two tensors of one shape to `[]`.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_nn::mean_squared_error;
///
/// let a = Tensor::new(&[1_f32, 2.0], &Device::Cpu)?;
/// let b = Tensor::new(&[1_f32, 4.0], &Device::Cpu)?;
/// assert_eq!(lerp_core::scalar(&mean_squared_error(&a, &b)?)?, 2.0);
/// # Ok::<(), lerp_core::Error>(())
/// ```
pub fn mean_squared_error(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(lerp_kernels::mean_squared_error(a, b)?)
}

/// The negative log-likelihood in nats of Bernoulli targets given logits, for each element, computed without
/// overflow: `max(l, 0) - l·t + ln(1 + e^-|l|)`. candle-nn's `binary_cross_entropy_with_logit` takes logarithms
/// of a sigmoid, which is 0 for logits below -104 and 1 from 17 on, so that the loss becomes infinite or NaN.
///
/// # Shapes
/// Logits, and targets in `[0, 1]` of the same shape, to the same shape.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_nn::bernoulli_nll;
///
/// let logits = Tensor::new(&[0_f32, 200.0, -200.0], &Device::Cpu)?;
/// let white = logits.ones_like()?;
/// let nll = bernoulli_nll(&logits, &white)?.to_vec1::<f32>()?;
/// assert!((nll[0] - 2_f32.ln()).abs() < 1e-6);
/// assert_eq!(nll[1..], [0.0, 200.0]); // finite, however certain and wrong the logits are
/// # Ok::<(), lerp_core::Error>(())
/// ```
pub fn bernoulli_nll(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok(((logits.relu()? - (logits * targets)?)? + tail)?)
}

/// The mean binary cross-entropy of logits with the same label for all of them.
///
/// # Shapes
/// `logits` of any shape, `label` 0 or 1, to `[]`.
///
/// # Examples
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use lerp_nn::binary_cross_entropy;
///
/// let undecided = Tensor::zeros(4, DType::F32, &Device::Cpu)?;
/// let loss = lerp_core::scalar(&binary_cross_entropy(&undecided, 1.0)?)?;
/// assert!((loss - 2_f64.ln()).abs() < 1e-6);
/// # Ok::<(), lerp_core::Error>(())
/// ```
pub fn binary_cross_entropy(logits: &Tensor, label: f64) -> Result<Tensor> {
    let targets = logits.zeros_like()?.affine(0.0, label)?;
    Ok(bernoulli_nll(logits, &targets)?.mean_all()?)
}
