//! Tests of processes that are interrupted, killed or kept from starting, that share a worker process, or that compete
//! for a run. Their times matter, so they are apart from the tests in `command`.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod lease;
mod packing;
mod resume;
#[cfg(unix)]
mod stops;
