//! Comparison of our numbers on image sets with the paper's and with the best of ours.

use super::{ImageTable, Images, RESTARTS, tested};
use crate::{
    conditions::Selection,
    pairs::{self, NEAR, Standings},
    published::{Number, published},
    set::Set,
    sheet::{Detail, Entry, Line, Part},
    summary::{Group, Sweep},
    text::thousands,
    verdict::{self, Question, Verdict},
};

impl ImageTable {
    /// Returns the paper's number for a variant on an image set, in percent; `None` if the paper has none.
    pub fn paper(self, set: &Set, variant: &str) -> Option<Number> {
        let of_set =
            |row: &&crate::published::PublishedRow| (&row.dataset, row.dims) == (&set.dataset, set.dims);
        self.published().iter().find(of_set)?.number(variant)
    }

    /// Returns the verdict on a configuration's number against the paper's, or `None` if either is missing.
    pub fn verdict(self, set: &Set, group: &Group) -> Option<Verdict> {
        let paper = group.paper(self.metric())?;
        let mut differences = Selection { groups: vec![group] }.unlike();
        differences.measured.extend(self.fewer_images(set, group));
        if self == Self::Clusters
            && let Some(restarts) = group.cell().cluster_restarts.filter(|restarts| *restarts != RESTARTS)
        {
            differences.training.push(format!(
                "{} restarts of k-means instead of {}",
                thousands(restarts as u64),
                thousands(RESTARTS as u64)
            ));
        }
        let ours = group.estimate(self.metric());
        Question { ours, paper, factor: 100.0, better: self.metric().better, differences: &differences }
            .verdict()
    }

    /// Returns a phrase if the number was measured on another number of test images than the paper's, and `None`
    /// otherwise.
    fn fewer_images(self, set: &Set, group: &Group) -> Option<String> {
        let [_, paper] = published().images(&set.dataset)?;
        let mut known = group.done().filter_map(|loaded| tested(loaded, self.metric()));
        // If the run's dataset itself has another number of test images, `Selection::unlike` reports that already.
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
    pub fn standings(&self, set: &Set) -> Option<&Standings<'a>> {
        let place = self.sets().iter().position(|known| known == set)?;
        self.standings.get(place)
    }

