//! The [`Autoencoder`] trait of all models, and the losses that a variant states through it.

use candle_core::{DType, Device, Tensor, backprop::GradStore};

use crate::{
    Architecture, Draws, Error, Group, Hyper, ImageShape, LatentShape, Network, NetworkKind, ParamStore,
    Result, Spec, unknown_name_message,
};

/// An autoencoder whose interpolations can be measured.
///
/// A variant states its losses in [`Autoencoder::objectives`]. A trainer computes all gradients at the same
/// parameters, then updates every group of parameters, then calls [`Autoencoder::after_step`]. Optimisers, the
/// classifier, checkpoints and progress belong to the trainer, so they are the same for every variant.
///
/// # Shapes
/// `x`: images `[batch, height, width, channels]` in `[-1, 1]`; `z`: latents `[batch, ...]`, features
/// `[batch, features]`, with the sizes in [`Spec::shape`]. The paper's latents are `[batch, h, w, c]`; those of a
/// variant's own network may have any rank.
///
/// # Examples
/// A linear autoencoder: one dense layer from the pixels to the latent, and one back.
///
/// ```
/// use candle_core::{DType, Device, Module, Tensor};
/// use lerp_core::{
///     AUTOENCODER, Autoencoder, Build, Draws, Hyper, ImageShape, LatentShape, Network, Objectives, ParamStore,
///     Reconstruction, Result, Spec, through_latent,
/// };
///
/// struct Linear {
///     spec: Spec,
///     store: ParamStore,
///     encoder: candle_nn::Linear,
///     decoder: candle_nn::Linear,
/// }
///
/// impl Linear {
///     fn new(build: &Build) -> Result<Self> {
///         let ImageShape { height, width, channels } = build.image;
///         let pixels = height * width * channels;
///         let latent = build.network.only_paper("linear")?.latent;
///         let mut store = ParamStore::new(build.seed, build.dtype, build.device);
///         let builder = store.builder(AUTOENCODER);
///         let encoder = candle_nn::linear(pixels, latent, builder.pp("enc"))?;
///         let decoder = candle_nn::linear(latent, pixels, builder.pp("dec"))?;
///         drop(builder);
///         let spec = build.spec("linear", LatentShape::new([latent]));
///         Ok(Self { spec, store, encoder, decoder })
///     }
/// }
///
/// impl Autoencoder for Linear {
///     fn spec(&self) -> &Spec {
///         &self.spec
///     }
///     fn params(&self) -> &ParamStore {
///         &self.store
///     }
///     fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
///         Ok(self.encoder.forward(&x.flatten_from(1)?)?)
///     }
///     fn decode(&self, z: &Tensor) -> Result<Tensor> {
///         let ImageShape { height, width, channels } = self.spec.image;
///         Ok(self.decoder.forward(z)?.reshape((z.dim(0)?, height, width, channels))?)
///     }
///     fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
///         through_latent(self, x, draws) // Encodes once, as the features are the latent.
///     }
///     fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
///         let z = self.encode(x, draws)?;
///         let loss = candle_nn::loss::mse(&self.decode(&z)?, x)?;
///         Ok(Objectives::new(AUTOENCODER, loss.clone(), &z)?.term("mse", &loss))
///     }
/// }
///
/// let build = Build {
///     image: ImageShape { height: 4, width: 4, channels: 1 },
///     network: &Network { scales: 1, depth: 1, latent: 2 }.into(),
///     hyper: &Hyper::new(),
///     seed: 0,
///     dtype: DType::F32,
///     device: &Device::Cpu,
/// };
/// let model = Linear::new(&build)?;
/// let draws = Draws::new(1, &Device::Cpu);
/// let x = draws.uniform("pixels", (3, 4, 4, 1))?;
///
/// let z = model.encode(&x, &draws)?;
/// assert_eq!(z.dims(), [3, 2]);
/// let halfway = model.mix(&z.narrow(0, 0, 1)?, &z.narrow(0, 1, 1)?, 0.5)?;
/// assert_eq!(model.decode(&halfway)?.dims(), [1, 4, 4, 1]);
///
/// let Reconstruction { images, features } = model.reconstruct_and_features(&x, &draws)?;
/// assert_eq!((images.dims(), features.dims()), (x.dims(), z.dims()));
///
/// let objectives = model.objectives(&x, &draws)?;
/// let gradients = objectives.losses[0].loss.value().backward()?;
/// for param in model.params().params() {
///     assert!(gradients.get(param.var.as_tensor()).is_some(), "{}", param.name);
/// }
/// # Ok::<(), lerp_core::Error>(())
/// ```
pub trait Autoencoder: Send {
    /// The name, shapes and hyperparameters of this model.
    fn spec(&self) -> &Spec;

