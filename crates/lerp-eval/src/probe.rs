//! A single-layer classifier fitted to frozen features (section 4.1).
//!
//! The paper's classifier is trained jointly with the autoencoder ([`crate::classifier`]). This one is fitted
//! afterwards to convergence, to latents of a finished autoencoder or to raw pixels. It measures how well one layer
//! *can* classify them, whatever the learning-rate schedule. The weights are not regularised, as in the paper.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::{
    Error, Labelled, Result,
    minimise::minimise,
    rows::Rows,
    stats::{Interval, wilson_interval},
};

/// The number of examples in one matrix product, which bounds the length of sums in `f32`.
const EXAMPLES_PER_BLOCK: usize = 4096;

/// The stopping criteria of a fit.
#[derive(Debug, Clone, Copy)]
pub struct ProbeOptions<'a> {
    /// Maximum number of optimiser steps.
    pub max_iterations: usize,
    /// Relative tolerance: the fit has converged when ten steps lower the loss by no more than this share of it (or
    /// of 0.01 nats, if the loss is lower).
    pub tolerance: f64,
    /// Stops the fit with [`Error::Stopped`] once this is true.
    pub stop: Option<&'a AtomicBool>,
}

impl Default for ProbeOptions<'_> {
    /// At most 2000 steps, with a tolerance of 1e-4.
    fn default() -> Self {
        Self { max_iterations: 2000, tolerance: 1e-4, stop: None }
    }
}

/// The results of a fitted single-layer classifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Accuracy on the test examples, from 0 to 1; of equally large logits the first is the predicted class.
    pub test_accuracy: f64,
    /// Its 95 % confidence interval ([`wilson_interval`]).
    pub test_interval: Interval,
    /// Accuracy on the training examples, from 0 to 1.
    pub train_accuracy: f64,
    /// Mean softmax cross entropy on the training examples, in nats.
    pub train_loss: f64,
    /// Number of optimiser steps.
    pub iterations: usize,
    /// Whether the fit converged before the maximum number of steps.
    pub converged: bool,
}

/// Fits softmax regression, `logits = x W + b`, to training examples and measures its accuracy.
///
/// The fit minimises the mean cross entropy by L-BFGS from `W = b = 0`. Features are standardised to mean 0 and
/// variance 1 on the training examples, which changes the path of the optimiser but not the minimum; a feature that
/// is constant there is left out. The result does not depend on the number of threads. A step over 60,000 examples
/// of 784 numbers took 0.15 s on two busy cores (AVX2).
///
/// # Shapes
/// The features of `train` and `test` are `[examples, ...]`, of the same width when flattened. A test label that no
/// training example has counts as a wrong answer.
///
/// # Errors
/// If there are no examples, one holds NaN or infinity, shapes do not fit, or the fit was asked to stop.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_eval::{Labelled, probe::{ProbeOptions, fit}};
///
/// // The only feature of an example is its class.
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let features: Vec<f32> = labels.iter().map(|label| *label as f32).collect();
/// let features = Tensor::from_vec(features, (40, 1), &Device::Cpu)?;
/// let examples = Labelled { features: &features, labels: &labels };
/// let fitted = fit(examples, examples, &ProbeOptions::default())?;
/// assert_eq!((fitted.train_accuracy, fitted.test_accuracy), (1.0, 1.0));
/// # Ok::<(), lerp_eval::Error>(())
/// ```
pub fn fit(train: Labelled, test: Labelled, options: &ProbeOptions) -> Result<Fitted> {
    let (train_labels, test_labels) = (train.labels, test.labels);
    let stopped = || options.stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
    let mut train = Rows::new("training features", train.features)?;
    let mut test = Rows::new("test features", test.features)?;
    train.check_labels("training labels", train_labels)?;
    test.check_labels("test labels", test_labels)?;
    test.check_width("test features", train.width())?;
    let mean = train.mean();
    let scale = inverse_deviations(&train, &mean);
    standardise(&mut train, &mean, &scale);
    standardise(&mut test, &mean, &scale);

    // Classes are numbered by the order of the training labels, so that labels may be any numbers.
    let mut classes = train_labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let known_classes = |labels: &[u32]| -> Vec<Option<usize>> {
        labels.iter().map(|label| classes.binary_search(label).ok()).collect()
    };
    let (train, test) = (
        Examples::new(&train, &known_classes(train_labels))?,
        Examples::new(&test, &known_classes(test_labels))?,
    );
    let parameters = vec![0.0; (train.width + 1) * classes.len()];
    let found = minimise(parameters, options.max_iterations, options.tolerance, |parameters| {
        if stopped() {
            return Err(Error::Stopped);
        }
        let pass = train.pass(parameters, classes.len(), Direction::ForwardAndBackward)?;
        Ok((pass.loss, pass.gradient))
    })?;
    let on_train = train.pass(&found.at, classes.len(), Direction::Forward)?;
    let on_test = test.pass(&found.at, classes.len(), Direction::Forward)?;
    let test_accuracy = on_test.right as f64 / test_labels.len() as f64;
    Ok(Fitted {
        test_accuracy,
        test_interval: wilson_interval(test_accuracy, test_labels.len())?,
        train_accuracy: on_train.right as f64 / train_labels.len() as f64,
        train_loss: on_train.loss,
        iterations: found.iterations,
        converged: found.converged,
    })
}

