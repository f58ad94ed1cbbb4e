//! Lines and their labels, computed on the device.

use candle_core::{Result, Tensor};

use super::{address, blocks, count, launch, memory, tensor};
use crate::LineImage;

/// The CUDA kernel of [`crate::draw_lines`].
///
/// # Shapes
/// `turns` `[n]`, `f64`; result `[n, height, width, 1]`.
pub(crate) fn draw_lines(turns: &Tensor, image: LineImage) -> Result<Tensor> {
    let LineImage { height, width, line_width } = image;
    let device = turns.device().as_cuda_device()?;
    let lines = turns.dims1()?;
    let n = lines * height * width;
    let (out, to) = memory::<f32>(device, n)?;
    let (turns, pixels) = (address::<f64>(turns)?, count(n)?);
    // SAFETY: the memory has room for all pixels, and there is a turn for each image.
    unsafe {
        launch!(
            device,
            "draw_lines",
            [blocks(n), 1],
            turns,
            to,
            pixels,
            height as u32,
            width as u32,
            line_width
        );
    }
    Ok(tensor(device, out, (lines, height, width, 1)))
}

/// The CUDA kernel of [`crate::line_labels`].
///
/// # Shapes
/// `turns` `[n]`, `f64`; result `[n]`, `u32`.
pub(crate) fn line_labels(turns: &Tensor, classes: u32) -> Result<Tensor> {
    let device = turns.device().as_cuda_device()?;
    let n = turns.dims1()?;
    let (out, to) = memory::<u32>(device, n)?;
    let (turns, lines) = (address::<f64>(turns)?, count(n)?);
    // SAFETY: turns and labels have `n` values each.
    unsafe {
        launch!(device, "line_labels", [blocks(n), 1], turns, to, lines, classes);
    }
    Ok(tensor(device, out, n))
}
