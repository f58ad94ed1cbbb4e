//! The state of one cell of a sweep, as read from the files in its folder.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lerp_cluster::QueuedCell;
use lerp_eval::{
    Quantity, When,
    quantity::{CLASSIFIER_ACCURACY, MEAN_DISTANCE, MEAN_SMOOTHNESS, RECONSTRUCTION_MSE},
};
use lerp_files::printable;
use lerp_train::{Holder, LiveProgress, Metrics, Phase, Run, State};

use crate::{cached_read::CachedRead, text::plain_line};

/// Seconds without progress after which a running run is shown as stalled.
const STALLED_AFTER: f64 = 30.0;

/// The same limit for a run that reports progress at evaluations only, as a multiple of the time between evaluations.
const STALLED_AFTER_EVALUATIONS: f64 = 3.0;

/// File in which a worker process reports its progress.
const PROGRESS: &str = "progress.json";

/// The stage of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Not started.
    Waiting,
    /// In the queue of a cluster.
    Queued,
    /// Being trained.
    Running,
    /// Trained; the final evaluation of its latents is running.
    Measuring,
    /// Recorded as running, but its files have not changed for too long.
    Stalled,
    /// Stopped on request; the next sweep resumes it.
    Stopped,
    /// Ended with an error.
    Failed,
    /// Complete.
    Done,
}

impl Stage {
    /// Returns the name of the stage.
    pub fn name(self) -> &'static str {
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

    /// Whether a worker process is training the cell, or was when it last reported progress.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Measuring | Self::Stalled)
    }

    /// Whether the sweep has finished with the cell.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// The values of a metric, as pairs of the number of training samples and the value.
pub type Series = Vec<(f64, f64)>;

/// The state of a cell of a sweep.
#[derive(Debug)]
pub struct CellView {
    /// Name of the cell and of its folder.
    pub id: String,
    /// Folder of the cell.
    pub dir: PathBuf,
    /// Whether the sweep's present plan contains the cell.
    pub planned: bool,
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the variant.
    pub variant: String,
    /// Random seed, as text.
    pub seed: String,
    /// Stage of the cell.
    pub stage: Stage,
    /// Number of training samples so far.
    pub samples: u64,
    /// Total number of training samples; `None` before the run begins.
    pub total: Option<u64>,
    /// Training samples per second: the recent rate of a running run, else the mean.
    pub rate: Option<f64>,
    /// Mean seconds per training sample, including evaluations.
    pub seconds_per_sample: Option<f64>,
    /// Reason why the run failed.
    pub reason: Option<String>,
    /// On a cluster, a description of the job, the node and the number of restarts.
    pub cluster_job: Option<String>,
    /// Whether the folder is a symbolic link, which is not followed.
    is_link: bool,
    run: CachedRead<Run>,
    metrics: CachedRead<BTreeMap<String, Series>>,
    live: CachedRead<LiveProgress>,
}

