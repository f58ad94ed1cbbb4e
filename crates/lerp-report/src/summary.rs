//! The runs of a sweep, grouped by configuration, with the final values of their metrics. [`crate::reading`] reads
//! them.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use lerp_data::Lines;
use lerp_eval::Quantity;
use lerp_files::printable;
use lerp_train::{Cell, JudgeRecord, Run, State};
use polars::prelude::{Column, DataFrame, ParquetWriter, PolarsResult};

use crate::{
    Error, Result,
    pixels::PixelReference,
    published::Number,
    set::Set,
    text::{count, few, listed},
};

/// The most configurations of one image set, or of lines, that figures show.
pub const MAX_SHOWN: usize = 40;

/// The number of runs whose rows of `summary.parquet` are in memory at once.
const RUNS_AT_ONCE: usize = 1000;

/// The final value of a metric in a run.
#[derive(Debug, Clone)]
pub struct Final {
    /// The metric's key.
    pub name: Arc<str>,
    /// The final value; NaN if it is undefined.
    pub value: f64,
    /// The number of evaluations that measured it.
    pub evaluations: u32,
}

/// A run with the final values of its metrics.
#[derive(Debug)]
pub struct Loaded {
    /// The run's record and status.
    pub run: Run,
    /// The final value of every metric, sorted by name.
    pub finals: Vec<Final>,
    /// Sentences about files of the run that could not be read.
    problems: Mutex<BTreeSet<String>>,
}

impl Loaded {
    /// Wraps a run whose metrics have not been read yet.
    pub fn new(run: Run) -> Self {
        Self { run, finals: Vec::new(), problems: Mutex::default() }
    }

    /// Returns the final value of a metric with its details, or `None` if it was never measured.
    fn find(&self, metric: &str) -> Option<&Final> {
        self.finals.binary_search_by(|known| (*known.name).cmp(metric)).ok().map(|place| &self.finals[place])
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
    pub fn look<T>(&self, read: impl FnOnce(&Run) -> lerp_train::Result<Option<T>>) -> Option<T> {
        read(&self.run).unwrap_or_else(|error| {
            self.complain(&error);
            None
        })
    }

    /// Remembers a problem with a file of the run, for [`Sweep::left_out`].
    pub fn complain(&self, problem: &impl std::fmt::Display) {
        let problem = problem.to_string();
        let sentence = format!(
            "Of {} not all is shown: {}.",
            self.run.record.id,
            printable(problem.trim().trim_end_matches('.'))
        );
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).insert(sentence);
    }

