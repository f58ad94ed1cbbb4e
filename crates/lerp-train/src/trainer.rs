//! The loop of training steps, shared by runs, time estimates, benchmarks and conformance checks.

use std::panic::AssertUnwindSafe;

use candle_core::Device;
use lerp_core::{Draws, scalar};
use lerp_data::{Batch, Dataset};
use lerp_files::caught;

use crate::{
    Error, Learner, Result,
    asynchronous::{self, Asynchronous, Feed},
};

/// The source of the batches of a [`Trainer`].
#[derive(Clone)]
pub enum Source<'a> {
    /// The training part of a dataset; the next step's batch is read while a step runs.
    Dataset {
        /// The dataset.
        dataset: &'a dyn Dataset,
        /// The batch size.
        size: usize,
    },
    /// The same batch at every step.
    Fixed(Batch),
}

/// How a [`Trainer`] runs its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The calling thread waits for every step, and checks its losses before any parameter is updated.
    Synchronous,
    /// The kernels of every step are launched one by one on a device, without waiting for it.
    Launched,
    /// Like [`Mode::Launched`], with all kernels of a step captured as one graph, which is launched as a whole.
    Captured,
}

/// Runs the training steps of a learner, one after the other.
///
/// Batches and draws of a step are functions of the seed and the step number alone. The next step's batch is read
/// while a step runs, by another thread of the thread pool in which the trainer is called; if the pool has one
/// thread, that thread reads it after its own part of the step. At most one unused batch is held.
///
/// On a device that keeps the step number (a GPU) a step is launched and not waited for: the learner's parameters
/// change asynchronously, in the order of the launches, and reading them waits for everything that was launched.
pub struct Trainer<'a> {
    learner: Learner,
    source: Source<'a>,
    /// The draws of batches, which are read on the host whatever the device.
    data: Draws,
    /// The number of steps after which no batch is needed.
    until: u64,
    /// The batch that was read ahead, and the step that it is for.
    ahead: Option<(u64, Result<Batch>)>,
    backend: Backend,
}

enum Backend {
    Synchronous(Synchronous),
    Asynchronous(Box<Asynchronous>),
}

/// Runs each step to its end before it returns.
struct Synchronous {
    draws: Draws,
    /// Losses and terms of the last step, by name.
    losses: Vec<(String, f64)>,
}

