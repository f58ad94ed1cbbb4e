//! The judge of a dataset: a small network that was trained on its real images, and what it makes of decoded ones.
//!
//! It is trained once, by a recipe and draws that never change, and kept in the folder of a sweep, so that all runs there are
//! measured by the same one. It lives on the CPU, on whatever device runs are trained.

mod material;
mod network;
mod record;
mod target;
mod verdicts;

use std::{
    collections::BTreeMap,
    f64::consts::TAU,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use candle_core::{DType, Device, Tensor, Var};
use lerp_core::{Decay, LearningRate, Param, Schedule};
use lerp_data::{Dataset, Lines, Part, line_label};
use lerp_eval::{
    Judged, POSITIONS, Reading, Real, Way, classifier, interpolation,
    quantity::{JUDGED_DISTANCE, JUDGED_DISTANCE_ERROR, JUDGED_PRECISION},
};
use lerp_kernels::{Adam, At, Moments, adam_steps, gradients, mean_cross_entropy};

use crate::{Learner, Result, evaluate::CHUNK, paths::Between};
use material::{Material, draws, each, pairs_of};
use network::{Classifier, most_probable};

pub use record::{JudgeRecord, Reference};
pub use target::Target;
pub use verdicts::Verdicts;

/// Samples that a judge is trained on.
pub const JUDGE_SAMPLES: u64 = 131_072;
/// Most samples that anybody trains one on.
pub const MOST_JUDGE_SAMPLES: u64 = 1 << 26;
const BATCH: usize = 64;
/// Steps that are taken to time one.
const TIMED: u64 = 5;
const RATE: f64 = 1e-3;
/// Most test images that a judge's own accuracy is measured on.
const TESTED: usize = 10_000;

/// A judge, and what it is known by.
pub struct Judge {
    record: JudgeRecord,
    network: Classifier,
    /// What it compares with, once it was needed.
    seen: Mutex<Option<Arc<Seen>>>,
}

/// Real images as a judge sees them, and pairs of others.
struct Seen {
    pairs: Material,
    real: Real,
}

impl Judge {
    /// Whether a dataset has images enough for a judge's score.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn fits(dataset: &dyn Dataset) -> Result<bool> {
        Ok(pairs_of(dataset.count(Part::Test)?).is_some())
    }

    /// Trains one on `samples` training images: Adam, batches of 64, a learning rate of 0.001 that falls along a cosine. Then
    /// measures it, and what can be said with it of images that no model made. Records call the dataset `name`; `data` is the
    /// digest of its images.
    ///
    /// # Errors
    /// If images cannot be read, or `stop` became true.
    pub fn train(
        dataset: &dyn Dataset,
        (name, data): (&str, Option<String>),
        samples: u64,
        stop: &AtomicBool,
    ) -> Result<Self> {
        let steps = samples.div_ceil(BATCH as u64).max(1);
        let training = Training::new(dataset, steps)?;
        for step in 0..steps {
            if stop.load(Ordering::Relaxed) {
                return Err(lerp_eval::Error::Stopped.into());
            }
            training.step(step)?;
        }
        let Training { network, target, .. } = training;
        let (accuracy, tested) = accuracy(&network, target, dataset)?;
        let record = JudgeRecord {
            format: record::FORMAT.into(),
            dataset: name.into(),
            data,
            target,
            samples,
            accuracy,
            tested,
            weights: lerp_files::digest(&record::packed(&network)?),
            references: Vec::new(),
        };
        let mut judge = Self { record, network, seen: Mutex::default() };
        judge.record.references = judge.references(dataset)?;
        Ok(judge)
    }

    /// Seconds of one sample of its training, on the threads of the caller, from a few steps.
    ///
    /// # Errors
    /// If images cannot be read.
    pub fn seconds_per_sample(dataset: &dyn Dataset) -> Result<f64> {
        let training = Training::new(dataset, TIMED)?;
        training.step(0)?;
        let started = Instant::now();
        (1..TIMED).try_for_each(|step| training.step(step))?;
        Ok(started.elapsed().as_secs_f64() / ((TIMED - 1) * BATCH as u64) as f64)
    }

    /// What it is known by.
    pub fn record(&self) -> &JudgeRecord {
        &self.record
    }

    /// What it makes of images.
    ///
    /// # Shapes
    /// `[images, height, width, channels]`, on any device.
    pub(crate) fn read(&self, images: &Tensor) -> Result<Reading> {
        let count = images.dim(0)?;
        let (mut features, mut words, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
        for first in (0..count).step_by(CHUNK) {
            let chunk = images.narrow(0, first, CHUNK.min(count - first))?;
            let chunk = chunk.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?;
            let [of_chunk, logits] = self.network.forward(&chunk)?;
            features.push(of_chunk.detach());
            let (word, probability) = most_probable(&logits.detach())?;
            words.extend(word);
            probabilities.extend(probability);
        }
        Ok(Reading { features: Tensor::cat(&features, 0)?, words, probabilities })
    }

    /// What it makes of interpolations whose ends are of these classes; none if there are none, too few test images to compare
    /// with, or decoded images are not finite.
    ///
    /// # Shapes
    /// `[pairs, positions, height, width, channels]`.
    pub(crate) fn judge(
        &self,
        dataset: &dyn Dataset,
        images: &Tensor,
        classes: Option<Vec<[u32; 2]>>,
    ) -> Result<Option<Judged>> {
        let Some(seen) = self.seen(dataset)? else { return Ok(None) };
        // Only a judge of classes knows the classes of the ends.
        let classes = classes.filter(|_| self.record.target == Target::Classes);
        Ok(Judged::new(&self.read(&images.flatten(0, 1)?)?, classes, &seen.real)?)
    }

    /// What it makes of a model's interpolations between its pairs of test images.
    pub(crate) fn judge_model(
        &self,
        learner: &Learner,
        dataset: &dyn Dataset,
        draws: &lerp_core::Draws,
    ) -> Result<Option<Judged>> {
        let Some(seen) = self.seen(dataset)? else { return Ok(None) };
        let model = learner.model();
        let encode = |images: &Tensor, end: &str| -> Result<Tensor> {
            let images = images.to_device(draws.device())?;
            Ok(model.encode(&images, &draws.scope(end))?.detach())
        };
        let [left, right] = &seen.pairs.ends;
        let between = Between::new(model, &encode(left, "left")?, &encode(right, "right")?)?;
        self.judge(dataset, &between.images()?, seen.pairs.classes.clone())
    }

    /// The real images, seen once.
    fn seen(&self, dataset: &dyn Dataset) -> Result<Option<Arc<Seen>>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_none() {
            let Some((pairs, real)) = Material::of(dataset)? else { return Ok(None) };
            let real = Real::new(&self.read(&real)?.features)?;
            *seen = Some(Arc::new(Seen { pairs, real }));
        }
        Ok(seen.clone())
    }

    /// What the score says of images that no model made: of test images beside others, and of the pairs' pixels, mixed; of lines
    /// also of those between which the best there is was drawn.
    fn references(&self, dataset: &dyn Dataset) -> Result<Vec<Reference>> {
        let Some(seen) = self.seen(dataset)? else { return Ok(Vec::new()) };
        let ends = Tensor::cat(&seen.pairs.ends, 0)?;
        let floor = seen.real.realism(&self.read(&ends)?.features, 1)?;
        let floor = [
            JUDGED_DISTANCE.keyed(floor.distance.value),
            JUDGED_DISTANCE_ERROR.keyed(floor.distance.error),
            JUDGED_PRECISION.keyed(floor.precision),
        ];
        let mut references = vec![Reference { title: "test images".into(), values: floor.into() }];
        let judged = |title: &str, images: &Tensor, classes| -> Result<Option<Reference>> {
            let values = self.judge(dataset, images, classes)?.map(|judged| judged.values());
            let finite = |values: Vec<(String, f64)>| {
                let values = values.into_iter().filter(|(_, value)| value.is_finite()).collect();
                Reference { title: title.into(), values }
            };
            Ok(values.map(finite))
        };
        if dataset.name() == Lines::NAME {
            for way in Way::ALL {
                let (angles, images) = way.interpolations()?;
                let label = |angle: f64| line_label(angle.rem_euclid(TAU)).min(dataset.classes() as u32 - 1);
                let classes = angles.iter().map(|pair| pair.map(label)).collect();
                references.extend(judged(way.title(), &images, Some(classes))?);
            }
        } else {
            let [left, right] = &seen.pairs.ends;
            let blend = interpolation::linear(left, right, POSITIONS)?.transpose(0, 1)?.contiguous()?;
            references.extend(judged(Way::Blend.title(), &blend, seen.pairs.classes.clone())?);
        }
        Ok(references)
    }
}

/// A judge in training.
struct Training<'a> {
    dataset: &'a dyn Dataset,
    target: Target,
    network: Classifier,
    rate: LearningRate,
    /// Adam's two moments of each parameter.
    moments: Vec<[Var; 2]>,
}

impl<'a> Training<'a> {
    fn new(dataset: &'a dyn Dataset, steps: u64) -> Result<Self> {
        let target = Target::of(dataset);
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
        Ok(adam_steps(&all, self.rate.at(step), At::Step(step + 1), &Adam::default())?)
    }
}

/// The share of test images that a network tells right, and how many these are.
fn accuracy(network: &Classifier, target: Target, dataset: &dyn Dataset) -> Result<(f64, usize)> {
    let tested = dataset.count(Part::Test)?.map_or(TESTED, |count| count.min(TESTED));
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

/// Values by key.
pub type Values = BTreeMap<String, f64>;

#[cfg(test)]
mod tests;
