//! A `VarBuilder` of candle-nn whose tensors are the parameters of one group of a [`ParamStore`].

use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{Init, VarBuilder, init::NormalOrUniform, var_builder::SimpleBackend};

use crate::{Draws, Group, ParamStore};

impl ParamStore {
    /// Returns a builder for layers of candle-nn and of `lerp-nn`. A tensor made with it becomes a parameter of
    /// `group`, named with the builder's prefix, in the order of creation; each name can be used once. Its
    /// initial value is distributed as the layer's [`Init`] says, and drawn from the store's draws in a stream
    /// named after the parameter.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use lerp_core::{AUTOENCODER, ParamStore};
    ///
    /// let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
    /// let builder = store.builder(AUTOENCODER);
    /// let layer = candle_nn::linear(3, 2, builder.pp("head"))?;
    /// # let _ = layer;
    /// drop(builder);
    /// let names: Vec<&str> = store.entries().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["head.weight", "head.bias"]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn builder(&mut self, group: Group) -> VarBuilder<'_> {
        let (dtype, device) = (self.dtype(), self.device().clone());
        let backend: Box<dyn SimpleBackend + '_> = Box::new(OfGroup { store: Mutex::new(self), group });
        VarBuilder::from_backend(backend, dtype, device)
    }
}

/// The backend of a [`VarBuilder`] for the parameters of one group.
struct OfGroup<'a> {
    /// The store, in a mutex because candle-nn's builders are shared and may cross threads.
    store: Mutex<&'a mut ParamStore>,
    group: Group,
}

impl SimpleBackend for OfGroup<'_> {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if dtype != store.dtype() || !device.same_device(store.device()) {
            candle_core::bail!(
                "parameter '{name}' is wanted as {dtype:?} on {:?}, but the model's are {:?} on {:?}",
                device.location(),
                store.dtype(),
                store.device().location()
            );
        }
        // candle-nn's batch norm copies these tensors into variables of its own, which would be in no
        // checkpoint.
        if name.ends_with("running_mean") || name.ends_with("running_var") {
            candle_core::bail!(
                "'{name}': batch norm keeps moving averages outside of the model's parameters, so that a resumed run would \
                 differ; use group norm or layer norm"
            );
        }
        let value = draw(store.init(), name, &shape, init, dtype)?;
        store.add(name, self.group, &value).map_err(candle_core::Error::wrap)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("parameter '{name}' is wanted without its shape, which a new model needs")
    }

    /// Whether a parameter called `name` has been made. Layers use this to find out what a file of weights
    /// contains; a new model has nothing until it is made.
    fn contains_tensor(&self, name: &str) -> bool {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.entries().any(|(taken, _)| taken == name)
    }
}

