//! Killed processes and full disks: the same command, run again, must resume and end with the same bits.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Extent, Random, Tally,
    subject::{Fault, ProgramUnderTest, SWEEP, list, results, runs},
};
use crate::Result;

/// The command that trains the sweep.
pub const TRAIN: &str = "sweep --config plan.toml --out sweep --device cpu --jobs 1";

/// A sweep that ran without a fault.
pub struct Reference {
    /// The folder that contains the sweep's folder.
    pub work_dir: PathBuf,
    /// The results of training, as [`results`] returns them.
    pub results: BTreeMap<String, Vec<u8>>,
}

/// Trains the sweep without a fault, with which the others are compared.
pub fn reference(subject: &ProgramUnderTest) -> Result<Reference> {
    let work_dir = subject.work_dir("reference")?;
    let end = subject.run(&work_dir, TRAIN, None, None)?;
    if end.code != Some(0) {
        return Err(format!("the undisturbed sweep failed: {}", end.text));
    }
    let results = results(subject, &work_dir)?;
    Ok(Reference { work_dir, results })
}

/// Runs the command again without a fault. Returns what went wrong, or `None`.
fn resumed(subject: &ProgramUnderTest, reference: &Reference, work_dir: &Path) -> Result<Option<String>> {
    let end = subject.run(work_dir, TRAIN, None, None)?;
    if let Some(crash) = end.crash() {
        return Ok(Some(format!("the next sweep: {crash}")));
    }
    if end.code != Some(0) {
        return Ok(Some(format!("the next sweep ended with {:?}: {}", end.code, end.last_line())));
    }
    let results = match results(subject, work_dir) {
        Ok(results) => results,
        Err(error) => return Ok(Some(error)),
    };
    let other = reference.results.iter().find(|(name, bytes)| results.get(*name) != Some(bytes));
    if let Some((name, _)) = other {
        return Ok(Some(format!("{name} is not what an undisturbed run makes")));
    }
    // No temporary files of an interrupted write may remain in the runs' folders.
    for run in runs(work_dir)? {
        let left =
            list(&run)?.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "tmp"));
        if let Some(left) = left {
            return Ok(Some(format!("{} is left", left.display())));
        }
    }
    Ok(None)
}

/// Returns the numbers of the calls to try, of `calls` calls.
fn fault_points(calls: u64, extent: Extent, random: &mut Random) -> Vec<u64> {
    match extent {
        Extent::Every(every) => {
            (1..=calls).filter(|call| *call <= 5 || call.is_multiple_of(every as u64)).collect()
        }
        Extent::Short => {
            // At the first call, the folder does not yet contain a sweep.
            let mut fault_points: Vec<u64> =
                std::iter::once(1).chain((0..2).map(|_| random.below(calls as usize) as u64 + 1)).collect();
            fault_points.dedup();
            fault_points
        }
    }
}

/// Kills processes, or makes the disk full, at calls that change a file, in the sweep's own process and in its worker
/// processes.
pub fn at_calls(
    subject: &ProgramUnderTest,
    reference: &Reference,
    extent: Extent,
    random: &mut Random,
) -> Result<Vec<Tally>> {
    let mut tallies = Vec::new();
    for who in ["sweep", "worker"] {
        let calls = subject.calls(&subject.work_dir("calls")?, TRAIN, who)?;
        let kinds = [
            ("before", "killed before a call that changes a file"),
            ("after", "killed after a call that changes a file"),
            ("torn", "killed in the middle of a write"),
            ("full", "no space from a call on"),
        ];
        for (mode, what) in kinds {
            let mut tally = Tally::new(format!("{who} {what} (of {calls})"));
            for at in fault_points(calls, extent, random) {
                let work_dir = subject.work_dir("killed")?;
                let fault = Fault { who, mode, at };
                let end = subject.run(&work_dir, TRAIN, Some(&fault), None)?;
                let killed = who == "sweep" && mode != "full" && end.signal == Some(9);
                let wrong = match end.crash() {
                    Some(crash) if !killed => Some(crash),
                    // A sweep may succeed on a full disk only if all its results are complete, because its last calls
                    // need no space.
                    _ if mode == "full" && end.code == Some(0) => {
                        let whole = results(subject, &work_dir).is_ok_and(|found| found == reference.results);
                        (!whole).then(|| "a full disk went unnoticed".into())
                    }
                    _ => resumed(subject, reference, &work_dir)?,
                };
                tally.count(format!("{who} {mode} {at}"), wrong);
            }
            tallies.push(tally);
        }
    }
    Ok(tallies)
}

/// Kills all processes at random moments, up to three times in a row.
pub fn at_moments(
    subject: &ProgramUnderTest,
    reference: &Reference,
    extent: Extent,
    random: &mut Random,
) -> Result<Tally> {
    let mut tally = Tally::new("all processes killed at random moments");
    for try_ in 0..extent.tries(5, 100) {
        let work_dir = subject.work_dir("killed")?;
        let mut moments = Vec::new();
        for _ in 0..=random.below(3) {
            let moment = random.below(3000);
            moments.push(moment.to_string());
            subject.run(&work_dir, TRAIN, None, Some(Duration::from_millis(moment as u64)))?;
        }
        tally.count(
            format!("try {try_} at {} ms", moments.join(", ")),
            resumed(subject, reference, &work_dir)?,
        );
    }
    Ok(tally)
}

/// Trains a sweep in a new folder and stops its first run halfway, after a checkpoint. Returns the folder.
pub fn halfway(subject: &ProgramUnderTest, name: &str) -> Result<PathBuf> {
    let work_dir = subject.work_dir(name)?;
    let calls = subject.calls(&subject.work_dir("calls")?, TRAIN, "worker")?;
    let fault = Fault { who: "worker", mode: "before", at: calls * 3 / 4 };
    subject.run(&work_dir, TRAIN, Some(&fault), None)?;
    let begun = list(&work_dir.join(SWEEP).join("runs"))?;
    let saved = begun.iter().any(|run| fs::exists(run.join("checkpoint.safetensors")).unwrap_or(false));
    if saved { Ok(work_dir) } else { Err("no run was stopped after a checkpoint".into()) }
}
