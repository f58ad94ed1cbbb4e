//! A sweep, as the files of its folder tell it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail};
use lerp_files::{is_folder, is_word, printable};
use serde::Deserialize;

use super::{
    cell::{Cell, Stage},
    kept::Kept,
};
use crate::{
    slurm::Places,
    sweep::{FORMAT, RECORD},
};

/// What a watcher reads of `sweep.toml`.
#[derive(Debug, Deserialize)]
pub struct Record {
    format: String,
    /// One sentence for people.
    #[serde(default)]
    pub about: String,
    /// Devices it trains on.
    #[serde(default)]
    pub devices: Vec<String>,
    #[serde(default)]
    cells: Vec<String>,
}

impl Record {
    /// The planned cells. What is no name of a cell is passed over: names become paths.
    fn cells(&self) -> Vec<String> {
        self.cells.iter().filter(|name| is_word(name)).cloned().collect()
    }
}

/// Most bytes of a sweep's record.
const LARGEST_RECORD: u64 = 1 << 28;

/// A sweep.
#[derive(Debug)]
pub struct Sweep {
    /// The folder's name.
    pub name: String,
    /// Its cells: those of the plan in its order, then others that are in the folder.
    pub cells: Vec<Cell>,
    dir: PathBuf,
    record: Kept<Record>,
    places: Places,
    /// How long it waits for the queue of a cluster.
    pub patience: Duration,
    gone: bool,
}

/// How many cells of the plan are how far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub all: usize,
    /// Complete.
    pub done: usize,
    /// In training or being measured.
    pub running: usize,
    /// Perhaps running no more.
    pub stalled: usize,
    /// Ended with an error.
    pub failed: usize,
    /// Stopped on request.
    pub stopped: usize,
    /// Not begun.
    pub waiting: usize,
    /// In the queue of a cluster.
    pub queued: usize,
    /// Cells in the folder that the plan has not.
    pub others: usize,
}

impl Sweep {
    /// The sweep in `dir`, or the one that is about to begin in this empty folder.
    ///
    /// # Errors
    /// If there is no such folder, or something else is in it.
    pub fn open(dir: &Path) -> Result<Self> {
        let shown = printable(&dir.to_string_lossy()).into_owned();
        if !dir.is_dir() {
            let what = if dir.exists() { "is no folder" } else { "does not exist" };
            bail!("{shown} {what}; give the folder of a sweep, such as results/quick");
        }
        if dir.join("run.toml").exists() {
            bail!("{shown} is one run; give the folder of its sweep, which has {RECORD}");
        }
        let name = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = name
            .file_name()
            .map_or_else(|| shown.clone(), |name| printable(&name.to_string_lossy()).into_owned());
        let record = Kept::new(vec![dir.join(RECORD)]);
        let mut sweep = Self {
            name,
            cells: Vec::new(),
            dir: dir.to_owned(),
            record,
            places: Places::of(dir),
            patience: Duration::ZERO,
            gone: false,
        };
        sweep.read_record();
        let runs = is_folder(&dir.join("runs"));
        if let Some(problem) = sweep.record.problem().filter(|_| !runs) {
            bail!("{problem}; give the folder of a sweep");
        }
        // The record comes after the lock, by way of a file of its own, and that of a single run after its folder.
        let begins = |name: &str| name.starts_with('.') || name.starts_with(RECORD) || name == "runs";
        let mut entries = fs::read_dir(dir).map_err(|e| anyhow::anyhow!("cannot read {shown}: {e}"))?;
        let begins = entries.all(|e| e.is_ok_and(|e| begins(&e.file_name().to_string_lossy())));
        if sweep.record.value().is_none() && !begins && !runs {
            bail!("{shown} holds no sweep (it has no {RECORD}); give the folder of one");
        }
        Ok(sweep)
    }

