//! The subfolder `cluster` of a sweep: the records of what was submitted, with everything that a task needs.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lerp_files::{is_word, make_folder};
use lerp_train::RunRecord;
use serde::{Deserialize, Serialize};

use super::command::NAME_PREFIX;
use crate::{cli::Jobs, provenance::now};

/// Name of the subfolder.
const FOLDER: &str = "cluster";

/// Name and version of the format of the list of jobs.
const FORMAT: &str = "lerp cluster 1";

/// Size limit of a file, bytes.
const LARGEST_FILE: u64 = 1 << 28;

/// A cell that a task is to train.
#[derive(Clone, Serialize, Deserialize)]
pub struct PlannedCell {
    /// Record of the run, with the digest of the images on the machine that submitted it.
    pub record: RunRecord,
    /// Present name of the dataset, which differs from the one in the record if the dataset's folder has moved.
    pub dataset: String,
}

/// One submission: the cells in chunks, each of which one task trains, and the settings of the training.
#[derive(Serialize, Deserialize)]
pub struct Submission {
    /// Command line of the sweep.
    pub command: String,
    /// Folder of the image sets, if there is one.
    pub data: Option<PathBuf>,
    /// Names of the devices of a task.
    pub devices: Vec<String>,
    /// Number of simultaneous runs in a task; `None` for a number that suits its devices.
    pub jobs: Option<usize>,
    /// Whether one process trains all runs of a task.
    pub pack: bool,
    /// Training samples of judges: 0 for no judges, `None` if not specified.
    pub judge: Option<u64>,
    /// Whether judges measure the runs.
    pub judged: bool,
    /// Time limit of the training of a cell, seconds.
    pub time_limit: Option<f64>,
    /// Number of times that a task tries a failed cell again.
    pub retry: usize,
    /// Number of new failures in the sweep at which a starting task trains nothing.
    pub max_failures: Option<usize>,
    /// Number of restarts of a task after which it no longer asks to be queued again.
    pub restarts: u32,
    /// Names of the cells that had failed before the submission. These failures neither count as new ones nor keep a
    /// task from training the cell.
    pub failed: Vec<String>,
    /// The cells, in chunks.
    pub chunks: Vec<Vec<PlannedCell>>,
}

impl Submission {
    /// Returns the number of simultaneous runs in a task.
    pub fn jobs(&self) -> Jobs {
        self.jobs.map_or(Jobs::Auto, Jobs::Number)
    }
}

/// A job that Slurm has accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Number of the job or of the array.
    pub id: String,
    /// Number of the submission that the job belongs to.
    pub submission: usize,
    /// Purpose of the job.
    pub kind: Kind,
    /// Of an array: index of the first task's chunk in the submission. Otherwise 0.
    #[serde(rename = "first")]
    pub first_chunk: usize,
    /// Time of the submission, RFC 3339, UTC.
    pub submitted: String,
}

impl Job {
    /// Returns the name of a job in the queue, which identifies the sweep's folder and the job.
    pub fn name(sweep: &Path, submission: usize, kind: Kind, first_chunk: usize) -> String {
        let folder = lerp_files::file_stem(&sweep.file_name().unwrap_or_default().to_string_lossy(), 40);
        let digest = &lerp_files::digest(sweep.as_os_str().as_encoded_bytes())[..10];
        format!("{NAME_PREFIX}{folder}-{digest}-{submission}-{}-{first_chunk}", kind.word())
    }

    /// Returns the job that has this name in the queue, or `None` if it is not a job of this sweep.
    pub fn from_name(sweep: &Path, name: &str, id: &str) -> Option<Self> {
        let mut words = name.rsplitn(4, '-');
        let (first_chunk, kind, submission) =
            (words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?);
        let kind =
            [Kind::Judges, Kind::Cells, Kind::Report].into_iter().find(|known| known.word() == kind)?;
        let is_ours = Self::name(sweep, submission, kind, first_chunk) == name;
        is_ours.then(|| Self { id: id.to_owned(), submission, kind, first_chunk, submitted: now() })
    }
}

/// The purpose of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Trains the judges.
    Judges,
    /// An array of tasks, each of which trains a chunk of cells.
    Cells,
    /// Evaluates raw pixels and draws the report.
    Report,
}

