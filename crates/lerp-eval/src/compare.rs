//! Confidence intervals of the difference of two means.

use lerp_core::Draws;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::stats::Interval;

/// A sample, summarised by its mean, standard deviation and size.
///
/// ```
/// use lerp_eval::{Sample, holm, lower_p, paired_bootstrap, seeds_needed, welch_interval};
///
/// // The mean distances of two variants over five seeds.
/// let ours = Sample { mean: 2.2, std: 0.2, n: 5 };
/// let theirs = Sample { mean: 3.3, std: 0.3, n: 5 };
/// let difference = welch_interval(ours, theirs).expect("both samples have several values");
/// assert!(difference.low < -1.1 && -1.1 < difference.high && difference.high < 0.0);
///
/// // Is ours lower? This is one of three tests.
/// let p = lower_p(ours, theirs).expect("both samples vary");
/// assert!(p < 0.001);
/// assert_eq!(holm(&[p, 0.2, 0.9])[0], 3.0 * p);
/// assert_eq!(seeds_needed(ours, theirs, 0.05), Some(3));
///
/// // The differences of runs with the same seed.
/// let pairs = paired_bootstrap(&[-1.0, -1.3, -0.9, -1.2, -1.1]).expect("finite differences");
/// assert!(pairs.interval.high < 0.0 && !pairs.undecided());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Mean.
    pub mean: f64,
    /// Standard deviation with divisor n; ignored for a single value.
    pub std: f64,
    /// Number of values.
    pub n: usize,
}

impl Sample {
    /// Returns the mean and the population standard deviation (divisor n, as the paper's "±" over runs) of `values`; NaN
    /// for no values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        Self { mean, std: variance.sqrt(), n }
    }

    /// Returns the variance with divisor n - 1; `None` for a single value.
    pub(crate) fn variance(self) -> Option<f64> {
        (self.n > 1).then(|| self.std.powi(2) * self.n as f64 / (self.n - 1) as f64)
    }
}

/// Returns the 95 % confidence interval of `a.mean - b.mean` by Welch's t test, for two samples of unequal variance
/// (Welch, "The generalization of 'Student's' problem when several different population variances are involved",
/// 1947).
///
/// A sample of a single value is assumed to have the other sample's variance. Returns `None` if both are single
/// values.
pub fn welch_interval(a: Sample, b: Sample) -> Option<Interval> {
    let Difference { mean, error, degrees } = Difference::of(a, b)?;
    let half = student_quantile(degrees) * error;
    Some(Interval { low: mean - half, high: mean + half })
}

/// A difference of two means with its standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    /// The difference.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom of the standard error.
    pub degrees: f64,
}

impl Difference {
    /// Returns `a.mean - b.mean`, by the rules of [`welch_interval`].
    pub fn of(a: Sample, b: Sample) -> Option<Self> {
        let (first, second) = (a.variance().or(b.variance())?, b.variance().or(a.variance())?);
        let (first, second) = (first / a.n as f64, second / b.n as f64);
        let error = (first + second).sqrt();
        let degrees = match (a.n, b.n) {
            (1, n) | (n, 1) => (n - 1) as f64,
            (n, m) if error > 0.0 => {
                (first + second).powi(2) / (first.powi(2) / (n - 1) as f64 + second.powi(2) / (m - 1) as f64)
            }
            // Without any variance the difference is exact, whatever the quantile.
            _ => 1.0,
        };
        Some(Self { mean: a.mean - b.mean, error, degrees })
    }
}

/// The maximum number of degrees of freedom that is passed to statrs, which is inaccurate beyond it: at a million
/// its quantile is off by 0.006 %, on the wrong side of the normal distribution's.
pub(crate) const MAX_DEGREES: f64 = 1e4;

/// Returns the 97.5 % quantile of Student's t distribution with this number of degrees of freedom, which need not
/// be an integer. Numbers above 10,000 count as 10,000, which makes the quantile too large by at most 0.012 %.
pub fn student_quantile(degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees.min(MAX_DEGREES)).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
}

/// A bootstrap estimate of a mean of differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// The mean.
    pub mean: f64,
    /// Its 95 % percentile interval.
    pub interval: Interval,
    /// The share of resamples with a mean below zero; means equal to zero count half.
    pub below: f64,
}

