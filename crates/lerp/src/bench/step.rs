//! `lerp bench step`: the time of a training step.

use std::time::Instant;

use anyhow::{Result, bail};
use lerp_core::{Draws, Precision};
use lerp_data::Batch;
use lerp_kernels::{Form, with_form};
use lerp_train::{Learner, Source, Stepper};

use super::{learner, noise, protocol};
use crate::{cli::BenchStepArgs, device, registry::Registry, say::say};

/// Steps before the clock starts.
const WARM_UP: usize = 3;

/// Parts in which the steps on a GPU are timed.
const ROWS: usize = 5;

/// Time of a training step: forward, backward and update of every group, on one batch.
///
/// # Errors
/// If the variant, dataset or device is not there.
pub fn step(registry: &Registry, args: &BenchStepArgs) -> Result<bool> {
    if args.steps == 0 || !(2..=1 << 16).contains(&args.batch) {
        bail!("--steps must be at least 1, --batch at least 2 and at most 65536");
    }
    let dataset = protocol(&args.dataset)?;
    let name = args.device.names()?.remove(0);
    let precision = args.device.precision(args.full_f32)?;
    let device = device::open(&name, precision)?;
    let mut learner = learner(registry, &args.variant, dataset, &device)?;
    let image = dataset.image;
    let draws = Draws::new(0, &device);
    let form = if args.composed { Form::Composed } else { Form::Fused };
    let stepper = if args.launches { Stepper::launching(&learner, 0) } else { Stepper::new(&learner, 0) };
    let (times, how) = with_form(form, || match stepper? {
        Some(stepper) => on_device(stepper, &mut learner, &noise(args.batch, image, &draws)?, args.steps),
        None => step_by_step(&mut learner, &draws, |draws| noise(args.batch, image, draws), args.steps),
    })?;
    let median = lerp_eval::median(&times);
    if args.json {
        let line = serde_json::json!({
            "ms_per_step": median, "variant": args.variant, "dataset": args.dataset, "batch": args.batch,
            "steps": args.steps, "device": name, "form": if args.composed { "composed" } else { "fused" },
            "launch": how, "tf32": precision == Precision::Tf32,
        });
        say(&line.to_string());
    } else {
        let per_second = args.batch as f64 / median * 1e3;
        say(&format!(
            "{} on {}: {median:.3} ms a step of {}, {per_second:.0} images/s, on {name}{}",
            args.variant,
            args.dataset,
            args.batch,
            if how == "steps" { String::new() } else { format!(" ({how})") }
        ));
    }
    Ok(true)
}

/// Milliseconds of each step after the warm-up, timed one by one.
fn step_by_step(
    learner: &mut Learner,
    draws: &Draws,
    batch: impl Fn(&Draws) -> Result<Batch>,
    steps: usize,
) -> Result<(Vec<f64>, &'static str)> {
    let mut times = Vec::new();
    for step in 0..WARM_UP + steps {
        let batch = batch(&draws.scope("data").at(step as u64))?;
        draws.device().synchronize()?;
        let started = Instant::now();
        let gradients = learner.gradients(&batch, &draws.at(step as u64))?;
        learner.update(&gradients)?;
        draws.device().synchronize()?;
        if step >= WARM_UP {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok((times, "steps"))
}

/// Milliseconds a step of some rows of steps on a GPU, each launched without waiting and then waited for: as in training.
fn on_device(
    mut stepper: Stepper,
    learner: &mut Learner,
    batch: &Batch,
    steps: usize,
) -> Result<(Vec<f64>, &'static str)> {
    for _ in 0..WARM_UP {
        stepper.step(learner, Source::Batch(batch))?;
    }
    let rows = ROWS.min(steps);
    let mut times = Vec::new();
    for row in 0..rows {
        let steps = steps * (row + 1) / rows - steps * row / rows;
        stepper.losses()?;
        let started = Instant::now();
        for _ in 0..steps {
            stepper.step(learner, Source::Batch(batch))?;
        }
        stepper.losses()?;
        times.push(started.elapsed().as_secs_f64() * 1e3 / steps as f64);
    }
    Ok((times, if stepper.recorded() { "recorded" } else { "launch by launch" }))
}
