//! The judges of a sweep: one for each dataset, trained before the runs that it measures.
//!
//! A judge changes nothing else in a run. So whatever goes wrong with one is told, and runs are trained without it.

use std::{collections::BTreeSet, path::Path, sync::atomic::AtomicBool};

use anyhow::Result;
use lerp_data::Dataset;
use lerp_train::{Error, JUDGE_SAMPLES, Judge, JudgeRecord, RunRecord};

use super::survey::Job;
use crate::{
    say::{note, warn},
    shelf::Shelf,
};

/// A dataset that lacks a judge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// What it is called now.
    pub dataset: String,
    /// What records of runs call it: its folder may have moved since.
    name: String,
    /// Samples to train the judge on.
    pub samples: u64,
}

/// The datasets among `jobs` that lack a judge in the sweep `out` and have images enough for one. Without a wish for so many
/// `samples`, whatever judge there is does; with 0, none is wanted.
pub fn missing(shelf: &Shelf, out: &Path, jobs: &[Job], samples: Option<u64>) -> Vec<Wanted> {
    if samples == Some(0) {
        return Vec::new();
    }
    let named: BTreeSet<(&String, &String)> =
        jobs.iter().map(|job| (&job.dataset, &job.record.cell.dataset)).collect();
    let lacks = |dataset: &str, name: &str| -> Result<bool> {
        let (images, data) = (shelf.get(dataset)?, shelf.digest(dataset)?);
        if !Judge::fits(&*images)? {
            return Ok(false);
        }
        // One that cannot be read is made again.
        let found = Judge::find(out, &*images, (name, data.as_deref()), samples).ok().flatten();
        if found.is_none() && JudgeRecord::read(out, name).is_ok_and(|record| record.is_some()) {
            warn(&format!(
                "the judge of {name} in {} is of other images, or trained on another number of samples; a new one takes its place, and \
                 `lerp eval RUN --write` measures runs that it has not seen",
                out.display()
            ));
        }
        Ok(found.is_none())
    };
    let wanted =
        named.into_iter().filter(|(dataset, name)| told(name, lacks(dataset, name)).unwrap_or(false));
    let samples = samples.unwrap_or(JUDGE_SAMPLES);
    wanted.map(|(dataset, name)| Wanted { dataset: dataset.clone(), name: name.clone(), samples }).collect()
}

/// Trains the [`missing`] judges. Returns false if it was stopped.
pub fn provide(shelf: &Shelf, out: &Path, wanted: &[Wanted], stop: &AtomicBool) -> bool {
    for Wanted { dataset, name, samples } in wanted {
        let trained = train(shelf, (dataset, name), *samples, stop);
        if let Some(None) = told(name, trained.and_then(|judge| judge.map(|j| Ok(j.keep(out)?)).transpose()))
        {
            return false;
        }
    }
    true
}

/// What came of a judge; what went wrong is told.
fn told<T>(name: &str, result: Result<T>) -> Option<T> {
    result.map_err(|error| warn(&format!("no judge of {name}, so runs are not judged: {error:#}"))).ok()
}

/// Trains the judge of a dataset, which is told beside the results. None if it was stopped.
///
/// # Errors
/// If images cannot be read.
pub fn train(
    shelf: &Shelf,
    (dataset, name): (&str, &str),
    samples: u64,
    stop: &AtomicBool,
) -> Result<Option<Judge>> {
    let images = shelf.get(dataset)?;
    note(&format!("Training the judge of {}, which says how real decoded images are", images.title()));
    match Judge::train(&*images, (name, shelf.digest(dataset)?), samples, stop) {
        Err(Error::Eval(lerp_eval::Error::Stopped)) => Ok(None),
        judge => {
            let judge = judge?;
            let share = 100.0 * judge.record().accuracy;
            note(&format!("  it tells {share:.1} % of {} test images right", judge.record().tested));
            Ok(Some(judge))
        }
    }
}

/// The judge of a run's dataset in the sweep `out`, if the run is to have one; what is wrong with it is told.
pub fn find(out: &Path, dataset: &dyn Dataset, record: &RunRecord) -> Option<Judge> {
    let name = &record.cell.dataset;
    let found = Judge::find(out, dataset, (name, record.provenance.data.as_deref()), None);
    told(name, found.map_err(Into::into)).flatten()
}