impl Bootstrap {
    /// Returns whether the interval contains zero.
    pub fn undecided(&self) -> bool {
        self.interval.low <= 0.0 && self.interval.high >= 0.0
    }
}

/// A value of a distribution, with a weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weighted {
    pub value: f64,
    pub weight: f64,
}

/// The maximum number of values for which all resamples are enumerated: ten values have 92,378 different ones. For
/// more values, resamples are drawn at random.
const MAX_ENUMERATED: usize = 10;
/// The number of random resamples.
const RANDOM_RESAMPLES: usize = 20_000;

/// Returns the percentile bootstrap of the mean of `differences` (Efron and Tibshirani, "An Introduction to the
/// Bootstrap", 1993, chapter 13), where each difference is that of a pair, such as two runs with the same seed. The
/// result is deterministic. Returns `None` for fewer than two values, or if one is not finite.
pub fn paired_bootstrap(differences: &[f64]) -> Option<Bootstrap> {
    let n = differences.len();
    if n < 2 || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let mut means = Vec::new();
    if n <= MAX_ENUMERATED {
        enumerate(differences, n, Weighted { value: 0.0, weight: 1.0 }, &mut means);
        for mean in &mut means {
            mean.value /= n as f64;
        }
    } else {
        let draws = Draws::new(0, &candle_core::Device::Cpu);
        means.extend((0..RANDOM_RESAMPLES).map(|i| {
            let picks = draws.at(i as u64).uniforms("bootstrap", n);
            let sum: f64 =
                picks.iter().map(|u| differences[((f64::from(*u) * n as f64) as usize).min(n - 1)]).sum();
            Weighted { value: sum / n as f64, weight: 1.0 }
        }));
    }
    means.sort_by(|a, b| a.value.total_cmp(&b.value));
    let all: f64 = means.iter().map(|mean| mean.weight).sum();
    // Means that differ from zero only by rounding count as zero.
    let zero = 1e-12 * differences.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
    let share = |mean: f64| match mean {
        _ if mean.abs() <= zero => 0.5,
        _ if mean < 0.0 => 1.0,
        _ => 0.0,
    };
    let below = means.iter().map(|mean| mean.weight * share(mean.value));
    Some(Bootstrap {
        mean: differences.iter().sum::<f64>() / n as f64,
        interval: Interval {
            low: quantile(means.iter(), 0.025 * all),
            high: quantile(means.iter().rev(), 0.025 * all),
        },
        below: below.sum::<f64>() / all,
    })
}

/// Enumerates all multisets of `left` values of `rest`. Appends to `sums` the sum of each one, added to `sum`, with a
/// weight that is proportional to the number of ordered resamples that it stands for: a value taken k times
/// contributes a factor 1 / k!.
fn enumerate(rest: &[f64], left: usize, mut sum: Weighted, sums: &mut Vec<Weighted>) {
    let Some((first, others)) = rest.split_first() else { return };
    if others.is_empty() {
        for k in 1..=left {
            sum.value += first;
            sum.weight /= k as f64;
        }
        sums.push(sum);
        return;
    }
    for taken in 0..=left {
        if taken > 0 {
            sum.value += first;
            sum.weight /= taken as f64;
        }
        enumerate(others, left - taken, sum, sums);
    }
}

