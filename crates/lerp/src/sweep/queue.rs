//! One queue of cells for all workers.

use std::{
    collections::VecDeque,
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::Result;
use lerp_train::{Cell, Progress, RunRecord, mark_failed};

use super::{
    display::Display,
    worker::{LOG, Message, News, Order, Worker, log},
};
use crate::{provenance::provenance, registry::Registry, shelf::Shelf};

/// What the runs of a sweep have in common.
pub struct Common<'a> {
    /// The variants.
    pub registry: &'a Registry,
    /// The datasets.
    pub shelf: &'a Shelf,
    /// Folder of the sweep.
    pub out: &'a Path,
    /// Threads of each.
    pub threads: usize,
    /// What the user typed.
    pub command: String,
}

/// A place for workers, one at a time.
struct Seat {
    device: String,
    /// Runs at once.
    runs: usize,
    worker: Option<Worker>,
    /// Cells of the runs that the worker has not ended.
    running: Vec<usize>,
}

impl Seat {
    fn free(&self) -> bool {
        self.running.len() < self.runs && self.worker.as_ref().is_none_or(|worker| worker.open)
    }
}

/// Cells, from waiting to their ends.
pub struct Queue<'a> {
    common: Common<'a>,
    cells: &'a [Cell],
    waiting: VecDeque<usize>,
    seats: Vec<Seat>,
    display: Display,
    failed: Vec<(String, String)>,
}

impl<'a> Queue<'a> {
    /// `cells`, each of which is expected to take `seconds`, for workers on devices with a number of runs at once.
    pub fn new(common: Common<'a>, cells: &'a [Cell], seconds: &[f64], seats: Vec<(String, usize)>) -> Self {
        let seat = |(device, runs)| Seat { device, runs, worker: None, running: Vec::new() };
        let seats: Vec<Seat> = seats.into_iter().map(seat).collect();
        let mut waiting: Vec<usize> = (0..cells.len()).collect();
        if seats.iter().map(|seat| seat.runs).sum::<usize>() > 1 {
            // A long one that began last would run on alone.
            waiting.sort_by(|a, b| seconds[*b].total_cmp(&seconds[*a]));
        }
        let display = Display::new(cells, seconds, std::io::stderr().is_terminal());
        Self { common, cells, waiting: waiting.into(), seats, display, failed: Vec::new() }
    }

    /// Trains until nothing waits and nothing runs, or until `stop`. The cells that failed, with their reasons, and whether
    /// it was stopped.
    pub fn run(mut self, stop: &AtomicBool) -> (Vec<(String, String)>, bool) {
        // Those of an earlier sweep.
        for seat in &self.seats {
            let _ = fs::remove_file(self.host_log(&seat.device));
        }
        let (sender, receiver) = mpsc::channel();
        let mut stopping = false;
        loop {
            if stop.load(Ordering::Relaxed) && !stopping {
                stopping = true;
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
                Ok((place, Message::Ended)) => self.ended(place),
                Err(_) => {}
            }
        }
        self.display.finish();
        (self.failed, stopping)
    }

    /// Gives what waits to free seats, the emptiest first, and closes workers that have nothing more to do.
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
                    // If the disk is full this fails too; the first error is the one to tell.
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
        let order = Order { index, record: self.record(index, &device)? };
        let own_log = self.dir(index).join(LOG);
        // An earlier worker's words are of no interest now.
        let _ = fs::remove_file(&own_log);
        let own_log_file = log(&own_log)?;
        let alone = self.seats[place].runs == 1;
        let mut worker = if let Some(worker) = self.seats[place].worker.take() {
            worker
        } else {
            let Common { out, threads, shelf, .. } = self.common;
            let log = if alone { own_log_file } else { log(&self.host_log(&device))? };
            Worker::start(place, (&out.join("runs"), &device, threads), shelf.data(), log, sender.clone())?
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
            Progress::Interrupted { .. } => self.display.interrupted(index),
            Progress::Failed { reason } => self.fail(index, reason),
            progress => self.display.progress(index, &progress),
        }
    }

    /// A worker is gone, and with it the runs that it had not ended.
    fn ended(&mut self, place: usize) {
        let seat = &mut self.seats[place];
        let Some(worker) = seat.worker.take() else { return };
        let reason = worker.end();
        let host_log = (seat.runs > 1).then(|| seat.device.clone()).map(|device| self.host_log(&device));
        for index in std::mem::take(&mut self.seats[place].running) {
            if let (Some(host_log), Ok(mut log)) = (&host_log, log(&self.dir(index).join(LOG))) {
                let _ = writeln!(log, "{reason}\nIts last words are in {}.", host_log.display());
            }
            self.fail(index, reason.clone());
        }
    }

    fn fail(&mut self, index: usize, reason: String) {
        self.display.failed(index, &reason);
        self.failed.push((self.cells[index].id(), reason));
    }

    fn dir(&self, index: usize) -> PathBuf {
        self.common.out.join("runs").join(self.cells[index].id())
    }

    /// What a worker says that trains several runs.
    fn host_log(&self, device: &str) -> PathBuf {
        self.common.out.join(format!("host-{}.log", device.replace(':', "-")))
    }

    fn record(&self, index: usize, device: &str) -> Result<RunRecord> {
        let Common { registry, shelf, threads, command, .. } = &self.common;
        let cell = &self.cells[index];
        let device = (device, cell.precision);
        let provenance = provenance(device, *threads, shelf.images(&cell.dataset)?, command.clone());
        Ok(RunRecord::new(cell.clone(), registry.find(&cell.variant)?.title(), provenance))
    }
}
