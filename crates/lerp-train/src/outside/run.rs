//! Runs of models that were trained elsewhere.

use std::{path::Path, sync::atomic::AtomicBool};

use lerp_eval::quantity::RECONSTRUCTION_MSE;

use super::task::check_restarts;
use crate::{
    Error, Evaluation, Learner, Metrics, Result, Row, Run, RunInputs, RunLock, RunRecord, State, checkpoint,
    digests::RunFiles,
    files::{METRICS, MODEL, RUN},
    measure::measure_learner,
    train::{packed, status},
};

/// A model whose weights were imported.
#[derive(Debug)]
pub struct Imported {
    /// Record of the run.
    pub record: RunRecord,
    /// Results of its evaluation.
    pub evaluation: Evaluation,
    /// Bytes of the run's file `model.safetensors`.
    pub model: Vec<u8>,
}

/// Imports the weights `model`, which are the bytes of the file at `path`, into the model of the record's cell, and
/// measures it as a model of this workspace is measured at the end of its run.
///
/// # Errors
/// If the weights do not fit the model, images cannot be read, or `stop` became true.
pub fn import(
    record: &RunRecord,
    parts: &RunInputs,
    (path, model): (&Path, &[u8]),
    stop: &AtomicBool,
) -> Result<Imported> {
    let cell = &record.cell;
    cell.check()?;
    check_restarts(cell.cluster_restarts, parts.dataset)
        .map_err(|problem| Error::BadCell(format!("{} {problem}", cell.builder())))?;
    let mut learner = Learner::of_cell(cell, parts.variant, parts.dataset, parts.device)?;
    checkpoint::import_model(path, model, cell, &mut learner)?;
    let evaluation = measure_learner(&learner, cell, parts, None, stop)?;
    let error = evaluation.metrics.iter().find(|(name, _)| *name == RECONSTRUCTION_MSE.key);
    if error.is_some_and(|(_, error)| !error.is_finite()) {
        return Err(Error::bad_file(path, "decodes images that are not finite"));
    }
    let mut record = record.clone().with_quantities(parts.metrics);
    record.shape = Some(learner.model().spec().shape.clone());
    Ok(Imported { model: checkpoint::save_model(cell, &learner)?, record, evaluation })
}

/// Returns whether the run of this record is already among `runs`, which are those of the folder that it is to be
/// written to.
///
/// # Errors
/// If it conflicts with one of them: a name stands for one kind of model, a name and a seed stand for one model,
/// and a model has one seed.
pub fn is_among(runs: &[Run], record: &RunRecord) -> Result<bool> {
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
                "is the run of {other}, from which {name} differs in no letter or digit; give it another --name"
            );
            return Err(Error::bad_file(&run.dir, problem));
        }
        if there.cell.seed != record.cell.seed {
            if ours.figures.is_some() && ours.figures == theirs.figures {
                let problem = format!(
                    "is the run of this very model (it answers alike) as seed {}; every seed is a training of its own",
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
            "is the run of another model, or of the same by another record, of this name and seed ({}, seed {}); give this one \
             another --name or seed, or delete that folder",
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
    let row = |(metric, value): &(String, f64)| Row {
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
