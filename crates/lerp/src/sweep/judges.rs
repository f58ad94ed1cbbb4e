//! The judges of a sweep: one for each dataset, trained before the runs that it measures.

use std::{collections::BTreeSet, path::Path, sync::atomic::AtomicBool};

use anyhow::Result;
use lerp_data::Dataset;
use lerp_train::{Error, Judge, RunRecord};

use super::survey::Job;
use crate::{
    say::{note, warn},
    shelf::Shelf,
};

/// The datasets among `jobs` that have no judge of `samples` in the sweep `out`, and images enough for one.
///
/// # Errors
/// If images or a judge cannot be read.
pub fn missing(shelf: &Shelf, out: &Path, jobs: &[Job], samples: Option<u64>) -> Result<Vec<String>> {
    let Some(samples) = samples else { return Ok(Vec::new()) };
    let names: BTreeSet<&String> = jobs.iter().map(|job| &job.dataset).collect();
    let mut missing = Vec::new();
    for name in names {
        let dataset = shelf.get(name)?;
        let data = shelf.digest(name)?;
        if Judge::fits(&*dataset)? && Judge::find(out, &*dataset, data.as_deref(), Some(samples))?.is_none() {
            missing.push(name.clone());
        }
    }
    Ok(missing)
}

/// Trains the [`missing`] judges. Returns false if it was stopped.
///
/// # Errors
/// If images cannot be read, or a judge cannot be read or kept.
pub fn provide(
    shelf: &Shelf,
    out: &Path,
    jobs: &[Job],
    samples: Option<u64>,
    stop: &AtomicBool,
) -> Result<bool> {
    for name in missing(shelf, out, jobs, samples)? {
        match teach(shelf, &name, samples.unwrap_or_default(), stop)? {
            Some(judge) => judge.keep(out)?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Trains a judge, which is told beside the results. None if it was stopped.
///
/// # Errors
/// If images cannot be read.
pub fn teach(shelf: &Shelf, name: &str, samples: u64, stop: &AtomicBool) -> Result<Option<Judge>> {
    let dataset = shelf.get(name)?;
    note(&format!("Training the judge of {}, which says how real decoded images are", dataset.title()));
    match Judge::train(&*dataset, shelf.digest(name)?, samples, stop) {
        Err(Error::Eval(lerp_eval::Error::Stopped)) => Ok(None),
        judge => {
            let judge = judge?;
            let share = 100.0 * judge.record().accuracy;
            note(&format!("  it tells {share:.1} % of {} test images right", judge.record().tested));
            Ok(Some(judge))
        }
    }
}

/// The judge of a run's dataset in the sweep `out`, if the run is to have one. That it is not there is told.
///
/// # Errors
/// If it cannot be read.
pub fn find(
    out: &Path,
    dataset: &dyn Dataset,
    record: &RunRecord,
    samples: Option<u64>,
) -> Result<Option<Judge>> {
    let Some(samples) = samples else { return Ok(None) };
    let found = Judge::find(out, dataset, record.provenance.data.as_deref(), Some(samples))?;
    if found.is_none() && Judge::fits(dataset)? {
        warn(&format!("{}: the sweep has no judge of {}, so none is asked", record.id, dataset.name()));
    }
    Ok(found)
}
