//! Runs and their groups: the runs of one configuration, which differ only in their seed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use lerp_eval::Quantity;
use lerp_files::printable;
use lerp_train::{Cell, Run, State};

use super::image_set::{SizedImageSet, dataset_of};
use crate::{paper::PublishedNumber, text::unique_by};

/// The final value of a metric in a run.
#[derive(Debug, Clone)]
pub struct FinalValue {
    /// The metric's key.
    pub name: Arc<str>,
    /// The final value; NaN if it is undefined.
    pub value: f64,
    /// The number of evaluations that measured it.
    pub evaluations: u32,
}

/// A run with the final values of its metrics.
#[derive(Debug)]
pub struct LoadedRun {
    /// The run's record and status.
    pub run: Run,
    /// The final value of every metric, sorted by name.
    pub finals: Vec<FinalValue>,
    /// Sentences about files of the run that could not be read.
    problems: Mutex<BTreeSet<String>>,
}

impl LoadedRun {
    /// Wraps a run whose metrics have not been read yet.
    pub fn new(run: Run) -> Self {
        Self { run, finals: Vec::new(), problems: Mutex::default() }
    }

    /// Returns the final value of a metric with its details, or `None` if it was never measured.
    fn find(&self, metric: &str) -> Option<&FinalValue> {
        self.finals.binary_search_by(|known| (*known.name).cmp(metric)).ok().map(|index| &self.finals[index])
    }

    /// Returns the final value of a metric: `None` if it was never measured, NaN if it is undefined.
    pub fn final_value(&self, metric: &str) -> Option<f64> {
        self.find(metric).map(|found| found.value)
    }

    /// Returns the training samples per second, over training and evaluation together, or `None` if no time or no
    /// samples are recorded.
    pub fn rate(&self) -> Option<f64> {
        let rate = self.run.status.samples as f64 / self.run.status.wall_s;
        Some(rate).filter(|rate| *rate > 0.0 && rate.is_finite())
    }

    /// Reads a file of the run. A damaged file is treated as missing, and the problem is remembered.
    pub fn read_file<T>(&self, read: impl FnOnce(&Run) -> lerp_train::Result<Option<T>>) -> Option<T> {
        read(&self.run).unwrap_or_else(|error| {
            self.note_problem(&error);
            None
        })
    }

    /// Remembers a problem with a file of the run, for [`Sweep::left_out`].
    pub fn note_problem(&self, problem: &impl std::fmt::Display) {
        let problem = problem.to_string();
        let sentence = format!(
            "Of {} not all is shown: {}.",
            self.run.record.id,
            printable(problem.trim().trim_end_matches('.'))
        );
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).insert(sentence);
    }

    /// Returns a sentence about each file of the run that could not be read.
    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The range and sum of the values of several seeds at one point of a curve.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
    /// The sum of the values.
    pub sum: f64,
    /// The number of values, without undefined ones.
    pub count: usize,
}

impl Default for Spread {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY, sum: 0.0, count: 0 }
    }
}

impl Spread {
    /// Adds a seed's value unless it is undefined.
    pub fn take(&mut self, value: f64) {
        if value.is_finite() {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            self.sum += value;
            self.count += 1;
        }
    }

    /// Returns the lowest value, the mean and the highest value, multiplied by `factor`, or `None` if there are no
    /// values.
    pub fn range(&self, factor: f64) -> Option<[f64; 3]> {
        let mean = self.sum / self.count.max(1) as f64;
        (self.count > 0).then(|| [self.low, mean, self.high].map(|value| value * factor))
    }
}

/// The runs that differ only in their seed: one configuration.
#[derive(Debug)]
pub struct RunGroup {
    /// The name in tables: the variant's title, and the settings that tell the configuration from the variant's others.
    pub label: String,
    /// The settings that tell the configuration from the variant's others, such as `learning_rate=0.001`; empty if the
    /// variant has no others.
    pub settings: String,
    /// The image set and the size of its latents; `None` for lines.
    pub set: Option<SizedImageSet>,
    /// The runs, sorted by seed.
    pub runs: Vec<LoadedRun>,
    /// Whether figures show the configuration. If an image set or the lines have very many, only the first are shown.
    pub shown: bool,
    /// The aggregate of each metric over the finished runs, by key.
    pub aggregates: HashMap<Arc<str>, Aggregate>,
    /// The user-defined metrics of the runs, with printable texts.
    pub user_metrics: Vec<Quantity>,
    /// The curves that figures draw, by metric and number of training samples; empty unless `shown`.
    pub curves: BTreeMap<Arc<str>, BTreeMap<u64, Spread>>,
}

