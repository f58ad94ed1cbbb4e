//! The cells of a sweep that are in Slurm's queue.

use std::{
    collections::HashMap,
    path::Path,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use crate::{JobKind, QueuedTask, Records, SubmittedJob, is_queued, queue};

/// Time between two calls of `squeue`. All users of the cluster share its queue, and listing a long queue is slow.
const INTERVAL: Duration = Duration::from_secs(30);

/// A cell whose task is in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedCell {
    /// The task as Slurm names it: `JOB_TASK`.
    pub task: String,
    /// Whether the task is waiting for a node.
    pub pending: bool,
    /// The node that the task runs on; `None` if it is not running.
    pub node: Option<String>,
    /// Number of restarts of the task.
    pub restarts: u32,
}

impl QueuedCell {
    /// Describes the task in words, for example `job 7_3 on node-2, restart 1`.
    pub fn described(&self) -> String {
        let node = self.node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
        let restarts = match self.restarts {
            0 => String::new(),
            restarts => format!(", restart {restarts}"),
        };
        format!("job {}{node}{restarts}", self.task)
    }
}

/// A view of the queue that knows which cells of one sweep are in it. It asks Slurm at most every half minute, in a
/// thread of its own.
#[derive(Debug)]
pub struct QueueView {
    records: Records,
    /// When Slurm was last asked.
    asked: Option<Instant>,
    /// Receives the answer while Slurm is being asked.
    answer: Option<Receiver<Vec<QueuedTask>>>,
    by_cell: HashMap<String, QueuedCell>,
}

impl QueueView {
    /// Creates an empty view for the sweep in the folder `sweep`, without asking Slurm.
    pub fn of(sweep: &Path) -> Self {
        Self { records: Records::of(sweep), asked: None, answer: None, by_cell: HashMap::new() }
    }

    /// Asks Slurm if the last call is long enough ago, and takes its answer if that arrives within `timeout`. If Slurm
    /// does not answer, the view stays as it was. If nothing was ever submitted for the sweep, Slurm is not asked.
    pub fn refresh(&mut self, timeout: Duration) {
        if !self.records.job_list().exists() {
            return;
        }
        if self.answer.is_none() && self.asked.is_none_or(|asked| asked.elapsed() >= INTERVAL) {
            let (sender, receiver) = mpsc::channel();
            let ask = move || {
                let _ = queue().map(|queue| sender.send(queue));
            };
            self.asked = Some(Instant::now());
            self.answer = thread::Builder::new().name("squeue".into()).spawn(ask).ok().map(|_| receiver);
        }
        match self.answer.as_ref().map(|answer| answer.recv_timeout(timeout)) {
            Some(Ok(queue)) => {
                self.answer = None;
                let jobs = self.records.jobs();
                self.by_cell =
                    jobs.map(|jobs| queued_cells(&self.records, &jobs, &queue)).unwrap_or_default();
            }
            Some(Err(mpsc::RecvTimeoutError::Disconnected)) => self.answer = None,
            Some(Err(mpsc::RecvTimeoutError::Timeout)) | None => {}
        }
    }

    /// Returns the task of a cell, or `None` if the cell is not in the queue.
    pub fn get(&self, cell: &str) -> Option<&QueuedCell> {
        self.by_cell.get(cell)
    }
}

/// Returns the cells whose tasks are in the queue, by name. Only tasks of the given jobs count.
pub fn queued_cells(
    records: &Records,
    jobs: &[SubmittedJob],
    queue: &[QueuedTask],
) -> HashMap<String, QueuedCell> {
    let is_active = |job: &&SubmittedJob| job.kind == JobKind::Cells && is_queued(job, queue);
    let active: Vec<SubmittedJob> = jobs.iter().filter(is_active).cloned().collect();
    let chunks = records.chunks(&active);
    let mut cells = HashMap::new();
    for job in &active {
        for queued in queue {
            let chunk = queued.chunk(job).and_then(|index| chunks[&job.submission].get(index));
            for id in chunk.into_iter().flatten() {
                let cell = QueuedCell {
                    task: format!("{}_{}", job.id, queued.task.unwrap_or_default()),
                    pending: queued.is_pending(),
                    node: queued.node.clone(),
                    restarts: queued.restarts,
                };
                cells.insert(id.clone(), cell);
            }
        }
    }
    cells
}
