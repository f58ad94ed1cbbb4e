//! The names of the files of a run and of a sweep.

use serde::Serialize;

use crate::{Error, Result};

/// File name of a sweep's record: what is trained, by which software and on which devices.
pub const SWEEP_RECORD: &str = "sweep.toml";

/// Size limit of a sweep's record, bytes.
pub const MAX_SWEEP_RECORD_BYTES: u64 = 1 << 28;

/// Name and version of the format of a sweep's record, its member `format`.
pub const SWEEP_FORMAT: &str = "lerp sweep 1";

pub(crate) const RUN: &str = "run.toml";
pub(crate) const STATUS: &str = "status.json";
pub(crate) const METRICS: &str = "metrics.parquet";
pub(crate) const CHECKPOINT: &str = "checkpoint.safetensors";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const INTERPOLATION: &str = "interpolation.safetensors";
pub(crate) const PREVIEW: &str = "interpolation.png";
pub(crate) const PATHS: &str = "paths.safetensors";
pub(crate) const JUDGED: &str = "judged.safetensors";
pub(crate) const SAMPLES: &str = "samples.safetensors";
pub(crate) const EVENTS: &str = "events.out.tfevents.0.lerp";
pub(crate) const PROGRESS: &str = "progress.json";

/// The files whose digests a run keeps. The others are no results: the log, which the parent of a worker process
/// writes, the progress file, the lock and the lease.
pub(crate) const LISTED: &[&str] =
    &[RUN, STATUS, METRICS, CHECKPOINT, MODEL, INTERPOLATION, PREVIEW, PATHS, JUDGED, SAMPLES, EVENTS];

/// Returns a value as the text of the JSON file `name`.
pub(crate) fn json<T: Serialize>(name: &str, value: &T) -> Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::encoding(name, &e))?;
    Ok(format!("{text}\n").into_bytes())
}
