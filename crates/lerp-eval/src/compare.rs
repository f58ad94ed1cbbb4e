//! Is one mean really lower than another? Intervals for the difference of two means.

use lerp_core::Draws;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean, its standard deviation with divisor n, and the number of values behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Mean.
    pub mean: f64,
    /// Standard deviation with divisor n; of a single value it counts for nothing.
    pub std: f64,
    /// Number of values.
    pub n: usize,
}

impl Sample {
    /// Variance with divisor n - 1; none of a single value.
    pub(crate) fn variance(self) -> Option<f64> {
        (self.n > 1).then(|| self.std.powi(2) * self.n as f64 / (self.n - 1) as f64)
    }
}

/// The 95 % interval of `a.mean - b.mean` by Welch's t, for two samples of unlike spread (Welch, "The generalization of
/// 'Student's' problem when several different population variances are involved", 1947).
///
/// A sample of a single value is taken to have the other's variance; none if both are.
pub fn welch_interval(a: Sample, b: Sample) -> Option<(f64, f64)> {
    let Difference { mean, error, degrees } = Difference::of(a, b)?;
    let half = student_quantile(degrees) * error;
    Some((mean - half, mean + half))
}

/// A difference of two means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Difference {
    /// It.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom of that.
    pub degrees: f64,
}

impl Difference {
    /// That of `a.mean - b.mean`, by the rules of [`welch_interval`].
    pub fn of(a: Sample, b: Sample) -> Option<Self> {
        let (first, second) = (a.variance().or(b.variance())?, b.variance().or(a.variance())?);
        let (first, second) = (first / a.n as f64, second / b.n as f64);
        let error = (first + second).sqrt();
        let degrees = match (a.n, b.n) {
            (1, n) | (n, 1) => (n - 1) as f64,
            (n, m) if error > 0.0 => {
                (first + second).powi(2) / (first.powi(2) / (n - 1) as f64 + second.powi(2) / (m - 1) as f64)
            }
            // No spread at all: the difference is certain, whatever the quantile.
            _ => 1.0,
        };
        Some(Self { mean: a.mean - b.mean, error, degrees })
    }
}

/// Degrees of freedom beyond which statrs loses digits: at a million it is wrong by 0.006 %, and on the other side of the normal
/// distribution's.
pub(crate) const MOST_DEGREES: f64 = 1e4;

/// 97.5 % of Student's t distribution with so many degrees of freedom, whole or not, lie below. More than 10,000 count as
/// 10,000, which makes the quantile 0.012 % too large at most.
pub fn student_quantile(degrees: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees.min(MOST_DEGREES)).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
}

/// What resampling says of a mean of differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// The mean.
    pub mean: f64,
    /// Lower end of its 95 % percentile interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The share of resamples with a mean below zero; those at zero count half.
    pub below: f64,
}

