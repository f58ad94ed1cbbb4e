//! Comparisons of computed with golden values, within the tolerances of the manifest.

use candle_core::Tensor;

use crate::{
    Check, Error, Result, Summary,
    golden::{File, Manifest, Tolerance, to_theirs},
};

/// The measure of an error between computed and expected values.
#[derive(Debug, Clone, Copy)]
pub enum Measure {
    /// Largest absolute difference divided by the largest absolute expected value.
    RelativeToLargest,
    /// Largest absolute difference.
    Absolute,
    /// Largest ratio of the absolute difference to the absolute expected value, which counts as at least 1e-3.
    Relative,
    /// Largest ratio of the absolute difference to the absolute expected value, over the elements where the latter is
    /// above 1e-12.
    RelativePerElement,
    /// Largest absolute difference after leaving out the fraction of elements that may exceed the tolerance.
    Quantile,
    /// Number of elements that differ.
    Exact,
}

/// Reports comparisons and counts them.
pub struct Checker<'a> {
    manifest: &'a Manifest,
    filter: Option<&'a str>,
    report: &'a mut dyn FnMut(&Check),
    /// The numbers of passed and failed checks so far.
    pub summary: Summary,
}

impl<'a> Checker<'a> {
    /// Creates a checker with the tolerances of `manifest`, which reports only checks whose names contain `filter`.
    pub fn new(manifest: &'a Manifest, filter: Option<&'a str>, report: &'a mut dyn FnMut(&Check)) -> Self {
        Self { manifest, filter, report, summary: Summary::default() }
    }

    /// Returns the tolerance for a kind of value.
    ///
    /// # Errors
    /// If the manifest has no such tolerance.
    pub fn tolerance(&self, kind: &str) -> Result<Tolerance> {
        let found = self.manifest.tolerances.get(kind).copied();
        found.ok_or_else(|| {
            Error::Golden(format!("the manifest of the golden values has no tolerance '{kind}'"))
        })
    }

    /// Reports a check whose error the caller has computed.
    pub fn record(&mut self, name: String, error: f64, tolerance: f64, note: impl Into<String>) {
        // An error that is NaN fails this comparison.
        let passed = error <= tolerance;
        self.count(&Check { name, error, tolerance, passed, note: note.into() });
    }

    /// Reports every tensor of `file` that was not compared as a failed check.
    pub fn report_unused(&mut self, file: &File) {
        for name in file.unused() {
            let name = format!("{} {name}", file.stem);
            self.count(&Check {
                name,
                error: f64::NAN,
                tolerance: 0.0,
                passed: false,
                note: "not compared".into(),
            });
        }
    }

    /// Compares a computed tensor with the golden tensor `name`, which is stored whole or as a digest, its first
    /// elements and samples. Does nothing if there is no such golden tensor.
    ///
    /// # Errors
    /// If the tolerance is missing, or the sizes differ.
    pub fn tensor(
        &mut self,
        file: &File,
        name: &str,
        ours: &Tensor,
        kind: &str,
        measure: Measure,
    ) -> Result<()> {
        let tolerance = self.tolerance(kind)?;
        let ours = to_theirs(name, ours)?;
        if let Some(whole) = file.find(name) {
            if whole.elem_count() != ours.len() {
                return Err(Error::Golden(format!(
                    "{} {name} has {} numbers, ours {}",
                    file.stem,
                    whole.elem_count(),
                    ours.len()
                )));
            }
            self.compare(format!("{} {name}", file.stem), &ours, &file.numbers(name)?, tolerance, measure);
        }
        let part = |part: &str| format!("{name}.{part}");
        for (key, picked) in [
            (part("head"), ours.iter().take(8).copied().collect::<Vec<f64>>()),
            (part("samples"), (0..256).filter_map(|i| ours.get(i * (ours.len() / 256)).copied()).collect()),
        ] {
            if file.find(&key).is_some() {
                let expected = file.numbers(&key)?;
                self.compare(format!("{} {key}", file.stem), &picked, &expected, tolerance, measure);
            }
        }
        if file.find(&part("digest")).is_some() {
            let expected = file.numbers(&part("digest"))?;
            // The tensor's own tolerance applies if it is wider than that of digests, because deviating elements change
            // their sum as well.
            let kind_tolerance = self.tolerance("*.digest")?.tol;
            let tolerance = match measure {
                Measure::Quantile => 1e-5,
                _ => kind_tolerance.max(tolerance.tol),
            };
            let error = digest_error(&digest(&ours), &expected, ours.len());
            self.record(format!("{} {}", file.stem, part("digest")), error, tolerance, "");
        }
        Ok(())
    }