/// Returns the first value at which the accumulated weight exceeds `share`, which is an absolute weight.
pub(crate) fn quantile<'a>(sorted: impl Iterator<Item = &'a Weighted>, share: f64) -> f64 {
    let (mut passed, mut last) = (0.0, f64::NAN);
    for Weighted { value, weight } in sorted {
        passed += weight;
        last = *value;
        if passed > share {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_divide_by_n() {
        assert_eq!(Sample::of(&[1.0, 3.0]), Sample { mean: 2.0, std: 1.0, n: 2 });
        assert_eq!(Sample::of(&[5.0]), Sample { mean: 5.0, std: 0.0, n: 1 });
        assert!(Sample::of(&[]).mean.is_nan());
    }

    #[test]
    fn student_quantiles_equal_tables() {
        // Reference values from tables of the distribution.
        for (degrees, wanted) in
            [(1.0, 12.7062), (2.0, 4.30265), (4.0, 2.77645), (10.0, 2.22814), (30.0, 2.04227), (1e4, 1.96020)]
        {
            let t = student_quantile(degrees);
            assert!((t - wanted).abs() < 1e-4 * wanted, "{degrees}: {t}");
        }
        let between = student_quantile(4.5);
        assert!(between < 2.77645 && between > 2.57058, "{between}");
        // With two degrees of freedom the quantile has a closed form.
        let two = 0.95 * (2.0_f64 / (4.0 * 0.975 * 0.025)).sqrt();
        assert!((student_quantile(2.0) - two).abs() < 1e-12);
        assert_eq!(student_quantile(1e9), student_quantile(1e4));
    }

    #[test]
    fn welch_intervals_equal_known_values() {
        let sample = |mean, std, n| Sample { mean, std, n };
        // Both means have standard error 1 with 4 degrees of freedom, which combine to 8.
        let Interval { low, high } = welch_interval(sample(3.0, 2.0, 5), sample(1.0, 2.0, 5)).unwrap();
        let half = 2.306_004_135 * 2.0_f64.sqrt();
        assert!((low - (2.0 - half)).abs() < 1e-6 && (high - (2.0 + half)).abs() < 1e-6, "{low} {high}");
        // The single value is assumed to have the other's variance, 1.25 * 0.04; the difference has that times 1 +
        // 1/5.
        let Interval { low, high } = welch_interval(sample(1.0, 9.0, 1), sample(1.0, 0.2, 5)).unwrap();
        let half = 2.776_445_105 * (0.05_f64 * 1.2).sqrt();
        assert!((high - half).abs() < 1e-6 && (low + half).abs() < 1e-6, "{low} {high}");
        assert_eq!(welch_interval(sample(1.0, 0.0, 1), sample(2.0, 0.0, 1)), None);
        assert_eq!(
            welch_interval(sample(1.0, 0.0, 3), sample(0.5, 0.0, 2)),
            Some(Interval { low: 0.5, high: 0.5 })
        );
    }

    #[test]
    fn resamples_of_few_values_are_enumerated() {
        // The four resamples have the means -1, 1 and 3 with shares of a quarter, a half and a quarter.
        let two = paired_bootstrap(&[-1.0, 3.0]).unwrap();
        assert_eq!(two, Bootstrap { mean: 1.0, interval: Interval { low: -1.0, high: 3.0 }, below: 0.25 });
        assert!(two.undecided());
        let tied = paired_bootstrap(&[-2.0, 2.0]).unwrap();
        assert_eq!((tied.mean, tied.below), (0.0, 0.5));
        // One of the 3^3 = 27 resamples is all ones and one all threes; each has a share of more than 2.5 %.
        let three = paired_bootstrap(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((three.interval, three.below), (Interval { low: 1.0, high: 3.0 }, 0.0));
        assert!(!three.undecided());
        // All 5^5 ordered resamples are enumerated directly.
        let values = [0.3, -0.2, 0.5, 0.1, -0.7];
        let mut all: Vec<f64> = (0..3125_usize)
            .map(|i| (0..5).map(|digit| values[i / 5_usize.pow(digit) % 5]).sum::<f64>() / 5.0)
            .collect();
        all.sort_by(f64::total_cmp);
        let five = paired_bootstrap(&values).unwrap();
        assert!(
            (five.interval.low - all[78]).abs() < 1e-12
                && (five.interval.high - all[3125 - 79]).abs() < 1e-12,
            "{five:?}"
        );
    }

    #[test]
    fn random_resamples_are_deterministic() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i % 8) - 3.0).collect();
        let drawn = paired_bootstrap(&values).unwrap();
        // The standard error of the mean is sqrt(5.25 / 40) = 0.362.
        assert!((drawn.mean - 0.5).abs() < 1e-12);
        assert!(
            (drawn.interval.low + 0.21).abs() < 0.05 && (drawn.interval.high - 1.21).abs() < 0.05,
            "{drawn:?}"
        );
        assert!((drawn.below - 0.08).abs() < 0.03, "{drawn:?}");
        assert_eq!(paired_bootstrap(&values), Some(drawn));
    }

    #[test]
    fn too_few_or_undefined_values_are_not_resampled() {
        for values in [&[][..], &[1.0], &[1.0, f64::NAN]] {
            assert_eq!(paired_bootstrap(values), None);
        }
    }
}