/// Returns the reciprocal of each column's standard deviation, given its mean; 0 for a constant column.
fn inverse_deviations(rows: &Rows, mean: &[f64]) -> Vec<f64> {
    let mut squares = vec![0.0; rows.width()];
    for row in rows.iter() {
        for ((square, value), mean) in squares.iter_mut().zip(row).zip(mean) {
            *square += (f64::from(*value) - mean).powi(2);
        }
    }
    // The tolerance allows for the rounding error of a constant column's mean.
    let inverse = |(square, mean): (f64, &f64)| {
        let deviation = (square / rows.len() as f64).sqrt();
        if deviation > 1e-7 * mean.abs() { 1.0 / deviation } else { 0.0 }
    };
    squares.into_iter().zip(mean).map(inverse).collect()
}

fn standardise(rows: &mut Rows, mean: &[f64], scale: &[f64]) {
    rows.values_mut().par_chunks_mut(mean.len()).for_each(|row| {
        for ((value, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
            *value = ((f64::from(*value) - mean) * scale) as f32;
        }
    });
}

/// Features in blocks, `[examples, width]` each, and the index of each example's class; `None` for a class that no
/// training example has.
struct Examples {
    blocks: Vec<(Tensor, Vec<Option<usize>>)>,
    count: usize,
    width: usize,
}

/// What a pass over all examples computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// Loss and accuracy.
    Forward,
    /// The gradient, too.
    ForwardAndBackward,
}

/// The results of a pass over all examples.
struct Pass {
    loss: f64,
    /// The gradient at the parameters; zero after a forward pass alone.
    gradient: Vec<f64>,
    /// Number of examples whose largest logit is that of their class.
    right: usize,
}

impl Examples {
    fn new(rows: &Rows, classes_of_rows: &[Option<usize>]) -> Result<Self> {
        let width = rows.width();
        let blocks = rows
            .values()
            .chunks(EXAMPLES_PER_BLOCK * width)
            .zip(classes_of_rows.chunks(EXAMPLES_PER_BLOCK))
            .map(|(values, classes_of_rows)| {
                Ok((
                    Tensor::from_slice(values, (classes_of_rows.len(), width), &Device::Cpu)?,
                    classes_of_rows.to_vec(),
                ))
            });
        Ok(Self { blocks: blocks.collect::<Result<_>>()?, count: rows.len(), width })
    }

    /// Makes a pass with `parameters`: `W` `[width, classes]`, then `b`.
    fn pass(&self, parameters: &[f64], classes: usize, direction: Direction) -> Result<Pass> {
        let (weight, bias) = parameters.split_at(self.width * classes);
        let weight = Tensor::from_iter(weight.iter().map(|w| *w as f32), &Device::Cpu)?;
        let weight = weight.reshape((self.width, classes))?;
        let mut pass = Pass { loss: 0.0, gradient: vec![0.0; parameters.len()], right: 0 };
        let n = self.count as f64;
        for (features, classes_of_rows) in &self.blocks {
            let mut logits: Vec<f32> = features.matmul(&weight)?.flatten_all()?.to_vec1()?;
            let of_rows: Vec<(f64, bool)> = logits
                .par_chunks_mut(classes)
                .zip(classes_of_rows)
                .with_min_len(256)
                .map(|(logits, class)| residual(logits, bias, *class))
                .collect();
            for (loss, right) in of_rows {
                pass.loss += loss / n;
                pass.right += usize::from(right);
            }
            if direction == Direction::ForwardAndBackward {
                let (weights, biases) = pass.gradient.split_at_mut(self.width * classes);
                for row in logits.chunks_exact(classes) {
                    for (sum, residual) in biases.iter_mut().zip(row) {
                        *sum += f64::from(*residual) / n;
                    }
                }
                let residuals = Tensor::from_vec(logits, (classes_of_rows.len(), classes), &Device::Cpu)?;
                let part: Vec<f32> = features.t()?.matmul(&residuals)?.flatten_all()?.to_vec1()?;
                for (sum, value) in weights.iter_mut().zip(part) {
                    *sum += f64::from(value) / n;
                }
            }
        }
        Ok(pass)
    }
}

/// Replaces an example's logits, given without bias, by its probabilities less the one-hot target. Returns its
/// loss, and whether its largest logit is that of its class.
fn residual(logits: &mut [f32], bias: &[f64], class: Option<usize>) -> (f64, bool) {
    let logit = |i: usize| f64::from(logits[i]) + bias[i];
    let largest = (1..bias.len()).fold(0, |best, i| if logit(i) > logit(best) { i } else { best });
    let top = logit(largest);
    let normaliser = top + (0..bias.len()).map(|i| (logit(i) - top).exp()).sum::<f64>().ln();
    let loss = class.map_or(f64::INFINITY, |class| normaliser - logit(class));
    for (i, (value, bias)) in logits.iter_mut().zip(bias).enumerate() {
        let truth = if class == Some(i) { 1.0 } else { 0.0 };
        *value = ((f64::from(*value) + bias - normaliser).exp() - truth) as f32;
    }
    (loss, class == Some(largest))
}

