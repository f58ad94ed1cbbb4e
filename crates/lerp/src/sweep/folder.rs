//! The folder of a sweep: checks that the sweep may write there, and writes its record. The folder is untrusted,
//! because it may hold anybody's files.

use std::{
    fs::{self, DirEntry},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use lerp_files::{Lock, Locked, STALE, is_folder, is_leftover, make_folder, remove_leftovers};
use lerp_train::{MAX_SWEEP_RECORD_BYTES, SWEEP_FORMAT, SWEEP_RECORD, runs_in};
use serde::Serialize;

use crate::provenance::{CANDLE, GIT, VERSION, now};

/// The subfolders of a sweep's folder.
const FOLDERS: [&str; 6] = ["runs", "judges", "pixels", "tables", "figures", "cluster"];

/// The contents of `sweep.toml`: what is trained, by which software and on which devices.
#[derive(Serialize)]
struct SweepRecord<'a> {
    format: &'a str,
    about: &'a str,
    command: &'a str,
    started: String,
    version: &'a str,
    git: &'a str,
    candle: &'a str,
    devices: &'a [String],
    cells: &'a [String],
}

/// What the record of a sweep says, besides the time and the software.
pub struct RecordContents<'a> {
    /// One sentence that describes the sweep.
    pub about: &'a str,
    /// The command line.
    pub command: &'a str,
    /// Names of the devices.
    pub devices: &'a [String],
    /// Names of the cells.
    pub cells: &'a [String],
}

/// The folder of a sweep, after it was checked that the sweep may write there.
pub struct SweepFolder {
    path: PathBuf,
    /// Whether the folder has the record of a sweep.
    recorded: bool,
    /// A warning for the user if the folder has runs but no valid record.
    pub notice: Option<String>,
}

impl SweepFolder {
    /// Checks that `out` does not exist yet or is the folder of a sweep, without creating anything. A folder is also
    /// accepted if it has only the leftovers of a sweep that was stopped during its first writes, or if it has runs but
    /// lost its record.
    ///
    /// # Errors
    /// If the folder holds other files or symbolic links in place of its subfolders, or cannot be read.
    pub fn check(out: &Path, config: Option<&Path>) -> Result<Self> {
        let mut folder = Self { path: out.to_owned(), recorded: false, notice: None };
        if !out.exists() {
            return Ok(folder);
        }
        let shown = out.display();
        if !out.is_dir() {
            bail!("{shown} is a file; give --out a folder");
        }
        for path in FOLDERS.map(|name| out.join(name)) {
            if path.symlink_metadata().is_ok() && !is_folder(&path) {
                bail!(
                    "{} is a link or a file, where a sweep has a folder; remove it, or give --out another folder",
                    path.display()
                );
            }
        }
        let record = out.join(SWEEP_RECORD);
        let text = match lerp_files::read_to_string(&record, MAX_SWEEP_RECORD_BYTES) {
            Err(error) if error.is_not_found() => Some(String::new()),
            text => text.ok(),
        };
        // Writing the record would overwrite a plan that has the record's file name.
        if config.is_some_and(|config| config.canonicalize().ok() == record.canonicalize().ok())
            && record.exists()
        {
            bail!("{} is the record of a sweep, not a plan; give --config a plan", record.display());
        }
        folder.recorded = text.as_deref().is_some_and(is_record);
        if folder.recorded {
            return Ok(folder);
        }
        let absent = text.is_some_and(|text| text.is_empty());
        let found = runs_in(out)?;
        if !found.runs.is_empty() {
            let how = if absent { "is missing" } else { "is damaged, or was written by another program" };
            folder.notice = Some(format!(
                "{} {how}; a new one is written, because the folder has runs of a sweep",
                record.display()
            ));
        } else if !absent || !found.left_out.is_empty() || !entries(out)?.iter().all(leftover) {
            bail!(
                "{shown} is not empty and is not the folder of a sweep (it has no {SWEEP_RECORD} that `lerp` wrote); give --out another folder"
            );
        }
        Ok(folder)
    }

