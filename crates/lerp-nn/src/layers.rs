//! Convolution and dense layers with their initial values.

use candle_core::Tensor;
use lerp_core::{Group, ParamStore, Result};
use lerp_kernels::{Activation, Link, dense};

/// A convolution that keeps the image's size, with bias and activation.
#[derive(Debug, Clone)]
pub struct Conv {
    weight: Tensor,
    bias: Tensor,
    activation: Activation,
}

impl Conv {
    /// Parameters `{name}.weight` `[k, k, cin, cout]` and `{name}.bias` `[cout]`.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn new(
        store: &mut ParamStore,
        name: &str,
        group: Group,
        [k, cin, cout]: [usize; 3],
        activation: Activation,
    ) -> Result<Self> {
        let weight_name = format!("{name}.weight");
        let scale = 1.0 / ((1.0 + 0.2 * 0.2) * (k * k * cin) as f64).sqrt();
        let weight = (store.init().normal(&weight_name, (k, k, cin, cout))? * scale)?;
        let bias = Tensor::zeros(cout, store.dtype(), store.device())?;
        Ok(Self {
            weight: store.add(&weight_name, group, &weight)?,
            bias: store.add(&format!("{name}.bias"), group, &bias)?,
            activation,
        })
    }

    /// The layer as a link of a chain, its input enlarged by two or its output averaged over 2x2 blocks if so wanted.
    pub fn link(&self, upscale: bool, downscale: bool) -> Link {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        Link { weight, bias, activation: self.activation, upscale, downscale }
    }

    /// The same layer with its parameters as constants: gradients pass through it but do not reach it.
    #[must_use]
    pub fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach(), activation: self.activation }
    }
}

/// A dense layer `x·weight + bias`.
#[derive(Debug, Clone)]
pub struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Parameters `{name}.weight` `[inputs, outputs]`, Glorot uniform, and `{name}.bias` `[outputs]`, zero.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn new(
        store: &mut ParamStore,
        name: &str,
        group: Group,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        let weight_name = format!("{name}.weight");
        let limit = (6.0 / (inputs + outputs) as f64).sqrt();
        let uniform = store.init().uniform(&weight_name, (inputs, outputs))?;
        let weight = uniform.affine(2.0 * limit, -limit)?;
        let bias = Tensor::zeros(outputs, store.dtype(), store.device())?;
        Ok(Self {
            weight: store.add(&weight_name, group, &weight)?,
            bias: store.add(&format!("{name}.bias"), group, &bias)?,
        })
    }

    /// # Shapes
    /// `[batch, inputs]` to `[batch, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(dense(x, &self.weight, &self.bias)?)
    }

    /// The same layer with its parameters as constants: gradients pass through it but do not reach it.
    #[must_use]
    pub fn frozen(&self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach() }
    }
}
