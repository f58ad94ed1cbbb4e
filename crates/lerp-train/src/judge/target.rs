//! The classification task that a judge is trained on.

use candle_core::Tensor;
use lerp_core::Draws;
use lerp_data::{Batch, Dataset};
use serde::{Deserialize, Serialize};

use crate::Result;

/// The classification task that a judge was trained on.
///
/// ```
/// use lerp_train::JudgeTarget;
///
/// let target = JudgeTarget::of(&lerp_data::Lines);
/// assert_eq!((target, target.class_name(3).as_str()), (JudgeTarget::Classes, "class 3"));
/// assert_eq!(JudgeTarget::Distortions.class_name(1), "blurred");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgeTarget {
    /// Classifies labelled images by their labels.
    Classes,
    /// Distinguishes images without labels from distorted versions of them.
    Distortions,
}

/// The distortions of images without labels. Blends of two images are left out on purpose: the score is trusted
/// because a judge recognises blends without having seen any.
const DISTORTIONS: [&str; 4] = ["real", "blurred", "noisy", "patched"];
/// The standard deviation of the noise, for pixels from -1 to 1.
const NOISE: f64 = 0.2;

impl JudgeTarget {
    /// Returns the task for a dataset: its classes if it has several, otherwise distortions.
    pub fn of(dataset: &dyn Dataset) -> Self {
        if dataset.classes() > 1 { Self::Classes } else { Self::Distortions }
    }

    /// Returns the number of classes to distinguish.
    pub(super) fn classes(self, dataset: &dyn Dataset) -> usize {
        if self == Self::Classes { dataset.classes() } else { DISTORTIONS.len() }
    }

    /// Returns the name of a class, such as `class 3` or `blurred`.
    pub fn class_name(self, class: u32) -> String {
        let distortion = DISTORTIONS.get(class as usize).filter(|_| self == Self::Distortions);
        distortion.map_or_else(|| format!("class {class}"), |name| (*name).to_owned())
    }

    /// Returns training images and their class numbers.
    ///
    /// # Shapes
    /// `[batch, height, width, channels]`, and `[batch]`, `u32`.
    pub(super) fn examples(self, batch: &Batch, draws: &Draws) -> Result<[Tensor; 2]> {
        let images = &batch.images;
        if self == Self::Classes {
            return Ok([images.clone(), batch.labels()?.clone()]);
        }
        let (count, _, width, _) = images.dims4()?;
        let kinds: Vec<u32> =
            draws.words("kind", count).into_iter().map(|word| word % DISTORTIONS.len() as u32).collect();
        let other = images.roll(1, 0)?;
        let shifted = [images.roll(1, 1)?, images.roll(-1, 1)?, images.roll(1, 2)?, images.roll(-1, 2)?];
        let sum = shifted.iter().try_fold(images.clone(), |sum, shifted| sum + shifted)?;
        let blurred = (sum / (shifted.len() + 1) as f64)?;
        let noisy = (images + (draws.normal("noise", images.shape())? * NOISE)?)?;
        let half = width / 2;
        let patched = if half == 0 {
            other
        } else {
            Tensor::cat(&[images.narrow(2, 0, half)?, other.narrow(2, half, width - half)?], 2)?
        };
        let mut examples = images.zeros_like()?;
        for (kind, distorted) in [images, &blurred, &noisy, &patched].into_iter().enumerate() {
            let chosen: Vec<f32> = kinds.iter().map(|of| f32::from(u8::from(*of as usize == kind))).collect();
            let chosen = Tensor::from_vec(chosen, (count, 1, 1, 1), images.device())?;
            examples = (examples + distorted.broadcast_mul(&chosen)?)?;
        }
        Ok([examples, Tensor::from_vec(kinds, count, images.device())?])
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn distortions_are_what_they_are_called() {
        let draws = Draws::new(3, &Device::Cpu);
        let images = draws.uniform("images", (64, 6, 5, 3)).unwrap();
        let batch = Batch { images: images.clone(), labels: None };
        let [distorted, kinds] = JudgeTarget::Distortions.examples(&batch, &draws).unwrap();
        let kinds = kinds.to_vec1::<u32>().unwrap();
        let pixels =
            |x: &Tensor, i: usize| x.get(i).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let spread = |v: &[f32]| {
            let mean = v.iter().sum::<f32>() / v.len() as f32;
            v.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / v.len() as f32
        };
        for (i, kind) in kinds.iter().enumerate() {
            let (before, after) = (pixels(&images, i), pixels(&distorted, i));
            let same = before.iter().zip(&after).filter(|(a, b)| (*a - *b).abs() < 1e-6).count();
            match JudgeTarget::Distortions.class_name(*kind).as_str() {
                "real" => assert_eq!(same, 90),
                // Two of the five columns are kept: 6 * 2 * 3 values.
                "patched" => assert_eq!(same, 36),
                "blurred" => assert!(spread(&after) < 0.5 * spread(&before)),
                _ => assert!(spread(&after) > spread(&before)),
            }
        }
        assert!((0..4).all(|kind| kinds.contains(&kind)), "{kinds:?}");
        assert_eq!(JudgeTarget::Classes.class_name(7), "class 7");
    }
}
