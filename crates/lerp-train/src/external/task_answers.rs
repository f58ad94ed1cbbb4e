//! Measuring a model by its answers to a task.

use std::{path::Path, sync::atomic::AtomicBool};

use candle_core::Tensor;
use lerp_core::{Architecture, Hyper, LatentShape, OwnNetwork, Precision, Schedule};
use lerp_data::{Dataset, Split};
use lerp_eval::{
    EVALUATION_BATCH, Judged,
    quantity::{EVALUATED_IMAGES, RECONSTRUCTION_MSE},
};
use safetensors::View;

use super::{
    arrays::{AnswerArrays, AnswerRecord},
    task::{
        BETWEEN, DECODED, DESCRIPTION, FIGURE, FIGURE_AGAIN, LATENTS, NamedArray, TEST, TEST_FEATURES, TRAIN,
        TRAIN_FEATURES, Task, TaskDescription,
    },
};
use crate::{
    Cell, Error, Evaluation, Judge, JudgeScores, Origin, Paths, Provenance, Result, RunRecord, Strips,
    evaluate::{judge_lines, line_metrics, squared_error},
    measure::bank,
    paths::Interpolations,
    representation::{self, Encoded, EncodedSplit},
    strips::own_errors,
};

/// A model's answers to a task, checked but not measured yet.
#[derive(Debug)]
pub struct TaskAnswers {
    description: TaskDescription,
    record: AnswerRecord,
    answers: AnswerArrays,
    /// The test images of the task, which begin with those to reconstruct.
    test: Tensor,
}

impl TaskAnswers {
    /// Reads and checks the answers in the folder of a task. `dataset` is the task's dataset, and `data` is the
    /// SHA-256 of its images.
    ///
    /// # Errors
    /// If the task differs from the one that this version poses on these images, or the answers are invalid; the
    /// error states the likely cause.
    pub fn read(folder: &Path, dataset: &dyn Dataset, data: Option<&str>, stop: &AtomicBool) -> Result<Self> {
        let description = Task::read_description(folder)?;
        let task = &description.task;
        task.check(dataset).map_err(|problem| Error::bad_file(&folder.join(DESCRIPTION), problem))?;
        let record = AnswerRecord::read(folder)?;
        if task.data.as_deref() != data {
            let problem = format!("is about other images than those of {} here", dataset.name());
            return Err(Error::bad_file(folder, problem));
        }
        let images = task.images(dataset, stop)?;
        let here = task.described(dataset, &images, "")?;
        if here.digest != description.digest {
            return Err(Error::bad_file(
                folder,
                "is not the task that this version poses on this machine: it was changed, or prepared by another version; \
                 prepare the task anew, answer it, and score that",
            ));
        }
        if record.task != description.digest {
            return Err(Error::bad_file(
                folder,
                "holds answers to another task (its record.json names another); run lerp_task.py of this folder",
            ));
        }
        let wanted = task.wanted(&images, dataset.image());
        let answers = AnswerArrays::read(folder, &wanted, &images)?;
        let no_test_images = || Error::bad_file(folder, "is a task without images to reconstruct");
        let test = NamedArray::find(&images, TEST).cloned().ok_or_else(no_test_images)?;
        Ok(Self { description, record, answers, test })
    }

    /// Returns the cell of the model, which is called `name`.
    fn cell(&self, name: &str) -> Cell {
        let task = &self.description.task;
        Cell {
            dataset: task.dataset.clone(),
            variant: Origin::Scored.variant(name),
            seed: self.record.seed.unwrap_or(task.seed),
            samples: self.record.samples.unwrap_or(0),
            batch: 0,
            learning_rate: 0.0,
            eval_every: 0,
            checkpoint_every: 0,
            test_samples: task.test_samples,
            cluster_restarts: task.cluster_restarts,
            precision: Precision::F32,
            ema: None,
            schedule: Schedule::default(),
            origin: Origin::Scored,
            network: Architecture::Own(OwnNetwork { name: "outside".into(), settings: Hyper::new() }),
            hyper: Hyper::new(),
        }
    }