impl Bootstrap {
    /// Whether the interval contains zero.
    pub fn undecided(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// Up to so many values all resamples are counted, 92,378 different ones of ten; of more, some are drawn.
const EXACT: usize = 10;
/// Resamples that are drawn.
const DRAWN: usize = 20_000;

/// The percentile bootstrap of the mean of `differences` (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
/// chapter 13), of pairs: one difference for each seed that both have. It is the same every time. None of fewer than two
/// values, or if one is not finite.
pub fn paired_bootstrap(differences: &[f64]) -> Option<Bootstrap> {
    let n = differences.len();
    if n < 2 || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    let mut means = Vec::new();
    if n <= EXACT {
        enumerate(differences, n, (0.0, 1.0), &mut means);
        for (sum, _) in &mut means {
            *sum /= n as f64;
        }
    } else {
        let draws = Draws::new(0, &candle_core::Device::Cpu);
        means.extend((0..DRAWN).map(|i| {
            let picks = draws.at(i as u64).uniforms("bootstrap", n);
            let sum: f64 =
                picks.iter().map(|u| differences[((f64::from(*u) * n as f64) as usize).min(n - 1)]).sum();
            (sum / n as f64, 1.0)
        }));
    }
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = means.iter().map(|(_, weight)| weight).sum();
    // Sums that are zero but for rounding are ties.
    let zero = 1e-12 * differences.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
    let share = |mean: f64| match mean {
        _ if mean.abs() <= zero => 0.5,
        _ if mean < 0.0 => 1.0,
        _ => 0.0,
    };
    let below = means.iter().map(|(mean, weight)| weight * share(*mean));
    Some(Bootstrap {
        mean: differences.iter().sum::<f64>() / n as f64,
        low: quantile(means.iter(), 0.025 * all),
        high: quantile(means.iter().rev(), 0.025 * all),
        below: below.sum::<f64>() / all,
    })
}

/// All multisets of as many of the values as there are, with their sums and how many ordered resamples each stands for, but
/// for a common factor: 1 / k! for a value taken k times.
fn enumerate(rest: &[f64], left: usize, (sum, weight): (f64, f64), sums: &mut Vec<(f64, f64)>) {
    let Some((first, others)) = rest.split_first() else { return };
    if others.is_empty() {
        let (mut sum, mut weight) = (sum, weight);
        for k in 1..=left {
            sum += first;
            weight /= k as f64;
        }
        sums.push((sum, weight));
        return;
    }
    let (mut sum, mut weight) = (sum, weight);
    for taken in 0..=left {
        if taken > 0 {
            sum += first;
            weight /= taken as f64;
        }
        enumerate(others, left - taken, (sum, weight), sums);
    }
}

/// The first value at which more than `share` of the weight is passed.
pub(crate) fn quantile<'a>(sorted: impl Iterator<Item = &'a (f64, f64)>, share: f64) -> f64 {
    let (mut passed, mut last) = (0.0, f64::NAN);
    for (mean, weight) in sorted {
        passed += weight;
        last = *mean;
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
    fn quantiles_of_student() {
        // Any table of the distribution.
        for (degrees, wanted) in
            [(1.0, 12.7062), (2.0, 4.30265), (4.0, 2.77645), (10.0, 2.22814), (30.0, 2.04227), (1e4, 1.96020)]
        {
            let t = student_quantile(degrees);
            assert!((t - wanted).abs() < 1e-4 * wanted, "{degrees}: {t}");
        }
        let between = student_quantile(4.5);
        assert!(between < 2.77645 && between > 2.57058, "{between}");
        // In closed form.
        let two = 0.95 * (2.0_f64 / (4.0 * 0.975 * 0.025)).sqrt();
        assert!((student_quantile(2.0) - two).abs() < 1e-12);
        assert_eq!(student_quantile(1e9), student_quantile(1e4));
    }

    #[test]
    fn intervals_of_welch() {
        let sample = |mean, std, n| Sample { mean, std, n };
        // Standard errors 1 and 1 with 4 degrees each: 8 together.
        let (low, high) = welch_interval(sample(3.0, 2.0, 5), sample(1.0, 2.0, 5)).unwrap();
        let half = 2.306_004_135 * 2.0_f64.sqrt();
        assert!((low - (2.0 - half)).abs() < 1e-6 && (high - (2.0 + half)).abs() < 1e-6, "{low} {high}");
        // One more draw of the other's spread: variance 1.25 * 0.04, times 1 + 1/5.
        let (low, high) = welch_interval(sample(1.0, 9.0, 1), sample(1.0, 0.2, 5)).unwrap();
        let half = 2.776_445_105 * (0.05_f64 * 1.2).sqrt();
        assert!((high - half).abs() < 1e-6 && (low + half).abs() < 1e-6, "{low} {high}");
        assert_eq!(welch_interval(sample(1.0, 0.0, 1), sample(2.0, 0.0, 1)), None);
        assert_eq!(welch_interval(sample(1.0, 0.0, 3), sample(0.5, 0.0, 2)), Some((0.5, 0.5)));
    }

    #[test]
    fn resamples_are_counted_exactly() {
        // Means -1, 1 and 3 in a quarter, half and quarter of the four resamples.
        let two = paired_bootstrap(&[-1.0, 3.0]).unwrap();
        assert_eq!(two, Bootstrap { mean: 1.0, low: -1.0, high: 3.0, below: 0.25 });
        assert!(two.undecided());
        let tied = paired_bootstrap(&[-2.0, 2.0]).unwrap();
        assert_eq!((tied.mean, tied.below), (0.0, 0.5));
        // Of 3^3 = 27 resamples 1 is all ones and 1 all threes: both within the outer 2.5 % is false.
        let three = paired_bootstrap(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((three.low, three.high, three.below), (1.0, 3.0, 0.0));
        assert!(!three.undecided());
        // All 5^5 by hand.
        let values = [0.3, -0.2, 0.5, 0.1, -0.7];
        let mut all: Vec<f64> = (0..3125_usize)
            .map(|i| (0..5).map(|place| values[i / 5_usize.pow(place) % 5]).sum::<f64>() / 5.0)
            .collect();
        all.sort_by(f64::total_cmp);
        let five = paired_bootstrap(&values).unwrap();
        assert!((five.low - all[78]).abs() < 1e-12 && (five.high - all[3125 - 79]).abs() < 1e-12, "{five:?}");
    }

    #[test]
    fn many_values_are_drawn_and_always_the_same() {
        let values: Vec<f64> = (0..40).map(|i| f64::from(i % 8) - 3.0).collect();
        let drawn = paired_bootstrap(&values).unwrap();
        // Standard error of the mean: sqrt(5.25 / 40) = 0.362.
        assert!((drawn.mean - 0.5).abs() < 1e-12);
        assert!((drawn.low + 0.21).abs() < 0.05 && (drawn.high - 1.21).abs() < 0.05, "{drawn:?}");
        assert!((drawn.below - 0.08).abs() < 0.03, "{drawn:?}");
        assert_eq!(paired_bootstrap(&values), Some(drawn));
    }

    #[test]
    fn what_cannot_be_resampled() {
        for values in [&[][..], &[1.0], &[1.0, f64::NAN]] {
            assert_eq!(paired_bootstrap(values), None);
        }
    }
}
