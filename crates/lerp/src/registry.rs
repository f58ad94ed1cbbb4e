//! The variants, datasets and metrics that a binary knows by name: the built-in ones and those that a user's program
//! adds.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use lerp_core::{Hyper, ModelVariant, Variant, find_variant, unknown_name_message};
use lerp_data::{DATASETS, Dataset};
use lerp_eval::Metric;
use lerp_files::{is_word, printable};

use crate::plan::network_setting;

static BASELINE: ModelVariant<lerp_baseline::Baseline> = ModelVariant::new();
static DROPOUT: ModelVariant<lerp_dropout::Dropout> = ModelVariant::new();
static DENOISING: ModelVariant<lerp_denoising::Denoising> = ModelVariant::new();
static VAE: ModelVariant<lerp_vae::Vae> = ModelVariant::new();
static AAE: ModelVariant<lerp_aae::Aae> = ModelVariant::new();
static VQVAE: ModelVariant<lerp_vqvae::VqVae> = ModelVariant::new();
static ACAI: ModelVariant<lerp_acai::Acai> = ModelVariant::new();

/// Returns the paper's seven variants, in the paper's order.
pub fn seven() -> [&'static dyn Variant; 7] {
    [&BASELINE, &DROPOUT, &DENOISING, &VAE, &AAE, &VQVAE, &ACAI]
}

/// The error of a user's function that opens a dataset.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A user's function that opens a dataset.
type Open = Box<dyn Fn() -> Result<Box<dyn Dataset>, Failure> + Send + Sync>;

/// The seven built-in variants, and the variants, datasets and metrics that a user's program adds.
pub struct Registry {
    variants: Vec<&'static dyn Variant>,
    datasets: Vec<(String, Open)>,
    metrics: Vec<&'static dyn Metric>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { variants: seven().to_vec(), datasets: Vec::new(), metrics: Vec::new() }
    }
}

impl Registry {
    /// Adds a variant.
    ///
    /// # Errors
    /// If its name is already taken or cannot be part of a file name, or a hyperparameter's name is reserved.
    pub fn add_variant(&mut self, variant: &'static dyn Variant) -> Result<()> {
        let name = variant.name();
        if !is_word(name) || name.contains('.') {
            bail!("a variant cannot be named '{name}': give it a word of letters, digits, '-' and '_'");
        }
        if let Some(key) = variant.check(&Hyper::new())?.keys().find(|key| network_setting(key).is_some()) {
            bail!(
                "{name}: a hyperparameter cannot be called '{key}', which --set takes for the network's; give it another"
            );
        }
        if self.variants.iter().any(|v| v.name() == name) {
            bail!("two variants are named {name}");
        }
        self.variants.push(variant);
        Ok(())
    }

    /// Adds a dataset, which is opened by each process that uses it.
    ///
    /// # Errors
    /// If its name is already taken or cannot be part of a file name.
    pub fn add_dataset(&mut self, name: &str, open: Open) -> Result<()> {
        if !is_word(name) {
            bail!("a dataset cannot be named '{name}': give it a word of letters, digits, '.', '-' and '_'");
        }
        if self.dataset_names().any(|n| n == name) {
            bail!("two datasets are named {name}");
        }
        self.datasets.push((name.into(), open));
        Ok(())
    }

    /// Adds a metric.
    ///
    /// # Errors
    /// If one of its keys is already taken, or its texts contain characters that cannot be printed.
    pub fn add_metric(&mut self, metric: &'static dyn Metric) -> Result<()> {
        self.metrics.push(metric);
        let metrics: Vec<&dyn Metric> = self.metrics.iter().map(|metric| *metric as &dyn Metric).collect();
        Ok(lerp_eval::check_metrics(&metrics)?)
    }

    /// Returns the metrics that the user's program adds, which every evaluation computes.
    pub fn metrics(&self) -> &[&'static dyn Metric] {
        &self.metrics
    }

    /// Returns all variants: the seven, then the user's in the order in which they were added.
    pub fn all(&self) -> &[&'static dyn Variant] {
        &self.variants
    }

    /// Returns the variant called `name`.
    ///
    /// # Errors
    /// If there is none; the message suggests the nearest name.
    pub fn find(&self, name: &str) -> Result<&'static dyn Variant> {
        Ok(find_variant(&self.variants, name)?)
    }

    /// Returns the names of all datasets, except image sets that are named by their path.
    pub fn dataset_names(&self) -> impl Iterator<Item = &str> {
        DATASETS.iter().copied().chain(self.datasets_from_code())
    }

    /// Returns the names of the datasets that the user's program adds.
    pub fn datasets_from_code(&self) -> impl Iterator<Item = &str> {
        self.datasets.iter().map(|(name, _)| name.as_str())
    }

    /// Opens the dataset called `name`. The paper's image sets are searched in the folder `data`, or if that is `None`
    /// in the folder of the environment variable `LERP_DATA`.
    ///
    /// # Errors
    /// If there is none, in which case the message suggests the nearest name; or if its files are absent or it cannot
    /// be opened.
    pub fn dataset(&self, name: &str, data: Option<&Path>) -> Result<Box<dyn Dataset>> {
        let Some((_, open)) = self.datasets.iter().find(|(own, _)| own == name) else {
            return lerp_data::dataset(name, data).map_err(|error| match error {
                lerp_data::Error::UnknownDataset { name, .. } if !self.datasets.is_empty() => {
                    let names: Vec<&str> = self.dataset_names().collect();
                    anyhow!("{}", unknown_name_message("dataset", &name, &names))
                }
                error => error.into(),
            });
        };
        let dataset = open().map_err(|error| anyhow!("the dataset {name} cannot be opened: {error}"))?;
        if dataset.name() != name {
            bail!("the dataset {name} calls itself {}; give both the same name", printable(dataset.name()));
        }
        Ok(dataset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_export_implements_the_seven_in_pytorch() {
        assert_eq!(seven().map(Variant::name), lerp_export::IN_TORCH);
    }

    #[test]
    fn names_are_unique_and_unknown_names_suggest_the_nearest() {
        let mut registry = Registry::default();
        let add = |registry: &mut Registry, name: &str| {
            let open: Open = Box::new(|| Ok(Box::new(lerp_data::Lines)));
            registry.add_dataset(name, open).map_err(|error| error.to_string())
        };
        add(&mut registry, "discs").unwrap();
        assert_eq!(add(&mut registry, "discs").unwrap_err(), "two datasets are named discs");
        assert_eq!(add(&mut registry, "mnist").unwrap_err(), "two datasets are named mnist");
        assert!(add(&mut registry, "images:here").unwrap_err().contains("cannot be named 'images:here'"));
        assert_eq!(registry.add_variant(&ACAI).unwrap_err().to_string(), "two variants are named acai");
        let error = |name: &str| registry.dataset(name, None).err().unwrap().to_string();
        assert!(
            error("disc").contains("(did you mean 'discs'?); there are: lines, mnist"),
            "{}",
            error("disc")
        );
        assert_eq!(error("discs"), "the dataset discs calls itself lines; give both the same name");
    }
}
