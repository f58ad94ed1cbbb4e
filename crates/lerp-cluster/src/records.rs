//! The subfolder `cluster` of a sweep: the records of what was submitted.
//!
//! `jobs.json` lists the jobs, and `1.json`, `2.json` and so on are the submissions. A submission is a JSON object that has
//! everything that its tasks need. Its `chunks` are lists of cells, and the `record.id` of a cell is the cell's name. The
//! crate that submits defines what else is in it.

use std::{
    collections::HashMap,
    fmt::Display,
    path::{Path, PathBuf},
};

use lerp_files::{is_word, make_folder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, QueuedTask, Result, command::NAME_PREFIX};

/// Name of the subfolder.
const FOLDER: &str = "cluster";

/// Name and version of the format of the list of jobs.
const FORMAT: &str = "lerp cluster 1";

/// Size limit of a file, bytes.
const LARGEST_FILE: u64 = 1 << 28;

/// The part of a submission that this crate reads: the names of its cells.
#[derive(Deserialize)]
struct Names {
    chunks: Vec<Vec<NamedCell>>,
}

#[derive(Deserialize)]
struct NamedCell {
    record: NamedRecord,
}

#[derive(Deserialize)]
struct NamedRecord {
    id: String,
}

/// A job that Slurm has accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmittedJob {
    /// Number of the job or of the array.
    pub id: String,
    /// Number of the submission that the job belongs to.
    pub submission: usize,
    /// Purpose of the job.
    pub kind: JobKind,
    /// Of an array: index of the first task's chunk in the submission. Otherwise 0.
    #[serde(rename = "first")]
    pub first_chunk: usize,
    /// Time of the submission, RFC 3339, UTC.
    pub submitted: String,
}

impl SubmittedJob {
    /// Returns the name of a job in the queue, which identifies the sweep's folder and the job.
    pub fn name(sweep: &Path, submission: usize, kind: JobKind, first_chunk: usize) -> String {
        let folder = lerp_files::file_stem(&sweep.file_name().unwrap_or_default().to_string_lossy(), 40);
        let digest = &lerp_files::digest(sweep.as_os_str().as_encoded_bytes())[..10];
        format!("{NAME_PREFIX}{folder}-{digest}-{submission}-{}-{first_chunk}", kind.name())
    }

    /// Returns the job that a task in the queue belongs to, or `None` if it is not a job of this sweep. The job was
    /// `submitted` at this time (RFC 3339, UTC), as far as the caller knows.
    pub fn of_task(sweep: &Path, queued: &QueuedTask, submitted: &str) -> Option<Self> {
        let mut words = queued.name.rsplitn(4, '-');
        let (first_chunk, kind, submission) =
            (words.next()?.parse().ok()?, words.next()?, words.next()?.parse().ok()?);
        let kind = [JobKind::Judges, JobKind::Cells, JobKind::Report]
            .into_iter()
            .find(|known| known.name() == kind)?;
        let is_ours = Self::name(sweep, submission, kind, first_chunk) == queued.name;
        is_ours.then(|| Self {
            id: queued.job.clone(),
            submission,
            kind,
            first_chunk,
            submitted: submitted.to_owned(),
        })
    }
}

/// The purpose of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Trains the judges.
    Judges,
    /// An array of tasks, each of which trains a chunk of cells.
    Cells,
    /// Evaluates raw pixels and draws the report.
    Report,
}

impl JobKind {
    /// Returns the name of the purpose.
    pub fn name(self) -> &'static str {
        match self {
            Self::Judges => "judges",
            Self::Cells => "cells",
            Self::Report => "report",
        }
    }
}

