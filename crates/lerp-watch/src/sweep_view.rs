//! The state of a sweep, as read from the files in its folder.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lerp_cluster::QueueView;
use lerp_files::{is_folder, is_word, printable};
use lerp_train::{MAX_SWEEP_RECORD_BYTES, SWEEP_FORMAT, SWEEP_RECORD};
use serde::Deserialize;

use crate::{
    Error, Result,
    cached_read::CachedRead,
    cell_view::{CellView, Stage},
};

/// The part of `sweep.toml` that a watcher reads.
#[derive(Debug, Deserialize)]
pub struct SweepRecord {
    format: String,
    /// One sentence that describes the sweep.
    #[serde(default)]
    pub about: String,
    /// Devices that the sweep trains on.
    #[serde(default)]
    pub devices: Vec<String>,
    #[serde(default)]
    cells: Vec<String>,
}

impl SweepRecord {
    /// Returns the names of the planned cells. Invalid names are skipped, because names are used as paths.
    fn cells(&self) -> Vec<String> {
        self.cells.iter().filter(|name| is_word(name)).cloned().collect()
    }
}

/// The state of a sweep.
#[derive(Debug)]
pub struct SweepView {
    /// Name of the folder.
    pub name: String,
    /// The cells: those of the plan in its order, then other cells in the folder.
    pub cells: Vec<CellView>,
    dir: PathBuf,
    record: CachedRead<SweepRecord>,
    queue: QueueView,
    /// Longest time to wait for an answer of a cluster's queue.
    pub queue_timeout: Duration,
    is_gone: bool,
}

/// Numbers of cells by stage.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All cells of the plan.
    pub all: usize,
    /// Complete.
    pub done: usize,
    /// In training or in the final evaluation.
    pub running: usize,
    /// Recorded as running, but without recent progress.
    pub stalled: usize,
    /// Ended with an error.
    pub failed: usize,
    /// Stopped on request.
    pub stopped: usize,
    /// Not started.
    pub waiting: usize,
    /// In the queue of a cluster.
    pub queued: usize,
    /// Cells in the folder that are not in the plan.
    pub others: usize,
}

impl SweepView {
    /// Opens the sweep in `dir`, or the one that is about to begin in this empty folder.
    ///
    /// # Errors
    /// If there is no such folder, or it holds other files.
    pub fn open(dir: &Path) -> Result<Self> {
        let shown = printable(&dir.to_string_lossy()).into_owned();
        if !dir.is_dir() {
            let what = if dir.exists() { "is no folder" } else { "does not exist" };
            return Err(Error::NoSweep(format!(
                "{shown} {what}; give the folder of a sweep, such as results/quick"
            )));
        }
        if dir.join("run.toml").exists() {
            return Err(Error::NoSweep(format!(
                "{shown} is one run; give the folder of its sweep, which has {SWEEP_RECORD}"
            )));
        }
        let name = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = name
            .file_name()
            .map_or_else(|| shown.clone(), |name| printable(&name.to_string_lossy()).into_owned());
        let record = CachedRead::new(vec![dir.join(SWEEP_RECORD)]);
        let mut sweep = Self {
            name,
            cells: Vec::new(),
            dir: dir.to_owned(),
            record,
            queue: QueueView::of(dir),
            queue_timeout: Duration::ZERO,
            is_gone: false,
        };
        sweep.read_record();
        let runs = is_folder(&dir.join("runs"));
        if let Some(problem) = sweep.record.problem().filter(|_| !runs) {
            return Err(Error::NoSweep(format!("{problem}; give the folder of a sweep")));
        }
        // A sweep first creates the lock, then writes the record through a temporary file; `lerp train` creates the
        // folder of its run before the record. These files alone are therefore a sweep that is about to begin.
        let begins = |name: &str| name.starts_with('.') || name.starts_with(SWEEP_RECORD) || name == "runs";
        let mut entries =
            fs::read_dir(dir).map_err(|problem| Error::Unreadable { folder: shown.clone(), problem })?;
        let begins = entries.all(|e| e.is_ok_and(|e| begins(&e.file_name().to_string_lossy())));
        if sweep.record.value().is_none() && !begins && !runs {
            return Err(Error::NoSweep(format!(
                "{shown} holds no sweep (it has no {SWEEP_RECORD}); give the folder of one"
            )));
        }
        Ok(sweep)
    }

    /// Reads the files that have changed. `now` is in seconds since 1970.
    pub fn refresh(&mut self, now: f64) {
        self.is_gone = !self.dir.is_dir();
        if self.is_gone {
            return;
        }
        self.read_record();
        let planned: Vec<String> = self.record.value().map(SweepRecord::cells).unwrap_or_default();
        let known: BTreeSet<&str> = planned.iter().map(String::as_str).collect();
        // If the folder cannot be listed at present, the cells that were known before stay.
        let runs = self.dir.join("runs");
        let listed = if is_folder(&runs) { fs::read_dir(&runs).ok() } else { None };
        let others: Vec<String> = match listed {
            None => self.cells.iter().filter(|cell| !cell.planned).map(|cell| cell.id.clone()).collect(),
            Some(entries) => {
                let mut names: Vec<String> = entries
                    .filter_map(std::result::Result::ok)
                    .filter(|entry| is_folder(&entry.path()) && entry.path().join("run.toml").exists())
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect();
                names.sort();
                names
            }
        };
        // If the record is lost, the cells in the folder count as the plan.
        let lost = self.record.value().is_none();
        let wanted: Vec<(&str, bool)> = planned
            .iter()
            .map(|id| (id.as_str(), true))
            .chain(others.iter().filter(|id| !known.contains(id.as_str())).map(|id| (id.as_str(), lost)))
            .collect();
        if !wanted.iter().copied().eq(self.cells.iter().map(|cell| (cell.id.as_str(), cell.planned))) {
            let mut before = std::mem::take(&mut self.cells);
            for (id, planned) in wanted {
                let known =
                    before.iter().position(|cell| cell.id == id).map(|index| before.swap_remove(index));
                let mut cell = known.unwrap_or_else(|| CellView::new(&self.dir, id, planned));
                cell.planned = planned;
                self.cells.push(cell);
            }
        }
        self.queue.refresh(self.queue_timeout);
        for cell in &mut self.cells {
            cell.refresh(now, self.queue.get(&cell.id));
        }
    }

