//! Plans: reads a preset or a user's file and expands it to the cells of a sweep.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::Path,
};

use anyhow::{Context, Result, bail};
use lerp_core::{Architecture, Hyper, Precision, Schedule, unknown};
use lerp_data::{Dataset, Lines, Split, protocols, split_option};
use lerp_train::{
    Cell, Origin, PROTOCOL_BATCH, PROTOCOL_CADENCE, PROTOCOL_RATE, PROTOCOL_RESTARTS, PROTOCOL_SAMPLES,
    PROTOCOL_TEST, PROTOCOL_TEST_IMAGES, Task,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{registry::Registry, shelf::Shelf};

use network::{Fitting, NetworkPlan, networks};

pub use checks::{check_judge, check_restarts};
pub use network::network_setting;

/// Presets by name.
pub const PRESETS: [(&str, &str); 6] = [
    ("smoke", include_str!("../presets/smoke.toml")),
    ("quick", include_str!("../presets/quick.toml")),
    ("evening", include_str!("../presets/evening.toml")),
    ("mnist-cpu", include_str!("../presets/mnist-cpu.toml")),
    ("lines", include_str!("../presets/lines.toml")),
    ("paper", include_str!("../presets/paper.toml")),
];

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
    run: Run,
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
struct Run {
    samples: Option<u64>,
    batch: Option<usize>,
    learning_rate: Option<f64>,
    eval_every: Option<u64>,
    checkpoint_every: Option<u64>,
    test_samples: Option<usize>,
    cluster_restarts: Option<usize>,
    #[serde(default, deserialize_with = "schedule")]
    schedule: Option<Schedule>,
    ema: Option<f64>,
    #[serde(default)]
    network: NetworkPlan,
}

/// Deserialises a schedule from the text form of the command line or from a table.
fn schedule<'de, D: serde::Deserializer<'de>>(given: D) -> Result<Option<Schedule>, D::Error> {
    let schedule = match toml::Value::deserialize(given)? {
        toml::Value::String(text) => text.parse(),
        toml::Value::Table(table) => table
            .try_into::<Schedule>()
            .map_err(|error| one_line(&error))
            .and_then(|schedule| schedule.check().map(|()| schedule)),
        other => Err(format!("wanted a text such as \"cosine,from=0.7\" or a table, not {other}")),
    };
    schedule.map(Some).map_err(|problem| serde::de::Error::custom(format!("schedule: {problem}")))
}

impl Run {
    /// Sets the training samples and scales the intervals, which keeps the numbers of evaluations and checkpoints.
    /// Settings that are `None` here are taken from `common`.
    fn scale_to(&mut self, samples: u64, common: &Self) {
        let planned = self.samples.or(common.samples).unwrap_or(PROTOCOL_SAMPLES).max(1);
        let scaled = |cadence: u64| {
            let cadence = u128::from(cadence) * u128::from(samples) / u128::from(planned);
            (cadence as u64).max(1)
        };
        let cadence = self.eval_every.or(common.eval_every).unwrap_or(PROTOCOL_CADENCE);
        self.eval_every = Some(scaled(cadence));
        self.checkpoint_every = self.checkpoint_every.or(common.checkpoint_every).map(scaled);
        self.samples = Some(samples);
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct VariantPlan {
    #[serde(flatten)]
    run: Run,
    #[serde(default)]
    hyper: Hyper,
}

/// Settings for one dataset; settings of a variant override them.
#[derive(Debug, Clone, Default, Deserialize)]
struct DatasetPlan {
    #[serde(flatten)]
    run: Run,
    /// Hyperparameters of variants on this dataset; those in the variants' own sections override them.
    #[serde(default)]
    hyper: BTreeMap<String, Hyper>,
}

/// Seeds: in the file a number, a list of numbers, or a text that [`seeds`] parses.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "toml::Value")]
struct Seeds(Vec<u64>);

impl TryFrom<toml::Value> for Seeds {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        seeds(&text).map(Self).map_err(|e| e.to_string())
    }
}

/// Changes that a command line makes to a plan.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Variants that replace the plan's.
    pub variants: Option<Vec<String>>,
    /// Datasets that replace the plan's.
    pub datasets: Option<Vec<String>>,
    /// Seeds that replace the plan's, in the form that [`seeds`] parses.
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

const RUN_KEYS: [&str; 10] = [
    "samples",
    "batch",
    "learning_rate",
    "eval_every",
    "checkpoint_every",
    "test_samples",
    "cluster_restarts",
    "schedule",
    "ema",
    "network",
];

impl Plan {
    /// Returns the preset called `name`.
    ///
    /// # Errors
    /// If there is none; the message suggests the nearest name.
    pub fn preset(name: &str) -> Result<Self> {
        let Some((_, text)) = PRESETS.iter().find(|(n, _)| *n == name) else {
            bail!("{}", unknown("preset", name, &PRESETS.map(|(n, _)| n)));
        };
        Self::parse(text).with_context(|| format!("preset {name}"))
    }

    /// Reads a user's file, which has the format of the presets.
    ///
    /// # Errors
    /// If it cannot be read or is not a plan; the message names the wrong key.
    pub fn file(path: &Path) -> Result<Self> {
        /// Size limit of a plan's file, bytes.
        const MOST: u64 = 1 << 20;
        let mut text = String::new();
        // The size is limited while reading, because a pipe or device has no size and may never end.
        let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
        if read.with_context(|| format!("cannot read {}", path.display()))? as u64 == MOST {
            bail!("{} has more than {MOST} bytes, which no plan has", path.display());
        }
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text)
            .map_err(|e: toml::de::Error| anyhow::anyhow!("not TOML{}: {}", place(text, &e), one_line(&e)))?;
        let own = ["about", "datasets", "variants", "seeds", "judge", "variant", "dataset"];
        check_keys(&table, "", &[&own[..], &RUN_KEYS].concat())?;
        for kind in ["variant", "dataset"] {
            for (name, value) in table.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                let Some(own) = value.as_table() else { bail!("{kind}.{name} must be a table") };
                check_keys(own, &format!("{kind}.{name}."), &[&RUN_KEYS[..], &["hyper"]].concat())?;
            }
        }
        for key in ["datasets", "variants", "seeds"] {
            if !table.contains_key(key) {
                bail!(
                    "'{key}' is missing, for example {key} = {}",
                    if key == "seeds" { "\"0..5\"" } else { "[\"...\"]" }
                );
            }
        }
        toml::from_str(text).map_err(|e| anyhow::anyhow!("wrong value{}: {}", place(text, &e), one_line(&e)))
    }

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
            self.runs().for_each(|run| run.learning_rate = None);
            self.run.learning_rate = Some(rate);
        }
        if let Some(schedule) = overrides.schedule {
            self.runs().for_each(|run| run.schedule = None);
            self.run.schedule = Some(schedule);
        }
        if let Some(decay) = overrides.ema {
            self.runs().for_each(|run| run.ema = None);
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
            self.runs().for_each(|run| run.cluster_restarts = None);
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
            self.runs().for_each(|run| run.scale_to(samples, &common));
            self.run.scale_to(samples, &Run::default());
        }
        for setting in &overrides.set {
            let parts = setting.split_once('=').and_then(|(key, value)| Some((key.split_once('.')?, value)));
            let Some(((variant, key), value)) = parts else {
                bail!("--set {setting}: wanted VARIANT.KEY=VALUE, for example acai.advweight=0.3");
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

    /// Returns the training samples of each dataset's judge: 0 for no judge, `None` if not specified.
    pub fn judge(&self) -> Option<u64> {
        self.judge
    }

    /// Whether judges measure the runs.
    pub fn is_judged(&self) -> bool {
        self.judge != Some(0)
    }

    fn runs(&mut self) -> impl Iterator<Item = &mut Run> {
        let datasets = self.dataset.values_mut().map(|own| &mut own.run);
        self.variant.values_mut().map(|own| &mut own.run).chain(datasets)
    }

    /// Removes image sets of the paper whose files are absent, unless no dataset would remain; returns why, for each.
    pub fn leave_out_absent(&mut self, shelf: &Shelf) -> Vec<String> {
        let absent = |name: &String| -> Option<(String, String)> {
            let error = shelf.get(name).err()?;
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
        let (bare, _) = split_option(name);
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
        for (name, place, hyper) in of_variants.chain(of_datasets) {
            let variant = registry.find(name)?;
            let tables = grid(hyper);
            if tables.is_empty() {
                bail!("{place} has an empty list; give at least one value");
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
                bail!("in [dataset.{name}]: {}", unknown("dataset", name, &known));
            }
        }
        Ok(())
    }

    /// Returns all cells. Seeds vary slowest, so that an unfinished sweep already has every variant.
    ///
    /// # Errors
    /// If a name is unknown, files are absent, a number is out of range, or no cell remains.
    pub fn cells(&self, registry: &Registry, shelf: &Shelf) -> Result<Vec<Cell>> {
        self.check_own(registry)?;
        let (mut cells, mut known, mut fitting) = (Vec::new(), BTreeSet::new(), Fitting::default());
        for &seed in &self.seeds.0 {
            for dataset_name in &self.datasets {
                let dataset_name = &absolute(dataset_name);
                let dataset = shelf.get(dataset_name)?;
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
    let (bare, option) = split_option(name);
    let Some((kind, place)) = bare.split_once(':').filter(|(_, place)| !place.is_empty()) else {
        return name.into();
    };
    let option = option.map_or_else(String::new, |option| format!("?{option}"));
    let path = Path::new(place);
    let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.into());
    format!("{kind}:{}{option}", path.display())
}

/// Returns a setting from the first of `runs` that has it.
fn first<T>(runs: &[&Run], of: impl Fn(&Run) -> Option<T>) -> Option<T> {
    runs.iter().find_map(|run| of(run))
}

/// Whether a dataset has a finite number of images, unlike lines, which are drawn without end. A dataset that cannot be
/// counted because of a read error counts as finite; a later step reports the error.
fn finite(dataset: &dyn Dataset) -> bool {
    dataset.name() != Lines::NAME && !matches!(dataset.count(Split::Test), Ok(None))
}

/// Builds one cell. Settings are taken from the first of `runs` that has them, else from the paper's protocol.
fn cell(
    runs: &[&Run],
    seed: u64,
    dataset: &dyn Dataset,
    variant: &str,
    hyper: Hyper,
    network: Architecture,
) -> Cell {
    let eval_every = first(runs, |run| run.eval_every).unwrap_or(PROTOCOL_CADENCE);
    let finite = finite(dataset);
    let test = if finite { PROTOCOL_TEST_IMAGES } else { PROTOCOL_TEST };
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
pub fn protocol_task(shelf: &Shelf, dataset: &str, seed: u64) -> Result<Task> {
    let name = absolute(dataset);
    let data = shelf.digest(&name)?;
    let dataset = shelf.get(&name)?;
    let finite = finite(&*dataset);
    Ok(Task {
        dataset: name,
        data,
        seed,
        step: 0,
        test_samples: if finite { PROTOCOL_TEST_IMAGES } else { PROTOCOL_TEST },
        cluster_restarts: (finite && dataset.classes() > 0).then_some(PROTOCOL_RESTARTS),
    })
}

/// Parses seeds written as `3`, `0..5` (0 to 4) or `0,2,7`.
///
/// # Errors
/// If the text has none of these forms, or a range is empty or too long.
pub fn seeds(text: &str) -> Result<Vec<u64>> {
    let number = |part: &str| part.trim().parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
    let parsed: Option<Vec<u64>> = if let Some((first, end)) = text.split_once("..") {
        let ends = number(first).zip(number(end)).filter(|(first, end)| first < end);
        if let Some((first, end)) = ends.filter(|(first, end)| end - first > MOST_SEEDS) {
            bail!("'{text}' is {} seeds; a sweep takes up to {MOST_SEEDS}", end - first);
        }
        ends.map(|(first, end)| (first..end).collect())
    } else {
        text.split(',').map(number).collect()
    };
    parsed.with_context(|| format!("'{text}' is not a range of seeds; write 0..5 (0 to 4), 3 or 0,2,7"))
}

/// Largest number of seeds in a range, so that a typing error does not plan a year of training.
const MOST_SEEDS: u64 = 10_000;

/// Returns the place of a parse error in a file, such as ` in line 3`.
fn place(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
    line.map_or_else(String::new, |line| format!(" in line {line}"))
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().trim().replace('\n', "; ")
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

fn check_keys(table: &toml::Table, prefix: &str, known: &[&str]) -> Result<()> {
    for key in table.keys() {
        if !known.contains(&key.as_str()) {
            let place = prefix.trim_end_matches('.');
            let place = if place.is_empty() { String::new() } else { format!("in [{place}]: ") };
            bail!("{place}{}", unknown("key", key, known));
        }
    }
    Ok(())
}

mod checks;
mod network;
#[cfg(test)]
mod tests;