impl<'a> Trainer<'a> {
    /// Creates a trainer of a learner that continues at the learner's step, with the draws of `seed`.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub fn new(learner: Learner, source: Source<'a>, seed: u64) -> Result<Self> {
        let draws = Draws::new(seed, learner.device());
        let backend = match learner.clock()? {
            Some(clock) => Backend::Asynchronous(Box::new(Asynchronous::new(clock, draws))),
            None => Backend::Synchronous(Synchronous { draws: draws.scope("train"), losses: Vec::new() }),
        };
        let data = Draws::new(seed, &Device::Cpu).scope("data");
        Ok(Self { learner, source, data, until: u64::MAX, ahead: None, backend })
    }

    /// Returns the trainer with a limit: it reads no batch ahead for steps beyond the first `steps`.
    #[must_use]
    pub fn until(self, steps: u64) -> Self {
        Self { until: steps, ..self }
    }

    /// Returns the trainer without graph capture ([`Mode::Captured`]).
    #[must_use]
    pub fn without_capture(mut self) -> Self {
        if let Backend::Asynchronous(device) = &mut self.backend {
            device.never_capture();
        }
        self
    }

    /// Returns how the trainer runs its steps; on a device, some steps are launched kernel by kernel before one is
    /// captured.
    pub fn mode(&self) -> Mode {
        match &self.backend {
            Backend::Synchronous(_) => Mode::Synchronous,
            Backend::Asynchronous(device) if device.captured() => Mode::Captured,
            Backend::Asynchronous(_) => Mode::Launched,
        }
    }

    /// Returns the learner, at the step up to which it was trained.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// Returns the learner and drops the trainer.
    pub fn into_learner(self) -> Learner {
        self.learner
    }

    /// Runs the next step, or launches it without waiting.
    ///
    /// # Errors
    /// If this step's batch cannot be read, a loss is not finite (in synchronous mode, before any update), or the
    /// tensor library fails. A step that cannot be captured is no error: further steps are launched kernel by
    /// kernel, with a notice.
    pub fn step(&mut self) -> Result<()> {
        let Self { learner, source, data, until, ahead, backend } = self;
        let (dataset, size) = match (&*source, &mut *backend) {
            (Source::Dataset { dataset, size }, Backend::Asynchronous(device)) if dataset.on_device() => {
                return device.step(learner, &Feed::Drawn(*dataset, *size));
            }
            (Source::Fixed(batch), backend) => return backend.step(learner, batch),
            (Source::Dataset { dataset, size }, _) => (*dataset, *size),
        };
        let read = |step| read(dataset, size, &data.at(step), step);
        let step = learner.step();
        let batch = match ahead.take() {
            Some((of_step, batch)) if of_step == step => batch?,
            _ => read(step)?,
        };
        let next = step + 1;
        if next >= *until {
            return backend.step(learner, &batch);
        }
        rayon::in_place_scope(|scope| {
            // An error in reading ahead is reported by the step that needs the batch.
            scope.spawn(|_| *ahead = Some((next, read(next))));
            backend.step(learner, &batch)
        })
    }

    /// Runs the first steps, which take longer than later ones because of one-time set-up, and waits for them.
    ///
    /// # Errors
    /// As for [`Trainer::step`].
    pub fn warm_up(&mut self) -> Result<()> {
        let steps = match &self.backend {
            Backend::Synchronous(_) => 1,
            Backend::Asynchronous(_) => asynchronous::WARM_UP,
        };
        (0..steps).try_for_each(|_| self.step())?;
        self.wait()
    }

    /// Returns the losses and terms of the last step, by name, after waiting for it.
    ///
    /// # Errors
    /// If one of them is not finite, or the device fails.
    pub fn losses(&self) -> Result<Vec<(String, f64)>> {
        let losses = match &self.backend {
            Backend::Synchronous(host) => host.losses.clone(),
            Backend::Asynchronous(device) => device.losses()?,
        };
        let size = match &self.source {
            Source::Dataset { size, .. } => *size,
            Source::Fixed(batch) => batch.images.dim(0)?,
        };
        check(&losses, self.learner.step(), size)?;
        Ok(losses)
    }

    /// Waits until the device has finished all steps.
    ///
    /// # Errors
    /// If the device fails.
    pub fn wait(&self) -> Result<()> {
        Ok(self.learner.device().synchronize()?)
    }
}

impl Backend {
    fn step(&mut self, learner: &mut Learner, batch: &Batch) -> Result<()> {
        match self {
            Self::Synchronous(host) => host.step(learner, batch),
            Self::Asynchronous(device) => device.step(learner, &Feed::Batch(batch)),
        }
    }
}

impl Synchronous {
    fn step(&mut self, learner: &mut Learner, batch: &Batch) -> Result<()> {
        let (step, device) = (learner.step(), learner.device());
        let labels = batch.labels.as_ref().map(|labels| labels.to_device(device)).transpose()?;
        let batch = Batch { images: batch.images.to_device(device)?, labels };
        let gradients = learner.gradients(&batch, &self.draws.at(step))?;
        self.losses.clear();
        for (name, loss) in &gradients.losses {
            self.losses.push((name.clone(), scalar(loss)?));
        }
        // Losses are checked before any parameter is updated.
        check(&self.losses, step + 1, batch.images.dim(0)?)?;
        learner.update(&gradients)
    }
}

/// Checks that the losses of step `step`, counted from 1, are finite. Every step so far had a batch of `size` images.
fn check(losses: &[(String, f64)], step: u64, size: usize) -> Result<()> {
    match losses.iter().find(|(_, value)| !value.is_finite()) {
        Some((loss, value)) => {
            let samples = step * size as u64;
            Err(Error::NotFinite { loss: loss.clone(), value: *value, step, samples })
        }
        None => Ok(()),
    }
}

/// Reads the batch of a step. A panic in the dataset becomes an error, because it may happen on another thread than
/// the step's.
fn read(dataset: &dyn Dataset, size: usize, draws: &Draws, step: u64) -> Result<Batch> {
    let batch = caught(AssertUnwindSafe(|| dataset.train_batch(size, draws))).map_err(|problem| {
        Error::Unreadable { dataset: dataset.name().to_owned(), step: step + 1, problem }
    })??;
    batch.check(dataset, size)?;
    Ok(batch)
}
