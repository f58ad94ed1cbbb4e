//! The run directory: reading it, locking it, and listing the runs of a sweep.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use candle_core::Tensor;
use lerp_files::{Lock, Locked, STALE, is_folder, is_leftover, make_folder, printable, remove_leftovers};
use lerp_kernels::notice;
use rayon::prelude::*;
use serde::de::DeserializeOwned;

use crate::{
    Error, JudgeScores, LiveProgress, Metrics, Paths, Result, RunRecord, State, Status, Strips,
    digests::{self, DigestList, REDO, SMALL},
    files::{METRICS, MODEL, PREVIEW, PROGRESS, RUN, STATUS},
    lease::{self, Held, Holder, LEASE, Lease},
    samples,
};

const LOCK: &str = ".lock";

/// A run as read from its folder.
///
/// ```no_run
/// use std::path::Path;
///
/// use lerp_train::Run;
///
/// let run = Run::read(Path::new("results/quick/runs/lines-acai-s0-0123abcd"))?;
/// println!("{} on {}: {:?}", run.record.title, run.record.cell.dataset, run.status.state);
/// let metrics = run.metrics()?;
/// for row in metrics.series("eval/mean_distance") {
///     println!("{} samples: {}", row.samples, row.value);
/// }
/// # Ok::<(), lerp_train::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Run {
    /// Path of the folder.
    pub dir: PathBuf,
    /// Configuration and provenance.
    pub record: RunRecord,
    /// Status of the run.
    pub status: Status,
    /// Whether digests of its files exist, which are compared whenever a file is read; false for runs of earlier
    /// versions.
    pub checked: bool,
}

impl Run {
    /// Reads the run in `dir`.
    ///
    /// # Errors
    /// If a file is missing or damaged, or belongs to another run than the one that the folder is named after.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(RUN);
        let bad = |problem: String| Error::bad_file(&path, problem);
        let record = digests::read(dir, RUN)?.ok_or_else(|| bad(format!("is missing; {REDO}")))?;
        let record = String::from_utf8(record).map_err(|_| bad(format!("is not text; {REDO}")))?;
        let mut record: RunRecord = toml::from_str(&record)
            .map_err(|e| bad(format!("is not the record of a run ({}); {REDO}", e.message())))?;
        record.complete();
        // The path may be a symbolic link, or `.`.
        let folder = dir.canonicalize().map_err(lerp_files::Error::at("read", dir))?;
        record.check(&folder.file_name().unwrap_or_default().to_string_lossy()).map_err(bad)?;
        let checked = digests::digest_list(dir, &record.id)? == DigestList::Present;
        if record.digests && !checked {
            let list = dir.join(digests::DIGESTS);
            return Err(Error::bad_file(
                &list,
                format!("is missing, so its files cannot be checked; {REDO}"),
            ));
        }
        let status: Status = read_json(dir, STATUS)?;
        if status.state == State::Done && !dir.join(METRICS).exists() {
            let problem = format!("is missing, though the run is complete; {REDO}");
            return Err(Error::bad_file(&dir.join(METRICS), problem));
        }
        Ok(Self { dir: dir.to_owned(), record, status, checked })
    }

    /// Removes temporary files that a killed worker process left in the folder, if no process holds its lock.
    /// Training a run again does this by itself.
    pub fn remove_leftovers(&self) {
        let Ok(mut entries) = fs::read_dir(&self.dir) else { return };
        let leftover = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_leftover))
        };
        if entries.any(leftover)
            && let Ok(_lock) = RunLock::take(&self.dir)
        {
            remove_leftovers(&self.dir, Duration::ZERO);
        }
    }

    /// Returns whether the run still has its model, which measurements and exports need.
    pub fn has_model(&self) -> bool {
        self.dir.join(MODEL).exists()
    }

    /// Returns the bytes of the run's model after checking its digest; `None` before the end of training.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn model(&self) -> Result<Option<Vec<u8>>> {
        digests::read(&self.dir, MODEL)
    }

    /// Returns the bytes of the PNG preview of the run's interpolations after checking its digest; `None` before
    /// the first evaluation.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn preview(&self) -> Result<Option<Vec<u8>>> {
        digests::read(&self.dir, PREVIEW)
    }

    /// Returns the run's metrics; the table is empty before the first evaluation.
    ///
    /// # Errors
    /// If the table is damaged.
    pub fn metrics(&self) -> Result<Metrics> {
        let path = self.dir.join(METRICS);
        if path.exists() { Metrics::read(&path) } else { Ok(Metrics::default()) }
    }

    /// Returns the interpolation between the run's first pair, which on lines is that of Figure 3; `None` before
    /// the first evaluation.
    ///
    /// # Shapes
    /// `[positions, height, width, channels]`, `f32`.
    ///
    /// # Errors
    /// If its file is damaged.
    pub fn interpolation(&self) -> Result<Option<Tensor>> {
        Ok(self.strips()?.map(|strips| strips.images.get(0)).transpose()?)
    }

    /// Returns the run's interpolations for display; `None` before the first evaluation.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn strips(&self) -> Result<Option<Strips>> {
        Strips::read(&self.dir)
    }

    /// Returns the quantities along the interpolations of the run's last evaluation; `None` before the first
    /// evaluation, and for runs of older versions.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn paths(&self) -> Result<Option<Paths>> {
        Paths::read(&self.dir)
    }

    /// Returns a judge's scores of the interpolations of the run's last evaluation; `None` if no judge measured it.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn judge_scores(&self) -> Result<Option<JudgeScores>> {
        JudgeScores::read(&self.dir)
    }

    /// Returns the run's decoded samples from the prior; `None` before the first evaluation, for variants without a
    /// prior, and for runs of older versions.
    ///
    /// # Shapes
    /// `[samples, height, width, channels]`, `f32`.
    ///
    /// # Errors
    /// If their file is damaged.
    pub fn samples(&self) -> Result<Option<Tensor>> {
        samples::read(&self.dir)
    }

    /// Returns the progress that a worker process last reported; `None` while no worker trains the run. A killed
    /// worker leaves its last report behind, which is recognised by its age ([`LiveProgress::at`]).
    pub fn progress(&self) -> Option<LiveProgress> {
        // The file may be removed at any moment; a missing or incomplete one means that there is no report.
        serde_json::from_slice(&lerp_files::read(&self.dir.join(PROGRESS), SMALL).ok()?).ok()
    }
}

