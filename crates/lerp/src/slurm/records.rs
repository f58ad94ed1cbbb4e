//! `cluster/` in the folder of a sweep: what was submitted, with everything that a task needs.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lerp_files::{is_word, make_folder};
use lerp_train::RunRecord;
use serde::{Deserialize, Serialize};

use crate::{cli::Jobs, provenance::now};

/// The folder.
const FOLDER: &str = "cluster";

/// What the list of jobs says that it is.
const FORMAT: &str = "lerp cluster 1";

/// More bytes than any of the files has.
const MOST: u64 = 1 << 28;

/// A cell to train.
#[derive(Clone, Serialize, Deserialize)]
pub struct Planned {
    /// Its record, with the digest of the images that were there when it was submitted.
    pub record: RunRecord,
    /// What its dataset is called now.
    pub dataset: String,
}

/// What was submitted at a time: cells in chunks, each of which a task trains, and how.
#[derive(Serialize, Deserialize)]
pub struct Submission {
    /// What the user typed.
    pub command: String,
    /// Folder of the image sets.
    pub data: Option<PathBuf>,
    /// Devices of a task.
    pub devices: Vec<String>,
    /// Runs at once in a task; as suits its devices if none is said.
    pub jobs: Option<usize>,
    /// Whether one process trains all runs of a task.
    pub pack: bool,
    /// Samples that judges are trained on, if that was said; 0 for no judges.
    pub judge: Option<u64>,
    /// Whether judges measure runs.
    pub judged: bool,
    /// Seconds that a cell may train at a time.
    pub time_limit: Option<f64>,
    /// How often a cell that failed is trained again.
    pub retry: usize,
    /// Failed cells of the sweep after which no more begin.
    pub max_failures: Option<usize>,
    /// Starts of a task after which it does not ask to be queued again.
    pub restarts: u32,
    /// Cells that had failed before, which are to be tried again.
    pub failed: Vec<String>,
    /// The cells.
    pub chunks: Vec<Vec<Planned>>,
}

impl Submission {
    /// The number of runs at once.
    pub fn jobs(&self) -> Jobs {
        self.jobs.map_or(Jobs::Auto, Jobs::Number)
    }
}

/// A job that Slurm has taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its number, that of the array if it is one.
    pub id: String,
    /// The submission that it belongs to.
    pub submission: usize,
    /// What it is for.
    pub kind: Kind,
    /// Of an array: the chunk of its first task.
    pub first: usize,
    /// When it was submitted, RFC 3339, UTC.
    pub submitted: String,
}

impl Job {
    /// The name that it has in the queue: of the sweep's folder, and of what the job is.
    pub fn name(sweep: &Path, submission: usize, kind: Kind, first: usize) -> String {
        let folder = lerp_files::file_stem(&sweep.file_name().unwrap_or_default().to_string_lossy(), 40);
        let place = &lerp_files::digest(sweep.as_os_str().as_encoded_bytes())[..10];
        format!("lerp-{folder}-{place}-{submission}-{}-{first}", kind.word())
    }

    /// The job of the sweep that has this name in the queue.
    pub fn named(sweep: &Path, name: &str, id: &str) -> Option<Self> {
        let mut words = name.rsplitn(4, '-');
        let (first, kind, submission) =
            (words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?);
        let kind =
            [Kind::Judges, Kind::Cells, Kind::Report].into_iter().find(|known| known.word() == kind)?;
        let is_ours = Self::name(sweep, submission, kind, first) == name;
        is_ours.then(|| Self { id: id.to_owned(), submission, kind, first, submitted: now() })
    }
}

/// What jobs are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Trains judges.
    Judges,
    /// An array, each task of which trains a chunk.
    Cells,
    /// Draws the report.
    Report,
}

impl Kind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Judges => "judges",
            Self::Cells => "cells",
            Self::Report => "report",
        }
    }
}

/// The list of jobs.
#[derive(Serialize, Deserialize)]
struct List {
    format: String,
    jobs: Vec<Job>,
}

