//! Plans: reads a preset or a user's file and expands it to the cells of a sweep.

mod checks;
mod file;
mod network;
mod overrides;
mod seeds;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, bail};
use lerp_core::{Architecture, Hyper, Precision, Schedule, unknown_name_message};
use lerp_data::{Dataset, DatasetName, Lines, Split, protocols, separate_option};
use lerp_train::{
    Cell, MAX_TEST_IMAGES, Origin, PROTOCOL_BATCH, PROTOCOL_EVAL_EVERY, PROTOCOL_RATE, PROTOCOL_RESTARTS,
    PROTOCOL_SAMPLES, PROTOCOL_TEST_LINES, Task,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{dataset_cache::DatasetCache, registry::Registry};

use network::{Fitting, NetworkPlan, networks};
use seeds::Seeds;

pub use checks::{check_judge, check_restarts};
pub use file::PRESETS;
pub use network::network_setting;
pub use overrides::Overrides;
pub use seeds::seeds;

/// The plan of a sweep, as a TOML file describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Plan {
    /// One sentence that describes the sweep.
    #[serde(default)]
    pub about: String,
    datasets: Vec<String>,
    variants: Vec<String>,
    seeds: Seeds,
    /// Training samples of each dataset's judge; 0 for no judge.
    judge: Option<u64>,
    #[serde(flatten)]
    run: RunSettings,
    #[serde(default)]
    variant: BTreeMap<String, VariantPlan>,
    #[serde(default)]
    dataset: BTreeMap<String, DatasetPlan>,
    /// Sizes of the paper's network from the command line, which override all others.
    #[serde(skip)]
    sizes: Hyper,
    /// Precision of convolutions; set by the device and the command line, not by the file.
    #[serde(skip)]
    precision: Precision,
}

/// Settings of runs; a setting that is `None` has the paper's value.
#[derive(Debug, Clone, Default, Deserialize)]
struct RunSettings {
    samples: Option<u64>,
    batch: Option<usize>,
    learning_rate: Option<f64>,
    eval_every: Option<u64>,
    checkpoint_every: Option<u64>,
    test_samples: Option<usize>,
    cluster_restarts: Option<usize>,
    #[serde(default, deserialize_with = "file::schedule")]
    schedule: Option<Schedule>,
    ema: Option<f64>,
    #[serde(default)]
    network: NetworkPlan,
}

/// Settings for one variant, which override those of datasets.
#[derive(Debug, Clone, Default, Deserialize)]
struct VariantPlan {
    #[serde(flatten)]
    run: RunSettings,
    #[serde(default)]
    hyper: Hyper,
}

/// Settings for one dataset; settings of a variant override them.
#[derive(Debug, Clone, Default, Deserialize)]
struct DatasetPlan {
    #[serde(flatten)]
    run: RunSettings,
    /// Hyperparameters of variants on this dataset; those in the variants' own sections override them.
    #[serde(default)]
    hyper: BTreeMap<String, Hyper>,
}

impl Plan {
    /// Returns the training samples of each dataset's judge: 0 for no judge, `None` if not specified.
    pub fn judge(&self) -> Option<u64> {
        self.judge
    }

    /// Whether judges measure the runs.
    pub fn is_judged(&self) -> bool {
        self.judge != Some(0)
    }

    /// Returns the settings in the sections of single variants and datasets.
    fn sections(&mut self) -> impl Iterator<Item = &mut RunSettings> {
        let datasets = self.dataset.values_mut().map(|own| &mut own.run);
        self.variant.values_mut().map(|own| &mut own.run).chain(datasets)
    }

    /// Removes image sets of the paper whose files are absent, unless no dataset would remain; returns why, for each.
    pub fn leave_out_absent(&mut self, datasets: &DatasetCache) -> Vec<String> {
        let absent = |name: &String| -> Option<(String, String)> {
            let error = datasets.get(name).err()?;
            let absent = matches!(
                error.downcast_ref::<lerp_data::Error>(),
                Some(
                    lerp_data::Error::NoFolder { .. }
                        | lerp_data::Error::NoFiles { .. }
                        | lerp_data::Error::Incomplete { .. }
                )
            );
            let of_paper = protocols().any(|protocol| protocol.name == name);
            (absent && of_paper).then(|| (name.clone(), format!("{error:#}")))
        };
        let absent: Vec<(String, String)> = self.datasets.iter().filter_map(absent).collect();
        if absent.len() == self.datasets.len() {
            return Vec::new();
        }
        self.datasets.retain(|name| !absent.iter().any(|(gone, _)| gone == name));
        absent.into_iter().map(|(name, why)| format!("{name} is left out: {why}")).collect()
    }