    /// Creates the folder with its subfolder for runs.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.path).with_context(|| format!("cannot create {}", self.path.display()))?;
        Ok(make_folder(&self.runs())?)
    }

    /// Takes the folder's file lock, which keeps other sweeps out until it is dropped. Returns `None` if the file
    /// system does not support locks.
    ///
    /// # Errors
    /// If another sweep holds the lock, or it cannot be written.
    pub fn lock(&self) -> Result<Option<Lock>> {
        match Lock::take(&self.path.join(".lock"))? {
            Locked::Busy => bail!(
                "another sweep is writing to {}; wait for it, or give --out another folder",
                self.path.display()
            ),
            // Without file locks, the lease of each run keeps other processes from writing it.
            Locked::Unsupported => Ok(None),
            Locked::Ours(lock) => {
                remove_leftovers(&self.path, STALE);
                Ok(Some(lock))
            }
        }
    }

    /// Returns the path of the subfolder for runs.
    pub fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// Writes the record of a sweep that starts now, which replaces one that exists.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_record(&self, contents: &RecordContents) -> Result<()> {
        let RecordContents { about, command, devices, cells } = *contents;
        let record = SweepRecord {
            format: SWEEP_FORMAT,
            about,
            command,
            started: now(),
            version: VERSION,
            git: GIT,
            candle: CANDLE,
            devices,
            cells,
        };
        Ok(lerp_files::replace(&self.path.join(SWEEP_RECORD), toml::to_string(&record)?.as_bytes())?)
    }

    /// Writes the record of a sweep that starts now, unless the folder has one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_record_if_missing(&self, contents: &RecordContents) -> Result<()> {
        if self.recorded { Ok(()) } else { self.write_record(contents) }
    }
}

/// Returns the names of the cells in the record of a sweep, or no names if the record cannot be read.
pub fn recorded_cells(sweep: &Path) -> Vec<String> {
    let text =
        lerp_files::read_to_string(&sweep.join(SWEEP_RECORD), MAX_SWEEP_RECORD_BYTES).unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let cells = table.get("cells").and_then(toml::Value::as_array).into_iter().flatten();
    cells.filter_map(toml::Value::as_str).filter(|cell| lerp_files::is_word(cell)).map(String::from).collect()
}

/// Whether `text` is a valid [`SweepRecord`].
fn is_record(text: &str) -> bool {
    let table = text.parse::<toml::Table>().ok();
    table.is_some_and(|table| table.get("format").and_then(toml::Value::as_str) == Some(SWEEP_FORMAT))
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect);
    entries.with_context(|| format!("cannot read {}", folder.display()))
}

/// Whether a file or folder may be a leftover of a sweep that was stopped during its first writes, before any run
/// began.
fn leftover(entry: &DirEntry) -> bool {
    let (path, name) = (entry.path(), entry.file_name());
    let name = name.to_string_lossy();
    let temporary = |name: &str| is_leftover(name) || name == "sweep.toml.tmp";
    let host_log =
        |name: &str| name.strip_prefix("host-").is_some_and(|rest| rest.strip_suffix(".log").is_some());
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    match &*name {
        ".lock" => Lock::looks_like_one(&path),
        // `check` has made sure that the record is empty.
        SWEEP_RECORD => true,
        "runs" => entries(&path).is_ok_and(|runs| runs.iter().all(|run| is_folder(&run.path()))),
        // A submission that could not ask Slurm.
        "cluster" => entries(&path).is_ok_and(|entries| {
            entries.iter().all(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                matches!(&*name, ".lock" | "lease" | "logs") || is_leftover(&name)
            })
        }),
        "judges" | "pixels" => entries(&path).is_ok_and(|entries| entries.is_empty()),
        name => is_file && (temporary(name) || host_log(name)),
    }
}
