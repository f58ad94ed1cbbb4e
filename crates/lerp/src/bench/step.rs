//! `lerp bench step`: times a training step.

use std::time::Instant;

use anyhow::{Result, bail};
use lerp_core::{Draws, Precision};
use lerp_kernels::{
    Kernels,
    cpu::{Isa, isas, with_isa},
    with_kernels,
};
use lerp_train::{Mode, Source, Trainer};

use super::{learner, noise, timed};
use crate::{cli::BenchStepArgs, device, registry::Registry, say::say};

/// Number of groups into which the timed steps are divided on a device that runs them asynchronously.
const ROWS: usize = 5;

/// Prints the time of a training step (forward pass, backward pass and parameter update of every parameter group) on
/// one fixed batch, in milliseconds.
///
/// # Errors
/// If the variant, dataset or device does not exist, or a number is out of range.
pub fn step(registry: &Registry, args: &BenchStepArgs) -> Result<bool> {
    if args.steps == 0 || !(2..=1 << 16).contains(&args.batch) {
        bail!("--steps must be at least 1, --batch at least 2 and at most 65536");
    }
    let dataset = timed(registry, &args.dataset)?;
    let name = args.device.names()?.remove(0);
    let precision = args.device.precision(args.full_f32)?;
    let device = device::open(&name, precision)?;
    let learner = learner(registry, &args.variant, &dataset, &device)?;
    let form = if args.composed { Kernels::Composed } else { Kernels::Fused };
    let batch = noise(args.batch, dataset.image, &Draws::new(0, &device))?;
    let trainer = Trainer::new(learner, Source::Fixed(batch), 0)?;
    let trainer = if args.launches { trainer.without_capture() } else { trainer };
    let isa = instructions(args.isa.as_deref())?;
    let (times, mode) = with_isa(isa, || with_kernels(form, || time(trainer, args.steps)))?;
    let median = lerp_eval::median(&times);
    if args.json {
        let line = serde_json::json!({
            "ms_per_step": median, "variant": args.variant, "dataset": args.dataset, "batch": args.batch,
            "steps": args.steps, "device": name, "form": if args.composed { "composed" } else { "fused" },
            "launch": how(mode), "tf32": precision == Precision::Tf32,
            "isa": (device.is_cpu() && !args.composed).then(|| format!("{isa:?}").to_lowercase()),
        });
        say(&line.to_string());
    } else {
        let per_second = args.batch as f64 / median * 1e3;
        say(&format!(
            "{} on {}: {median:.3} ms a step of {}, {per_second:.0} images/s, on {name}{}",
            args.variant,
            args.dataset,
            args.batch,
            if mode == Mode::Synchronous { String::new() } else { format!(" ({})", how(mode)) }
        ));
    }
    Ok(true)
}

/// Returns the instruction set called `name`, or this machine's best if `name` is `None`.
fn instructions(name: Option<&str>) -> Result<Isa> {
    let best = isas()[isas().len() - 1];
    let Some(name) = name else { return Ok(best) };
    let called = |isa: &Isa| format!("{isa:?}").to_lowercase();
    let Some(isa) = isas().iter().find(|isa| called(isa) == name) else {
        let here: Vec<_> = isas().iter().map(called).collect();
        bail!("--isa {name}: this machine has {}", here.join(", "));
    };
    Ok(*isa)
}

fn how(mode: Mode) -> &'static str {
    match mode {
        Mode::Synchronous => "steps",
        Mode::Launched => "launch by launch",
        Mode::Captured => "captured",
    }
}

/// Returns times per step in milliseconds. A synchronous trainer gives one time for each step; an asynchronous one
/// gives the mean step time of each of a few groups, because it waits for the device only at the end of a group, as
/// training does.
fn time(mut trainer: Trainer, steps: usize) -> Result<(Vec<f64>, Mode)> {
    trainer.warm_up()?;
    let rows = if trainer.mode() == Mode::Synchronous { steps } else { ROWS.min(steps) };
    let mut times = Vec::new();
    for row in 0..rows {
        let steps = steps * (row + 1) / rows - steps * row / rows;
        let started = Instant::now();
        for _ in 0..steps {
            trainer.step()?;
        }
        trainer.wait()?;
        times.push(started.elapsed().as_secs_f64() * 1e3 / steps as f64);
    }
    Ok((times, trainer.mode()))
}
