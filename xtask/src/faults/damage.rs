//! Damage to files of a sweep (changed, lost or exchanged). No command may crash, and a report must either show the
//! same as before or name the damaged run or file.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    Extent, Random, Tally,
    kills::{Reference, TRAIN, halfway},
    subject::{ProgramUnderTest, SWEEP, copy, list, read, results, runs, shown, write},
};
use crate::Result;

/// The kinds of damage to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    FlippedBit,
    CutShort,
    Empty,
    Removed,
    Noise,
    /// Exchanged with the same file of the other run.
    Exchanged,
}

const ALL: [Damage; 6] =
    [Damage::FlippedBit, Damage::CutShort, Damage::Empty, Damage::Removed, Damage::Noise, Damage::Exchanged];

/// Damages a file. Returns `false` if this kind of damage is impossible or did not change the file.
fn damage(path: &Path, twin: Option<&Path>, kind: Damage, random: &mut Random) -> Result<bool> {
    let bytes = read(path)?;
    if bytes.is_empty() {
        return Ok(false);
    }
    let changed = match kind {
        Damage::FlippedBit => {
            let mut changed = bytes.clone();
            changed[random.below(bytes.len())] ^= 1 << random.below(8);
            changed
        }
        Damage::CutShort => bytes[..random.below(bytes.len())].to_vec(),
        Damage::Empty => Vec::new(),
        Damage::Noise => (0..bytes.len()).map(|_| random.below(256) as u8).collect(),
        Damage::Exchanged => {
            let Some(twin) = twin.filter(|twin| twin.exists()) else { return Ok(false) };
            let other = read(twin)?;
            write(twin, &bytes)?;
            other
        }
        Damage::Removed => {
            fs::remove_file(path).map_err(|e| format!("cannot remove {}: {e}", path.display()))?;
            return Ok(true);
        }
    };
    let different = changed != bytes;
    write(path, changed)?;
    Ok(different)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Damages the files of a finished sweep, one at a time, and then runs every command that reads them.
pub fn finished(
    subject: &ProgramUnderTest,
    reference: &Reference,
    extent: Extent,
    random: &mut Random,
) -> Result<Vec<Tally>> {
    let work_dir = subject.work_dir("damaged")?;
    let fresh = |work_dir: &Path| -> Result<()> {
        let sweep = work_dir.join(SWEEP);
        if sweep.exists() {
            fs::remove_dir_all(&sweep).map_err(|e| format!("cannot clear {}: {e}", sweep.display()))?;
        }
        copy(&reference.work_dir.join(SWEEP), &sweep)
    };
    fresh(&work_dir)?;
    subject.run(&work_dir, &format!("report {SWEEP}"), None, None)?;
    let before = shown(&work_dir)?;
    let runs = runs(&work_dir)?;
    let [run, twin] = &runs[..] else { return Err(format!("{} runs, not two", runs.len())) };
    // The log and the file lock hold no results, and any worker process writes to the log.
    let mut files = list(run)?;
    files.retain(|path| path.is_file() && !matches!(&*name(path), "log.txt" | ".lock"));
    files.push(work_dir.join(SWEEP).join("sweep.toml"));
    let mut tallies = Vec::new();
    for kind in ALL {
        let mut tally = Tally::new(format!("files of a finished run: {kind:?}"));
        for path in &files {
            for _ in 0..if kind == Damage::FlippedBit { extent.tries(1, 8) } else { 1 } {
                if extent == Extent::Short && random.below(3) > 0 {
                    continue;
                }
                fresh(&work_dir)?;
                let other = twin.join(path.file_name().unwrap_or_default());
                if !damage(path, Some(&other), kind, random)? {
                    continue;
                }
                let wrong = reported(subject, &work_dir, path, &before)?;
                tally.count(name(path), wrong);
            }
        }
        tallies.push(tally);
    }
    Ok(tallies)
}

/// Runs all reading commands after the file `path` was damaged. Returns what went wrong, or `None`.
fn reported(
    subject: &ProgramUnderTest,
    work_dir: &Path,
    path: &Path,
    before: &BTreeMap<String, Vec<u8>>,
) -> Result<Option<String>> {
    let run = name(path.parent().unwrap_or(Path::new("")));
    let words = ["report sweep", "compare sweep", "export sweep --to csv,tensorboard,models", TRAIN];
    for line in words {
        let verb = line.split(' ').next().unwrap_or_default();
        let end = subject.run(work_dir, line, None, None)?;
        if let Some(crash) = end.crash() {
            return Ok(Some(format!("{verb}: {crash}")));
        }
        let named = end.text.contains(&name(path)) || end.text.contains(&run);
        if end.code != Some(0) && !named {
            return Ok(Some(format!("{verb} failed and named neither file nor run: {}", end.last_line())));
        }
        if verb == "report" && end.code == Some(0) {
            let now = shown(work_dir)?;
            let changed = before.iter().find(|(name, bytes)| now.get(*name) != Some(bytes));
            if let Some((changed, _)) = changed {
                return Ok(Some(format!("{verb} said nothing, and {changed} is another")));
            }
        }
    }
    Ok(None)
}

/// Damages files of a run that was stopped halfway. The next sweep must end with the same bits or name the file or run.
pub fn unfinished(
    subject: &ProgramUnderTest,
    reference: &Reference,
    extent: Extent,
    random: &mut Random,
) -> Result<Tally> {
    let stopped = halfway(subject, "stopped")?;
    let work_dir = subject.work_dir("damaged")?;
    let mut tally = Tally::new("files of a run stopped halfway");
    for try_ in 0..extent.tries(6, 120) {
        let sweep = work_dir.join(SWEEP);
        if sweep.exists() {
            fs::remove_dir_all(&sweep).map_err(|e| format!("cannot clear {}: {e}", sweep.display()))?;
        }
        copy(&stopped.join(SWEEP), &sweep)?;
        let runs = runs(&work_dir)?;
        let run = &runs[random.below(runs.len())];
        // A process that was killed leaves its lease, which is a folder.
        let mut files = list(run)?;
        files.retain(|path| path.is_file() && name(path) != "log.txt");
        // The checkpoint is damaged in every second try, because a run resumes from it.
        let saved = files.iter().position(|path| name(path) == "checkpoint.safetensors");
        let place_of = saved.filter(|_| try_ % 2 == 0).unwrap_or_else(|| random.below(files.len()));
        let (path, kind) = (&files[place_of], ALL[random.below(5)]);
        if !damage(path, None, kind, random)? {
            continue;
        }
        let end = subject.run(&work_dir, TRAIN, None, None)?;
        let wrong = match (end.crash(), end.code) {
            (Some(crash), _) => Some(crash),
            (None, Some(0)) => {
                let results = results(subject, &work_dir)?;
                let other = reference.results.iter().find(|(name, bytes)| results.get(*name) != Some(bytes));
                other.map(|(name, _)| format!("the sweep said nothing, and {name} is another"))
            }
            (None, _) => {
                let named = end.text.contains(&name(path)) || end.text.contains(&name(run));
                (!named).then(|| format!("neither file nor run is named: {}", end.last_line()))
            }
        };
        tally.count(format!("try {try_}: {kind:?} {}/{}", name(run), name(path)), wrong);
    }
    Ok(tally)
}
