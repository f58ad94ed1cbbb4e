//! The interfaces that all crates of Lerpbench share: models, losses, parameters, random draws and
//! hyperparameters.
//!
//! Lerpbench measures how well autoencoders interpolate. It trains autoencoders on one benchmark, decodes latents
//! between those of two images, scores the resulting images, and draws tables and figures. This crate says what an
//! autoencoder is to the rest of the software:
//!
//! * [`Autoencoder`]: the trait of every model. A variant *states* its losses ([`Objectives`]); a trainer owns
//!   everything else.
//! * [`Variant`]: finds a kind of model by name, checks its hyperparameters and builds it. [`ModelVariant`] makes one
//!   from a [`Model`], which has a typed configuration.
//! * [`ParamStore`]: the ordered, grouped parameters and buffers of a model; also available as a `VarBuilder`
//!   for layers of candle-nn.
//! * [`Architecture`]: the encoder and decoder of a model: the paper's, or a variant's own.
//! * [`Draws`]: random numbers without state, each a pure function of (seed, stream, step, index).
//! * [`Schedule`]: the learning-rate schedule of a run.
//! * [`scalar`], [`on_host`]: copy numbers from a device to the host.
//!
//! This crate reads no file and parses no command line.
//!
//! # The other crates
//! These crates depend on this one:
//!
//! * `lerp-kernels` and `lerp-nn` have the operations and the layers from which the paper's networks are built.
//! * `lerp-baseline`, `lerp-dropout`, `lerp-denoising`, `lerp-vae`, `lerp-aae`, `lerp-vqvae` and `lerp-acai` are the
//!   paper's seven variants.
//! * `lerp-data` has the datasets, `lerp-eval` the metrics, `lerp-train` the training of runs in folders, and
//!   `lerp-report` the tables and figures.
//! * `lerp-export`, `lerp-verify` and `lerp-bench` have what the commands of these names do; `lerp-watch` is what
//!   `lerp watch` draws.
//! * `lerp-cluster` calls Slurm, and `lerp-files` writes files safely.
//! * `lerpbench` is the package of the command `lerp` and of the library `lerp`, whose `App` adds variants, datasets
//!   and metrics of one's own.
//!
//! # How a model is used
//! 1. [`Variant::check`] completes the hyperparameters, and [`Variant::build`] makes the model. Its initial
//!    parameters are drawn from the seed.
//! 2. At each training step, [`Autoencoder::objectives`] states one loss for each [`Group`] of parameters. The trainer
//!    computes all gradients at the same parameters, updates every group, and calls [`Autoencoder::after_step`].
//! 3. At each evaluation, test images are encoded, their latents are mixed ([`Autoencoder::mix`]), and the mixtures are
//!    decoded. The metrics see only these images and latents.
//!
//! # A variant of one's own
//! Implement [`Model`] and [`Autoencoder`]; the documentation of both has a small example. `lerp::App::model` adds the
//! variant to the command, and `lerp conformance` checks that it keeps the rules of
//! [`objectives`](Autoencoder::objectives). A dataset of one's own implements `lerp_data::Dataset`, and a metric
//! `lerp_eval::Metric`.
//!
//! # Tensors
//! Images and latents are channels last, `[batch, height, width, channels]`; pixels lie in `[-1, 1]`. Models
//! are trained in `f32`. All of it also works in `f64`, in which gradients are checked by finite differences.

mod autoencoder;
mod builder;
mod draws;
mod error;
mod host;
mod hyper;
mod model;
mod network;
mod params;
mod precision;
mod schedule;
mod spec;

pub use autoencoder::{
    Autoencoder, Build, Carry, GroupLoss, Loss, Objectives, Reconstruction, Term, Variant, find_variant,
    through_latent,
};
pub use draws::{Draw, DrawPosition, DrawStep, Draws, Generator};
use error::did_you_mean;
pub use error::{Error, Result};
pub use host::{on_host, scalar};
pub use hyper::{Hyper, check_hyper, check_range, nearest, unknown_name_message};
pub use model::{Model, ModelVariant};
pub use network::{Architecture, Network, NetworkKind, OwnNetwork};
pub use params::{AUTOENCODER, Buffer, CRITIC, Group, Param, ParamStore};
pub use precision::Precision;
pub use schedule::{Decay, LearningRate, Schedule};
pub use spec::{ImageShape, LatentShape, Spec};
