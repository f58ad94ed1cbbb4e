//! The provenance of a table or figure: the runs behind its numbers, and the command that makes it again.

use std::{
    collections::BTreeSet,
    hash::Hasher,
    path::{Path, PathBuf},
};

use fnv::FnvHasher;
use lerp_data::{Dataset, Lines};
use lerp_files::printable;

use crate::{
    reading::{LoadedRun, RunGroup, SizedImageSet, Sweep},
    text::{count, short_digest, unique},
};

/// Identifies the runs behind a table or figure, so that a reader can tell whether two of them show the same runs. It
/// does not contain the time of drawing, so that drawing again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportProvenance {
    /// The number of runs.
    runs: usize,
    /// A hash of the runs' cells: eight hexadecimal digits.
    config: String,
    /// Digests of the data, with the dataset's name if there are several; `drawn` for data drawn from a random
    /// generator.
    data: String,
    /// The Git revisions that the runs were made with.
    git: String,
    /// The versions of this software that the runs were made with.
    lerp: String,
    /// The versions of candle.
    candle: String,
    /// The devices.
    device: String,
    /// The days on which runs were first started.
    dates: String,
    /// The command that makes the table or figure again.
    command: String,
}

impl Sweep {
    /// Collects the provenance of a table of `groups`.
    pub fn provenance(&self, groups: &[&RunGroup]) -> ReportProvenance {
        ReportProvenance::of(groups, &command(&self.dir, None))
    }
}

impl ReportProvenance {
    /// Collects the provenance of all runs of `groups`, finished or not. `command` is the command that makes the table
    /// or figure again.
    pub fn of(groups: &[&RunGroup], command: &str) -> Self {
        let runs: Vec<&LoadedRun> = groups.iter().flat_map(|group| &group.runs).collect();
        let each =
            |of: fn(&LoadedRun) -> &str| unique(runs.iter().map(|loaded| known(of(loaded)))).join(", ");
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

    /// Formats the provenance as one line of text.
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

    /// Returns the provenance as names and values; the values about runs are empty if there are no runs.
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

/// Returns the command that makes the report of a sweep again, or one of its figures.
pub fn command(dir: &Path, figure: Option<&str>) -> String {
    let figure = figure.map(|name| format!(" --figure {}", quoted(name))).unwrap_or_default();
    // Collecting the components drops a trailing slash.
    let dir: PathBuf = dir.components().collect();
    format!("cargo xtask report {}{figure}", quoted(&dir.to_string_lossy()))
}

/// Quotes a word of a command if a shell would change it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Makes text from a file printable, so that it is safe in every format.
fn shown(text: &str) -> String {
    printable(text).into_owned()
}

/// Returns the value, or `unknown` if it is blank.
fn known(value: &str) -> &str {
    if value.trim().is_empty() { "unknown" } else { value }
}

/// Returns the FNV-1a hash of the sorted ids of cells, which end in hashes of the whole cells; empty without runs.
fn config(runs: &[&LoadedRun]) -> String {
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

/// Returns the digests of the groups' data.
fn data<'a>(groups: &[&'a RunGroup]) -> String {
    let of_run = |group: &'a RunGroup, loaded: &LoadedRun| {
        let record = &loaded.run.record;
        let sum = match record.provenance.data.as_deref() {
            Some(digest) if !digest.is_empty() => short_digest(digest),
            _ if record.cell.dataset == Lines::NAME => "drawn".to_owned(),
            // A dataset defined in code that gives no digest of its images.
            _ if record.dataset_title.is_some() => "from code".to_owned(),
            _ => "unknown".to_owned(),
        };
        (group.set.as_ref().map_or_else(|| Lines.title(), SizedImageSet::title), sum)
    };
    let found = unique(
        groups
            .iter()
            .copied()
            .flat_map(|group: &'a RunGroup| group.runs.iter().map(move |loaded| of_run(group, loaded))),
    );
    let several = found.iter().any(|(title, _)| *title != found[0].0);
    let named = |(title, sum): &(&str, String)| if several { format!("{title} {sum}") } else { sum.clone() };
    found.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// Returns the first and the last day on which a run was started.
fn dates(runs: &[&LoadedRun]) -> String {
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
