//! The judges of a sweep: one classifier per dataset that measures how realistic decoded images are, trained before the
//! runs.
//!
//! A judge has no influence on the other results of a run. An error of a judge is therefore only a warning, and the
//! runs are trained without it.

use std::{collections::BTreeSet, path::Path, sync::atomic::AtomicBool};

use anyhow::Result;
use lerp_data::Dataset;
use lerp_train::{DatasetIdentity, Error, JUDGE_SAMPLES, Judge, JudgeRecord, RunRecord};

use super::survey::PlannedRun;
use crate::{
    dataset_cache::DatasetCache,
    say::{note, warn},
};

/// The names of a dataset, which differ if its folder has moved since runs were trained on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DatasetNames<'a> {
    /// The name by which the dataset is opened now.
    pub present: &'a str,
    /// The name in the records of runs and of judges.
    pub recorded: &'a str,
}

impl<'a> DatasetNames<'a> {
    /// Returns the names of a run's dataset.
    fn of(run: &'a PlannedRun) -> Self {
        Self { present: &run.dataset, recorded: &run.record.cell.dataset }
    }
}

/// A judge that a sweep lacks.
#[derive(Debug, Clone)]
pub struct MissingJudge<'a> {
    /// The dataset.
    pub dataset: DatasetNames<'a>,
    /// Training samples of the judge.
    pub samples: u64,
}

/// Returns the judges that the sweep `out` lacks: those of datasets of `runs` that have enough images but no suitable
/// judge. A judge is suitable if it was trained on the same images and on `samples` samples; if `samples` is `None`,
/// any number will do. If it is 0, the sweep has no judges.
pub fn missing<'a>(
    datasets: &DatasetCache,
    out: &Path,
    runs: &'a [PlannedRun],
    samples: Option<u64>,
) -> Vec<MissingJudge<'a>> {
    if samples == Some(0) {
        return Vec::new();
    }
    let names: BTreeSet<DatasetNames> = runs.iter().map(DatasetNames::of).collect();
    let lacks = |DatasetNames { present, recorded }: DatasetNames| -> Result<bool> {
        let (images, digest) = (datasets.get(present)?, datasets.digest(present)?);
        if !Judge::has_enough_images(&*images)? {
            return Ok(false);
        }
        // A judge that cannot be read is trained again.
        let found = Judge::find(
            out,
            &*images,
            DatasetIdentity { name: recorded, digest: digest.as_deref() },
            samples,
        )
        .ok()
        .flatten();
        if found.is_none() && JudgeRecord::read(out, recorded).is_ok_and(|record| record.is_some()) {
            warn(&format!(
                "the judge of {recorded} in {} is of other images, or was trained on another number of samples; it is replaced by a \
                 new one, and `lerp eval RUN --write` measures complete runs by the new one",
                out.display()
            ));
        }
        Ok(found.is_none())
    };
    let names = names.into_iter().filter(|name| or_warning(name.recorded, lacks(*name)).unwrap_or(false));
    let samples = samples.unwrap_or(JUDGE_SAMPLES);
    names.map(|dataset| MissingJudge { dataset, samples }).collect()
}

/// Trains the [`missing`] judges. Returns `false` if it was stopped.
pub fn train_all(datasets: &DatasetCache, out: &Path, missing: &[MissingJudge], stop: &AtomicBool) -> bool {
    for MissingJudge { dataset, samples } in missing {
        let trained = train(datasets, *dataset, *samples, stop);
        let kept = trained.and_then(|judge| judge.map(|judge| Ok(judge.save(out)?)).transpose());
        if let Some(None) = or_warning(dataset.recorded, kept) {
            return false;
        }
    }
    true
}

/// Returns the value of `result`, or prints its error as a warning and returns `None`.
fn or_warning<T>(name: &str, result: Result<T>) -> Option<T> {
    result
        .map_err(|error| {
            warn(&format!("runs on {name} are not judged, because there is no judge of it: {error:#}"));
        })
        .ok()
}

/// Trains the judge of a dataset and prints its accuracy on standard error. Returns `None` if it was stopped.
///
/// # Errors
/// If images cannot be read.
pub fn train(
    datasets: &DatasetCache,
    dataset: DatasetNames,
    samples: u64,
    stop: &AtomicBool,
) -> Result<Option<Judge>> {
    let images = datasets.get(dataset.present)?;
    note(&format!(
        "Training the judge of {}, a classifier that measures how realistic decoded images are",
        images.title()
    ));
    let digest = datasets.digest(dataset.present)?;
    match Judge::train(
        &*images,
        DatasetIdentity { name: dataset.recorded, digest: digest.as_deref() },
        samples,
        stop,
    ) {
        Err(Error::Eval(lerp_eval::Error::Stopped)) => Ok(None),
        judge => {
            let judge = judge?;
            let share = 100.0 * judge.record().accuracy;
            note(&format!("  it classifies {share:.1} % of {} test images correctly", judge.record().tested));
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
    or_warning(name, found.map_err(Into::into)).flatten()
}
