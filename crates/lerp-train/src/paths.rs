//! Quantities measured at every position of interpolations: latent norms, distances to lines, and a critic's
//! estimates.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use lerp_core::{Autoencoder, Draws};
use lerp_data::Dataset;
use lerp_eval::{
    LineMetrics, POSITIONS, PairEnds,
    quantity::{CRITIC_ALPHA, OF_CRITIC},
    test_pairs,
};

use crate::{
    Learner, Result,
    files::PATHS,
    tensors::{Tensors, pack},
};

/// The number of pairs of test images on datasets other than lines.
pub(crate) const IMAGE_PAIRS: usize = 64;
/// The number of pairs whose decoded images a critic evaluates: all the pairs of lines would make an evaluation
/// half as long again.
const CRITIC_PAIRS: usize = 64;

/// A number at every position of every interpolation. Position `i` is at the interpolation coefficient α = `i` /
/// 15, from left to right.
pub type Profile = Vec<[f32; POSITIONS]>;

/// Quantities along the interpolations of an evaluation: between its 256 pairs of test lines, or, on other
/// datasets, between the first 64 test images and the 64 after them, or fewer where there are fewer.
/// [`Run::paths`](crate::Run::paths) reads them, as in the example of [`train`](crate::train()).
#[derive(Debug, Clone, PartialEq)]
pub struct Paths {
    /// L2 norm of the flattened latent.
    pub norm: Profile,
    /// On lines: cosine distance of the decoded image to the nearest true line; NaN for an image that is zero or
    /// not finite.
    pub distance: Option<Profile>,
    /// On lines: angle of the nearest true line, in radians in [0, 2π).
    pub angle: Option<Profile>,
    /// For a variant with a critic: the critic's estimate of min(α, 1 - α) for the decoded image, on the first 64
    /// interpolations.
    pub critic: Option<Profile>,
}

/// The latents between pairs, and the images that they decode to, computed by a model of this workspace or read
/// from the answers of another one.
pub(crate) struct Interpolations {
    /// One tensor for each position, `[pairs, h, w, c]`.
    latents: Vec<Tensor>,
    /// One tensor for each position, `[pairs, height, width, channels]`, not clipped, on the model's device.
    images: Vec<Tensor>,
}

impl Interpolations {
    /// Interpolates at [`POSITIONS`] equal steps from `left` to `right`, and decodes the latents.
    ///
    /// # Shapes
    /// Two latents `[pairs, h, w, c]`.
    pub fn new(model: &dyn Autoencoder, left: &Tensor, right: &Tensor) -> Result<Self> {
        let latents = mixtures(model, left, right)?;
        let images = latents.iter().map(|z| Ok(model.decode(z)?.detach())).collect::<Result<_>>()?;
        Ok(Self { latents, images })
    }

    /// Takes latents and images that another program computed.
    ///
    /// # Shapes
    /// `latents` `[pairs, positions, ...]`, `images` `[pairs, positions, height, width, channels]`.
    pub fn answered(latents: &Tensor, images: &Tensor) -> Result<Self> {
        let by_position = |all: &Tensor| -> Result<Vec<Tensor>> {
            (0..POSITIONS).map(|i| Ok(all.narrow(1, i, 1)?.squeeze(1)?)).collect()
        };
        Ok(Self { latents: by_position(latents)?, images: by_position(images)? })
    }

    /// Returns the decoded images.
    ///
    /// # Shapes
    /// `[pairs, positions, height, width, channels]`, `f32` on the CPU.
    pub fn images(&self) -> Result<Tensor> {
        let on_cpu = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F32);
        let images: Vec<Tensor> = self.images.iter().map(on_cpu).collect::<candle_core::Result<_>>()?;
        Ok(Tensor::stack(&images, 1)?)
    }

    /// Returns the critic's estimates for the decoded images of the first [`CRITIC_PAIRS`] pairs; `None` for a
    /// model without a critic.
    pub fn critic(&self, model: &dyn Autoencoder) -> Result<Option<Profile>> {
        let mut estimates = Vec::with_capacity(POSITIONS);
        for images in &self.images {
            let images = images.narrow(0, 0, images.dim(0)?.min(CRITIC_PAIRS))?;
            let Some(estimate) = model.coefficient(&images)? else { return Ok(None) };
            estimates.push(estimate.detach());
        }
        profile(&estimates).map(Some)
    }
}

