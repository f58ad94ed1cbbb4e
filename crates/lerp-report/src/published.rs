//! The paper's numbers.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;

/// The paper's numbers, from `published.toml`.
#[derive(Debug, Deserialize)]
pub struct Published {
    /// Where they are printed.
    pub source: String,
    /// The paper's order of variants.
    pub order: Vec<String>,
    lines: Lines,
    hyper: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(Debug, Deserialize)]
struct Lines {
    mean_distance: BTreeMap<String, [f64; 2]>,
    mean_smoothness: BTreeMap<String, [f64; 2]>,
    checked: BTreeMap<String, Vec<String>>,
}

/// A published number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Mean over the paper's runs.
    pub mean: f64,
    /// Standard deviation over them.
    pub std: f64,
    /// Whether a second source confirms the mean; nothing confirms the deviation.
    pub mean_checked: bool,
}

/// The file, read once.
///
/// # Panics
/// If the file in this crate is not of its form, which a test excludes.
#[allow(clippy::expect_used)]
pub fn published() -> &'static Published {
    static ONCE: OnceLock<Published> = OnceLock::new();
    ONCE.get_or_init(|| {
        toml::from_str(include_str!("published.toml")).expect("published.toml is of its form")
    })
}

impl Published {
    /// The number for `metric` (`mean_distance` in 10⁻³, `mean_smoothness`) of `variant` on lines.
    pub fn lines(&self, metric: &str, variant: &str) -> Option<Number> {
        let values = match metric {
            "mean_distance" => &self.lines.mean_distance,
            "mean_smoothness" => &self.lines.mean_smoothness,
            _ => return None,
        };
        let mean_checked =
            self.lines.checked.get(metric).is_some_and(|names| names.iter().any(|n| n == variant));
        values.get(variant).map(|&[mean, std]| Number { mean, std, mean_checked })
    }

    /// The paper's hyperparameters of `variant`, by name; none of a variant that is not the paper's.
    pub fn hyper(&self, variant: &str) -> impl Iterator<Item = (&str, f64)> {
        self.hyper.get(variant).into_iter().flatten().map(|(name, value)| (name.as_str(), *value))
    }

    /// The variant's place in the paper's order; others come after.
    pub fn place(&self, variant: &str) -> usize {
        self.order.iter().position(|name| name == variant).unwrap_or(self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seven_are_there() {
        let published = published();
        assert_eq!(published.order.len(), 7);
        for variant in &published.order {
            assert!(published.lines("mean_distance", variant).is_some());
            assert!(published.lines("mean_smoothness", variant).is_some());
        }
        assert_eq!(
            published.lines("mean_distance", "vae"),
            Some(Number { mean: 1.21, std: 0.17, mean_checked: false })
        );
        assert_eq!(
            published.lines("mean_distance", "acai"),
            Some(Number { mean: 0.24, std: 0.01, mean_checked: true })
        );
        assert_eq!(
            published.lines("mean_smoothness", "vqvae"),
            Some(Number { mean: 0.77, std: 0.02, mean_checked: false })
        );
        let checked = |metric: &str| {
            let of = |v: &&String| published.lines(metric, v).is_some_and(|n| n.mean_checked);
            published.order.iter().filter(of).cloned().collect::<Vec<_>>()
        };
        assert_eq!(checked("mean_distance"), ["baseline", "acai"]);
        assert!(checked("mean_smoothness").is_empty());
        assert_eq!(published.lines("mean_distance", "mine"), None);
    }
}
