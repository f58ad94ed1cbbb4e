//! The encoder and decoder that all variants share (protocol: appendix A of the paper and its code, `lib/layers.py`).

use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use lerp_core::{AUTOENCODER, Build, LatentShape, Network, ParamStore, Result, Spec};
use lerp_kernels::{Activation, chain};

use crate::{Conv, ConvConfig, Resize};

/// 1x1 convolution without activation; per scale two 3x3 convolutions with leaky ReLU and a mean over 2x2 blocks; one
/// more with leaky ReLU and one without, to the latent's channels.
#[derive(Debug, Clone)]
pub struct Encoder {
    first: Conv,
    scales: Vec<[Conv; 2]>,
    last: [Conv; 2],
}

impl Encoder {
    /// An encoder of images with so many channels; parameters `conv{i}.*` of the builder, numbered in order.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(channels: usize, network: Network, builder: &VarBuilder) -> Result<Self> {
        let mut conv = numbered(builder);
        let first = conv(1, [channels, network.depth], Activation::Linear)?;
        let mut width = network.depth;
        let mut scales = Vec::new();
        for scale in 0..network.scales {
            let depth = network.depth << scale;
            scales.push([
                conv(3, [width, depth], Activation::LEAKY)?,
                conv(3, [depth, depth], Activation::LEAKY)?,
            ]);
            width = depth;
        }
        let depth = network.depth << network.scales;
        let last = [
            conv(3, [width, depth], Activation::LEAKY)?,
            conv(3, [depth, network.latent], Activation::Linear)?,
        ];
        Ok(Self { first, scales, last })
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

impl Module for Encoder {
    /// # Shapes
    /// Images `[batch, height, width, channels]` to `[batch, height >> scales, width >> scales, latent]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut links = vec![self.first.link(Resize::None)];
        for [a, b] in &self.scales {
            links.extend([a.link(Resize::None), b.link(Resize::Down)]);
        }
        links.extend(self.last.each_ref().map(|conv| conv.link(Resize::None)));
        chain(x, &links)
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
    /// A decoder to images with so many channels; parameters `conv{i}.*` of the builder, numbered in order.
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(channels: usize, network: Network, builder: &VarBuilder) -> Result<Self> {
        let mut conv = numbered(builder);
        let mut width = network.latent;
        let mut scales = Vec::new();
        for scale in (0..network.scales).rev() {
            let depth = network.depth << scale;
            scales.push([
                conv(3, [width, depth], Activation::LEAKY)?,
                conv(3, [depth, depth], Activation::LEAKY)?,
            ]);
            width = depth;
        }
        let last = [
            conv(3, [width, network.depth], Activation::LEAKY)?,
            conv(3, [network.depth, channels], Activation::Linear)?,
        ];
        Ok(Self { scales, last })
    }
}

impl Module for Decoder {
    /// # Shapes
    /// Latents `[batch, h, w, latent]` to images `[batch, h << scales, w << scales, channels]`.
    fn forward(&self, z: &Tensor) -> candle_core::Result<Tensor> {
        let mut links = Vec::new();
        for [a, b] in self.scales.iter().chain([&self.last]) {
            // Each pair but the first sees the enlarged maps of the one before.
            let resize = if links.is_empty() { Resize::None } else { Resize::Up };
            links.extend([a.link(resize), b.link(Resize::None)]);
        }
        chain(z, &links)
    }
}

/// Makes convolutions named `conv0`, `conv1`, ... from a kernel's side, input and output channels and an activation.
fn numbered(builder: &VarBuilder) -> impl FnMut(usize, [usize; 2], Activation) -> Result<Conv> {
    let mut next = 0;
    move |kernel, [in_channels, out_channels], activation| {
        let config = ConvConfig { kernel, in_channels, out_channels };
        let conv = Conv::new(config, activation, &builder.pp(format!("conv{next}")))?;
        next += 1;
        Ok(conv)
    }
}

/// What every variant of the paper has: a specification, its parameters, an encoder (`enc`) and a decoder (`dec`).
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
    network: Network,
}

impl Coder {
    /// Encoder and decoder with fresh parameters.
    ///
    /// # Errors
    /// If the network is not the paper's, or does not fit the images.
    pub fn new(variant: &str, build: &Build) -> Result<Self> {
        let network = build.network.only_paper(variant)?;
        let latent = network.latent_shape(build.image)?;
        let mut store = ParamStore::new(build.seed, build.dtype, build.device);
        let channels = build.image.channels;
        let builder = store.builder(AUTOENCODER);
        let encoder = Encoder::new(channels, network, &builder.pp("enc"))?;
        let decoder = Decoder::new(channels, network, &builder.pp("dec"))?;
        drop(builder);
        let spec = build.spec(variant, LatentShape::new(latent));
        Ok(Self { spec, store, encoder, decoder, network })
    }

    /// The size of its encoder and decoder.
    pub fn network(&self) -> Network {
        self.network
    }

    /// A flat latent in its own shape.
    ///
    /// # Shapes
    /// `[batch, h·w·c]` to `[batch, h, w, c]`.
    pub fn unflatten(&self, flat: &Tensor) -> Result<Tensor> {
        Ok(flat.reshape(self.spec.shape.batch(flat.dim(0)?))?)
    }
}
