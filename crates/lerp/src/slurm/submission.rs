//! A submission: everything that the tasks of a sweep on a cluster need.

use std::path::PathBuf;

use lerp_train::RunRecord;
use serde::{Deserialize, Serialize};

use crate::cli::Jobs;

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
