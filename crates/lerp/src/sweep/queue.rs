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
    survey::{Common, Job},
    worker::{End, LOG, Message, News, Order, Worker, log},
};
use crate::provenance::provenance;

/// Longest time from the arrival of a signal at a worker process to its arrival at this process.
const SIGNAL: Duration = Duration::from_secs(2);

/// A slot for one worker process at a time, on one device.
struct Seat {
    device: String,
    /// Number of simultaneous runs.
    runs: usize,
    worker: Option<Worker>,
    /// Indices of the cells whose runs the worker has not ended yet.
    running: Vec<usize>,
}

impl Seat {
    fn free(&self) -> bool {
        self.running.len() < self.runs && self.worker.as_ref().is_none_or(|worker| worker.open)
    }
}

/// The runs of a sweep, from waiting to their ends.
pub struct Queue<'a> {
    common: &'a Common<'a>,
    /// Folder of the sweep.
    out: &'a Path,
    /// Threads of each run.
    threads: usize,
    jobs: &'a [Job],
    waiting: VecDeque<usize>,
    seats: Vec<Seat>,
    display: Display,
    failed: Vec<(String, String)>,
    terms: Terms,
    /// Number of failures of each cell.
    failures: Vec<usize>,
    /// Whether a cell was stopped at its time limit.
    out_of_time: bool,
    /// Whether no more cells start, because the sweep is stopping or too many cells have failed.
    closed: bool,
}

/// Conditions under which runs are trained, and limits at which they are stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Whether the sweep's judges measure the runs.
    pub judged: bool,
    /// Longest training time of a cell per attempt.
    pub time_limit: Option<Duration>,
    /// Number of failed cells after which no more cells start.
    pub max_failures: Option<NonZeroUsize>,
    /// Number of times that a failed cell is retried.
    pub retry: usize,
}