    /// Returns the settings for one dataset, found by its name with an absolute path or by that without the option.
    fn of_dataset(&self, name: &str) -> DatasetPlan {
        let bare = separate_option(name).bare;
        let of = |wanted: &str| {
            let same = |(key, _): &(&String, &DatasetPlan)| absolute(key) == wanted;
            self.dataset.iter().find(same).map(|(_, own)| own.clone())
        };
        of(name).or_else(|| of(bare)).unwrap_or_default()
    }

    /// Checks the settings of all variants and datasets, including those that this plan does not use.
    fn check_own(&self, registry: &Registry) -> Result<()> {
        let of_datasets = self.dataset.iter().flat_map(|(dataset, own)| {
            own.hyper
                .iter()
                .map(move |(name, hyper)| (name, format!("dataset.{dataset}.hyper.{name}"), hyper))
        });
        let of_variants =
            self.variant.iter().map(|(name, own)| (name, format!("variant.{name}.hyper"), &own.hyper));
        for (name, location, hyper) in of_variants.chain(of_datasets) {
            let variant = registry.find(name)?;
            let tables = grid(hyper);
            if tables.is_empty() {
                bail!("{location} has an empty list; give at least one value");
            }
            for hyper in tables {
                variant.check(&hyper)?;
            }
        }
        self.run.network.check_sizes("network")?;
        for (name, own) in &self.variant {
            own.run.network.check_of(registry.find(name)?).with_context(|| format!("in [variant.{name}]"))?;
        }
        for (name, own) in &self.dataset {
            own.run.network.check_sizes(&format!("dataset.{name}.network"))?;
        }
        for name in self.dataset.keys() {
            let known: Vec<&str> =
                registry.dataset_names().chain(self.datasets.iter().map(String::as_str)).collect();
            if !known.contains(&name.as_str()) && !name.contains([':', '?']) {
                bail!("in [dataset.{name}]: {}", unknown_name_message("dataset", name, &known));
            }
        }
        Ok(())
    }

