//! The run directory: reading it, locking it, replacing its files atomically.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, Live, Metrics, Paths, Result, RunRecord, Status, Strips, samples};

pub(crate) const RUN: &str = "run.toml";
pub(crate) const STATUS: &str = "status.json";
pub(crate) const METRICS: &str = "metrics.parquet";
pub(crate) const CHECKPOINT: &str = "checkpoint.safetensors";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const INTERPOLATION: &str = "interpolation.safetensors";
pub(crate) const PREVIEW: &str = "interpolation.png";
pub(crate) const PATHS: &str = "paths.safetensors";
pub(crate) const SAMPLES: &str = "samples.safetensors";
pub(crate) const PROGRESS: &str = "progress.json";
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

    /// Its interpolation between the first pair, which on lines is that of Figure 3, if it got that far.
    ///
    /// # Shapes
    /// `[positions, height, width, channels]`, `f32`.
    ///
    /// # Errors
    /// If its file is damaged.
    pub fn interpolation(&self) -> Result<Option<Tensor>> {
        Ok(self.strips()?.map(|strips| strips.images.get(0)).transpose()?)
    }

    /// Its interpolations to look at; none before the first evaluation.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn strips(&self) -> Result<Option<Strips>> {
        Strips::read(&self.dir)
    }

    /// What its latents and decoded images were like along the interpolations of its last evaluation; none before the first,
    /// and none of runs that older versions made.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn paths(&self) -> Result<Option<Paths>> {
        Paths::read(&self.dir)
    }

    /// Its decoded draws from the prior; none before the first evaluation, of variants without a prior, and of runs that
    /// older versions made.
    ///
    /// # Shapes
    /// `[samples, height, width, channels]`, `f32`.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn samples(&self) -> Result<Option<Tensor>> {
        samples::read(&self.dir)
    }

    /// What a worker last said that it does; none while no worker is on it. A worker that was killed leaves its last word
    /// behind, which [`Live::at`] tells.
    pub fn progress(&self) -> Option<Live> {
        // The file may go at any moment, and what is not there or not whole says nothing.
        serde_json::from_slice(&fs::read(self.dir.join(PROGRESS)).ok()?).ok()
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

/// Writes tensors by name.
pub(crate) fn write_tensors(path: &Path, tensors: Vec<(&str, Tensor)>) -> Result<()> {
    let bytes = safetensors::serialize(tensors, None)
        .map_err(|e| Error::bad_file(path, format!("cannot be made: {e}")))?;
    write_atomic(path, &bytes)
}

/// What to do about a file that a report can do without and that a model can make again.
const AGAIN: &str =
    "delete this file; where the run still has its model, `lerp eval RUN --write` makes it again";

/// A file of tensors that were read from a run's folder.
pub(crate) struct Tensors {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Tensors {
    /// Reads the file at `path`; none if there is none.
    pub fn read(path: PathBuf) -> Result<Option<Self>> {
        let bytes = match fs::read(&path) {
            Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(Error::file("read", &path))?,
        };
        match candle_core::safetensors::load_buffer(&bytes, &Device::Cpu) {
            Ok(tensors) => Ok(Some(Self { path, tensors })),
            Err(e) => Err(Error::bad_file(&path, format!("is damaged ({e}); {AGAIN}"))),
        }
    }

    /// The tensor `name`, if there is one, as `f32`.
    pub fn find(&self, name: &str) -> Result<Option<Tensor>> {
        let tensor = self.tensors.get(name).map(|tensor| tensor.to_dtype(DType::F32)).transpose();
        tensor.map_err(|e| self.damaged(&format!("{name}: {e}")))
    }

    /// The tensor `name` as `f32`.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        self.find(name)?.ok_or_else(|| self.damaged(&format!("it holds no '{name}'")))
    }

    /// The error of a file whose tensors are not as they should be.
    pub fn damaged(&self, why: &str) -> Error {
        Error::bad_file(&self.path, format!("is damaged ({why}); {AGAIN}"))
    }
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
