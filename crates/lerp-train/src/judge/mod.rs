//! A judge: a small classifier trained on the real images of a dataset, and its measurements of decoded images.
//!
//! A judge is trained once, with a fixed recipe and fixed random draws, and kept in the folder of a sweep, so that
//! all runs of the sweep are measured by the same judge. It runs on the CPU, whatever device the runs are trained
//! on.

mod material;
mod network;
mod record;
mod scores;
mod target;

use std::{
    f64::consts::TAU,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use candle_core::{DType, Device, Tensor, Var};
use lerp_core::{Decay, LearningRate, Param, Schedule};
use lerp_data::{Dataset, Lines, Split, line_label};
use lerp_eval::{
    EVALUATION_BATCH, JudgeOutput, Judged, LineReference, POSITIONS, PairEnds, RealFeatures, ReferenceImages,
    classifier, interpolation,
    quantity::{JUDGED_DISTANCE, JUDGED_DISTANCE_ERROR, JUDGED_PRECISION},
};
use lerp_kernels::{Adam, Moments, UpdateNumber, adam_steps, gradients, mean_cross_entropy};

use crate::{Learner, Result, paths::Interpolations};
use material::{Material, TestPairs, draws, each, pairs_of};
use network::{Classifier, most_probable};

pub use record::{JudgeRecord, ReferenceScores};
pub use scores::JudgeScores;
pub use target::JudgeTarget;

/// The default number of training samples of a judge.
pub const JUDGE_SAMPLES: u64 = 131_072;
/// The largest number of training samples of a judge.
pub const MAX_JUDGE_SAMPLES: u64 = 1 << 26;
const BATCH: usize = 64;
/// The number of training steps that [`Judge::seconds_per_sample`] takes; the first one is not timed.
const TIMED: u64 = 5;
const RATE: f64 = 1e-3;
/// The maximum number of test images on which a judge's own accuracy is measured.
const TESTED: usize = 10_000;

/// How the records of runs and judges identify a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetIdentity<'a> {
    /// Name of the dataset.
    pub name: &'a str,
    /// SHA-256 of the dataset's images and labels; `None` for a generated dataset.
    pub digest: Option<&'a str>,
}

/// A trained judge with its record.
///
/// # Examples
/// ```no_run
/// use std::{path::Path, sync::atomic::AtomicBool};
///
/// use lerp_data::Lines;
/// use lerp_train::{DatasetIdentity, JUDGE_SAMPLES, Judge, JudgeTarget};
///
/// // A sweep has one judge for each dataset, so that the scores of its runs can be compared.
/// let (sweep, lines) = (Path::new("results/quick"), DatasetIdentity { name: "lines", digest: None });
/// let judge = match Judge::find(sweep, &Lines, lines, None)? {
///     Some(judge) => judge,
///     None => {
///         let judge = Judge::train(&Lines, lines, JUDGE_SAMPLES, &AtomicBool::new(false))?;
///         judge.save(sweep)?;
///         judge
///     }
/// };
/// assert_eq!(judge.record().target, JudgeTarget::Classes);
/// println!("{:.1} % of {} test images", 100.0 * judge.record().accuracy, judge.record().tested);
/// # Ok::<(), lerp_train::Error>(())
/// ```
pub struct Judge {
    record: JudgeRecord,
    network: Classifier,
    /// The real images that decoded images are compared with; computed when they are first needed.
    comparison: Mutex<Option<Arc<Comparison>>>,
}

/// The judge's features of real images, and the pairs of test images, disjoint from these, to interpolate between.
struct Comparison {
    pairs: TestPairs,
    real: RealFeatures,
}

impl Judge {
    /// Returns whether a dataset has enough test images for a judge's score.
    ///
    /// # Errors
    /// If the images cannot be counted.
    pub fn has_enough_images(dataset: &dyn Dataset) -> Result<bool> {
        Ok(pairs_of(dataset.count(Split::Test)?).is_some())
    }

    /// Trains a judge on `samples` training images with Adam, batches of 64 and a learning rate of 0.001 that
    /// follows a cosine decay, and measures its accuracy and its reference scores.
    ///
    /// # Errors
    /// If images cannot be read, or `stop` became true.
    pub fn train(
        dataset: &dyn Dataset,
        identity: DatasetIdentity,
        samples: u64,
        stop: &AtomicBool,
    ) -> Result<Self> {
        let steps = samples.div_ceil(BATCH as u64).max(1);
        let training = JudgeTraining::new(dataset, steps)?;
        for step in 0..steps {
            if stop.load(Ordering::Relaxed) {
                return Err(lerp_eval::Error::Stopped.into());
            }
            training.step(step)?;
        }
        let JudgeTraining { network, target, .. } = training;
        let (accuracy, tested) = accuracy(&network, target, dataset)?;
        let record = JudgeRecord {
            format: record::FORMAT.into(),
            dataset: identity.name.into(),
            data: identity.digest.map(String::from),
            target,
            samples,
            accuracy,
            tested,
            weights: lerp_files::digest(&record::packed(&network)?),
            references: Vec::new(),
        };
        let mut judge = Self { record, network, comparison: Mutex::default() };
        judge.record.references = judge.references(dataset)?;
        Ok(judge)
    }

