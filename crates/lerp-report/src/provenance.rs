//! Where the numbers behind a table or figure come from, and the command that makes it again.

use std::{
    collections::BTreeSet,
    fmt::Write,
    hash::Hasher,
    path::{Path, PathBuf},
};

use fnv::FnvHasher;
use lerp_data::{Dataset, Lines};
use lerp_files::printable;

use crate::{
    summary::{Group, Loaded},
    text::count,
};

/// What a reader needs to tell whether two tables or figures are of the same runs. It says nothing of when it was drawn, so
/// that drawing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Number of runs.
    runs: usize,
    /// Hash of the runs' cells: eight hexadecimal digits.
    config: String,
    /// Checksum of the data, with the dataset's name where there are several; `drawn` where they are drawn.
    data: String,
    /// Git revisions of the runs.
    git: String,
    /// Versions of this software that trained them.
    lerp: String,
    /// Versions of candle.
    candle: String,
    /// Devices.
    device: String,
    /// The days on which runs were first started.
    dates: String,
    /// What makes it again.
    command: String,
}

/// Digits of a checksum that tell data apart well enough.
const DIGITS: usize = 12;

impl Provenance {
    /// Of all runs of `groups`, finished or not; `command` makes the table or figure again.
    pub fn of(groups: &[&Group], command: &str) -> Self {
        let runs: Vec<&Loaded> = groups.iter().flat_map(|group| &group.runs).collect();
        let each = |of: fn(&Loaded) -> &str| {
            let mut values: Vec<&str> = Vec::new();
            for value in runs.iter().map(|loaded| known(of(loaded))) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            values.join(", ")
        };
        Self {
            runs: runs.len(),
            config: config(&runs),
            data: shown(&data(groups)),
            git: shown(&each(|l| &l.run.record.provenance.git)),
            lerp: shown(&each(|l| &l.run.record.provenance.version)),
            candle: shown(&each(|l| &l.run.record.provenance.candle)),
            device: shown(&each(|l| &l.run.record.provenance.device)),
            dates: shown(&dates(&runs)),
            command: shown(command),
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        if self.runs == 0 {
            return format!("No run is behind it. Made by: {}", self.command);
        }
        format!(
            "{}, configuration {}; data {}; revision {}; lerp {}, candle {}; device {}; started {}. Made by: {}",
            count(self.runs, "run"),
            self.config,
            self.data,
            self.git,
            self.lerp,
            self.candle,
            self.device,
            self.dates,
            self.command
        )
    }

    /// The same as names and values; those of runs are empty where no run is behind it.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("config", self.config.clone()),
            ("data", self.data.clone()),
            ("git", self.git.clone()),
            ("lerp", self.lerp.clone()),
            ("candle", self.candle.clone()),
            ("device", self.device.clone()),
            ("started", self.dates.clone()),
            ("command", self.command.clone()),
        ]
    }
}

/// The command that draws all of a sweep again, or one figure of it.
pub fn command(dir: &Path, figure: Option<&str>) -> String {
    let figure = figure.map(|name| format!(" --figure {}", quoted(name))).unwrap_or_default();
    // Without a slash at the end.
    let dir: PathBuf = dir.components().collect();
    format!("cargo xtask report {}{figure}", quoted(&dir.to_string_lossy()))
}

/// A word of a command, in quotes where a shell would not leave it as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What comes from a file as it may stand in any format.
fn shown(text: &str) -> String {
    printable(text).into_owned()
}

fn known(value: &str) -> &str {
    if value.trim().is_empty() { "unknown" } else { value }
}

/// FNV-1a of the sorted ids of cells, which end in hashes of whole cells; empty of no runs.
fn config(runs: &[&Loaded]) -> String {
    let ids: BTreeSet<&str> = runs.iter().map(|loaded| loaded.run.record.id.as_str()).collect();
    if ids.is_empty() {
        return String::new();
    }
    let mut hasher = FnvHasher::default();
    for id in ids {
        hasher.write(id.as_bytes());
        hasher.write(b"\n");
    }
    let hash = hasher.finish();
    format!("{:08x}", (hash ^ (hash >> 32)) as u32)
}

/// Checksums by dataset.
fn data(groups: &[&Group]) -> String {
    let mut found: Vec<(&str, String)> = Vec::new();
    for group in groups {
        for loaded in &group.runs {
            let record = &loaded.run.record;
            let sum = match record.provenance.data.as_deref() {
                Some(digest) if !digest.is_empty() => digest.chars().take(DIGITS).collect(),
                _ if record.cell.dataset == Lines::NAME => "drawn".to_owned(),
                // A dataset that gives no digest of its images.
                _ if record.dataset_title.is_some() => "from code".to_owned(),
                _ => "unknown".to_owned(),
            };
            let title = group.set.as_ref().map_or_else(|| Lines.title(), |set| set.title());
            if !found.contains(&(title, sum.clone())) {
                found.push((title, sum));
            }
        }
    }
    let several = found.iter().any(|(title, _)| *title != found[0].0);
    let mut out = String::new();
    for (title, sum) in &found {
        let name = if several { format!("{title} ") } else { String::new() };
        let _ = write!(out, "{}{name}{sum}", if out.is_empty() { "" } else { ", " });
    }
    out
}

/// From the first day to the last.
fn dates(runs: &[&Loaded]) -> String {
    let days: BTreeSet<&str> = runs
        .iter()
        .map(|loaded| loaded.run.record.provenance.started.split('T').next().unwrap_or_default())
        .filter(|day| !day.is_empty())
        .collect();
    match (days.first(), days.last()) {
        (Some(first), Some(last)) if first == last => (*first).to_owned(),
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ if runs.is_empty() => String::new(),
        _ => "unknown".to_owned(),
    }
}
