//! User-defined metrics: tensors in, numbers out.

use candle_core::{DType, Device, Tensor};
use lerp_core::{Autoencoder, Draws};
use lerp_data::{Batch, Dataset, Split};

use crate::{Error, Quantity, Result, When, quantities};

/// The number of images that go through a model at a time when it is evaluated.
pub const EVALUATION_BATCH: usize = 256;
/// The maximum numbers of characters of a key without its prefix, of a title, a unit and a caption.
const MAX_KEY: usize = 64;
const MAX_TITLE: usize = 80;
const MAX_UNIT: usize = 20;
const MAX_CAPTION: usize = 600;
/// The maximum number of user-defined quantities of a run.
const MAX_QUANTITIES: usize = 64;

/// A user-defined metric, which a run measures besides the built-in ones.
///
/// Its values must depend on the model, the images and its own draws alone, so that a resumed run has the same
/// ones. Values that are not finite count as undefined, and tables leave them out.
///
/// ```
/// use lerp_eval::{Better, Metric, Quantity, Result, Subject};
///
/// /// How bright decoded images are halfway between two test images.
/// struct Brightness([Quantity; 1]);
///
/// impl Metric for Brightness {
///     fn quantities(&self) -> &[Quantity] {
///         &self.0
///     }
///     fn measure(&self, of: &Subject) -> Result<Vec<f64>> {
///         let between = of.between(64, &[0.5])?;
///         Ok(vec![between.images.mean_all()?.to_scalar::<f32>()?.into()])
///     }
/// }
///
/// static BRIGHTNESS: Brightness = Brightness([Quantity::new(
///     "brightness",
///     "Brightness",
///     Better::Neither,
///     "Mean of all pixels halfway between two test images, from -1 to 1.",
/// )]);
/// assert!(lerp_eval::check_metrics(&[&BRIGHTNESS]).is_ok());
/// ```
pub trait Metric: Send + Sync {
    /// Returns the quantities that it measures, in the order of its values. A key is a word of small letters,
    /// digits and `_` that no built-in quantity has; files prefix it with `eval/` or `final/`, as [`Metric::when`]
    /// says.
    fn quantities(&self) -> &[Quantity];

    /// Returns when it measures; the default is at each evaluation.
    fn when(&self) -> When {
        When::EachEvaluation
    }

    /// Measures a value for each of [`Metric::quantities`].
    ///
    /// # Errors
    /// If it cannot measure; the run then fails with the error's message. [`Error::Other`] takes any message.
    fn measure(&self, of: &Subject<'_>) -> Result<Vec<f64>>;
}

/// The model and the images that a metric measures.
pub struct Subject<'a> {
    /// The model.
    pub model: &'a dyn Autoencoder,
    /// The dataset that the model is trained and tested on.
    pub dataset: &'a dyn Dataset,
    /// Draws at the step of the measurement, in a scope of the metric's own, so that they change no other number.
    pub draws: Draws,
    /// Maximum number of test images that an evaluation of the run measures on.
    pub samples: usize,
}

/// Test images with a model's reconstructions and latents. All tensors are `f32` on the CPU.
#[derive(Debug, Clone)]
pub struct TestImages {
    /// The images, `[images, height, width, channels]`.
    pub images: Tensor,
    /// Their reconstructions, of the same shape, not clipped.
    pub reconstructions: Tensor,
    /// Their latents, `[images, ...]` as in the model's [`lerp_core::Spec`].
    pub latents: Tensor,
    /// Their classes; `None` if they have no labels.
    pub labels: Option<Vec<u32>>,
}

/// The images that interpolations begin and end with.
#[derive(Debug, Clone)]
pub struct PairEnds {
    /// The images at α = 0, `[pairs, height, width, channels]`.
    pub left: Tensor,
    /// The images at α = 1, `[pairs, height, width, channels]`.
    pub right: Tensor,
}

impl PairEnds {
    /// Takes the first `pairs` images as left ones and the next `pairs` images as right ones.
    ///
    /// # Shapes
    /// `images` `[n, height, width, channels]` with `n` of at least `2·pairs`.
    ///
    /// # Errors
    /// If there are fewer than `2·pairs` images.
    pub fn of_first(images: &Tensor, pairs: usize) -> Result<Self> {
        Ok(Self { left: images.narrow(0, 0, pairs)?, right: images.narrow(0, pairs, pairs)? })
    }
}

/// Interpolations between test images. All tensors are `f32` on the CPU.
#[derive(Debug, Clone)]
pub struct Interpolated {
    /// The test images that the interpolations begin and end with.
    pub ends: PairEnds,
    /// The interpolated latents, `[pairs, positions, ...]`.
    pub latents: Tensor,
    /// The images decoded from these latents, `[pairs, positions, height, width, channels]`, not clipped.
    pub images: Tensor,
}

