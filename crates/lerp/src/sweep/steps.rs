//! Training steps of a cell, to time them: how long will a sweep take, and how many runs suit a GPU?

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
use lerp_core::{Draws, scalar};
use lerp_data::Dataset;
use lerp_train::{Cell, Learner, Source, Stepper};
use rayon::ThreadPool;

use crate::{device, registry::Registry};

/// Steps that are timed at least.
const LEAST: u32 = 2;

/// Steps before these on a device that is not waited for: the third is recorded.
const BEFORE: u32 = 4;

/// Steps after which such a device is waited for all the same, lest its work goes on long after the time is up.
const AHEAD: u32 = 16;

/// Seconds a step of each of `runs` runs of `cell` at once, measured for `time`. Each has a handle of the device and
/// `threads` threads of its own; they share memory and caches, as the sweep's runs will.
///
/// # Errors
/// If one of them cannot take a step.
pub fn at_once(
    registry: &Registry,
    dataset: &dyn Dataset,
    cell: &Cell,
    device: &str,
    (runs, threads): (usize, usize),
    time: Duration,
) -> Result<Vec<f64>> {
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pools = (0..runs).map(|_| pool()).collect::<Result<Vec<_>, _>>();
    let pools = pools.map_err(|error| anyhow!("cannot start threads ({error})"))?;
    // Opened when all of them are ready, whatever has become of each.
    let gate = RwLock::new(());
    let (ready, all_ready) = mpsc::channel::<()>();
    let one = |ready: Sender<()>| {
        let steps = catch_unwind(AssertUnwindSafe(|| Steps::new(registry, dataset, cell, device)));
        drop(ready);
        drop(gate.read());
        let mut steps = steps.map_err(|_| anyhow!("a step panicked"))??;
        let measured = steps.time(time);
        steps.close();
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
        // Nothing is sent; an error when nobody can send any more.
        let _ = all_ready.recv();
        drop(closed);
        let join = |run: thread::ScopedJoinHandle<_>| run.join().map_err(|_| anyhow!("a step panicked"))?;
        started?.into_iter().map(join).collect()
    })
}

/// The steps of a cell, as its run does them.
struct Steps<'a> {
    cell: &'a Cell,
    dataset: &'a dyn Dataset,
    device: Device,
    learner: Learner,
    stepper: Option<Stepper>,
    draws: Draws,
}

impl<'a> Steps<'a> {
    /// After the first ones, which make ready what later ones find.
    fn new(registry: &Registry, dataset: &'a dyn Dataset, cell: &'a Cell, device: &str) -> Result<Self> {
        let device = device::open(device, cell.precision)?;
        let learner = Learner::of_cell(cell, registry.find(&cell.variant)?, dataset, &device)?;
        let stepper = Stepper::new(&learner, cell.seed)?;
        let draws = Draws::new(cell.seed, &device);
        let mut steps = Self { cell, dataset, device, learner, stepper, draws };
        for _ in 0..if steps.stepper.is_some() { BEFORE } else { 1 } {
            steps.step()?;
        }
        steps.device.synchronize()?;
        Ok(steps)
    }

    /// Seconds of a step, from steps that take `time` together.
    fn time(&mut self, time: Duration) -> Result<f64> {
        let (started, mut steps) = (Instant::now(), 0);
        while steps < LEAST || started.elapsed() < time {
            self.step()?;
            steps += 1;
            if steps % AHEAD == 0 {
                self.device.synchronize()?;
            }
        }
        self.device.synchronize()?;
        Ok(started.elapsed().as_secs_f64() / f64::from(steps))
    }

    /// Gives the device back.
    fn close(self) {
        let Self { device, learner, stepper, draws, .. } = self;
        drop((learner, stepper, draws));
        lerp_kernels::release(device);
    }

    fn step(&mut self) -> Result<()> {
        if let Some(stepper) = &mut self.stepper {
            return Ok(stepper.step(&mut self.learner, Source::Dataset(self.dataset, self.cell.batch))?);
        }
        let step = self.learner.step();
        let batch = self.dataset.train_batch(self.cell.batch, &self.draws.scope("data").at(step))?;
        let gradients = self.learner.gradients(&batch, &self.draws.scope("train").at(step))?;
        for (_, loss) in &gradients.losses {
            scalar(loss)?;
        }
        Ok(self.learner.update(&gradients)?)
    }
}