/// The contents of a sweep's folder of runs.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// The valid runs, in order of their folders' names.
    pub runs: Vec<Run>,
    /// Folders that cannot be read as a run, and duplicates of other runs; they are counted nowhere.
    pub left_out: Vec<LeftOutFolder>,
}

/// A folder among the runs that is not counted as a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOutFolder {
    /// Name of the folder.
    pub folder: String,
    /// The reason and its remedy, as a sentence without its full stop.
    pub reason: String,
}

/// Reads the runs in the folder of a sweep. Folders of workers that were killed before they wrote a record are
/// skipped.
///
/// # Errors
/// If the folder cannot be listed.
///
/// # Examples
/// ```
/// let sweep = tempfile::tempdir()?;
/// let found = lerp_train::runs_in(sweep.path())?;
/// assert!(found.runs.is_empty(), "nothing was trained here yet");
/// for left_out in &found.left_out {
///     println!("{left_out}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn runs_in(sweep: &Path) -> Result<Runs> {
    let dir = sweep.join("runs");
    let mut found = Runs::default();
    if !dir.exists() && !dir.is_symlink() {
        return Ok(found);
    }
    let unreadable = lerp_files::Error::at("read", &dir);
    if !is_folder(&dir) {
        let problem = std::io::Error::new(std::io::ErrorKind::NotADirectory, "it is not a folder");
        return Err(unreadable(problem).into());
    }
    let entries: std::io::Result<Vec<_>> = fs::read_dir(&dir).and_then(Iterator::collect);
    let mut folders: Vec<PathBuf> = entries.map_err(unreadable)?.into_iter().map(|e| e.path()).collect();
    folders.sort();
    let read = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if folder.is_symlink() {
            let reason = "it is a symbolic link, which is not followed".to_owned();
            return Some(Err(LeftOutFolder { folder: name, reason }));
        }
        let is_run = folder.is_dir() && !holds_no_run_yet(folder);
        is_run.then(|| Run::read(folder).map_err(|e| LeftOutFolder { folder: name, reason: e.to_string() }))
    };
    let all: Vec<_> = folders.par_iter().filter_map(read).collect();
    for run in all {
        match run {
            Ok(run) => found.runs.push(run),
            Err(left_out) => found.left_out.push(left_out),
        }
    }
    found.leave_out_duplicates();
    Ok(found)
}

impl fmt::Display for LeftOutFolder {
    /// Writes a whole sentence without control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, reason) = (printable(&self.folder), printable(&self.reason));
        write!(f, "{folder} is left out: {}.", reason.trim_end_matches('.'))
    }
}

