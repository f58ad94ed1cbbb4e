//! One cell of a sweep, as the files of its folder tell it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lerp_eval::{
    Quantity, When,
    quantity::{CLASSIFIER_ACCURACY, MEAN_DISTANCE, MEAN_SMOOTHNESS, RECONSTRUCTION_MSE},
};
use lerp_files::printable;
use lerp_train::{Holder, Live, Metrics, Phase, Run, State};

use super::{detail::plain, kept::Kept};
use crate::slurm::Place;

/// Seconds without news after which a run that says it is running may no longer be.
const PATIENCE: f64 = 30.0;

/// Evaluations' time without news after which that holds for a run that gives news only there.
const EVALUATIONS: f64 = 3.0;

/// What a worker says while it works.
const PROGRESS: &str = "progress.json";

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    Waiting,
    /// In the queue of a cluster.
    Queued,
    /// In training.
    Running,
    /// Trained; what its latents are worth is measured.
    Measuring,
    /// Its files say that it is running, but they are old.
    Stalled,
    /// Stopped on request; the next sweep goes on with it.
    Stopped,
    /// Ended with an error.
    Failed,
    /// Complete.
    Done,
}

impl Stage {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Measuring => "measuring",
            Self::Stalled => "stalled?",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    /// Whether a worker is on it, or was when it last gave news.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Measuring | Self::Stalled)
    }

    /// Whether this sweep does no more on it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// A metric's values: samples seen, value.
pub type Series = Vec<(f64, f64)>;

/// A cell of a sweep.
#[derive(Debug)]
pub struct Cell {
    /// Its name and its folder's.
    pub id: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Whether the sweep's present plan has it.
    pub planned: bool,
    /// Dataset.
    pub dataset: String,
    /// Variant.
    pub variant: String,
    /// Seed.
    pub seed: String,
    /// How far it is.
    pub stage: Stage,
    /// Samples done.
    pub samples: u64,
    /// Samples in all; not known before it begins.
    pub total: Option<u64>,
    /// Samples a second: lately of a run that goes on, else in the mean.
    pub rate: Option<f64>,
    /// Seconds that a sample takes in the mean, evaluations included.
    pub seconds_per_sample: Option<f64>,
    /// Why it failed.
    pub reason: Option<String>,
    /// On a cluster: its job, its node, and how often it was started again.
    pub place: Option<String>,
    /// Whether its folder is a link, which is not read.
    link: bool,
    run: Kept<Run>,
    metrics: Kept<BTreeMap<String, Series>>,
    live: Kept<Live>,
}

impl Cell {
    /// The cell called `id` of the sweep in `sweep`; nothing is read yet.
    pub fn new(sweep: &Path, id: &str, planned: bool) -> Self {
        let dir = sweep.join("runs").join(id);
        let (dataset, variant, seed) = parts(id);
        Self {
            id: id.to_owned(),
            planned,
            dataset,
            variant,
            seed,
            stage: Stage::Waiting,
            samples: 0,
            total: None,
            rate: None,
            seconds_per_sample: None,
            reason: None,
            place: None,
            link: false,
            // The status first: it is what changes.
            run: Kept::new(vec![dir.join("status.json"), dir.join("run.toml")]),
            metrics: Kept::new(vec![dir.join("metrics.parquet")]),
            live: Kept::new(vec![dir.join(PROGRESS)]),
            dir,
        }
    }

    /// Reads what changed; `now` in seconds since 1970. `place` is where it is in the queue of a cluster.
    pub fn refresh(&mut self, now: f64, place: Option<&Place>) {
        if self.dir.is_symlink() {
            self.link = true;
            return;
        }
        self.link = false;
        self.run.refresh(|| Run::read(&self.dir));
        self.metrics.refresh(|| Metrics::read(&self.dir.join("metrics.parquet")).map(|m| series(&m)));
        let path = self.dir.join(PROGRESS);
        match self.run.value() {
            // It goes with the worker.
            Some(run) if path.exists() => {
                let damaged = || format!("{} is damaged", path.display());
                self.live.refresh(|| run.progress().ok_or_else(damaged));
            }
            _ => self.live.forget(),
        }
        self.stage = Stage::Waiting;
        self.judge(now);
        // Who trains it says so in the run's folder, and knows it before the queue is asked again.
        let holder = if self.stage.is_running() { Holder::of(&self.dir) } else { None };
        self.place = match (holder.filter(|holder| holder.job.is_some()), place) {
            (Some(holder), _) => Some(holder.described()),
            (None, place) => place.map(|place| printable(&place.described()).into_owned()),
        };
        let resting = matches!(self.stage, Stage::Waiting | Stage::Stopped);
        if place.is_some_and(|place| place.pending || resting) && self.stage != Stage::Done {
            self.stage = Stage::Queued;
        }
    }

