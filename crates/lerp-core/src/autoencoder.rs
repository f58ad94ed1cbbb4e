//! The shared trait, and what a variant states through it.

use candle_core::{DType, Device, Tensor, backprop::GradStore};

use crate::{
    Architecture, Draws, Error, Group, Hyper, ImageShape, LatentShape, Network, NetworkKind, ParamStore,
    Result, Spec,
};

/// An autoencoder whose interpolations can be measured.
///
/// A variant states its losses in [`Autoencoder::objectives`]; a trainer takes every gradient at the same parameters,
/// then updates every group, then calls [`Autoencoder::after_step`]. It owns optimisers, classifier, checkpoints and
/// progress, so that every variant has them.
///
/// # Shapes
/// `x`: images `[batch, height, width, channels]` in `[-1, 1]`; `z`: latents `[batch, ...]` and features
/// `[batch, features]` as in [`Spec::shape`]. The paper's latents are `[batch, h, w, c]`; of a network of one's own they
/// may have any rank.
pub trait Autoencoder: Send {
    /// Names, shapes and hyperparameters of this model.
    fn spec(&self) -> &Spec;

    /// Its parameters and buffers.
    fn params(&self) -> &ParamStore;

    /// The latent that is interpolated and clustered.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, h, w, c]`.
    fn encode(&self, x: &Tensor, draws: &Draws) -> Result<Tensor>;

    /// What the single-layer classifier sees; the flattened latent unless a variant says otherwise.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, features]`, flattened in (h, w, c) order.
    fn features(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        Ok(self.encode(x, draws)?.flatten_from(1)?)
    }

    /// The image of a latent, in the range of the training images (not clipped).
    ///
    /// # Shapes
    /// `[batch, h, w, c]` to `[batch, height, width, channels]`.
    fn decode(&self, z: &Tensor) -> Result<Tensor>;

    /// The image of an image.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to the same.
    fn reconstruct(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        self.decode(&self.encode(x, draws)?)
    }

    /// [`Autoencoder::reconstruct`] and [`Autoencoder::features`] of the same images. A variant in which the two share work
    /// does that once here, and saves every evaluation a pass through the encoder: by [`through_latent`], where the features
    /// are the flattened latent. The conformance check compares the results.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to the same, and to `[batch, features]`.
    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<(Tensor, Tensor)> {
        Ok((self.reconstruct(x, draws)?, self.features(x, draws)?))
    }

    /// The latent a fraction `t` of the way from `a` to `b`: linear unless a variant says otherwise.
    ///
    /// # Shapes
    /// Two latents `[batch, h, w, c]` to a third.
    fn mix(&self, a: &Tensor, b: &Tensor, t: f64) -> Result<Tensor> {
        Ok(((a * (1.0 - t))? + (b * t)?)?)
    }

    /// The losses of one training step on the batch `x`.
    ///
    /// They depend on `x`, `draws`, parameters and buffers alone: a GPU records the launches of a step and repeats them
    /// without calling this again. A counter in the model, or a schedule computed on the host from [`Draws::step`], would
    /// stand still there and start anew when a run is resumed. [`Draws::step_tensor`] has the number of the step as a tensor,
    /// from which a schedule is computed ("the critic every fifth step" is its loss times 0 or 1); what must outlive a step is
    /// a buffer ([`ParamStore`]). The conformance check finds what does not keep to this.
    ///
    /// # Shapes
    /// `x` `[batch, height, width, channels]`; every loss and term is a scalar, `[]`.
    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives>;

    /// `count` latents drawn from the prior towards which the latents were trained; none where a variant has no prior.
    /// Decoded, they are the samples of a generative model (the VAE and the AAE of section 4; Figure 5).
    ///
    /// # Shapes
    /// `[count, h, w, c]`.
    fn prior(&self, count: usize, draws: &Draws) -> Result<Option<Tensor>> {
        let _ = (count, draws);
        Ok(None)
    }

    /// A critic's estimate of how far from either end decoded interpolations lie: 0 for the ends, up to 1/2 halfway
    /// (α of section 3, equation 2); none where a variant has no such critic.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch]`.
    fn coefficient(&self, images: &Tensor) -> Result<Option<Tensor>> {
        let _ = images;
        Ok(None)
    }

    /// The entries of a codebook as which images are encoded, as indices; none where a variant has no codebook. How many
    /// different ones test images need is measured at every evaluation.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]` to `[batch, vectors]`, `u32`.
    fn codes(&self, x: &Tensor, draws: &Draws) -> Result<Option<Tensor>> {
        let _ = (x, draws);
        Ok(None)
    }

    /// Called after every group was updated, with what [`Objectives::carry`] put there. It is part of what a GPU records,
    /// and keeps to the rule of [`Autoencoder::objectives`].
    fn after_step(&self, carry: &Carry) -> Result<()> {
        let _ = carry;
        Ok(())
    }
}

