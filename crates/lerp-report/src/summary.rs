//! The runs of a sweep, grouped by configuration, and their final values; [`crate::reading`] reads them.

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

/// Configurations of one image set, or on lines, that figures show.
pub const MOST_SHOWN: usize = 40;

/// Runs whose rows of `summary.parquet` are in memory at once.
const ROWS_OF: usize = 1000;

/// What a metric came to in a run.
#[derive(Debug, Clone)]
pub struct Final {
    /// The metric.
    pub name: Arc<str>,
    /// Its final value; NaN if it is undefined.
    pub value: f64,
    /// How often it was measured.
    pub evaluations: u32,
}

/// A run, and what its metrics came to.
#[derive(Debug)]
pub struct Loaded {
    /// Record and status.
    pub run: Run,
    /// Of every metric, by name.
    pub finals: Vec<Final>,
    /// What of its files could not be read.
    problems: Mutex<BTreeSet<String>>,
}

impl Loaded {
    /// A run whose metrics are not read yet.
    pub fn new(run: Run) -> Self {
        Self { run, finals: Vec::new(), problems: Mutex::default() }
    }

    /// What became of a metric; none if it was never measured.
    fn find(&self, metric: &str) -> Option<&Final> {
        self.finals.binary_search_by(|known| (*known.name).cmp(metric)).ok().map(|place| &self.finals[place])
    }

    /// The run's final value of a metric; none if it was never measured, NaN if it is undefined.
    pub fn final_value(&self, metric: &str) -> Option<f64> {
        self.find(metric).map(|found| found.value)
    }

    /// Samples a second, training and evaluation together; none before there are any.
    pub fn rate(&self) -> Option<f64> {
        let rate = self.run.status.samples as f64 / self.run.status.wall_s;
        Some(rate).filter(|rate| *rate > 0.0 && rate.is_finite())
    }

    /// Reads a file of the run. One that is damaged is as one that is not there, and is remembered.
    pub fn look<T>(&self, read: impl FnOnce(&Run) -> lerp_train::Result<Option<T>>) -> Option<T> {
        read(&self.run).unwrap_or_else(|error| {
            self.complain(&error);
            None
        })
    }

    /// Remembers what is wrong with a file of the run.
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

/// Values of several seeds at one point.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// Their sum.
    pub sum: f64,
    /// How many there are: undefined ones are left out.
    pub count: usize,
}

impl Default for Spread {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY, sum: 0.0, count: 0 }
    }
}

impl Spread {
    /// Adds a seed's value.
    pub fn take(&mut self, value: f64) {
        if value.is_finite() {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            self.sum += value;
            self.count += 1;
        }
    }

    /// Lowest, mean and highest; none where every seed's is undefined.
    pub fn range(&self, factor: f64) -> Option<[f64; 3]> {
        let mean = self.sum / self.count.max(1) as f64;
        (self.count > 0).then(|| [self.low, mean, self.high].map(|value| value * factor))
    }
}

/// Runs that differ in the seed alone.
#[derive(Debug)]
pub struct Group {
    /// Name in tables: the variant's, and what tells it from its other configurations.
    pub label: String,
    /// What tells it from the variant's other configurations, such as `learning_rate=0.001`; empty if there are none.
    pub telling: String,
    /// The image set and the size of its latents; none on lines.
    pub set: Option<Set>,
    /// Its runs, by seed.
    pub runs: Vec<Loaded>,
    /// Whether figures show it: of very many on one image set the first.
    pub shown: bool,
    /// What each metric comes to over its finished runs.
    pub aggregates: HashMap<Arc<str>, Aggregate>,
    /// What its runs measure besides Lerpbench's own, fit to print.
    pub further: Vec<Quantity>,
    /// Of a group that is shown, the metrics that figures draw, by samples.
    pub curves: BTreeMap<Arc<str>, BTreeMap<u64, Spread>>,
}

/// Each of these configurations once, in the order in which they come first.
pub fn distinct<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Vec<&'a Group> {
    let mut all: Vec<&Group> = Vec::new();
    for group in groups {
        if !all.iter().any(|known| std::ptr::eq(*known, group)) {
            all.push(group);
        }
    }
    all
}

/// A number in a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Estimate {
    /// No run is finished.
    Missing,
    /// The metric is undefined in every finished run.
    Undefined,
    /// Mean and standard deviation over `n` finished runs.
    Known {
        /// Mean.
        mean: f64,
        /// Standard deviation over seeds, with divisor n as in the paper.
        std: f64,
        /// Number of runs in it.
        n: usize,
    },
}

impl Estimate {
    /// The mean, if there is one.
    pub fn mean(self) -> Option<f64> {
        if let Self::Known { mean, .. } = self { Some(mean) } else { None }
    }
}

/// What a metric comes to over the finished runs of a configuration, and the paper's number beside it.
#[derive(Debug, Clone, Copy)]
pub struct Aggregate {
    /// Ours.
    pub estimate: Estimate,
    /// The paper's, if it has one.
    pub paper: Option<Number>,
}

impl Group {
    /// The first run's cell: all of them but for the seed.
    pub fn cell(&self) -> &Cell {
        &self.runs[0].run.record.cell
    }

    /// The variant's name in text.
    pub fn title(&self) -> String {
        printable(&self.runs[0].run.record.title).into_owned()
    }

    /// Its name among those of all datasets: the label, on image sets behind the set.
    pub fn name(&self) -> String {
        self.set.as_ref().map(|set| format!("{} ", set.name())).unwrap_or_default() + &self.label
    }

