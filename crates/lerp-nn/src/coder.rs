//! The encoder and decoder that all variants of the paper share (appendix A of the paper and its code,
//! `lib/layers.py`).

use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use lerp_core::{AUTOENCODER, Build, LatentShape, Network, ParamStore, Result, Spec};
use lerp_kernels::{Activation, chain};

use crate::{Conv, ConvConfig, Resize};

/// The encoder: a 1x1 convolution without activation; for each scale two 3x3 convolutions with leaky ReLU and
/// an average pooling over 2x2 blocks; one more 3x3 convolution with leaky ReLU, and one without activation to
/// the latent's channels.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use lerp_core::{AUTOENCODER, Network, ParamStore};
/// use lerp_nn::{Decoder, Encoder};
///
/// let network = Network { scales: 2, depth: 4, latent: 3 };
/// let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let builder = store.builder(AUTOENCODER);
/// let encoder = Encoder::new(1, network, &builder.pp("enc"))?;
/// let decoder = Decoder::new(1, network, &builder.pp("dec"))?;
/// drop(builder);
///
/// let images = Tensor::zeros((2, 16, 16, 1), DType::F32, &Device::Cpu)?;
/// let latents = encoder.forward(&images)?;
/// assert_eq!(latents.dims(), [2, 4, 4, 3]);
/// assert_eq!(decoder.forward(&latents)?.dims(), images.dims());
///
/// // A frozen copy has the same weights, and passes no gradient to them.
/// let gradients = encoder.frozen().forward(&images)?.sum_all()?.backward()?;
/// assert!(store.params().iter().all(|param| gradients.get(param.var.as_tensor()).is_none()));
/// # Ok::<(), lerp_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Encoder {
    first: Conv,
    scales: Vec<[Conv; 2]>,
    last: [Conv; 2],
}

impl Encoder {
    /// Makes an encoder of images with `channels` channels. Its parameters are `conv{i}.*` in `builder`,
    /// numbered in order.
    ///
    /// # Errors
    /// Returns an error if a parameter of the same name exists already.
    pub fn new(channels: usize, network: Network, builder: &VarBuilder) -> Result<Self> {
        let mut conv = numbered(builder);
        let first = conv(
            ConvConfig { kernel: 1, in_channels: channels, out_channels: network.depth },
            Activation::Linear,
        )?;
        let mut width = network.depth;
        let mut scales = Vec::new();
        for scale in 0..network.scales {
            let depth = network.depth << scale;
            scales.push([
                conv(ConvConfig { kernel: 3, in_channels: width, out_channels: depth }, Activation::LEAKY)?,
                conv(ConvConfig { kernel: 3, in_channels: depth, out_channels: depth }, Activation::LEAKY)?,
            ]);
            width = depth;
        }
        let depth = network.depth << network.scales;
        let last = [
            conv(ConvConfig { kernel: 3, in_channels: width, out_channels: depth }, Activation::LEAKY)?,
            conv(
                ConvConfig { kernel: 3, in_channels: depth, out_channels: network.latent },
                Activation::Linear,
            )?,
        ];
        Ok(Self { first, scales, last })
    }

    /// Returns the same network with constant parameters: gradients pass through it to its input, but its
    /// parameters get none.
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

/// The decoder: for each scale, from the coarsest, two 3x3 convolutions with leaky ReLU and an upsampling by
/// two; one more 3x3 convolution with leaky ReLU, and one without activation to the image's channels. [`Encoder`] has an
/// example.
#[derive(Debug, Clone)]
pub struct Decoder {
    scales: Vec<[Conv; 2]>,
    last: [Conv; 2],
}

impl Decoder {
    /// Makes a decoder to images with `channels` channels. Its parameters are `conv{i}.*` in `builder`,
    /// numbered in order.
    ///
    /// # Errors
    /// Returns an error if a parameter of the same name exists already.
    pub fn new(channels: usize, network: Network, builder: &VarBuilder) -> Result<Self> {
        let mut conv = numbered(builder);
        let mut width = network.latent;
        let mut scales = Vec::new();
        for scale in (0..network.scales).rev() {
            let depth = network.depth << scale;
            scales.push([
                conv(ConvConfig { kernel: 3, in_channels: width, out_channels: depth }, Activation::LEAKY)?,
                conv(ConvConfig { kernel: 3, in_channels: depth, out_channels: depth }, Activation::LEAKY)?,
            ]);
            width = depth;
        }
        let last = [
            conv(
                ConvConfig { kernel: 3, in_channels: width, out_channels: network.depth },
                Activation::LEAKY,
            )?,
            conv(
                ConvConfig { kernel: 3, in_channels: network.depth, out_channels: channels },
                Activation::Linear,
            )?,
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
            // The input of each pair of convolutions except the first is upsampled.
            let resize = if links.is_empty() { Resize::None } else { Resize::Up };
            links.extend([a.link(resize), b.link(Resize::None)]);
        }
        chain(z, &links)
    }
}

/// Returns a function that makes convolutions named `conv0`, `conv1` and so on.
fn numbered(builder: &VarBuilder) -> impl FnMut(ConvConfig, Activation) -> Result<Conv> {
    let mut next = 0;
    move |config, activation| {
        let conv = Conv::new(config, activation, &builder.pp(format!("conv{next}")))?;
        next += 1;
        Ok(conv)
    }
}

/// The common part of the paper's variants: a specification, parameters, an encoder (`enc`) and a decoder
/// (`dec`).
///
/// ```
/// use candle_core::{DType, Device, Module};
/// use lerp_core::{Build, Draws, Hyper, ImageShape, Network};
/// use lerp_nn::{Coder, mean_squared_error};
///
/// let build = Build {
///     image: ImageShape { height: 32, width: 32, channels: 1 },
///     network: &Network { scales: 4, depth: 4, latent: 2 }.into(),
///     hyper: &Hyper::new(),
///     seed: 0,
///     dtype: DType::F32,
///     device: &Device::Cpu,
/// };
/// let coder = Coder::new("my-variant", &build)?;
/// let x = Draws::new(1, &Device::Cpu).uniform("images", (3, 32, 32, 1))?;
/// let z = coder.encoder.forward(&x)?;
/// assert_eq!(z.dims(), [3, 2, 2, 2]);
/// let decoded = coder.decoder.forward(&z)?;
/// assert_eq!(decoded.dims(), x.dims());
/// assert_eq!(mean_squared_error(&decoded, &x)?.rank(), 0);
/// # Ok::<(), lerp_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Coder {
    /// The specification of the model.
    pub spec: Spec,
    /// The parameters; a variant adds its own.
    pub store: ParamStore,
    /// The encoder.
    pub encoder: Encoder,
    /// The decoder.
    pub decoder: Decoder,
    network: Network,
}

impl Coder {
    /// Makes an encoder and a decoder with initial values drawn from the seed.
    ///
    /// # Errors
    /// Returns an error if the network is not the paper's, or does not fit the images.
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

    /// The size of the encoder and decoder.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Reshapes flat latents to the shape of the model's latents.
    ///
    /// # Shapes
    /// `[batch, h·w·c]` to `[batch, h, w, c]`.
    pub fn unflatten(&self, flat: &Tensor) -> Result<Tensor> {
        Ok(flat.reshape(self.spec.shape.batch(flat.dim(0)?))?)
    }
}
