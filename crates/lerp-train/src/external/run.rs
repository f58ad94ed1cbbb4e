//! Runs of models that were trained elsewhere.

use std::{path::Path, sync::atomic::AtomicBool};

use lerp_eval::quantity::RECONSTRUCTION_MSE;

use super::task::check_restarts;
use crate::{
    Error, Evaluation, Learner, MetricRow, Metrics, Result, Run, RunInputs, RunLock, RunRecord, State,
    checkpoint,
    digests::RunFiles,
    files::{METRICS, MODEL, RUN},
    measure::measure_learner,
    train::{packed, status},
};

/// A file of weights that other software wrote.
#[derive(Debug, Clone, Copy)]
pub struct ModelFile<'a> {
    /// Path of the file, for error messages.
    pub path: &'a Path,
    /// Content of the file, in the safetensors format.
    pub bytes: &'a [u8],
}

/// A model whose weights were imported.
#[derive(Debug)]
pub struct ImportedModel {
    /// Record of the run.
    pub record: RunRecord,
    /// Results of its evaluation.
    pub evaluation: Evaluation,
    /// Bytes of the run's file `model.safetensors`.
    pub model: Vec<u8>,
}

/// Imports weights into the model of the record's cell, and measures it as a model of this workspace is measured at
/// the end of its run.
///
/// # Errors
/// If the weights do not fit the model, images cannot be read, or `stop` became true.
///
/// # Examples
/// ```no_run
/// use std::{path::Path, sync::atomic::AtomicBool};
///
/// use lerp_train::{ModelFile, Run, RunInputs, RunRecord, import, write_run};
///
/// /// Adds a fine-tuned model to the runs of a sweep, unless it is there already.
/// fn add(record: &RunRecord, inputs: &RunInputs, weights: &Path, sweep: &Path) -> lerp_train::Result<()> {
///     let runs = lerp_train::runs_in(sweep)?.runs;
///     if lerp_train::contains_run(&runs, record)? {
///         return Ok(());
///     }
///     let bytes = lerp_files::read(weights, 1 << 30)?;
///     let file = ModelFile { path: weights, bytes: &bytes };
///     let imported = import(record, inputs, file, &AtomicBool::new(false))?;
///     let dir = sweep.join("runs").join(&imported.record.id);
///     write_run(&dir, &imported.record, &imported.evaluation, Some(imported.model))?;
///     assert!(Run::read(&dir)?.has_model());
///     Ok(())
/// }
/// ```
pub fn import(
    record: &RunRecord,
    inputs: &RunInputs,
    file: ModelFile,
    stop: &AtomicBool,
) -> Result<ImportedModel> {
    let cell = &record.cell;
    cell.check()?;
    check_restarts(cell.cluster_restarts, inputs.dataset)
        .map_err(|problem| Error::BadCell(format!("{} {problem}", cell.builder())))?;
    let mut learner = Learner::of_cell(cell, inputs.variant, inputs.dataset, inputs.device)?;
    checkpoint::import_model(file, cell, &mut learner)?;
    let evaluation = measure_learner(&learner, cell, inputs, None, stop)?;
    let error = evaluation.metrics.iter().find(|(name, _)| *name == RECONSTRUCTION_MSE.key);
    if error.is_some_and(|(_, error)| !error.is_finite()) {
        return Err(Error::bad_file(file.path, "decodes images that are not finite"));
    }
    let mut record = record.clone().with_quantities(inputs.metrics);
    record.shape = Some(learner.model().spec().shape.clone());
    Ok(ImportedModel { model: checkpoint::save_model(cell, &learner)?, record, evaluation })
}

/// Returns whether `runs`, which are those of the folder that the run of this record is to be written to, contain it
/// already.
///
/// # Errors
/// If it conflicts with one of them: a name stands for one kind of model, a name and a seed stand for one model,
/// and a model has one seed.
pub fn contains_run(runs: &[Run], record: &RunRecord) -> Result<bool> {
    let here = |run: &&Run| {
        let (ours, theirs) = (&run.record.cell, &record.cell);
        ours.variant == theirs.variant
            && (ours.dataset == theirs.dataset || run.record.provenance.data == record.provenance.data)
    };
    let ours = record.elsewhere.clone().unwrap_or_default();
    for run in runs.iter().filter(here) {
        let there = &run.record;
        let theirs = there.elsewhere.clone().unwrap_or_default();
        if there.title != record.title {
            let (name, other) = (&record.title, &there.title);
            let problem = format!(
                "is a run of '{other}', which has the same letters and digits as '{name}'; give another --name"
            );
            return Err(Error::bad_file(&run.dir, problem));
        }
        if there.cell.seed != record.cell.seed {
            if ours.figures.is_some() && ours.figures == theirs.figures {
                let problem = format!(
                    "is a run of the same model (its answers are equal) with seed {}; train a separate model for every seed",
                    there.cell.seed
                );
                return Err(Error::bad_file(&run.dir, problem));
            }
            continue;
        }
        if there.id == record.id && ours.digest == theirs.digest {
            // The statements of the model's owner may have changed.
            return Ok(run.status.state == State::Done && ours == theirs);
        }
        let problem = format!(
            "is a run of this name and seed ({}, seed {}), but of another model or with another record; give another --name or \
             seed, or delete that folder",
            there.title, there.cell.seed
        );
        return Err(Error::bad_file(&run.dir, problem));
    }
    Ok(false)
}

/// Writes the complete run of a model that was trained elsewhere into `dir`, which must be named after the record's
/// id: its results, and its weights if they are known.
///
/// # Errors
/// If the folder is busy or cannot be written.
pub fn write_run(
    dir: &Path,
    record: &RunRecord,
    evaluation: &Evaluation,
    model: Option<Vec<u8>>,
) -> Result<()> {
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    record.check(&folder).map_err(|problem| Error::bad_file(&dir.join(RUN), problem))?;
    let lock = RunLock::take(dir)?;
    let cell = &record.cell;
    let row = |(metric, value): &(String, f64)| MetricRow {
        step: cell.steps(),
        samples: cell.samples,
        metric: metric.clone(),
        value: *value,
        wall_s: 0.0,
    };
    let metrics = Metrics(evaluation.metrics.iter().map(row).collect());
    let mut written = vec![status(State::Running, cell.samples, 0.0, None)?, packed(record)?];
    written.extend(model.map(|model| (MODEL, model)));
    written.extend(evaluation.files()?);
    written.push((METRICS, metrics.parquet()?));
    written.push(status(State::Done, cell.samples, 0.0, None)?);
    let mut files = RunFiles::open(&lock, &record.id)?;
    files.write(&written)?;
    files.settle()
}
