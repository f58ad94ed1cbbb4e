//! Captions and notes of Tables 2, 2b, 3 and 4.

use std::collections::BTreeMap;

use lerp_eval::{
    Quantity,
    quantity::{PROBE_CONVERGED, PROBE_ITERATIONS},
};

use super::{ImageTable, Images, tested};
use crate::{
    paper::published,
    reading::{Estimate, LoadedRun, RunGroup, Sweep},
    tables::lines::source_note,
    text::{MAX_NAMES, count, few, listed, names, numbers, plural, short_digest, thousands},
    verdicts::Selection,
};

impl Images<'_> {
    /// Returns the caption, without the conditions of the runs.
    pub(super) fn caption(&self) -> String {
        let of_run = "median of the last 20 of 256 evaluations of each run (of a run with fewer, the same share, at least three)";
        let numbers = "One seed: the value with its 95 % Wilson interval, which is for the choice of test images and not of \
                       seeds; several: mean ± standard deviation (divisor n) over them.";
        let what = match self.kind {
            ImageTable::Classifier => format!(
                "Accuracy of a single-layer classifier on the test images, in %; higher is better. It sees the latents \
                 (VAE, VQ-VAE: the features that the paper gives it) and is trained beside the autoencoder, which learns \
                 nothing from it: {of_run}. {numbers}"
            ),
            ImageTable::Fitted => format!(
                "Accuracy of a single-layer classifier on the test images, in %, fitted after training to features that no \
                 longer change, until ten steps lower its loss by no more than a part in 10,000 or there were 2,000 of them; \
                 higher is better. Not in the paper: without it, an accuracy in Table 2 may be that of a classifier that \
                 has not caught up. {numbers}"
            ),
            ImageTable::Clusters => format!(
                "Accuracy of clusters on the test images, in %; higher is better. k-means, with as many clusters as \
                 classes, on whitened latents of training images, {}; each cluster is given the class that makes the \
                 most of the test images right. NMI: normalised mutual information of clusters and classes, from 0 to 1. \
                 {numbers}",
                self.restarts()
            ),
            ImageTable::Error => format!(
                "Mean squared error of reconstructions of test images (values from -1 to 1), ×10⁻³; lower is better: \
                 {of_run}. Several seeds: mean ± standard deviation (divisor n) over them. Not in the paper."
            ),
        };
        let near = self.sets.iter().flat_map(|set| self.groups().into_iter().map(move |group| (set, group)));
        let near = near.map(|(set, group)| self.near(set, group)).any(|mark| !mark.is_empty());
        let near = if near { "; ≈: not to be told apart from it" } else { "" };
        let best = format!("Best of ours in each row in bold{near}.");
        let of_sweep = |selection: &Selection| {
            test_images(selection, self.kind.metric()) + &self.other_restarts(selection)
        };
        let more: String = self.selections().iter().map(of_sweep).collect();
        format!("{what} {best}{more}")
    }

    /// Returns the conditions of the runs in words, stated separately for each sweep.
    pub(super) fn conditions(&self) -> String {
        let all: Vec<String> = self.selections().iter().map(Selection::all_conditions).collect();
        all.join(" ")
    }

    /// Returns the number of k-means restarts in words.
    fn restarts(&self) -> String {
        let groups = self.groups();
        let by = Selection { groups }.by(|l| l.run.record.cell.cluster_restarts.map(|n| thousands(n as u64)));
        if by.is_empty() { "restarts not recorded".into() } else { format!("best of {by} restarts") }
    }

    /// Returns a sentence if the number of k-means restarts is not the paper's, and an empty string otherwise.
    pub fn other_restarts(&self, selection: &Selection) -> String {
        let paper = published().training.cluster_restarts;
        let other = |group: &&RunGroup| group.cell().cluster_restarts.is_some_and(|n| n != paper);
        if self.kind == ImageTable::Clusters && selection.groups.iter().any(other) {
            let by = selection.by(|l| l.run.record.cell.cluster_restarts.map(|n| thousands(n as u64)));
            format!(" Restarts of k-means: {by} instead of the paper's {}.", thousands(paper as u64))
        } else {
            String::new()
        }
    }

    /// Returns all notes under the table, including those on runs that are not in the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.remarks();
        for (_, sweep) in &self.sweeps {
            notes.extend(sweep.missing_notes(&self.selection(sweep)));
        }
        notes
    }

    /// Returns the notes under the table except those on runs that are not in the numbers.
    pub fn remarks(&self) -> Vec<String> {
        let mut notes = self.source_notes();
        notes.extend(self.verdict_notes());
        notes.extend(self.too_few_note());
        notes.extend(self.seed_note());
        let mut undefined = Vec::new();
        for group in self.groups() {
            let done = group.done().count();
            if let Estimate::Known { n, .. } = group.estimate(self.kind.metric())
                && n < group.final_values(self.kind.metric()).count()
            {
                let name = group.name();
                undefined.push(format!("{name}: undefined in {} and over {n} only.", count(done - n, "run")));
            }
        }
        notes.extend(few(undefined, "such configurations"));
        if self.kind == ImageTable::Fitted {
            notes.extend(unconverged(&self.groups()));
        }
        for (_, sweep) in &self.sweeps {
            notes.extend(self.data_notes(sweep));
            if self.kind == ImageTable::Error {
                notes.extend(self.sets.iter().filter(|set| sweep.has_one_class(set)).map(|set| {
                    format!(
                        "{}: all images are of one class, so that every classifier and clustering is right: Tables 2 and 3 \
                         are left out.",
                        set.name()
                    )
                }));
            }
        }
        notes
    }

    /// Returns the notes on the sources of the published numbers.
    fn source_notes(&self) -> Vec<String> {
        match self.kind {
            ImageTable::Classifier => vec![source_note(2)],
            ImageTable::Clusters => vec![format!(
                "paper: {}, Table 3, one run each. † transcribed from memory and not yet checked against the paper's PDF.",
                published().source
            )],
            ImageTable::Fitted | ImageTable::Error => Vec::new(),
        }
    }

    /// Returns a note on how many runs the means and deviations are over, or `None` if no cell has several runs.
    fn seed_note(&self) -> Option<String> {
        let mut counts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for group in self.groups() {
            match group.estimate(self.kind.metric()) {
                Estimate::Known { n, .. } if n > 1 => counts.entry(n).or_default().push(group.name()),
                _ => {}
            }
        }
        let (usual, _) = counts.iter().max_by_key(|(_, names)| names.len())?;
        let others: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n != usual)
            .map(|(n, groups)| format!("n={n} for {}", names(groups)))
            .collect();
        let but = if others.is_empty() { String::new() } else { format!(", but {}", others.join("; ")) };
        Some(format!("Numbers with ± are over n={usual} runs{but}."))
    }

    /// Returns notes on runs that used different images, and on the raw-pixel reference.
    fn data_notes(&self, sweep: &Sweep) -> Vec<String> {
        let mut notes = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for set in &self.sets {
            if seen.contains(&set.dataset.as_str()) {
                continue;
            }
            seen.push(&set.dataset);
            let groups =
                self.sets.iter().filter(|s| s.dataset == set.dataset).flat_map(|s| sweep.on(Some(s)));
            let groups: Vec<&RunGroup> = groups.collect();
            let runs = || groups.iter().flat_map(|group| &group.runs);
            let mut digests: Vec<&str> =
                runs().filter_map(|l| l.run.record.provenance.data.as_deref()).collect();
            digests.sort_unstable();
            digests.dedup();
            if digests.len() > 1 {
                let digests: Vec<String> = digests.iter().map(|digest| short_digest(digest)).collect();
                notes.push(format!(
                    "{}: the runs are not all of the same images (SHA-256 {}), so its numbers cannot be compared.",
                    set.title(),
                    digests.join(", ")
                ));
            }
            let Some(pixels) = sweep.pixels.get(&set.dataset).filter(|p| self.kind.reference(p).is_some())
            else {
                continue;
            };
            if !digests.is_empty() && !digests.contains(&pixels.data.as_str()) {
                notes.push(format!(
                    "{}: the numbers of raw pixels are of other images (SHA-256 {}) than the runs.",
                    set.title(),
                    short_digest(&pixels.data)
                ));
            }
            if self.kind == ImageTable::Fitted && !pixels.probe_converged {
                notes.push(format!(
                    "{}: the classifier of raw pixels had not converged after {} iterations.",
                    set.title(),
                    thousands(pixels.probe_iterations as u64)
                ));
            }
            if let (ImageTable::Clusters, Some(restarts)) = (self.kind, pixels.cluster_restarts) {
                notes.push(format!(
                    "{}: clusters of raw pixels, best of {} restarts.",
                    set.title(),
                    thousands(restarts as u64)
                ));
            }
        }
        notes
    }
}