impl Subject<'_> {
    /// Returns the same subject with draws in a scope of `metric`'s own.
    #[must_use]
    pub fn for_metric(self, metric: &dyn Metric) -> Self {
        let name = metric.quantities().first().map_or("", |quantity| &*quantity.key);
        Self { draws: self.draws.scope("metric").scope(name), ..self }
    }

    /// Returns the first [`Subject::samples`] test images, or all if there are fewer, or as many generated ones;
    /// with their reconstructions and latents.
    ///
    /// # Errors
    /// If the images cannot be read, or the model fails.
    pub fn test(&self) -> Result<TestImages> {
        let count = self.dataset.count(Split::Test)?;
        let samples = count.map_or(self.samples, |count| count.min(self.samples));
        let (mut images, mut reconstructions, mut latents) = (Vec::new(), Vec::new(), Vec::new());
        let mut labels = Some(Vec::new());
        for (chunk, first) in (0..samples).step_by(EVALUATION_BATCH).enumerate() {
            let draws = self.draws.scope(&chunk.to_string());
            let batch = test_images(self.dataset, first, EVALUATION_BATCH.min(samples - first), &draws)?;
            let z = self.model.encode(&batch.images, &draws)?;
            latents.push(on_cpu(&z)?);
            reconstructions.push(on_cpu(&self.model.reconstruct(&batch.images, &draws)?)?);
            images.push(on_cpu(&batch.images)?);
            match (&mut labels, batch.labels) {
                (Some(all), Some(some)) => all.extend(some.to_vec1::<u32>()?),
                _ => labels = None,
            }
        }
        let whole = |parts: &[Tensor]| Tensor::cat(parts, 0);
        Ok(TestImages {
            images: whole(&images)?,
            reconstructions: whole(&reconstructions)?,
            latents: whole(&latents)?,
            labels,
        })
    }

    /// Interpolates between the first `pairs` test images and as many after them, or between as many generated
    /// ones, at `positions` from 0 (left) to 1 (right). If there are too few images there are fewer pairs.
    ///
    /// # Errors
    /// If the images cannot be read, or the model fails.
    pub fn between(&self, pairs: usize, positions: &[f64]) -> Result<Interpolated> {
        let PairEnds { left, right } = test_pairs(self.dataset, pairs, &self.draws)?;
        let (mut latents, mut images) = (Vec::new(), Vec::new());
        let pairs = left.dim(0)?;
        for first in (0..pairs).step_by(EVALUATION_BATCH) {
            let end = |images: &Tensor, name: &str| -> Result<Tensor> {
                let images = images.narrow(0, first, EVALUATION_BATCH.min(pairs - first))?;
                let draws = self.draws.scope(name).scope(&(first / EVALUATION_BATCH).to_string());
                Ok(self.model.encode(&images, &draws)?.detach())
            };
            let (left, right) = (end(&left, "left")?, end(&right, "right")?);
            let (mut z, mut x) = (Vec::new(), Vec::new());
            for position in positions {
                let mixed = self.model.mix(&left, &right, *position)?.detach();
                x.push(on_cpu(&self.model.decode(&mixed)?)?);
                z.push(on_cpu(&mixed)?);
            }
            latents.push(Tensor::stack(&z, 1)?);
            images.push(Tensor::stack(&x, 1)?);
        }
        Ok(Interpolated {
            ends: PairEnds { left: on_cpu(&left)?, right: on_cpu(&right)? },
            latents: Tensor::cat(&latents, 0)?,
            images: Tensor::cat(&images, 0)?,
        })
    }
}

fn on_cpu(x: &Tensor) -> Result<Tensor> {
    Ok(x.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?)
}

/// Returns `size` test images from index `first` on, or as many generated ones.
///
/// # Errors
/// If the images cannot be read, or there are fewer.
pub fn test_images(dataset: &dyn Dataset, first: usize, size: usize, draws: &Draws) -> Result<Batch> {
    let batch = match dataset.count(Split::Test)? {
        None => dataset.test_batch(size, draws)?,
        Some(_) => dataset.range(Split::Test, first..first + size, draws.device())?,
    };
    batch.check(dataset, size)?;
    Ok(batch)
}

/// Returns left and right test images: those with indices `i` and `i + n` of the first `2 n` ones, where `n` is at
/// most `pairs`; or as many generated ones. If there is only one image, it is both.
///
/// # Errors
/// If the images cannot be read.
pub fn test_pairs(dataset: &dyn Dataset, pairs: usize, draws: &Draws) -> Result<PairEnds> {
    let Some(count) = dataset.count(Split::Test)? else {
        return PairEnds::of_first(&dataset.test_batch(2 * pairs, draws)?.images, pairs);
    };
    let n = (count / 2).clamp(1, pairs.max(1));
    let end = count.min(2 * n);
    let left = dataset.range(Split::Test, 0..n, draws.device())?;
    let right = dataset.range(Split::Test, end - n..end, draws.device())?;
    Ok(PairEnds { left: left.images, right: right.images })
}

/// Returns a metric's quantities under the keys that files use: with `eval/` or `final/`.
pub fn recorded(metric: &dyn Metric) -> impl Iterator<Item = Quantity> {
    let prefix = metric.when().prefix();
    metric
        .quantities()
        .iter()
        .map(move |of| Quantity { key: format!("{prefix}{}", of.key).into(), ..of.clone() })
}