    /// Computes the standings of every row, in the order of `sets`.
    pub(super) fn all_standings(&self) -> Vec<Standings<'a>> {
        let on = |set| self.sweeps.iter().flat_map(move |(_, sweep)| sweep.on(set)).collect::<Vec<&Group>>();
        let of = |set| Standings::new(&on(set), self.kind.metric());
        self.sets.iter().map(of).collect()
    }

    /// Returns the mark that follows a number which cannot be told apart from the best, and an empty string for others.
    pub(super) fn near(&self, set: &Set, group: &Group) -> &'static str {
        if self.standings(set).is_some_and(|all| all.of(group).undecided()) { NEAR } else { "" }
    }

    /// Returns the notes that explain the verdicts, with the reasons stated separately for each sweep.
    pub(super) fn verdict_notes(&self) -> Vec<String> {
        let of_sweep = |sweep: &'a Sweep| -> Vec<(String, Verdict)> {
            let groups = self.sets.iter().flat_map(|set| sweep.on(set).map(move |group| (set, group)));
            groups.filter_map(|(set, group)| Some((group.name(), self.kind.verdict(set, group)?))).collect()
        };
        let all: Vec<_> = self.sweeps.iter().map(|(name, sweep)| (name, of_sweep(sweep))).collect();
        let every: Vec<(String, Verdict)> = all.iter().flat_map(|(_, verdicts)| verdicts.clone()).collect();
        let mut notes = verdict::rules(&every);
        for (name, verdicts) in &all {
            let name = if all.len() > 1 { format!("{name}: ") } else { String::new() };
            notes.extend(verdict::reasons(verdicts).map(|note| format!("{name}{note}")));
        }
        notes
    }

    /// Returns the line of verdicts below the paper's numbers, or `None` if there are no verdicts.
    pub(super) fn verdict_line(&self, set: &Set, sweep: &Sweep, label: &str, telling: &str) -> Option<Line> {
        let label = if label == "ours" { "vs paper".to_owned() } else { format!("{label} vs paper") };
        let mut cells = vec![Entry::plain(""), Entry { paper: true, ..Entry::plain(label) }];
        for (variant, _) in &self.variants {
            let group = find(sweep, set, variant, telling);
            cells.push(Entry::verdict(group.and_then(|group| self.kind.verdict(set, group))));
        }
        if self.has_reference() {
            cells.push(Entry::plain("–"));
        }
        cells.iter().any(|entry| entry.verdict.is_some()).then_some(Line { cells, first: false })
    }

    /// Returns the table of differences from the best, or `None` if no two configurations have enough seeds in common.
    pub fn differences(&self) -> Option<Part> {
        if !self.standings.iter().any(Standings::any) {
            return None;
        }
        let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
        headings.extend(self.variants.iter().map(|(_, title)| title.clone()));
        let lines = self.sets.iter().zip(&self.standings).filter(|(_, all)| all.any());
        let unit = if self.kind.accuracy() { "percentage points" } else { "×10⁻³" };
        let fewest = self.standings.iter().filter_map(Standings::fewest).min();
        Some(Part {
            name: format!("{}, differences", self.kind.name()),
            caption: format!("{} In {unit}.", pairs::CAPTION),
            conditions: String::new(),
            label: match self.kind {
                ImageTable::Classifier => "tab:classifier-differences",
                ImageTable::Fitted => "tab:fitted-differences",
                ImageTable::Clusters => "tab:clusters-differences",
                ImageTable::Error => "tab:reconstruction-differences",
            },
            wide: true,
            headings,
            left: 2,
            lines: lines.flat_map(|(set, all)| self.difference_lines(set, all)).collect(),
            folded: Vec::new(),
            notes: fewest.and_then(pairs::coarse_note).into_iter().collect(),
            provenance: self.provenance(),
        })
    }

    fn difference_lines(&self, set: &Set, all: &Standings) -> Vec<Line> {
        let mut lines = Vec::new();
        for (name, sweep) in &self.sweeps {
            for telling in self.tellings(sweep, set) {
                let named = self.sweeps.len() > 1 || !telling.is_empty();
                let label = |what: &str| {
                    let whose = super::label(name, telling);
                    Entry::plain(if named { format!("{whose}: {what}") } else { what.to_owned() })
                };
                let line = |what: &str, entry: &dyn Fn(pairs::Standing) -> Entry| {
                    let mut cells = vec![Entry::plain(""), label(what)];
                    cells.extend(self.variants.iter().map(|(variant, _)| {
                        let group = find(sweep, set, variant, telling);
                        group.map_or_else(|| Entry::plain("–"), |group| entry(all.of(group)))
                    }));
                    Line { cells, first: false }
                };
                let factor = if self.kind.accuracy() { 100.0 } else { 1e3 };
                lines.push(line("minus the best", &|standing| standing.difference(factor, 2)));
                lines.push(line("better", &|standing| standing.share()));
                lines.push(line("seeds in common", &|standing| pairs::seeds([standing])));
            }
        }
        super::headed(set, lines)
    }

    /// Returns a note if no two configurations have enough seeds in common to be compared.
    pub(super) fn too_few_note(&self) -> Option<String> {
        pairs::too_few_note(&self.standings.iter().collect::<Vec<_>>())
    }
}

/// Finds the configuration of `variant` whose distinguishing settings are `telling`.
fn find<'a>(sweep: &'a Sweep, set: &Set, variant: &str, telling: &str) -> Option<&'a Group> {
    sweep.on(set).find(|group| group.cell().variant == variant && group.telling == telling)
}

/// Returns the cell for one of the paper's accuracies.
pub fn paper_entry(number: Option<Number>, detail: Detail) -> Entry {
    Entry::paper(number.map_or("–".into(), |number| number.text(detail)), number.map(|number| number.mean))
}