    /// Returns the record of a run of the model, which tables call `name`.
    ///
    /// # Errors
    /// If an array is missing from the answers.
    pub fn record(&self, name: &str, provenance: Provenance) -> Result<RunRecord> {
        let figures = lerp_files::digest(&View::data(self.answers.get(DECODED, FIGURE)?));
        let elsewhere = self.record.external_model(self.answers.digest.clone(), figures);
        let latent = self.answers.get(LATENTS, BETWEEN)?.dims()[2..].to_vec();
        let mut shape = LatentShape::new(latent);
        if let Some(features) = self.answers.find(LATENTS, TRAIN_FEATURES) {
            shape.features = features.dims()[1..].iter().product();
        }
        let title = format!("{name}{}", Origin::Scored.mark());
        Ok(RunRecord {
            shape: Some(shape),
            elsewhere: Some(elsewhere),
            ..RunRecord::new(self.cell(name), &title, provenance)
        })
    }

    /// Measures the model as a model of this workspace is measured at the end of its run. A judge scores it on
    /// lines only: on images a judge uses its own pairs, which are not part of the task.
    ///
    /// # Errors
    /// If images cannot be read, or `stop` became true.
    pub fn measure(
        &self,
        dataset: &dyn Dataset,
        judge: Option<&Judge>,
        stop: &AtomicBool,
    ) -> Result<Evaluation> {
        let task = &self.description.task;
        let get = |file: &str, name: &str| self.answers.get(file, name);
        let between = Interpolations::answered(get(LATENTS, BETWEEN)?, get(DECODED, BETWEEN)?)?;
        let mut judged = None;
        let (mut metrics, paths) = match bank(dataset) {
            Some(bank) => {
                let lines = task.lines(dataset)?;
                judged =
                    judge.map(|judge| judge_lines(judge, dataset, &between, &lines)).transpose()?.flatten();
                line_metrics(&bank, &between, None)?
            }
            None => (Vec::new(), Paths::of_latents(&between)?),
        };
        let decoded = get(DECODED, TEST)?;
        let tested = decoded.dim(0)?;
        let mut error = 0.0;
        for first in (0..tested).step_by(EVALUATION_BATCH) {
            let size = EVALUATION_BATCH.min(tested - first);
            error += squared_error(&decoded.narrow(0, first, size)?, &self.test.narrow(0, first, size)?)?
                * size as f64;
        }
        metrics.push(RECONSTRUCTION_MSE.keyed(error / tested as f64));
        if dataset.count(Split::Test)?.is_some() {
            metrics.push(EVALUATED_IMAGES.keyed(tested as f64));
        }
        let figure = get(DECODED, FIGURE)?.clone();
        let again = self.answers.find(DECODED, FIGURE_AGAIN);
        let errors = again.map(|again| own_errors(&figure, &again.flatten(0, 1)?)).transpose()?;
        let strips = Strips::between(task.ends(dataset)?, figure, errors)?;
        if let Some(restarts) = task.cluster_restarts {
            let encoded = |split: Split, latents: &str, features: &str| -> Result<EncodedSplit> {
                let flat = |x: &Tensor| x.flatten_from(1);
                let latents = get(LATENTS, latents)?;
                let features = self.answers.find(LATENTS, features).unwrap_or(latents);
                let labels = representation::read_labels(dataset, split, stop)?;
                Ok(EncodedSplit { features: flat(features)?, latents: flat(latents)?, labels })
            };
            let encoded = Encoded {
                train: encoded(Split::Train, TRAIN, TRAIN_FEATURES)?,
                test: encoded(Split::Test, TEST, TEST_FEATURES)?,
            };
            let draws = task.draws("final");
            metrics.extend(representation::probe_and_cluster(&encoded, restarts, &draws, stop)?);
        }
        metrics.extend(judged.iter().flat_map(Judged::values));
        let judge_scores = JudgeScores::new(judge, judged, &strips)?;
        Ok(Evaluation { metrics, strips, paths, judge_scores, samples: None })
    }
}
