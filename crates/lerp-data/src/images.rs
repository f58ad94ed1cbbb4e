//! Image sets in memory.

use candle_core::{Device, Tensor};
use lerp_core::ImageShape;
use sha2::{Digest, Sha256};

use crate::{Batch, Result};

/// Pixels of an image set, each image `[height, width, channels]`, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pixels {
    /// Value `v` stands for `v * 2 / 255 - 1` (section B6 of the protocol: all image sets).
    Bytes(Vec<u8>),
    /// Value `v` stands for `v / 16384`: resized images overshoot [-1, 1], by a factor below 1.9, and are not clipped.
    /// Rounding to it moves a pixel by at most 1/260 of a gray level; half the memory of `f32`.
    Fixed(Vec<i16>),
}

const FIXED: f32 = 16_384.0;

/// `value` as [`Pixels::Fixed`] has it.
pub(crate) fn fixed(value: f32) -> i16 {
    (value * FIXED).round() as i16
}

/// Images, and their classes if they have any.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub shape: ImageShape,
    pub pixels: Pixels,
    pub labels: Option<Vec<u32>>,
}

impl Images {
    /// Elements of one image.
    fn stride(&self) -> usize {
        self.shape.height * self.shape.width * self.shape.channels
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        let values = match &self.pixels {
            Pixels::Bytes(values) => values.len(),
            Pixels::Fixed(values) => values.len(),
        };
        values / self.stride().max(1)
    }

    /// Pixels of image `index`, in `[-1, 1]` save for what resizing overshot.
    pub fn image(&self, index: usize) -> Vec<f32> {
        let stride = self.stride();
        let place = index * stride..(index + 1) * stride;
        match &self.pixels {
            Pixels::Bytes(values) => {
                values[place].iter().map(|&v| f32::from(v) * 2.0 / 255.0 - 1.0).collect()
            }
            Pixels::Fixed(values) => values[place].iter().map(|&v| f32::from(v) / FIXED).collect(),
        }
    }

    /// The images at `indices`.
    ///
    /// # Shapes
    /// Images `[indices, height, width, channels]`, labels `[indices]`.
    pub fn batch(&self, indices: &[usize], device: &Device) -> Result<Batch> {
        let ImageShape { height, width, channels } = self.shape;
        let pixels: Vec<f32> = indices.iter().flat_map(|&index| self.image(index)).collect();
        let images = Tensor::from_vec(pixels, (indices.len(), height, width, channels), device)?;
        let labels = self.labels.as_ref().map(|labels| {
            let labels: Vec<u32> = indices.iter().map(|&index| labels[index]).collect();
            Tensor::from_vec(labels, indices.len(), device)
        });
        Ok(Batch { images, labels: labels.transpose()? })
    }

    /// Feeds shape, number, pixels and labels to a digest.
    pub fn feed(&self, digest: &mut Sha256) {
        let ImageShape { height, width, channels } = self.shape;
        digest.update(format!("{} images {height} x {width} x {channels}", self.len()));
        match &self.pixels {
            Pixels::Bytes(values) => digest.update(values),
            Pixels::Fixed(values) => values.chunks(1 << 16).for_each(|part| {
                digest.update(part.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
            }),
        }
        if let Some(labels) = &self.labels {
            digest.update(labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>());
        }
    }

    /// Splits off every tenth image, for sets that come without a test part.
    pub fn hold_out(self) -> (Self, Self) {
        let held = |index: usize| index % 10 == 9;
        let stride = self.stride().max(1);
        let pixels = |part: bool| match &self.pixels {
            Pixels::Bytes(values) => Pixels::Bytes(choose(values, stride, |i| held(i) == part)),
            Pixels::Fixed(values) => Pixels::Fixed(choose(values, stride, |i| held(i) == part)),
        };
        let labels = |part: bool| self.labels.as_ref().map(|labels| choose(labels, 1, |i| held(i) == part));
        let part = |test| Self { shape: self.shape, pixels: pixels(test), labels: labels(test) };
        (part(false), part(true))
    }

    /// One channel instead of three, if the three are equal in all of both.
    pub fn gray_if_gray(parts: [Self; 2]) -> [Self; 2] {
        let gray = |part: &Self| match &part.pixels {
            Pixels::Bytes(values) => {
                part.shape.channels == 3 && values.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2])
            }
            Pixels::Fixed(_) => false,
        };
        if !parts.iter().all(gray) {
            return parts;
        }
        parts.map(|mut part| {
            if let Pixels::Bytes(values) = &mut part.pixels {
                *values = values.iter().copied().step_by(3).collect();
            }
            part.shape.channels = 1;
            part
        })
    }
}

fn choose<T: Copy>(values: &[T], stride: usize, chosen: impl Fn(usize) -> bool) -> Vec<T> {
    let rows = values.chunks_exact(stride).enumerate();
    rows.filter(|(index, _)| chosen(*index)).flat_map(|(_, row)| row.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(n: u8) -> Images {
        let pixels = (0..n).flat_map(|i| [i, 0, 255, i]).collect();
        let labels = (0..n).map(u32::from).collect();
        let shape = ImageShape { height: 2, width: 2, channels: 1 };
        Images { shape, pixels: Pixels::Bytes(pixels), labels: Some(labels) }
    }

    #[test]
    fn bytes_become_floats_from_minus_one_to_one() {
        let batch = images(52).batch(&[51, 0], &Device::Cpu).unwrap();
        assert_eq!(batch.images.dims(), [2, 2, 2, 1]);
        let pixels = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(pixels, [-0.6, -1.0, 1.0, -0.6, -1.0, -1.0, 1.0, -1.0]);
        assert_eq!(batch.labels().unwrap().to_vec1::<u32>().unwrap(), [51, 0]);
    }

    #[test]
    fn fixed_point_holds_what_resizing_overshoots() {
        for value in [-1.9_f32, -1.0, -0.123_456, 0.0, 0.7, 1.0, 1.9] {
            assert!((f32::from(fixed(value)) / FIXED - value).abs() <= 0.5 / FIXED);
        }
    }

    #[test]
    fn every_tenth_is_held_out_and_labels_go_with_their_images() {
        let (train, test) = images(25).hold_out();
        assert_eq!((train.len(), test.len()), (23, 2));
        assert_eq!(test.labels, Some(vec![9, 19]));
        assert_eq!(test.pixels, Pixels::Bytes(vec![9, 0, 255, 9, 19, 0, 255, 19]));
        for index in 0..23 {
            let label = train.labels.as_ref().unwrap()[index];
            assert_eq!(train.image(index)[0], label as f32 * 2.0 / 255.0 - 1.0);
        }
    }

    #[test]
    fn gray_images_lose_their_copies() {
        let shape = ImageShape { height: 1, width: 2, channels: 3 };
        let of = |pixels: [u8; 6]| Images { shape, pixels: Pixels::Bytes(pixels.to_vec()), labels: None };
        let [a, _] = Images::gray_if_gray([of([1, 1, 1, 2, 2, 2]), of([3, 3, 3, 4, 4, 4])]);
        assert_eq!((a.shape.channels, a.pixels), (1, Pixels::Bytes(vec![1, 2])));
        let [a, _] = Images::gray_if_gray([of([1, 1, 1, 2, 2, 2]), of([3, 3, 3, 4, 4, 5])]);
        assert_eq!(a.shape.channels, 3);
    }
}
