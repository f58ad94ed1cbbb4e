//! Statistics that turn a run's evaluations into the number in a table.

use crate::{Error, Result};

/// The number of evaluations in the final value of a run of the paper, counted from the last one.
const FINAL_IN_PAPER: usize = 20;
/// The number of evaluations of a run of the paper.
const EVALUATIONS_IN_PAPER: usize = 256;

/// The minimum number of evaluations in a final value, if the run has as many.
const MIN_FINAL: usize = 3;

/// Returns the median; NaN for no values or if any value is NaN, as in numpy.
pub fn median(values: &[f64]) -> f64 {
    if values.is_empty() || values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { sorted[middle - 1].midpoint(sorted[middle]) }
}

/// Returns how many of a run's `evaluations` are in its final value: the last 20 of the paper's 256. A shorter run
/// uses the same share, but at least three, because the median over most of a short run would be dominated by its
/// beginning.
pub fn final_count(evaluations: usize) -> usize {
    let same_share = (evaluations * FINAL_IN_PAPER).div_ceil(EVALUATIONS_IN_PAPER);
    same_share.clamp(MIN_FINAL, FINAL_IN_PAPER).min(evaluations)
}

/// Returns a run's final value: the median of its last [`final_count`] evaluations.
///
/// ```
/// use lerp_eval::{Sample, final_value};
///
/// // Of a short run, the last three evaluations count.
/// let runs = [final_value(&[9.0, 5.0, 1.0, 2.0, 3.0]), final_value(&[9.0, 8.0, 6.0, 4.0, 2.0])];
/// assert_eq!(runs, [2.0, 4.0]);
/// assert_eq!(Sample::of(&runs), Sample { mean: 3.0, std: 1.0, n: 2 });
/// ```
pub fn final_value(values: &[f64]) -> f64 {
    median(&values[values.len() - final_count(values.len())..])
}

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Returns the 95 % Wilson score interval of an `accuracy` measured on `n` examples (Wilson, "Probable inference,
/// the law of succession, and statistical inference", 1927). Unlike accuracy ± 1.96 standard errors, it stays
/// within 0 and 1, and it has a positive width even if every answer was right.
///
/// # Errors
/// If `accuracy` lies outside `[0, 1]` or `n` is 0.
pub fn wilson_interval(accuracy: f64, n: usize) -> Result<Interval> {
    /// The 97.5 % quantile of the standard normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if !(0.0..=1.0).contains(&accuracy) {
        return Err(Error::Range { what: "an accuracy", wanted: "from 0 to 1", given: accuracy });
    }
    if n == 0 {
        return Err(Error::Range { what: "the number of examples", wanted: "at least 1", given: 0.0 });
    }
    let (n, z2) = (n as f64, Z * Z);
    let centre = (accuracy + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z * (accuracy * (1.0 - accuracy) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    Ok(Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_equal_known_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[-0.0, f64::INFINITY, 1.0]), 1.0);
        assert!(median(&[]).is_nan());
        assert!(median(&[1.0, f64::NAN, 2.0]).is_nan());
    }

    #[test]
    fn final_values_use_the_end_of_a_run() {
        let counts = [0, 2, 3, 4, 16, 64, 100, 255, 256, 1000].map(final_count);
        assert_eq!(counts, [0, 2, 3, 3, 3, 5, 8, 20, 20, 20]);
        let falling: Vec<f64> = (0..256).rev().map(f64::from).collect();
        assert_eq!(final_value(&falling), 9.5);
        assert_eq!(final_value(&falling[240..]), 1.0);
        let mut early = falling.clone();
        early[235] = f64::NAN;
        assert_eq!(final_value(&early), 9.5);
        early[236] = f64::NAN;
        assert!(final_value(&early).is_nan());
        assert!(final_value(&[]).is_nan());
    }

    #[test]
    fn wilson_intervals_equal_published_ones() {
        // Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        for (right, n, lower, upper) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let Interval { low: a, high: b } = wilson_interval(f64::from(right) / n as f64, n).unwrap();
            assert!((a - lower).abs() < 6e-5 && (b - upper).abs() < 6e-5, "{right} of {n}: {a} to {b}");
        }
        let Interval { low, high } = wilson_interval(1.0, 10_000).unwrap();
        assert!(low > 0.9996 && low < 1.0 && high == 1.0);
        for (accuracy, n) in [(f64::NAN, 5), (1.1, 5), (-0.1, 5), (0.5, 0)] {
            assert!(wilson_interval(accuracy, n).is_err());
        }
    }
}
