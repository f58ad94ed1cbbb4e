//! Reading a sweep from its folder. In goes the path; out comes a [`Sweep`], with what tables and figures need of its
//! runs.
//!
//! A sweep may have ten thousand runs with a thousand values each. Of every run, its record and the final value of each
//! metric stay in memory; `statistics` adds the judge's scores of those that were judged. Curves stay in memory only for
//! metrics that a figure draws, reduced to their range and mean over the seeds of a configuration. The pages of runs read
//! the curves of their run again.

mod aggregate;
mod group;
mod image_set;
mod labels;
mod pixels;
mod summary_file;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use lerp_data::{Lines, is_own};
use lerp_eval::{
    Quantity, final_value, quantities,
    quantity::{
        BY_JUDGE, CLASSIFIER_ACCURACY, CODES_IN_USE, CRITIC_ALPHA, JUDGED_DISTANCE, MEAN_DISTANCE,
        MEAN_SMOOTHNESS, RECONSTRUCTION_MSE,
    },
};
use lerp_files::printable;
use lerp_train::{Cell, JudgeRecord, Metrics, Run, RunRecord, runs_in};
use rayon::prelude::*;

use crate::{
    Error, Result,
    paper::published,
    text::{few, listed, unique_by},
};
use aggregate::aggregate;
use group::FinalValue;
use labels::label_and_sort;

pub use group::{Estimate, LoadedRun, RunGroup, Spread, distinct, title_with_unit, user_metrics};
pub use image_set::{SizedImageSet, dataset_of, title_of};
pub use labels::natural;
pub use pixels::PixelReference;
pub use sweep::Sweep;

/// Returns the metrics that figures draw over training, without user-defined ones.
pub fn drawn_metrics() -> impl Iterator<Item = &'static Quantity> {
    let curves = [&MEAN_DISTANCE, &MEAN_SMOOTHNESS, &CLASSIFIER_ACCURACY, &RECONSTRUCTION_MSE, &CODES_IN_USE];
    curves.into_iter().chain(&CRITIC_ALPHA)
}

/// The number of runs whose curves are in memory at once.
const RUNS_AT_ONCE: usize = 128;

/// The most bytes of a sweep's `sweep.toml`, which has room for the names of a million cells.
const MAX_PLAN_BYTES: u64 = 1 << 28;

/// The most reasons listed in the error about a sweep without readable runs.
const MAX_REASONS: usize = 3;

impl Sweep {
    /// Reads all runs in `dir`. Runs and files that cannot be read are left out and reported by [`Sweep::left_out`].
    pub fn read(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder(dir.to_owned()));
        }
        let found = runs_in(dir)?;
        let unchecked = found.unchecked();
        let mut left_out: Vec<String> = found.left_out.iter().map(ToString::to_string).collect();
        let (planned, damaged) = planned(dir);
        let begun: HashSet<String> = found.runs.iter().map(|run| run.record.id.clone()).collect();
        let datasets = Datasets::of(&found.runs);
        let mut groups = grouped(found.runs, &datasets);
        label_and_sort(&mut groups);
        let mut names = HashSet::new();
        let all = groups.len();
        for group in &mut groups {
            left_out.extend(measure(group, &mut names));
        }
        groups.retain(|group| !group.runs.is_empty());
        if groups.len() < all {
            label_and_sort(&mut groups);
        }
        if groups.is_empty() {
            return Err(match planned.len() {
                _ if !left_out.is_empty() => Error::NothingReadable {
                    dir: dir.to_owned(),
                    reasons: listed(&left_out, MAX_REASONS, " "),
                },
                0 => Error::NoRuns(dir.to_owned()),
                cells => Error::NotBegun { dir: dir.to_owned(), cells },
            });
        }
        let (pixels, judges) = dataset_files(dir, &datasets, &mut left_out);
        left_out.extend(drop_other_judges(&mut groups, &judges));
        aggregate(&mut groups).map_err(Error::draw("the means over seeds"))?;
        left_out.extend(damaged);
        let waiting = planned.into_iter().filter(|id| !begun.contains(id)).collect();
        Ok(Self { dir: dir.to_owned(), groups, pixels, judges, waiting, unread: left_out, unchecked })
    }
}

