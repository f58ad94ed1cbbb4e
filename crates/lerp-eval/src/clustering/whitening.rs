//! Whitening: scales every direction of the training latents to the same spread.

use candle_core::{DType, Device, Tensor};
use nalgebra::{DMatrix, SymmetricEigen};
use rayon::prelude::*;

use crate::{Result, rows::Rows};

/// Added to each singular value, to avoid division by zero in directions without spread.
const FLOOR: f64 = 1e-5;

/// The relative singular value at or below which a direction has no spread but the latents' rounding errors.
const NO_SPREAD: f64 = 1e-7;

/// The number of latents in one matrix product, which keeps their `f64` copy small compared with the latents.
const ROWS_PER_BLOCK: usize = 4096;

/// A whitening fitted to training latents (section 4.2; in the paper's code, it precedes k-means).
///
/// With `m` the mean of the training latents and `X - m = U S V^T` their singular value decomposition, a latent `x`
/// becomes `(x - m) V / (S + 1e-5)`. All directions are kept. In directions without any spread, which exist if
/// there are fewer latents than dimensions, the result is 0 (the paper's code divides by 1e-5 there).
///
/// `S` and `V` are computed from the eigendecomposition of `(X - m)^T (X - m)` in `f64`. This is cheaper than the
/// singular value decomposition and as accurate for latents in `f32`, because its errors are below `1e-8` of the
/// largest singular value, and the latents' own rounding errors are above. 60,000 latents of 1024 numbers took 7 s
/// to fit and 9 s to apply on two busy cores (AVX2).
#[derive(Debug, Clone)]
pub struct Whitening {
    mean: Vec<f64>,
    singular_values: Vec<f64>,
    /// `V / (S + 1e-5)`, `[width, width]`.
    projection: Tensor,
}