/// Returns a sentence on the number of test images; empty if it is not known.
fn test_images(selection: &Selection, metric: &Quantity) -> String {
    let by = selection.by(|l| tested(l, metric).map(|images| thousands(images as u64)));
    if by.is_empty() { by } else { format!(" Test images: {by}.") }
}

/// Returns a sentence on the runs whose classifier fit stopped before it converged, or `None` if all fits converged.
fn unconverged(groups: &[&RunGroup]) -> Option<String> {
    let of_group = |group: &&RunGroup| {
        let early = |loaded: &&LoadedRun| loaded.final_value(&PROBE_CONVERGED.key).is_some_and(|v| v < 0.5);
        let seeds: Vec<u64> = group.done().filter(early).map(|loaded| loaded.run.record.cell.seed).collect();
        let most = group.done().filter(early).filter_map(|l| l.final_value(&PROBE_ITERATIONS.key));
        let most = most.fold(0.0, f64::max);
        (!seeds.is_empty()).then(|| {
            let iterations = thousands(most as u64);
            let (seed, seeds) = (plural(seeds.len(), "seed"), numbers(&seeds));
            format!("{} ({seed} {seeds}, after {iterations} iterations)", group.name())
        })
    };
    let early: Vec<String> = groups.iter().filter_map(of_group).collect();
    (!early.is_empty())
        .then(|| format!("Not converged, so perhaps too low: {}.", listed(&early, MAX_NAMES, "; ")))
}
