//! The run directory: reading it, locking it, replacing its files atomically.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Metrics, Result, RunRecord, Status};

pub(crate) const RUN: &str = "run.toml";
pub(crate) const STATUS: &str = "status.json";
pub(crate) const METRICS: &str = "metrics.parquet";
pub(crate) const CHECKPOINT: &str = "checkpoint.safetensors";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const INTERPOLATION: &str = "interpolation.safetensors";
const LOCK: &str = ".lock";

/// A run as its folder tells it.
#[derive(Debug, Clone)]
pub struct Run {
    /// The folder.
    pub dir: PathBuf,
    /// Configuration and provenance.
    pub record: RunRecord,
    /// How far it is.
    pub status: Status,
}

impl Run {
    /// Reads the run in `dir`.
    ///
    /// # Errors
    /// If a file is missing or damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(RUN);
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let record = toml::from_str(&text).map_err(|e| {
            Error::bad_file(
                &path,
                format!("is not the record of a run ({}); delete its folder to redo it", e.message()),
            )
        })?;
        Ok(Self { dir: dir.to_owned(), record, status: read_json(&dir.join(STATUS))? })
    }

    /// Its metrics; none before the first evaluation.
    ///
    /// # Errors
    /// If the table is damaged.
    pub fn metrics(&self) -> Result<Metrics> {
        let path = self.dir.join(METRICS);
        if path.exists() { Metrics::read(&path) } else { Ok(Metrics::default()) }
    }

    /// Its interpolation between the two lines of Figure 3, if it got that far.
    ///
    /// # Shapes
    /// `[positions, height, width, channels]`.
    pub fn interpolation(&self) -> Result<Option<Tensor>> {
        let path = self.dir.join(INTERPOLATION);
        if !path.exists() {
            return Ok(None);
        }
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu)
            .map_err(|e| Error::bad_file(&path, format!("is damaged ({e})")))?;
        Ok(tensors.get("images").cloned())
    }
}

/// The runs of a sweep, sorted by name. A folder that a killed worker left before it wrote a record is passed over.
///
/// # Errors
/// If the folder cannot be listed or a run in it is damaged.
pub fn runs_in(sweep: &Path) -> Result<Vec<Run>> {
    let dir = sweep.join("runs");
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::file("read", &dir))? {
        folders.push(entry.map_err(Error::file("read", &dir))?.path());
    }
    folders.sort();
    folders.iter().filter(|f| f.join(RUN).exists() && f.join(STATUS).exists()).map(|f| Run::read(f)).collect()
}

/// Replaces `path` by `bytes`, entirely or not at all, also if the machine stops halfway.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The new name itself, too, must outlive a loss of power; not every system can sync a folder.
        #[cfg(unix)]
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|problem| {
        let _ = fs::remove_file(&temporary);
        Error::File { action: "write", path: path.to_owned(), problem }
    })
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::bad_file(path, format!("cannot be made: {e}")))?;
    write_atomic(path, format!("{text}\n").as_bytes())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    serde_json::from_str(&text)
        .map_err(|e| Error::bad_file(path, format!("is damaged ({e}); delete its folder to redo the run")))
}

/// A folder that this process alone may write, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Creates `dir` if need be and locks it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it; otherwise if it cannot be created or written.
    pub fn take(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let path = dir.join(LOCK);
        let file = File::create(&path).map_err(Error::file("write", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(dir.to_owned())),
            Err(TryLockError::Error(problem)) => Err(Error::File { action: "lock", path, problem }),
        }
    }
}