    /// Its finished runs.
    pub fn done(&self) -> impl Iterator<Item = &Loaded> {
        self.runs.iter().filter(|loaded| loaded.run.status.state == State::Done)
    }

    /// Its runs, by seed, finished ones before others: the first that has something stands for the configuration.
    pub fn preferred(&self) -> impl Iterator<Item = &Loaded> {
        self.done().chain(self.runs.iter().filter(|loaded| loaded.run.status.state != State::Done))
    }

    /// Whether any run has ever measured a metric.
    pub fn has(&self, metric: &Quantity) -> bool {
        self.runs.iter().any(|loaded| loaded.find(&metric.key).is_some())
    }

    /// The paper's number beside a metric, if it has one.
    pub fn paper(&self, metric: &Quantity) -> Option<Number> {
        self.aggregates.get(&*metric.key)?.paper
    }

    /// A metric over the finished runs; those in which it is undefined are left out.
    pub fn estimate(&self, metric: &Quantity) -> Estimate {
        self.aggregates.get(&*metric.key).map_or(Estimate::Missing, |known| known.estimate)
    }
}

/// A sweep as its folder tells it.
#[derive(Debug)]
pub struct Sweep {
    /// The folder.
    pub dir: PathBuf,
    /// Configurations, on lines, then on image sets; in the paper's order of variants.
    pub groups: Vec<Group>,
    /// The references of raw pixels, by dataset.
    pub pixels: BTreeMap<String, PixelReference>,
    /// The records of judges, by dataset.
    pub judges: BTreeMap<String, JudgeRecord>,
    /// Names of planned cells that have not begun.
    pub waiting: Vec<String>,
    /// A sentence about each run or file that could not be read.
    pub unread: Vec<String>,
    /// A sentence about runs whose files cannot be checked, if there are any.
    pub unchecked: Option<String>,
}

impl Sweep {
    /// All runs.
    pub fn runs(&self) -> impl Iterator<Item = &Loaded> {
        self.groups.iter().flat_map(|group| &group.runs)
    }

    /// The sweep's name: its folder's.
    pub fn name(&self) -> String {
        let path = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The record of the judge of an image set, or of that of lines, if there is one.
    pub fn judge(&self, set: Option<&Set>) -> Option<&JudgeRecord> {
        self.judges.get(set.map_or(Lines::NAME, |set| &set.dataset))
    }

    /// The configurations on lines.
    pub fn on_lines(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.set.is_none())
    }

    /// The image sets, each size of latents by itself, in the paper's order.
    pub fn sets(&self) -> Vec<&Set> {
        let mut sets: Vec<&Set> = self.groups.iter().filter_map(|group| group.set.as_ref()).collect();
        sets.dedup();
        sets
    }

    /// The configurations on an image set.
    pub fn on(&self, set: &Set) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |group| {
            group.set.as_ref().is_some_and(|s| (&s.dataset, s.dims) == (&set.dataset, set.dims))
        })
    }

    /// The configurations on an image set, or on lines, that figures show.
    pub fn shown(&self, set: Option<&Set>) -> Vec<&Group> {
        match set {
            None => self.on_lines().filter(|group| group.shown).collect(),
            Some(set) => self.on(set).filter(|group| group.shown).collect(),
        }
    }

    /// A sentence about configurations that figures do not show, with a space before it; empty where they show all.
    pub fn not_shown(&self, set: Option<&Set>) -> String {
        let all = set.map_or_else(|| self.on_lines().count(), |set| self.on(set).count());
        if all > MOST_SHOWN {
            format!(" These are the first {MOST_SHOWN} of {all} configurations.")
        } else {
            String::new()
        }
    }

    /// What stands under a table about runs and files that could not be read.
    pub fn not_counted(&self) -> Vec<String> {
        few(self.unread.clone(), "runs and files")
    }

    /// A sentence about everything that could not be read so far: runs that are not counted, and files of others.
    pub fn left_out(&self) -> Vec<String> {
        self.unread.iter().cloned().chain(self.runs().flat_map(Loaded::problems)).collect()
    }

    /// How many runs are in which state, in words.
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

    /// A sentence about planned cells that have not begun, if there are any.
    pub fn not_begun(&self) -> Option<String> {
        const NAMED: usize = 5;
        let names = listed(&self.waiting, NAMED, ", ");
        (!self.waiting.is_empty())
            .then(|| format!("Planned and not begun: {names}; sweep again to train them."))
    }

    /// `summary.parquet`: one row for each run and metric.
    pub(crate) fn parquet(&self) -> Result<Vec<u8>> {
        let runs: Vec<&Loaded> = self.runs().collect();
        written(&runs).map_err(Error::draw("summary.parquet"))
    }
}

/// The rows of `runs` as a parquet file, a thousand runs after the other.
fn written(runs: &[&Loaded]) -> PolarsResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut parts = runs.chunks(ROWS_OF);
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

/// A row for each metric of `runs`.
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
    // Of a model that was trained elsewhere little is known.
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

/// Order of labels that compares the numbers in them as numbers.
pub fn natural(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<String> {
        text.split(['=', ',', ')']).map(|part| part.trim().to_owned()).collect()
    };
    for (x, y) in parts(a).iter().zip(&parts(b)) {
        let order = match (x.parse::<f64>(), y.parse::<f64>()) {
            (Ok(x), Ok(y)) => x.total_cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.cmp(b)
}