    fn read_record(&mut self) {
        let path = self.dir.join(SWEEP_RECORD);
        self.record.refresh(|| {
            let text =
                lerp_files::read_to_string(&path, MAX_SWEEP_RECORD_BYTES).map_err(|e| e.to_string())?;
            let record =
                toml::from_str::<SweepRecord>(&text).ok().filter(|record| record.format == SWEEP_FORMAT);
            let shown = |record: SweepRecord| SweepRecord {
                about: printable(&record.about).into_owned(),
                devices: record.devices.iter().map(|name| printable(name).into_owned()).collect(),
                ..record
            };
            record.map(shown).ok_or_else(|| format!("{} is not the record of a sweep", path.display()))
        });
    }

    /// Returns the sweep's record. Returns `None` before it is written.
    pub fn record(&self) -> Option<&SweepRecord> {
        self.record.value()
    }

    /// Counts the cells by stage.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for cell in &self.cells {
            if !cell.planned {
                counts.others += 1;
                continue;
            }
            counts.all += 1;
            *match cell.stage {
                Stage::Waiting => &mut counts.waiting,
                Stage::Queued => &mut counts.queued,
                Stage::Running | Stage::Measuring => &mut counts.running,
                Stage::Stalled => &mut counts.stalled,
                Stage::Stopped => &mut counts.stopped,
                Stage::Failed => &mut counts.failed,
                Stage::Done => &mut counts.done,
            } += 1;
        }
        counts
    }

    /// Returns the fraction of the plan that is done, from 0 to 1. Cells are weighted by their duration; a failed cell
    /// counts as done.
    pub fn fraction(&self) -> f64 {
        let (mut done, mut all) = (0.0, 0.0);
        for cell in self.planned() {
            let seconds = self.seconds_of_cell(cell).unwrap_or(1.0);
            all += seconds;
            done += seconds * if cell.stage.is_over() { 1.0 } else { cell.fraction() };
        }
        if all > 0.0 { done / all } else { 0.0 }
    }

    /// Returns the seconds until all cells are done if as many cells run at the same time as do now. Returns `None` if
    /// no cell is running or a duration is unknown.
    pub fn seconds_left(&self) -> Option<f64> {
        let at_once = self.planned().filter(|c| matches!(c.stage, Stage::Running | Stage::Measuring)).count();
        if at_once == 0 {
            return None;
        }
        let (mut sum, mut longest) = (0.0, 0.0_f64);
        for cell in self.planned().filter(|cell| !cell.stage.is_over()) {
            let left = self.seconds_of_cell(cell)? * (1.0 - cell.fraction());
            sum += left;
            longest = longest.max(left);
        }
        // The sweep takes at least as long as its longest cell, even if an equal share of the work is shorter.
        Some(longest.max(sum / at_once as f64))
    }

    /// Returns the seconds that a whole cell takes: from its own rate, or else the mean over cells of its variant and
    /// dataset, of its dataset, or of all.
    fn seconds_of_cell(&self, cell: &CellView) -> Option<f64> {
        let own = |cell: &CellView| Some(cell.seconds_per_sample? * cell.total? as f64);
        let mean = |like: &dyn Fn(&CellView) -> bool| {
            let known: Vec<f64> = self.planned().filter(|other| like(other)).filter_map(own).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        own(cell)
            .or_else(|| mean(&|other| other.dataset == cell.dataset && other.variant == cell.variant))
            .or_else(|| mean(&|other| other.dataset == cell.dataset))
            .or_else(|| mean(&|_| true))
    }

    /// Returns the state of the sweep in one or a few words.
    pub fn state(&self) -> &'static str {
        let counts = self.counts();
        if counts.all == counts.waiting {
            "nothing has begun yet"
        } else if counts.running > 0 {
            "running"
        } else if counts.done + counts.failed == counts.all {
            "finished"
        } else if counts.queued > 0 {
            "queued"
        } else if counts.stalled > 0 {
            "stalled?"
        } else {
            "stopped"
        }
    }

    /// Whether the sweep's record or the files of a run cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.record.problem().is_some() || self.cells.iter().any(CellView::is_damaged)
    }

    /// Returns sentences about files that cannot be read, the most important first.
    pub fn problems(&self) -> Vec<String> {
        if self.is_gone {
            return vec![format!(
                "{} is gone; this is what it last said",
                printable(&self.dir.to_string_lossy())
            )];
        }
        let cells = self.cells.iter().flat_map(CellView::problems);
        self.record
            .problem()
            .into_iter()
            .chain(cells)
            .map(|problem| printable(problem).into_owned())
            .collect()
    }

    fn planned(&self) -> impl Iterator<Item = &CellView> {
        self.cells.iter().filter(|cell| cell.planned)
    }
}