#[cfg(test)]
mod tests {
    use lerp_core::Draws;

    use super::*;

    fn labelled<'a>(features: &'a Tensor, labels: &'a [u32]) -> Labelled<'a> {
        Labelled { features, labels }
    }

    fn tensor(values: &[f32], width: usize) -> Tensor {
        Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu).unwrap()
    }

    /// Points whose class is the index of the largest of `classes` random linear functions.
    fn separable(n: usize, width: usize, classes: usize, stream: &str) -> (Tensor, Vec<u32>) {
        let draws = Draws::new(9, &Device::Cpu);
        let x = draws.normal(stream, (n, width)).unwrap();
        let w = draws.normal("truth", (width, classes)).unwrap();
        let labels = x.matmul(&w).unwrap().argmax(1).unwrap().to_vec1::<u32>().unwrap();
        // Different scales, which standardisation has to undo, and a constant feature.
        let scales: Vec<f32> = (0..width).map(|i| 10_f32.powi(i as i32 % 7 - 3)).collect();
        let x = x.broadcast_mul(&Tensor::new(scales, &Device::Cpu).unwrap()).unwrap();
        let x = Tensor::cat(
            &[x, (Tensor::ones((n, 1), candle_core::DType::F32, &Device::Cpu).unwrap() * 0.3).unwrap()],
            1,
        )
        .unwrap();
        (x, labels.into_iter().map(|l| 100 + 7 * l).collect())
    }

    #[test]
    fn separable_classes_are_separated() {
        let ((train, a), (test, b)) = (separable(6000, 8, 5, "train"), separable(1000, 8, 5, "test"));
        let fitted = fit(labelled(&train, &a), labelled(&test, &b), &ProbeOptions::default()).unwrap();
        assert!(fitted.converged && fitted.train_accuracy == 1.0, "{fitted:?}");
        assert!(fitted.test_accuracy > 0.985, "{fitted:?}");
        let Interval { low, high } = fitted.test_interval;
        assert!(low < fitted.test_accuracy && fitted.test_accuracy < high);
    }

    #[test]
    fn the_optimum_of_one_binary_feature_is_known() {
        // The feature is 0 or 1. For each value a known share of examples is of class 1, which the fit must
        // reproduce.
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for (value, ones, count) in [(0.0, 20, 100), (1.0, 90, 300)] {
            x.extend(std::iter::repeat_n(value, count));
            y.extend((0..count).map(|i| u32::from(i < ones)));
        }
        let x = tensor(&x, 1);
        let examples = labelled(&x, &y);
        let fitted =
            fit(examples, examples, &ProbeOptions { tolerance: 1e-9, ..ProbeOptions::default() }).unwrap();
        let entropy = |p: f64| -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        let expected = 0.25 * entropy(0.2) + 0.75 * entropy(0.3);
        assert!((fitted.train_loss - expected).abs() < 1e-7, "{} {expected}", fitted.train_loss);
        assert_eq!(fitted.test_accuracy, 290.0 / 400.0);
    }

    #[test]
    fn unseen_classes_are_wrong_and_one_class_is_always_right() {
        let x = tensor(&[0.0, 1.0, 2.0, 3.0], 1);
        let (train, test) = (labelled(&x, &[4, 4, 4, 4]), labelled(&x, &[4, 4, 4, 5]));
        let fitted = fit(train, test, &ProbeOptions::default()).unwrap();
        assert_eq!((fitted.train_accuracy, fitted.test_accuracy, fitted.train_loss), (1.0, 0.75, 0.0));
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let ((train, mut a), (test, b)) = (separable(9000, 30, 4, "train"), separable(500, 30, 4, "test"));
        for label in a.iter_mut().step_by(10) {
            *label = 100;
        }
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fit(labelled(&train, &a), labelled(&test, &b), &ProbeOptions::default()).unwrap())
        };
        let one = run(1);
        assert!(one.converged && one.train_loss > 0.1, "{one:?}");
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        let x = tensor(&[0.0, 1.0, 2.0, 3.0], 2);
        let fails = |train: Labelled, test: Labelled| {
            fit(train, test, &ProbeOptions::default()).unwrap_err().to_string()
        };
        let two = labelled(&x, &[0, 1]);
        assert!(fails(labelled(&x, &[0]), two).contains("training labels must be [2]"));
        assert!(fails(two, labelled(&tensor(&[0.0; 6], 3), &[0, 1])).contains("[rows, 2]"));
        let nan = tensor(&[0.0, 0.0, 0.0, f32::NAN], 2);
        assert!(fails(two, labelled(&nan, &[0, 1])).contains("row 1 holds NaN"));
    }
}
