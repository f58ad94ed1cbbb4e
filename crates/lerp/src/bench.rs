//! `lerp bench`: measures the speed of training steps, operations and evaluations.

use anyhow::{Result, anyhow};
use lerp_bench::{EvalOptions, NamedDevice, OpsOptions, StepOptions, TimedDataset};
use lerp_core::{Precision, unknown_name_message};
use lerp_data::protocols;
use lerp_kernels::Implementation;

use crate::{
    cli::{BenchEvalArgs, BenchOpsArgs, BenchStepArgs},
    device::{self, DeviceChoice},
    registry::Registry,
    say::say,
};

/// Prints the time of a training step.
///
/// # Errors
/// If the variant, dataset or device does not exist, or a number is out of range.
pub fn step(registry: &Registry, args: &BenchStepArgs) -> Result<bool> {
    let precision = args.device.precision(args.full_f32)?;
    let time = lerp_bench::step(&StepOptions {
        variant: registry.find(&args.variant)?,
        dataset: dataset(registry, &args.dataset)?,
        batch: args.batch,
        steps: args.steps,
        device: open(&args.device, precision)?,
        precision,
        launch_each_kernel: args.launches,
        implementation: if args.composed { Implementation::Composed } else { Implementation::Fused },
        instruction_set: args.isa.clone(),
    })?;
    say(&if args.json { time.json().to_string() } else { time.to_string() });
    Ok(true)
}

/// Prints a table with the times of all operations of a network.
///
/// # Errors
/// If the dataset does not exist or the batch size is out of range.
pub fn ops(registry: &Registry, args: &BenchOpsArgs) -> Result<bool> {
    let options = OpsOptions { dataset: dataset(registry, &args.dataset)?, batch: args.batch };
    lerp_bench::ops(&options, &mut say)?;
    Ok(true)
}

/// Prints the time of an evaluation on lines.
///
/// # Errors
/// If the variant or the device does not exist.
pub fn eval(registry: &Registry, args: &BenchEvalArgs) -> Result<bool> {
    let variant = registry.find(&args.variant)?;
    let device = open(&args.device, args.device.precision(false)?)?;
    let time = lerp_bench::eval(&EvalOptions { variant, device })?;
    say(&if args.json { time.json().to_string() } else { time.to_string() });
    Ok(true)
}

/// Opens the first of the chosen devices.
fn open(choice: &DeviceChoice, precision: Precision) -> Result<NamedDevice> {
    let name = choice.names()?.remove(0);
    let device = device::open(&name, precision)?;
    Ok(NamedDevice { name, device })
}

/// Returns the properties of one of the paper's datasets, whose files are not needed, or of a dataset that the
/// program's own code adds.
///
/// # Errors
/// If there is no such dataset; the message suggests the nearest name.
fn dataset(registry: &Registry, name: &str) -> Result<TimedDataset> {
    if registry.datasets_from_code().any(|own| own == name) {
        return Ok(TimedDataset::of(&*registry.dataset(name, None)?));
    }
    TimedDataset::of_paper(name).ok_or_else(|| {
        let known = protocols().map(|protocol| protocol.name).chain(registry.datasets_from_code());
        anyhow!("{}", unknown_name_message("dataset", name, &known.collect::<Vec<_>>()))
    })
}
