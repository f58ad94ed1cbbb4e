//! The parameters and buffers of a model, ordered and grouped.

use candle_core::{DType, Device, Tensor, Var};

use crate::{Draws, Error, Result};

/// A group of parameters, updated with one loss by one optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Group(pub &'static str);

/// The group of the encoder, the decoder and all layers between them.
pub const AUTOENCODER: Group = Group("autoencoder");
/// The group of the adversary: ACAI's critic or the AAE's discriminator.
pub const CRITIC: Group = Group("critic");

/// A trainable tensor.
#[derive(Debug, Clone)]
pub struct Param {
    /// The unique name, such as `enc.conv0.weight`.
    pub name: String,
    /// The group whose loss updates the parameter.
    pub group: Group,
    /// The variable that holds the value.
    pub var: Var,
}

/// A tensor that is part of a model's state but not trained by gradients, such as a codebook of moving
/// averages.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// The unique name.
    pub name: String,
    /// The variable that holds the value.
    pub var: Var,
}

/// All parameters and buffers of a model, in the order in which they were added. Optimisers, checkpoints and
/// sums over parameters all use this order.
///
/// Layers make their parameters through [`ParamStore::builder`]. Tensors without a layer are added one by one:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use lerp_core::{AUTOENCODER, ParamStore};
///
/// let mut store = ParamStore::new(7, DType::F32, &Device::Cpu);
/// let start = store.init().normal("scale", 3)?;
/// let scale = store.add("scale", AUTOENCODER, &start)?;
/// let mean = store.add_buffer("mean", &start.zeros_like()?)?;
/// assert_eq!(mean.dims(), [3]);
///
/// // The tensor shares the storage of the parameter, and so has its new value.
/// store.set("scale", &start.ones_like()?)?;
/// assert_eq!(scale.to_vec1::<f32>()?, [1.0; 3]);
///
/// let names: Vec<&str> = store.entries().map(|(name, _)| name).collect();
/// assert_eq!(names, ["scale", "mean"]);
/// assert_eq!(store.groups(), [AUTOENCODER]);
/// # Ok::<(), lerp_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ParamStore {
    params: Vec<Param>,
    buffers: Vec<Buffer>,
    init: Draws,
    dtype: DType,
}

impl ParamStore {
    /// An empty store. Initial values are drawn with `seed` and stored as `dtype` on `device`.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        let init = Draws::new(seed, device).scope("init").with_dtype(dtype);
        Self { params: Vec::new(), buffers: Vec::new(), init, dtype }
    }

    /// The draws for initial values. An initialiser uses a stream named after the parameter.
    pub fn init(&self) -> &Draws {
        &self.init
    }

    /// The data type of the values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device of the values.
    pub fn device(&self) -> &Device {
        self.init.device()
    }

    /// Adds a parameter, and returns a tensor that shares its storage and so always has its current value.
    ///
    /// # Errors
    /// Returns an error if the name exists already.
    pub fn add(&mut self, name: &str, group: Group, value: &Tensor) -> Result<Tensor> {
        self.check_new(name)?;
        let var = Var::from_tensor(&value.to_dtype(self.dtype)?)?;
        self.params.push(Param { name: name.into(), group, var: var.clone() });
        Ok(var.as_tensor().clone())
    }

    /// Adds a buffer, and returns the variable through which it is read and set.
    ///
    /// # Errors
    /// Returns an error if the name exists already.
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

    /// All parameters and buffers with their names, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Var)> {
        let params = self.params.iter().map(|p| (p.name.as_str(), &p.var));
        params.chain(self.buffers.iter().map(|b| (b.name.as_str(), &b.var)))
    }

    /// Sets the value of the parameter or buffer called `name`.
    ///
    /// # Errors
    /// Returns an error if there is no parameter or buffer of that name, or its shape differs from that of
    /// `value`.
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