/// Reconstruction and features of images by one pass through the encoder, of a model whose features are its flattened
/// latent: for [`Autoencoder::reconstruct_and_features`].
///
/// # Shapes
/// `x` `[batch, height, width, channels]` to the same, and to `[batch, features]`.
///
/// # Errors
/// If the model fails.
pub fn through_latent(
    model: &(impl Autoencoder + ?Sized),
    x: &Tensor,
    draws: &Draws,
) -> Result<(Tensor, Tensor)> {
    let z = model.encode(x, draws)?;
    Ok((model.decode(&z)?, z.flatten_from(1)?))
}

/// A scalar loss, `[]`, and how its gradients come about.
#[derive(Debug)]
pub enum Loss {
    /// By differentiating the loss itself.
    Plain(Tensor),
    /// By differentiating another scalar, whose value means nothing and whose gradients are the loss's.
    Surrogate {
        /// The loss, `[]`.
        value: Tensor,
        /// What is differentiated, `[]`.
        root: Tensor,
    },
    /// They were taken together with something else that was needed.
    Differentiated {
        /// The loss, `[]`.
        value: Tensor,
        /// Its gradients.
        gradients: GradStore,
    },
}

impl Loss {
    /// The loss.
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

/// Tensors that a step's objectives leave for [`Autoencoder::after_step`], by name.
#[derive(Debug, Default)]
pub struct Carry(Vec<(&'static str, Tensor)>);

impl Carry {
    /// These and one more, detached.
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
    /// If the objectives left none of that name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map(|(_, tensor)| tensor).ok_or_else(|| Error::NotCarried(name.to_owned()))
    }
}

/// A scalar worth recording.
#[derive(Debug)]
pub struct Term {
    /// Its name, such as `mse` or `kl`.
    pub name: &'static str,
    /// Its value, a scalar `[]`, detached.
    pub value: Tensor,
}

/// What a variant states for one step.
#[derive(Debug)]
pub struct Objectives {
    /// Each group's loss, which moves that group only.
    pub losses: Vec<(Group, Loss)>,
    /// Named parts of the losses, for the record.
    pub terms: Vec<Term>,
    /// What the classifier sees, `[batch, features]`, detached.
    pub features: Tensor,
    /// What [`Autoencoder::after_step`] gets, computed from the parameters before the step.
    pub carry: Carry,
}

impl Objectives {
    /// Objectives with the loss of one group and the classifier's view.
    ///
    /// # Shapes
    /// `loss` `[]`; `features` of any shape `[batch, ...]`, flattened and detached here.
    pub fn new(group: Group, loss: impl Into<Loss>, features: &Tensor) -> Result<Self> {
        let features = features.detach().flatten_from(1)?;
        let losses = vec![(group, loss.into())];
        Ok(Self { losses, terms: Vec::new(), features, carry: Carry::default() })
    }

    /// Adds the loss of another group.
    ///
    /// # Shapes
    /// `loss` `[]`.
    #[must_use]
    pub fn loss(mut self, group: Group, loss: impl Into<Loss>) -> Self {
        self.losses.push((group, loss.into()));
        self
    }

    /// Leaves a tensor for [`Autoencoder::after_step`].
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

/// What a model is built from.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// Shape of the images.
    pub image: ImageShape,
    /// Encoder and decoder, as [`Variant::network`] or [`NetworkKind::check`] settled them.
    pub network: &'a Architecture,
    /// Hyperparameters, as [`Variant::check`] completed them.
    pub hyper: &'a Hyper,
    /// Seed of the initial values.
    pub seed: u64,
    /// Type of the parameters: `f32`, or `f64` for gradient checks.
    pub dtype: DType,
    /// Where the model lives.
    pub device: &'a Device,
}

impl Build<'_> {
    /// The specification of a model of `variant` that is built from this, with latents and features of these sizes.
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

/// A kind of autoencoder: found by name, configured, built.
pub trait Variant: Send + Sync {
    /// Name on the command line and in files, such as `acai`.
    fn name(&self) -> &'static str;

    /// Name in tables and figures, such as `ACAI`.
    fn title(&self) -> &'static str;

    /// The networks that it can be built with, its default first.
    fn networks(&self) -> &'static [NetworkKind] {
        &[NetworkKind::PAPER]
    }

    /// Sizes of the paper's network on `dataset`, given the dataset's default; only a variant that differs needs this.
    fn network(&self, dataset: &str, default: Network) -> Network {
        let _ = dataset;
        default
    }

    /// Hyperparameters checked and completed with defaults.
    ///
    /// # Errors
    /// An unknown key, by name and with the nearest valid one; a value of the wrong type or out of range.
    fn check(&self, hyper: &Hyper) -> Result<Hyper>;

    /// A model with fresh parameters.
    ///
    /// # Errors
    /// If the hyperparameters are not valid or the network does not fit the images.
    fn build(&self, build: &Build) -> Result<Box<dyn Autoencoder>>;
}
