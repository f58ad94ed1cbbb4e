//! `lerp bench`: measures the speed of training steps, operations and evaluations.

mod eval;
mod ops;
mod step;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use lerp_core::{Build, Draws, Hyper, ImageShape, Network};
use lerp_data::{Batch, protocols};
use lerp_train::Learner;

use crate::registry::{Registry, unknown};

pub use eval::eval;
pub use ops::ops;
pub use step::step;

/// Number of classes of the classifier in a timed step.
const CLASSES: usize = 10;

/// The properties of a dataset that determine the time of a step.
#[derive(Debug, Clone)]
pub struct Timed {
    /// Name of the dataset.
    pub name: String,
    /// Shape of the dataset's images.
    pub image: ImageShape,
    /// The paper's network for the dataset.
    pub network: Network,
}

/// Returns the properties of one of the paper's datasets, whose files are not needed, or of a dataset that the
/// program's own code adds.
///
/// # Errors
/// If there is no such dataset; the message suggests the nearest name.
pub fn timed(registry: &Registry, name: &str) -> Result<Timed> {
    if registry.datasets_from_code().any(|own| own == name) {
        let dataset = registry.dataset(name, None)?;
        return Ok(Timed { name: name.into(), image: dataset.image(), network: dataset.network() });
    }
    let names: Vec<&str> =
        protocols().map(|protocol| protocol.name).chain(registry.datasets_from_code()).collect();
    let found = protocols().find(|protocol| protocol.name == name);
    let found = found.ok_or_else(|| anyhow::anyhow!("{}", unknown("dataset", name, &names)))?;
    Ok(Timed { name: name.into(), image: found.image, network: found.network })
}

/// Returns a batch of `batch` images of uniform noise in [-1, 1], all with label 0.
pub fn noise(batch: usize, image: ImageShape, draws: &Draws) -> Result<Batch> {
    let images = draws.uniform("images", (batch, image.height, image.width, image.channels))?;
    let labels = Tensor::zeros(batch, DType::U32, draws.device())?;
    Ok(Batch { images: ((images * 2.0)? - 1.0)?, labels: Some(labels) })
}

/// Builds a learner of `variant` with newly initialised parameters and the paper's settings for the dataset.
fn learner(registry: &Registry, variant: &str, dataset: &Timed, device: &Device) -> Result<Learner> {
    let variant = registry.find(variant)?;
    let hyper = variant.check(&Hyper::new())?;
    let default = variant.network(&dataset.name, dataset.network);
    let kind = variant.networks().first().context("the variant has no network")?;
    let network = &kind.check(&Hyper::new(), default)?;
    let image = dataset.image;
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype: DType::F32, device };
    Ok(Learner::new(variant.build(&build)?, CLASSES, 0, 1e-4)?)
}
