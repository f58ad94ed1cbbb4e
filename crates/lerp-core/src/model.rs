//! Makes a [`Variant`] from a model with a typed configuration, so that hyperparameters are checked and
//! completed in the same way for all.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Autoencoder, Build, Hyper, Network, NetworkKind, Result, Variant, check_hyper, hyper::refuse_null,
};

/// An autoencoder with a typed configuration.
///
/// # Examples
/// A linear autoencoder whose latents are drawn towards zero. The rest of its implementation of [`Autoencoder`], which
/// is not shown here, is like the one in the documentation of that trait.
///
/// ```
/// use lerp_core::{Build, Hyper, Model, ModelVariant, Result, Variant, check_range};
/// # use candle_core::{DType, Device, Module, Tensor};
/// # use lerp_core::{
/// #     AUTOENCODER, Autoencoder, Draws, ImageShape, LatentShape, Network, Objectives, ParamStore, Spec,
/// # };
///
/// /// The hyperparameters, each with a default.
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Config {
///     /// The weight of the mean square of the latents in the loss.
///     shrinkage: f64,
/// }
///
/// impl Default for Config {
///     fn default() -> Self {
///         Self { shrinkage: 0.01 }
///     }
/// }
///
/// struct Shrinking {
///     config: Config,
///     // Specification, parameters and layers.
/// #     spec: Spec,
/// #     store: ParamStore,
/// #     encoder: candle_nn::Linear,
/// #     decoder: candle_nn::Linear,
/// }
///
/// impl Autoencoder for Shrinking {
/// #     fn spec(&self) -> &Spec {
/// #         &self.spec
/// #     }
/// #     fn params(&self) -> &ParamStore {
/// #         &self.store
/// #     }
/// #     fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
/// #         Ok(self.encoder.forward(&x.flatten_from(1)?)?)
/// #     }
/// #     fn decode(&self, z: &Tensor) -> Result<Tensor> {
/// #         let ImageShape { height, width, channels } = self.spec.image;
/// #         Ok(self.decoder.forward(z)?.reshape((z.dim(0)?, height, width, channels))?)
/// #     }
///     // spec, params, encode, decode and
///     fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
///         let z = self.encode(x, draws)?;
///         let error = candle_nn::loss::mse(&self.decode(&z)?, x)?;
///         let loss = (&error + (z.sqr()?.mean_all()? * self.config.shrinkage)?)?;
///         Ok(Objectives::new(AUTOENCODER, loss, &z)?.term("mse", &error))
///     }
/// }
/// #
/// # impl Shrinking {
/// #     fn with(config: Config, build: &Build) -> Result<Self> {
/// #         let ImageShape { height, width, channels } = build.image;
/// #         let pixels = height * width * channels;
/// #         let latent = build.network.only_paper(Self::NAME)?.latent;
/// #         let mut store = ParamStore::new(build.seed, build.dtype, build.device);
/// #         let builder = store.builder(AUTOENCODER);
/// #         let encoder = candle_nn::linear(pixels, latent, builder.pp("enc"))?;
/// #         let decoder = candle_nn::linear(latent, pixels, builder.pp("dec"))?;
/// #         drop(builder);
/// #         let spec = build.spec(Self::NAME, LatentShape::new([latent]));
/// #         Ok(Self { config, spec, store, encoder, decoder })
/// #     }
/// # }
///
/// impl Model for Shrinking {
///     const NAME: &'static str = "shrinking";
///     const TITLE: &'static str = "Shrinking";
///     type Config = Config;
///
///     fn check(config: &Config) -> Result<()> {
///         check_range(Self::NAME, "shrinkage", config.shrinkage, 0.0..)
///     }
///
///     fn new(config: Config, build: &Build) -> Result<Self> {
///         // Makes the layers with the builder of a `ParamStore`.
///         Self::with(config, build)
///     }
/// }
///
/// let variant = ModelVariant::<Shrinking>::new();
/// let hyper = variant.check(&Hyper::new())?;
/// assert_eq!(hyper["shrinkage"], 0.01, "defaults are filled in");
///
/// let negative: Hyper = serde_json::from_str(r#"{"shrinkage": -1}"#)?;
/// let error = variant.check(&negative).unwrap_err().to_string();
/// assert_eq!(error, "shrinking: hyperparameter 'shrinkage' is -1, but must be at least 0");
/// #
/// # let build = Build {
/// #     image: ImageShape { height: 4, width: 4, channels: 1 },
/// #     network: &Network { scales: 1, depth: 1, latent: 2 }.into(),
/// #     hyper: &hyper,
/// #     seed: 0,
/// #     dtype: DType::F32,
/// #     device: &Device::Cpu,
/// # };
/// # let model = variant.build(&build)?;
/// # assert_eq!(model.spec().shape.latent, [2]);
/// # let x = Tensor::zeros((3, 4, 4, 1), DType::F32, &Device::Cpu)?;
/// # assert_eq!(model.objectives(&x, &Draws::new(0, &Device::Cpu))?.terms.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Model: Autoencoder + Sized + 'static {
    /// Name on the command line and in files, such as `acai`.
    const NAME: &'static str;
    /// Name in tables and figures, such as `ACAI`.
    const TITLE: &'static str;
    /// The type of its hyperparameters. The defaults of the seven are the paper's values.
    type Config: Default + Serialize + DeserializeOwned;

    /// Hyperparameters that are left out of records when they have their default, because earlier versions did
    /// not have them: the hashes in the names of existing runs stay valid. Such a default may never change.
    const OMITTED_BY_DEFAULT: &'static [&'static str] = &[];

    /// The networks with which this model can be built, the default first. [`Model::new`] builds the one in
    /// [`Build::network`].
    const NETWORKS: &'static [NetworkKind] = &[NetworkKind::PAPER];

    /// The sizes of the paper's network on `dataset`, given those of the protocol. Only a model that deviates
    /// from the protocol overrides this.
    fn network(dataset: &str, default: Network) -> Network {
        let _ = dataset;
        default
    }

    /// Checks that hyperparameters are in range.
    ///
    /// # Errors
    /// Returns an error for the first value that is out of range; [`check_range`](crate::check_range) makes it.
    fn check(config: &Self::Config) -> Result<()>;

    /// Builds a model with initial values drawn from the seed.
    ///
    /// # Errors
    /// Returns an error if the network does not fit the images.
    fn new(config: Self::Config, build: &Build) -> Result<Self>;
}

