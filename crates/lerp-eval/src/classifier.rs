//! Loss, accuracy and learning rate of the single-layer classifier (section 4).

use candle_core::{D, Tensor};

use crate::{Error, Result};

/// Returns the softmax cross entropy of each example, in nats, differentiable with respect to the logits.
///
/// `smoothing` is label smoothing, which is 0 in the paper. Otherwise the target `l`, 1 for the class and 0
/// elsewhere, is replaced by `l - smoothing (l - 1/classes)`.
///
/// # Shapes
/// `logits` `[batch, classes]`, `labels` `[batch]`, `u32` below `classes`; the result is `[batch]`.
///
/// # Errors
/// If the shapes do not fit or `smoothing` lies outside `[0, 1]`.
pub fn per_example(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let classes = check(logits, labels)?;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::Range { what: "label smoothing", wanted: "from 0 to 1", given: smoothing });
    }
    // The largest logit is subtracted against overflow. The loss does not depend on it, so it needs no gradient.
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    let normaliser = shifted.exp()?.sum(D::Minus1)?.log()?;
    let chosen = shifted.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?;
    let loss = (normaliser - (chosen * (1.0 - smoothing))?)?;
    if smoothing == 0.0 {
        return Ok(loss);
    }
    Ok((loss - (shifted.sum(D::Minus1)? * (smoothing / classes as f64))?)?)
}

/// Returns the mean of [`per_example`].
///
/// # Shapes
/// `logits` `[batch, classes]`, `labels` `[batch]`, `u32` below `classes`; the result is a scalar, `[]`.
///
/// # Errors
/// If the shapes do not fit or `smoothing` lies outside `[0, 1]`.
pub fn loss(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    Ok(per_example(logits, labels, smoothing)?.mean_all()?)
}

/// Returns the share of examples whose largest logit is that of their class. The first of several equally large
/// logits counts as the largest, and NaN never does.
///
/// # Shapes
/// `logits` `[batch, classes]`, `labels` `[batch]`, `u32`.
///
/// # Errors
/// If the shapes do not fit.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_eval::classifier::{accuracy, per_example};
///
/// let logits = Tensor::new(&[[2_f32, 0.0], [0.0, 1.0], [3.0, 1.0]], &Device::Cpu)?;
/// let labels = Tensor::new(&[0_u32, 1, 1], &Device::Cpu)?;
/// assert_eq!(accuracy(&logits, &labels)?, 2.0 / 3.0);
/// let losses = per_example(&logits, &labels, 0.0)?.to_vec1::<f32>()?;
/// assert!(losses[2] > losses[1], "the wrong answer costs most");
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<f64> {
    check(logits, labels)?;
    // Logits are compared on the host, because the choice among equal logits must not depend on the device.
    let logits = lerp_core::on_host(logits)?.to_vec2::<f64>()?;
    let labels = labels.to_vec1::<u32>()?;
    let right =
        logits.iter().zip(&labels).filter(|(row, label)| largest(row) == Some(**label as usize)).count();
    Ok(right as f64 / labels.len() as f64)
}

/// Returns the learning rate after `step` updates in the paper's stand-alone classifier scripts: 1e-4, decaying by
/// a factor of 10 every 131,072 steps. The classifier of the paper's table 2 is trained jointly with the
/// autoencoder, at a constant 1e-4.
pub fn learning_rate(step: u64) -> f64 {
    1e-4 * 0.1_f64.powf(step as f64 / 131_072.0)
}

fn largest(row: &[f64]) -> Option<usize> {
    let mut found: Option<usize> = None;
    for (i, value) in row.iter().enumerate() {
        if !value.is_nan() && found.is_none_or(|best| *value > row[best]) {
            found = Some(i);
        }
    }
    found
}

fn check(logits: &Tensor, labels: &Tensor) -> Result<usize> {
    let (&[batch, classes], true) = (logits.dims(), labels.rank() == 1) else {
        let given = [logits.dims(), labels.dims()].concat();
        return Err(Error::Shape {
            what: "logits and labels",
            wanted: "[batch, classes] and [batch]".into(),
            given,
        });
    };
    if labels.dims() != [batch] || batch == 0 || classes == 0 {
        let wanted = format!("[{batch}] for logits {:?}, neither of them empty", logits.dims());
        return Err(Error::Shape { what: "labels", wanted, given: labels.dims().to_vec() });
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn labels(values: &[u32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let logits = Tensor::new(&[[1e30_f32, 0.0], [-1e4, 1e4]], &Device::Cpu).unwrap();
        let losses = per_example(&logits, &labels(&[0, 0]), 0.0).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(losses, [0.0, 2e4]);
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_number_of_classes() {
        let logits = Tensor::ones((3, 10), DType::F64, &Device::Cpu).unwrap();
        for smoothing in [0.0, 0.1, 1.0] {
            let loss = loss(&logits, &labels(&[0, 5, 9]), smoothing).unwrap().to_scalar::<f64>().unwrap();
            assert!((loss - 10_f64.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn the_first_of_equal_logits_wins_and_nan_never() {
        let rows = [[1.0_f32, 1.0, 0.0], [f32::NAN, -5.0, -6.0], [f32::NAN; 3], [0.0, 1.0, 2.0]];
        let logits = Tensor::new(&rows, &Device::Cpu).unwrap();
        assert_eq!(accuracy(&logits, &labels(&[0, 1, 0, 2])).unwrap(), 0.75);
        assert_eq!(accuracy(&logits, &labels(&[1, 0, 1, 1])).unwrap(), 0.0);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let logits = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        assert!(loss(&logits, &labels(&[0, 1, 2]), 0.0).unwrap_err().to_string().contains("[2]"));
        assert!(accuracy(&logits.flatten_all().unwrap(), &labels(&[0])).is_err());
        assert!(loss(&logits, &labels(&[0, 1]), 1.5).unwrap_err().to_string().contains("from 0 to 1"));
        assert!(loss(&logits, &labels(&[0, 3]), 0.0).is_err(), "a label without a logit");
    }
}
