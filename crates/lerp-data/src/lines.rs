//! The synthetic lines dataset of the paper.

use std::f64::consts::TAU;

use candle_core::{Device, Tensor};
use lerp_core::{Draws, ImageShape, Network};
use lerp_kernels::{LineImage, draw_lines, line_labels};

use crate::{Batch, Dataset, LineCanvas, Result, draw_line, line_label};

/// Endless images of lines at angles drawn uniformly from `[0, 2π)`. Training and test batches differ only in
/// their draws, as in the paper's code, which draws fresh test angles at every evaluation (section 3).
///
/// ```
/// use candle_core::Device;
/// use lerp_core::Draws;
/// use lerp_data::{Dataset, Lines};
///
/// let batch = Lines.train_batch(4, &Draws::new(1, &Device::Cpu))?;
/// assert_eq!(batch.images.dims(), [4, 32, 32, 1]);
/// assert_eq!(batch.labels()?.dims(), [4]);
///
/// // Lines at given angles, in radians.
/// let turning = Lines::images(&[0.0, 0.1, 0.2], &Device::Cpu)?;
/// assert_eq!(turning.dims(), [3, 32, 32, 1]);
/// # Ok::<(), lerp_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

impl Lines {
    /// The name of the dataset.
    pub const NAME: &'static str = "lines";
    /// Height and width of an image, pixels.
    pub const SIDE: usize = 32;
    /// Width of a line, pixels.
    pub const LINE_WIDTH: f64 = 2.0;
    /// The size of an image and of its line.
    pub const CANVAS: LineCanvas =
        LineCanvas { height: Self::SIDE, width: Self::SIDE, line_width: Self::LINE_WIDTH };
    const CLASSES: u32 = 10;

    /// Draws the images of lines at `angles` (radians).
    ///
    /// # Shapes
    /// `n` angles to `[n, 32, 32, 1]`, `f32`.
    pub fn images(angles: &[f64], device: &Device) -> Result<Tensor> {
        let pixels: Vec<f32> =
            angles.iter().flat_map(|&angle| draw_line(angle, Self::CANVAS)).map(|v| v as f32).collect();
        Ok(Tensor::from_vec(pixels, (angles.len(), Self::SIDE, Self::SIDE, 1), device)?)
    }

    fn batch(size: usize, draws: &Draws) -> Result<Batch> {
        if draws.on_device() {
            let turns = draws.uniform_f64("angle", size)?;
            let images = draw_lines(
                &turns,
                LineImage { height: Self::SIDE, width: Self::SIDE, line_width: Self::LINE_WIDTH },
            )?;
            if let (Some(images), Some(labels)) = (images, line_labels(&turns, Self::CLASSES)?) {
                return Ok(Batch { images, labels: Some(labels) });
            }
        }
        let angles: Vec<f64> = draws.uniforms_f64("angle", size).iter().map(|u| u * TAU).collect();
        // One draw in six million falls into the formula's eleventh class, for which the classifier has no
        // output.
        let labels: Vec<u32> = angles.iter().map(|&a| line_label(a).min(Self::CLASSES - 1)).collect();
        let images = Self::images(&angles, draws.device())?;
        Ok(Batch { images, labels: Some(Tensor::from_vec(labels, size, draws.device())?) })
    }
}

impl Dataset for Lines {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn title(&self) -> &'static str {
        "Lines"
    }

    fn image(&self) -> ImageShape {
        ImageShape { height: Self::SIDE, width: Self::SIDE, channels: 1 }
    }

    fn network(&self) -> Network {
        Network { scales: 4, depth: 16, latent: 16 }
    }

    fn classes(&self) -> usize {
        Self::CLASSES as usize
    }

    fn on_device(&self) -> bool {
        true
    }

    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        Self::batch(size, draws)
    }

    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        Self::batch(size, draws)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_function_of_its_draws() {
        let draws = Draws::new(5, &Device::Cpu).scope("train");
        let pixels = |draws: &Draws| {
            let batch = Lines.train_batch(6, draws).unwrap();
            batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(pixels(&draws.at(3)), pixels(&draws.at(3)));
        assert_ne!(pixels(&draws.at(3)), pixels(&draws.at(4)));
        assert_ne!(pixels(&draws), pixels(&Draws::new(5, &Device::Cpu).scope("test")));
    }

    #[test]
    fn images_and_labels_belong_to_the_drawn_angles() {
        let draws = Draws::new(1, &Device::Cpu).at(2);
        let batch = Lines.test_batch(2000, &draws).unwrap();
        assert_eq!(batch.images.dims(), [2000, 32, 32, 1]);
        let angles: Vec<f64> = draws.uniforms_f64("angle", 2000).iter().map(|u| u * TAU).collect();
        let labels = batch.labels().unwrap().to_vec1::<u32>().unwrap();
        for (label, angle) in labels.iter().zip(&angles) {
            assert_eq!(*label, line_label(*angle));
        }
        for class in 0..10 {
            let count = labels.iter().filter(|l| **l == class).count();
            assert!((150..250).contains(&count), "class {class} has {count} of 2000");
        }
        let last = batch.images.get(1999).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let expected: Vec<f32> = draw_line(angles[1999], Lines::CANVAS).iter().map(|&v| v as f32).collect();
        assert_eq!(last, expected);
    }

    #[test]
    fn the_protocols_network_fits() {
        let latent = Lines.network().latent_shape(Lines.image()).unwrap();
        assert_eq!(latent, [2, 2, 16]);
    }
}
