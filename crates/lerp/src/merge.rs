//! `lerp merge`: the sweeps of several machines in one folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use lerp_files::{digest, make_folder};
use lerp_train::{Metrics, Run, State, runs_in};

use crate::{
    cli::MergeArgs,
    report,
    say::{say, warn},
    sweep::{Folder, command_line},
};

/// Where runs are copied before they take their place.
const DRAFTS: &str = "merging";
/// Files of a run that are of the moment.
const PASSING: [&str; 2] = [".lock", "progress.json"];
/// Folders with a file for each dataset.
const OF_DATASETS: [&str; 2] = ["judges", "pixels"];
/// Most bytes of a file in those.
const MOST: u64 = 1 << 28;

/// A run, and where it is.
struct Found {
    run: Run,
    /// Whether it is in the folder that all go to.
    there: bool,
}

/// Copies the runs of all folders into one, and reports. Returns whether nothing was left out.
///
/// # Errors
/// If folders cannot be read, two runs of one cell are not equal, or the folder cannot be written; nothing is written in the
/// first two cases.
pub fn merge(args: &MergeArgs) -> Result<bool> {
    let folder = Folder::check(&args.out, None)?;
    let mut best: BTreeMap<String, Found> = BTreeMap::new();
    let mut unlike: Vec<String> = Vec::new();
    let mut whole = true;
    let there = args.out.exists().then(|| args.out.canonicalize()).transpose()?;
    let dirs = args.dirs.iter().map(|dir| (dir, false));
    for (dir, own) in there.iter().map(|dir| (dir, true)).chain(dirs) {
        let place = dir.canonicalize().with_context(|| format!("cannot read {}", dir.display()))?;
        if !own && Some(&place) == there.as_ref() {
            bail!("{} is the folder that all go to; name it with --out alone", dir.display());
        }
        let found = runs_in(dir)?;
        if !own && found.runs.is_empty() && found.left_out.is_empty() {
            bail!("{} holds no runs of a sweep", dir.display());
        }
        for out in &found.left_out {
            warn(&format!("{}: {out}", dir.display()));
            whole = false;
        }
        for run in found.runs {
            let identity = run.record.identity();
            let found = Found { run, there: own };
            match best.remove(&identity) {
                None => {
                    best.insert(identity, found);
                }
                Some(known) => {
                    unlike.extend(difference(&known.run, &found.run)?);
                    best.insert(identity, further(known, found));
                }
            }
        }
    }
    if !unlike.is_empty() {
        bail!(
            "these cells are there twice and not equal, so nothing was merged: {}; delete one of each, or train one again on the \
             other's kind of processor",
            unlike.join("; ")
        );
    }
    folder.create()?;
    let _lock = folder.lock()?;
    // What an earlier merge left that was killed.
    let drafts = args.out.join(DRAFTS);
    if drafts.symlink_metadata().is_ok() {
        fs::remove_dir_all(&drafts).with_context(|| format!("cannot remove {}", drafts.display()))?;
    }
    let mut copied = 0;
    for found in best.values().filter(|found| !found.there) {
        copy(&found.run, &drafts, &folder.runs())?;
        copied += 1;
    }
    let _ = fs::remove_dir(&drafts);
    for dir in &args.dirs {
        whole &= of_datasets(dir, &args.out)?;
    }
    let cells: Vec<String> = best.values().map(|found| found.run.record.id.clone()).collect();
    let devices: BTreeSet<String> =
        best.values().map(|found| found.run.record.provenance.device.clone()).collect();
    let devices: Vec<String> = devices.into_iter().collect();
    folder.record(true, "sweeps of several machines, merged", &command_line(), &devices, &cells)?;
    say(&format!("{copied} of {} runs were copied into {}", cells.len(), args.out.display()));
    let reported = report(&args.out, None)?;
    say(&format!("Tables, figures and the page: {}", args.out.join("index.html").display()));
    Ok(reported && whole)
}

/// The one that is further; of two that are as far, the one that is in place.
fn further(a: Found, b: Found) -> Found {
    let far = |found: &Found| (found.run.status.state == State::Done, found.run.status.samples);
    if far(&b) > far(&a) { b } else { a }
}

/// In what two runs of one cell differ, if both are complete; what is equal may differ in its clock alone.
fn difference(a: &Run, b: &Run) -> Result<Option<String>> {
    if a.status.state != State::Done || b.status.state != State::Done {
        return Ok(None);
    }
    let clockless = |run: &Run| -> Result<Vec<(u64, String, u64)>> {
        let Metrics(rows) = run.metrics()?;
        Ok(rows.into_iter().map(|row| (row.step, row.metric, row.value.to_bits())).collect())
    };
    let model = |run: &Run| -> Result<Option<String>> { Ok(run.model()?.map(|bytes| digest(&bytes))) };
    let (first, second) = (model(a)?, model(b)?);
    let models = first.is_none() || second.is_none() || first == second;
    let what = match (models, clockless(a)? == clockless(b)?) {
        (true, true) => return Ok(None),
        (false, _) => "models",
        (true, false) => "metrics",
    };
    Ok(Some(format!("{} ({} and {} differ in their {what})", a.record.id, a.dir.display(), b.dir.display())))
}

/// Copies a run: first beside the others, then in one move among them.
fn copy(run: &Run, drafts: &Path, runs: &Path) -> Result<()> {
    let id = &run.record.id;
    let draft = drafts.join(id);
    fs::create_dir_all(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
    for path in files(&run.dir)? {
        let name = path.file_name().unwrap_or_default();
        if !PASSING.iter().any(|passing| name == *passing) {
            fs::copy(&path, draft.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    // As it was read, it is whole.
    let copied = Run::read(&draft)?;
    if copied.record != run.record || copied.status != run.status {
        bail!("{} changed while it was copied; merge once more when nobody writes there", run.dir.display());
    }
    let (place, before) = (runs.join(id), drafts.join(format!("{id}.before")));
    if place.exists() {
        // A run of this cell that is not as far.
        fs::rename(&place, &before).with_context(|| format!("cannot move {}", place.display()))?;
    }
    fs::rename(&draft, &place).with_context(|| format!("cannot move {}", draft.display()))?;
    if before.exists() {
        fs::remove_dir_all(&before).with_context(|| format!("cannot remove {}", before.display()))?;
    }
    Ok(())
}

/// The plain files of a folder, by name; links are not followed.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let entries = entries.with_context(|| format!("cannot read {}", dir.display()))?;
    let plain = |entry: &&fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let mut files: Vec<PathBuf> = entries.iter().filter(plain).map(fs::DirEntry::path).collect();
    files.sort();
    Ok(files)
}

/// Copies what a sweep keeps of datasets, where there is nothing yet. Whether all that is there twice is equal.
fn of_datasets(dir: &Path, out: &Path) -> Result<bool> {
    let mut equal = true;
    for name in OF_DATASETS {
        let (from, to) = (dir.join(name), out.join(name));
        if !lerp_files::is_folder(&from) {
            continue;
        }
        make_folder(&to)?;
        for path in files(&from)? {
            let place = to.join(path.file_name().unwrap_or_default());
            let bytes = lerp_files::read(&path, MOST)?;
            if !place.exists() {
                lerp_files::replace(&place, &bytes)?;
            } else if name == "judges" && lerp_files::read(&place, MOST)? != bytes {
                equal = false;
                warn(&format!(
                    "{} is another judge than that of {}, which stays; runs that it measured are named under Table 5, and `lerp eval \
                     RUN --write` measures them again",
                    path.display(),
                    place.display()
                ));
            }
        }
    }
    Ok(equal)
}
