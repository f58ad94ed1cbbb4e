//! Interpolations to look at: of Figure 3 on lines, of Figures 4 and 6 to 11 on image sets.

use std::{io::Cursor, path::Path};

use candle_core::{DType, Device, Tensor};
use lerp_core::Draws;
use lerp_data::{Dataset, Lines, Part};

use crate::{Error, Learner, Result, evaluate::interpolate, rundir::INTERPOLATION, write_atomic};

/// Angles of the two lines of Figure 3, in radians.
pub const FIGURE_3_ANGLES: [f64; 2] = [5.0 / 7.0 * std::f64::consts::PI, 1.5 * std::f64::consts::PI];

/// Test images among which pairs are chosen, and pairs.
const FIRST: usize = 100;
const PAIRS: usize = 4;

/// White pixels beside an original, in the preview.
const GAP: usize = 2;

/// The images between pairs, and on image sets what they lie between.
pub(crate) struct Strips {
    /// `[pairs, positions, height, width, channels]`, on the CPU.
    images: Tensor,
    /// Test images `[pairs, height, width, channels]`, left and right.
    ends: Option<[Tensor; 2]>,
}

impl Strips {
    /// Interpolates between the paper's pairs: of lines those of Figure 3, of images those of Figures 6 to 11.
    ///
    /// # Errors
    /// If the images cannot be read or the tensor library fails.
    pub(crate) fn make(learner: &Learner, dataset: &dyn Dataset, draws: &Draws) -> Result<Self> {
        let encode = |images: &Tensor, end: &str| -> Result<Tensor> {
            Ok(learner.model().encode(images, &draws.scope(end))?.detach())
        };
        let Some(count) = dataset.count(Part::Test)? else {
            let lines = Lines::images(&FIGURE_3_ANGLES, draws.device())?;
            let latents = learner.model().encode(&lines, draws)?.detach();
            let images = interpolate(learner, &latents.narrow(0, 0, 1)?, &latents.narrow(0, 1, 1)?)?;
            return Ok(Self { images, ends: None });
        };
        let first = dataset.range(Part::Test, 0..count.min(FIRST), draws.device())?;
        let labels = first.labels.map(|labels| labels.to_vec1::<u32>()).transpose()?;
        let (left, right): (Vec<u32>, Vec<u32>) =
            pairs(labels.as_deref(), count.min(FIRST)).into_iter().unzip();
        let choose = |places: Vec<u32>| -> Result<Tensor> {
            Ok(first.images.index_select(&Tensor::new(places, draws.device())?, 0)?)
        };
        let (left, right) = (choose(left)?, choose(right)?);
        let images = interpolate(learner, &encode(&left, "left")?, &encode(&right, "right")?)?;
        Ok(Self { images, ends: Some([left.to_device(&Device::Cpu)?, right.to_device(&Device::Cpu)?]) })
    }

    /// Writes `interpolation.safetensors` and a preview, `interpolation.png`, into a run's folder.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let tensors = match &self.ends {
            // One pair of lines has no dimension of its own.
            None => vec![("images", self.images.squeeze(0)?)],
            Some([left, right]) => {
                vec![("images", self.images.clone()), ("left", left.clone()), ("right", right.clone())]
            }
        };
        let path = dir.join(INTERPOLATION);
        let bytes = safetensors::serialize(tensors, None)
            .map_err(|e| Error::bad_file(&path, format!("cannot be made: {e}")))?;
        write_atomic(&path, &bytes)?;
        write_atomic(&dir.join("interpolation.png"), &self.preview()?)
    }

    /// A row of images for each pair, -1 black and 1 white, between the originals where there are some.
    fn preview(&self) -> Result<Vec<u8>> {
        let (pairs, _, height, _, channels) = self.images.dims5()?;
        let mut rows = Vec::with_capacity(pairs);
        for pair in 0..pairs {
            // [height, positions, width, channels] is a row of images.
            let images = self.images.get(pair)?.transpose(0, 1)?.contiguous()?;
            let images = images.flatten(1, 2)?;
            rows.push(match &self.ends {
                None => images,
                Some([left, right]) => {
                    let gap = Tensor::ones((height, GAP, channels), DType::F32, &Device::Cpu)?;
                    let end = |x: &Tensor| x.get(pair).and_then(|x| x.to_dtype(DType::F32));
                    Tensor::cat(&[&end(left)?, &gap, &images, &gap, &end(right)?], 1)?
                }
            });
        }
        let rows = Tensor::cat(&rows, 0)?;
        let (height, width, channels) = rows.dims3()?;
        let byte = |v: f32| ((v + 1.0) * 127.5).round() as u8;
        let pixels: Vec<u8> = rows.flatten_all()?.to_vec1::<f32>()?.into_iter().map(byte).collect();
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
        written.map_err(|e| Error::BadCell(format!("cannot make interpolation.png: {e}")))?;
        Ok(bytes.into_inner())
    }
}

/// The pairs of Figures 6 to 11 among the first `n` test images: image `i` of the first four with, where there are no
/// labels, image `4 + i`, else with image number `4 + i` of its own class for the first two pairs and of the other
/// classes for the rest; with the last one there is, in small sets, and with any where all are of one class.
fn pairs(labels: Option<&[u32]>, n: usize) -> Vec<(u32, u32)> {
    let right = |i: usize| {
        let wanted: Vec<usize> = match labels {
            None => (0..n).collect(),
            Some(labels) => (0..n).filter(|&j| (labels[j] == labels[i]) == (i < 2)).collect(),
        };
        wanted.get(PAIRS + i).or(wanted.last()).copied().unwrap_or((PAIRS + i).min(n - 1))
    };
    (0..PAIRS.min(n)).map(|i| (i as u32, right(i) as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_the_papers() {
        assert_eq!(pairs(None, 100), [(0, 4), (1, 5), (2, 6), (3, 7)]);
        let labels: Vec<u32> = (0..100).map(|i| i % 10).collect();
        // Class 0 is at 0, 10, ..., class 1 at 1, 11, ...; the others of class 2 are 0, 1, 3, 4, 5, 6, 7.
        assert_eq!(pairs(Some(&labels), 100), [(0, 40), (1, 51), (2, 7), (3, 8)]);
        assert_eq!(pairs(Some(&[0, 1, 0]), 3), [(0, 2), (1, 1), (2, 1)]);
        assert_eq!(pairs(Some(&[5]), 1), [(0, 0)]);
        assert_eq!(pairs(Some(&[3; 100]), 100), [(0, 4), (1, 5), (2, 6), (3, 7)]);
        assert_eq!(pairs(None, 2), [(0, 1), (1, 1)]);
    }
}
