//! Hypothesis tests about means over seeds: p-values, their correction for multiple tests, and the number of seeds
//! that a test needs.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{
    Sample,
    compare::{Difference, MAX_DEGREES},
};

/// Returns the one-sided p-value of Welch's t test of `a` having a lower mean than `b`: the probability of a
/// difference at most `a.mean - b.mean` if the true means are equal. Returns `None` if a side is a single value, or
/// if neither side has any variance.
pub fn lower_p(a: Sample, b: Sample) -> Option<f64> {
    a.variance()?;
    b.variance()?;
    let Difference { mean, error, degrees } = Difference::of(a, b)?;
    student(mean, error, degrees)
}

/// Returns the one-sided p-value of Student's t test of `a` having a mean lower than `number`: the probability of a
/// mean at most `a.mean` if the true mean is `number`. Returns `None` for a single value, or if there is no
/// variance.
pub fn below_p(a: Sample, number: f64) -> Option<f64> {
    let error = (a.variance()? / a.n as f64).sqrt();
    student(a.mean - number, error, (a.n - 1) as f64)
}

/// Returns the share of Student's t distribution below `difference / error`; `None` if the error is 0.
fn student(difference: f64, error: f64, degrees: f64) -> Option<f64> {
    let t = StudentsT::new(0.0, 1.0, degrees.min(MAX_DEGREES)).ok()?;
    (error > 0.0).then(|| t.cdf(difference / error))
}

/// Returns p-values of a family of tests after Holm's correction ("A simple sequentially rejective multiple test
/// procedure", 1979), in the same order. It controls the probability that any test of the family is significant by
/// chance.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut corrected, mut most) = (vec![0.0; p.len()], 0.0_f64);
    for (rank, i) in order.into_iter().enumerate() {
        most = most.max(p[i] * (p.len() - rank) as f64).min(1.0);
        corrected[i] = most;
    }
    corrected
}

/// The maximum number of seeds that [`seeds_needed`] reports.
const MAX_SEEDS: u64 = 10_000;

/// Returns the approximate number of seeds per side at which a difference of this size is significant at the level
/// `alpha`, two-sided, with a power of 80 %, if the observed means and variances are the true ones. Returns `None`
/// if a side is a single value, if there is no difference or no variance, or if it takes more than 10,000 seeds.
///
/// The power is that of Welch's t test with as many seeds, with the noncentral t distribution approximated by the
/// shifted central one.
pub fn seeds_needed(a: Sample, b: Sample, alpha: f64) -> Option<u64> {
    let (first, second) = (a.variance()?, b.variance()?);
    let difference = (a.mean - b.mean).abs();
    let enough = |seeds: &u64| {
        let n = *seeds as f64;
        let error = ((first + second) / n).sqrt();
        let degrees = (n - 1.0) * (first + second).powi(2) / (first.powi(2) + second.powi(2));
        StudentsT::new(0.0, 1.0, degrees.min(MAX_DEGREES))
            .is_ok_and(|t| t.cdf(difference / error - t.inverse_cdf(1.0 - alpha / 2.0)) >= 0.8)
    };
    (difference > 0.0 && first + second > 0.0).then(|| (3..=MAX_SEEDS).find(enough)).flatten()
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
    fn p_values_equal_scipys() {
        // scipy.stats.ttest_ind([1.1, 1.3, 1.0], [1.4, 1.9, 1.5, 1.7], equal_var=False, alternative="less")
        let (a, b) = (sample(&[1.1, 1.3, 1.0]), sample(&[1.4, 1.9, 1.5, 1.7]));
        let p = lower_p(a, b).unwrap();
        assert!((p - 0.008_928_365_949_915_841).abs() < 1e-12, "{p}");
        assert!((lower_p(b, a).unwrap() - (1.0 - p)).abs() < 1e-12);
        // scipy.stats.ttest_1samp([1.1, 1.3, 1.0], 1.4, alternative="less")
        let p = below_p(a, 1.4).unwrap();
        assert!((p - 0.047_089_186_342_161_79).abs() < 1e-12, "{p}");
    }

    #[test]
    fn without_a_spread_there_is_no_test() {
        let one = |mean| Sample { mean, std: 0.0, n: 1 };
        let still = |mean| Sample { mean, std: 0.0, n: 3 };
        let spread = Sample { mean: 2.0, std: 0.1, n: 3 };
        for (a, b) in [(one(1.0), one(2.0)), (one(1.0), spread), (spread, one(1.0)), (still(1.0), still(2.0))]
        {
            assert_eq!((lower_p(a, b), seeds_needed(a, b, 0.05)), (None, None));
        }
        assert_eq!((below_p(one(1.0), 2.0), below_p(still(1.0), 2.0)), (None, None));
        assert!(lower_p(still(1.0), spread).is_some());
        assert_eq!(seeds_needed(spread, spread, 0.05), None);
    }

    #[test]
    fn holms_correction_equals_that_of_statsmodels() {
        // statsmodels.stats.multitest.multipletests([0.01, 0.04, 0.03, 0.005], method="holm")
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (ours, wanted) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((ours - wanted).abs() < 1e-15, "{corrected:?}");
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn numbers_of_seeds_equal_those_of_statsmodels() {
        // `statsmodels.stats.power.TTestIndPower().solve_power(effect, alpha=0.05, power=0.8)` gives 63.77, 16.71
        // and 5.09 per side.
        let side = |mean| Sample { mean, std: (9.0_f64 / 10.0).sqrt(), n: 10 };
        for (effect, seeds) in [(0.5, 64), (1.0, 17), (2.0, 6)] {
            let found = seeds_needed(side(0.0), side(effect), 0.05).unwrap();
            assert!(found.abs_diff(seeds) <= 1, "{effect}: {found}");
        }
        assert_eq!(seeds_needed(side(0.0), side(1e-6), 0.05), None);
    }
}