    /// The parameters and buffers of this model.
    fn params(&self) -> &ParamStore;

    /// Encodes images to the latents that are interpolated and clustered.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to a latent: `[batch, ...]`, with the sizes in [`Spec::shape`].
    fn encode(&self, x: &Tensor, draws: &Draws) -> Result<Tensor>;

    /// The features of images that the single-layer classifier gets. By default they are the flattened latent.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, features]`, flattened in (h, w, c) order.
    fn features(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        Ok(self.encode(x, draws)?.flatten_from(1)?)
    }

    /// Decodes latents to images, in the range of the training images (not clipped).
    ///
    /// # Shapes
    /// Latents `[batch, ...]` to `[batch, height, width, channels]`.
    fn decode(&self, z: &Tensor) -> Result<Tensor>;

    /// Reconstructs images by encoding and decoding them.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to the same.
    fn reconstruct(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        self.decode(&self.encode(x, draws)?)
    }

    /// Returns the results of [`Autoencoder::reconstruct`] and [`Autoencoder::features`] for the same images. A
    /// variant in which the two share work should override this, to save every evaluation a forward pass of the
    /// encoder: with [`through_latent`] if its features are the flattened latent. The conformance check
    /// compares the results with those of the two methods.
    ///
    /// # Shapes
    /// `x` `[batch, height, width, channels]`.
    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        Ok(Reconstruction { images: self.reconstruct(x, draws)?, features: self.features(x, draws)? })
    }

    /// Interpolates between the latents `a` (`t` = 0) and `b` (`t` = 1). By default the interpolation is
    /// linear.
    ///
    /// # Shapes
    /// Two latents `[batch, ...]` to a third.
    fn mix(&self, a: &Tensor, b: &Tensor, t: f64) -> Result<Tensor> {
        Ok(((a * (1.0 - t))? + (b * t)?)?)
    }

    /// The losses of one training step on the batch `x`.
    ///
    /// They may depend only on `x`, `draws`, parameters and buffers. On a GPU the kernel launches of a step are
    /// captured and replayed without another call of this method, so a counter in the model, or a schedule that
    /// is computed on the host from [`Draws::step`], would keep its first value; after a resume it would start
    /// again. A schedule is computed from [`Draws::step_tensor`], the number of the step as a tensor ("the
    /// critic every fifth step" is its loss times 0 or 1). State that must outlive a step belongs in a buffer
    /// ([`ParamStore`]). The conformance check finds violations of these rules.
    ///
    /// # Shapes
    /// `x` `[batch, height, width, channels]`; every loss and term is a scalar, `[]`.
    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives>;

    /// Draws `count` latents from the prior to which the latents were trained to conform, or returns `None` if
    /// the variant has no prior. Decoded, they are the samples of a generative model (the VAE and the AAE of
    /// section 4; Figure 5).
    ///
    /// # Shapes
    /// `[count, ...]`.
    fn prior(&self, count: usize, draws: &Draws) -> Result<Option<Tensor>> {
        let _ = (count, draws);
        Ok(None)
    }

    /// A critic's estimate of the interpolation coefficient α (section 3, equation 2) of decoded
    /// interpolations: 0 for the end points, up to 1/2 halfway. Returns `None` if the variant has no such
    /// critic.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch]`.
    fn coefficient(&self, images: &Tensor) -> Result<Option<Tensor>> {
        let _ = images;
        Ok(None)
    }

    /// The indices of the codebook entries to which images are encoded, or `None` if the variant has no
    /// codebook. Every evaluation reports how many different entries the test images use.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, vectors]`, `u32`.
    fn codes(&self, x: &Tensor, draws: &Draws) -> Result<Option<Tensor>> {
        let _ = (x, draws);
        Ok(None)
    }

    /// Called after every group of parameters was updated, with the tensors that the objectives left in
    /// [`Objectives::carry`]. It is captured with the step on a GPU, and must follow the rules of
    /// [`Autoencoder::objectives`].
    fn after_step(&self, carry: &Carry) -> Result<()> {
        let _ = carry;
        Ok(())
    }
}

