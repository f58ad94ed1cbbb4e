//! Convolution and dense layers with their initial values, and the way to candle-nn's channels-first layers.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Init, VarBuilder};
use lerp_kernels::{Activation, Link, chain, dense};

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvConfig {
    /// Sides of the kernels, an odd number.
    pub kernel: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
}

/// Whether a layer of a chain changes the image's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// It keeps it.
    None,
    /// Its input is enlarged by two, each pixel to a block.
    Up,
    /// Its output is averaged over 2x2 blocks.
    Down,
}

/// A convolution that keeps the image's size, with bias and activation, channels last.
///
/// candle-nn's `Conv2d` is channels first and begins from Kaiming's uniform distribution; the paper's layers begin from
/// `N(0, 1/((1 + 0.2²)·fan_in))`.
#[derive(Debug, Clone)]
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    activation: Activation,
}

impl Conv {
    /// Parameters `weight` `[kernel, kernel, in, out]` and `bias` `[out]` of the builder.
    ///
    /// # Errors
    /// If the builder cannot give them: a name is taken.
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

    /// The layer as a link of a chain.
    pub fn link(&self, resize: Resize) -> Link {
        Link {
            weight: self.weight.clone(),
            bias: self.bias.clone(),
            activation: self.activation,
            upscale: resize == Resize::Up,
            downscale: resize == Resize::Down,
        }
    }

    /// The same layer with its parameters as constants: gradients pass through it but do not reach it.
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
/// candle-nn's `Linear` keeps its weight as `[out, in]`, the reference's code and golden values as `[in, out]`; on a GPU this
/// one is a single launch.
#[derive(Debug, Clone)]
pub struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Parameters `weight` `[inputs, outputs]`, Glorot uniform, and `bias` `[outputs]`, zero, of the builder.
    ///
    /// # Errors
    /// If the builder cannot give them: a name is taken.
    pub fn new(inputs: usize, outputs: usize, builder: &VarBuilder) -> Result<Self> {
        let limit = (6.0 / (inputs + outputs) as f64).sqrt();
        let init = Init::Uniform { lo: -limit, up: limit };
        Ok(Self {
            weight: builder.get_with_hints((inputs, outputs), "weight", init)?,
            bias: builder.get_with_hints(outputs, "bias", candle_nn::init::ZERO)?,
        })
    }

    /// The same layer with its parameters as constants: gradients pass through it but do not reach it.
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

/// A module that takes and gives maps channels first, as candle-nn's convolutions and norms do, in a network whose maps are
/// channels last. Wrap whole networks, not single layers: each wrapping transposes twice.
#[derive(Debug, Clone)]
pub struct ChannelsFirst<M>(pub M);

impl<M: Module> Module for ChannelsFirst<M> {
    /// # Shapes
    /// `[batch, height, width, channels]` to the module's maps, channels last.
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
