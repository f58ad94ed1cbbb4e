//! Evaluation of a model in training: the protocol's metrics at one step, and the interpolations and images behind
//! them.

use std::collections::HashSet;

use candle_core::Tensor;
use lerp_core::{Draws, Reconstruction, scalar};
use lerp_data::{Batch, Dataset, Split};
use lerp_eval::{
    EVALUATION_BATCH, Judged, LineBank, classifier,
    quantity::{BY_JUDGE, CODES_IN_USE, ON_LINES, ON_TEST_IMAGES},
    test_images,
};

use crate::{
    Judge, JudgeScores, Learner, MetricRow, Paths, Profile, Result, Run, RunLock, Strips, digests::RunFiles,
    files::METRICS, paths::Interpolations, samples,
};

/// The number of pairs of lines that an evaluation interpolates between.
pub const EVALUATED_PAIRS: usize = 256;

/// The results of one evaluation.
#[derive(Debug)]
pub struct Evaluation {
    /// Metric values by key.
    pub metrics: Vec<(String, f64)>,
    /// Interpolations for display.
    pub strips: Strips,
    /// Quantities along the measured interpolations, position by position.
    pub paths: Paths,
    /// A judge's scores of the interpolations, if there was a judge.
    pub judge_scores: Option<JudgeScores>,
    /// Decoded samples from the prior, for a variant that has one, `[samples, height, width, channels]`, `f32` on
    /// the CPU.
    pub samples: Option<Tensor>,
}

impl Evaluation {
    /// Writes the results into the folder of a run whose lock is `lock`: everything but the metrics, of which only
    /// those of a judge are written. Returns the names of the files.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn write(&self, run: &Run, lock: &RunLock) -> Result<Vec<&'static str>> {
        let mut files = self.files()?;
        files.extend(self.judged_metrics(run)?);
        let mut folder = RunFiles::open(lock, &run.record.id)?;
        folder.write(&files)?;
        folder.settle()?;
        Ok(files.into_iter().map(|(name, _)| name).collect())
    }

    /// Returns the metrics file of a run with a judge's metrics added to its last evaluation; `None` if that
    /// changes nothing.
    fn judged_metrics(&self, run: &Run) -> Result<Option<(&'static str, Vec<u8>)>> {
        let mut metrics = run.metrics()?;
        let Some(last) = metrics.0.last().cloned() else { return Ok(None) };
        let by_judge = |key: &str| BY_JUDGE.iter().any(|of| of.key == key);
        let judged: Vec<MetricRow> = self
            .metrics
            .iter()
            .filter(|(key, _)| by_judge(key))
            .map(|(key, value)| MetricRow { metric: key.clone(), value: *value, ..last.clone() })
            .collect();
        let known = |new: &MetricRow| {
            let same = |row: &MetricRow| row.step == new.step && row.metric == new.metric;
            metrics.0.iter().any(|row| same(row) && row.value.to_bits() == new.value.to_bits())
        };
        if judged.iter().all(known) {
            return Ok(None);
        }
        // Scores by different judges are not comparable, so another judge's scores of earlier evaluations are
        // dropped.
        let before = run.judge_scores().ok().flatten().map(|judge_scores| judge_scores.judge);
        let same = before == self.judge_scores.as_ref().map(|judge_scores| judge_scores.judge.clone());
        metrics.0.retain(|row| !by_judge(&row.metric) || (same && row.step != last.step));
        metrics.0.extend(judged);
        Ok(Some((METRICS, metrics.parquet()?)))
    }

    /// Returns the names and bytes of the files of everything but the metrics.
    pub(crate) fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut files: Vec<_> = self.strips.files()?.into();
        files.push(self.paths.file()?);
        files.extend(self.judge_scores.as_ref().map(JudgeScores::file).transpose()?);
        if let Some(samples) = &self.samples {
            files.push(samples::file(samples)?);
        }
        Ok(files)
    }
}

/// What scores interpolations.
#[derive(Clone, Copy, Default)]
pub struct Scorers<'a> {
    /// The bank of true lines that decoded images are compared with; on the lines dataset only.
    pub bank: Option<&'a LineBank>,
    /// A judge of the dataset, which is compared with real images.
    pub judge: Option<&'a Judge>,
}

/// Evaluates a model.
///
/// `draws` are those of the step, in the scope of the evaluation. With a bank, the line metrics are measured on
/// test lines that are drawn anew at every evaluation. A judge scores the same interpolations, or, without a bank,
/// those between its own pairs of test images. Reconstruction error and, where there are labels, classifier
/// accuracy are measured on `test_samples` other lines, or on the first `test_samples` test images.
///
/// # Errors
/// If the images are not the bank's or cannot be read, or the tensor library fails.
pub fn evaluate(
    learner: &Learner,
    dataset: &dyn Dataset,
    scorers: Scorers,
    test_samples: usize,
    draws: &Draws,
) -> Result<Evaluation> {
    let Scorers { bank, judge } = scorers;
    let InterpolationScores { metrics: mut values, paths, judged } = if let Some(bank) = bank {
        score_lines(learner, dataset, bank, judge, draws)?
    } else {
        let judged = match judge {
            Some(judge) => judge.judge_model(learner, dataset, &draws.scope("judged"))?,
            None => None,
        };
        let paths = Paths::of_images(learner, dataset, &draws.scope("paths"))?;
        InterpolationScores { metrics: Vec::new(), paths, judged }
    };
    values.extend(test_metrics(learner, dataset, test_samples, &draws.scope("test"))?);
    values.extend(paths.critic_metrics());
    values.extend(judged.iter().flat_map(Judged::values));
    let strips = Strips::make(learner, dataset, &draws.scope("figure"))?;
    let judge_scores = JudgeScores::new(judge, judged, &strips)?;
    let samples = samples::make(learner, &draws.scope("samples"))?;
    Ok(Evaluation { metrics: values, strips, samples, paths, judge_scores })
}

