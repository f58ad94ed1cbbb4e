//! Parameters and buffers, ordered and grouped.

use candle_core::{DType, Device, Tensor, Var};

use crate::{Draws, Error, Result};

/// A set of parameters that one loss moves with one optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group(pub &'static str);

/// The encoder, the decoder and whatever stands between them.
pub const AUTOENCODER: Group = Group("autoencoder");
/// The adversary: ACAI's critic, the AAE's discriminator.
pub const CRITIC: Group = Group("critic");

/// A trained tensor.
#[derive(Debug, Clone)]
pub struct Param {
    /// Unique name, such as `enc.conv0.weight`.
    pub name: String,
    /// The group whose loss moves it.
    pub group: Group,
    /// Its value.
    pub var: Var,
}

/// A tensor that is state but is not trained by gradient, such as a codebook of moving averages.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// Unique name.
    pub name: String,
    /// Its value.
    pub var: Var,
}

/// All parameters and buffers of a model, in the order in which they were added: optimisers, checkpoints and sums over
/// parameters go through them in this order and no other.
#[derive(Debug, Clone)]
pub struct ParamStore {
    params: Vec<Param>,
    buffers: Vec<Buffer>,
    init: Draws,
    dtype: DType,
}

impl ParamStore {
    /// An empty store whose initial values are drawn from `seed`, kept as `dtype` on `device`.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        let init = Draws::new(seed, device).scope("init").with_dtype(dtype);
        Self { params: Vec::new(), buffers: Vec::new(), init, dtype }
    }

    /// The draws for initial values; an initialiser names its stream after the parameter.
    pub fn init(&self) -> &Draws {
        &self.init
    }

    /// The type in which values are kept.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device on which values are kept.
    pub fn device(&self) -> &Device {
        self.init.device()
    }

    /// Adds a parameter and returns the tensor that follows its value from now on.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn add(&mut self, name: &str, group: Group, value: &Tensor) -> Result<Tensor> {
        self.check_new(name)?;
        let var = Var::from_tensor(&value.to_dtype(self.dtype)?)?;
        self.params.push(Param { name: name.into(), group, var: var.clone() });
        Ok(var.as_tensor().clone())
    }

    /// Adds a buffer and returns a handle through which it is read and set.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn add_buffer(&mut self, name: &str, value: &Tensor) -> Result<Var> {
        self.check_new(name)?;
        let var = Var::from_tensor(&value.to_dtype(self.dtype)?)?;
        self.buffers.push(Buffer { name: name.into(), var: var.clone() });
        Ok(var)
    }

    /// All parameters, in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// All buffers, in order.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The groups, in order of first appearance.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups = Vec::new();
        for param in &self.params {
            if !groups.contains(&param.group) {
                groups.push(param.group);
            }
        }
        groups
    }

    /// Every parameter and buffer by name, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Var)> {
        let params = self.params.iter().map(|p| (p.name.as_str(), &p.var));
        params.chain(self.buffers.iter().map(|b| (b.name.as_str(), &b.var)))
    }

    /// Sets the parameter or buffer `name`.
    ///
    /// # Errors
    /// If there is none of that name, or its shape differs.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let bad = |problem: String| Error::BadParameter { name: name.into(), problem };
        let var = self.entries().find(|(n, _)| *n == name).map(|(_, v)| v);
        let var = var.ok_or_else(|| bad("the model has none of that name".into()))?;
        if var.dims() != value.dims() {
            return Err(bad(format!("is {:?} in the model, {:?} given", var.dims(), value.dims())));
        }
        Ok(var.set(&value.to_dtype(self.dtype)?.to_device(self.device())?.contiguous()?)?)
    }

    fn check_new(&self, name: &str) -> Result<()> {
        if self.entries().any(|(n, _)| n == name) {
            return Err(Error::BadParameter { name: name.into(), problem: "is added twice".into() });
        }
        Ok(())
    }
}
