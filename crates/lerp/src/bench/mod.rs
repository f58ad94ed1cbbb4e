//! `lerp bench`: speed.

mod eval;
mod ops;
mod step;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use lerp_core::{Build, Draws, Hyper, ImageShape, Network};
use lerp_data::Batch;
use lerp_train::Learner;

use crate::registry::{Registry, unknown};

pub use eval::eval;
pub use ops::ops;
pub use step::step;

/// Classes of every dataset.
const CLASSES: usize = 10;

/// A dataset's images and network; the time of a step depends on nothing else.
pub struct Shape {
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
    pub fn image(&self) -> ImageShape {
        ImageShape { height: 32, width: 32, channels: self.channels }
    }

    pub fn network(&self) -> Network {
        Network { scales: self.scales, depth: self.depth, latent: 16 }
    }
}

pub fn shape(name: &str) -> Result<&'static Shape> {
    let found = SHAPES.iter().find(|shape| shape.name == name);
    found.ok_or_else(|| anyhow::anyhow!("{}", unknown("dataset", name, &SHAPES.each_ref().map(|s| s.name))))
}

/// A batch of noise in [-1, 1] with labels 0.
pub fn noise(batch: usize, image: ImageShape, draws: &Draws) -> Result<Batch> {
    let images = draws.uniform("images", (batch, image.height, image.width, image.channels))?;
    let labels = Tensor::zeros(batch, DType::U32, draws.device())?;
    Ok(Batch { images: ((images * 2.0)? - 1.0)?, labels: Some(labels) })
}

/// A model of `variant` with fresh parameters, as the paper trains it on the dataset.
fn learner(registry: &Registry, variant: &str, shape: &Shape, device: &Device) -> Result<Learner> {
    let variant = registry.find(variant)?;
    let hyper = variant.check(&Hyper::new())?;
    let network = variant.network(shape.name, shape.network());
    let image = shape.image();
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype: DType::F32, device };
    Ok(Learner::new(variant.build(&build)?, CLASSES, 0, 1e-4)?)
}
