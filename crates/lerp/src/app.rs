//! [`App`]: a `lerp` command extended with a user's own variants, datasets and metrics.

use std::process::ExitCode;

use anyhow::Result;
use lerp_core::{Model, ModelVariant, Variant};
use lerp_data::Dataset;
use lerp_eval::Metric;

use crate::{
    registry::{Failure, Registry},
    say::complain,
};

/// Builder of a `lerp` command that has a user's own variants, datasets and metrics beside the built-in ones. Every
/// subcommand accepts them: sweeps train them beside the seven variants of the paper, in worker processes of the same
/// binary.
///
/// ```no_run
/// # use candle_core::{Module, Tensor};
/// # use lerp_core::{
/// #     AUTOENCODER, Autoencoder, Build, Draws, ImageShape, Model, Network, Objectives, ParamStore, Result, Spec,
/// # };
/// # use lerp_data::{Batch, Dataset};
/// # use lerp_eval::{Better, Metric, Quantity, Subject};
/// # use lerp_nn::{Coder, mean_squared_error};
/// # #[derive(Default, serde::Serialize, serde::Deserialize)]
/// # struct Config {}
/// # struct LatentNoise(Coder);
/// # impl Model for LatentNoise {
/// #     const NAME: &'static str = "latent-noise";
/// #     const TITLE: &'static str = "Latent noise";
/// #     type Config = Config;
/// #     fn check(_: &Config) -> Result<()> {
/// #         Ok(())
/// #     }
/// #     fn new(_: Config, build: &Build) -> Result<Self> {
/// #         Ok(Self(Coder::new(Self::NAME, build)?))
/// #     }
/// # }
/// # impl Autoencoder for LatentNoise {
/// #     fn spec(&self) -> &Spec {
/// #         &self.0.spec
/// #     }
/// #     fn params(&self) -> &ParamStore {
/// #         &self.0.store
/// #     }
/// #     fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
/// #         Ok(self.0.encoder.forward(x)?)
/// #     }
/// #     fn decode(&self, z: &Tensor) -> Result<Tensor> {
/// #         Ok(self.0.decoder.forward(z)?)
/// #     }
/// #     fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
/// #         let z = self.0.encoder.forward(x)?;
/// #         let noisy = (&z + (draws.normal("latent noise", z.shape())? * 0.1)?)?;
/// #         let loss = mean_squared_error(&self.0.decoder.forward(&noisy)?, x)?;
/// #         Objectives::new(AUTOENCODER, loss, &z)
/// #     }
/// # }
/// # struct Greys;
/// # impl Greys {
/// #     fn batch(size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
/// #         let greys = draws.uniform("grey", (size, 1, 1, 1))?.affine(2.0, -1.0)?;
/// #         Ok(Batch { images: greys.broadcast_as((size, 32, 32, 1))?.contiguous()?, labels: None })
/// #     }
/// # }
/// # impl Dataset for Greys {
/// #     fn name(&self) -> &str {
/// #         "greys"
/// #     }
/// #     fn title(&self) -> &str {
/// #         "Greys"
/// #     }
/// #     fn image(&self) -> ImageShape {
/// #         ImageShape { height: 32, width: 32, channels: 1 }
/// #     }
/// #     fn network(&self) -> Network {
/// #         Network { scales: 4, depth: 16, latent: 16 }
/// #     }
/// #     fn classes(&self) -> usize {
/// #         0
/// #     }
/// #     fn train_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
/// #         Self::batch(size, draws)
/// #     }
/// #     fn test_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
/// #         Self::batch(size, draws)
/// #     }
/// # }
/// # struct Brightness([Quantity; 1]);
/// # impl Metric for Brightness {
/// #     fn quantities(&self) -> &[Quantity] {
/// #         &self.0
/// #     }
/// #     fn measure(&self, of: &Subject<'_>) -> lerp_eval::Result<Vec<f64>> {
/// #         let between = of.between(64, &[0.5])?;
/// #         Ok(vec![between.images.mean_all()?.to_scalar::<f32>()?.into()])
/// #     }
/// # }
/// # fn brightness() -> Brightness {
/// #     let caption = "Mean of all pixels halfway between two test images, from -1 to 1.";
/// #     Brightness([Quantity::new("brightness", "Brightness", Better::Neither, caption)])
/// # }
/// fn main() -> std::process::ExitCode {
///     lerp::App::new()
///         .model::<LatentNoise>() // a type that implements `lerp_core::Model`
///         .dataset("greys", || Ok(Box::new(Greys))) // a value that implements `lerp_data::Dataset`
///         .metric(brightness()) // a value that implements `lerp_eval::Metric`
///         .main()
/// }
/// ```
///
/// The traits' own documentation has small examples, and the folder `examples` of the repository whole programs.
pub struct App {
    registry: Registry,
    /// The first error among the additions, which is reported when the program runs.
    mistake: Option<anyhow::Error>,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// Creates the command with the paper's seven variants and the built-in datasets.
    pub fn new() -> Self {
        Self { registry: Registry::default(), mistake: None }
    }

    /// Adds the variant that the model type `M` defines.
    #[must_use]
    pub fn model<M: Model>(self) -> Self {
        self.variant(ModelVariant::<M>::new())
    }

    /// Adds a variant. Its name must be a single word that no other variant has.
    #[must_use]
    pub fn variant(self, variant: impl Variant + 'static) -> Self {
        // Leaked, because the registry holds variants for the lifetime of the program.
        let variant: &'static dyn Variant = Box::leak(Box::new(variant));
        self.add(|registry| registry.add_variant(variant))
    }

    /// Adds a dataset called `name`, a single word that no other dataset has. Each process that uses the dataset calls
    /// `open`; the opened dataset's [`Dataset::name`] must equal `name`. A run records [`Dataset::digest`] and refuses
    /// to resume on images with another digest.
    #[must_use]
    pub fn dataset(
        self,
        name: &str,
        open: impl Fn() -> Result<Box<dyn Dataset>, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.add(|registry| registry.add_dataset(name, Box::new(open)))
    }

    /// Adds a metric, which every evaluation by this program computes beside the built-in ones.
    #[must_use]
    pub fn metric(self, metric: impl Metric + 'static) -> Self {
        let metric: &'static dyn Metric = Box::leak(Box::new(metric));
        self.add(|registry| registry.add_metric(metric))
    }

    fn add(mut self, add: impl FnOnce(&mut Registry) -> Result<()>) -> Self {
        if let Err(mistake) = add(&mut self.registry) {
            self.mistake.get_or_insert(mistake);
        }
        self
    }

    /// Parses this process's command line and runs the command.
    ///
    /// Returns exit code 0 on success; 1 if a part of the work failed (a cell, a check); 2 on bad input, when nothing
    /// was done.
    pub fn main(self) -> ExitCode {
        if let Some(mistake) = self.mistake {
            complain(&mistake);
            return ExitCode::from(2);
        }
        crate::main(&self.registry)
    }
}
