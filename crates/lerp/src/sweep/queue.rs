//! The queue of cells that all worker processes share.

use std::{
    collections::VecDeque,
    fs,
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use lerp_train::{Holder, Progress, RunRecord, mark_failed};

use super::{
    display::Display,
    packing::{Packing, WorkerShare},
    survey::{PlannedRun, SweepContext},
    worker::{End, LOG, RunMessage, RunRequest, Worker, WorkerEvent, WorkerSettings, log},
};
use crate::provenance::{Placement, provenance};

/// Longest time from the arrival of a signal at a worker process to its arrival at this process.
const SIGNAL: Duration = Duration::from_secs(2);

/// A slot for one worker process at a time, on one device.
struct Slot {
    device: String,
    /// Number of simultaneous runs.
    runs: usize,
    worker: Option<Worker>,
    /// Indices of the runs that the worker has not ended yet.
    running: Vec<usize>,
}

impl Slot {
    fn new(share: WorkerShare) -> Self {
        Self { device: share.device, runs: share.runs, worker: None, running: Vec::new() }
    }

    /// Whether another run can start here.
    fn is_free(&self) -> bool {
        self.running.len() < self.runs && self.worker.as_ref().is_none_or(|worker| worker.accepts_runs)
    }
}

/// The runs that worker processes train, and how.
pub struct TrainingJob<'a> {
    /// Folder of the sweep.
    pub out: &'a Path,
    /// The runs.
    pub runs: &'a [PlannedRun],
    /// The expected seconds of each run; the longest start first.
    pub seconds: &'a [f64],
    /// Names of the devices.
    pub devices: &'a [String],
    /// How many runs train at the same time, and in which processes.
    pub packing: &'a Packing,
    /// Whether the sweep's judges measure the runs.
    pub judged: bool,
    /// Limits at which runs are stopped or no longer started.
    pub limits: SweepLimits,
}

/// Limits at which runs are stopped or no longer started.
#[derive(Debug, Clone, Copy, Default)]
pub struct SweepLimits {
    /// Longest training time of a run per attempt.
    pub time_limit: Option<Duration>,
    /// Number of failed runs after which no more runs start.
    pub max_failures: Option<NonZeroUsize>,
    /// Number of times that a failed run is retried.
    pub retry: usize,
}

/// A run that failed.
#[derive(Debug, Clone)]
pub struct FailedRun {
    /// Name of the run.
    pub id: String,
    /// Why it failed, as a sentence.
    pub reason: String,
}

/// The result of training several runs.
#[derive(Debug, Default)]
pub struct TrainingResult {
    /// The runs that failed.
    pub failed: Vec<FailedRun>,
    /// Whether the sweep was stopped, or a run at its time limit.
    pub stopped: bool,
}

/// The runs of a sweep, from waiting to their ends.
pub struct Queue<'a> {
    context: &'a SweepContext<'a>,
    training: TrainingJob<'a>,
    /// Indices of the runs that have not started.
    waiting: VecDeque<usize>,
    slots: Vec<Slot>,
    display: Display,
    failed: Vec<FailedRun>,
    /// Number of failures of each run.
    failures: Vec<usize>,
    /// Whether a run was stopped at its time limit.
    out_of_time: bool,
    /// Whether no more runs start, because the sweep is stopping or too many runs have failed.
    closed: bool,
}

impl<'a> Queue<'a> {
    /// Creates a queue of runs.
    pub fn new(context: &'a SweepContext<'a>, training: TrainingJob<'a>) -> Self {
        let TrainingJob { runs, seconds, .. } = training;
        let workers = training.packing.workers(training.devices);
        let mut waiting: Vec<usize> = (0..runs.len()).collect();
        if workers.iter().map(|worker| worker.runs).sum::<usize>() > 1 {
            // The longest runs start first, because a long run that starts last would occupy one slot while the others
            // are idle.
            waiting.sort_by(|a, b| seconds[*b].total_cmp(&seconds[*a]));
        }
        let names = runs.iter().map(|run| (run.record.id.clone(), run.record.cell.samples));
        Self {
            context,
            waiting: waiting.into(),
            slots: workers.into_iter().map(Slot::new).collect(),
            display: Display::new(names, seconds),
            failed: Vec::new(),
            failures: vec![0; runs.len()],
            out_of_time: false,
            closed: false,
            training,
        }
    }