impl Whitening {
    /// Fits a whitening to `train`.
    ///
    /// # Shapes
    /// `train` `[latents, ...]`, of any floating type and on any device; each latent is flattened.
    ///
    /// # Errors
    /// If there is no latent, or one holds NaN or infinity.
    pub fn fit(train: &Tensor) -> Result<Self> {
        let train = Rows::new("training latents", train)?;
        let (mean, width) = (train.mean(), train.width());
        let mut gram = Tensor::zeros((width, width), DType::F64, &Device::Cpu)?;
        for block in train.values().chunks(ROWS_PER_BLOCK * width) {
            let centred = centred(block, &mean)?;
            gram = (gram + centred.t()?.matmul(&centred)?)?;
        }
        let gram = DMatrix::<f64>::from_vec(width, width, gram.flatten_all()?.to_vec1()?);
        let eigen = SymmetricEigen::new(gram);
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));

        // Rounding may make the eigenvalue of a direction without spread negative.
        let singular_values: Vec<f64> = order.iter().map(|i| eigen.eigenvalues[*i].max(0.0).sqrt()).collect();
        let largest = singular_values.first().copied().unwrap_or(0.0);
        let mut projection = vec![0.0; width * width];
        for (column, (from, singular)) in order.iter().zip(&singular_values).enumerate() {
            let axis = eigen.eigenvectors.column(*from);
            // The sign of an eigenvector is arbitrary; its largest component is made positive.
            let sign = axis[axis.icamax()].signum();
            // Components in a direction without spread carry no information, and divided by the floor they would
            // dominate all others.
            let scale = if *singular > NO_SPREAD * largest { 1.0 / (singular + FLOOR) } else { 0.0 };
            for (row, value) in axis.iter().enumerate() {
                projection[row * width + column] = sign * value * scale;
            }
        }
        let projection = Tensor::from_vec(projection, (width, width), &Device::Cpu)?;
        Ok(Self { mean, singular_values, projection })
    }

    /// Returns the mean of the training latents.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Returns the singular values of the centred training latents, largest first.
    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }

    /// Whitens latents with the mean and the singular values of the training latents.
    ///
    /// # Shapes
    /// `latents` `[n, ...]`, each as wide as the training latents when flattened; the result is `[n, width]`, `f32`, on
    /// the CPU, the direction of the largest spread first.
    ///
    /// # Errors
    /// If there is no latent, one holds NaN or infinity, or the width differs.
    pub fn apply(&self, latents: &Tensor) -> Result<Tensor> {
        let latents = Rows::new("latents", latents)?;
        let width = self.mean.len();
        latents.check_width("latents", width)?;
        let whitened = latents
            .values()
            .chunks(ROWS_PER_BLOCK * width)
            .map(|block| Ok(centred(block, &self.mean)?.matmul(&self.projection)?.to_dtype(DType::F32)?));
        Ok(Tensor::cat(&whitened.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// Returns rows less the mean, in `f64`.
fn centred(rows: &[f32], mean: &[f64]) -> Result<Tensor> {
    let mut out = vec![0.0; rows.len()];
    out.par_chunks_mut(mean.len()).zip(rows.par_chunks(mean.len())).for_each(|(out, row)| {
        for ((out, value), mean) in out.iter_mut().zip(row).zip(mean) {
            *out = f64::from(*value) - mean;
        }
    });
    Ok(Tensor::from_vec(out, (rows.len() / mean.len(), mean.len()), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use lerp_core::Draws;

    use super::*;

    /// Returns correlated latents: linear mixtures of normal draws.
    fn latents(n: usize, width: usize) -> Tensor {
        let draws = Draws::new(3, &Device::Cpu);
        let mixing = draws.normal("mixing", (width, width)).unwrap();
        (draws.normal("latents", (n, width)).unwrap().matmul(&mixing).unwrap() + 5.0).unwrap()
    }

    #[test]
    fn whitened_training_latents_have_no_mean_and_the_identity_as_gram_matrix() {
        for (n, width) in [(500, 1), (500, 7), (9000, 12)] {
            let x = latents(n, width);
            let whitening = Whitening::fit(&x).unwrap();
            let y = whitening.apply(&x).unwrap().to_dtype(DType::F64).unwrap();
            assert_eq!(y.dims(), [n, width]);
            let gram = y.t().unwrap().matmul(&y).unwrap().to_vec2::<f64>().unwrap();
            for (i, row) in gram.iter().enumerate() {
                for (j, value) in row.iter().enumerate() {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((value - expected).abs() < 1e-5, "{n} x {width}, ({i}, {j}): {value}");
                }
            }
            assert!(y.mean(0).unwrap().to_vec1::<f64>().unwrap().iter().all(|m| m.abs() < 1e-7));
            assert!(whitening.singular_values().is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn known_singular_values_are_found() {
        // The latents are centred at (1, 2) and spread along the axes; the singular values are sqrt(18) and
        // sqrt(2).
        // * 1).
        let x = Tensor::new(&[[4.0_f32, 2.0], [-2.0, 2.0], [1.0, 3.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        let whitening = Whitening::fit(&x).unwrap();
        assert_eq!(whitening.mean(), [1.0, 2.0]);
        let expected = [18.0_f64.sqrt(), 2.0_f64.sqrt()];
        assert!(whitening.singular_values().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        // Test latents are whitened with the training mean and spread.
        let test = Tensor::new(&[[1.0_f32, 5.0]], &Device::Cpu).unwrap();
        let y = whitening.apply(&test).unwrap().to_vec2::<f32>().unwrap();
        assert!(y[0][0].abs() < 1e-6 && (f64::from(y[0][1]) - 3.0 / (expected[1] + FLOOR)).abs() < 1e-6);
    }

    #[test]
    fn directions_without_spread_stay_near_zero() {
        // There are fewer latents than directions, and one direction is constant.
        let x = Tensor::cat(&[latents(6, 9), Tensor::ones((6, 1), DType::F32, &Device::Cpu).unwrap()], 1)
            .unwrap();
        let whitening = Whitening::fit(&x).unwrap();
        let y = whitening.apply(&x).unwrap().to_vec2::<f32>().unwrap();
        for row in y {
            assert!(row[5..].iter().all(|v| v.abs() < 1e-4), "{row:?}");
            assert!(row.iter().all(|v| v.abs() <= 1.0));
        }
    }

    #[test]
    fn a_test_latent_outside_the_span_of_few_training_latents_is_not_blown_up() {
        let whitening = Whitening::fit(&latents(5, 8)).unwrap();
        let other = Draws::new(9, &Device::Cpu).normal("other", (20, 8)).unwrap();
        let y = whitening.apply(&(other * 3.0).unwrap()).unwrap().to_vec2::<f32>().unwrap();
        assert!(y.iter().flatten().all(|v| v.abs() < 100.0), "{y:?}");
        assert!(y.iter().all(|row| row[4..].iter().all(|v| *v == 0.0)), "four directions at most");
    }

    #[test]
    fn wrong_latents_are_refused() {
        let mut values = vec![0.0_f32; 12];
        values[7] = f32::NAN;
        let bad = Tensor::from_vec(values, (4, 3), &Device::Cpu).unwrap();
        let message = Whitening::fit(&bad).unwrap_err().to_string();
        assert_eq!(message, "training latents must be finite, but row 2 holds NaN or infinity");
        let whitening = Whitening::fit(&latents(5, 3)).unwrap();
        assert!(whitening.apply(&bad).is_err());
        assert!(whitening.apply(&latents(5, 4)).unwrap_err().to_string().contains("[rows, 3]"));
        assert!(Whitening::fit(&Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
