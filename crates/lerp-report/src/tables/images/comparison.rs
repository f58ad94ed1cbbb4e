//! Comparison of our numbers on image sets with the paper's and with the best of ours.

use super::{ImageTable, Images, tested};
use crate::{
    paper::{PublishedNumber, published},
    reading::{RunGroup, SizedImageSet, Sweep},
    statistics::{Standing, Standings},
    tables::{
        differences::{self, NEAR, common_seeds},
        sheet::{Entry, Table, TableLine},
    },
    text::thousands,
    verdicts::{Question, Selection, Verdict, verdict_reasons, verdict_rules},
};

impl ImageTable {
    /// Returns the paper's number for a variant on an image set, in percent; `None` if the paper has none.
    pub fn paper(self, set: &SizedImageSet, variant: &str) -> Option<PublishedNumber> {
        let row = self.published().iter().find(|row| (row.dataset.as_str(), row.dims) == set.key());
        row?.number(variant)
    }

    /// Returns the verdict on a configuration's number against the paper's, or `None` if either is missing.
    pub fn verdict(self, set: &SizedImageSet, group: &RunGroup) -> Option<Verdict> {
        let paper = group.paper(self.metric())?;
        let mut deviations = Selection { groups: vec![group] }.deviations();
        deviations.measured.extend(self.fewer_images(set, group));
        if self == Self::Clusters
            && let Some(restarts) = group.cell().cluster_restarts
            && restarts != published().training.cluster_restarts
        {
            deviations.training.push(format!(
                "{} restarts of k-means instead of {}",
                thousands(restarts as u64),
                thousands(published().training.cluster_restarts as u64)
            ));
        }
        let ours = group.estimate(self.metric());
        Question { ours, paper, factor: 100.0, better: self.metric().better, deviations: &deviations }
            .verdict()
    }

    /// Returns a phrase if the number was measured on another number of test images than the paper's, and `None`
    /// otherwise.
    fn fewer_images(self, set: &SizedImageSet, group: &RunGroup) -> Option<String> {
        let [_, paper] = published().images(&set.dataset)?;
        let mut known = group.done().filter_map(|loaded| tested(loaded, self.metric()));
        // If the run's dataset itself has another number of test images, `Selection::deviations` reports that already.
        let said = group.runs.iter().any(|l| l.run.record.provenance.images.is_some_and(|[_, n]| n != paper));
        let images = known.find(|images| *images as usize != paper).filter(|_| !said)?;
        Some(format!(
            "measured on {} test images of {} instead of {}",
            thousands(images as u64),
            set.title(),
            thousands(paper as u64)
        ))
    }
}