    /// Returns all cells. Seeds vary slowest, so that an unfinished sweep already has every variant.
    ///
    /// # Errors
    /// If a name is unknown, files are absent, a number is out of range, or no cell remains.
    pub fn cells(&self, registry: &Registry, datasets: &DatasetCache) -> Result<Vec<Cell>> {
        self.check_own(registry)?;
        let (mut cells, mut known, mut fitting) = (Vec::new(), BTreeSet::new(), Fitting::default());
        for &seed in &self.seeds.0 {
            for dataset_name in &self.datasets {
                let dataset_name = &absolute(dataset_name);
                let dataset = datasets.get(dataset_name)?;
                let of_dataset = self.of_dataset(dataset_name);
                for name in &self.variants {
                    let variant = registry.find(name)?;
                    let own = self.variant.get(name).cloned().unwrap_or_default();
                    let mut hyper = of_dataset.hyper.get(name).cloned().unwrap_or_default();
                    hyper.extend(own.hyper.clone());
                    let runs = [&own.run, &of_dataset.run, &self.run];
                    let networks = networks(runs.map(|run| &run.network), &self.sizes, variant, &*dataset)?;
                    for (network, hyper) in networks
                        .iter()
                        .flat_map(|network| grid(&hyper).into_iter().map(move |hyper| (network, hyper)))
                    {
                        let hyper = variant.check(&hyper)?;
                        let cell = cell(&runs, seed, &*dataset, name, hyper, network.clone());
                        let cell = Cell { precision: self.precision, ..cell };
                        cell.check()?;
                        if known.insert(cell.id()) {
                            fitting
                                .check(variant, &*dataset, &cell)
                                .with_context(|| format!("{name} on {dataset_name}"))?;
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        if cells.is_empty() {
            bail!("there is nothing to train: the plan names no dataset, variant, seed or latent");
        }
        Ok(cells)
    }
}

/// Makes the path in a dataset's name absolute, so that a folder has the same name from every working directory.
fn absolute(name: &str) -> String {
    let DatasetName { bare, option } = separate_option(name);
    let Some((kind, location)) = bare.split_once(':').filter(|(_, location)| !location.is_empty()) else {
        return name.into();
    };
    let option = option.map_or_else(String::new, |option| format!("?{option}"));
    let path = Path::new(location);
    let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into());
    format!("{kind}:{}{option}", path.display())
}

/// Returns a setting from the first of `runs` that has it.
fn first<T>(runs: &[&RunSettings], of: impl Fn(&RunSettings) -> Option<T>) -> Option<T> {
    runs.iter().find_map(|run| of(run))
}

/// Whether a dataset has a finite number of images, unlike lines, which are drawn without end. A dataset that cannot be
/// counted because of a read error counts as finite; a later step reports the error.
fn finite(dataset: &dyn Dataset) -> bool {
    dataset.name() != Lines::NAME && !matches!(dataset.count(Split::Test), Ok(None))
}

/// Builds one cell. Settings are taken from the first of `runs` that has them, else from the paper's protocol.
fn cell(
    runs: &[&RunSettings],
    seed: u64,
    dataset: &dyn Dataset,
    variant: &str,
    hyper: Hyper,
    network: Architecture,
) -> Cell {
    let eval_every = first(runs, |run| run.eval_every).unwrap_or(PROTOCOL_EVAL_EVERY);
    let finite = finite(dataset);
    let test = if finite { MAX_TEST_IMAGES } else { PROTOCOL_TEST_LINES };
    let restarts = || first(runs, |run| run.cluster_restarts).unwrap_or(PROTOCOL_RESTARTS);
    Cell {
        dataset: dataset.name().into(),
        variant: variant.into(),
        seed,
        samples: first(runs, |run| run.samples).unwrap_or(PROTOCOL_SAMPLES),
        batch: first(runs, |run| run.batch).unwrap_or(PROTOCOL_BATCH),
        learning_rate: first(runs, |run| run.learning_rate).unwrap_or(PROTOCOL_RATE),
        eval_every,
        checkpoint_every: first(runs, |run| run.checkpoint_every).unwrap_or(eval_every),
        test_samples: first(runs, |run| run.test_samples).unwrap_or(test),
        cluster_restarts: (finite && dataset.classes() > 0).then(restarts),
        precision: Precision::F32,
        // A section of a plan sets 0 to switch off the average that the rest of the plan has.
        ema: first(runs, |run| run.ema).filter(|decay| *decay != 0.0),
        schedule: first(runs, |run| run.schedule).unwrap_or_default(),
        origin: Origin::Trained,
        network,
        hyper,
    }
}

/// Returns the task that poses an evaluation of the paper's protocol on a dataset; lines are those drawn at step 0.
///
/// # Errors
/// If there is no such dataset, or it cannot be read.
pub fn protocol_task(datasets: &DatasetCache, dataset: &str, seed: u64) -> Result<Task> {
    let name = absolute(dataset);
    let data = datasets.digest(&name)?;
    let dataset = datasets.get(&name)?;
    let finite = finite(&*dataset);
    Ok(Task {
        dataset: name,
        data,
        seed,
        step: 0,
        test_samples: if finite { MAX_TEST_IMAGES } else { PROTOCOL_TEST_LINES },
        cluster_restarts: (finite && dataset.classes() > 0).then_some(PROTOCOL_RESTARTS),
    })
}

/// Returns one table for every combination of the hyperparameters that are lists.
pub(crate) fn grid(hyper: &Hyper) -> Vec<Hyper> {
    let mut tables = vec![Hyper::new()];
    for (key, value) in hyper {
        let values = if let Value::Array(list) = value { list.clone() } else { vec![value.clone()] };
        tables = tables
            .iter()
            .flat_map(|table| {
                values.iter().map(|value| {
                    let mut table = table.clone();
                    table.insert(key.clone(), value.clone());
                    table
                })
            })
            .collect();
    }
    tables
}