    /// From the files to what is shown.
    fn judge(&mut self, now: f64) {
        let Some(run) = self.run.value() else { return };
        let (cell, status) = (&run.record.cell, &run.status);
        self.dataset = printable(&cell.dataset).into_owned();
        self.variant = printable(&cell.variant).into_owned();
        self.seed = cell.seed.to_string();
        self.total = Some(cell.samples);
        self.samples = status.samples;
        self.seconds_per_sample =
            (status.samples > 0 && status.wall_s > 0.0).then(|| status.wall_s / status.samples as f64);
        self.rate = self.seconds_per_sample.map(|seconds| 1.0 / seconds);
        self.reason = (status.state == State::Failed)
            .then(|| status.reason.as_deref().map_or("it does not say why".into(), plain));
        self.stage = match status.state {
            State::Done => Stage::Done,
            State::Failed => Stage::Failed,
            State::Interrupted => Stage::Stopped,
            State::Running => Stage::Running,
        };
        if self.stage != Stage::Running {
            return;
        }
        let Some(live) = self.live.value() else {
            // A run without such a file gives news at evaluations only.
            let patience = self.evaluation_s().map_or(PATIENCE, |s| PATIENCE.max(EVALUATIONS * s));
            if self.run.written().is_some_and(|at| now - at > patience) {
                self.stage = Stage::Stalled;
            }
            return;
        };
        self.samples = self.samples.max(live.samples);
        if live.samples_per_s > 0.0 && live.samples_per_s.is_finite() {
            self.rate = Some(live.samples_per_s);
            self.seconds_per_sample = self.seconds_per_sample.or(Some(1.0 / live.samples_per_s));
        }
        // The file's own time, too, in case that the clocks of two machines differ.
        let at = self.live.written().map_or(live.at, |written| written.max(live.at));
        if now - at > PATIENCE {
            self.stage = Stage::Stalled;
        } else if live.phase == Phase::Finishing {
            self.stage = Stage::Measuring;
        }
    }

    /// Its losses of late, while a worker is on it.
    pub fn losses(&self) -> &[(String, f64)] {
        self.live.value().map_or(&[], |live| &live.losses)
    }

    /// Its configuration and provenance, once it has begun.
    pub fn run(&self) -> Option<&Run> {
        self.run.value()
    }

    /// Seconds from one evaluation to the next.
    fn evaluation_s(&self) -> Option<f64> {
        let every = self.run.value()?.record.cell.eval_every;
        Some(self.seconds_per_sample? * every as f64)
    }

    /// Names of its metrics, the most telling first.
    pub fn metrics(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.metrics.value().into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
        let rank = |name: &str| {
            let kind = match When::of(name) {
                Some(When::EachEvaluation) => 0,
                Some(When::AtTheEnd) => 1,
                None => 2,
            };
            (FIRST.iter().position(|first| first.key == name).unwrap_or(FIRST.len()), kind)
        };
        names.sort_by_key(|name| rank(name));
        names
    }

    /// A metric's values that are numbers.
    pub fn series(&self, metric: &str) -> &[(f64, f64)] {
        self.metrics.value().and_then(|series| series.get(metric)).map_or(&[], Vec::as_slice)
    }

    /// A metric's last value.
    pub fn last(&self, metric: &str) -> Option<f64> {
        self.series(metric).last().map(|(_, value)| *value)
    }

    /// How much of it is done, 0 to 1.
    pub fn fraction(&self) -> f64 {
        let Some(total) = self.total.filter(|total| *total > 0) else { return 0.0 };
        (self.samples as f64 / total as f64).min(1.0)
    }

    /// The end of its name, which tells apart cells that differ in hyperparameters only.
    pub fn hash(&self) -> &str {
        self.id.rsplit('-').next().unwrap_or_default()
    }

    /// Whether its results cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.link || self.run.problem().is_some() || self.metrics.problem().is_some()
    }

    /// What is wrong with its files.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        const LINK: &str = "a run's folder is a symbolic link, which is not followed";
        let link = self.link.then_some(LINK);
        [link, self.run.problem(), self.metrics.problem(), self.live.problem()].into_iter().flatten()
    }
}

/// Metrics that are shown first.
static FIRST: [&Quantity; 4] = [&MEAN_DISTANCE, &MEAN_SMOOTHNESS, &RECONSTRUCTION_MSE, &CLASSIFIER_ACCURACY];

/// By metric; what is not a number is left out.
fn series(metrics: &Metrics) -> BTreeMap<String, Series> {
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for row in &metrics.0 {
        // Looked up first: a table has thousands of rows of a dozen names.
        if !all.contains_key(&row.metric) {
            all.insert(row.metric.clone(), Vec::new());
        }
        if let Some(series) = all.get_mut(&row.metric)
            && row.value.is_finite()
        {
            series.push((row.samples as f64, row.value));
        }
    }
    all
}

/// Dataset, variant and seed of a cell that has not begun, from its name `dataset-variant-s0-hash`.
fn parts(id: &str) -> (String, String, String) {
    let mut from_end = id.rsplitn(4, '-');
    let (_hash, seed, variant, dataset) =
        (from_end.next(), from_end.next(), from_end.next(), from_end.next());
    match (dataset, variant, seed.and_then(|seed| seed.strip_prefix('s'))) {
        (Some(dataset), Some(variant), Some(seed)) => (dataset.into(), variant.into(), seed.into()),
        _ => (String::new(), id.into(), String::new()),
    }
}
