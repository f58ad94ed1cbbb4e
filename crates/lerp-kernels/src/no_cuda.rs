//! Stand-ins for CUDA graph capture in a build without CUDA: types without values, so that the code that uses them
//! compiles but never runs.

use std::{convert::Infallible, sync::Arc};

use candle_core::{Device, Result, Tensor};
use lerp_core::{Generator, LearningRate};

use crate::Adam;

/// The training step's number, kept on the device; see the CUDA build. This build has no such device, so the type has
/// no values.
#[derive(Debug, Clone)]
pub struct Clock(Infallible);

impl Clock {
    /// Returns `None`: no device of this build keeps a step's number.
    ///
    /// # Errors
    /// There are none in this build.
    pub fn new(_: &Device, _: &LearningRate, _: &Adam) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Sets the step's number.
    ///
    /// # Errors
    /// This stand-in cannot be called, so there are none.
    pub fn set(&self, _: u64) -> Result<()> {
        match self.0 {}
    }

    /// Increases the step's number by one.
    ///
    /// # Errors
    /// This stand-in cannot be called, so there are none.
    pub fn advance(&self) -> Result<()> {
        match self.0 {}
    }

    /// Returns Adam's step size.
    pub(crate) fn step_size(&self) -> &Tensor {
        match self.0 {}
    }

    /// Returns a generator of draws at the step that the device's clock shows.
    pub fn generator(&self) -> Arc<dyn Generator> {
        match self.0 {}
    }
}

/// A captured CUDA graph; see the CUDA build. This build has no such device, so the type has no values.
#[derive(Debug)]
pub struct CapturedGraph(Infallible);

impl CapturedGraph {
    /// Captures the work of a closure.
    ///
    /// # Errors
    /// This stand-in cannot be called, so there are none.
    pub fn capture(clock: &Clock, _: impl FnOnce() -> Result<()>) -> Result<Self> {
        match clock.0 {}
    }

    /// Launches the captured work.
    ///
    /// # Errors
    /// This stand-in cannot be called, so there are none.
    pub fn launch(&self) -> Result<()> {
        match self.0 {}
    }
}

/// Returns `None`: no device of this build makes its own random draws.
pub fn generator(_: &Device) -> Option<Arc<dyn Generator>> {
    None
}

/// Releases a device; in this build there is nothing to release.
#[allow(clippy::needless_pass_by_value)]
pub fn release_device(_: Device) {}

/// Runs a closure and keeps its small uploads for graph capture; see the CUDA build.
pub fn prepare_capture<T>(clock: &Clock, _: impl FnOnce() -> T) -> T {
    match clock.0 {}
}
