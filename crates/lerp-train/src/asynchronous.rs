//! Training steps on a device that keeps the step's number: recorded once, then launched as one.

use candle_core::{DType, Tensor, TensorId, Var};
use lerp_core::{Draws, on_host};
use lerp_data::{Batch, Dataset};
use lerp_kernels::{Clock, Recording, notice, preparing};

use crate::{Learner, Result};

/// Steps that run launch by launch before one is recorded: they load kernels and leave small uploads on the device.
const BEFORE: u64 = 2;

/// Steps after which all others are alike: the third is recorded, and the first launch of a recording takes longer.
pub(crate) const WARM_UP: u64 = BEFORE + 2;

/// Where the launches of a step take their batch from: the same kind at every step.
#[derive(Clone, Copy)]
pub(crate) enum Feed<'a> {
    /// A tensor to which this batch is copied before they run.
    Batch(&'a Batch),
    /// They draw one of this size themselves.
    Drawn(&'a dyn Dataset, usize),
}

/// Does steps on a GPU without waiting for them. Draws, losses and the step's number stay on the device; all launches of a
/// step (batch, forward, backward, updates) are recorded once and launched as one from then on.
pub(crate) struct Asynchronous {
    clock: Clock,
    draws: Draws,
    /// What a recorded step reads its batch from, if that is not drawn on the device.
    input: Option<Input>,
    names: Vec<String>,
    /// `[losses]`
    losses: Option<Var>,
    done: u64,
    way: Way,
}

struct Input {
    images: Var,
    labels: Option<Var>,
    /// The images that were copied to it last.
    holds: TensorId,
}

enum Way {
    /// Launch by launch: before the recording, or for good where it failed.
    Launches {
        for_good: bool,
    },
    Recorded(Recording),
}

impl Asynchronous {
    pub fn new(clock: Clock, draws: Draws) -> Self {
        let way = Way::Launches { for_good: false };
        Self { clock, draws, input: None, names: Vec::new(), losses: None, done: 0, way }
    }

    /// Before the first step: none is ever recorded.
    pub fn never_record(&mut self) {
        self.way = Way::Launches { for_good: true };
    }

    /// Whether steps are launched as one by now.
    pub fn recorded(&self) -> bool {
        matches!(self.way, Way::Recorded(_))
    }

    /// Launches the learner's next step and counts it.
    pub fn step(&mut self, learner: &mut Learner, feed: &Feed) -> Result<()> {
        if let Feed::Batch(batch) = feed {
            self.copy(batch)?;
        }
        if self.done == BEFORE && matches!(self.way, Way::Launches { for_good: false }) {
            let mut failure = None;
            let clock = self.clock.clone();
            let recording = Recording::new(&clock, || {
                failure = match self.launch(learner, feed) {
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
                self.launch(learner, feed)?;
            }
            Way::Launches { for_good: false } => {
                let clock = self.clock.clone();
                preparing(&clock, || self.launch(learner, feed))?;
            }
        }
        self.done += 1;
        learner.set_step(learner.step() + 1);
        Ok(())
    }

    /// The losses and terms of the last step, by name; waits for it.
    pub fn losses(&self) -> Result<Vec<(String, f64)>> {
        let Some(losses) = &self.losses else { return Ok(Vec::new()) };
        let values = on_host(losses)?.to_vec1::<f64>()?;
        Ok(self.names.iter().cloned().zip(values).collect())
    }

    /// Puts a batch where the steps read it, unless it is there already.
    fn copy(&mut self, batch: &Batch) -> Result<()> {
        let holds = batch.images.id();
        if self.input.as_ref().is_some_and(|input| input.holds == holds) {
            return Ok(());
        }
        let device = self.draws.device();
        let images = batch.images.to_device(device)?;
        let labels = batch.labels.as_ref().map(|labels| labels.to_device(device)).transpose()?;
        if let Some(input) = &mut self.input {
            input.images.set(&images)?;
            if let (Some(to), Some(labels)) = (&input.labels, &labels) {
                to.set(labels)?;
            }
            input.holds = holds;
        } else {
            let labels = labels.as_ref().map(Var::from_tensor).transpose()?;
            self.input = Some(Input { images: Var::from_tensor(&images)?, labels, holds });
        }
        Ok(())
    }

    /// All launches of a step; whether they depend on what was read of the step on the host, and so are of this step alone.
    /// Nothing outlives it but what was there before.
    fn launch(&mut self, learner: &Learner, feed: &Feed) -> Result<bool> {
        let draws = self.draws.at(learner.step()).made_by(self.clock.generator()).watched();
        let batch = match (&self.input, feed) {
            (Some(Input { images, labels, .. }), _) => Batch {
                images: images.as_detached_tensor(),
                labels: labels.as_ref().map(Var::as_detached_tensor),
            },
            (None, Feed::Drawn(dataset, size)) => dataset.train_batch(*size, &draws.scope("data"))?,
            (None, Feed::Batch(batch)) => (*batch).clone(),
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
