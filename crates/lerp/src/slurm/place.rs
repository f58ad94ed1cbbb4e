//! Where the cells of a sweep are, for whoever watches: its records, and Slurm's queue every half minute.

use std::{
    collections::HashMap,
    path::Path,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::{
    command::{self, Queued},
    records::{Job, Kind, Records},
};

/// Time between two questions: a queue is everybody's, and slow when it is long.
const EVERY: Duration = Duration::from_secs(30);

/// A cell in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its task, as Slurm names it: `JOB_TASK`.
    pub task: String,
    /// Whether it waits for a node.
    pub pending: bool,
    /// The node that it runs on.
    pub node: Option<String>,
    /// How often the task was started again.
    pub restarts: u32,
}

impl Place {
    /// In words.
    pub fn described(&self) -> String {
        let node = self.node.as_ref().map_or(String::new(), |node| format!(" on {node}"));
        let restarts = match self.restarts {
            0 => String::new(),
            restarts => format!(", restart {restarts}"),
        };
        format!("job {}{node}{restarts}", self.task)
    }
}

/// The cells of a sweep that are in the queue.
#[derive(Debug)]
pub struct Places {
    records: Records,
    asked: Option<Instant>,
    answer: Option<Receiver<Vec<Queued>>>,
    by_cell: HashMap<String, Place>,
}

impl Places {
    /// Those of the sweep in `sweep`; nothing is known yet.
    pub fn of(sweep: &Path) -> Self {
        Self { records: Records::of(sweep), asked: None, answer: None, by_cell: HashMap::new() }
    }

    /// Asks Slurm if that is due, and takes its answer if there is one within `patience`. Where it does not answer, what it said
    /// last stays.
    pub fn refresh(&mut self, patience: Duration) {
        if !self.records.list().exists() {
            return;
        }
        if self.answer.is_none() && self.asked.is_none_or(|asked| asked.elapsed() >= EVERY) {
            let (sender, receiver) = mpsc::channel();
            let ask = move || {
                let _ = command::queue().map(|queue| sender.send(queue));
            };
            self.asked = Some(Instant::now());
            self.answer = thread::Builder::new().name("squeue".into()).spawn(ask).ok().map(|_| receiver);
        }
        match self.answer.as_ref().map(|answer| answer.recv_timeout(patience)) {
            Some(Ok(queue)) => {
                self.answer = None;
                self.by_cell =
                    self.records.jobs().map(|jobs| places(&self.records, &jobs, &queue)).unwrap_or_default();
            }
            Some(Err(mpsc::RecvTimeoutError::Disconnected)) => self.answer = None,
            Some(Err(mpsc::RecvTimeoutError::Timeout)) | None => {}
        }
    }

    /// Where a cell is, if it is in the queue.
    pub fn get(&self, cell: &str) -> Option<&Place> {
        self.by_cell.get(cell)
    }
}

/// The cells of tasks that are in the queue.
pub fn places(records: &Records, jobs: &[Job], queue: &[Queued]) -> HashMap<String, Place> {
    let is_active = |job: &&Job| job.kind == Kind::Cells && queue.iter().any(|queued| queued.job == job.id);
    let active: Vec<Job> = jobs.iter().filter(is_active).cloned().collect();
    let chunks = records.chunks(&active);
    let mut places = HashMap::new();
    for job in &active {
        for queued in queue {
            let chunk = queued.chunk(job).and_then(|place| chunks[&job.submission].get(place));
            for id in chunk.into_iter().flatten() {
                let place = Place {
                    task: format!("{}_{}", job.id, queued.task.unwrap_or_default()),
                    pending: queued.is_pending(),
                    node: queued.node.clone(),
                    restarts: queued.restarts,
                };
                places.insert(id.clone(), place);
            }
        }
    }
    places
}
