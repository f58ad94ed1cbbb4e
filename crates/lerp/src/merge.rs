//! `lerp merge`: merges the sweeps of several machines into one new folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use lerp_eval::quantity::BY_JUDGE;
use lerp_files::{digest, make_folder};
use lerp_train::{Error, Metrics, Run, RunLock, State, runs_in};

use crate::{
    cli::MergeArgs,
    process::command_line,
    report,
    say::{say, warn},
    sweep::{RecordContents, SweepFolder, recorded_cells},
};

/// Temporary files of a run, which are not copied.
const TEMPORARY: [&str; 2] = [".lock", "progress.json"];
/// Folders of a sweep that have one or more files per dataset.
const DATASET_FOLDERS: [&str; 2] = ["judges", "pixels"];
/// Largest accepted size of a file in [`DATASET_FOLDERS`], bytes.
const MAX_BYTES: u64 = 1 << 32;

/// Copies the runs of all given folders into a new folder and draws its report; the given folders stay unchanged.
/// Returns whether nothing was left out.
///
/// # Errors
/// If a folder cannot be read, two runs of one cell are not equal, or the new folder already exists or cannot be
/// written. In the first three cases nothing is written.
pub fn merge(args: &MergeArgs) -> Result<bool> {
    let out = &args.out;
    if out.symlink_metadata().is_ok() {
        bail!(
            "{} already exists; give --out a new folder (the given folders are unchanged and can be merged again)",
            out.display()
        );
    }
    let (mut best, mut cells, mut differences) =
        (BTreeMap::<String, Run>::new(), BTreeSet::new(), Vec::new());
    let mut complete = true;
    for dir in &args.dirs {
        let found = runs_in(dir)?;
        if found.runs.is_empty() && found.left_out.is_empty() {
            bail!("{} holds no runs of a sweep", dir.display());
        }
        cells.extend(recorded_cells(dir));
        for out in &found.left_out {
            warn(&format!("{}: {out}", dir.display()));
            complete = false;
        }
        for run in found.runs {
            let identity = run.record.identity();
            match best.remove(&identity) {
                None => {
                    best.insert(identity, run);
                }
                Some(known) => {
                    differences.extend(difference(&known, &run)?);
                    best.insert(identity, further(known, run));
                }
            }
        }
    }
    let mut names: BTreeMap<&str, &Run> = BTreeMap::new();
    for run in best.values() {
        // A path may hold different images on different machines.
        if let Some(other) = names.insert(&run.record.id, run) {
            differences.push(format!(
                "{} ({} and {} were trained on different images)",
                run.record.id,
                other.dir.display(),
                run.dir.display()
            ));
        }
    }
    if !differences.is_empty() {
        bail!(
            "nothing was merged, because the runs of these cells differ between the folders: {}; delete one run of each, or train \
             one of them again on the same kind of processor as the other",
            differences.join("; ")
        );
    }
    let folder = SweepFolder::check(out, None)?;
    folder.create()?;
    let _lock = folder.lock()?;
    let mut copied = Vec::new();
    for run in best.values() {
        match copy(run, &folder.runs()) {
            Ok(()) => copied.push(run),
            Err(error) => {
                warn(&format!("{} is left out: {error:#}", run.dir.display()));
                complete = false;
            }
        }
    }
    for dir in &args.dirs {
        complete &= copy_dataset_files(dir, out)?;
    }
    cells.extend(best.values().map(|run| run.record.id.clone()));
    let cells: Vec<String> = cells.into_iter().collect();
    let devices: BTreeSet<String> = copied.iter().map(|run| run.record.provenance.device.clone()).collect();
    let devices: Vec<String> = devices.into_iter().collect();
    folder.write_record(&RecordContents {
        about: "sweeps of several machines, merged",
        command: &command_line(),
        devices: &devices,
        cells: &cells,
    })?;
    say(&format!("{} of {} runs were copied into {}", copied.len(), best.len(), out.display()));
    let reported = report::draw(out)?;
    Ok(reported && complete)
}