impl CellView {
    /// Creates the cell called `id` of the sweep in the folder `sweep`, without reading any files.
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
            cluster_job: None,
            is_link: false,
            // The status comes first, because `CachedRead::modified` tells the time of the first file and only the status
            // changes.
            run: CachedRead::new(vec![dir.join("status.json"), dir.join("run.toml")]),
            metrics: CachedRead::new(vec![dir.join("metrics.parquet")]),
            live: CachedRead::new(vec![dir.join(PROGRESS)]),
            dir,
        }
    }

    /// Reads the files that have changed. `now` is in seconds since 1970; `queued` is the cell's entry in the queue of a
    /// cluster.
    pub fn refresh(&mut self, now: f64, queued: Option<&QueuedCell>) {
        if self.dir.is_symlink() {
            self.is_link = true;
            return;
        }
        self.is_link = false;
        self.run.refresh(|| Run::read(&self.dir));
        self.metrics.refresh(|| Metrics::read(&self.dir.join("metrics.parquet")).map(|m| series(&m)));
        let path = self.dir.join(PROGRESS);
        match self.run.value() {
            // The worker process deletes the progress file when it ends, so its absence is no error.
            Some(run) if path.exists() => {
                let damaged = || format!("{} is damaged", path.display());
                self.live.refresh(|| run.progress().ok_or_else(damaged));
            }
            _ => self.live.clear(),
        }
        self.stage = Stage::Waiting;
        self.derive_state(now);
        // The process that trains the run writes its job into the run's folder, which is more recent than the queue's
        // answer.
        let holder = if self.stage.is_running() { Holder::of(&self.dir) } else { None };
        self.cluster_job = match (holder.filter(|holder| holder.job.is_some()), queued) {
            (Some(holder), _) => Some(holder.described()),
            (None, queued) => queued.map(|queued| printable(&queued.described()).into_owned()),
        };
        let resting = matches!(self.stage, Stage::Waiting | Stage::Stopped);
        if queued.is_some_and(|queued| queued.pending || resting) && self.stage != Stage::Done {
            self.stage = Stage::Queued;
        }
    }

    /// Derives what is shown from the files that were read.
    fn derive_state(&mut self, now: f64) {
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
            .then(|| status.reason.as_deref().map_or("it does not say why".into(), plain_line));
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
            // A run without a progress file changes its files at evaluations only.
            let limit = self
                .evaluation_s()
                .map_or(STALLED_AFTER, |s| STALLED_AFTER.max(STALLED_AFTER_EVALUATIONS * s));
            if self.run.modified().is_some_and(|at| now - at > limit) {
                self.stage = Stage::Stalled;
            }
            return;
        };
        self.samples = self.samples.max(live.samples);
        if live.samples_per_s > 0.0 && live.samples_per_s.is_finite() {
            self.rate = Some(live.samples_per_s);
            self.seconds_per_sample = self.seconds_per_sample.or(Some(1.0 / live.samples_per_s));
        }
        // The file's modification time is used as well, in case the clocks of two machines differ.
        let at = self.live.modified().map_or(live.at, |modified| modified.max(live.at));
        if now - at > STALLED_AFTER {
            self.stage = Stage::Stalled;
        } else if live.phase == Phase::Finishing {
            self.stage = Stage::Measuring;
        }
    }

    /// Returns the latest losses, while a worker process is training the cell.
    pub fn losses(&self) -> &[(String, f64)] {
        self.live.value().map_or(&[], |live| &live.losses)
    }

    /// Returns the run. Returns `None` before the run begins.
    pub fn run(&self) -> Option<&Run> {
        self.run.value()
    }

    /// Returns the seconds between two evaluations, if known.
    fn evaluation_s(&self) -> Option<f64> {
        let every = self.run.value()?.record.cell.eval_every;
        Some(self.seconds_per_sample? * every as f64)
    }

    /// Returns the names of the cell's metrics, the most important first.
    pub fn metrics(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.metrics.value().into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
        let rank = |name: &str| {
            let kind = match When::of(name) {
                Some(When::EachEvaluation) => 0,
                Some(When::AtTheEnd) => 1,
                None => 2,
            };
            (LISTED_FIRST.iter().position(|first| first.key == name).unwrap_or(LISTED_FIRST.len()), kind)
        };
        names.sort_by_key(|name| rank(name));
        names
    }

    /// Returns the finite values of a metric.
    pub fn series(&self, metric: &str) -> &[(f64, f64)] {
        self.metrics.value().and_then(|series| series.get(metric)).map_or(&[], Vec::as_slice)
    }

    /// Returns the last finite value of a metric.
    pub fn last(&self, metric: &str) -> Option<f64> {
        self.series(metric).last().map(|(_, value)| *value)
    }

    /// Returns the fraction of the training that is done, from 0 to 1.
    pub fn fraction(&self) -> f64 {
        let Some(total) = self.total.filter(|total| *total > 0) else { return 0.0 };
        (self.samples as f64 / total as f64).min(1.0)
    }

    /// Returns the hash at the end of the cell's name, which distinguishes cells that differ in hyperparameters only.
    pub fn hash(&self) -> &str {
        self.id.rsplit('-').next().unwrap_or_default()
    }

    /// Whether the results of the cell cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.is_link || self.run.problem().is_some() || self.metrics.problem().is_some()
    }

    /// Returns sentences about files of the cell that cannot be read.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        const LINK: &str = "a run's folder is a symbolic link, which is not followed";
        let link = self.is_link.then_some(LINK);
        [link, self.run.problem(), self.metrics.problem(), self.live.problem()].into_iter().flatten()
    }
}

/// The metrics that are listed first.
static LISTED_FIRST: [&Quantity; 4] =
    [&MEAN_DISTANCE, &MEAN_SMOOTHNESS, &RECONSTRUCTION_MSE, &CLASSIFIER_ACCURACY];

/// Groups values by metric, without those that are not finite.
fn series(metrics: &Metrics) -> BTreeMap<String, Series> {
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for row in &metrics.0 {
        // The lookup avoids cloning the name for each of thousands of rows, which have only a dozen different names.
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

/// Parses dataset, variant and seed from the name `dataset-variant-s0-hash` of a cell that has not begun.
fn parts(id: &str) -> (String, String, String) {
    let mut from_end = id.rsplitn(4, '-');
    let (_hash, seed, variant, dataset) =
        (from_end.next(), from_end.next(), from_end.next(), from_end.next());
    match (dataset, variant, seed.and_then(|seed| seed.strip_prefix('s'))) {
        (Some(dataset), Some(variant), Some(seed)) => (dataset.into(), variant.into(), seed.into()),
        _ => (String::new(), id.into(), String::new()),
    }
}
