//! What a build without CUDA has in the place of recorded steps: nothing.

use std::sync::Arc;

use candle_core::{Device, Result};
use lerp_core::{Generator, LearningRate};

use crate::Adam;

/// See the CUDA build's: the number of the step on the device. Here there is none.
#[derive(Debug, Clone)]
pub struct Clock(Never);

#[derive(Debug, Clone)]
enum Never {}

impl Clock {
    /// None: this build has no device that keeps a step's number.
    ///
    /// # Errors
    /// Never.
    pub fn new(_: &Device, _: &LearningRate, _: &Adam) -> Result<Option<Self>> {
        Ok(None)
    }

    /// # Errors
    /// Never.
    pub fn set(&self, _: u64) -> Result<()> {
        match self.0 {}
    }

    /// # Errors
    /// Never.
    pub fn advance(&self) -> Result<()> {
        match self.0 {}
    }

    /// Draws at the step that the device stands at.
    pub fn generator(&self) -> Arc<dyn Generator> {
        match self.0 {}
    }
}

/// See the CUDA build's: work recorded on a device. Here there is none.
#[derive(Debug)]
pub struct Recording(Never);

impl Recording {
    /// # Errors
    /// Never.
    pub fn new(clock: &Clock, _: impl FnOnce() -> Result<()>) -> Result<Self> {
        match clock.0 {}
    }

    /// # Errors
    /// Never.
    pub fn launch(&self) -> Result<()> {
        match self.0 {}
    }
}

/// None: this build has no device that makes draws.
pub fn generator(_: &Device) -> Option<Arc<dyn Generator>> {
    None
}

/// Gives a device back: nothing to do.
#[allow(clippy::needless_pass_by_value)]
pub fn release(_: Device) {}

/// Runs `f`, whose small uploads a recording may repeat.
pub fn preparing<T>(clock: &Clock, _: impl FnOnce() -> T) -> T {
    match clock.0 {}
}