/// Measures a metric and returns its values by the keys that files use.
///
/// # Errors
/// If the metric fails, or gives more or fewer values than it has quantities.
pub fn measured(metric: &dyn Metric, of: &Subject<'_>) -> Result<Vec<(String, f64)>> {
    let key = metric.quantities().first().map(|of| of.key.to_string()).unwrap_or_default();
    let values = metric.measure(of).map_err(|error| match error {
        Error::Stopped => Error::Stopped,
        error => Error::Metric { key: key.clone(), problem: error.to_string() },
    })?;
    let (wanted, given) = (metric.quantities().len(), values.len());
    if wanted != given {
        let problem = format!("it gave {given} numbers for its {wanted} quantities");
        return Err(Error::Metric { key, problem });
    }
    Ok(recorded(metric).zip(values).map(|(quantity, value)| quantity.keyed(value)).collect())
}

/// Checks the quantities that metrics declare.
///
/// # Errors
/// The first quantity whose key, title, unit or caption is invalid, or whose key another quantity has.
pub fn check_metrics(metrics: &[&dyn Metric]) -> Result<()> {
    let mut all: Vec<Quantity> = Vec::new();
    for metric in metrics {
        if metric.quantities().is_empty() {
            return Err(Error::Metric { key: String::new(), problem: "it has no quantity".into() });
        }
        for quantity in recorded(*metric) {
            let bad = |problem: String| Error::Metric { key: quantity.name().to_owned(), problem };
            quantity.check().map_err(bad)?;
            let same = |other: &Quantity| other.name() == quantity.name();
            if quantities().any(same) {
                return Err(bad("the key is one of Lerpbench's own; give it another".into()));
            }
            if all.iter().any(same) {
                return Err(bad("two quantities have this key; give one of them another".into()));
            }
            all.push(quantity);
        }
    }
    check_recorded(&all).map_err(|problem| Error::Metric { key: all[0].name().to_owned(), problem })
}

/// Checks user-defined quantities, such as those that are read from a file.
///
/// # Errors
/// The first problem, in words.
pub fn check_recorded(recorded: &[Quantity]) -> std::result::Result<(), String> {
    if recorded.len() > MAX_QUANTITIES {
        return Err(format!(
            "a run has at most {MAX_QUANTITIES} quantities of its own, not {}",
            recorded.len()
        ));
    }
    recorded.iter().try_for_each(Quantity::check)
}

impl Quantity {
    /// Checks the key and the texts of a user-defined quantity.
    fn check(&self) -> std::result::Result<(), String> {
        let name = self.name();
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let word = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(inside);
        if When::of(&self.key).is_none() || !word || name.len() > MAX_KEY {
            return Err(format!(
                "a key is a word of at most {MAX_KEY} small letters, digits and '_' that begins with a letter"
            ));
        }
        for (what, text, most) in [
            ("title", &self.title, MAX_TITLE),
            ("unit", &self.unit, MAX_UNIT),
            ("caption", &self.caption, MAX_CAPTION),
        ] {
            let letters = text.chars().count();
            if letters > most || (letters == 0 && what != "unit") {
                return Err(format!("its {what} must have 1 to {most} letters, and has {letters}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Better;

    struct Named(Vec<Quantity>, When);

    impl Metric for Named {
        fn quantities(&self) -> &[Quantity] {
            &self.0
        }
        fn when(&self) -> When {
            self.1
        }
        fn measure(&self, _: &Subject<'_>) -> Result<Vec<f64>> {
            Ok(Vec::new())
        }
    }

    fn named(key: &'static str, title: &'static str) -> Named {
        Named(vec![Quantity::new(key, title, Better::Lower, "A caption.")], When::EachEvaluation)
    }

    #[test]
    fn invalid_keys_and_texts_are_refused_with_a_reason() {
        let message = |metrics: &[&dyn Metric]| check_metrics(metrics).unwrap_err().to_string();
        for key in ["", "Sharpness", "a b", "9a", "eval/x", "é"] {
            assert!(message(&[&named(key, "x")]).contains("a key is a word"), "{key}");
        }
        for key in ["detour", "cluster_accuracy"] {
            assert_eq!(
                message(&[&named(key, "x")]),
                format!("the metric '{key}': the key is one of Lerpbench's own; give it another")
            );
        }
        assert!(message(&[&named("a", "")]).contains("its title must have 1 to 80 letters, and has 0"));
        let end = Named(named("a", "x").0, When::AtTheEnd);
        assert!(message(&[&named("a", "x"), &end]).contains("two quantities have this key"));
        assert!(message(&[&Named(Vec::new(), When::AtTheEnd)]).contains("it has no quantity"));
        check_metrics(&[&named("a", "x"), &named("b_2", "y")]).unwrap();
        let keys: Vec<_> = recorded(&end).map(|quantity| quantity.key).collect();
        assert_eq!(keys, ["final/a"]);
    }
}
