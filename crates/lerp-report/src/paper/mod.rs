//! The numbers that the paper published.

use std::{collections::BTreeMap, sync::OnceLock};

use lerp_data::separate_option;
use lerp_eval::{
    Quantity,
    quantity::{MEAN_DISTANCE, MEAN_SMOOTHNESS},
};
use serde::Deserialize;

/// One of the paper's hyperparameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedHyper<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value.
    pub value: f64,
    /// Whether the value is that of one dataset, and not of all.
    pub is_of_dataset: bool,
}

/// The paper's numbers and settings, read from `published.toml`.
#[derive(Debug, Deserialize)]
pub struct Published {
    /// The citation of the paper.
    pub source: String,
    /// The names of the variants, in the paper's order.
    pub order: Vec<String>,
    /// The titles of the variants in tables, in the same order.
    pub titles: Vec<String>,
    /// The training of every run.
    pub training: PublishedTraining,
    lines: PublishedLines,
    /// The rows of Table 2.
    pub classifier: Vec<PublishedRow>,
    /// The rows of Table 3.
    pub clustering: Vec<PublishedRow>,
    /// The numbers of training and test images, by dataset.
    images: BTreeMap<String, [usize; 2]>,
    /// Hyperparameters by variant and name.
    hyper: BTreeMap<String, BTreeMap<String, f64>>,
    /// Hyperparameters that differ on one dataset, by dataset, variant and name.
    hyper_on: BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>,
}

/// The training of the paper's runs, and what their numbers are over.
#[derive(Debug, Deserialize)]
pub struct PublishedTraining {
    /// The number of training samples.
    pub samples: u64,
    /// The learning rate, which is constant.
    pub learning_rate: f64,
    /// The batch size.
    pub batch: usize,
    /// The number of k-means restarts.
    pub cluster_restarts: usize,
    /// The number of runs behind each mean that has a standard deviation.
    pub runs: usize,
}

/// The numbers of one image set and latent size.
#[derive(Debug, Deserialize)]
pub struct PublishedRow {
    /// The image set.
    pub dataset: String,
    /// The latent dimensionality.
    pub dims: usize,
    /// The mean, and the standard deviation if there is one, by variant.
    values: BTreeMap<String, Vec<f64>>,
    /// The variants whose mean is confirmed by a second source.
    #[serde(default)]
    checked: Vec<String>,
}

impl PublishedRow {
    /// Returns the number of `variant`, or `None` if the row has none.
    pub fn number(&self, variant: &str) -> Option<PublishedNumber> {
        let values = self.values.get(variant)?;
        let mean_checked = self.checked.iter().any(|name| name == variant);
        Some(PublishedNumber { mean: *values.first()?, std: values.get(1).copied(), mean_checked })
    }
}

/// Table 1: means and standard deviations on lines, and sizes of latents, by variant.
#[derive(Debug, Deserialize)]
struct PublishedLines {
    mean_distance: BTreeMap<String, [f64; 2]>,
    mean_smoothness: BTreeMap<String, [f64; 2]>,
    /// The latent dimensionality, by variant.
    latent_dims: BTreeMap<String, usize>,
}

/// A published number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedNumber {
    /// The mean over the paper's runs.
    pub mean: f64,
    /// The standard deviation over the paper's runs; `None` if the paper gives none.
    pub std: Option<f64>,
    /// Whether a second source confirms the mean. No second source confirms any standard deviation.
    pub mean_checked: bool,
}

/// Returns the paper's numbers; the file is parsed on the first call only.
///
/// # Panics
/// Panics if the embedded file is malformed, which a test rules out.
#[allow(clippy::expect_used)]
pub fn published() -> &'static Published {
    static ONCE: OnceLock<Published> = OnceLock::new();
    ONCE.get_or_init(|| {
        toml::from_str(include_str!("published.toml")).expect("published.toml is of its form")
    })
}

impl Published {
    /// Returns the number for `metric` of `variant` on lines (Table 1). Mean distances are in 10⁻³.
    pub fn lines(&self, metric: &Quantity, variant: &str) -> Option<PublishedNumber> {
        let all =
            [(&MEAN_DISTANCE, &self.lines.mean_distance), (&MEAN_SMOOTHNESS, &self.lines.mean_smoothness)];
        let (_, values) = all.into_iter().find(|(of, _)| *of == metric)?;
        values.get(variant).map(|&[mean, std]| PublishedNumber { mean, std: Some(std), mean_checked: false })
    }

    /// Returns the latent dimensionality of `variant` on lines, or `None` if the variant is not in the paper.
    pub fn latent_dims_on_lines(&self, variant: &str) -> Option<usize> {
        self.lines.latent_dims.get(variant).copied()
    }

    /// Returns the paper's numbers of training and test images of `dataset`, whatever the split is here.
    pub fn images(&self, dataset: &str) -> Option<[usize; 2]> {
        self.images.get(separate_option(dataset).bare).copied()
    }

    /// Returns the paper's hyperparameters of `variant` on `dataset`. Empty for a variant that is not in the paper.
    pub fn hyper(&self, variant: &str, dataset: &str) -> impl Iterator<Item = PublishedHyper<'_>> {
        let here = self.hyper_on.get(dataset).and_then(|variants| variants.get(variant));
        self.hyper.get(variant).into_iter().flatten().map(move |(name, value)| {
            let own = here.and_then(|values| values.get(name));
            PublishedHyper { name, value: own.copied().unwrap_or(*value), is_of_dataset: own.is_some() }
        })
    }

    /// Returns the variant's index in the paper's order; all other variants come after.
    pub fn position(&self, variant: &str) -> usize {
        self.order.iter().position(|name| name == variant).unwrap_or(self.order.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_published_numbers_on_lines() {
        let published = published();
        assert_eq!(published.order.len(), 7);
        for variant in &published.order {
            assert!(published.lines(&MEAN_DISTANCE, variant).is_some());
            assert!(published.lines(&MEAN_SMOOTHNESS, variant).is_some());
            assert!(published.latent_dims_on_lines(variant).is_some());
        }
        assert_eq!(
            published.lines(&MEAN_DISTANCE, "vae"),
            Some(PublishedNumber { mean: 1.21, std: Some(0.17), mean_checked: false })
        );
        assert_eq!(
            published.lines(&MEAN_DISTANCE, "acai"),
            Some(PublishedNumber { mean: 0.24, std: Some(0.01), mean_checked: false })
        );
        assert_eq!(
            published.lines(&MEAN_SMOOTHNESS, "vqvae"),
            Some(PublishedNumber { mean: 0.77, std: Some(0.02), mean_checked: false })
        );
        assert_eq!(published.lines(&MEAN_DISTANCE, "mine"), None);
    }

    #[test]
    fn published_rows_of_image_sets_are_complete() {
        let published = published();
        let rows = |rows: &[PublishedRow]| {
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
        assert!(published.clustering[0].number("mine").is_none());
        let keep = |dataset: &str| published.hyper("dropout", dataset).collect::<Vec<_>>();
        assert_eq!(keep("mnist"), [PublishedHyper { name: "keep", value: 0.5, is_of_dataset: false }]);
        assert_eq!(keep("cifar10"), [PublishedHyper { name: "keep", value: 0.75, is_of_dataset: true }]);
        assert_eq!(published.titles.len(), published.order.len());
    }
}
