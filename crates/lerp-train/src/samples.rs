//! Decoded samples from the prior of a variant that has a prior (Figure 5).

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use lerp_core::Draws;

use crate::{
    Learner, Result,
    files::SAMPLES,
    tensors::{Tensors, pack},
};

/// The number of samples.
const COUNT: usize = 256;

/// Samples latents from the model's prior and decodes them. Returns `None` for a model without a prior.
///
/// # Shapes
/// `[COUNT, height, width, channels]`, `f32` on the CPU, not clipped.
pub(crate) fn make(learner: &Learner, draws: &Draws) -> Result<Option<Tensor>> {
    let Some(latents) = learner.model().prior(COUNT, draws)? else { return Ok(None) };
    let images = learner.model().decode(&latents)?.detach();
    Ok(Some(images.to_device(&Device::Cpu)?.to_dtype(DType::F32)?))
}

/// Returns the name and the bytes of the file of samples.
pub(crate) fn file(images: &Tensor) -> Result<(&'static str, Vec<u8>)> {
    Ok((SAMPLES, pack(SAMPLES, vec![("images", images.to_dtype(DType::F16)?)])?))
}

/// Reads the samples of the run in `dir`. Returns `None` if the run has none.
pub(crate) fn read(dir: &Path) -> Result<Option<Tensor>> {
    let Some(tensors) = Tensors::read(dir, SAMPLES)? else { return Ok(None) };
    let images = tensors.get("images")?;
    match images.dims() {
        [_, _, _, 1 | 3] if images.elem_count() > 0 => Ok(Some(images)),
        dims => Err(tensors.damaged(&format!("'images' of size {dims:?}"))),
    }
}