    /// Returns the training time per sample in seconds on the threads of the caller, measured over a few steps.
    ///
    /// # Errors
    /// If images cannot be read.
    pub fn seconds_per_sample(dataset: &dyn Dataset) -> Result<f64> {
        let training = JudgeTraining::new(dataset, TIMED)?;
        training.step(0)?;
        let started = Instant::now();
        (1..TIMED).try_for_each(|step| training.step(step))?;
        Ok(started.elapsed().as_secs_f64() / ((TIMED - 1) * BATCH as u64) as f64)
    }

    /// Returns the judge's record.
    pub fn record(&self) -> &JudgeRecord {
        &self.record
    }

    /// Returns the judge's features and predictions for images.
    ///
    /// # Shapes
    /// `[images, height, width, channels]`, on any device.
    pub(crate) fn predict(&self, images: &Tensor) -> Result<JudgeOutput> {
        let count = images.dim(0)?;
        let (mut features, mut classes, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
        for first in (0..count).step_by(EVALUATION_BATCH) {
            let chunk = images.narrow(0, first, EVALUATION_BATCH.min(count - first))?;
            let chunk = chunk.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
            let [of_chunk, logits] = self.network.forward(&chunk)?;
            features.push(of_chunk.detach());
            let (class, probability) = most_probable(&logits.detach())?;
            classes.extend(class);
            probabilities.extend(probability);
        }
        Ok(JudgeOutput { features: Tensor::cat(&features, 0)?, predicted: classes, probabilities })
    }

    /// Scores interpolations, the classes of whose ends are `classes`. Returns `None` if there are too few test
    /// images to compare with, or if the decoded images are not finite.
    ///
    /// # Shapes
    /// `[pairs, positions, height, width, channels]`.
    pub(crate) fn judge(
        &self,
        dataset: &dyn Dataset,
        images: &Tensor,
        classes: Option<Vec<[u32; 2]>>,
    ) -> Result<Option<Judged>> {
        let Some(comparison) = self.comparison(dataset)? else { return Ok(None) };
        // Only a judge that was trained on classes can be compared with the classes of the ends.
        let classes = classes.filter(|_| self.record.target == JudgeTarget::Classes);
        Ok(Judged::new(&self.predict(&images.flatten(0, 1)?)?, classes, &comparison.real)?)
    }

    /// Scores a model's interpolations between the judge's own pairs of test images. Returns `None` as
    /// [`Judge::judge`] does.
    pub(crate) fn judge_model(
        &self,
        learner: &Learner,
        dataset: &dyn Dataset,
        draws: &lerp_core::Draws,
    ) -> Result<Option<Judged>> {
        let Some(comparison) = self.comparison(dataset)? else { return Ok(None) };
        let model = learner.model();
        let encode = |images: &Tensor, end: &str| -> Result<Tensor> {
            let images = images.to_device(draws.device())?;
            Ok(model.encode(&images, &draws.scope(end))?.detach())
        };
        let PairEnds { left, right } = &comparison.pairs.ends;
        let between = Interpolations::new(model, &encode(left, "left")?, &encode(right, "right")?)?;
        self.judge(dataset, &between.images()?, comparison.pairs.classes.clone())
    }

    /// Returns the pairs and the features of real images, computing them on the first call; `None` if the dataset
    /// has too few test images.
    fn comparison(&self, dataset: &dyn Dataset) -> Result<Option<Arc<Comparison>>> {
        let mut comparison = self.comparison.lock().unwrap_or_else(PoisonError::into_inner);
        if comparison.is_none() {
            let Some(Material { pairs, real }) = Material::choose(dataset)? else { return Ok(None) };
            let real = RealFeatures::new(&self.predict(&real)?.features)?;
            *comparison = Some(Arc::new(Comparison { pairs, real }));
        }
        Ok(comparison.clone())
    }

    /// Scores images that no model made, as reference points: the test images of the pairs themselves; and
    /// interpolations between the pairs by mixing pixels, or, on lines, each [`LineReference`].
    fn references(&self, dataset: &dyn Dataset) -> Result<Vec<ReferenceScores>> {
        let Some(comparison) = self.comparison(dataset)? else { return Ok(Vec::new()) };
        let PairEnds { left, right } = &comparison.pairs.ends;
        let ends = Tensor::cat(&[left, right], 0)?;
        let floor = comparison.real.realism(&self.predict(&ends)?.features, 1)?;
        let floor = [
            JUDGED_DISTANCE.keyed(floor.distance.value),
            JUDGED_DISTANCE_ERROR.keyed(floor.distance.error),
            JUDGED_PRECISION.keyed(floor.precision),
        ];
        let mut references = vec![ReferenceScores { title: "test images".into(), values: floor.into() }];
        let judged = |title: &str, images: &Tensor, classes| -> Result<Option<ReferenceScores>> {
            let values = self.judge(dataset, images, classes)?.map(|judged| judged.values());
            let finite = |values: Vec<(String, f64)>| {
                let values = values.into_iter().filter(|(_, value)| value.is_finite()).collect();
                ReferenceScores { title: title.into(), values }
            };
            Ok(values.map(finite))
        };
        if dataset.name() == Lines::NAME {
            for reference in LineReference::ALL {
                let ReferenceImages { angles, images } = reference.interpolations()?;
                let label = |angle: f64| line_label(angle.rem_euclid(TAU)).min(dataset.classes() as u32 - 1);
                let classes = angles.iter().map(|pair| pair.map(label)).collect();
                references.extend(judged(reference.title(), &images, Some(classes))?);
            }
        } else {
            let PairEnds { left, right } = &comparison.pairs.ends;
            let blend = interpolation::linear(left, right, POSITIONS)?.transpose(0, 1)?.contiguous()?;
            references.extend(judged(
                LineReference::Blend.title(),
                &blend,
                comparison.pairs.classes.clone(),
            )?);
        }
        Ok(references)
    }
}

/// The state of a judge's training.
struct JudgeTraining<'a> {
    dataset: &'a dyn Dataset,
    target: JudgeTarget,
    network: Classifier,
    rate: LearningRate,
    /// Adam's first and second moment of each parameter.
    moments: Vec<[Var; 2]>,
}

