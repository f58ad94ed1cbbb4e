//! The encoder and decoder that all variants share (protocol: appendix A of the paper and its code, `lib/layers.py`).

use candle_core::Tensor;
use lerp_core::{AUTOENCODER, Build, Group, LatentShape, Network, ParamStore, Result, Spec};
use lerp_kernels::{Activation, chain};

use crate::Conv;

/// 1x1 convolution without activation; per scale two 3x3 convolutions with leaky ReLU and a mean over 2x2 blocks; one
/// more with leaky ReLU and one without, to the latent's channels.
#[derive(Debug, Clone)]
pub struct Encoder {
    first: Conv,
    scales: Vec<[Conv; 2]>,
    last: [Conv; 2],
}

impl Encoder {
    /// An encoder with parameters `{prefix}.conv{i}.*`, numbered in order.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(
        store: &mut ParamStore,
        prefix: &str,
        group: Group,
        channels: usize,
        network: Network,
    ) -> Result<Self> {
        let mut conv = numbered(store, prefix, group);
        let first = conv([1, channels, network.depth], Activation::Linear)?;
        let mut width = network.depth;
        let mut scales = Vec::new();
        for scale in 0..network.scales {
            let depth = network.depth << scale;
            scales.push([
                conv([3, width, depth], Activation::LEAKY)?,
                conv([3, depth, depth], Activation::LEAKY)?,
            ]);
            width = depth;
        }
        let depth = network.depth << network.scales;
        let last = [
            conv([3, width, depth], Activation::LEAKY)?,
            conv([3, depth, network.latent], Activation::Linear)?,
        ];
        Ok(Self { first, scales, last })
    }

    /// # Shapes
    /// Images `[batch, height, width, channels]` to `[batch, height >> scales, width >> scales, latent]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut links = vec![self.first.link(false, false)];
        for [a, b] in &self.scales {
            links.extend([a.link(false, false), b.link(false, true)]);
        }
        links.extend(self.last.each_ref().map(|conv| conv.link(false, false)));
        Ok(chain(x, &links)?)
    }

    /// The same network with its parameters as constants: gradients pass through it but do not reach it.
    #[must_use]
    pub fn frozen(&self) -> Self {
        Self {
            first: self.first.frozen(),
            scales: self.scales.iter().map(|pair| pair.each_ref().map(Conv::frozen)).collect(),
            last: self.last.each_ref().map(Conv::frozen),
        }
    }
}

/// Per scale, from the coarsest, two 3x3 convolutions with leaky ReLU and an enlargement by two; one more with leaky
/// ReLU and one without, to the image's channels.
#[derive(Debug, Clone)]
pub struct Decoder {
    scales: Vec<[Conv; 2]>,
    last: [Conv; 2],
}

impl Decoder {
    /// A decoder with parameters `{prefix}.conv{i}.*`, numbered in order.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(
        store: &mut ParamStore,
        prefix: &str,
        group: Group,
        channels: usize,
        network: Network,
    ) -> Result<Self> {
        let mut conv = numbered(store, prefix, group);
        let mut width = network.latent;
        let mut scales = Vec::new();
        for scale in (0..network.scales).rev() {
            let depth = network.depth << scale;
            scales.push([
                conv([3, width, depth], Activation::LEAKY)?,
                conv([3, depth, depth], Activation::LEAKY)?,
            ]);
            width = depth;
        }
        let last = [
            conv([3, width, network.depth], Activation::LEAKY)?,
            conv([3, network.depth, channels], Activation::Linear)?,
        ];
        Ok(Self { scales, last })
    }

    /// # Shapes
    /// Latents `[batch, h, w, latent]` to images `[batch, h << scales, w << scales, channels]`.
    pub fn forward(&self, z: &Tensor) -> Result<Tensor> {
        let mut links = Vec::new();
        for (i, [a, b]) in self.scales.iter().enumerate() {
            links.extend([a.link(i > 0, false), b.link(false, false)]);
        }
        let [a, b] = &self.last;
        links.extend([a.link(!self.scales.is_empty(), false), b.link(false, false)]);
        Ok(chain(z, &links)?)
    }
}

/// Makes convolutions named `{prefix}.conv0`, `{prefix}.conv1`, ...
fn numbered(
    store: &mut ParamStore,
    prefix: &str,
    group: Group,
) -> impl FnMut([usize; 3], Activation) -> Result<Conv> {
    let mut next = 0;
    move |sizes, activation| {
        let conv = Conv::new(store, &format!("{prefix}.conv{next}"), group, sizes, activation);
        next += 1;
        conv
    }
}

/// What every variant has: a specification, its parameters, an encoder (`enc`) and a decoder (`dec`).
#[derive(Debug)]
pub struct Coder {
    /// What this model is.
    pub spec: Spec,
    /// Parameters; a variant adds its own.
    pub store: ParamStore,
    /// The encoder.
    pub encoder: Encoder,
    /// The decoder.
    pub decoder: Decoder,
}

impl Coder {
    /// Encoder and decoder with fresh parameters.
    ///
    /// # Errors
    /// If the network does not fit the images.
    pub fn new(variant: &str, build: &Build) -> Result<Self> {
        let latent = build.network.latent_shape(build.image)?;
        let mut store = ParamStore::new(build.seed, build.dtype, build.device);
        let channels = build.image.channels;
        let encoder = Encoder::new(&mut store, "enc", AUTOENCODER, channels, build.network)?;
        let decoder = Decoder::new(&mut store, "dec", AUTOENCODER, channels, build.network)?;
        let spec = Spec {
            variant: variant.into(),
            image: build.image,
            network: build.network,
            latent,
            features: latent.dims(),
            hyper: build.hyper.clone(),
        };
        Ok(Self { spec, store, encoder, decoder })
    }

    /// A flat latent in its own shape.
    ///
    /// # Shapes
    /// `[batch, h·w·c]` to `[batch, h, w, c]`.
    pub fn unflatten(&self, flat: &Tensor) -> Result<Tensor> {
        let LatentShape { height, width, channels } = self.spec.latent;
        Ok(flat.reshape((flat.dim(0)?, height, width, channels))?)
    }
}
