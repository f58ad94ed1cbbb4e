//! Losses that several variants share.

use candle_core::Tensor;
use lerp_core::Result;

/// Mean of the squared difference over the batch *and* all pixels (the paper writes a norm; its code takes the mean).
///
/// # Shapes
/// Two tensors of one shape to `[]`.
pub fn mean_squared_error(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(lerp_kernels::mean_squared_error(a, b)?)
}

/// Negative log-likelihood of Bernoulli targets given logits, per element, computed without overflow:
/// `max(l, 0) - l·t + ln(1 + e^-|l|)`. candle-nn's `binary_cross_entropy_with_logit` takes logarithms of a sigmoid, which is 0
/// for logits below -104 and 1 from 17 on: the loss is then infinite or not a number.
///
/// # Shapes
/// Logits and targets in `[0, 1]` of one shape to the same shape, in nats.
pub fn bernoulli_nll(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    Ok(((logits.relu()? - (logits * targets)?)? + tail)?)
}

/// Mean binary cross-entropy of logits against one label for all.
///
/// # Shapes
/// `logits` of any shape, `label` 0 or 1, to `[]`.
pub fn binary_cross_entropy(logits: &Tensor, label: f64) -> Result<Tensor> {
    let targets = logits.zeros_like()?.affine(0.0, label)?;
    Ok(bernoulli_nll(logits, &targets)?.mean_all()?)
}