/// Computes reconstruction and features with one forward pass of the encoder, for a model whose features are
/// its flattened latent. An implementation of [`Autoencoder::reconstruct_and_features`].
///
/// The example of [`Autoencoder`] uses it.
///
/// # Shapes
/// `x` `[batch, height, width, channels]`.
///
/// # Errors
/// Returns an error if the encoder or the decoder fails.
pub fn through_latent(
    model: &(impl Autoencoder + ?Sized),
    x: &Tensor,
    draws: &Draws,
) -> Result<Reconstruction> {
    let z = model.encode(x, draws)?;
    Ok(Reconstruction { images: model.decode(&z)?, features: z.flatten_from(1)? })
}

/// Reconstructed images, with the features that the classifier gets of the original ones.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// The reconstructed images, `[batch, height, width, channels]`.
    pub images: Tensor,
    /// The features, `[batch, features]`.
    pub features: Tensor,
}

/// A scalar loss, `[]`, and how its gradients are computed.
#[derive(Debug)]
pub enum Loss {
    /// The gradients are those of this scalar, the loss itself.
    Plain(Tensor),
    /// The gradients are those of another scalar, whose value has no meaning.
    Surrogate {
        /// The loss, `[]`.
        value: Tensor,
        /// The scalar that is differentiated, `[]`; its gradients are those of the loss.
        root: Tensor,
    },
    /// The gradients have already been computed, in a backward pass that was needed for something else, too.
    Differentiated {
        /// The loss, `[]`.
        value: Tensor,
        /// The gradients of the loss.
        gradients: GradStore,
    },
}

impl Loss {
    /// The value of the loss.
    ///
    /// # Shapes
    /// `[]`.
    pub fn value(&self) -> &Tensor {
        match self {
            Self::Plain(value) | Self::Surrogate { value, .. } | Self::Differentiated { value, .. } => value,
        }
    }
}

impl From<Tensor> for Loss {
    fn from(value: Tensor) -> Self {
        Self::Plain(value)
    }
}

/// Tensors that the objectives of a step pass to [`Autoencoder::after_step`], by name.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_core::Carry;
///
/// let codes = Tensor::new(&[3_u32, 1], &Device::Cpu)?;
/// let carry = Carry::default().with("codes", &codes);
/// assert_eq!(carry.get("codes")?.dims(), [2]);
/// assert!(carry.get("distances").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Carry(Vec<(&'static str, Tensor)>);

impl Carry {
    /// Adds `tensor`, detached, under the name `name`.
    ///
    /// # Shapes
    /// `tensor` of any shape.
    #[must_use]
    pub fn with(mut self, name: &'static str, tensor: &Tensor) -> Self {
        self.0.push((name, tensor.detach()));
        self
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// Returns an error if the objectives passed no tensor of that name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map(|(_, tensor)| tensor).ok_or_else(|| Error::NotCarried(name.to_owned()))
    }
}

/// A named part of a loss, to be recorded.
#[derive(Debug)]
pub struct Term {
    /// Its name, such as `mse` or `kl`.
    pub name: &'static str,
    /// Its value, a scalar `[]`, detached.
    pub value: Tensor,
}

/// The loss of a group of parameters; it updates that group only.
#[derive(Debug)]
pub struct GroupLoss {
    /// The group.
    pub group: Group,
    /// Its loss.
    pub loss: Loss,
}

/// The losses of one training step, as a variant states them.
///
/// ```
/// use candle_core::{DType, Device};
/// use lerp_core::{AUTOENCODER, CRITIC, Loss, Objectives, ParamStore, scalar};
///
/// let mut store = ParamStore::new(0, DType::F32, &Device::Cpu);
/// let weight = store.add("weight", AUTOENCODER, &store.init().normal("weight", 3)?)?;
/// let slope = store.add("slope", CRITIC, &store.init().normal("slope", 3)?)?;
///
/// // Each group has its own loss. The critic's loss must not reach the autoencoder's parameters.
/// let features = weight.reshape((1, 3))?;
/// let mse = weight.sqr()?.mean_all()?;
/// let error = (weight.detach() * &slope)?.sum_all()?.sqr()?;
/// let objectives =
///     Objectives::new(AUTOENCODER, mse.clone(), &features)?.loss(CRITIC, error).term("mse", &mse);
/// assert_eq!(objectives.losses.len(), 2);
/// assert_eq!(objectives.losses[1].group, CRITIC);
/// assert_eq!(objectives.features.dims(), [1, 3]);
///
/// // A surrogate has the gradients of a loss without its value.
/// let surrogate = Loss::Surrogate { value: mse.detach(), root: (&mse + 7.0)? };
/// assert_eq!(scalar(surrogate.value())?, scalar(&mse)?);
/// # Ok::<(), lerp_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Objectives {
    /// The loss of each group of parameters.
    pub losses: Vec<GroupLoss>,
    /// Named parts of the losses, which are recorded.
    pub terms: Vec<Term>,
    /// The features for the classifier, `[batch, features]`, detached.
    pub features: Tensor,
    /// Tensors for [`Autoencoder::after_step`], computed from the parameters before the step.
    pub carry: Carry,
}

