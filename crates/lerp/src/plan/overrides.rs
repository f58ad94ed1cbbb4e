//! Changes that a command line makes to a plan.

use anyhow::{Result, bail};
use lerp_core::{Precision, Schedule};
use lerp_train::{PROTOCOL_EVAL_EVERY, PROTOCOL_SAMPLES};
use serde_json::Value;

use super::{Plan, RunSettings, Seeds, check_judge, check_restarts, network_setting, seeds};

/// Changes that a command line makes to a plan.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Variants that replace the plan's.
    pub variants: Option<Vec<String>>,
    /// Datasets that replace the plan's.
    pub datasets: Option<Vec<String>>,
    /// Seeds that replace the plan's, in the form that [`seeds()`] parses.
    pub seeds: Option<String>,
    /// Training samples of every run; the numbers of evaluations and checkpoints stay the same.
    pub samples: Option<u64>,
    /// Learning rate of every variant.
    pub learning_rate: Option<f64>,
    /// Learning-rate schedule of every variant.
    pub schedule: Option<Schedule>,
    /// Decay of the exponential moving average of weights of every variant; 0 for no average.
    pub ema: Option<f64>,
    /// Latent channels for every variant and dataset; several values span a grid.
    pub latent: Option<Vec<usize>>,
    /// Channels at full resolution for every variant and dataset.
    pub depth: Option<usize>,
    /// Training samples of judges; 0 for no judge.
    pub judge: Option<u64>,
    /// Restarts of k-means.
    pub cluster_restarts: Option<usize>,
    /// Hyperparameters, each as `VARIANT.KEY=VALUE`.
    pub set: Vec<String>,
    /// Precision of convolutions.
    pub precision: Precision,
}

impl Plan {
    /// Applies the changes of a command line.
    ///
    /// # Errors
    /// If a range of seeds, a number or a setting is invalid.
    pub fn apply(&mut self, overrides: &Overrides) -> Result<()> {
        self.precision = overrides.precision;
        if let Some(variants) = &overrides.variants {
            self.variants.clone_from(variants);
        }
        if let Some(datasets) = &overrides.datasets {
            self.datasets.clone_from(datasets);
        }
        if let Some(text) = &overrides.seeds {
            self.seeds = Seeds(seeds(text)?);
        }
        if let Some(rate) = overrides.learning_rate {
            self.sections().for_each(|run| run.learning_rate = None);
            self.run.learning_rate = Some(rate);
        }
        if let Some(schedule) = overrides.schedule {
            self.sections().for_each(|run| run.schedule = None);
            self.run.schedule = Some(schedule);
        }
        if let Some(decay) = overrides.ema {
            self.sections().for_each(|run| run.ema = None);
            self.run.ema = Some(decay);
        }
        if let Some(latent) = &overrides.latent {
            self.sizes.insert("latent".into(), latent.clone().into());
        }
        if let Some(depth) = overrides.depth {
            self.sizes.insert("depth".into(), depth.into());
        }
        if let Some(restarts) = overrides.cluster_restarts {
            check_restarts(Some(restarts))?;
            self.sections().for_each(|run| run.cluster_restarts = None);
            self.run.cluster_restarts = Some(restarts);
        }
        if overrides.judge.is_some() {
            self.judge = overrides.judge;
        }
        check_judge(self.judge)?;
        if let Some(samples) = overrides.samples {
            if samples == 0 {
                bail!("--samples 0 trains nothing; give at least 1");
            }
            let common = self.run.clone();
            self.sections().for_each(|run| run.scale_to(samples, &common));
            self.run.scale_to(samples, &RunSettings::default());
        }
        for setting in &overrides.set {
            let parts = setting.split_once('=').and_then(|(key, value)| Some((key.split_once('.')?, value)));
            let Some(((variant, key), value)) = parts else {
                bail!("--set {setting}: give VARIANT.KEY=VALUE, for example acai.advweight=0.3");
            };
            if !self.variants.iter().any(|name| name == variant) {
                bail!(
                    "--set {setting}: '{variant}' is not among the variants of this sweep: {}",
                    self.variants.join(", ")
                );
            }
            // The value is parsed as JSON, then as a JSON list without its brackets; anything else is text.
            let value = serde_json::from_str(value)
                .or_else(|_| serde_json::from_str(&format!("[{value}]")))
                .unwrap_or_else(|_| Value::from(value));
            if let Some(setting) = network_setting(key) {
                self.variant.entry(variant.into()).or_default().run.network.set(setting, value);
                continue;
            }
            for hyper in self.dataset.values_mut().filter_map(|own| own.hyper.get_mut(variant)) {
                hyper.remove(key);
            }
            self.variant.entry(variant.into()).or_default().hyper.insert(key.into(), value);
        }
        Ok(())
    }
}

impl RunSettings {
    /// Sets the training samples and scales the intervals, which keeps the numbers of evaluations and checkpoints.
    /// Settings that are `None` here are taken from `common`.
    fn scale_to(&mut self, samples: u64, common: &Self) {
        let planned = self.samples.or(common.samples).unwrap_or(PROTOCOL_SAMPLES).max(1);
        let scaled = |cadence: u64| {
            let cadence = u128::from(cadence) * u128::from(samples) / u128::from(planned);
            (cadence as u64).max(1)
        };
        let cadence = self.eval_every.or(common.eval_every).unwrap_or(PROTOCOL_EVAL_EVERY);
        self.eval_every = Some(scaled(cadence));
        self.checkpoint_every = self.checkpoint_every.or(common.checkpoint_every).map(scaled);
        self.samples = Some(samples);
    }
}
