//! Tests of datasets, in one binary because linking takes seconds; `claims.rs` measures the memory of its process, and
//! so has a binary of its own.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "hub")]
#[path = "../common/hub.rs"]
mod server;
#[path = "../common/spoil.rs"]
mod spoil;

#[cfg(feature = "candle-datasets")]
mod candle;
#[cfg(feature = "hub")]
mod hub;
mod kinds;
mod own;
mod readers;
mod real;
mod tensors;