/// The scores of the interpolations of an evaluation.
struct InterpolationScores {
    /// The line metrics by key; none on datasets other than lines.
    metrics: Vec<(String, f64)>,
    paths: Paths,
    judged: Option<Judged>,
}

/// Scores interpolations between 256 pairs of test lines.
fn score_lines(
    learner: &Learner,
    dataset: &dyn Dataset,
    bank: &LineBank,
    judge: Option<&Judge>,
    draws: &Draws,
) -> Result<InterpolationScores> {
    let model = learner.model();
    let lines = tested_lines(dataset, draws)?;
    let latents = model.encode(&lines.images, draws)?.detach();
    let (left, right) =
        (latents.narrow(0, 0, EVALUATED_PAIRS)?, latents.narrow(0, EVALUATED_PAIRS, EVALUATED_PAIRS)?);
    let between = Interpolations::new(model, &left, &right)?;
    let (metrics, paths) = line_metrics(bank, &between, between.critic(model)?)?;
    let judged = judge.map(|judge| judge_lines(judge, dataset, &between, &lines)).transpose()?.flatten();
    Ok(InterpolationScores { metrics, paths, judged })
}

/// Scores interpolations between lines with a judge; `lines` are all left lines, then all right ones.
pub(crate) fn judge_lines(
    judge: &Judge,
    dataset: &dyn Dataset,
    between: &Interpolations,
    lines: &Batch,
) -> Result<Option<Judged>> {
    let labels = lines.labels()?.to_vec1::<u32>()?;
    let (left, right) = labels.split_at(EVALUATED_PAIRS);
    let classes = left.iter().zip(right).map(|(left, right)| [*left, *right]).collect();
    judge.judge(dataset, &between.images()?, Some(classes))
}

/// Draws the lines of an evaluation: [`EVALUATED_PAIRS`] left ones, then as many right ones.
pub(crate) fn tested_lines(dataset: &dyn Dataset, draws: &Draws) -> Result<Batch> {
    Ok(dataset.test_batch(2 * EVALUATED_PAIRS, draws)?)
}

/// Returns the line metrics of interpolations, by key, and their paths.
pub(crate) fn line_metrics(
    bank: &LineBank,
    between: &Interpolations,
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

/// Measures reconstruction error, classifier accuracy and the number of codebook entries in use on at most
/// `samples` test images.
fn test_metrics(
    learner: &Learner,
    dataset: &dyn Dataset,
    samples: usize,
    draws: &Draws,
) -> Result<Vec<(String, f64)>> {
    let model = learner.model();
    let count = dataset.count(Split::Test)?;
    let samples = tested(dataset, samples)?;
    let (mut error, mut correct) = (0.0, 0.0);
    let mut used: Option<HashSet<u32>> = None;
    for Chunk { first, size, draws } in chunks(samples, draws) {
        let batch = test_images(dataset, first, size, &draws)?;
        let Reconstruction { images, features } = model.reconstruct_and_features(&batch.images, &draws)?;
        error += squared_error(&images.detach(), &batch.images)? * size as f64;
        if let Some(codes) = model.codes(&batch.images, &draws)? {
            used.get_or_insert_default().extend(codes.flatten_all()?.to_vec1::<u32>()?);
        }
        if let Some(logits) = learner.classify(&features.detach())? {
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

/// Returns the number of test images that an evaluation reconstructs: `samples`, or all if there are fewer.
pub(crate) fn tested(dataset: &dyn Dataset, samples: usize) -> Result<usize> {
    Ok(dataset.count(Split::Test)?.map_or(samples, |count| count.min(samples)))
}

/// Some of the test images of an evaluation, which go through the model at a time.
pub(crate) struct Chunk {
    /// Index of the first image.
    pub first: usize,
    /// Number of images.
    pub size: usize,
    /// The draws of the chunk. Each chunk has its own scope, so that no two chunks share a draw.
    pub draws: Draws,
}

/// Splits `samples` test images into chunks.
pub(crate) fn chunks(samples: usize, draws: &Draws) -> impl Iterator<Item = Chunk> {
    (0..samples).step_by(EVALUATION_BATCH).enumerate().map(move |(chunk, first)| Chunk {
        first,
        size: EVALUATION_BATCH.min(samples - first),
        draws: draws.scope(&chunk.to_string()),
    })
}

/// Returns the mean squared error of reconstructions.
///
/// # Shapes
/// Both are `[images, height, width, channels]`.
pub(crate) fn squared_error(recon: &Tensor, images: &Tensor) -> Result<f64> {
    Ok(scalar(&(recon - images)?.sqr()?.mean_all()?)?)
}