/// Values by dataset.
type ByDataset<T> = BTreeMap<String, T>;

/// Reads the raw-pixel reference and the judge's record of every dataset.
fn dataset_files(
    dir: &Path,
    datasets: &Datasets,
    left_out: &mut Vec<String>,
) -> (ByDataset<PixelReference>, ByDataset<JudgeRecord>) {
    let (mut pixels, mut judges) = (BTreeMap::new(), BTreeMap::new());
    for (dataset, other_names) in &datasets.names {
        let names = || std::iter::once(dataset).chain(other_names);
        let reference =
            read_first("Raw pixels are", names(), |name| PixelReference::read(dir, name), left_out);
        pixels.extend(reference.map(|reference| (dataset.clone(), reference)));
        let judge = read_first("A judge is", names(), |name| JudgeRecord::read(dir, name), left_out);
        judges.extend(judge.map(|judge| (dataset.clone(), judge)));
    }
    (pixels, judges)
}

/// Removes the metrics of runs that were measured by another judge than the sweep's, since numbers of two judges cannot
/// be compared. If the judge's record is lost, the judge of the first run counts as the sweep's. Returns a sentence
/// about each affected run.
fn drop_other_judges(groups: &mut [RunGroup], judges: &BTreeMap<String, JudgeRecord>) -> Vec<String> {
    let mut first: BTreeMap<String, String> =
        judges.iter().map(|(dataset, judge)| (dataset.clone(), judge.weights.clone())).collect();
    let mut sentences = Vec::new();
    for group in groups {
        let dataset = group.dataset().to_owned();
        for loaded in
            group.runs.iter_mut().filter(|loaded| loaded.final_value(&JUDGED_DISTANCE.key).is_some())
        {
            // Only the file of the judge's scores names the judge; without it, the metrics are kept.
            let Some(judge) = loaded.read_file(Run::judge_scores).map(|scores| scores.judge) else {
                continue;
            };
            if *first.entry(dataset.clone()).or_insert_with(|| judge.clone()) == judge {
                continue;
            }
            loaded.finals.retain(|found| !BY_JUDGE.iter().any(|of| *of.key == *found.name));
            sentences.push(format!(
                "What a judge made of {} is left out: it was another judge than that of the sweep; lerp eval RUN --write measures the \
                 run again.",
                loaded.run.record.id
            ));
        }
    }
    few(sentences, "runs that another judge measured")
}

/// Reads what a sweep stores for a dataset, trying each of the dataset's names and returning the first that has
/// something. Adds a sentence to `left_out` for each file that cannot be read.
fn read_first<'n, T, E: std::fmt::Display>(
    what: &str,
    names: impl Iterator<Item = &'n String>,
    read: impl Fn(&str) -> std::result::Result<Option<T>, E>,
    left_out: &mut Vec<String>,
) -> Option<T> {
    let mut first = None;
    for name in names {
        match read(name) {
            Ok(found) => first = first.or(found),
            Err(error) => {
                let sentence = printable(&format!("{what} left out: {error}.")).into_owned();
                if !left_out.contains(&sentence) {
                    left_out.push(sentence);
                }
            }
        }
    }
    first
}