    fn problems(&self) -> Vec<String> {
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

/// A configuration: the runs that differ only in their seed.
#[derive(Debug)]
pub struct Group {
    /// The name in tables: the variant's title, and the settings that tell the configuration from the variant's others.
    pub label: String,
    /// The settings that tell the configuration from the variant's others, such as `learning_rate=0.001`; empty if the
    /// variant has no others.
    pub telling: String,
    /// The image set and the size of its latents; `None` for lines.
    pub set: Option<Set>,
    /// The runs, sorted by seed.
    pub runs: Vec<Loaded>,
    /// Whether figures show the configuration. If an image set or the lines have very many, only the first are shown.
    pub shown: bool,
    /// The aggregate of each metric over the finished runs, by key.
    pub aggregates: HashMap<Arc<str>, Aggregate>,
    /// The user-defined metrics of the runs, with printable texts.
    pub further: Vec<Quantity>,
    /// The curves that figures draw, by metric and number of training samples; empty unless `shown`.
    pub curves: BTreeMap<Arc<str>, BTreeMap<u64, Spread>>,
}

/// Removes repeated configurations, keeping the order of their first occurrence.
pub fn distinct<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Vec<&'a Group> {
    let mut all: Vec<&Group> = Vec::new();
    for group in groups {
        if !all.iter().any(|known| std::ptr::eq(*known, group)) {
            all.push(group);
        }
    }
    all
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
}

/// The value of a metric over the finished runs of a configuration, with the paper's number.
#[derive(Debug, Clone, Copy)]
pub struct Aggregate {
    /// Our value.
    pub estimate: Estimate,
    /// The paper's number, if it has one.
    pub paper: Option<Number>,
}

impl Group {
    /// Returns the cell of the first run; the other runs' cells differ only in the seed.
    pub fn cell(&self) -> &Cell {
        &self.runs[0].run.record.cell
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
    pub fn done(&self) -> impl Iterator<Item = &Loaded> {
        self.runs.iter().filter(|loaded| loaded.run.status.state == State::Done)
    }

    /// Iterates over the runs by seed, finished ones first. Figures of a single run show the first of these that has
    /// the needed file.
    pub fn preferred(&self) -> impl Iterator<Item = &Loaded> {
        self.done().chain(self.runs.iter().filter(|loaded| loaded.run.status.state != State::Done))
    }

    /// Returns whether any run has measured a metric.
    pub fn has(&self, metric: &Quantity) -> bool {
        self.runs.iter().any(|loaded| loaded.find(&metric.key).is_some())
    }

    /// Returns the paper's number for a metric, if it has one.
    pub fn paper(&self, metric: &Quantity) -> Option<Number> {
        self.aggregates.get(&*metric.key)?.paper
    }

    /// Returns the value of a metric over the finished runs in which it is defined.
    pub fn estimate(&self, metric: &Quantity) -> Estimate {
        self.aggregates.get(&*metric.key).map_or(Estimate::Missing, |known| known.estimate)
    }
}

/// A sweep, as read from its folder.
#[derive(Debug)]
pub struct Sweep {
    /// The folder of the sweep.
    pub dir: PathBuf,
    /// The configurations: on lines first, then on image sets, each in the paper's order of variants.
    pub groups: Vec<Group>,
    /// The raw-pixel references, by dataset.
    pub pixels: BTreeMap<String, PixelReference>,
    /// The records of judges, by dataset.
    pub judges: BTreeMap<String, JudgeRecord>,
    /// The names of planned cells that have not begun.
    pub waiting: Vec<String>,
    /// A sentence about each run or file that could not be read.
    pub unread: Vec<String>,
    /// A sentence about runs whose files have no digests to check, if there are any.
    pub unchecked: Option<String>,
}

impl Sweep {
    /// Iterates over all runs.
    pub fn runs(&self) -> impl Iterator<Item = &Loaded> {
        self.groups.iter().flat_map(|group| &group.runs)
    }

    /// Returns the sweep's name, which is that of its folder.
    pub fn name(&self) -> String {
        let path = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the record of the judge of an image set, or of lines, if there is one.
    pub fn judge(&self, set: Option<&Set>) -> Option<&JudgeRecord> {
        self.judges.get(set.map_or(Lines::NAME, |set| &set.dataset))
    }

    /// Iterates over the configurations on lines.
    pub fn on_lines(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.set.is_none())
    }

    /// Returns the image sets in the paper's order, one for each latent size.
    pub fn sets(&self) -> Vec<&Set> {
        let mut sets: Vec<&Set> = self.groups.iter().filter_map(|group| group.set.as_ref()).collect();
        sets.dedup();
        sets
    }

    /// Iterates over the configurations on an image set.
    pub fn on(&self, set: &Set) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| {
            group.set.as_ref().is_some_and(|s| (&s.dataset, s.dims) == (&set.dataset, set.dims))
        })
    }

    /// Returns the configurations on an image set, or on lines, that figures show.
    pub fn shown(&self, set: Option<&Set>) -> Vec<&Group> {
        match set {
            None => self.on_lines().filter(|group| group.shown).collect(),
            Some(set) => self.on(set).filter(|group| group.shown).collect(),
        }
    }

    /// Returns a sentence about configurations that figures do not show, with a space before it; empty if they show
    /// all.
    pub fn not_shown(&self, set: Option<&Set>) -> String {
        let all = set.map_or_else(|| self.on_lines().count(), |set| self.on(set).count());
        if all > MAX_SHOWN {
            format!(" These are the first {MAX_SHOWN} of {all} configurations.")
        } else {
            String::new()
        }
    }

