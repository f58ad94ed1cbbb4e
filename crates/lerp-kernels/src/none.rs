//! Stand-ins for CUDA graph capture in a build without CUDA: types without values.

use std::sync::Arc;

use candle_core::{Device, Result};
use lerp_core::{Generator, LearningRate};

use crate::Adam;

/// The training step's number, kept on the device; see the CUDA build. This build has no such device, so the type has
/// no values.
#[derive(Debug, Clone)]
pub struct Clock(Never);

#[derive(Debug, Clone)]
enum Never {}

impl Clock {
    /// Returns `None`: no device of this build keeps a step's number.
    ///
    /// # Errors
    /// Never.
    pub fn new(_: &Device, _: &LearningRate, _: &Adam) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Sets the step's number.
    ///
    /// # Errors
    /// Never.
    pub fn set(&self, _: u64) -> Result<()> {
        match self.0 {}
    }

    /// Increases the step's number by one.
    ///
    /// # Errors
    /// Never.
    pub fn advance(&self) -> Result<()> {
        match self.0 {}
    }

    /// Returns a generator of draws at the step that the device's clock shows.
    pub fn generator(&self) -> Arc<dyn Generator> {
        match self.0 {}
    }
}

/// A captured CUDA graph; see the CUDA build. This build has no such device, so the type has no values.
#[derive(Debug)]
pub struct Recording(Never);

impl Recording {
    /// Captures the work of a closure.
    ///
    /// # Errors
    /// Never.
    pub fn new(clock: &Clock, _: impl FnOnce() -> Result<()>) -> Result<Self> {
        match clock.0 {}
    }

    /// Launches the captured work.
    ///
    /// # Errors
    /// Never.
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
pub fn release(_: Device) {}

/// Runs `f` and keeps its small uploads for graph capture; see the CUDA build.
pub fn preparing<T>(clock: &Clock, _: impl FnOnce() -> T) -> T {
    match clock.0 {}
}