fn mixtures(model: &dyn Autoencoder, left: &Tensor, right: &Tensor) -> Result<Vec<Tensor>> {
    let at = |position: usize| {
        let t = position as f64 / (POSITIONS - 1) as f64;
        Ok(model.mix(left, right, t)?.detach())
    };
    (0..POSITIONS).map(at).collect()
}

fn norms(latents: &[Tensor]) -> Result<Profile> {
    let norm = |z: &Tensor| Ok(z.flatten_from(1)?.sqr()?.sum(1)?.sqrt()?);
    profile(&latents.iter().map(norm).collect::<Result<Vec<_>>>()?)
}

/// Builds a profile from one tensor `[pairs]` for each position.
fn profile(by_position: &[Tensor]) -> Result<Profile> {
    let table = Tensor::stack(by_position, 1)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    let values = table.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.as_chunks::<POSITIONS>().0.to_vec())
}

impl Paths {
    /// Builds the paths of interpolations between lines from their line metrics and, if there is a critic, its
    /// estimates.
    pub(crate) fn of_lines(
        between: &Interpolations,
        metrics: &LineMetrics,
        critic: Option<Profile>,
    ) -> Result<Self> {
        let profile = |values: &[f64]| -> Profile {
            values.as_chunks::<POSITIONS>().0.iter().map(|row| row.map(|v| v as f32)).collect()
        };
        Ok(Self {
            norm: norms(&between.latents)?,
            distance: Some(profile(&metrics.distance)),
            angle: Some(profile(&metrics.closest_angle)),
            critic,
        })
    }

    /// Builds the paths of interpolations from the norms of their latents alone.
    pub(crate) fn of_latents(between: &Interpolations) -> Result<Self> {
        Ok(Self { norm: norms(&between.latents)?, distance: None, angle: None, critic: None })
    }

    /// Measures interpolations between the first test images and as many after them. The latents are decoded only
    /// for a model with a critic.
    ///
    /// # Errors
    /// If the images cannot be read or the tensor library fails.
    pub(crate) fn of_images(learner: &Learner, dataset: &dyn Dataset, draws: &Draws) -> Result<Self> {
        let model = learner.model();
        let PairEnds { left, right } = test_pairs(dataset, IMAGE_PAIRS, draws)?;
        let first = left.narrow(0, 0, 1)?;
        let left = model.encode(&left, &draws.scope("left"))?.detach();
        let right = model.encode(&right, &draws.scope("right"))?.detach();
        let (norm, critic) = if model.coefficient(&first)?.is_some() {
            let between = Interpolations::new(model, &left, &right)?;
            (norms(&between.latents)?, between.critic(model)?)
        } else {
            (norms(&mixtures(model, &left, &right)?)?, None)
        };
        Ok(Self { norm, distance: None, angle: None, critic })
    }

    /// Returns a critic's metrics by key: its mean estimate for each true value of min(α, 1 - α), and its mean
    /// absolute error.
    pub(crate) fn critic_metrics(&self) -> Vec<(String, f64)> {
        let Some(critic) = &self.critic else { return Vec::new() };
        let at = |i: usize| critic.iter().map(move |row| f64::from(row[i]));
        let truth = |i: usize| i.min(POSITIONS - 1 - i) as f64 / (POSITIONS - 1) as f64;
        let pairs = critic.len() as f64;
        let mean = |i: usize| at(i).chain(at(POSITIONS - 1 - i)).sum::<f64>() / (2.0 * pairs);
        let error: f64 = (0..POSITIONS).map(|i| at(i).map(|v| (v - truth(i)).abs()).sum::<f64>()).sum();
        let values = (0..CRITIC_ALPHA.len()).map(mean).chain([error / (POSITIONS as f64 * pairs)]);
        OF_CRITIC.into_iter().zip(values).map(|(of, value)| of.keyed(value)).collect()
    }