    /// Returns the notes under a table about runs and files that could not be read.
    pub fn not_counted(&self) -> Vec<String> {
        few(self.unread.clone(), "runs and files")
    }

    /// Returns a sentence about each run or file that could not be read, including files that were read after the runs.
    pub fn left_out(&self) -> Vec<String> {
        self.unread.iter().cloned().chain(self.runs().flat_map(Loaded::problems)).collect()
    }

    /// Returns the number of runs in each state, in words.
    pub fn states(&self) -> String {
        let of = |state, word: &str| {
            let n = self.runs().filter(|l| l.run.status.state == state).count();
            (n > 0).then(|| format!("{n} {word}"))
        };
        let parts = [
            of(State::Done, "finished"),
            of(State::Failed, "failed"),
            of(State::Interrupted, "interrupted"),
            of(State::Running, "running or killed"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let waiting = self.not_begun().map(|sentence| format!(". {}", sentence.trim_end_matches('.')));
        format!("{}: {}{}", count(self.runs().count(), "run"), parts.join(", "), waiting.unwrap_or_default())
    }

    /// Returns a sentence about planned cells that have not begun, or `None` if all have.
    pub fn not_begun(&self) -> Option<String> {
        const NAMED: usize = 5;
        let names = listed(&self.waiting, NAMED, ", ");
        (!self.waiting.is_empty())
            .then(|| format!("Planned and not begun: {names}; sweep again to train them."))
    }

    /// Returns the bytes of `summary.parquet`, which has one row for each run and metric.
    pub(crate) fn parquet(&self) -> Result<Vec<u8>> {
        let runs: Vec<&Loaded> = self.runs().collect();
        written(&runs).map_err(Error::draw("summary.parquet"))
    }
}

/// Writes the rows of `runs` as a parquet file, a thousand runs at a time.
fn written(runs: &[&Loaded]) -> PolarsResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut parts = runs.chunks(RUNS_AT_ONCE);
    let first = rows(parts.next().unwrap_or_default())?;
    let mut file = ParquetWriter::new(&mut bytes).batched(first.schema())?;
    file.write_batch(&first)?;
    drop(first);
    for runs in parts {
        file.write_batch(&rows(runs)?)?;
    }
    file.finish()?;
    Ok(bytes)
}

/// Returns one row for each metric of each run.
fn rows(runs: &[&Loaded]) -> PolarsResult<DataFrame> {
    let rows: Vec<(&Loaded, &Final)> =
        runs.iter().flat_map(|loaded| loaded.finals.iter().map(move |found| (*loaded, found))).collect();
    let text = |name: &str, of: &dyn Fn(&Loaded) -> String| {
        Column::new(name.into(), rows.iter().map(|(l, _)| of(l)).collect::<Vec<_>>())
    };
    let whole = |name: &str, of: &dyn Fn(&Loaded) -> i64| {
        Column::new(name.into(), rows.iter().map(|(l, _)| of(l)).collect::<Vec<_>>())
    };
    let real = |name: &str, of: &dyn Fn(&Loaded) -> f64| {
        Column::new(name.into(), rows.iter().map(|(l, _)| of(l)).collect::<Vec<_>>())
    };
    // Training settings are unknown for models that were trained elsewhere.
    let trained = rows.iter().map(|(l, _)| Some(&l.run.record.cell).filter(|cell| cell.origin.is_trained()));
    let known = |name: &str, of: &dyn Fn(&Loaded) -> u64| {
        let known = |l: &Loaded| l.run.record.cell.known_samples().map(|_| of(l) as i64);
        Column::new(name.into(), rows.iter().map(|(l, _)| known(l)).collect::<Vec<_>>())
    };
    let columns = vec![
        text("id", &|l| l.run.record.id.clone()),
        text("dataset", &|l| l.run.record.cell.dataset.clone()),
        whole("latent_dims", &|l| l.run.record.latent_dims() as i64),
        text("variant", &|l| l.run.record.cell.variant.clone()),
        text("title", &|l| l.run.record.title.clone()),
        whole("seed", &|l| l.run.record.cell.seed as i64),
        known("samples_planned", &|l| l.run.record.cell.samples),
        known("samples_done", &|l| l.run.status.samples),
        text("state", &|l| format!("{:?}", l.run.status.state).to_lowercase()),
        Column::new(
            "learning_rate".into(),
            trained.clone().map(|cell| Some(cell?.learning_rate)).collect::<Vec<_>>(),
        ),
        Column::new(
            "schedule".into(),
            trained.map(|cell| Some(cell?.schedule.to_string())).collect::<Vec<_>>(),
        ),
        Column::new("ema".into(), rows.iter().map(|(l, _)| l.run.record.cell.ema).collect::<Vec<_>>()),
        text("hyper", &|l| serde_json::to_string(&l.run.record.cell.hyper).unwrap_or_default()),
        text("device", &|l| l.run.record.provenance.device.clone()),
        text("git", &|l| l.run.record.provenance.git.clone()),
        real("wall_s", &|l| l.run.status.wall_s),
        Column::new("metric".into(), rows.iter().map(|(_, found)| &*found.name).collect::<Vec<_>>()),
        Column::new("final".into(), rows.iter().map(|(_, found)| found.value).collect::<Vec<_>>()),
        Column::new(
            "evaluations".into(),
            rows.iter().map(|(_, found)| i64::from(found.evaluations)).collect::<Vec<_>>(),
        ),
    ];
    DataFrame::new(rows.len(), columns)
}

/// A part of a label as a sort key. Numbers come before text.
#[derive(Debug, Clone, Copy)]
enum LabelPart<'a> {
    Number(f64),
    Text(&'a str),
}

impl<'a> LabelPart<'a> {
    /// Splits a label at the punctuation around names and values.
    fn all(label: &'a str) -> Vec<Self> {
        label.split(['=', ',', ')']).map(|part| Self::of(part.trim())).collect()
    }