    /// Compares a computed number with the golden value `name`. Does nothing if there is no such value.
    ///
    /// # Errors
    /// If the tolerance is missing.
    pub fn number(&mut self, file: &File, name: &str, ours: f64, kind: &str, measure: Measure) -> Result<()> {
        if file.find(name).is_some() {
            let tolerance = self.tolerance(kind)?;
            self.compare(format!("{} {name}", file.stem), &[ours], &file.numbers(name)?, tolerance, measure);
        }
        Ok(())
    }

    fn compare(
        &mut self,
        name: String,
        ours: &[f64],
        expected: &[f64],
        tolerance: Tolerance,
        measure: Measure,
    ) {
        if ours.len() != expected.len() {
            let note = format!("{} numbers, recorded {}", ours.len(), expected.len());
            return self.record(name, f64::INFINITY, tolerance.tol, note);
        }
        let pairs = || ours.iter().zip(expected);
        // `f64::max` would ignore a NaN.
        let largest = |errors: &mut dyn Iterator<Item = f64>| {
            errors.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a })
        };
        let absolute = |(a, b): (&f64, &f64)| (a - b).abs();
        match measure {
            Measure::RelativeToLargest => {
                let scale = largest(&mut expected.iter().map(|v| v.abs()));
                let error = largest(&mut pairs().map(absolute));
                // If all expected values are zero, the error is absolute.
                self.record(name, if scale > 0.0 { error / scale } else { error }, tolerance.tol, "");
            }
            Measure::Absolute => self.record(name, largest(&mut pairs().map(absolute)), tolerance.tol, ""),
            Measure::Relative => {
                let error = largest(&mut pairs().map(|(a, b)| (a - b).abs() / b.abs().max(1e-3)));
                self.record(name, error, tolerance.tol, "");
            }
            Measure::RelativePerElement => {
                let some = pairs().filter(|(_, b)| b.abs() > 1e-12);
                self.record(
                    name,
                    largest(&mut some.map(|(a, b)| (a - b).abs() / b.abs())),
                    tolerance.tol,
                    "",
                );
            }
            Measure::Exact => {
                let differing = pairs().filter(|(a, b)| a != b).count();
                self.record(name, differing as f64, tolerance.tol, "");
            }
            Measure::Quantile => self.quantile(name, pairs().map(absolute).collect(), tolerance),
        }
    }

    /// Reports the largest error after leaving out the allowed fraction of elements; no element may exceed the hard
    /// limit.
    fn quantile(&mut self, name: String, mut errors: Vec<f64>, tolerance: Tolerance) {
        errors.sort_by(|a, b| b.total_cmp(a));
        let worst = errors.first().copied().unwrap_or_default();
        let allowed = (errors.len() as f64 * tolerance.allowed_fraction_above) as usize;
        let error = errors.get(allowed).copied().unwrap_or_default();
        if tolerance.hard_limit.is_some_and(|limit| worst > limit || worst.is_nan()) {
            self.record(
                name,
                worst,
                tolerance.hard_limit.unwrap_or_default(),
                "no element may be beyond this",
            );
        } else if worst > tolerance.tol {
            let beyond = errors.iter().filter(|e| **e > tolerance.tol).count();
            let note = format!("({beyond} of {} elements beyond, {allowed} may be)", errors.len());
            self.record(name, error, tolerance.tol, note);
        } else {
            self.record(name, worst, tolerance.tol, "");
        }
    }

    fn count(&mut self, check: &Check) {
        if self.filter.is_some_and(|text| !check.name.contains(text)) {
            return;
        }
        if check.passed {
            self.summary.passed += 1;
        } else {
            self.summary.failed += 1;
        }
        (self.report)(check);
    }
}

