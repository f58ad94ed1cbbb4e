//! Times training steps of a cell, to estimate the duration of a sweep and to find how many simultaneous runs suit a
//! GPU.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        RwLock,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use candle_core::Device;
use lerp_data::Dataset;
use lerp_train::{BatchSource, Cell, Learner, Trainer};
use rayon::ThreadPool;

use crate::{device, registry::Registry};

/// Smallest number of timed steps.
const LEAST: u32 = 2;

/// Largest number of steps that are queued on an asynchronous device before waiting for it, so that it does not compute
/// long after the time is over.
const AHEAD: u32 = 16;

/// How many runs train on one device at the same time.
#[derive(Debug, Clone, Copy)]
pub struct Concurrency {
    /// Number of simultaneous runs.
    pub runs: usize,
    /// Threads of each run.
    pub threads: usize,
}

impl Concurrency {
    /// One run with one thread.
    pub const SINGLE: Self = Self { runs: 1, threads: 1 };
}

/// Returns the seconds per step of each of several simultaneous runs of `cell`, measured for `time`. Each run has its
/// own handle of the device and its own threads; they share memory and caches as the runs of a sweep do.
///
/// # Errors
/// If one of the runs cannot take a step.
pub fn seconds_per_step(
    registry: &Registry,
    dataset: &dyn Dataset,
    cell: &Cell,
    device: &str,
    concurrency: Concurrency,
    time: Duration,
) -> Result<Vec<f64>> {
    let Concurrency { runs, threads } = concurrency;
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pools = (0..runs).map(|_| pool()).collect::<Result<Vec<_>, _>>();
    let pools = pools.map_err(|error| anyhow!("cannot start threads ({error})"))?;
    // The gate opens when every run is ready to start or has failed.
    let gate = RwLock::new(());
    let (ready, all_ready) = mpsc::channel::<()>();
    let one = |ready: Sender<()>| {
        let begun = catch_unwind(AssertUnwindSafe(|| begin(registry, dataset, cell, device)));
        drop(ready);
        drop(gate.read());
        let (device, mut trainer) = begun.map_err(|_| anyhow!("a step panicked"))??;
        let measured = measure(&mut trainer, time);
        drop(trainer);
        lerp_kernels::release_device(device);
        measured
    };
    std::thread::scope(|scope| {
        let closed = gate.write();
        let start = |pool| {
            let (ready, one) = (ready.clone(), &one);
            thread::Builder::new().spawn_scoped(scope, move || ThreadPool::install(pool, move || one(ready)))
        };
        let started = pools.iter().map(start).collect::<std::io::Result<Vec<_>>>();
        drop(ready);
        // Nothing is ever sent. `recv` returns an error when every run has dropped its sender, that is when all are
        // ready.
        let _ = all_ready.recv();
        drop(closed);
        let join = |run: thread::ScopedJoinHandle<_>| run.join().map_err(|_| anyhow!("a step panicked"))?;
        started?.into_iter().map(join).collect()
    })
}

/// Returns a cell's trainer after its warm-up steps, and its device.
fn begin<'a>(
    registry: &Registry,
    dataset: &'a dyn Dataset,
    cell: &Cell,
    device: &str,
) -> Result<(Device, Trainer<'a>)> {
    let device = device::open(device, cell.precision)?;
    let learner = Learner::of_cell(cell, registry.find(&cell.variant)?, dataset, &device)?;
    let mut trainer = Trainer::new(learner, BatchSource::Dataset { dataset, size: cell.batch }, cell.seed)?;
    trainer.warm_up()?;
    Ok((device, trainer))
}

/// Returns the mean seconds per step over steps that take at least `time` together.
fn measure(trainer: &mut Trainer, time: Duration) -> Result<f64> {
    let (started, mut steps) = (Instant::now(), 0);
    while steps < LEAST || started.elapsed() < time {
        trainer.step()?;
        steps += 1;
        if steps % AHEAD == 0 {
            trainer.wait()?;
        }
    }
    trainer.wait()?;
    Ok(started.elapsed().as_secs_f64() / f64::from(steps))
}