    /// Returns the key of one part. A hexadecimal digest such as `1e123456` also parses as a number. It has neither a
    /// point nor a sign, which settings with an exponent, such as `1e-5`, do have.
    fn of(text: &'a str) -> Self {
        let plain = text.contains(['.', '-']) || text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<f64>() {
            Ok(number) if plain && number.is_finite() => Self::Number(number),
            _ => Self::Text(text),
        }
    }

    /// Compares two parts in a total order.
    fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Number(x), Self::Number(y)) => x.total_cmp(&y),
            (Self::Text(x), Self::Text(y)) => x.cmp(y),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// Compares labels in a total order, with numbers in them compared as numbers.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (left, right) = (LabelPart::all(a), LabelPart::all(b));
    let first_difference =
        left.iter().zip(&right).map(|(x, y)| x.order(*y)).find(|order| *order != Ordering::Equal);
    first_difference.unwrap_or_else(|| left.len().cmp(&right.len()).then_with(|| a.cmp(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_by_the_numbers_in_them() {
        let mut labels = ["ACAI (rate=10)", "ACAI (rate=1e-5)", "ACAI (rate=9)", "ACAI", "ACAI (rate=0.5)"];
        labels.sort_by(|a, b| natural(a, b));
        let wanted = ["ACAI", "ACAI (rate=1e-5)", "ACAI (rate=0.5)", "ACAI (rate=9)", "ACAI (rate=10)"];
        assert_eq!(labels, wanted);
    }

    #[test]
    fn the_order_of_labels_is_total() {
        let values =
            ["9a000000", "10000000", "1e123456", "1e000012", "2", "2.0", "0x", "inf", "-1", "", "2, 3"];
        let labels: Vec<String> = values.iter().map(|value| format!("VAE (images={value})")).collect();
        for a in &labels {
            for b in &labels {
                assert_eq!(natural(a, b), natural(b, a).reverse(), "{a} {b}");
                assert_eq!(natural(a, b) == Ordering::Equal, a == b, "{a} {b}");
                for c in &labels {
                    let descends = natural(a, b).is_gt() || natural(b, c).is_gt();
                    assert!(descends || natural(a, c).is_le(), "{a} {b} {c}");
                }
            }
        }
        assert_eq!(natural("VAE (images=1e123456)", "VAE (images=10000000)"), Ordering::Greater);
    }
}
