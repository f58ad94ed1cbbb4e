//! What raw pixels are worth: the columns of Tables 2b and 3 that latents are compared with.

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use lerp_report::PixelReference;
use lerp_train::{Cell, Error, of_pixels};

use crate::{say::say, shelf::Shelf};

/// The labelled image sets among `cells` whose record in `out` is not there, or of other images or fewer restarts of k-means
/// than the cells'; and those restarts.
///
/// # Errors
/// If a dataset cannot be read.
pub fn wanted(shelf: &Shelf, out: &Path, cells: &[Cell]) -> Result<BTreeMap<String, usize>> {
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for cell in cells {
        if let Some(restarts) = cell.cluster_restarts {
            let most = wanted.entry(cell.dataset.clone()).or_default();
            *most = restarts.max(*most);
        }
    }
    let digests: BTreeMap<String, Option<String>> =
        wanted.keys().map(|name| Ok((name.clone(), shelf.digest(name)?))).collect::<Result<_>>()?;
    wanted.retain(|name, restarts| {
        // One that cannot be read is made again.
        let there = PixelReference::read(out, name).ok().flatten();
        there.is_none_or(|there| {
            Some(there.data) != digests[name] || there.cluster_restarts.unwrap_or(0.0) < *restarts as f64
        })
    });
    Ok(wanted)
}

/// Measures the pixels of the [`wanted`] sets, into `pixels/<dataset>.toml`. Returns false if it was stopped.
///
/// # Errors
/// If a dataset cannot be read or a record not written.
pub fn references(shelf: &Shelf, out: &Path, cells: &[Cell], stop: &AtomicBool) -> Result<bool> {
    for (name, restarts) in wanted(shelf, out, cells)? {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(false);
        }
        say(&format!("Raw pixels of {name}: a single-layer classifier and clusters, for comparison"));
        let measures = match of_pixels(&*shelf.get(&name)?, restarts, stop) {
            Err(Error::Eval(lerp_eval::Error::Stopped)) => return Ok(false),
            measures => measures?,
        };
        let value = |name: &str| {
            let found = measures.iter().find(|(metric, _)| metric.strip_prefix("final/") == Some(name));
            found.map_or(f64::NAN, |(_, value)| *value)
        };
        let record = PixelReference {
            data: shelf.digest(&name)?.unwrap_or_default(),
            probe_accuracy: value("probe_accuracy"),
            probe_train_accuracy: value("probe_train_accuracy"),
            probe_iterations: value("probe_iterations"),
            probe_converged: value("probe_converged") == 1.0,
            test_images: value("test_images"),
            train_images: value("train_images"),
            cluster_accuracy: Some(value("cluster_accuracy")),
            cluster_information: Some(value("cluster_information")),
            cluster_restarts: Some(restarts as f64),
            dataset: name,
        };
        let path = out.join(PixelReference::path(&record.dataset));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        lerp_files::replace(&path, toml::to_string(&record)?.as_bytes())?;
    }
    Ok(true)
}