    /// Reads what changed; `now` in seconds since 1970.
    pub fn refresh(&mut self, now: f64) {
        self.gone = !self.dir.is_dir();
        if self.gone {
            return;
        }
        self.read_record();
        let planned: Vec<String> = self.record.value().map(Record::cells).unwrap_or_default();
        let known: BTreeSet<&str> = planned.iter().map(String::as_str).collect();
        // Folders that cannot be listed now are those that were known before.
        let runs = self.dir.join("runs");
        let listed = if is_folder(&runs) { fs::read_dir(&runs).ok() } else { None };
        let others: Vec<String> = match listed {
            None => self.cells.iter().filter(|cell| !cell.planned).map(|cell| cell.id.clone()).collect(),
            Some(entries) => {
                let mut names: Vec<String> = entries
                    .filter_map(Result::ok)
                    .filter(|entry| is_folder(&entry.path()) && entry.path().join("run.toml").exists())
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect();
                names.sort();
                names
            }
        };
        // Where the plan is lost, it was of the cells that are there.
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
                    before.iter().position(|cell| cell.id == id).map(|place| before.swap_remove(place));
                let mut cell = known.unwrap_or_else(|| Cell::new(&self.dir, id, planned));
                cell.planned = planned;
                self.cells.push(cell);
            }
        }
        self.places.refresh(self.patience);
        for cell in &mut self.cells {
            cell.refresh(now, self.places.get(&cell.id));
        }
    }

    fn read_record(&mut self) {
        let path = self.dir.join(RECORD);
        self.record.refresh(|| {
            let text = lerp_files::read_to_string(&path, LARGEST_RECORD).map_err(|e| e.to_string())?;
            let record = toml::from_str::<Record>(&text).ok().filter(|record| record.format == FORMAT);
            let shown = |record: Record| Record {
                about: printable(&record.about).into_owned(),
                devices: record.devices.iter().map(|name| printable(name).into_owned()).collect(),
                ..record
            };
            record.map(shown).ok_or_else(|| format!("{} is not the record of a sweep", path.display()))
        });
    }

    /// Its record, once there is one.
    pub fn record(&self) -> Option<&Record> {
        self.record.value()
    }

    /// How many cells are how far.
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

    /// How much of the plan is done, 0 to 1, each cell by the seconds that it takes; a failed one is over.
    pub fn fraction(&self) -> f64 {
        let (mut done, mut all) = (0.0, 0.0);
        for cell in self.planned() {
            let seconds = self.seconds(cell).unwrap_or(1.0);
            all += seconds;
            done += seconds * if cell.stage.is_over() { 1.0 } else { cell.fraction() };
        }
        if all > 0.0 { done / all } else { 0.0 }
    }

    /// Seconds until all cells are done, if as many go on at once as do now; none if none does or nothing is known yet.
    pub fn left(&self) -> Option<f64> {
        let at_once = self.planned().filter(|c| matches!(c.stage, Stage::Running | Stage::Measuring)).count();
        if at_once == 0 {
            return None;
        }
        let (mut sum, mut longest) = (0.0, 0.0_f64);
        for cell in self.planned().filter(|cell| !cell.stage.is_over()) {
            let left = self.seconds(cell)? * (1.0 - cell.fraction());
            sum += left;
            longest = longest.max(left);
        }
        // The longest may outlast an even share of the work.
        Some(longest.max(sum / at_once as f64))
    }

    /// Seconds that a whole cell takes: by its own pace, or else as the mean of its variant on its dataset, of its dataset,
    /// or of all.
    fn seconds(&self, cell: &Cell) -> Option<f64> {
        let own = |cell: &Cell| Some(cell.seconds_per_sample? * cell.total? as f64);
        let mean = |like: &dyn Fn(&Cell) -> bool| {
            let known: Vec<f64> = self.planned().filter(|other| like(other)).filter_map(own).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        own(cell)
            .or_else(|| mean(&|other| other.dataset == cell.dataset && other.variant == cell.variant))
            .or_else(|| mean(&|other| other.dataset == cell.dataset))
            .or_else(|| mean(&|_| true))
    }

    /// What the sweep is doing, in a word or two.
    pub fn word(&self) -> &'static str {
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

    /// Whether its record or the files of a run cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.record.problem().is_some() || self.cells.iter().any(Cell::is_damaged)
    }

    /// What is wrong with its files, the most telling first.
    pub fn problems(&self) -> Vec<String> {
        if self.gone {
            return vec![format!(
                "{} is gone; this is what it last said",
                printable(&self.dir.to_string_lossy())
            )];
        }
        let cells = self.cells.iter().flat_map(Cell::problems);
        self.record
            .problem()
            .into_iter()
            .chain(cells)
            .map(|problem| printable(problem).into_owned())
            .collect()
    }

    fn planned(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| cell.planned)
    }
}
