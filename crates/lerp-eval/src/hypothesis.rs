//! Tests of hypotheses about means over seeds: p-values, their correction, and how many seeds would decide.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::{
    Sample,
    compare::{Difference, MOST_DEGREES},
};

/// The probability of a difference as low as `a.mean - b.mean - beyond`, or lower, if the true one is `beyond`: small where `a`
/// lies below `b + beyond` by more than chance. Welch's t; a sample of a single value is taken to have the other's variance.
/// None if both are.
pub fn lower_p(a: Sample, b: Sample, beyond: f64) -> Option<f64> {
    let Difference { mean, error, degrees } = Difference::of(a, b)?;
    student(mean - beyond, error, degrees)
}

/// The same of the mean of one sample and a known number: small where `a` lies below `number` by more than chance. None of a
/// single value.
pub fn below_p(a: Sample, number: f64) -> Option<f64> {
    let error = (a.variance()? / a.n as f64).sqrt();
    student(a.mean - number, error, (a.n - 1) as f64)
}

/// The share of Student's t distribution below `difference / error`.
fn student(difference: f64, error: f64, degrees: f64) -> Option<f64> {
    if error > 0.0 {
        let t = StudentsT::new(0.0, 1.0, degrees.min(MOST_DEGREES)).ok()?;
        return Some(t.cdf(difference / error));
    }
    // No spread at all: the difference is certain.
    Some(match difference {
        d if d < 0.0 => 0.0,
        d if d > 0.0 => 1.0,
        _ => 0.5,
    })
}

/// P-values of a family of tests, each corrected for there being several (Holm, "A simple sequentially rejective multiple test
/// procedure", 1979), in the same order: the probability that any of the family is called significant by chance is kept.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut corrected, mut most) = (vec![0.0; p.len()], 0.0_f64);
    for (place, i) in order.into_iter().enumerate() {
        most = most.max(p[i] * (p.len() - place) as f64).min(1.0);
        corrected[i] = most;
    }
    corrected
}

/// How many seeds of each side would tell a difference of this size at the level `alpha`, two-sided, four times in five, if
/// means and spreads stay as they are. None if nothing is known of the spread or there is no difference.
///
/// By the normal distribution, with a seed more for Student's.
pub fn seeds_to_tell(a: Sample, b: Sample, alpha: f64) -> Option<u64> {
    let (first, second) = (a.variance().or(b.variance())?, b.variance().or(a.variance())?);
    let difference = a.mean - b.mean;
    let normal = Normal::new(0.0, 1.0).ok()?;
    let z = normal.inverse_cdf(1.0 - alpha / 2.0) + normal.inverse_cdf(0.8);
    let seeds = z.powi(2) * (first + second) / difference.powi(2);
    seeds.is_finite().then(|| (seeds.ceil() as u64 + 1).max(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[f64]) -> Sample {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        Sample { mean, std, n }
    }

    #[test]
    fn p_values_are_scipys() {
        // scipy.stats.ttest_ind([1.1, 1.3, 1.0], [1.4, 1.9, 1.5, 1.7], equal_var=False, alternative="less")
        let (a, b) = (sample(&[1.1, 1.3, 1.0]), sample(&[1.4, 1.9, 1.5, 1.7]));
        let p = lower_p(a, b, 0.0).unwrap();
        assert!((p - 0.008_928_365_949_915_841).abs() < 1e-12, "{p}");
        assert!((lower_p(b, a, 0.0).unwrap() - (1.0 - p)).abs() < 1e-12);
        assert!((lower_p(a, b, 0.25).unwrap() - 0.001_686_667_551_792_907_1).abs() < 1e-12);
        // scipy.stats.ttest_1samp([1.1, 1.3, 1.0], 1.4, alternative="less")
        let p = below_p(a, 1.4).unwrap();
        assert!((p - 0.047_089_186_342_161_79).abs() < 1e-12, "{p}");
    }

    #[test]
    fn what_has_no_spread_is_certain_and_single_values_say_nothing() {
        let one = |mean| Sample { mean, std: 0.0, n: 1 };
        let still = |mean| Sample { mean, std: 0.0, n: 3 };
        assert_eq!((lower_p(one(1.0), one(2.0), 0.0), below_p(one(1.0), 2.0)), (None, None));
        assert_eq!((lower_p(still(1.0), still(2.0), 0.0), below_p(still(1.0), 2.0)), (Some(0.0), Some(0.0)));
        assert_eq!((lower_p(still(2.0), still(2.0), 0.0), below_p(still(3.0), 2.0)), (Some(0.5), Some(1.0)));
        assert_eq!(seeds_to_tell(one(1.0), one(2.0), 0.05), None);
        assert_eq!(seeds_to_tell(still(2.0), still(2.0), 0.05), None);
        assert_eq!(seeds_to_tell(still(1.0), still(2.0), 0.05), Some(3));
    }

    #[test]
    fn holms_correction_is_the_papers() {
        // statsmodels.stats.multitest.multipletests([0.01, 0.04, 0.03, 0.005], method="holm")
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (ours, wanted) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((ours - wanted).abs() < 1e-15, "{corrected:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn half_a_deviation_needs_many_seeds() {
        // Two normal samples, half a standard deviation apart: 63 a side by the normal distribution.
        let side = |mean| Sample { mean, std: (9.0_f64 / 10.0).sqrt(), n: 10 };
        assert_eq!(seeds_to_tell(side(0.0), side(0.5), 0.05), Some(64));
    }
}