/// The datasets of a sweep. A user's own images are identified by their digest, so that a folder that was moved counts
/// as the same dataset under another name.
struct Datasets {
    /// The canonical name of each digest: that of the run that began last.
    by_digest: HashMap<String, String>,
    /// The canonical names, each with the other names of the same images.
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Datasets {
    fn of(runs: &[Run]) -> Self {
        let mut latest: HashMap<&str, (&str, &str)> = HashMap::new();
        for record in runs.iter().map(|run| &run.record) {
            if let Some(digest) = digest(record) {
                let this = (record.provenance.started.as_str(), record.cell.dataset.as_str());
                let known = latest.entry(digest).or_insert(this);
                *known = this.max(*known);
            }
        }
        let by_digest = latest.into_iter().map(|(digest, (_, name))| (digest.into(), name.into())).collect();
        let mut datasets = Self { by_digest, names: BTreeMap::new() };
        for record in runs.iter().map(|run| &run.record) {
            let (name, own) = (datasets.name(record).to_owned(), &record.cell.dataset);
            let others = datasets.names.entry(name.clone()).or_default();
            if name != *own && !others.contains(own) {
                others.insert(own.clone());
            }
        }
        datasets
    }

    /// Returns the canonical name of a run's dataset.
    fn name<'a>(&'a self, record: &'a RunRecord) -> &'a str {
        let known = digest(record).and_then(|digest| self.by_digest.get(digest));
        known.unwrap_or(&record.cell.dataset)
    }
}

/// Returns the digest of a user's own images, or `None` if the dataset's name alone identifies the images.
fn digest(record: &RunRecord) -> Option<&str> {
    record.provenance.data.as_deref().filter(|_| is_own(&record.cell.dataset))
}

/// Groups runs by everything that decides their numbers except the seed.
fn grouped(runs: Vec<Run>, datasets: &Datasets) -> Vec<RunGroup> {
    let all: BTreeSet<String> = datasets.names.keys().cloned().collect();
    let mut groups: BTreeMap<(usize, String, String), Vec<LoadedRun>> = BTreeMap::new();
    for run in runs {
        let cell = &run.record.cell;
        let seedless = RunRecord { cell: Cell { seed: 0, ..cell.clone() }, ..run.record.clone() }.identity();
        // A dataset with one of the paper's names may hold other images, so the digest is part of the key.
        let seedless = seedless + run.record.provenance.data.as_deref().unwrap_or_default();
        let key = (published().position(&cell.variant), cell.variant.clone(), seedless);
        groups.entry(key).or_default().push(LoadedRun::new(run));
    }
    let group = |mut runs: Vec<LoadedRun>| {
        runs.sort_by_key(|loaded| loaded.run.record.cell.seed);
        let record = &runs[0].run.record;
        let dataset = datasets.name(record);
        let set = (dataset != Lines::NAME).then(|| {
            // The record of a run whose model could not be built has a latent size of 0.
            let dims = runs.iter().map(|loaded| loaded.run.record.latent_dims()).max().unwrap_or(0);
            let set = SizedImageSet::new(dataset, dims, &all);
            record.dataset_title.as_ref().map_or(set.clone(), |title| set.titled(title))
        });
        RunGroup {
            label: String::new(),
            settings: String::new(),
            set,
            aggregates: HashMap::new(),
            user_metrics: metrics_of_the_user(&runs),
            runs,
            shown: false,
            curves: BTreeMap::new(),
        }
    };
    groups.into_values().map(group).collect()
}

/// Returns the user-defined metrics of runs, with printable texts. A run of an earlier version may have used a key that
/// has since become one of Lerpbench's own metrics; such keys are skipped.
fn metrics_of_the_user(runs: &[LoadedRun]) -> Vec<Quantity> {
    let all = runs.iter().flat_map(|loaded| &loaded.run.record.quantities);
    let own = unique_by(all, |quantity| &*quantity.key).into_iter();
    let own = own.filter(|quantity| !quantities().any(|ours| ours.key == quantity.key));
    let plain = |text: &str| printable(text).into_owned().into();
    own.map(|quantity| Quantity {
        title: plain(&quantity.title),
        unit: plain(&quantity.unit),
        caption: plain(&quantity.caption),
        ..quantity.clone()
    })
    .collect()
}

/// A metric's values in a run: its name, and pairs of the number of training samples and the value.
type Series = (Arc<str>, Vec<(u64, f64)>);

/// Reads the metrics of a group's runs and removes the runs whose metrics cannot be read. Returns a sentence about each
/// removed run.
fn measure(group: &mut RunGroup, names: &mut HashSet<Arc<str>>) -> Vec<String> {
    let mut left_out = Vec::new();
    let own: HashSet<&str> = group.user_metrics.iter().map(|quantity| &*quantity.key).collect();
    let shown = |name: &str| {
        group.shown && (own.contains(name) || drawn_metrics().any(|quantity| quantity.key == name))
    };
    let mut kept = Vec::with_capacity(group.runs.len());
    let mut runs = std::mem::take(&mut group.runs).into_iter().peekable();
    while runs.peek().is_some() {
        let chunk: Vec<LoadedRun> = runs.by_ref().take(RUNS_AT_ONCE).collect();
        let measured: Vec<_> = chunk.par_iter().map(|loaded| loaded.run.metrics()).collect();
        for (mut loaded, metrics) in chunk.into_iter().zip(measured) {
            match metrics {
                Err(error) => {
                    let (id, error) = (&loaded.run.record.id, error.to_string());
                    left_out.push(format!("{id} is left out: {}.", printable(error.trim_end_matches('.'))));
                }
                Ok(metrics) => {
                    let all = by_metric(&metrics, names);
                    loaded.finals = all.iter().map(final_of).collect();
                    for (name, values) in all.into_iter().filter(|(name, _)| shown(name)) {
                        let curve = group.curves.entry(name).or_default();
                        for (samples, value) in values {
                            curve.entry(samples).or_default().take(value);
                        }
                    }
                    kept.push(loaded);
                }
            }
        }
    }
    group.runs = kept;
    left_out
}

/// Reduces a metric's values in a run to its final value.
fn final_of((name, values): &Series) -> FinalValue {
    let all: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    FinalValue { name: name.clone(), value: final_value(&all), evaluations: all.len() as u32 }
}

/// Returns a run's values by metric, sorted by name. `names` interns the names, so that each is in memory once.
fn by_metric(metrics: &Metrics, names: &mut HashSet<Arc<str>>) -> Vec<Series> {
    let mut all: BTreeMap<&str, Vec<(u64, f64)>> = BTreeMap::new();
    for row in &metrics.0 {
        all.entry(&row.metric).or_default().push((row.samples, row.value));
    }
    let named = |(name, values): (&str, Vec<(u64, f64)>)| {
        let known = names.get(name).cloned();
        let name = known.unwrap_or_else(|| {
            let name: Arc<str> = name.into();
            names.insert(name.clone());
            name
        });
        (name, values)
    };
    all.into_iter().map(named).collect()
}

/// Returns the names of the cells that the last sweep into a folder planned, which are none if no sweep recorded a
/// plan, and a sentence if the recorded plan is damaged.
fn planned(dir: &Path) -> (Vec<String>, Option<String>) {
    let path = dir.join(lerp_train::SWEEP_RECORD);
    let damaged = |problem: String| {
        let sentence = format!(
            "The plan of the sweep is not known: {}; sweep again to write it anew.",
            printable(problem.trim())
        );
        (Vec::new(), Some(sentence))
    };
    let text = match lerp_files::read_to_string(&path, MAX_PLAN_BYTES) {
        Err(error) if error.is_not_found() => return (Vec::new(), None),
        Err(error) => return damaged(error.to_string()),
        Ok(text) => text,
    };
    let shown = path.display();
    match toml::from_str::<toml::Table>(&text) {
        Err(error) => damaged(format!("{shown} is damaged ({})", error.message())),
        Ok(plan) => match plan.get("cells").and_then(toml::Value::as_array) {
            None => damaged(format!("{shown} names no cells")),
            Some(cells) => {
                let names = cells.iter().filter_map(toml::Value::as_str);
                (names.map(|name| printable(name).into_owned()).collect(), None)
            }
        },
    }
}
