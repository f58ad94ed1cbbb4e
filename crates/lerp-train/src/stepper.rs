//! Training steps on a device that keeps the step's number: recorded once, then launched as one.

use candle_core::{DType, Tensor, Var};
use lerp_core::{Draws, on_host};
use lerp_data::{Batch, Dataset};
use lerp_kernels::{Clock, Recording, notice, preparing};

use crate::{Learner, Result};

/// Steps that run launch by launch before one is recorded: they load kernels and leave small uploads on the device.
const BEFORE: u64 = 2;

/// Where the batches of a [`Stepper`] come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Batches of this size from a dataset's training part.
    Dataset(&'a dyn Dataset, usize),
    /// This one.
    Batch(&'a Batch),
}

/// Does the steps of a learner on a GPU without waiting for them. Draws, losses and the step's number stay on the device;
/// all launches of a step (batch, forward, backward, updates) are recorded once and launched as one from then on.
///
/// The learner's parameters change behind its back, in the order of the launches: reading them waits for what was
/// launched.
#[derive(Debug)]
pub struct Stepper {
    clock: Clock,
    /// At the step that is asked for, for batches that are read on the host.
    host: Draws,
    /// What a recorded step reads its batch from, if that is not drawn on the device.
    input: Option<(Var, Option<Var>)>,
    names: Vec<String>,
    /// `[losses]`
    losses: Option<Var>,
    done: u64,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Launch by launch: before the recording, or for good where it failed.
    Launches {
        for_good: bool,
    },
    Recorded(Recording),
}

impl Stepper {
    /// A stepper for a learner of this seed, at its step; none if its device keeps no clock, as the CPU.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub fn new(learner: &Learner, seed: u64) -> Result<Option<Self>> {
        let Some(clock) = learner.clock()? else { return Ok(None) };
        let host = Draws::new(seed, learner.model().params().device());
        let way = Way::Launches { for_good: false };
        Ok(Some(Self { clock, host, input: None, names: Vec::new(), losses: None, done: 0, way }))
    }

    /// As [`Stepper::new`], without ever recording a step.
    ///
    /// # Errors
    /// As there.
    pub fn launching(learner: &Learner, seed: u64) -> Result<Option<Self>> {
        let stepper = Self::new(learner, seed)?;
        Ok(stepper.map(|stepper| Self { way: Way::Launches { for_good: true }, ..stepper }))
    }

    /// Whether steps are launched as one by now.
    pub fn recorded(&self) -> bool {
        matches!(self.way, Way::Recorded(_))
    }

    /// Launches the learner's next step and counts it. The source must be the same every time.
    ///
    /// # Errors
    /// If a batch cannot be read or the tensor library fails. A step that cannot be recorded is no error: the next ones go
    /// launch by launch, with a notice.
    pub fn step(&mut self, learner: &mut Learner, source: Source) -> Result<()> {
        match source {
            Source::Dataset(dataset, _) if dataset.on_device() => {}
            Source::Dataset(dataset, size) => {
                let draws = self.host.scope("data").at(learner.step());
                self.feed(&dataset.train_batch(size, &draws)?)?;
            }
            Source::Batch(batch) if self.input.is_none() => self.feed(batch)?,
            Source::Batch(_) => {}
        }
        if self.done == BEFORE && matches!(self.way, Way::Launches { for_good: false }) {
            let mut failure = None;
            let clock = self.clock.clone();
            let recording = Recording::new(&clock, || {
                failure = match self.launch(learner, source) {
                    Ok(false) => return Ok(()),
                    Ok(true) => Some("it reads the step's number, or draws, on the host".into()),
                    Err(error) => Some(error.to_string()),
                };
                candle_core::bail!("a step failed")
            });
            self.way = match recording {
                Ok(recording) => Way::Recorded(recording),
                Err(error) => {
                    let error = failure.unwrap_or_else(|| error.to_string());
                    let line = error.lines().next().unwrap_or_default();
                    notice(&format!(
                        "the training step cannot be recorded ({line}); its launches go one by one, slower"
                    ));
                    Way::Launches { for_good: true }
                }
            };
        }
        match &self.way {
            Way::Recorded(recording) => recording.launch()?,
            // For good: nothing is kept for a recording, and draws that the host makes anew would be kept for ever.
            Way::Launches { for_good: true } => {
                self.launch(learner, source)?;
            }
            Way::Launches { for_good: false } => {
                let clock = self.clock.clone();
                preparing(&clock, || self.launch(learner, source))?;
            }
        }
        self.done += 1;
        learner.set_step(learner.step() + 1);
        Ok(())
    }

    /// The losses and terms of the last step, by name; waits for it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn losses(&self) -> Result<Vec<(String, f64)>> {
        let Some(losses) = &self.losses else { return Ok(Vec::new()) };
        let values = on_host(losses)?.to_vec1::<f64>()?;
        Ok(self.names.iter().cloned().zip(values).collect())
    }

    /// Puts a batch where the steps read it.
    fn feed(&mut self, batch: &Batch) -> Result<()> {
        if let Some((images, labels)) = &self.input {
            images.set(&batch.images)?;
            if let (Some(labels), Some(new)) = (labels, &batch.labels) {
                labels.set(new)?;
            }
        } else {
            let labels = batch.labels.as_ref().map(Var::from_tensor).transpose()?;
            self.input = Some((Var::from_tensor(&batch.images)?, labels));
        }
        Ok(())
    }

    /// All launches of a step; whether they depend on what was read of the step on the host, and so are of this step alone.
    /// Nothing outlives it but what was there before.
    fn launch(&mut self, learner: &Learner, source: Source) -> Result<bool> {
        let draws = self.host.at(learner.step()).made_by(self.clock.generator()).watched();
        let batch = match (&self.input, source) {
            (Some((images, labels)), _) => Batch {
                images: images.as_detached_tensor(),
                labels: labels.as_ref().map(Var::as_detached_tensor),
            },
            (None, Source::Dataset(dataset, size)) => dataset.train_batch(size, &draws.scope("data"))?,
            (None, Source::Batch(batch)) => batch.clone(),
        };
        let gradients = learner.gradients(&batch, &draws.scope("train"))?;
        let values = gradients.losses.iter().map(|(_, value)| value.to_dtype(DType::F32)?.reshape(1));
        let values = Tensor::cat(&values.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        if let Some(losses) = &self.losses {
            losses.set(&values)?;
        } else {
            self.losses = Some(Var::from_tensor(&values)?);
            self.names = gradients.losses.iter().map(|(name, _)| name.clone()).collect();
        }
        learner.update_by(&gradients, &self.clock)?;
        self.clock.advance()?;
        Ok(draws.read_on_host())
    }
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dataset(dataset, size) => write!(f, "Dataset({}, {size})", dataset.name()),
            Self::Batch(batch) => write!(f, "Batch({:?})", batch.images.shape()),
        }
    }
}
