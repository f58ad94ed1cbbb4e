//! The judges of a sweep: one classifier per dataset that measures how realistic decoded images are, trained before the
//! runs.
//!
//! A judge has no influence on the other results of a run. An error of a judge is therefore only a warning, and the
//! runs are trained without it.

use std::{collections::BTreeSet, path::Path, sync::atomic::AtomicBool};

use anyhow::Result;
use lerp_data::Dataset;
use lerp_train::{DatasetIdentity, Error, JUDGE_SAMPLES, Judge, JudgeRecord, RunRecord};

use super::survey::Job;
use crate::{
    say::{note, warn},
    shelf::Shelf,
};

/// A dataset without a suitable judge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The present name of the dataset.
    pub dataset: String,
    /// The name of the dataset in the records of runs, which differs if its folder has moved since.
    name: String,
    /// Training samples of the judge.
    pub samples: u64,
}

/// Returns the datasets of `jobs` that have enough images for a judge but no suitable judge in the sweep `out`. A judge
/// is suitable if it was trained on the same images and on `samples` samples; if `samples` is `None`, any number will
/// do. If it is 0, no judges are wanted.
pub fn missing(shelf: &Shelf, out: &Path, jobs: &[Job], samples: Option<u64>) -> Vec<Wanted> {
    if samples == Some(0) {
        return Vec::new();
    }
    let named: BTreeSet<(&String, &String)> =
        jobs.iter().map(|job| (&job.dataset, &job.record.cell.dataset)).collect();
    let lacks = |dataset: &str, name: &str| -> Result<bool> {
        let (images, data) = (shelf.get(dataset)?, shelf.digest(dataset)?);
        if !Judge::has_enough_images(&*images)? {
            return Ok(false);
        }
        // A judge that cannot be read is trained again.
        let found = Judge::find(out, &*images, DatasetIdentity { name, digest: data.as_deref() }, samples)
            .ok()
            .flatten();
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

/// Trains the [`missing`] judges. Returns `false` if it was stopped.
pub fn provide(shelf: &Shelf, out: &Path, wanted: &[Wanted], stop: &AtomicBool) -> bool {
    for Wanted { dataset, name, samples } in wanted {
        let trained = train(shelf, (dataset, name), *samples, stop);
        if let Some(None) = told(name, trained.and_then(|judge| judge.map(|j| Ok(j.save(out)?)).transpose()))
        {
            return false;
        }
    }
    true
}

/// Returns the value of `result`, or prints its error as a warning and returns `None`.
fn told<T>(name: &str, result: Result<T>) -> Option<T> {
    result.map_err(|error| warn(&format!("no judge of {name}, so runs are not judged: {error:#}"))).ok()
}

/// Trains the judge of a dataset and prints its accuracy on standard error. Returns `None` if it was stopped.
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
    let digest = shelf.digest(dataset)?;
    match Judge::train(&*images, DatasetIdentity { name, digest: digest.as_deref() }, samples, stop) {
        Err(Error::Eval(lerp_eval::Error::Stopped)) => Ok(None),
        judge => {
            let judge = judge?;
            let share = 100.0 * judge.record().accuracy;
            note(&format!("  it tells {share:.1} % of {} test images right", judge.record().tested));
            Ok(Some(judge))
        }
    }
}

/// Returns the judge of a run's dataset from the sweep `out`. Returns `None` if there is none or it cannot be read,
/// which is a warning.
pub fn find(out: &Path, dataset: &dyn Dataset, record: &RunRecord) -> Option<Judge> {
    let name = &record.cell.dataset;
    let identity = DatasetIdentity { name, digest: record.provenance.data.as_deref() };
    let found = Judge::find(out, dataset, identity, None);
    told(name, found.map_err(Into::into)).flatten()
}
