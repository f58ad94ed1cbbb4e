//! The interfaces that all crates of Lerpbench share: models, losses, parameters, random draws and
//! hyperparameters.
//!
//! * [`Autoencoder`]: the trait of every model. A variant *states* its losses ([`Objectives`]); a trainer owns
//!   everything else.
//! * [`Variant`]: finds a kind of model by name, checks its hyperparameters and builds it. [`Of`] makes one
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

pub use autoencoder::{Autoencoder, Build, Carry, Loss, Objectives, Term, Variant, through_latent};
pub use draws::{Draw, Draws, Generator, Place};
use error::did_you_mean;
pub use error::{Error, Result};
pub use host::{on_host, scalar};
pub use hyper::{Hyper, check_hyper, check_range, nearest};
pub use model::{Model, Of};
pub use network::{Architecture, Network, NetworkKind, OwnNetwork};
pub use params::{AUTOENCODER, Buffer, CRITIC, Group, Param, ParamStore};
pub use precision::Precision;
pub use schedule::{Decay, LearningRate, Schedule};
pub use spec::{ImageShape, LatentShape, Spec};