impl Objectives {
    /// Objectives with the loss of one group, and the features for the classifier.
    ///
    /// # Shapes
    /// `loss` `[]`; `features` of any shape `[batch, ...]`, flattened and detached here.
    pub fn new(group: Group, loss: impl Into<Loss>, features: &Tensor) -> Result<Self> {
        let features = features.detach().flatten_from(1)?;
        let losses = vec![GroupLoss { group, loss: loss.into() }];
        Ok(Self { losses, terms: Vec::new(), features, carry: Carry::default() })
    }

    /// Adds the loss of another group.
    ///
    /// # Shapes
    /// `loss` `[]`.
    #[must_use]
    pub fn loss(mut self, group: Group, loss: impl Into<Loss>) -> Self {
        self.losses.push(GroupLoss { group, loss: loss.into() });
        self
    }

    /// Adds a tensor for [`Autoencoder::after_step`].
    ///
    /// # Shapes
    /// `tensor` of any shape, detached here.
    #[must_use]
    pub fn carry(mut self, name: &'static str, tensor: &Tensor) -> Self {
        self.carry = self.carry.with(name, tensor);
        self
    }

    /// Adds a named term.
    ///
    /// # Shapes
    /// `value` `[]`.
    #[must_use]
    pub fn term(mut self, name: &'static str, value: &Tensor) -> Self {
        self.terms.push(Term { name, value: value.detach() });
        self
    }
}

/// The arguments from which a model is built.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The shape of the images.
    pub image: ImageShape,
    /// Encoder and decoder, as determined by [`Variant::network`] or [`NetworkKind::check`].
    pub network: &'a Architecture,
    /// Hyperparameters, as completed by [`Variant::check`].
    pub hyper: &'a Hyper,
    /// The seed of the initial values of the parameters.
    pub seed: u64,
    /// The data type of the parameters: `f32`, or `f64` for gradient checks.
    pub dtype: DType,
    /// The device of the parameters.
    pub device: &'a Device,
}

impl Build<'_> {
    /// The specification of a model of `variant` built from these arguments, with latents and features of the
    /// given sizes.
    pub fn spec(&self, variant: &str, shape: LatentShape) -> Spec {
        Spec {
            variant: variant.into(),
            image: self.image,
            network: self.network.clone(),
            shape,
            hyper: self.hyper.clone(),
        }
    }
}

/// A kind of autoencoder that can be found by name, configured and built. [`ModelVariant`](crate::ModelVariant) makes
/// one from a [`Model`](crate::Model), whose documentation has an example.
pub trait Variant: Send + Sync {
    /// The name on the command line and in files, such as `acai`.
    fn name(&self) -> &'static str;

    /// The name in tables and figures, such as `ACAI`.
    fn title(&self) -> &'static str;

    /// The networks with which this variant can be built, the default first.
    fn networks(&self) -> &'static [NetworkKind] {
        &[NetworkKind::PAPER]
    }

    /// The sizes of the paper's network on `dataset`, given those of the protocol. Only a variant that deviates
    /// from the protocol overrides this.
    fn network(&self, dataset: &str, default: Network) -> Network {
        let _ = dataset;
        default
    }

    /// Checks hyperparameters and completes them with defaults.
    ///
    /// # Errors
    /// Returns an error if a key is unknown (it names the key and the nearest valid one), or a value has the
    /// wrong type or is out of range.
    fn check(&self, hyper: &Hyper) -> Result<Hyper>;

    /// Builds a model with initial values drawn from the seed.
    ///
    /// # Errors
    /// Returns an error if the hyperparameters are not valid, or the network does not fit the images.
    fn build(&self, build: &Build) -> Result<Box<dyn Autoencoder>>;
}

/// Returns the variant called `name`.
///
/// # Errors
/// If there is none; the message suggests the nearest name.
pub fn find_variant(variants: &[&'static dyn Variant], name: &str) -> Result<&'static dyn Variant> {
    let found = variants.iter().copied().find(|variant| variant.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = variants.iter().map(|variant| variant.name()).collect();
        Error::UnknownVariant(unknown_name_message("variant", name, &names))
    })
}