impl<'a> Queue<'a> {
    /// Creates a queue of `jobs` in the sweep `out`, with the expected `seconds` of each. `seats` has the device and
    /// the number of simultaneous runs of each worker process; each run has `threads` threads.
    pub fn new(
        common: &'a Common<'a>,
        (out, threads): (&'a Path, usize),
        jobs: &'a [Job],
        seconds: &[f64],
        seats: Vec<(String, usize)>,
        terms: Terms,
    ) -> Self {
        let seat = |(device, runs)| Seat { device, runs, worker: None, running: Vec::new() };
        let seats: Vec<Seat> = seats.into_iter().map(seat).collect();
        let mut waiting: Vec<usize> = (0..jobs.len()).collect();
        if seats.iter().map(|seat| seat.runs).sum::<usize>() > 1 {
            // The longest runs start first, because a long run that starts last would occupy one seat while the others
            // are idle.
            waiting.sort_by(|a, b| seconds[*b].total_cmp(&seconds[*a]));
        }
        let runs = jobs.iter().map(|job| (job.record.id.clone(), job.record.cell.samples));
        let display = Display::new(runs, seconds);
        Self {
            common,
            out,
            threads,
            jobs,
            waiting: waiting.into(),
            seats,
            display,
            failed: Vec::new(),
            terms,
            failures: vec![0; jobs.len()],
            out_of_time: false,
            closed: false,
        }
    }

    /// Trains all jobs, or until `stop` is set. Returns the names of the failed cells with the reasons, and whether any
    /// run was stopped.
    pub fn run(mut self, stop: &AtomicBool) -> (Vec<(String, String)>, bool) {
        // Removes the workers' logs of an earlier sweep.
        for seat in &self.seats {
            let _ = fs::remove_file(self.host_log(&seat.device));
        }
        let (sender, receiver) = mpsc::channel();
        let mut stopping = false;
        loop {
            if stop.load(Ordering::Relaxed) && !stopping {
                stopping = true;
                self.closed = true;
                self.waiting.clear();
                self.display.note("Stopping: every run writes a checkpoint first.");
                self.seats.iter_mut().filter_map(|seat| seat.worker.as_mut()).for_each(Worker::close);
            }
            self.hand_out(&sender);
            if self.seats.iter().all(|seat| seat.worker.is_none()) {
                break;
            }
            match receiver.recv_timeout(Duration::from_millis(200)) {
                Ok((place, Message::News(news))) => self.news(place, news),
                Ok((place, Message::Ended)) => self.ended(place, stop),
                Err(_) => {}
            }
        }
        self.display.finish();
        (self.failed, stopping || self.out_of_time)
    }

    /// Assigns waiting jobs to free seats, those with the fewest runs first, and closes workers that have nothing more
    /// to do.
    fn hand_out(&mut self, sender: &mpsc::Sender<(usize, Message)>) {
        let free = |seats: &[Seat]| {
            let free = seats.iter().enumerate().filter(|(_, seat)| seat.free());
            free.min_by_key(|(_, seat)| seat.running.len()).map(|(place, _)| place)
        };
        while let Some(place) = free(&self.seats)
            && let Some(index) = self.waiting.pop_front()
        {
            match self.start(place, index, sender) {
                Ok(()) => self.display.started(index),
                Err(error) => {
                    let reason = format!("{error:#}");
                    let record = self.record(index, &self.seats[place].device);
                    // An error here, for example on a full disk, is ignored: the first error is the one to report.
                    let _ = record.map(|record| mark_failed(&self.dir(index), &record, &reason));
                    self.fail(index, reason);
                }
            }
        }
        for seat in self.seats.iter_mut().filter(|seat| seat.running.is_empty()) {
            if let Some(worker) =
                seat.worker.as_mut().filter(|worker| !worker.open || self.waiting.is_empty())
            {
                worker.close();
            }
        }
    }

    fn start(&mut self, place: usize, index: usize, sender: &mpsc::Sender<(usize, Message)>) -> Result<()> {
        let device = self.seats[place].device.clone();
        let record = self.record(index, &device)?;
        let now = &self.jobs[index].dataset;
        let dataset = (*now != record.cell.dataset).then(|| now.clone());
        let Terms { judged, time_limit, .. } = self.terms;
        let time_limit = time_limit.map(|limit| limit.as_secs_f64());
        let order = Order { index, record, dataset, judged, time_limit };
        let own_log = self.dir(index).join(LOG);
        // The log of an earlier session is replaced. That of a failed attempt stays, and so does that of another process
        // which is training the run.
        if self.failures[index] == 0 && Holder::of(&self.dir(index)).is_none() {
            let _ = fs::remove_file(&own_log);
        }
        let own_log_file = log(&own_log)?;
        let alone = self.seats[place].runs == 1;
        let mut worker = if let Some(worker) = self.seats[place].worker.take() {
            worker
        } else {
            let log = if alone { own_log_file } else { log(&self.host_log(&device))? };
            let data = self.common.shelf.data();
            Worker::start(place, (&self.out.join("runs"), &device, self.threads), data, log, sender.clone())?
        };
        let given = worker.train(&order);
        worker.open &= !alone;
        let seat = &mut self.seats[place];
        seat.worker = Some(worker);
        given.map(|()| seat.running.push(index))
    }

    fn news(&mut self, place: usize, News { index, sound, progress }: News) {
        let seat = &mut self.seats[place];
        if !sound && let Some(worker) = &mut seat.worker {
            worker.open = false;
        }
        let ended =
            matches!(progress, Progress::Done | Progress::Interrupted { .. } | Progress::Failed { .. });
        if ended {
            seat.running.retain(|running| *running != index);
        }
        match progress {
            Progress::Done => self.display.done(index),
            Progress::Interrupted { .. } => {
                self.out_of_time |= self.terms.time_limit.is_some();
                self.display.interrupted(index);
            }
            Progress::Failed { reason } => self.fail(index, reason),
            progress => self.display.progress(index, &progress),
        }
    }

    /// Handles the end of a worker process. Runs that it had not ended have failed, unless the whole sweep is being
    /// stopped.
    fn ended(&mut self, place: usize, stop: &AtomicBool) {
        let seat = &mut self.seats[place];
        let Some(worker) = seat.worker.take() else { return };
        let stopping = || stop.load(Ordering::Relaxed);
        let reason = match worker.end() {
            End::Asked(reason) => {
                let asked = Instant::now();
                while !stopping() && asked.elapsed() < SIGNAL {
                    thread::sleep(Duration::from_millis(10));
                }
                reason
            }
            End::Failed(reason) => reason,
        };
        let host_log = (seat.runs > 1).then(|| seat.device.clone()).map(|device| self.host_log(&device));
        for index in std::mem::take(&mut self.seats[place].running) {
            if stopping() {
                self.display.interrupted(index);
                continue;
            }
            if let (Some(host_log), Ok(mut log)) = (&host_log, log(&self.dir(index).join(LOG))) {
                let _ = writeln!(log, "{reason}\nIts last words are in {}.", host_log.display());
            }
            self.fail(index, reason.clone());
        }
    }

    fn fail(&mut self, index: usize, reason: String) {
        self.failures[index] += 1;
        let (tried, Terms { retry, max_failures, .. }) = (self.failures[index], self.terms);
        if tried <= retry && !self.closed {
            let id = &self.jobs[index].record.id;
            self.display.note(&format!("again     {id} ({tried} of {retry}): {reason}"));
            self.waiting.push_back(index);
            return;
        }
        self.display.failed(index, &reason);
        self.failed.push((self.jobs[index].record.id.clone(), reason));
        if max_failures.is_some_and(|most| self.failed.len() >= most.get()) && !self.closed {
            self.closed = true;
            self.display.note(&format!(
                "No more cells begin: {} failed, which is the most that --max-failures allows.",
                self.failed.len()
            ));
            for index in std::mem::take(&mut self.waiting) {
                // A cell that waited for another attempt counts as failed.
                if self.failures[index] > 0 {
                    let reason = "it failed before, and was not tried again".to_owned();
                    self.failed.push((self.jobs[index].record.id.clone(), reason));
                }
            }
        }
    }

    fn dir(&self, index: usize) -> PathBuf {
        self.out.join("runs").join(&self.jobs[index].record.id)
    }

    /// Returns the path of the log of a worker process that trains several runs.
    fn host_log(&self, device: &str) -> PathBuf {
        self.out.join(format!("host-{}{}.log", device.replace(':', "-"), self.common.task))
    }

    /// Returns the record of a run that starts or resumes now.
    fn record(&self, index: usize, device: &str) -> Result<RunRecord> {
        let Job { record, dataset, .. } = &self.jobs[index];
        let images = self.common.shelf.images(dataset)?;
        let device = (device, record.cell.precision);
        let provenance = provenance(device, self.threads, images, self.common.command.clone());
        Ok(RunRecord { provenance, ..record.clone() })
    }
}
