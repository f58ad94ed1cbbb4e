//! The kernel distance between two sets of features, with its standard error.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::{Error, Result, rows::Features};

/// The number of rows in one matrix product.
const BATCH_ROWS: usize = 256;

const X: &str = "features x";
const Y: &str = "features y";

/// A kernel distance; see [`kernel_distance`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDistance {
    /// The squared distance, in the kernel's units. For two samples of one distribution its expectation is 0, and
    /// it is as often negative as positive.
    pub value: f64,
    /// Its standard error; NaN if there are only two blocks of x, or two rows of y.
    pub error: f64,
}

/// Returns the kernel distance of two sets of features, known as KID if the features are a network's: an unbiased
/// estimate of the squared maximum mean discrepancy with the kernel `k(x, y) = (x·y / width + 1)³` (Bińkowski et
/// al., "Demystifying MMD GANs", 2018, arXiv 1801.01401, section 4).
///
/// The estimate is the mean of k over pairs of two rows of x, plus that over pairs of two rows of y, less twice
/// that over pairs of one row of each. Rows of x come in blocks of `block` consecutive rows that are not
/// independent of each other, such as the images of one interpolation. Pairs within a block are left out, because
/// their similarity says nothing about the distribution. A `block` of 1 gives the usual estimate. Rows of y are
/// independent.
///
/// The standard error is the jackknife's: the variance of leaving out one block of x at a time is added to that of
/// leaving out one row of y at a time. If both samples are of the same distribution, it is somewhat too large.
///
/// All sums are in `f64`, and the result does not depend on the number of threads. For 2048 and 4096 rows of 64
/// numbers the computation took 0.2 s on two cores (AVX2).
///
/// # Shapes
/// `x` `[blocks * block, width]` and `y` `[rows, width]`, of any floating type, on any device.
///
/// # Errors
/// If shapes do not fit, there are fewer than two blocks of x or two rows of y, or a row holds NaN or infinity.
///
/// # Examples
/// ```
/// use candle_core::Device;
/// use lerp_core::Draws;
/// use lerp_eval::kernel_distance;
///
/// let draws = Draws::new(1, &Device::Cpu);
/// let (x, y) = (draws.normal("x", (200, 4))?, draws.normal("y", (200, 4))?);
/// let same = kernel_distance(&x, &y, 1)?;
/// let shifted = kernel_distance(&(x + 1.0)?, &y, 1)?;
/// assert!(same.value.abs() < 1.0 && shifted.value > 2.0, "{same:?} {shifted:?}");
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn kernel_distance(x: &Tensor, y: &Tensor, block: usize) -> Result<KernelDistance> {
    KernelReference::new(y)?.distance(x, block)
}

/// Features that several other sets are compared with; the part of the kernel distance that depends on them alone
/// is computed once.
#[derive(Debug, Clone)]
pub struct KernelReference {
    y: Features,
    /// For each row, the sum of the kernel over all other rows.
    y_y: Vec<f64>,
}

impl KernelReference {
    /// Prepares the comparison with `y`.
    ///
    /// # Shapes
    /// `y` `[rows, width]`.
    ///
    /// # Errors
    /// If there are fewer than two rows, or one holds NaN or infinity.
    pub fn new(y: &Tensor) -> Result<Self> {
        let y = Features::new(Y, y, 2)?;
        let y_y = sums(&y, &y, |row| row..row + 1)?;
        Ok(Self { y, y_y })
    }

    /// Returns the [`kernel_distance`] of `x` to these features.
    ///
    /// # Errors
    /// As for [`kernel_distance`].
    pub fn distance(&self, x: &Tensor, block: usize) -> Result<KernelDistance> {
        if block == 0 {
            return Err(Error::Range {
                what: "the number of rows in a block",
                wanted: "at least 1",
                given: 0.0,
            });
        }
        match x.dims() {
            [rows, _] if rows % block == 0 && *rows >= 2 * block => {}
            given => {
                let wanted = format!("[blocks * {block}, width] with at least 2 blocks");
                return Err(Error::Shape { what: X, wanted, given: given.to_vec() });
            }
        }
        let (x, y) = (Features::new(X, x, 2)?, &self.y);
        y.check_width(Y, x.width)?;
        let (rows, others) = (x.len(), y.len());
        let of_block = |row: usize| row / block * block..(row / block + 1) * block;
        let by_block = |sums: Vec<f64>| sums.chunks(block).map(|sums| sums.iter().sum()).collect();
        let x_x: Vec<f64> = by_block(sums(&x, &x, of_block)?);
        let x_y: Vec<f64> = by_block(sums(&x, y, |_| 0..0)?);
        let y_x = sums(y, &x, |_| 0..0)?;
        let [sum_x, sum_y, sum_both] = [&x_x, &self.y_y, &x_y].map(|sums| sums.iter().sum::<f64>());

        let mean = |sum: f64, first: usize, second: usize| sum / (first as f64 * second as f64);
        let (in_x, in_y) = (mean(sum_x, rows, rows - block), mean(sum_y, others, others - 1));
        let value = in_x + in_y - 2.0 * mean(sum_both, rows, others);
        let enough = rows > 2 * block && others > 2;
        let error = enough.then(|| {
            // The sums count each pair of the left-out part with the rest in both orders.
            let left = rows - block;
            let without_block = x_x.iter().zip(&x_y).map(|(own, both)| {
                mean(sum_x - 2.0 * own, left, left - block) + in_y - 2.0 * mean(sum_both - both, left, others)
            });
            let left = others - 1;
            let without_row = self.y_y.iter().zip(&y_x).map(|(own, both)| {
                in_x + mean(sum_y - 2.0 * own, left, left - 1) - 2.0 * mean(sum_both - both, rows, left)
            });
            (jackknife(&without_block.collect::<Vec<_>>()) + jackknife(&without_row.collect::<Vec<_>>()))
                .sqrt()
        });
        Ok(KernelDistance { value, error: error.unwrap_or(f64::NAN) })
    }
}

