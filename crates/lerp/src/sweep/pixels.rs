//! What raw pixels are worth to a single-layer classifier: the row under Table 2 that latents are compared with.

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};

use anyhow::{Context, Result};
use lerp_train::{Cell, Error, of_pixels, write_atomic};

use crate::{say::say, shelf::Shelf};

/// Fits the classifier to the pixels of every labelled image set among `cells` for which `out` has no record yet, into
/// `pixels/<dataset>.toml`. Returns false if it was stopped.
///
/// # Errors
/// If a dataset cannot be read or a record not written.
pub fn references(shelf: &Shelf, out: &Path, cells: &[Cell], stop: &AtomicBool) -> Result<bool> {
    let mut names: Vec<&str> = cells
        .iter()
        .filter(|cell| cell.cluster_restarts.is_some())
        .map(|cell| cell.dataset.as_str())
        .collect();
    names.dedup();
    for name in names {
        let plain = |c: char| if c.is_alphanumeric() || "._".contains(c) { c } else { '-' };
        let file: String = name.chars().map(plain).collect();
        let path = out.join("pixels").join(file).with_extension("toml");
        if path.exists() {
            continue;
        }
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(false);
        }
        say(&format!("Raw pixels of {name}: fitting a single-layer classifier, for comparison"));
        let measures = match of_pixels(&*shelf.get(name)?, stop) {
            Err(Error::Eval(lerp_eval::Error::Stopped)) => return Ok(false),
            measures => measures?,
        };
        let mut record: BTreeMap<&str, toml::Value> = measures
            .iter()
            .map(|(metric, value)| (metric.trim_start_matches("final/"), toml::Value::Float(*value)))
            .collect();
        if let Some(converged) = record.get_mut("probe_converged") {
            *converged = toml::Value::Boolean(converged.as_float() == Some(1.0));
        }
        record.insert("dataset", name.into());
        if let Some(digest) = shelf.digest(name)? {
            record.insert("data", digest.into());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        write_atomic(&path, toml::to_string(&record)?.as_bytes())?;
    }
    Ok(true)
}