/// Removes repeated configurations, keeping the order of their first occurrence.
pub fn distinct<'a>(groups: impl IntoIterator<Item = &'a RunGroup>) -> Vec<&'a RunGroup> {
    unique_by(groups, |group| std::ptr::from_ref(*group))
}

/// The value of a metric over the finished runs of a configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimate {
    /// No finished run has measured the metric.
    Missing,
    /// The metric is undefined in every finished run.
    Undefined,
    /// The metric is defined in `n` finished runs.
    Known {
        /// The mean.
        mean: f64,
        /// The standard deviation over seeds, with divisor n as in the paper.
        std: f64,
        /// The number of runs that it is over.
        n: usize,
    },
}

impl Estimate {
    /// Returns the mean, or `None` if the metric is missing or undefined.
    pub fn mean(self) -> Option<f64> {
        if let Self::Known { mean, .. } = self { Some(mean) } else { None }
    }

    /// Formats the mean and, over several runs, the standard deviation, each by `text`.
    pub fn text(self, text: impl Fn(f64) -> String) -> String {
        match self {
            Self::Missing => "–".into(),
            Self::Undefined => "undefined".into(),
            Self::Known { mean, n: 1, .. } => text(mean),
            Self::Known { mean, std, .. } => format!("{} ± {}", text(mean), text(std)),
        }
    }
}

/// The value of a metric over the finished runs of a configuration, with the paper's number.
#[derive(Debug, Clone, Copy)]
pub struct Aggregate {
    /// Our value.
    pub estimate: Estimate,
    /// The paper's number, if it has one.
    pub paper: Option<PublishedNumber>,
}

impl RunGroup {
    /// Returns the cell of the first run; the other runs' cells differ only in the seed.
    pub fn cell(&self) -> &Cell {
        &self.runs[0].run.record.cell
    }

    /// Returns the name of the dataset in files.
    pub fn dataset(&self) -> &str {
        dataset_of(self.set.as_ref())
    }

    /// Returns the variant's title, in printable characters.
    pub fn title(&self) -> String {
        printable(&self.runs[0].run.record.title).into_owned()
    }

    /// Returns the name of the configuration among all datasets: the label, preceded by the image set if there is one.
    pub fn name(&self) -> String {
        self.set.as_ref().map(|set| format!("{} ", set.name())).unwrap_or_default() + &self.label
    }

    /// Iterates over the finished runs.
    pub fn done(&self) -> impl Iterator<Item = &LoadedRun> {
        self.runs.iter().filter(|loaded| loaded.run.status.state == State::Done)
    }

    /// Iterates over the runs by seed, finished ones first. Figures of a single run show the first of these that has
    /// the needed file.
    pub fn preferred(&self) -> impl Iterator<Item = &LoadedRun> {
        self.done().chain(self.runs.iter().filter(|loaded| loaded.run.status.state != State::Done))
    }

    /// Returns the final values of a metric in the finished runs that have measured it; NaN where it is undefined.
    pub fn final_values(&self, metric: &Quantity) -> impl Iterator<Item = f64> {
        self.done().filter_map(|loaded| loaded.final_value(&metric.key))
    }

    /// Returns whether any run has measured a metric.
    pub fn has(&self, metric: &Quantity) -> bool {
        self.runs.iter().any(|loaded| loaded.find(&metric.key).is_some())
    }

    /// Returns the paper's number for a metric, if it has one.
    pub fn paper(&self, metric: &Quantity) -> Option<PublishedNumber> {
        self.aggregates.get(&*metric.key)?.paper
    }

    /// Returns the value of a metric over the finished runs in which it is defined.
    pub fn estimate(&self, metric: &Quantity) -> Estimate {
        self.aggregates.get(&*metric.key).map_or(Estimate::Missing, |known| known.estimate)
    }
}

/// Returns the user-defined metrics of `groups`, each once. If runs describe a key differently, the first description
/// counts.
pub fn user_metrics<'a>(groups: impl IntoIterator<Item = &'a RunGroup>) -> Vec<&'a Quantity> {
    unique_by(groups.into_iter().flat_map(|group| &group.user_metrics), |quantity| &*quantity.key)
}

/// Returns a quantity's title, with its unit if it has one.
pub fn title_with_unit(quantity: &Quantity) -> String {
    match &*quantity.unit {
        "" => quantity.title.to_string(),
        unit => format!("{} ({unit})", quantity.title),
    }
}
