//! What every crate of lerpbench speaks.
//!
//! * [`Autoencoder`]: the shared trait. A variant *states* its losses ([`Objectives`]); a trainer owns everything else.
//! * [`Variant`]: how a variant is found by name, its hyperparameters checked and a model of it built; [`Model`] and
//!   [`Of`] make one from a typed configuration.
//! * [`ParamStore`]: ordered, grouped parameters and buffers; also as a `VarBuilder` for layers of candle-nn.
//! * [`Architecture`]: which encoder and decoder a model has: the paper's, or a variant's own.
//! * [`Draws`]: random numbers without state: a pure function of (seed, stream, step, index).
//! * [`Schedule`]: how the learning rate changes over a run.
//! * [`scalar`], [`on_host`]: numbers of a device, read on the host.
//!
//! This crate touches no file and parses no command line.
//!
//! # Tensors
//! Images and latents are channels last, `[batch, height, width, channels]`; pixels lie in `[-1, 1]`. Training is in
//! `f32`; everything also works in `f64`, which is how gradients are checked by finite differences.

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
