//! Evaluation of a model in training: the protocol's numbers at one step, and what they are made of.

use std::collections::HashSet;

use candle_core::Tensor;
use lerp_core::{Draws, scalar};
use lerp_data::{Dataset, Part};
use lerp_eval::{
    LineBank, classifier,
    quantity::{CODES_IN_USE, ON_LINES, ON_TEST_IMAGES},
    test_images,
};

use crate::{Learner, Paths, Profile, Result, Run, Strips, digests::RunFiles, paths::Between, samples};

/// Pairs of lines that an evaluation interpolates between.
pub const EVALUATED_PAIRS: usize = 256;
/// Images that go through the model at a time.
pub(crate) const CHUNK: usize = 256;

/// What one evaluation found.
#[derive(Debug)]
pub struct Evaluation {
    /// Its numbers, by metric name.
    pub metrics: Vec<(String, f64)>,
    /// Interpolations to look at.
    pub strips: Strips,
    /// What the measured interpolations were like along the way.
    pub paths: Paths,
    /// Decoded draws from the prior of a variant that has one, `[samples, height, width, channels]`, `f32` on the CPU.
    pub samples: Option<Tensor>,
}

impl Evaluation {
    /// Writes all but the metrics into the folder of a run that is locked; the names of the files.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, run: &Run) -> Result<Vec<&'static str>> {
        let files = self.files()?;
        let mut folder = RunFiles::open(&run.dir, &run.record.id)?;
        folder.write(&files)?;
        folder.settle()?;
        Ok(files.into_iter().map(|(name, _)| name).collect())
    }

    /// All but the metrics as files by name.
    pub(crate) fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut files: Vec<_> = self.strips.files()?.into();
        files.push(self.paths.file()?);
        if let Some(samples) = &self.samples {
            files.push(samples::file(samples)?);
        }
        Ok(files)
    }
}

/// Evaluates a model.
///
/// `draws` is at the step and in the evaluation's scope. With a `bank`, the line metrics; test lines are drawn anew at
/// every evaluation. Reconstruction error and, where there are labels, classifier accuracy are of `test_samples` other
/// lines, or of the first `test_samples` test images.
///
/// # Errors
/// If the images are not the bank's or cannot be read, or the tensor library fails.
pub fn evaluate(
    learner: &Learner,
    dataset: &dyn Dataset,
    bank: Option<&LineBank>,
    test_samples: usize,
    draws: &Draws,
) -> Result<Evaluation> {
    let (mut values, paths) = match bank {
        Some(bank) => between_lines(learner, dataset, bank, draws)?,
        None => (Vec::new(), Paths::of_images(learner, dataset, &draws.scope("paths"))?),
    };
    values.extend(test_metrics(learner, dataset, test_samples, &draws.scope("test"))?);
    values.extend(paths.critic_metrics());
    Ok(Evaluation {
        metrics: values,
        strips: Strips::make(learner, dataset, &draws.scope("figure"))?,
        samples: samples::make(learner, &draws.scope("samples"))?,
        paths,
    })
}

/// Mean distance, smoothness and detour of interpolations between 256 pairs of test lines, and what these were like.
fn between_lines(
    learner: &Learner,
    dataset: &dyn Dataset,
    bank: &LineBank,
    draws: &Draws,
) -> Result<(Vec<(String, f64)>, Paths)> {
    let model = learner.model();
    let lines = tested_lines(dataset, draws)?;
    let latents = model.encode(&lines, draws)?.detach();
    let (left, right) =
        (latents.narrow(0, 0, EVALUATED_PAIRS)?, latents.narrow(0, EVALUATED_PAIRS, EVALUATED_PAIRS)?);
    let between = Between::new(model, &left, &right)?;
    of_lines(bank, &between, between.critic(model)?)
}

/// The lines of an evaluation: those left, then those right.
///
/// # Shapes
/// `[2 * EVALUATED_PAIRS, 32, 32, 1]`.
pub(crate) fn tested_lines(dataset: &dyn Dataset, draws: &Draws) -> Result<Tensor> {
    Ok(dataset.test_batch(2 * EVALUATED_PAIRS, draws)?.images)
}

/// The line metrics of interpolations, by key, and what these were like.
pub(crate) fn of_lines(
    bank: &LineBank,
    between: &Between,
    critic: Option<Profile>,
) -> Result<(Vec<(String, f64)>, Paths)> {
    let metrics = bank.evaluate(&between.images()?)?;
    let values = [
        metrics.mean_distance(),
        metrics.mean_smoothness(),
        metrics.mean_smoothness_valid(),
        metrics.mean_detour(),
        metrics.valid_fraction(),
    ];
    let values = ON_LINES.into_iter().zip(values).map(|(of, value)| of.keyed(value)).collect();
    Ok((values, Paths::of_lines(between, &metrics, critic)?))
}

/// Reconstruction error, classifier accuracy and entries of a codebook in use on `samples` test images, or all there are.
fn test_metrics(
    learner: &Learner,
    dataset: &dyn Dataset,
    samples: usize,
    draws: &Draws,
) -> Result<Vec<(String, f64)>> {
    let model = learner.model();
    let count = dataset.count(Part::Test)?;
    let samples = tested(dataset, samples)?;
    let (mut error, mut correct) = (0.0, 0.0);
    let mut used: Option<HashSet<u32>> = None;
    for (first, size, draws) in chunks(samples, draws) {
        let batch = test_images(dataset, first, size, &draws)?;
        let (recon, features) = model.reconstruct_and_features(&batch.images, &draws)?;
        let (recon, features) = (recon.detach(), features.detach());
        error += squared_error(&recon, &batch.images)? * size as f64;
        if let Some(codes) = model.codes(&batch.images, &draws)? {
            used.get_or_insert_default().extend(codes.flatten_all()?.to_vec1::<u32>()?);
        }
        if let Some(logits) = learner.classify(&features)? {
            correct += classifier::accuracy(&logits, batch.labels()?)? * size as f64;
        }
    }
    let mean = |sum: f64| sum / samples as f64;
    let values = [
        Some(mean(error)),
        learner.classifies().then(|| mean(correct)),
        count.is_some().then_some(samples as f64),
    ];
    let used = used.map(|used| CODES_IN_USE.keyed(used.len() as f64));
    let values = ON_TEST_IMAGES.into_iter().zip(values).filter_map(|(of, value)| Some(of.keyed(value?)));
    Ok(values.chain(used).collect())
}

/// Images that an evaluation reconstructs: `samples`, or all there are.
pub(crate) fn tested(dataset: &dyn Dataset, samples: usize) -> Result<usize> {
    Ok(dataset.count(Part::Test)?.map_or(samples, |count| count.min(samples)))
}

/// The chunks of `samples` test images: the first image of each, how many it has, and its draws. These are separate scopes, so
/// that no two chunks share a draw.
pub(crate) fn chunks(samples: usize, draws: &Draws) -> impl Iterator<Item = (usize, usize, Draws)> {
    (0..samples)
        .step_by(CHUNK)
        .enumerate()
        .map(move |(chunk, first)| (first, CHUNK.min(samples - first), draws.scope(&chunk.to_string())))
}

/// The mean squared error of a chunk's reconstructions.
///
/// # Shapes
/// Two of `[images, height, width, channels]`.
pub(crate) fn squared_error(recon: &Tensor, images: &Tensor) -> Result<f64> {
    Ok(scalar(&(recon - images)?.sqr()?.mean_all()?)?)
}
