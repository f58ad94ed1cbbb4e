//! Runs of models that were trained elsewhere.

use std::{path::Path, sync::atomic::AtomicBool};

use crate::{
    Elsewhere, Error, Evaluation, Learner, Metrics, Parts, Result, Row, Run, RunLock, RunRecord, State,
    checkpoint,
    digests::RunFiles,
    files::{METRICS, MODEL, RUN},
    measure::measure_learner,
    train::{packed, status},
};

/// A model whose weights were imported.
#[derive(Debug)]
pub struct Imported {
    /// The run's record.
    pub record: RunRecord,
    /// What was measured of it.
    pub evaluation: Evaluation,
    /// The file `model.safetensors` of the run.
    pub model: Vec<u8>,
}

/// Reads weights from elsewhere, `model`, which are the bytes of the file at `path`, into the model of the record's cell, and
/// measures that as one of ours is measured at the end of its run.
///
/// # Errors
/// If the weights are not those of such a model, images cannot be read, or `stop` became true.
pub fn import(
    record: &RunRecord,
    parts: &Parts,
    (path, model): (&Path, &[u8]),
    stop: &AtomicBool,
) -> Result<Imported> {
    let cell = &record.cell;
    cell.check()?;
    let mut learner = Learner::of_cell(cell, parts.variant, parts.dataset, parts.device)?;
    checkpoint::import_model(path, model, cell, &mut learner)?;
    let evaluation = measure_learner(&learner, cell, parts, None, stop)?;
    let mut record = record.clone().with_quantities(parts.metrics);
    record.shape = Some(learner.model().spec().shape.clone());
    record.elsewhere.get_or_insert_with(Elsewhere::default).digest = lerp_files::digest(model);
    Ok(Imported { model: checkpoint::save_model(cell, &learner)?, record, evaluation })
}

/// Whether the folder `dir` has the run of this record already.
///
/// # Errors
/// If it has another model's: a name and a seed stand for one model.
pub fn is_there(dir: &Path, record: &RunRecord) -> Result<bool> {
    if !dir.join(RUN).exists() {
        return Ok(false);
    }
    let there = Run::read(dir)?;
    let digest = |record: &RunRecord| record.elsewhere.as_ref().map(|known| known.digest.clone());
    if digest(&there.record) == digest(record) {
        return Ok(there.status.state == State::Done);
    }
    let problem = format!(
        "is the run of another model of this name and seed ({}, seed {}); give this one another --name or seed, or delete that \
         folder",
        there.record.title, there.record.cell.seed
    );
    Err(Error::bad_file(dir, problem))
}

/// Writes the complete run of a model that was trained elsewhere into `dir`, which is named after the record's id: what was
/// measured, and the model if it is known.
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
    let _lock = RunLock::take(dir)?;
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
    let mut files = RunFiles::open(dir, &record.id)?;
    files.write(&written)?;
    files.settle()
}
