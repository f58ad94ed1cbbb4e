//! The paper's numbers.

use std::{collections::BTreeMap, sync::OnceLock};

use lerp_eval::{
    Quantity,
    quantity::{MEAN_DISTANCE, MEAN_SMOOTHNESS},
};
use serde::Deserialize;

use crate::set::bare;

/// The paper's numbers, from `published.toml`.
#[derive(Debug, Deserialize)]
pub struct Published {
    /// Where they are printed.
    pub source: String,
    /// The paper's order of variants.
    pub order: Vec<String>,
    /// Their names in tables.
    pub titles: Vec<String>,
    lines: Lines,
    /// Table 2.
    pub classifier: Vec<Row>,
    /// Table 3.
    pub clustering: Vec<Row>,
    images: BTreeMap<String, [usize; 2]>,
    hyper: BTreeMap<String, BTreeMap<String, f64>>,
    /// What differs on a dataset.
    hyper_on: BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>,
}

/// The numbers of one image set and size of latents.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// The image set.
    pub dataset: String,
    /// Numbers in a latent.
    pub dims: usize,
    /// Mean, and standard deviation if there is one, by variant.
    values: BTreeMap<String, Vec<f64>>,
    /// Variants whose mean a second source confirms.
    #[serde(default)]
    checked: Vec<String>,
}

impl Row {
    /// The number of `variant`.
    pub fn number(&self, variant: &str) -> Option<Number> {
        let values = self.values.get(variant)?;
        let mean_checked = self.checked.iter().any(|name| name == variant);
        Some(Number { mean: *values.first()?, std: values.get(1).copied(), mean_checked })
    }
}

#[derive(Debug, Deserialize)]
struct Lines {
    mean_distance: BTreeMap<String, [f64; 2]>,
    mean_smoothness: BTreeMap<String, [f64; 2]>,
}

/// A published number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// Mean over the paper's runs.
    pub mean: f64,
    /// Standard deviation over them, where the paper has one.
    pub std: Option<f64>,
    /// Whether a second source confirms the mean; nothing confirms the deviation.
    pub mean_checked: bool,
}

impl Number {
    /// As it is printed, with a dagger where the mean is unchecked; `brief` without the deviation.
    pub fn text(&self, brief: bool) -> String {
        let std = self.std.filter(|_| !brief).map(|std| format!(" ± {std:.2}")).unwrap_or_default();
        format!("{:.2}{std}{}", self.mean, if self.mean_checked { "" } else { "†" })
    }
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
    /// The number for `metric` (a mean distance in 10⁻³, or a mean smoothness) of `variant` on lines.
    pub fn lines(&self, metric: &Quantity, variant: &str) -> Option<Number> {
        let all =
            [(&MEAN_DISTANCE, &self.lines.mean_distance), (&MEAN_SMOOTHNESS, &self.lines.mean_smoothness)];
        let (_, values) = all.into_iter().find(|(of, _)| *of == metric)?;
        values.get(variant).map(|&[mean, std]| Number { mean, std: Some(std), mean_checked: false })
    }

    /// How many training and test images the paper's set called `dataset` has, however it is split here.
    pub fn images(&self, dataset: &str) -> Option<[usize; 2]> {
        self.images.get(bare(dataset)).copied()
    }

    /// The paper's hyperparameters of `variant` on `dataset`: name, value, and whether it is for this dataset alone; none of
    /// a variant that is not the paper's.
    pub fn hyper(&self, variant: &str, dataset: &str) -> impl Iterator<Item = (&str, f64, bool)> {
        let here = self.hyper_on.get(dataset).and_then(|variants| variants.get(variant));
        self.hyper.get(variant).into_iter().flatten().map(move |(name, value)| {
            let own = here.and_then(|values| values.get(name));
            (name.as_str(), own.copied().unwrap_or(*value), own.is_some())
        })
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
            assert!(published.lines(&MEAN_DISTANCE, variant).is_some());
            assert!(published.lines(&MEAN_SMOOTHNESS, variant).is_some());
        }
        assert_eq!(
            published.lines(&MEAN_DISTANCE, "vae"),
            Some(Number { mean: 1.21, std: Some(0.17), mean_checked: false })
        );
        assert_eq!(
            published.lines(&MEAN_DISTANCE, "acai"),
            Some(Number { mean: 0.24, std: Some(0.01), mean_checked: false })
        );
        assert_eq!(
            published.lines(&MEAN_SMOOTHNESS, "vqvae"),
            Some(Number { mean: 0.77, std: Some(0.02), mean_checked: false })
        );
        assert_eq!(published.lines(&MEAN_DISTANCE, "mine"), None);
    }
    #[test]
    fn image_sets_are_there() {
        let published = published();
        let rows = |rows: &[Row]| {
            let all = rows.iter().map(|row| {
                assert!(published.order.iter().all(|variant| row.number(variant).is_some()));
                format!("{} {}", row.dataset, row.dims)
            });
            all.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            rows(&published.classifier),
            "mnist 32, mnist 256, svhn 32, svhn 256, cifar10 256, cifar10 1024"
        );
        assert_eq!(rows(&published.clustering), "mnist 32, mnist 256, svhn 32, svhn 256");
        let text = |row: &Row, variant: &str| row.number(variant).unwrap().text(false);
        assert_eq!(text(&published.classifier[3], "acai"), "85.14 ± 0.20");
        assert_eq!(text(&published.classifier[3], "vqvae"), "44.94 ± 20.42†");
        assert_eq!(published.classifier[3].number("vqvae").unwrap().text(true), "44.94†");
        assert_eq!(text(&published.clustering[1], "vqvae"), "96.80†");
        assert!(published.clustering[0].number("mine").is_none());
        let keep = |dataset: &str| published.hyper("dropout", dataset).collect::<Vec<_>>();
        assert_eq!(keep("mnist"), [("keep", 0.5, false)]);
        assert_eq!(keep("cifar10"), [("keep", 0.75, true)]);
        assert_eq!(published.titles.len(), published.order.len());
    }
}