impl Runs {
    /// Leaves out runs of a cell that has another run already: one of the two is a copy, or has the same images
    /// under another name.
    fn leave_out_duplicates(&mut self) {
        let mut first: HashMap<String, String> = HashMap::new();
        let left_out = &mut self.left_out;
        // Finished runs come before others, and then the one that started first, so that a later copy changes no
        // number.
        let mut order: Vec<usize> = (0..self.runs.len()).collect();
        order.sort_by_cached_key(|index| {
            let run = &self.runs[*index];
            (run.status.state != State::Done, run.record.provenance.started.clone(), run.record.id.clone())
        });
        let mut duplicates = BTreeSet::new();
        for index in order {
            let record = &self.runs[index].record;
            match first.entry(record.identity()) {
                Entry::Vacant(entry) => {
                    entry.insert(record.id.clone());
                }
                Entry::Occupied(entry) => {
                    let other = entry.get();
                    let reason = format!("it is of the same cell and seed as {other}; delete one of the two");
                    left_out.push(LeftOutFolder { folder: record.id.clone(), reason });
                    duplicates.insert(index);
                }
            }
        }
        let mut index = 0;
        self.runs.retain(|_| {
            index += 1;
            !duplicates.contains(&(index - 1))
        });
    }

    /// Returns a sentence about runs whose files have no digests, if there are any.
    pub fn unchecked(&self) -> Option<String> {
        let count = self.runs.iter().filter(|run| !run.checked).count();
        (count > 0).then(|| {
            let runs = if count == 1 { "1 run is".to_owned() } else { format!("{count} runs are") };
            format!("{runs} of an earlier version that kept no digests of its files: damage to them goes unnoticed")
        })
    }
}

/// Returns whether a folder holds only files that a worker process writes before the record.
fn holds_no_run_yet(folder: &Path) -> bool {
    let precedes_record =
        |name: &str| matches!(name, LOCK | LEASE | "log.txt" | PROGRESS | STATUS | digests::DIGESTS);
    let entries = fs::read_dir(folder).map(|entries| entries.filter_map(std::io::Result::ok));
    entries.is_ok_and(|mut entries| {
        entries.all(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            precedes_record(&name) || is_leftover(&name) || name.ends_with(".tmp")
        })
    })
}

fn read_json<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T> {
    let bad = |problem: String| Error::bad_file(&dir.join(name), format!("{problem}; {REDO}"));
    let bytes = digests::read(dir, name)?.ok_or_else(|| bad("is missing".into()))?;
    serde_json::from_slice(&bytes).map_err(|e| bad(format!("is damaged ({e})")))
}

/// The exclusive right to write in a folder. It lasts until this value is dropped or the process ends, for whatever
/// reason. A file lock keeps out other processes of this machine, if the file system supports locks; a lease keeps out
/// the processes of all machines.
///
/// # Examples
/// ```
/// use lerp_train::{Error, Holder, RunLock};
///
/// let dir = tempfile::tempdir()?;
/// let lock = RunLock::take(dir.path())?;
/// println!("held by {}", Holder::of(dir.path()).unwrap().described());
/// assert!(matches!(RunLock::take(dir.path()), Err(Error::Busy { .. })), "one process writes at a time");
/// drop(lock);
/// assert!(Holder::of(dir.path()).is_none());
/// RunLock::take(dir.path())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RunLock {
    lease: Lease,
}

impl RunLock {
    /// Locks the folder `dir`, and removes temporary files that killed processes left in it. The folder is created if
    /// it does not exist, but its parent folder must exist. If an earlier start of this Slurm job holds the folder,
    /// that process loses it to this one.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process holds the folder; otherwise if the folder cannot be created or written.
    pub fn take(dir: &Path) -> Result<Self> {
        // A link to a folder is accepted, because the user may have given one.
        if !dir.is_dir() {
            make_folder(dir)?;
        }
        let lock = match take_lock(dir)? {
            Locked::Busy if lease::is_held_by_earlier_start(dir) => None,
            Locked::Busy => return Err(lease::busy_error(dir)),
            Locked::Unsupported => {
                notice(&format!(
                    "{} is on a file system without locks; a lease keeps other processes out",
                    printable(&dir.to_string_lossy())
                ));
                None
            }
            Locked::Ours(lock) => Some(lock),
        };
        let lease = Lease::take(dir, lock)?;
        remove_leftovers(dir, STALE);
        Ok(Self { lease })
    }

    /// Returns what is needed to write files in the folder.
    pub(crate) fn held(&self) -> Arc<Held> {
        self.lease.held()
    }
}

/// Takes the file lock of `dir`. If another process has the lock but there is no lease, this waits a while: that
/// process has either lost its lease and is about to release the lock, or it has only just taken the lock and is about
/// to create its lease.
fn take_lock(dir: &Path) -> Result<Locked> {
    /// The longest wait, which is longer than a process takes to notice that it has lost its lease.
    const PATIENCE: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    loop {
        let locked = Lock::take(&dir.join(LOCK))?;
        if !matches!(locked, Locked::Busy) || Holder::of(dir).is_some() || begun.elapsed() > PATIENCE {
            return Ok(locked);
        }
        thread::sleep(Duration::from_millis(100));
    }
}
