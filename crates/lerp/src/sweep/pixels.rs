//! Reference results of raw pixels (classification and clustering), with which Tables 2b and 3 compare latents.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::AtomicBool,
};

use anyhow::Result;
use lerp_eval::{
    Quantity,
    quantity::{
        CLUSTER_ACCURACY, CLUSTER_INFORMATION, PROBE_ACCURACY, PROBE_CONVERGED, PROBE_ITERATIONS,
        PROBE_TRAIN_ACCURACY, TEST_IMAGES, TRAIN_IMAGES,
    },
};
use lerp_files::make_folder;
use lerp_report::PixelReference;
use lerp_train::{Error, probe_and_cluster_pixels};

use super::survey::PlannedRun;
use crate::{dataset_cache::DatasetCache, say::say};

/// A labelled image set of a sweep whose reference record is missing.
pub struct MissingReference {
    /// The present name of the image set.
    pub dataset: String,
    /// The largest number of k-means restarts among its runs.
    pub restarts: usize,
    /// Digest of the images.
    digest: String,
    /// The names of the image set in the records of its runs, which differ if its folder has moved.
    names: BTreeSet<String>,
    /// The record that exists under another of these names, if any.
    known: Option<PixelReference>,
}

impl MissingReference {
    /// Whether the pixels must be evaluated, because no record under any name can be copied.
    pub fn is_to_measure(&self) -> bool {
        self.known.is_none()
    }
}

/// Returns the labelled image sets of `runs` whose record in `out` is missing, is of other images, or has fewer k-means
/// restarts than the runs.
///
/// # Errors
/// If a dataset cannot be read.
pub fn missing(datasets: &DatasetCache, out: &Path, runs: &[PlannedRun]) -> Result<Vec<MissingReference>> {
    let mut sets: BTreeMap<String, MissingReference> = BTreeMap::new();
    for run in runs {
        let Some(restarts) = run.record.cell.cluster_restarts else { continue };
        let digest = datasets.digest(&run.dataset)?.unwrap_or_default();
        // A user's own images are identified by their digest, wherever they are stored.
        let key = if lerp_data::is_own(&run.dataset) { &digest } else { &run.dataset };
        let set = sets.entry(key.clone()).or_insert_with(|| MissingReference {
            dataset: run.dataset.clone(),
            restarts,
            digest,
            names: BTreeSet::new(),
            known: None,
        });
        set.restarts = set.restarts.max(restarts);
        set.names.insert(run.record.cell.dataset.clone());
    }
    let mut sets: Vec<MissingReference> = sets.into_values().collect();
    for set in &mut sets {
        let MissingReference { restarts, digest, names, known, .. } = set;
        names.retain(|name| {
            // A record that cannot be read is made again.
            let there = PixelReference::read(out, name).ok().flatten().filter(|there| {
                there.data == *digest && there.cluster_restarts.unwrap_or(0.0) >= *restarts as f64
            });
            let lacks = there.is_none();
            *known = known.take().or(there);
            lacks
        });
    }
    sets.retain(|set| !set.names.is_empty());
    Ok(sets)
}

/// Evaluates the raw pixels of the [`missing`] image sets and writes `pixels/<dataset>.toml`. Returns `false` if it was
/// stopped.
///
/// # Errors
/// If a dataset cannot be read or a record not written.
pub fn measure_missing(
    datasets: &DatasetCache,
    out: &Path,
    runs: &[PlannedRun],
    stop: &AtomicBool,
) -> Result<bool> {
    for set in missing(datasets, out, runs)? {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(false);
        }
        let record = if let Some(known) = set.known {
            known
        } else {
            let dataset = &set.dataset;
            say(&format!(
                "Raw pixels of {dataset}: fitting a single-layer classifier and clusters, for comparison with latents"
            ));
            match probe_and_cluster_pixels(&*datasets.get(dataset)?, set.restarts, stop) {
                Err(Error::Eval(lerp_eval::Error::Stopped)) => return Ok(false),
                measures => reference(&set, &measures?),
            }
        };
        for dataset in set.names {
            let path = out.join(PixelReference::path(&dataset));
            if let Some(folder) = path.parent() {
                make_folder(folder)?;
            }
            let record = PixelReference { dataset, ..record.clone() };
            lerp_files::replace(&path, toml::to_string(&record)?.as_bytes())?;
        }
    }
    Ok(true)
}

/// Returns the record of an evaluation of raw pixels.
fn reference(set: &MissingReference, measures: &[(String, f64)]) -> PixelReference {
    let value = |of: &Quantity| {
        let found = measures.iter().find(|(key, _)| *key == of.key);
        found.map_or(f64::NAN, |(_, value)| *value)
    };
    PixelReference {
        dataset: set.dataset.clone(),
        data: set.digest.clone(),
        probe_accuracy: value(&PROBE_ACCURACY),
        probe_train_accuracy: value(&PROBE_TRAIN_ACCURACY),
        probe_iterations: value(&PROBE_ITERATIONS),
        probe_converged: value(&PROBE_CONVERGED) == 1.0,
        test_images: value(&TEST_IMAGES),
        train_images: value(&TRAIN_IMAGES),
        cluster_accuracy: Some(value(&CLUSTER_ACCURACY)),
        cluster_information: Some(value(&CLUSTER_INFORMATION)),
        cluster_restarts: Some(set.restarts as f64),
    }
}