/// Returns the run that has progressed further or still has its model; of two equal ones, the first.
fn further(a: Run, b: Run) -> Run {
    let progress = |run: &Run| (run.status.state == State::Done, run.status.samples, run.has_model());
    if progress(&b) > progress(&a) { b } else { a }
}

/// Describes the difference between two runs of one cell. Returns `None` if they are equal or one is incomplete. Times
/// and the metrics of judges are not compared.
fn difference(a: &Run, b: &Run) -> Result<Option<String>> {
    let differ = |what: &str| {
        Some(format!("{} ({} and {} differ in their {what})", a.record.id, a.dir.display(), b.dir.display()))
    };
    if a.record.provenance.data != b.record.provenance.data {
        return Ok(differ("images"));
    }
    if a.status.state != State::Done || b.status.state != State::Done {
        return Ok(None);
    }
    let numbers = |run: &Run| -> Result<Vec<(u64, String, u64)>> {
        let Metrics(rows) = run.metrics()?;
        let own = rows.into_iter().filter(|row| !BY_JUDGE.iter().any(|of| of.key == row.metric));
        Ok(own.map(|row| (row.step, row.metric, row.value.to_bits())).collect())
    };
    let model = |run: &Run| -> Result<Option<String>> { Ok(run.model()?.map(|bytes| digest(&bytes))) };
    let (first, second) = (model(a)?, model(b)?);
    if first.is_some() && second.is_some() && first != second {
        return Ok(differ("models"));
    }
    Ok(if numbers(a)? == numbers(b)? { None } else { differ("metrics") })
}

/// Copies a run that no process is writing. The copy is read back and compared with its digests; an incomplete copy is
/// removed again.
fn copy(run: &Run, runs: &Path) -> Result<()> {
    let _lock = RunLock::take(&run.dir).map_err(|error| match error {
        Error::Busy { .. } => anyhow::anyhow!("it is being trained; merge again when it is done"),
        error => error.into(),
    })?;
    let target = runs.join(&run.record.id);
    let copied = copy_files(&run.dir, &target).and_then(|()| {
        let copy = Run::read(&target)?;
        if copy.record.identity() != run.record.identity() || copy.status != run.status {
            bail!("it changed while it was copied; merge again");
        }
        // Each of these reads verifies the file against its recorded digest.
        copy.metrics()?;
        copy.model()?;
        copy.strips()?;
        copy.paths()?;
        copy.judge_scores()?;
        Ok(())
    });
    if copied.is_err() {
        let _ = fs::remove_dir_all(&target);
    }
    copied
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for path in files(from)? {
        let name = path.file_name().unwrap_or_default();
        if !TEMPORARY.iter().any(|temporary| name == *temporary) {
            lerp_files::replace(&to.join(name), &lerp_files::read(&path, u64::MAX)?)?;
        }
    }
    Ok(())
}

/// Returns the regular files in a folder, sorted by name. Symbolic links are left out.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.with_context(|| format!("cannot read {}", dir.display()))?;
    let plain = |entry: &&fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let mut files: Vec<PathBuf> = entries.iter().filter(plain).map(fs::DirEntry::path).collect();
    files.sort();
    Ok(files)
}

/// Copies a sweep's files about datasets that do not exist in `out` yet. Returns `false` if a judge differs from the
/// one that `out` already has.
fn copy_dataset_files(dir: &Path, out: &Path) -> Result<bool> {
    let mut equal = true;
    for name in DATASET_FOLDERS {
        let (from, to) = (dir.join(name), out.join(name));
        if !lerp_files::is_folder(&from) {
            continue;
        }
        make_folder(&to)?;
        for path in files(&from)? {
            let target = to.join(path.file_name().unwrap_or_default());
            let bytes = lerp_files::read(&path, MAX_BYTES)?;
            if !target.exists() {
                lerp_files::replace(&target, &bytes)?;
            } else if name == "judges" && lerp_files::read(&target, MAX_BYTES)? != bytes {
                equal = false;
                warn(&format!(
                    "{} differs from the judge {}, which is kept; measurements by the former are left out of the report, and `lerp eval \
                     RUN --write` makes them again",
                    path.display(),
                    target.display()
                ));
            }
        }
    }
    Ok(equal)
}
