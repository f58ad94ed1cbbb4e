//! The composed implementation of every operation: candle's own operations, differentiated by candle, correct on any
//! device in `f32` and `f64`.
//!
//! Only operations whose gradients are correct in candle 0.11.1 are used (`conv2d`, `upsample_nearest2d` and
//! `max_pool2d` are not among them).

use candle_core::{D, Result, Tensor};

use crate::{Activation, Link};

/// The composed implementation of [`crate::chain`].
///
/// # Shapes
/// `x` `[batch, height, width, in]`; result as of [`crate::chain`].
pub fn chain(x: &Tensor, links: &[Link]) -> Result<Tensor> {
    let mut x = x.clone();
    for link in links {
        if link.upscale {
            x = upscale2(&x)?;
        }
        x = conv2d(&x, &link.weight, &link.bias, link.activation)?;
        if link.downscale {
            x = downscale2(&x)?;
        }
    }
    Ok(x)
}

/// The composed implementation of [`crate::conv2d`]: the k² shifted copies of the image side by side, then one matrix
/// product.
///
/// # Shapes
/// `x` `[batch, height, width, in]`, `weight` `[k, k, in, out]`, `bias` `[out]`; result `[batch, height, width, out]`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let (batch, height, width, cin) = x.dims4()?;
    let (k, _, _, cout) = weight.dims4()?;
    let columns = if k == 1 {
        x.contiguous()?
    } else {
        let padded = x.pad_with_zeros(1, k / 2, k / 2)?.pad_with_zeros(2, k / 2, k / 2)?;
        let mut taps = Vec::with_capacity(k * k);
        for dy in 0..k {
            let rows = padded.narrow(1, dy, height)?;
            for dx in 0..k {
                taps.push(rows.narrow(2, dx, width)?);
            }
        }
        Tensor::cat(&taps, D::Minus1)?.contiguous()?
    };
    let columns = columns.reshape((batch * height * width, k * k * cin))?;
    let y = columns.matmul(&weight.reshape((k * k * cin, cout))?)?.broadcast_add(bias)?;
    let y = match activation {
        Activation::Linear => y,
        Activation::LeakyRelu(slope) => leaky_relu(&y, f64::from(slope))?,
    };
    y.reshape((batch, height, width, cout))
}

/// The composed implementation of [`crate::downscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, height / 2, width / 2, channels]`.
pub fn downscale2(x: &Tensor) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    x.contiguous()?.reshape(&[b, h / 2, 2, w / 2, 2, c])?.sum((2, 4))? * 0.25
}

/// The composed implementation of [`crate::upscale2`].
///
/// # Shapes
/// `[batch, height, width, channels]` to `[batch, 2·height, 2·width, channels]`.
pub fn upscale2(x: &Tensor) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    let blocks = x.contiguous()?.reshape(&[b, h, 1, w, 1, c])?.broadcast_as(&[b, h, 2, w, 2, c])?;
    blocks.contiguous()?.reshape((b, 2 * h, 2 * w, c))
}

/// The composed implementation of [`crate::dense`].
///
/// # Shapes
/// `x` `[batch, in]`, `weight` `[in, out]`, `bias` `[out]`; result `[batch, out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(weight)?.broadcast_add(bias)
}

/// The composed implementation of [`crate::mean_cross_entropy`]. candle-nn's `cross_entropy` also differentiates
/// through the largest logit, whose contributions cancel only up to rounding.
///
/// # Shapes
/// `logits` `[batch, classes]`, `labels` `[batch]`, `u32`; result `[]`.
pub fn mean_cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    // Subtracting the largest logit does not change the result, so no gradient need pass through it.
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let normaliser = shifted.exp()?.sum(D::Minus1)?.log()?;
    let chosen = shifted.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    (normaliser - chosen)?.mean_all()
}

/// The composed implementation of [`crate::leaky_relu`]. candle-nn's leaky ReLU has the mean of both slopes as its
/// gradient at zero.
///
/// # Shapes
/// `x` of any shape; the result has the same shape.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    // The gate is a constant, so that the gradient at zero is `slope`, as in the paper's code, and values
    // are compared only once.
    let positive = x.detach().gt(&x.detach().zeros_like()?)?.to_dtype(x.dtype())?;
    x * ((positive * (1.0 - slope))? + slope)?
}

/// The composed implementation of [`crate::nearest`].
///
/// # Shapes
/// `x` `[n, d]`, `table` `[k, d]`; result `[n]`, `u32`.
pub fn nearest(x: &Tensor, table: &Tensor) -> Result<Tensor> {
    // ‖x‖² is the same for every row and cannot change which row is nearest.
    let cross = x.matmul(&table.t()?)?;
    let distances = (cross * -2.0)?.broadcast_add(&table.sqr()?.sum(D::Minus1)?)?;
    distances.argmin(D::Minus1)
}
