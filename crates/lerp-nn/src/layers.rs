//! Convolution and dense layers with the paper's initial values, and an adapter for candle-nn's channels-first
//! layers.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use lerp_kernels::{Activation, Link, chain, dense};

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvConfig {
    /// Kernel size (height and width), an odd number.
    pub kernel: usize,
    /// Number of input channels.
    pub in_channels: usize,
    /// Number of output channels.
    pub out_channels: usize,
}

/// A change of the image's size by a layer of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// The size stays the same.
    None,
    /// The input is upsampled by two (nearest neighbour).
    Up,
    /// The output is averaged over 2x2 blocks.
    Down,
}

/// A convolution with stride 1, "same" padding, bias and activation; channels last.
///
/// candle-nn's `Conv2d` is channels first and is initialised from Kaiming's uniform distribution; the paper's
/// layers are initialised from `N(0, 1/((1 + 0.2²)·fan_in))`.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use lerp_core::{AUTOENCODER, ParamStore};
/// use lerp_kernels::Activation;
/// use lerp_nn::{Conv, ConvConfig};
///
/// let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let config = ConvConfig { kernel: 3, in_channels: 1, out_channels: 8 };
/// let conv = Conv::new(config, Activation::LEAKY, &store.builder(AUTOENCODER).pp("conv0"))?;
/// let images = Tensor::zeros((2, 16, 16, 1), DType::F32, &Device::Cpu)?;
/// assert_eq!(conv.forward(&images)?.dims(), [2, 16, 16, 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    activation: Activation,
}

impl Conv {
    /// Makes a convolution with the parameters `weight` `[kernel, kernel, in, out]` and `bias` `[out]` in
    /// `builder`.
    ///
    /// # Errors
    /// Returns an error if a parameter of the same name exists already.
    pub fn new(config: ConvConfig, activation: Activation, builder: &VarBuilder) -> Result<Self> {
        let ConvConfig { kernel, in_channels, out_channels } = config;
        let scale = 1.0 / ((1.0 + 0.2 * 0.2) * (kernel * kernel * in_channels) as f64).sqrt();
        let shape = (kernel, kernel, in_channels, out_channels);
        let init = Init::Randn { mean: 0.0, stdev: scale };
        Ok(Self {
            weight: builder.get_with_hints(shape, "weight", init)?,
            bias: builder.get_with_hints(out_channels, "bias", candle_nn::init::ZERO)?,
            activation,
        })
    }

    /// Returns the layer as a link of a chain of convolutions.
    pub fn link(&self, resize: Resize) -> Link {
        Link {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            activation: self.activation,
            upscale: resize == Resize::Up,
            downscale: resize == Resize::Down,
        }
    }

    /// Returns the same layer with constant parameters: gradients pass through it to its input, but its
    /// parameters get none.
    #[must_use]
    pub fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach(), activation: self.activation }
    }
}

impl Module for Conv {
    /// # Shapes
    /// `[batch, height, width, in]` to `[batch, height, width, out]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        chain(x, &[self.link(Resize::None)])
    }
}

/// A dense layer `x·weight + bias`.
///
/// candle-nn's `Linear` stores its weight as `[out, in]`, the paper's code and the golden values as
/// `[in, out]`. On a GPU this layer is a single kernel launch.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use lerp_core::{CRITIC, ParamStore};
/// use lerp_nn::Dense;
///
/// let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let dense = Dense::new(64, 10, &store.builder(CRITIC).pp("dense"))?;
/// let features = Tensor::zeros((2, 64), DType::F32, &Device::Cpu)?;
/// assert_eq!(dense.forward(&features)?.dims(), [2, 10]);
/// let names: Vec<&str> = store.params().iter().map(|param| param.name.as_str()).collect();
/// assert_eq!(names, ["dense.weight", "dense.bias"]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Makes a dense layer with the parameters `weight` `[inputs, outputs]`, Glorot uniform, and `bias`
    /// `[outputs]`, zero, in `builder`.
    ///
    /// # Errors
    /// Returns an error if a parameter of the same name exists already.
    pub fn new(inputs: usize, outputs: usize, builder: &VarBuilder) -> Result<Self> {
        let limit = (6.0 / (inputs + outputs) as f64).sqrt();
        let init = Init::Uniform { lo: -limit, up: limit };
        Ok(Self {
            weight: builder.get_with_hints((inputs, outputs), "weight", init)?,
            bias: builder.get_with_hints(outputs, "bias", candle_nn::init::ZERO)?,
        })
    }

    /// Returns the same layer with constant parameters: gradients pass through it to its input, but its
    /// parameters get none.
    #[must_use]
    pub fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach() }
    }
}

impl Module for Dense {
    /// # Shapes
    /// `[batch, inputs]` to `[batch, outputs]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        dense(x, &self.weight, &self.bias)
    }
}

/// An adapter for a module with channels-first feature maps, such as candle-nn's convolutions and norms, in a
/// network with channels-last ones. It should wrap whole networks rather than single layers, because each
/// adapter transposes twice.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use candle_nn::{Conv2dConfig, conv2d};
/// use lerp_core::{AUTOENCODER, ParamStore};
/// use lerp_nn::ChannelsFirst;
///
/// let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let halving = Conv2dConfig { stride: 2, padding: 1, ..Conv2dConfig::default() };
/// let conv = conv2d(3, 8, 3, halving, store.builder(AUTOENCODER).pp("conv"))?;
/// let images = Tensor::zeros((2, 16, 16, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(ChannelsFirst(conv).forward(&images)?.dims(), [2, 8, 8, 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChannelsFirst<M>(pub M);

impl<M: Module> Module for ChannelsFirst<M> {
    /// # Shapes
    /// `[batch, height, width, channels]` to the module's output, channels last.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.permute((0, 3, 1, 2))?.contiguous()?;
        self.0.forward(&x)?.permute((0, 2, 3, 1))?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use lerp_core::{AUTOENCODER, Draws, ParamStore};

    use super::*;

    #[test]
    fn a_channels_first_convolution_behind_the_adapter_is_ours() {
        let mut store = ParamStore::new(4, DType::F64, &Device::Cpu);
        let builder = store.builder(AUTOENCODER);
        let config = ConvConfig { kernel: 3, in_channels: 2, out_channels: 5 };
        let ours = Conv::new(config, Activation::Linear, &builder.pp("ours")).unwrap();
        let weight = ours.weight.permute((3, 2, 0, 1)).unwrap().contiguous().unwrap();
        let config = candle_nn::Conv2dConfig { padding: 1, ..Default::default() };
        let theirs = ChannelsFirst(candle_nn::Conv2d::new(weight, Some(ours.bias.clone()), config));
        let x = Draws::new(1, &Device::Cpu).with_dtype(DType::F64).normal("x", (3, 6, 4, 2)).unwrap();
        let (a, b) = (ours.forward(&x).unwrap(), theirs.forward(&x).unwrap());
        assert_eq!((a.dims(), b.dims()), (&[3, 6, 4, 5][..], &[3, 6, 4, 5][..]));
        let apart = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        assert!(apart.to_scalar::<f64>().unwrap() < 1e-12);
    }
}