/// Returns the jackknife variance of an estimate, given the estimates without each of its parts (Efron and
/// Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11).
fn jackknife(without: &[f64]) -> f64 {
    let n = without.len() as f64;
    let mean = without.iter().sum::<f64>() / n;
    without.iter().map(|value| (value - mean).powi(2)).sum::<f64>() * (n - 1.0) / n
}

/// Returns, for each of `rows`, the sum of the kernel over all of `others` except those with indices in
/// `left_out(row)`.
fn sums(
    rows: &Features,
    others: &Features,
    left_out: impl Fn(usize) -> Range<usize> + Sync,
) -> Result<Vec<f64>> {
    let (width, columns) = (rows.width, others.len());
    let others = Tensor::from_slice(&others.values, (columns, width), &Device::Cpu)?.t()?;
    let kernel = |product: &f64| (product / width as f64 + 1.0).powi(3);
    let mut sums = Vec::with_capacity(rows.len());
    for values in rows.values.chunks(BATCH_ROWS * width) {
        let part = Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu)?;
        let products: Vec<f64> = part.matmul(&others)?.flatten_all()?.to_vec1()?;
        let first = sums.len();
        sums.par_extend(products.par_chunks(columns).enumerate().map(|(row, products)| {
            let Range { start, end } = left_out(first + row);
            products[..start].iter().chain(&products[end..]).map(kernel).sum::<f64>()
        }));
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use lerp_core::Draws;

    use super::*;

    fn tensor(values: Vec<f64>, width: usize) -> Tensor {
        let rows = values.len() / width;
        Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
    }

    /// Features that are easily reproduced in other languages: 400 numbers each, eight in a row.
    fn made_up() -> (Tensor, Tensor) {
        let numbers = || (0..400).map(f64::from);
        let x = numbers().map(|k| (k * k).sin()).collect();
        let y = numbers().map(|k| 0.3 + (k * k + k).cos()).collect();
        (tensor(x, 8), tensor(y, 8))
    }

    /// Normal draws `[blocks * block, 4]`, each block shifted by a draw of its own, times `scale`.
    fn normal(seed: u64, stream: &str, blocks: usize, block: usize, scale: f64) -> Tensor {
        let draws = Draws::new(seed, &Device::Cpu);
        let own = draws.normal(stream, (blocks, block, 4)).unwrap();
        let of_block = draws.normal(&format!("{stream}, blocks"), (blocks, 1, 4)).unwrap();
        let values = if block == 1 { own } else { own.broadcast_add(&of_block).unwrap() };
        (values.reshape((blocks * block, 4)).unwrap() * scale).unwrap()
    }

    #[test]
    fn values_equal_those_of_published_code() {
        // k = np.arange(400.)
        // x, y = np.sin(k**2).reshape(50, 8), 0.3 + np.cos(k**2 + k).reshape(50, 8)
        // torchmetrics.image.kid.poly_mmd(torch.tensor(x), torch.tensor(y), degree=3, gamma=None, coef=1.0)   # 1.9.0
        // torch_fidelity.metric_kid.kernel_mmd(x, y, kid_kernel="poly", kid_kernel_poly_degree=3,   # 0.4.0, the same
        //     kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1)
        let (x, y) = made_up();
        let found = kernel_distance(&x, &y, 1).unwrap();
        assert!((found.value - 0.426_297_435_482_879).abs() < 1e-12, "{found:?}");
        // The second value is with blocks of five, and with the first 40 rows of y:
        // f = lambda a, b: (a @ b.T / 8 + 1)**3
        // block = np.arange(50) // 5; y = y[:40]
        // (f(x, x)[block[:, None] != block].mean() + f(y, y)[~np.eye(40, dtype=bool)].mean() - 2 * f(x, y).mean())
        let found = kernel_distance(&x, &y.narrow(0, 0, 40).unwrap(), 5).unwrap();
        assert!((found.value - 0.441_653_787_372_608_96).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn errors_equal_an_explicit_jackknife() {
        let (x, y) = made_up();
        let without = |tensor: &Tensor, from: usize, count: usize| {
            let rest = from + count;
            let before = tensor.narrow(0, 0, from).unwrap();
            let after = tensor.narrow(0, rest, tensor.dim(0).unwrap() - rest).unwrap();
            Tensor::cat(&[before, after], 0).unwrap()
        };
        for block in [1, 5] {
            let found = kernel_distance(&x, &y, block).unwrap();
            let value = |x: &Tensor, y: &Tensor| kernel_distance(x, y, block).unwrap().value;
            let blocks: Vec<f64> =
                (0..50 / block).map(|i| value(&without(&x, i * block, block), &y)).collect();
            let rows: Vec<f64> = (0..50).map(|i| value(&x, &without(&y, i, 1))).collect();
            let expected = (jackknife(&blocks) + jackknife(&rows)).sqrt();
            assert!((found.error - expected).abs() < 1e-9 * expected, "{block}: {found:?}, {expected}");
        }
        // The jackknife variance of a mean is its variance: 5/3 over 4.
        let means = [1.0, 2.0, 3.0, 4.0].map(|value| (10.0 - value) / 3.0);
        assert!((jackknife(&means) - 5.0 / 12.0).abs() < 1e-12);
    }

    /// Simulates estimates of many pairs of samples. Returns their mean, the standard error of the mean, their
    /// standard deviation, and the root mean square of their estimated standard errors.
    fn simulate(repetitions: u64, of: impl Fn(u64) -> KernelDistance) -> [f64; 4] {
        let found: Vec<KernelDistance> = (0..repetitions).map(of).collect();
        let n = repetitions as f64;
        let mean = found.iter().map(|found| found.value).sum::<f64>() / n;
        let deviation = (found.iter().map(|found| (found.value - mean).powi(2)).sum::<f64>() / n).sqrt();
        let estimated = (found.iter().map(|found| found.error.powi(2)).sum::<f64>() / n).sqrt();
        [mean, deviation / n.sqrt(), deviation, estimated]
    }

    #[test]
    fn samples_of_one_distribution_have_expected_distance_zero() {
        let [mean, of_mean, _, _] = simulate(400, |seed| {
            kernel_distance(&normal(seed, "x", 60, 1, 1.0), &normal(seed, "y", 90, 1, 1.0), 1).unwrap()
        });
        assert!(mean.abs() < 3.0 * of_mean, "{mean} ± {of_mean}");
        // A block's rows share a shift that makes each row's variance 2. If blocks are ignored, the samples seem to
        // be further apart.
        let blocks = |block| {
            simulate(400, |seed| {
                let (x, y) = (normal(seed, "x", 15, 4, 1.0), normal(seed, "y", 90, 1, 2.0_f64.sqrt()));
                kernel_distance(&x, &y, block).unwrap()
            })
        };
        let [mean, of_mean, _, _] = blocks(4);
        assert!(mean.abs() < 3.0 * of_mean, "{mean} ± {of_mean}");
        let [mean, of_mean, _, _] = blocks(1);
        assert!(mean > 5.0 * of_mean, "{mean} ± {of_mean}");
    }

    #[test]
    fn estimated_errors_match_the_spread_of_estimates() {
        for block in [1, 4] {
            let [_, _, deviation, estimated] = simulate(400, |seed| {
                let (x, y) = (normal(seed, "x", 60, block, 1.0), normal(seed, "y", 90, 1, 1.0));
                kernel_distance(&(x + 0.7).unwrap(), &y, block).unwrap()
            });
            assert!((estimated / deviation - 1.0).abs() < 0.15, "{block}: {estimated} {deviation}");
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let (x, y) = (normal(3, "x", 175, 4, 1.0), normal(3, "y", 600, 1, 1.2));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| kernel_distance(&x, &y, 4).unwrap())
        };
        let one = run(1);
        assert!(one.value > 0.0 && one.error > 0.0, "{one:?}");
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let (x, y) = made_up();
        let fails = |x: &Tensor, y: &Tensor, block| kernel_distance(x, y, block).unwrap_err().to_string();
        assert!(fails(&x, &y, 0).contains("must be at least 1"));
        assert!(fails(&x, &y, 3).contains("[blocks * 3, width]"));
        assert!(fails(&x, &y, 50).contains("at least 2 blocks, but [50, 8]"));
        assert!(fails(&x.flatten_all().unwrap(), &y, 1).contains("features x must be"));
        assert!(fails(&x, &y.narrow(0, 0, 1).unwrap(), 1).contains("at least 2 and 1, but [1, 8]"));
        assert!(fails(&x, &y.narrow(1, 0, 7).unwrap(), 1).contains("[rows, 8], as wide as"));
        let nan = tensor(vec![0.0, 1.0, 2.0, f64::NAN], 2);
        assert!(fails(&nan, &y, 1).contains("features x must be finite, but row 1"));
        let two = x.narrow(0, 0, 10).unwrap();
        let found = kernel_distance(&two, &y, 5).unwrap();
        assert!(found.value.is_finite() && found.error.is_nan(), "{found:?}");
    }
}