/// The folder `cluster` of a sweep.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    /// That of the sweep in `sweep`.
    pub fn of(sweep: &Path) -> Self {
        Self { dir: sweep.join(FOLDER) }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The list's file.
    pub fn list(&self) -> PathBuf {
        self.dir.join("jobs.json")
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(&self) -> Result<()> {
        make_folder(&self.dir)?;
        Ok(make_folder(&self.logs())?)
    }

    /// Where tasks say what they do.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The jobs of all submissions; none if nothing was submitted.
    ///
    /// # Errors
    /// If the list is damaged.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        let path = self.list();
        let text = match lerp_files::read_to_string(&path, MOST) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            text => text?,
        };
        let damaged = || {
            format!(
                "{} is damaged; delete it, and cancel with scancel what is still queued of this sweep",
                path.display()
            )
        };
        let list: List = serde_json::from_str(&text).with_context(damaged)?;
        let plain = |job: &Job| job.id.bytes().all(|b| b.is_ascii_digit()) && !job.id.is_empty();
        if list.format == FORMAT && list.jobs.iter().all(plain) {
            Ok(list.jobs)
        } else {
            anyhow::bail!(damaged())
        }
    }

    /// Adds jobs, which from then on count as submitted.
    ///
    /// # Errors
    /// If the list cannot be read or written.
    pub fn add(&self, new: impl IntoIterator<Item = Job>) -> Result<()> {
        let mut jobs = self.jobs()?;
        jobs.extend(new);
        let text = serde_json::to_string_pretty(&List { format: FORMAT.into(), jobs })?;
        Ok(lerp_files::replace(&self.list(), text.as_bytes())?)
    }

    /// The number of the next submission, from 1.
    pub fn next(&self) -> usize {
        let mut number = 1;
        while self.path(number).exists() {
            number += 1;
        }
        number
    }

    fn path(&self, number: usize) -> PathBuf {
        self.dir.join(format!("{number}.json"))
    }

    /// Writes a submission.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, number: usize, submission: &Submission) -> Result<()> {
        Ok(lerp_files::replace(&self.path(number), &serde_json::to_vec(submission)?)?)
    }

    /// Reads a submission.
    ///
    /// # Errors
    /// If it is not there or damaged.
    pub fn read(&self, number: usize) -> Result<Submission> {
        let path = self.path(number);
        let text = lerp_files::read_to_string(&path, MOST)?;
        let submission: Submission =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        // Names become paths.
        let mut names = submission.chunks.iter().flatten().map(|planned| &planned.record.id);
        match names.find(|id| !is_word(id)) {
            Some(id) => anyhow::bail!("{} is damaged: it names a run '{id}'", path.display()),
            None => Ok(submission),
        }
    }

    /// The names of the cells in the chunks of every submission that the jobs belong to. What cannot be read has none.
    pub fn chunks(&self, jobs: &[Job]) -> HashMap<usize, Vec<Vec<String>>> {
        let mut all = HashMap::new();
        for job in jobs {
            all.entry(job.submission).or_insert_with(|| {
                let chunks = self.read(job.submission).map(|submission| submission.chunks);
                let names =
                    |chunk: Vec<Planned>| chunk.into_iter().map(|planned| planned.record.id).collect();
                chunks.unwrap_or_default().into_iter().map(names).collect()
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_known_by_its_name() {
        let sweep = Path::new("/data/my results/lines-2");
        let name = Job::name(sweep, 3, Kind::Cells, 1001);
        assert!(name.starts_with("lerp-lines-2-") && name.ends_with("-3-cells-1001"), "{name}");
        let job = Job::named(sweep, &name, "17").unwrap();
        assert_eq!((&*job.id, job.submission, job.kind, job.first), ("17", 3, Kind::Cells, 1001));
        assert!(Job::named(Path::new("/data/other/lines-2"), &name, "17").is_none());
        assert!(Job::named(sweep, "lerp-lines-2", "17").is_none());
    }
}
