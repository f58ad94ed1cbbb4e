//! What raw pixels are worth: the columns of Tables 2b and 3 that latents are compared with.

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use lerp_report::PixelReference;
use lerp_train::{Cell, Error, of_pixels, write_atomic};

use crate::{say::say, shelf::Shelf};

/// Measures the pixels of every labelled image set among `cells` for which `out` has no record yet, into
/// `pixels/<dataset>.toml`. Returns false if it was stopped.
///
/// # Errors
/// If a dataset cannot be read or a record not written.
pub fn references(shelf: &Shelf, out: &Path, cells: &[Cell], stop: &AtomicBool) -> Result<bool> {
    let mut restarts: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in cells {
        if let Some(of_cell) = cell.cluster_restarts {
            let most = restarts.entry(&cell.dataset).or_default();
            *most = of_cell.max(*most);
        }
    }
    for (name, restarts) in restarts {
        let path = out.join(PixelReference::path(name));
        if path.exists() {
            continue;
        }
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(false);
        }
        say(&format!("Raw pixels of {name}: a single-layer classifier and clusters, for comparison"));
        let measures = match of_pixels(&*shelf.get(name)?, restarts, stop) {
            Err(Error::Eval(lerp_eval::Error::Stopped)) => return Ok(false),
            measures => measures?,
        };
        let value = |name: &str| {
            let found = measures.iter().find(|(metric, _)| metric.strip_prefix("final/") == Some(name));
            found.map_or(f64::NAN, |(_, value)| *value)
        };
        let record = PixelReference {
            dataset: name.into(),
            data: shelf.digest(name)?.unwrap_or_default(),
            probe_accuracy: value("probe_accuracy"),
            probe_train_accuracy: value("probe_train_accuracy"),
            probe_iterations: value("probe_iterations"),
            probe_converged: value("probe_converged") == 1.0,
            test_images: value("test_images"),
            train_images: value("train_images"),
            cluster_accuracy: Some(value("cluster_accuracy")),
            cluster_information: Some(value("cluster_information")),
            cluster_restarts: Some(restarts as f64),
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        write_atomic(&path, toml::to_string(&record)?.as_bytes())?;
    }
    Ok(true)
}