impl<'a> Images<'a> {
    /// Returns the comparison of the configurations on an image set with the best of them.
    pub fn standings(&self, set: &SizedImageSet) -> Option<&Standings<'a>> {
        let index = self.sets.iter().position(|known| known == set)?;
        self.standings.get(index)
    }

    /// Computes the standings of every row, in the order of `sets`.
    pub(super) fn all_standings(&self) -> Vec<Standings<'a>> {
        let on = |set| {
            self.sweeps.iter().flat_map(move |(_, sweep)| sweep.on(Some(set))).collect::<Vec<&RunGroup>>()
        };
        let of = |set| Standings::new(&on(set), self.kind.metric());
        self.sets.iter().map(of).collect()
    }

    /// Returns the mark that follows a number which cannot be told apart from the best, and an empty string for others.
    pub(super) fn near(&self, set: &SizedImageSet, group: &RunGroup) -> &'static str {
        if self.standings(set).is_some_and(|all| all.of(group).undecided()) { NEAR } else { "" }
    }

    /// Returns the notes that explain the verdicts, with the reasons stated separately for each sweep.
    pub(super) fn verdict_notes(&self) -> Vec<String> {
        let of_sweep = |sweep: &'a Sweep| -> Vec<(String, Verdict)> {
            let groups = self.sets.iter().flat_map(|set| sweep.on(Some(set)).map(move |group| (set, group)));
            groups.filter_map(|(set, group)| Some((group.name(), self.kind.verdict(set, group)?))).collect()
        };
        let all: Vec<_> = self.sweeps.iter().map(|(name, sweep)| (name, of_sweep(sweep))).collect();
        let every: Vec<(String, Verdict)> = all.iter().flat_map(|(_, verdicts)| verdicts.clone()).collect();
        let mut notes = verdict_rules(&every);
        for (name, verdicts) in &all {
            let name = if all.len() > 1 { format!("{name}: ") } else { String::new() };
            notes.extend(verdict_reasons(verdicts).map(|note| format!("{name}{note}")));
        }
        notes
    }

    /// Returns the line of verdicts below the paper's numbers, or `None` if there are no verdicts.
    pub(super) fn verdict_line(
        &self,
        set: &SizedImageSet,
        sweep: &Sweep,
        label: &str,
        settings: &str,
    ) -> Option<TableLine> {
        let label = if label == "ours" { "vs paper".to_owned() } else { format!("{label} vs paper") };
        let mut cells = vec![Entry::plain(""), Entry { paper: true, ..Entry::plain(label) }];
        for (variant, _) in &self.variants {
            let group = find(sweep, set, variant, settings);
            cells.push(Entry::verdict(group.and_then(|group| self.kind.verdict(set, group))));
        }
        if self.has_reference() {
            cells.push(Entry::dash());
        }
        cells.iter().any(|entry| entry.verdict.is_some()).then(|| cells.into())
    }

    /// Returns the table of differences from the best, or `None` if no two configurations have enough seeds in common.
    pub fn differences(&self) -> Option<Table> {
        if !self.standings.iter().any(Standings::any) {
            return None;
        }
        let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
        headings.extend(self.variants.iter().map(|(_, title)| title.clone()));
        let lines = self.sets.iter().zip(&self.standings).filter(|(_, all)| all.any());
        let unit = if self.kind.accuracy() { "percentage points" } else { "×10⁻³" };
        let fewest = self.standings.iter().filter_map(Standings::fewest).min();
        Some(Table {
            name: format!("{}, differences", self.kind.name()),
            caption: format!("{} In {unit}.", differences::CAPTION),
            label: format!("{}-differences", self.kind.label()),
            headings,
            left: 2,
            lines: lines.flat_map(|(set, all)| self.difference_lines(set, all)).collect(),
            notes: fewest.and_then(differences::coarse_note).into_iter().collect(),
            provenance: self.provenance(),
            ..Table::default()
        })
    }

    fn difference_lines(&self, set: &SizedImageSet, all: &Standings) -> Vec<TableLine> {
        let mut lines = Vec::new();
        for (name, sweep) in &self.sweeps {
            for settings in self.distinctions(sweep, set) {
                let named = self.sweeps.len() > 1 || !settings.is_empty();
                let label = |what: &str| {
                    let whose = super::label(name, settings);
                    Entry::plain(if named { format!("{whose}: {what}") } else { what.to_owned() })
                };
                let line = |what: &str, entry: &dyn Fn(Standing) -> Entry| {
                    let mut cells = vec![Entry::plain(""), label(what)];
                    cells.extend(self.variants.iter().map(|(variant, _)| {
                        let group = find(sweep, set, variant, settings);
                        group.map_or_else(Entry::dash, |group| entry(all.of(group)))
                    }));
                    TableLine::from(cells)
                };
                let factor = if self.kind.accuracy() { 100.0 } else { 1e3 };
                lines.push(line("minus the best", &|standing| standing.difference(factor, 2)));
                lines.push(line("better", &|standing| standing.share()));
                lines.push(line("seeds in common", &|standing| common_seeds([standing])));
            }
        }
        super::with_row_name(set, lines)
    }

    /// Returns a note if no two configurations have enough seeds in common to be compared.
    pub(super) fn too_few_note(&self) -> Option<String> {
        differences::too_few_note(&self.standings.iter().collect::<Vec<_>>())
    }
}

/// Finds the configuration of `variant` whose distinguishing settings are `settings`.
fn find<'a>(sweep: &'a Sweep, set: &SizedImageSet, variant: &str, settings: &str) -> Option<&'a RunGroup> {
    sweep.on(Some(set)).find(|group| group.cell().variant == variant && group.settings == settings)
}
