//! Linear and spherical interpolation between latents.

use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// The sine of the angle between two latents below which [`slerp`] is linear: parallel latents span no plane to
/// turn in.
const MIN_SINE: f64 = 1e-6;

/// Returns `steps` latents from each `start` to its `end` along the straight line, both ends included (the paper's
/// interpolation, section 2).
///
/// # Shapes
/// `start` and `end` `[batch, ...]`; the result is `[steps, batch, ...]`.
///
/// # Errors
/// If the shapes differ, or there are fewer than two steps.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_eval::interpolation::linear;
///
/// let start = Tensor::new(&[[0_f32, 2.0]], &Device::Cpu)?;
/// let end = Tensor::new(&[[4_f32, 0.0]], &Device::Cpu)?;
/// let path = linear(&start, &end, 5)?;
/// assert_eq!(path.dims(), [5, 1, 2]);
/// assert_eq!(path.get(2)?.to_vec2::<f32>()?, [[2.0, 1.0]]);
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn linear(start: &Tensor, end: &Tensor, steps: usize) -> Result<Tensor> {
    let batch = check(start, end, steps)?;
    let weights: Vec<_> = fractions(steps).flat_map(|t| std::iter::repeat_n((1.0 - t, t), batch)).collect();
    blend(start, end, steps, &weights)
}

/// Returns `steps` latents from each `start` to its `end` along the arc between them, both ends included: spherical
/// interpolation with `sin((1-t)ω)/sin(ω)` and `sin(tω)/sin(ω)` as weights, where ω is the angle between the two
/// flattened latents. The ends are not normalised, so the norm changes along with the direction.
///
/// Pairs with `sin(ω)` below 1e-6, which are parallel, opposite or zero, are interpolated linearly.
///
/// # Shapes
/// `start` and `end` `[batch, ...]`; the result is `[steps, batch, ...]`.
///
/// # Errors
/// If the shapes differ, or there are fewer than two steps.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_eval::interpolation::slerp;
///
/// let start = Tensor::new(&[[1_f32, 0.0]], &Device::Cpu)?;
/// let end = Tensor::new(&[[0_f32, 1.0]], &Device::Cpu)?;
/// let halfway = slerp(&start, &end, 3)?.get(1)?;
/// let norm = lerp_core::scalar(&halfway.sqr()?.sum_all()?)?.sqrt();
/// assert!((norm - 1.0).abs() < 1e-6, "the arc stays on the circle");
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn slerp(start: &Tensor, end: &Tensor, steps: usize) -> Result<Tensor> {
    check(start, end, steps)?;
    let (a, b) = (rows(start)?, rows(end)?);
    let angles: Vec<f64> = a.iter().zip(&b).map(|(a, b)| angle(a, b)).collect();
    let weigh = |t: f64, angle: f64| {
        let sine = angle.sin();
        // The linear branch also covers a NaN angle, which a latent of norm zero gives.
        if sine >= MIN_SINE {
            (((1.0 - t) * angle).sin() / sine, (t * angle).sin() / sine)
        } else {
            (1.0 - t, t)
        }
    };
    let weights: Vec<_> = fractions(steps).flat_map(|t| angles.iter().map(move |&a| weigh(t, a))).collect();
    blend(start, end, steps, &weights)
}

fn check(start: &Tensor, end: &Tensor, steps: usize) -> Result<usize> {
    if steps < 2 {
        return Err(Error::Range {
            what: "steps of an interpolation",
            wanted: "at least 2",
            given: steps as f64,
        });
    }
    match start.dims() {
        [batch, _, ..] if start.dims() == end.dims() => Ok(*batch),
        dims => {
            let wanted = format!("of one shape [batch, ...], here {dims:?}");
            Err(Error::Shape {
                what: "start and end of an interpolation",
                wanted,
                given: end.dims().to_vec(),
            })
        }
    }
}

fn fractions(steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |i| i as f64 / (steps - 1) as f64)
}

fn rows(x: &Tensor) -> Result<Vec<Vec<f64>>> {
    Ok(lerp_core::on_host(x)?.flatten_from(1)?.to_vec2()?)
}

fn angle(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).clamp(-1.0, 1.0).acos()
}

/// Returns weighted sums of `start` and `end`, with one pair of weights for each step and each member of the batch.
fn blend(start: &Tensor, end: &Tensor, steps: usize, weights: &[(f64, f64)]) -> Result<Tensor> {
    let part = |x: &Tensor, weights: Vec<f64>| -> Result<Tensor> {
        let mut shape = vec![1; x.rank() + 1];
        shape[..2].copy_from_slice(&[steps, x.dim(0)?]);
        let weights = Tensor::from_vec(weights, shape, &Device::Cpu)?.to_dtype(x.dtype())?;
        Ok(x.unsqueeze(0)?.broadcast_mul(&weights.to_device(x.device())?)?)
    };
    let (a, b) = weights.iter().copied().unzip();
    Ok((part(start, a)? + part(end, b)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(rows: &[[f64; 2]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap()
    }

    #[test]
    fn lines_are_straight_and_arcs_are_round() {
        let (a, b) = (tensor(&[[1.0, 0.0]]), tensor(&[[0.0, 1.0]]));
        let straight = linear(&a, &b, 3).unwrap();
        assert_eq!(straight.to_vec3::<f64>().unwrap(), [[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]]);
        for point in slerp(&a, &b, 9).unwrap().to_vec3::<f64>().unwrap() {
            assert!((point[0][0].hypot(point[0][1]) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn pairs_without_a_plane_are_interpolated_linearly() {
        let a = tensor(&[[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]);
        let b = tensor(&[[2.0, 4.0], [-1.0, -2.0], [1.0, 1.0], [3.0, 4.0]]);
        let arc = slerp(&a, &b, 5).unwrap().to_vec3::<f64>().unwrap();
        let line = linear(&a, &b, 5).unwrap().to_vec3::<f64>().unwrap();
        assert_eq!(arc, line);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let a = tensor(&[[1.0, 0.0]]);
        assert!(linear(&a, &a, 1).unwrap_err().to_string().contains("at least 2"));
        for other in [tensor(&[[1.0, 0.0]; 2]), a.unsqueeze(2).unwrap()] {
            assert!(slerp(&a, &other, 4).unwrap_err().to_string().contains("[1, 2]"));
        }
        let flat = a.flatten_all().unwrap();
        assert!(linear(&flat, &flat, 4).is_err());
    }
}