/// Returns the digest of a tensor: sum, Euclidean norm, sum of absolute values, and dot product with cos(k) over the
/// element index k.
fn digest(values: &[f64]) -> [f64; 4] {
    let sum = |f: &dyn Fn((usize, &f64)) -> f64| values.iter().enumerate().map(f).sum::<f64>();
    [
        sum(&|(_, v)| *v),
        sum(&|(_, v)| v * v).sqrt(),
        sum(&|(_, v)| v.abs()),
        sum(&|(k, v)| v * (k as f64).cos()),
    ]
}

/// Returns the largest error of a digest: differences of sums relative to the norm times the square root of `count`,
/// and the relative difference of the norm.
fn digest_error(ours: &[f64; 4], expected: &[f64], count: usize) -> f64 {
    let [sum, norm, absolute, cosine] = [0, 1, 2, 3].map(|i| expected.get(i).copied().unwrap_or(f64::NAN));
    let norm_or_one = if norm > 0.0 { norm } else { 1.0 };
    let scale = norm_or_one * (count as f64).sqrt();
    let errors = [
        (ours[0] - sum).abs() / scale,
        (ours[1] - norm).abs() / norm_or_one,
        (ours[2] - absolute).abs() / scale,
        (ours[3] - cosine).abs() / scale,
    ];
    if errors.iter().any(|e| e.is_nan()) { f64::NAN } else { errors.into_iter().fold(0.0, f64::max) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance =
        Tolerance { tol: 0.1, allowed_fraction_above: 0.25, hard_limit: Some(5.0), abs_floor: 0.0 };

    fn passes(ours: &[f64], expected: &[f64], measure: Measure) -> bool {
        let manifest: Manifest = serde_json::from_str(include_str!("../golden/manifest.json")).unwrap();
        let mut last = None;
        let mut report = |check: &Check| last = Some(check.passed);
        Checker::new(&manifest, None, &mut report).compare(String::new(), ours, expected, TOLERANCE, measure);
        last.unwrap()
    }

    #[test]
    fn each_measure_fails_large_errors_nan_and_other_lengths() {
        use Measure::{Absolute, Exact, Quantile, Relative, RelativePerElement, RelativeToLargest};
        assert!(passes(&[10.5, 0.5], &[10.0, 0.0], RelativeToLargest));
        assert!(!passes(&[12.0, 0.0], &[10.0, 0.0], RelativeToLargest));
        assert!(passes(&[0.05], &[0.0], RelativeToLargest), "all zero: absolute");
        assert!(!passes(&[10.5], &[10.0], Absolute));
        assert!(passes(&[10.5], &[10.0], Relative));
        assert!(!passes(&[2e-3], &[1e-3], Relative));
        assert!(passes(&[1.0, 7.0], &[1.0, 0.0], RelativePerElement), "zeros are left out");
        assert!(!passes(&[1.0, 2.0], &[1.0, 1.0], Exact));
        assert!(passes(&[1.0, 1.0, 1.0, 4.0], &[1.0; 4], Quantile), "one of four may be off");
        assert!(!passes(&[1.0, 1.0, 3.0, 4.0], &[1.0; 4], Quantile), "two may not");
        assert!(!passes(&[1.0, 1.0, 1.0, 9.0], &[1.0; 4], Quantile), "none by that much");
        for measure in [RelativeToLargest, Absolute, Relative, RelativePerElement, Exact, Quantile] {
            assert!(!passes(&[f64::NAN], &[1.0], measure), "{measure:?} misses NaN");
            assert!(!passes(&[1.0], &[1.0, 2.0], measure), "{measure:?} misses a length");
        }
    }

    #[test]
    fn a_digest_sees_one_changed_element() {
        let values: Vec<f64> = (0..4000).map(|k| f64::from(k % 17) - 8.0).collect();
        let mut changed = values.clone();
        changed.swap(5, 1000);
        assert_eq!(digest_error(&digest(&values), &digest(&values), 4000), 0.0);
        assert!(digest_error(&digest(&changed), &digest(&values), 4000) > 1e-6);
    }
}