    /// Trains all runs, or until `stop` is set.
    pub fn run(mut self, stop: &AtomicBool) -> TrainingResult {
        // Removes the workers' logs of an earlier sweep.
        for slot in &self.slots {
            let _ = fs::remove_file(self.worker_log(&slot.device));
        }
        let (sender, receiver) = mpsc::channel();
        let mut stopping = false;
        loop {
            if stop.load(Ordering::Relaxed) && !stopping {
                stopping = true;
                self.closed = true;
                self.waiting.clear();
                self.display.note("Stopping: every run writes a checkpoint first.");
                self.slots.iter_mut().filter_map(|slot| slot.worker.as_mut()).for_each(Worker::close);
            }
            self.hand_out(&sender);
            if self.slots.iter().all(|slot| slot.worker.is_none()) {
                break;
            }
            match receiver.recv_timeout(Duration::from_millis(200)) {
                Ok(WorkerEvent { slot, message: Some(message) }) => self.handle(slot, message),
                Ok(WorkerEvent { slot, message: None }) => self.worker_ended(slot, stop),
                Err(_) => {}
            }
        }
        self.display.finish();
        TrainingResult { failed: self.failed, stopped: stopping || self.out_of_time }
    }

    /// Assigns waiting runs to free slots, those with the fewest runs first, and closes workers that have nothing more
    /// to do.
    fn hand_out(&mut self, sender: &mpsc::Sender<WorkerEvent>) {
        let free = |slots: &[Slot]| {
            let free = slots.iter().enumerate().filter(|(_, slot)| slot.is_free());
            free.min_by_key(|(_, slot)| slot.running.len()).map(|(index, _)| index)
        };
        while let Some(slot) = free(&self.slots)
            && let Some(index) = self.waiting.pop_front()
        {
            match self.start(slot, index, sender) {
                Ok(()) => self.display.started(index),
                Err(error) => {
                    let reason = format!("{error:#}");
                    let record = self.record(index, &self.slots[slot].device);
                    // An error here, for example on a full disk, is ignored: the first error is the one to report.
                    let _ = record.map(|record| mark_failed(&self.dir(index), &record, &reason));
                    self.fail(index, reason);
                }
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.running.is_empty()) {
            if let Some(worker) =
                slot.worker.as_mut().filter(|worker| !worker.accepts_runs || self.waiting.is_empty())
            {
                worker.close();
            }
        }
    }

    /// Sends the run with this index to the worker of a slot, which is started if there is none.
    fn start(&mut self, slot: usize, index: usize, sender: &mpsc::Sender<WorkerEvent>) -> Result<()> {
        let device = self.slots[slot].device.clone();
        let record = self.record(index, &device)?;
        let present = &self.training.runs[index].dataset;
        let dataset = (*present != record.cell.dataset).then(|| present.clone());
        let time_limit = self.training.limits.time_limit.map(|limit| limit.as_secs_f64());
        let request = RunRequest { index, record, dataset, judged: self.training.judged, time_limit };
        let run_log = self.dir(index).join(LOG);
        // The log of an earlier session is replaced. That of a failed attempt stays, and so does that of another process
        // which is training the run.
        if self.failures[index] == 0 && Holder::of(&self.dir(index)).is_none() {
            let _ = fs::remove_file(&run_log);
        }
        let run_log = log(&run_log)?;
        let trains_one_run = self.slots[slot].runs == 1;
        let mut worker = if let Some(worker) = self.slots[slot].worker.take() {
            worker
        } else {
            let settings = WorkerSettings {
                slot,
                runs: &self.training.out.join("runs"),
                device: &device,
                threads: self.training.packing.threads,
                data: self.context.datasets.data(),
                log: if trains_one_run { run_log } else { log(&self.worker_log(&device))? },
            };
            Worker::start(settings, sender.clone())?
        };
        let sent = worker.train(&request);
        worker.accepts_runs &= !trains_one_run;
        let slot = &mut self.slots[slot];
        slot.worker = Some(worker);
        sent.map(|()| slot.running.push(index))
    }

    /// Handles a message of the worker in a slot about one of its runs.
    fn handle(&mut self, slot: usize, message: RunMessage) {
        let RunMessage { index, device_works, progress } = message;
        let slot = &mut self.slots[slot];
        if !device_works && let Some(worker) = &mut slot.worker {
            worker.accepts_runs = false;
        }
        let ended =
            matches!(progress, Progress::Done | Progress::Interrupted { .. } | Progress::Failed { .. });
        if ended {
            slot.running.retain(|running| *running != index);
        }
        match progress {
            Progress::Done => self.display.done(index),
            Progress::Interrupted { .. } => {
                self.out_of_time |= self.training.limits.time_limit.is_some();
                self.display.interrupted(index);
            }
            Progress::Failed { reason } => self.fail(index, reason),
            progress => self.display.progress(index, &progress),
        }
    }

    /// Handles the end of a worker process. Runs that it had not ended have failed, unless the whole sweep is being
    /// stopped.
    fn worker_ended(&mut self, slot: usize, stop: &AtomicBool) {
        let slot = &mut self.slots[slot];
        let Some(worker) = slot.worker.take() else { return };
        let stopping = || stop.load(Ordering::Relaxed);
        let reason = match worker.end() {
            End::Signalled(reason) => {
                let ended = Instant::now();
                while !stopping() && ended.elapsed() < SIGNAL {
                    thread::sleep(Duration::from_millis(10));
                }
                reason
            }
            End::Failed(reason) => reason,
        };
        let running = std::mem::take(&mut slot.running);
        let device = (slot.runs > 1).then(|| slot.device.clone());
        let worker_log = device.map(|device| self.worker_log(&device));
        for index in running {
            if stopping() {
                self.display.interrupted(index);
                continue;
            }
            if let (Some(worker_log), Ok(mut log)) = (&worker_log, log(&self.dir(index).join(LOG))) {
                let _ = writeln!(
                    log,
                    "{reason}\nThe last messages of the worker are in {}.",
                    worker_log.display()
                );
            }
            self.fail(index, reason.clone());
        }
    }

    /// Handles the failure of a run, which is tried again if the limits allow it.
    fn fail(&mut self, index: usize, reason: String) {
        self.failures[index] += 1;
        let SweepLimits { retry, max_failures, .. } = self.training.limits;
        let failures = self.failures[index];
        if failures <= retry && !self.closed {
            let id = self.id(index);
            self.display.note(&format!("again     {id} ({failures} of {retry}): {reason}"));
            self.waiting.push_back(index);
            return;
        }
        self.display.failed(index, &reason);
        self.failed.push(FailedRun { id: self.id(index), reason });
        if max_failures.is_some_and(|most| self.failed.len() >= most.get()) && !self.closed {
            self.closed = true;
            self.display.note(&format!(
                "No more cells are started: {} failed, which is the most that --max-failures allows.",
                self.failed.len()
            ));
            for index in std::mem::take(&mut self.waiting) {
                // A run that waited for another attempt counts as failed.
                if self.failures[index] > 0 {
                    let reason = "it failed before, and was not tried again".to_owned();
                    self.failed.push(FailedRun { id: self.id(index), reason });
                }
            }
        }
    }

    /// Returns the name of a run.
    fn id(&self, index: usize) -> String {
        self.training.runs[index].record.id.clone()
    }

    /// Returns the folder of a run.
    fn dir(&self, index: usize) -> PathBuf {
        self.training.out.join("runs").join(&self.training.runs[index].record.id)
    }

    /// Returns the path of the log of a worker process that trains several runs. It begins with `host`, the name that
    /// earlier versions gave to such a process, so that a folder never has logs of two names.
    fn worker_log(&self, device: &str) -> PathBuf {
        let name = format!("host-{}{}.log", device.replace(':', "-"), self.context.log_suffix);
        self.training.out.join(name)
    }

    /// Returns the record of a run that starts or resumes now.
    fn record(&self, index: usize, device: &str) -> Result<RunRecord> {
        let PlannedRun { record, dataset, .. } = &self.training.runs[index];
        let images = self.context.datasets.images(dataset)?;
        let threads = self.training.packing.threads;
        let placement = Placement { device, precision: record.cell.precision, threads };
        let provenance = provenance(placement, images, self.context.command.clone());
        Ok(RunRecord { provenance, ..record.clone() })
    }
}
