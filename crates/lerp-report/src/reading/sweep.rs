//! A sweep: its groups of runs, and what is said of runs that are not in the numbers.

use std::{collections::BTreeMap, path::PathBuf};

use lerp_eval::quantity::PROBE_LOSS;
use lerp_train::{JudgeRecord, State};

use super::{
    group::{LoadedRun, RunGroup},
    image_set::{SizedImageSet, dataset_of},
    pixels::PixelReference,
};
use crate::text::{count, few, listed};

/// The most configurations of one image set, or of lines, that figures show.
pub const MAX_SHOWN: usize = 40;

/// A sweep, as read from its folder.
#[derive(Debug)]
pub struct Sweep {
    /// The folder of the sweep.
    pub dir: PathBuf,
    /// The configurations: on lines first, then on image sets, each in the paper's order of variants.
    pub groups: Vec<RunGroup>,
    /// The raw-pixel references, by dataset.
    pub pixels: BTreeMap<String, PixelReference>,
    /// The records of judges, by dataset.
    pub judges: BTreeMap<String, JudgeRecord>,
    /// The names of planned cells that have not begun.
    pub waiting: Vec<String>,
    /// A sentence about each run or file that could not be read.
    pub unread: Vec<String>,
    /// A sentence about runs whose files have no digests to check, if there are any.
    pub unchecked: Option<String>,
}

impl Sweep {
    /// Iterates over all runs.
    pub fn runs(&self) -> impl Iterator<Item = &LoadedRun> {
        self.groups.iter().flat_map(|group| &group.runs)
    }

    /// Returns the sweep's name, which is that of its folder.
    pub fn name(&self) -> String {
        let path = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the record of the judge of an image set, or of lines, if there is one.
    pub fn judge(&self, set: Option<&SizedImageSet>) -> Option<&JudgeRecord> {
        self.judges.get(dataset_of(set))
    }

    /// Returns whether any run is on lines.
    pub fn has_lines(&self) -> bool {
        self.on(None).next().is_some()
    }

    /// Returns the image sets in the paper's order, one for each latent size.
    pub fn sets(&self) -> Vec<&SizedImageSet> {
        let mut sets: Vec<&SizedImageSet> =
            self.groups.iter().filter_map(|group| group.set.as_ref()).collect();
        sets.dedup();
        sets
    }

    /// Returns what the sweep has runs on: lines, for which `None` stands, and image sets.
    pub fn lines_and_image_sets(&self) -> Vec<Option<&SizedImageSet>> {
        let lines = self.has_lines().then_some(None);
        lines.into_iter().chain(self.sets().into_iter().map(Some)).collect()
    }

    /// Iterates over the configurations on an image set, or on lines.
    pub fn on(&self, set: Option<&SizedImageSet>) -> impl Iterator<Item = &RunGroup> {
        self.groups
            .iter()
            .filter(move |group| group.set.as_ref().map(SizedImageSet::key) == set.map(SizedImageSet::key))
    }

    /// Returns the only configuration of a variant on an image set, or on lines. Of several, it is not clear which one
    /// to compare with other variants, so the result is `None`.
    pub fn only(&self, set: Option<&SizedImageSet>, variant: &str) -> Option<&RunGroup> {
        let mut own = self.on(set).filter(|group| group.cell().variant == variant);
        own.next().filter(|_| own.next().is_none())
    }

    /// Returns whether all images of a set belong to one class, so that every classifier is right. This shows in a
    /// classifier loss of exactly zero; with several classes the loss is positive.
    pub fn has_one_class(&self, set: &SizedImageSet) -> bool {
        let mut losses = self.on(Some(set)).flat_map(|group| group.final_values(&PROBE_LOSS)).peekable();
        losses.peek().is_some() && losses.all(|loss| loss == 0.0)
    }

    /// Returns the configurations on an image set, or on lines, that figures show.
    pub fn shown(&self, set: Option<&SizedImageSet>) -> Vec<&RunGroup> {
        self.on(set).filter(|group| group.shown).collect()
    }

    /// Returns a sentence about configurations that figures do not show, with a space before it; empty if they show
    /// all.
    pub fn not_shown(&self, set: Option<&SizedImageSet>) -> String {
        let all = self.on(set).count();
        if all > MAX_SHOWN {
            format!(" These are the first {MAX_SHOWN} of {all} configurations.")
        } else {
            String::new()
        }
    }

    /// Returns the notes under a table about runs and files that could not be read.
    pub fn not_counted(&self) -> Vec<String> {
        few(self.unread.clone(), "runs and files")
    }

    /// Returns a sentence about each run or file that could not be read, including files that were read after the runs.
    pub fn left_out(&self) -> Vec<String> {
        self.unread.iter().cloned().chain(self.runs().flat_map(LoadedRun::problems)).collect()
    }

    /// Returns the number of runs in each state, in words.
    pub fn states(&self) -> String {
        let of = |state, word: &str| {
            let n = self.runs().filter(|l| l.run.status.state == state).count();
            (n > 0).then(|| format!("{n} {word}"))
        };
        let parts = [
            of(State::Done, "finished"),
            of(State::Failed, "failed"),
            of(State::Interrupted, "interrupted"),
            of(State::Running, "running or killed"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let waiting = self.not_begun().map(|sentence| format!(". {}", sentence.trim_end_matches('.')));
        format!("{}: {}{}", count(self.runs().count(), "run"), parts.join(", "), waiting.unwrap_or_default())
    }

    /// Returns a sentence about planned cells that have not begun, or `None` if all have.
    pub fn not_begun(&self) -> Option<String> {
        const NAMED: usize = 5;
        let names = listed(&self.waiting, NAMED, ", ");
        (!self.waiting.is_empty())
            .then(|| format!("Planned and not begun: {names}; sweep again to train them."))
    }
}