impl<'a> JudgeTraining<'a> {
    fn new(dataset: &'a dyn Dataset, steps: u64) -> Result<Self> {
        let target = JudgeTarget::of(dataset);
        let network = Classifier::new(dataset.image(), target.classes(dataset))?;
        let schedule = Schedule { decay: Decay::Cosine, ..Schedule::default() };
        let rate = LearningRate { peak: RATE, schedule, steps };
        let zeros = |param: &Param| Var::from_tensor(&param.var.as_tensor().zeros_like()?);
        let both = |param: &Param| Ok([zeros(param)?, zeros(param)?]);
        let moments = network.store.params().iter().map(both).collect::<Result<_>>()?;
        Ok(Self { dataset, target, network, rate, moments })
    }

    fn step(&self, step: u64) -> Result<()> {
        let draws = draws().scope("train").at(step);
        let batch = self.dataset.train_batch(BATCH, &draws)?;
        let [images, labels] = self.target.examples(&batch, &draws)?;
        let [_, logits] = self.network.forward(&images)?;
        let mut store = gradients(&mean_cross_entropy(&logits, &labels)?)?;
        let params = self.network.store.params();
        let grad = |param: &Param| match store.remove(param.var.as_tensor()) {
            Some(grad) => Ok(grad),
            None => param.var.as_tensor().zeros_like(),
        };
        let grads: Vec<Tensor> = params.iter().map(grad).collect::<candle_core::Result<_>>()?;
        let all = params.iter().zip(&grads).zip(&self.moments);
        let all: Vec<Moments> =
            all.map(|((param, grad), [m, v])| Moments { param: &param.var, grad, m, v }).collect();
        let number = UpdateNumber::Given(step + 1);
        Ok(adam_steps(&all, self.rate.at(step), number, &Adam::default())?)
    }
}

/// Returns the classification accuracy of a network on test images, from 0 to 1, and the number of these images.
fn accuracy(network: &Classifier, target: JudgeTarget, dataset: &dyn Dataset) -> Result<(f64, usize)> {
    let tested = dataset.count(Split::Test)?.map_or(TESTED, |count| count.min(TESTED));
    let draws = draws().scope("test");
    let mut correct = 0.0;
    each(dataset, tested, &draws, |first, batch| {
        let [images, labels] = target.examples(&batch, &draws.scope("distortion").at(first as u64))?;
        let [_, logits] = network.forward(&images)?;
        correct += classifier::accuracy(&logits.detach(), &labels)? * images.dim(0)? as f64;
        Ok(())
    })?;
    Ok((correct / tested.max(1) as f64, tested))
}

#[cfg(test)]
mod tests;