    /// Returns the name and the bytes of the file `paths.safetensors`.
    ///
    /// # Errors
    /// If the tensors cannot be serialised.
    pub(crate) fn file(&self) -> Result<(&'static str, Vec<u8>)> {
        let named = [
            ("norm", Some(&self.norm)),
            ("distance", self.distance.as_ref()),
            ("angle", self.angle.as_ref()),
            ("critic", self.critic.as_ref()),
        ];
        let mut tensors = Vec::new();
        for (name, profile) in named {
            let Some(profile) = profile else { continue };
            let shape = (profile.len(), POSITIONS);
            tensors.push((name, Tensor::from_slice(profile.as_flattened(), shape, &Device::Cpu)?));
        }
        Ok((PATHS, pack(PATHS, tensors)?))
    }

    /// Reads the paths of the run in `dir`. Returns `None` if the run has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let Some(tensors) = Tensors::read(dir, PATHS)? else { return Ok(None) };
        let rows = |name: &str, tensor: &Tensor| match tensor.dims() {
            [pairs, POSITIONS] if *pairs > 0 => {
                let values = tensor.flatten_all()?.to_vec1::<f32>()?;
                Ok(values.as_chunks::<POSITIONS>().0.to_vec())
            }
            dims => Err(tensors.damaged(&format!("'{name}' of size {dims:?}"))),
        };
        let find = |name: &str| tensors.find(name)?.map(|tensor| rows(name, &tensor)).transpose();
        Ok(Some(Self {
            norm: rows("norm", &tensors.get("norm")?)?,
            distance: find("distance")?,
            angle: find("angle")?,
            critic: find("critic")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use lerp_eval::quantity::CRITIC_ERROR;

    use super::*;

    fn paths(critic: Option<Profile>) -> Paths {
        let norm = vec![[1.5; POSITIONS], [2.0; POSITIONS]];
        Paths { norm, distance: None, angle: Some(vec![[0.25; POSITIONS]; 2]), critic }
    }

    #[test]
    fn critic_metrics_average_both_sides_of_an_interpolation() {
        assert!(paths(None).critic_metrics().is_empty());
        let truth: [f32; POSITIONS] = std::array::from_fn(|i| i.min(15 - i) as f32 / 15.0);
        // The estimates are exact for one pair, and 0.1 too high on the right side for the other.
        let mut high = truth;
        high[8..].iter_mut().for_each(|v| *v += 0.1);
        let metrics = paths(Some(vec![truth, high])).critic_metrics();
        assert_eq!(metrics.len(), 9);
        for (i, (name, value)) in metrics[..8].iter().enumerate() {
            assert_eq!(*name, CRITIC_ALPHA[i].key);
            assert!((value - (i as f64 / 15.0 + 0.025)).abs() < 1e-6, "{name} {value}");
        }
        assert!(metrics[8].0 == CRITIC_ERROR.key && (metrics[8].1 - 0.025).abs() < 1e-6, "{:?}", metrics[8]);
    }

    #[test]
    fn paths_survive_a_round_trip_and_damage_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Paths::read(dir.path()).unwrap(), None);
        let written = paths(Some(vec![[0.5; POSITIONS], [f32::INFINITY; POSITIONS]]));
        std::fs::write(dir.path().join(PATHS), written.file().unwrap().1).unwrap();
        assert_eq!(Paths::read(dir.path()).unwrap(), Some(written));
        let path = dir.path().join(PATHS);
        let damaged = |wanted: &str| {
            let message = Paths::read(dir.path()).unwrap_err().to_string();
            assert!(message.contains(wanted) && message.contains("makes it again"), "{message}");
        };
        let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
        let write = |tensors| std::fs::write(&path, pack(PATHS, tensors).unwrap()).unwrap();
        write(vec![("norm", zeros(&[4, 15]))]);
        damaged("'norm' of size [4, 15]");
        write(vec![("critic", zeros(&[4, 16]))]);
        damaged("it holds no 'norm'");
        std::fs::write(&path, "nothing of the kind").unwrap();
        damaged("is damaged");
    }
}