/// The contents of the file that lists the jobs.
#[derive(Serialize, Deserialize)]
struct JobList {
    format: String,
    jobs: Vec<SubmittedJob>,
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
    pub fn jobs(&self) -> Result<Vec<SubmittedJob>> {
        const DAMAGED: &str = "is damaged; delete it, and cancel this sweep's queued jobs with scancel";
        let path = self.job_list();
        let text = match lerp_files::read_to_string(&path, LARGEST_FILE) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            text => text?,
        };
        let list: JobList = serde_json::from_str(&text)
            .map_err(|problem| Error::bad_file(&path, format!("{DAMAGED}: {problem}")))?;
        let has_number =
            |job: &SubmittedJob| job.id.bytes().all(|b| b.is_ascii_digit()) && !job.id.is_empty();
        if list.format == FORMAT && list.jobs.iter().all(has_number) {
            Ok(list.jobs)
        } else {
            Err(Error::bad_file(&path, DAMAGED))
        }
    }

    /// Adds jobs to the list. From then on they count as submitted.
    ///
    /// # Errors
    /// If the list cannot be read or written.
    pub fn add(&self, new: impl IntoIterator<Item = SubmittedJob>) -> Result<()> {
        let mut jobs = self.jobs()?;
        jobs.extend(new);
        let path = self.job_list();
        let bytes = serde_json::to_vec_pretty(&JobList { format: FORMAT.into(), jobs });
        replace(&path, bytes)
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

    /// Writes a submission, which must have `chunks` of named cells ([`Records::read`]).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write<S: Serialize>(&self, number: usize, submission: &S) -> Result<()> {
        replace(&self.path(number), serde_json::to_vec(submission))
    }

    /// Reads a submission: an object whose member `chunks` is a list of lists of cells, each with a name in `record.id`.
    /// The names are used as paths, so all of them must be plain words.
    ///
    /// # Errors
    /// If it is not there or damaged.
    pub fn read<S: DeserializeOwned>(&self, number: usize) -> Result<S> {
        let (path, text) = self.text(number)?;
        names(&path, &text)?;
        serde_json::from_str(&text).map_err(|problem| damaged(&path, problem))
    }

    /// Returns the path and the text of a submission.
    fn text(&self, number: usize) -> Result<(PathBuf, String)> {
        let path = self.path(number);
        let text = lerp_files::read_to_string(&path, LARGEST_FILE)?;
        Ok((path, text))
    }

    /// Returns the names of the cells in every chunk of the submissions that the jobs belong to, by the number of the
    /// submission. A submission that cannot be read has no chunks.
    pub fn chunks(&self, jobs: &[SubmittedJob]) -> HashMap<usize, Vec<Vec<String>>> {
        let mut all = HashMap::new();
        for job in jobs {
            all.entry(job.submission).or_insert_with(|| {
                self.text(job.submission).and_then(|(path, text)| names(&path, &text)).unwrap_or_default()
            });
        }
        all
    }
}

/// Returns the names of the cells in every chunk of a submission. They are used as paths, so all of them must be plain
/// words.
fn names(path: &Path, text: &str) -> Result<Vec<Vec<String>>> {
    let Names { chunks } = serde_json::from_str(text).map_err(|problem| damaged(path, problem))?;
    if let Some(cell) = chunks.iter().flatten().find(|cell| !is_word(&cell.record.id)) {
        return Err(damaged(path, format!("'{}' is not the name of a run", cell.record.id)));
    }
    let names = |chunk: Vec<NamedCell>| chunk.into_iter().map(|cell| cell.record.id).collect();
    Ok(chunks.into_iter().map(names).collect())
}

fn damaged(path: &Path, problem: impl Display) -> Error {
    Error::bad_file(path, format!("is damaged: {problem}"))
}

/// Replaces a file with JSON that was serialised for it.
fn replace(path: &Path, json: serde_json::Result<Vec<u8>>) -> Result<()> {
    let json = json.map_err(|problem| Error::bad_file(path, format!("cannot be written: {problem}")))?;
    Ok(lerp_files::replace(path, &json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_recognised_by_its_name() {
        let sweep = Path::new("/data/my results/lines-2");
        let name = SubmittedJob::name(sweep, 3, JobKind::Cells, 1001);
        assert!(name.starts_with("lerp-lines-2-") && name.ends_with("-3-cells-1001"), "{name}");
        let job_of = |sweep: &Path, name: &str| {
            let (job, state, name) = ("17".into(), "PENDING".into(), name.into());
            let queued = QueuedTask { job, task: Some(0), restarts: 0, state, name, node: None };
            SubmittedJob::of_task(sweep, &queued, "2026-01-01T00:00:00Z")
        };
        let job = job_of(sweep, &name).unwrap();
        assert_eq!((&*job.id, job.submission, job.kind, job.first_chunk), ("17", 3, JobKind::Cells, 1001));
        assert!(job_of(Path::new("/data/other/lines-2"), &name).is_none());
        assert!(job_of(sweep, "lerp-lines-2").is_none());
    }

    #[test]
    fn the_names_of_the_cells_are_read_from_submissions_of_any_kind() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::of(dir.path());
        records.create().unwrap();
        let submission =
            |id: &str| serde_json::json!({"retry": 2, "chunks": [[{"record": {"id": id, "seed": 0}}], []]});
        let job = |submission| {
            let (id, kind, submitted) = ("7".to_owned(), JobKind::Cells, String::new());
            SubmittedJob { id, submission, kind, first_chunk: 0, submitted }
        };
        assert_eq!(records.next_number(), 1);
        records.write(1, &submission("lines-vae-s0")).unwrap();
        records.write(2, &submission("../elsewhere")).unwrap();
        assert_eq!(records.next_number(), 3);
        let all = records.chunks(&[job(1), job(2), job(3)]);
        assert_eq!(all[&1], [vec!["lines-vae-s0".to_owned()], vec![]]);
        assert!(all[&2].is_empty() && all[&3].is_empty());
        let refused = records.read::<serde_json::Value>(2).unwrap_err().to_string();
        assert!(refused.ends_with("2.json is damaged: '../elsewhere' is not the name of a run"), "{refused}");
        records.add([job(1)]).unwrap();
        assert_eq!(records.jobs().unwrap().len(), 1);
        std::fs::write(records.job_list(), "{").unwrap();
        assert!(records.jobs().unwrap_err().to_string().contains("is damaged; delete it"));
    }
}