/// Draws the initial value of a parameter: the same distribution as [`Init::var`], with `draws` in place of the
/// device's random number generator.
fn draw(draws: &Draws, name: &str, shape: &Shape, init: Init, dtype: DType) -> Result<Tensor> {
    let normal = |mean: f64, deviation: f64| draws.normal(name, shape)?.affine(deviation, mean);
    let uniform = |low: f64, high: f64| draws.uniform(name, shape)?.affine(high - low, low);
    match init {
        Init::Const(value) => Tensor::zeros(shape, dtype, draws.device())?.affine(0.0, value),
        Init::Randn { mean, stdev } => normal(mean, stdev),
        Init::Uniform { lo, up } => uniform(lo, up),
        Init::Kaiming { dist, fan, non_linearity } => {
            let deviation = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                NormalOrUniform::Normal => normal(0.0, deviation),
                NormalOrUniform::Uniform => {
                    let bound = 3_f64.sqrt() * deviation;
                    uniform(-bound, bound)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_nn::init::{FanInOut, NonLinearity};

    use super::*;
    use crate::{AUTOENCODER, CRITIC, scalar};

    fn store(seed: u64) -> ParamStore {
        ParamStore::new(seed, DType::F32, &Device::Cpu)
    }

    fn values(store: &ParamStore, name: &str) -> Vec<f32> {
        let (_, var) = store.entries().find(|(n, _)| *n == name).unwrap();
        var.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn layers_are_registered_in_order_and_drawn_from_the_seed() {
        let build = |seed| {
            let mut store = store(seed);
            let builder = store.builder(AUTOENCODER);
            let config = candle_nn::Conv2dConfig { padding: 1, ..Default::default() };
            candle_nn::conv2d(3, 8, 3, config, builder.pp("enc.conv")).unwrap();
            candle_nn::group_norm(2, 8, 1e-5, builder.pp("enc.norm")).unwrap();
            drop(builder);
            candle_nn::linear(8, 1, store.builder(CRITIC).pp("critic")).unwrap();
            store
        };
        let (a, b, c) = (build(1), build(1), build(2));
        let names: Vec<&str> = a.entries().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "enc.conv.weight",
                "enc.conv.bias",
                "enc.norm.weight",
                "enc.norm.bias",
                "critic.weight",
                "critic.bias"
            ]
        );
        assert_eq!(a.groups(), [AUTOENCODER, CRITIC]);
        for name in names {
            assert_eq!(values(&a, name), values(&b, name));
        }
        assert_ne!(values(&a, "enc.conv.weight"), values(&c, "enc.conv.weight"));
        assert_eq!(values(&a, "enc.norm.weight"), [1.0; 8]);
    }

    #[test]
    fn values_are_distributed_as_their_init_says() {
        let draws = Draws::new(3, &Device::Cpu).with_dtype(DType::F64);
        let shape = Shape::from((40, 50, 3, 3));
        let of = |init| draw(&draws, "x", &shape, init, DType::F64).unwrap();
        let deviation = |x: &Tensor| {
            let mean = scalar(&x.mean_all().unwrap()).unwrap();
            scalar(&(x - mean).unwrap().sqr().unwrap().mean_all().unwrap()).unwrap().sqrt()
        };
        let largest = |x: &Tensor| scalar(&x.abs().unwrap().flatten_all().unwrap().max(0).unwrap()).unwrap();
        let kaiming =
            |dist| of(Init::Kaiming { dist, fan: FanInOut::FanIn, non_linearity: NonLinearity::ReLU });
        let wanted = (2.0 / 450.0_f64).sqrt();
        for x in [kaiming(NormalOrUniform::Normal), kaiming(NormalOrUniform::Uniform)] {
            assert!((deviation(&x) / wanted - 1.0).abs() < 0.02, "{}", deviation(&x));
        }
        assert!(largest(&kaiming(NormalOrUniform::Uniform)) <= 3_f64.sqrt() * wanted);
        assert!(largest(&kaiming(NormalOrUniform::Normal)) > 3_f64.sqrt() * wanted);
        let uniform = of(Init::Uniform { lo: 1.0, up: 3.0 });
        assert!((scalar(&uniform.mean_all().unwrap()).unwrap() - 2.0).abs() < 0.02);
        let normal = of(Init::Randn { mean: -1.0, stdev: 0.5 });
        assert!((deviation(&normal) - 0.5).abs() < 0.01);
        assert_eq!(of(Init::Const(0.3)).flatten_all().unwrap().to_vec1::<f64>().unwrap(), vec![0.3; 18_000]);
    }

    #[test]
    fn what_would_break_a_resume_is_refused() {
        let mut store = store(0);
        let builder = store.builder(AUTOENCODER);
        let error = candle_nn::batch_norm(4, 1e-5, builder.pp("norm")).err().unwrap().to_string();
        assert!(error.contains("'norm.running_mean'") && error.contains("group norm"), "{error}");
        builder.get(2, "twice").unwrap();
        let error = builder.get(2, "twice").unwrap_err().to_string();
        assert!(error.contains("'twice'") && error.contains("added twice"), "{error}");
        assert!(builder.contains_tensor("twice") && !builder.contains_tensor("never"));
        assert!(builder.get_unchecked("twice").is_err());
        let error = builder.to_dtype(DType::F64).get(2, "wide").unwrap_err().to_string();
        assert!(error.contains("F64") && error.contains("F32"), "{error}");
    }
}
