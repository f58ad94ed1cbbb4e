//! The time of a training step.

use std::{fmt, time::Instant};

use lerp_core::{Draws, Precision, Variant};
use lerp_kernels::{
    Implementation,
    cpu::{Isa, isas, with_isa},
    with_implementation,
};
use lerp_train::{BatchSource, ExecutionMode, Trainer};
use serde_json::{Value, json};

use crate::{Error, NamedDevice, Result, TimedDataset, learner, noise};

/// Number of groups into which the timed steps are divided on a device that runs them asynchronously.
const GROUPS: usize = 5;

/// Options of [`step`].
pub struct StepOptions {
    /// The variant whose step is timed.
    pub variant: &'static dyn Variant,
    /// The dataset whose image size and network are used.
    pub dataset: TimedDataset,
    /// Batch size.
    pub batch: usize,
    /// Number of timed steps, after a few untimed ones.
    pub steps: usize,
    /// The device that computes.
    pub device: NamedDevice,
    /// The precision of convolutions with which the device was opened.
    pub precision: Precision,
    /// Whether a GPU launches every kernel of a step separately instead of replaying a captured step.
    pub launch_each_kernel: bool,
    /// Whether operations are fused kernels or composed of candle's operations.
    pub implementation: Implementation,
    /// Name of the instruction set of fused kernels on the CPU; `None` for the best of this machine.
    pub instruction_set: Option<String>,
}

/// The time of a training step. The text form is a sentence for people.
#[derive(Debug, Clone)]
pub struct StepTime {
    /// Name of the variant.
    pub variant: &'static str,
    /// Name of the dataset.
    pub dataset: String,
    /// Batch size.
    pub batch: usize,
    /// Number of timed steps.
    pub steps: usize,
    /// Name of the device.
    pub device: String,
    /// Precision of convolutions.
    pub precision: Precision,
    /// Whether operations were fused kernels or composed of candle's operations.
    pub implementation: Implementation,
    /// How the steps were run.
    pub mode: ExecutionMode,
    /// Name of the instruction set of the fused kernels, if they ran on the CPU.
    pub instruction_set: Option<String>,
    /// Median time of a step, milliseconds.
    pub milliseconds: f64,
}

impl StepTime {
    /// Returns the time and what it was measured with as a JSON object.
    pub fn json(&self) -> Value {
        let implementation = match self.implementation {
            Implementation::Fused => "fused",
            Implementation::Composed => "composed",
        };
        // `form` is the key that earlier versions wrote, so that measurements of both can be read together.
        json!({
            "ms_per_step": self.milliseconds, "variant": self.variant, "dataset": self.dataset, "batch": self.batch,
            "steps": self.steps, "device": self.device, "form": implementation, "launch": launch(self.mode),
            "tf32": self.precision == Precision::Tf32, "isa": self.instruction_set,
        })
    }
}

impl fmt::Display for StepTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variant, dataset, milliseconds, batch, device, .. } = self;
        let per_second = *batch as f64 / milliseconds * 1e3;
        write!(
            f,
            "{variant} on {dataset}: {milliseconds:.3} ms a step of {batch}, {per_second:.0} images/s, on {device}"
        )?;
        match self.mode {
            ExecutionMode::Synchronous => Ok(()),
            mode => write!(f, " ({})", launch(mode)),
        }
    }
}

/// Times a training step (forward pass, backward pass and parameter update of every parameter group) on one fixed
/// batch.
///
/// # Errors
/// If a number is out of range, this machine lacks the instruction set, or the model cannot be built or trained.
pub fn step(options: &StepOptions) -> Result<StepTime> {
    let StepOptions { variant, dataset, batch, steps, precision, implementation, .. } = options;
    let NamedDevice { name, device } = &options.device;
    if *steps == 0 || !(2..=1 << 16).contains(batch) {
        let problem =
            "the number of timed steps must be at least 1, the batch size at least 2 and at most 65536";
        return Err(Error::BadOption(problem.into()));
    }
    let isa = find_isa(options.instruction_set.as_deref())?;
    let learner = learner(*variant, dataset, device)?;
    let images = noise(*batch, dataset.image, &Draws::new(0, device))?;
    let trainer = Trainer::new(learner, BatchSource::Fixed(images), 0)?;
    let trainer = if options.launch_each_kernel { trainer.without_graph_capture() } else { trainer };
    let (times, mode) = with_isa(isa, || with_implementation(*implementation, || time(trainer, *steps)))?;
    Ok(StepTime {
        variant: variant.name(),
        dataset: dataset.name.clone(),
        batch: *batch,
        steps: *steps,
        device: name.clone(),
        precision: *precision,
        implementation: *implementation,
        mode,
        instruction_set: (device.is_cpu() && *implementation == Implementation::Fused).then(|| isa_name(isa)),
        milliseconds: lerp_eval::median(&times),
    })
}

/// Returns the instruction set called `name`, or this machine's best if `name` is `None`.
fn find_isa(name: Option<&str>) -> Result<Isa> {
    let best = isas()[isas().len() - 1];
    let Some(name) = name else { return Ok(best) };
    isas().iter().copied().find(|isa| isa_name(*isa) == name).ok_or_else(|| {
        let here: Vec<_> = isas().iter().copied().map(isa_name).collect();
        let known = here.join(", ");
        Error::BadOption(format!("this machine has no instruction set '{name}'; it has: {known}"))
    })
}

/// Returns the name of an instruction set in options and results.
fn isa_name(isa: Isa) -> String {
    format!("{isa:?}").to_lowercase()
}

/// Returns in words how steps were run.
fn launch(mode: ExecutionMode) -> &'static str {
    match mode {
        ExecutionMode::Synchronous => "steps",
        ExecutionMode::Launched => "launch by launch",
        ExecutionMode::Captured => "captured",
    }
}

/// Returns times per step in milliseconds. A synchronous trainer gives one time for each step; an asynchronous one
/// gives the mean step time of each of a few groups, because it waits for the device only at the end of a group, as
/// training does.
fn time(mut trainer: Trainer, steps: usize) -> Result<(Vec<f64>, ExecutionMode)> {
    trainer.warm_up()?;
    let groups = if trainer.mode() == ExecutionMode::Synchronous { steps } else { GROUPS.min(steps) };
    let mut times = Vec::new();
    for group in 0..groups {
        let steps = steps * (group + 1) / groups - steps * group / groups;
        let started = Instant::now();
        for _ in 0..steps {
            trainer.step()?;
        }
        trainer.wait()?;
        times.push(started.elapsed().as_secs_f64() * 1e3 / steps as f64);
    }
    Ok((times, trainer.mode()))
}
