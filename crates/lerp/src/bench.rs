//! `lerp bench`: speed.

use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use lerp_core::{Build, Draws, Hyper, ImageShape, Network};
use lerp_data::Batch;
use lerp_kernels::{Form, with_form};
use lerp_train::Learner;

use crate::{
    cli::BenchStepArgs,
    device,
    registry::{Registry, unknown},
    say::say,
};

/// Steps before the clock starts.
const WARM_UP: usize = 3;

/// Classes of every dataset.
const CLASSES: usize = 10;

/// A dataset's images and network; the time of a step depends on nothing else.
struct Shape {
    name: &'static str,
    channels: usize,
    depth: usize,
    scales: usize,
}

/// The paper's datasets (section "Architecture" of its appendix).
const SHAPES: [Shape; 5] = [
    Shape { name: "lines", channels: 1, depth: 16, scales: 4 },
    Shape { name: "mnist", channels: 1, depth: 16, scales: 3 },
    Shape { name: "svhn", channels: 3, depth: 64, scales: 3 },
    Shape { name: "cifar10", channels: 3, depth: 64, scales: 3 },
    Shape { name: "celeba", channels: 3, depth: 64, scales: 3 },
];

impl Shape {
    fn image(&self) -> ImageShape {
        ImageShape { height: 32, width: 32, channels: self.channels }
    }

    fn network(&self) -> Network {
        Network { scales: self.scales, depth: self.depth, latent: 16 }
    }
}

fn shape(name: &str) -> Result<&'static Shape> {
    let found = SHAPES.iter().find(|shape| shape.name == name);
    found.ok_or_else(|| anyhow::anyhow!("{}", unknown("dataset", name, &SHAPES.each_ref().map(|s| s.name))))
}

/// A batch of noise in [-1, 1] with labels 0.
fn noise(batch: usize, image: ImageShape, draws: &Draws) -> Result<Batch> {
    let images = draws.uniform("images", (batch, image.height, image.width, image.channels))?;
    let labels = Tensor::zeros(batch, DType::U32, draws.device())?;
    Ok(Batch { images: ((images * 2.0)? - 1.0)?, labels })
}

/// Time of a training step: forward, backward and update of every group, on one batch.
///
/// # Errors
/// If the variant, dataset or device is not there.
pub fn step(registry: &Registry, args: &BenchStepArgs) -> Result<bool> {
    if args.steps == 0 || !(2..=1 << 16).contains(&args.batch) {
        bail!("--steps must be at least 1, --batch at least 2 and at most 65536");
    }
    let variant = registry.find(&args.variant)?;
    let shape = shape(&args.dataset)?;
    let name = args.device.names()?.remove(0);
    let device = device::open(&name)?;
    let hyper = variant.check(&Hyper::new())?;
    let network = variant.network(shape.name, shape.network());
    let image = shape.image();
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype: DType::F32, device: &device };
    let mut learner = Learner::new(variant.build(&build)?, CLASSES, 0, 1e-4)?;
    let draws = Draws::new(0, &device);
    let mut times = Vec::with_capacity(args.steps);
    for step in 0..WARM_UP + args.steps {
        let batch = noise(args.batch, image, &draws.scope("data").at(step as u64))?;
        device.synchronize()?;
        let started = Instant::now();
        let form = if args.composed { Form::Composed } else { Form::Fused };
        let gradients = with_form(form, || learner.gradients(&batch, &draws.at(step as u64)))?;
        learner.update(&gradients)?;
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
