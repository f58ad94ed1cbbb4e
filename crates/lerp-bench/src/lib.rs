//! Measures the speed of training steps ([`step`]), of the operations of a network ([`ops`]) and of evaluations
//! ([`eval`]). The command `lerp bench` prints the results.

mod error;
mod eval;
mod ops;
mod step;

use candle_core::{DType, Device, Tensor};
use lerp_core::{Build, Draws, Hyper, ImageShape, Network, Variant};
use lerp_data::{Batch, Dataset, protocols};
use lerp_train::Learner;

pub use error::{Error, Result};
pub use eval::{EvalOptions, EvalTime, eval};
pub use ops::{OpsOptions, ops};
pub use step::{StepOptions, StepTime, step};

/// Number of classes of the classifier in a timed step.
const CLASSES: usize = 10;

/// The properties of a dataset that determine the time of a step.
///
/// ```
/// use lerp_bench::TimedDataset;
///
/// let lines = TimedDataset::of_paper("lines").expect("it is one of the paper's datasets");
/// assert_eq!((lines.image.height, lines.network.latent), (32, 16));
/// ```
#[derive(Debug, Clone)]
pub struct TimedDataset {
    /// Name of the dataset.
    pub name: String,
    /// Shape of the dataset's images.
    pub image: ImageShape,
    /// The paper's network for the dataset.
    pub network: Network,
}

impl TimedDataset {
    /// Returns the properties of one of the paper's datasets, whose files are not needed, or `None` if the paper has no
    /// dataset of this name.
    pub fn of_paper(name: &str) -> Option<Self> {
        let protocol = protocols().find(|protocol| protocol.name == name)?;
        Some(Self { name: name.into(), image: protocol.image, network: protocol.network })
    }

    /// Returns the properties of any other dataset.
    pub fn of(dataset: &dyn Dataset) -> Self {
        Self { name: dataset.name().into(), image: dataset.image(), network: dataset.network() }
    }
}

/// An opened device with the name that results call it by.
#[derive(Debug, Clone)]
pub struct NamedDevice {
    /// Name of the device, such as `cuda:0`.
    pub name: String,
    /// The device.
    pub device: Device,
}

/// Returns a batch of `batch` images of uniform noise in [-1, 1], all with label 0.
fn noise(batch: usize, image: ImageShape, draws: &Draws) -> Result<Batch> {
    let images = draws.uniform("images", (batch, image.height, image.width, image.channels))?;
    let labels = Tensor::zeros(batch, DType::U32, draws.device())?;
    Ok(Batch { images: ((images * 2.0)? - 1.0)?, labels: Some(labels) })
}

/// Builds a learner of `variant` with newly initialised parameters and the paper's settings for the dataset.
fn learner(variant: &dyn Variant, dataset: &TimedDataset, device: &Device) -> Result<Learner> {
    let hyper = variant.check(&Hyper::new())?;
    let default = variant.network(&dataset.name, dataset.network);
    let kind = variant.networks().first().ok_or_else(|| Error::NoNetwork(variant.name()))?;
    let network = &kind.check(&Hyper::new(), default)?;
    let image = dataset.image;
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype: DType::F32, device };
    Ok(Learner::new(variant.build(&build)?, CLASSES, 0, 1e-4)?)
}
