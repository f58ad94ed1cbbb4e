//! A user-defined dataset: white discs of random size and position on black, drawn without end.

use candle_core::Tensor;
use lerp_core::{Draws, ImageShape, Network};
use lerp_data::{Batch, Dataset, Lines, Result};

/// The dataset of discs.
pub struct Discs;

/// Height and width of an image, pixels.
const SIDE: usize = 32;
/// Smallest and largest radius of a disc, pixels.
const RADII: [f32; 2] = [3.0, 8.0];

impl Discs {
    /// Name of the dataset on the command line.
    pub const NAME: &'static str = "discs";

    /// Draws a batch. It depends on the random draws alone, so that a resumed run sees the same images as an
    /// uninterrupted one.
    fn batch(size: usize, draws: &Draws) -> Result<Batch> {
        let [least, greatest] = RADII;
        let pixels: Vec<f32> = draws
            .uniforms("disc", 3 * size)
            .chunks_exact(3)
            .flat_map(|disc| {
                let radius = least + disc[0] * (greatest - least);
                // The centre is placed so that the whole disc is in the image.
                let [x, y] = [disc[1], disc[2]].map(|at| radius + at * (SIDE as f32 - 2.0 * radius));
                (0..SIDE * SIDE).map(move |i| {
                    let (row, column) = (i / SIDE, i % SIDE);
                    let distance = (column as f32 + 0.5 - x).hypot(row as f32 + 0.5 - y);
                    2.0 * (radius - distance + 0.5).clamp(0.0, 1.0) - 1.0
                })
            })
            .collect();
        let images = Tensor::from_vec(pixels, (size, SIDE, SIDE, 1), draws.device())?;
        Ok(Batch { images, labels: None })
    }
}

impl Dataset for Discs {
    fn name(&self) -> &str {
        Self::NAME
    }
    fn title(&self) -> &'static str {
        "Discs"
    }
    fn image(&self) -> ImageShape {
        ImageShape { height: SIDE, width: SIDE, channels: 1 }
    }
    fn network(&self) -> Network {
        Lines.network()
    }
    fn classes(&self) -> usize {
        0
    }
    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        Self::batch(size, draws)
    }
    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        Self::batch(size, draws)
    }
}
