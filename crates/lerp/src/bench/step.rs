//! `lerp bench step`: the time of a training step.

use std::time::Instant;

use anyhow::{Result, bail};
use lerp_core::Draws;
use lerp_kernels::{Form, with_form};

use super::{learner, noise, protocol};
use crate::{cli::BenchStepArgs, device, registry::Registry, say::say};

/// Steps before the clock starts.
const WARM_UP: usize = 3;

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
    let device = device::open(&name)?;
    let mut learner = learner(registry, &args.variant, dataset, &device)?;
    let image = dataset.image;
    let draws = Draws::new(0, &device);
    let mut times = Vec::new();
    for step in 0..WARM_UP + args.steps {
        let batch = noise(args.batch, image, &draws.scope("data").at(step as u64))?;
        device.synchronize()?;
        let started = Instant::now();
        let form = if args.composed { Form::Composed } else { Form::Fused };
        with_form(form, || -> Result<()> {
            let gradients = learner.gradients(&batch, &draws.at(step as u64))?;
            Ok(learner.update(&gradients)?)
        })?;
        device.synchronize()?;
        if step >= WARM_UP {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let median = lerp_eval::median(&times);
    if args.json {
        let line = serde_json::json!({
            "ms_per_step": median, "variant": args.variant, "dataset": args.dataset, "batch": args.batch,
            "steps": args.steps, "device": name, "form": if args.composed { "composed" } else { "fused" },
        });
        say(&line.to_string());
    } else {
        let per_second = args.batch as f64 / median * 1e3;
        say(&format!(
            "{} on {}: {median:.1} ms a step of {}, {per_second:.0} images/s, on {name}",
            args.variant, args.dataset, args.batch
        ));
    }
    Ok(true)
}
