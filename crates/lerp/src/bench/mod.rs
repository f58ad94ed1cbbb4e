//! `lerp bench`: speed.

mod eval;
mod ops;
mod step;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use lerp_core::{Build, Draws, Hyper, ImageShape};
use lerp_data::{Batch, Protocol, protocols};
use lerp_train::Learner;

use crate::registry::{Registry, unknown};

pub use eval::eval;
pub use ops::ops;
pub use step::step;

/// Classes of the timed classifier.
const CLASSES: usize = 10;

/// What the paper's protocol says of the dataset; the time of a step depends on nothing else of it.
pub fn protocol(name: &str) -> Result<Protocol> {
    let names: Vec<&str> = protocols().map(|protocol| protocol.name).collect();
    let found = protocols().find(|protocol| protocol.name == name);
    found.ok_or_else(|| anyhow::anyhow!("{}", unknown("dataset", name, &names)))
}

/// A batch of noise in [-1, 1] with labels 0.
pub fn noise(batch: usize, image: ImageShape, draws: &Draws) -> Result<Batch> {
    let images = draws.uniform("images", (batch, image.height, image.width, image.channels))?;
    let labels = Tensor::zeros(batch, DType::U32, draws.device())?;
    Ok(Batch { images: ((images * 2.0)? - 1.0)?, labels: Some(labels) })
}

/// A model of `variant` with fresh parameters, as the paper trains it on the dataset.
fn learner(registry: &Registry, variant: &str, dataset: Protocol, device: &Device) -> Result<Learner> {
    let variant = registry.find(variant)?;
    let hyper = variant.check(&Hyper::new())?;
    let default = variant.network(dataset.name, dataset.network);
    let kind = variant.networks().first().context("the variant has no network")?;
    let network = &kind.check(&Hyper::new(), default)?;
    let image = dataset.image;
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype: DType::F32, device };
    Ok(Learner::new(variant.build(&build)?, CLASSES, 0, 1e-4)?)
}