impl Kind {
    /// Returns the name of the purpose.
    pub fn word(self) -> &'static str {
        match self {
            Self::Judges => "judges",
            Self::Cells => "cells",
            Self::Report => "report",
        }
    }
}

/// The contents of the file that lists the jobs.
#[derive(Serialize, Deserialize)]
struct List {
    format: String,
    jobs: Vec<Job>,
}

/// The subfolder `cluster` of a sweep.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    /// Returns the records of the sweep in the folder `sweep`, without reading or creating anything.
    pub fn of(sweep: &Path) -> Self {
        Self { dir: sweep.join(FOLDER) }
    }

    /// Returns the path of the subfolder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the path of the list of jobs.
    pub fn job_list(&self) -> PathBuf {
        self.dir.join("jobs.json")
    }

    /// Creates the subfolder and its folder of logs, if they do not exist.
    ///
    /// # Errors
    /// If they cannot be created.
    pub fn create(&self) -> Result<()> {
        make_folder(&self.dir)?;
        Ok(make_folder(&self.logs())?)
    }

    /// Returns the path of the folder in which Slurm writes the output of tasks.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Returns the jobs of all submissions. The result is empty if nothing was submitted.
    ///
    /// # Errors
    /// If the list is damaged.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        let path = self.job_list();
        let text = match lerp_files::read_to_string(&path, LARGEST_FILE) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            text => text?,
        };
        let damaged = || {
            format!(
                "{} is damaged; delete it, and cancel this sweep's queued jobs with scancel",
                path.display()
            )
        };
        let list: List = serde_json::from_str(&text).with_context(damaged)?;
        let has_number = |job: &Job| job.id.bytes().all(|b| b.is_ascii_digit()) && !job.id.is_empty();
        if list.format == FORMAT && list.jobs.iter().all(has_number) {
            Ok(list.jobs)
        } else {
            anyhow::bail!(damaged())
        }
    }

    /// Adds jobs to the list. From then on they count as submitted.
    ///
    /// # Errors
    /// If the list cannot be read or written.
    pub fn add(&self, new: impl IntoIterator<Item = Job>) -> Result<()> {
        let mut jobs = self.jobs()?;
        jobs.extend(new);
        let text = serde_json::to_string_pretty(&List { format: FORMAT.into(), jobs })?;
        Ok(lerp_files::replace(&self.job_list(), text.as_bytes())?)
    }

    /// Returns the number of the next submission. Submissions are numbered from 1.
    pub fn next_number(&self) -> usize {
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
        let text = lerp_files::read_to_string(&path, LARGEST_FILE)?;
        let submission: Submission =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        // The names are used as paths, so they must be plain words.
        let mut names = submission.chunks.iter().flatten().map(|planned| &planned.record.id);
        match names.find(|id| !is_word(id)) {
            Some(id) => anyhow::bail!("{} is damaged: '{id}' is not the name of a run", path.display()),
            None => Ok(submission),
        }
    }

    /// Returns the names of the cells in every chunk of the submissions that the jobs belong to, by the number of the
    /// submission. A submission that cannot be read has no chunks.
    pub fn chunks(&self, jobs: &[Job]) -> HashMap<usize, Vec<Vec<String>>> {
        let mut all = HashMap::new();
        for job in jobs {
            all.entry(job.submission).or_insert_with(|| {
                let chunks = self.read(job.submission).map(|submission| submission.chunks);
                let names =
                    |chunk: Vec<PlannedCell>| chunk.into_iter().map(|planned| planned.record.id).collect();
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
    fn a_job_is_recognised_by_its_name() {
        let sweep = Path::new("/data/my results/lines-2");
        let name = Job::name(sweep, 3, Kind::Cells, 1001);
        assert!(name.starts_with("lerp-lines-2-") && name.ends_with("-3-cells-1001"), "{name}");
        let job = Job::from_name(sweep, &name, "17").unwrap();
        assert_eq!((&*job.id, job.submission, job.kind, job.first_chunk), ("17", 3, Kind::Cells, 1001));
        assert!(Job::from_name(Path::new("/data/other/lines-2"), &name, "17").is_none());
        assert!(Job::from_name(sweep, "lerp-lines-2", "17").is_none());
    }
}