/// The [`Variant`] of a [`Model`].
#[derive(Debug)]
pub struct ModelVariant<M>(PhantomData<fn() -> M>);

impl<M> ModelVariant<M> {
    /// Creates the variant of `M`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> Default for ModelVariant<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Model> ModelVariant<M> {
    fn config(hyper: &Hyper) -> Result<M::Config> {
        let config = check_hyper(M::NAME, hyper)?;
        M::check(&config)?;
        Ok(config)
    }
}

impl<M: Model> Variant for ModelVariant<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn title(&self) -> &'static str {
        M::TITLE
    }

    fn networks(&self) -> &'static [NetworkKind] {
        M::NETWORKS
    }

    fn network(&self, dataset: &str, default: Network) -> Network {
        M::network(dataset, default)
    }

    fn check(&self, hyper: &Hyper) -> Result<Hyper> {
        match (serde_json::to_value(Self::config(hyper)?), serde_json::to_value(M::Config::default())) {
            (Ok(Value::Object(mut table)), Ok(default)) => {
                table.retain(|key, value| {
                    !M::OMITTED_BY_DEFAULT.contains(&key.as_str()) || default.get(key) != Some(value)
                });
                // Keys are always in the same order, because the name of a run contains a hash of this text.
                table.sort_keys();
                refuse_null(M::NAME, &table)?;
                Ok(table)
            }
            _ => unreachable!("check_hyper has read the configuration as a table"),
        }
    }

    fn build(&self, build: &Build) -> Result<Box<dyn Autoencoder>> {
        Ok(Box::new(M::new(Self::config(build.hyper)?, build)?))
    }
}
