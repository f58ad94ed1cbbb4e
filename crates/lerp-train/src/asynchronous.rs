//! Training steps on a device that keeps the step number (a GPU): captured once as a graph, which is then launched
//! as a whole.

use candle_core::{DType, Tensor, TensorId, Var};
use lerp_core::{Draws, on_host};
use lerp_data::{Batch, Dataset};
use lerp_kernels::{CapturedGraph, Clock, notice, prepare_capture};

use crate::{Learner, Result};

/// The number of steps with individual kernel launches before graph capture: they load kernels, and leave small
/// uploads on the device.
const EAGER_STEPS: u64 = 2;

/// The number of steps after which every step takes equally long: the third step is captured, and the first launch
/// of a captured graph takes longer.
pub(crate) const WARM_UP: u64 = EAGER_STEPS + 2;

/// The source of a step's batch; of the same kind at every step.
#[derive(Clone, Copy)]
pub(crate) enum Feed<'a> {
    /// A batch, which is copied into a fixed tensor on the device before the kernels run.
    Batch(&'a Batch),
    /// A dataset that the kernels themselves draw a batch of this size from.
    Drawn(&'a dyn Dataset, usize),
}

/// Runs training steps on a GPU without waiting for them. Draws, losses and the step number stay on the device. All
/// kernel launches of a step (batch, forward pass, backward pass, updates) are captured once, and launched as one
/// graph from then on.
pub(crate) struct Asynchronous {
    clock: Clock,
    draws: Draws,
    /// The tensors that a captured step reads its batch from; `None` if batches are drawn on the device.
    input: Option<Input>,
    names: Vec<String>,
    /// Losses and terms of the last step, `[losses]`.
    losses: Option<Var>,
    done: u64,
    dispatch: Dispatch,
}

struct Input {
    images: Var,
    labels: Option<Var>,
    /// Identifies the images that were copied last.
    copied: TensorId,
}

enum Dispatch {
    /// Kernels are launched one by one: before graph capture, or permanently if it failed or is off.
    Individual { permanently: bool },
    /// The kernels of a step were captured as a graph, which is launched as a whole.
    Captured(CapturedGraph),
}

impl Asynchronous {
    pub fn new(clock: Clock, draws: Draws) -> Self {
        let dispatch = Dispatch::Individual { permanently: false };
        Self { clock, draws, input: None, names: Vec::new(), losses: None, done: 0, dispatch }
    }

    /// Turns graph capture off; to be called before the first step.
    pub fn never_capture(&mut self) {
        self.dispatch = Dispatch::Individual { permanently: true };
    }

    /// Returns whether steps are launched as a captured graph by now.
    pub fn captured(&self) -> bool {
        matches!(self.dispatch, Dispatch::Captured(_))
    }

    /// Launches the learner's next step and counts it.
    pub fn step(&mut self, learner: &mut Learner, feed: &Feed) -> Result<()> {
        if let Feed::Batch(batch) = feed {
            self.copy(batch)?;
        }
        if self.done == EAGER_STEPS && matches!(self.dispatch, Dispatch::Individual { permanently: false }) {
            let mut failure = None;
            let clock = self.clock.clone();
            let graph = CapturedGraph::capture(&clock, || {
                failure = match self.launch(learner, feed) {
                    Ok(false) => return Ok(()),
                    Ok(true) => Some("it reads the step's number, or draws, on the host".into()),
                    Err(error) => Some(error.to_string()),
                };
                candle_core::bail!("a step failed")
            });
            self.dispatch = match graph {
                Ok(graph) => Dispatch::Captured(graph),
                Err(error) => {
                    let error = failure.unwrap_or_else(|| error.to_string());
                    let line = error.lines().next().unwrap_or_default();
                    notice(&format!(
                        "the training step cannot be captured as a graph ({line}); its kernels are launched one by one, \
                         which is slower"
                    ));
                    Dispatch::Individual { permanently: true }
                }
            };
        }
        match &self.dispatch {
            Dispatch::Captured(graph) => graph.launch()?,
            // Nothing is retained for graph capture here: draws that the host makes anew at each step would be
            // retained forever.
            Dispatch::Individual { permanently: true } => {
                self.launch(learner, feed)?;
            }
            Dispatch::Individual { permanently: false } => {
                let clock = self.clock.clone();
                prepare_capture(&clock, || self.launch(learner, feed))?;
            }
        }
        self.done += 1;
        learner.set_step(learner.step() + 1);
        Ok(())
    }

    /// Returns the losses and terms of the last step, by name, after waiting for it.
    pub fn losses(&self) -> Result<Vec<(String, f64)>> {
        let Some(losses) = &self.losses else { return Ok(Vec::new()) };
        let values = on_host(losses)?.to_vec1::<f64>()?;
        Ok(self.names.iter().cloned().zip(values).collect())
    }

    /// Copies a batch to where the steps read it, unless it is there already.
    fn copy(&mut self, batch: &Batch) -> Result<()> {
        let copied = batch.images.id();
        if self.input.as_ref().is_some_and(|input| input.copied == copied) {
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
            input.copied = copied;
        } else {
            let labels = labels.as_ref().map(Var::from_tensor).transpose()?;
            self.input = Some(Input { images: Var::from_tensor(&images)?, labels, copied });
        }
        Ok(())
    }

    /// Launches all kernels of a step. Returns whether they depend on values that the host read for this step, so
    /// that they are valid for this step alone. Apart from `losses`, which the first call allocates, no tensor
    /// outlives the call.
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
