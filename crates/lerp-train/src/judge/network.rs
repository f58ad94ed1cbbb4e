//! The network of a judge: a small convolutional classifier.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::ops::softmax;
use lerp_core::{Group, ImageShape, ParamStore};
use lerp_kernels::{Activation, Link, chain, leaky_relu};
use lerp_nn::{Conv, ConvConfig, Dense, Resize};

use crate::Result;

/// The parameter group of a judge.
const JUDGE: Group = Group("judge");
/// Output channels of the convolutions in order; further convolutions have as many as the last one.
const CHANNELS: [usize; 3] = [16, 32, 64];
/// The width of the penultimate layer, whose output is the feature space of the scores.
const FEATURES: usize = 64;
/// The side length, in pixels, at or below which images are not downscaled further.
const SMALL: usize = 4;

/// A classifier of 3x3 convolutions with leaky ReLU, each followed by 2x2 mean pooling as long as height and width
/// are even and above four; then two dense layers with leaky ReLU between them.
pub(super) struct Classifier {
    pub store: ParamStore,
    links: Vec<Link>,
    hidden: Dense,
    output: Dense,
}

impl Classifier {
    /// Builds a network with freshly initialised parameters that distinguishes `classes` classes.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn new(image: ImageShape, classes: usize) -> Result<Self> {
        let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
        let builder = store.builder(JUDGE);
        let ImageShape { mut height, mut width, channels: mut in_channels } = image;
        let mut links = Vec::new();
        for layer in 0.. {
            let halved = |side: usize| side.is_multiple_of(2) && side > SMALL;
            let halves = halved(height) && halved(width);
            let out_channels = CHANNELS[layer.min(CHANNELS.len() - 1)];
            let config = ConvConfig { kernel: 3, in_channels, out_channels };
            let conv = Conv::new(config, Activation::LEAKY, &builder.pp(format!("conv{layer}")))?;
            links.push(conv.link(if halves { Resize::Down } else { Resize::None }));
            in_channels = out_channels;
            if !halves {
                break;
            }
            (height, width) = (height / 2, width / 2);
        }
        let hidden = Dense::new(height * width * in_channels, FEATURES, &builder.pp("hidden"))?;
        let output = Dense::new(FEATURES, classes, &builder.pp("output"))?;
        drop(builder);
        Ok(Self { store, links, hidden, output })
    }

    /// Returns the features and the logits of images.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, 64]` and `[batch, classes]`.
    pub fn forward(&self, images: &Tensor) -> Result<[Tensor; 2]> {
        let maps = chain(images, &self.links)?.flatten_from(1)?;
        let features = leaky_relu(&self.hidden.forward(&maps)?, 0.2)?;
        let logits = self.output.forward(&features)?;
        Ok([features, logits])
    }
}

/// Returns the most probable class of each image, and its probability.
///
/// # Shapes
/// `[images, classes]`.
pub(super) fn most_probable(logits: &Tensor) -> Result<(Vec<u32>, Vec<f32>)> {
    let classes = logits.argmax(1)?.to_vec1::<u32>()?;
    let probabilities = softmax(logits, 1)?.max(1)?.to_vec1::<f32>()?;
    Ok((classes, probabilities))
}
