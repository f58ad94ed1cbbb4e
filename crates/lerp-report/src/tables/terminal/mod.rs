//! The tables of one or more sweeps, for a terminal.

mod layout;

use std::{collections::HashMap, fmt::Write};

use lerp_files::printable;

use super::{
    differences,
    images::{ImageTable, Images},
    lines::{
        LinesTable, REFERENCES, published_metrics, reference_entry, samples, seeds, source_note, verdict,
    },
    sheet::{Detail, Entry, TableLine},
    user_metrics::UserMetrics,
};
use crate::{
    TerminalStyle,
    paper::published,
    reading::{RunGroup, Sweep},
    statistics::references,
    text::{LongWords, wrap},
    verdicts::{verdict_reasons, verdict_rules},
};
use layout::{WIDTH, table};

/// Formats Table 1 if any run is on lines, the tables of image sets, and the user-defined metrics. Tables of
/// differences from the best follow where there are enough seeds.
pub fn for_terminal(sweeps: &[Sweep], style: TerminalStyle) -> String {
    let names = names(sweeps);
    let mut screen = Screen { sweeps, names: &names, style, out: String::new(), said: Vec::new() };
    if sweeps.iter().any(Sweep::has_lines) {
        screen.lines();
    }
    let mut missing = Vec::<String>::new();
    for kind in ImageTable::ALL {
        let named = sweeps
            .iter()
            .zip(&names)
            .map(|(sweep, name)| (if sweeps.len() > 1 { name.clone() } else { "ours".to_owned() }, sweep));
        let Some(images) = Images::new(kind, named.collect(), Detail::Brief) else { continue };
        screen.images(&images);
        for (sweep, name) in sweeps.iter().zip(&names) {
            let sentences = images.selection(sweep).missing();
            missing.extend(sentences.into_iter().map(|sentence| format!("{name}: {sentence}")));
        }
    }
    screen.user_metrics();
    for (sweep, name) in sweeps.iter().zip(&names) {
        missing.extend(sweep.not_counted().into_iter().map(|sentence| format!("{name}: {sentence}")));
    }
    screen.say(missing);
    screen.out
}

/// The text written so far, with what is needed to extend it.
struct Screen<'a> {
    sweeps: &'a [Sweep],
    names: &'a [String],
    style: TerminalStyle,
    out: String,
    /// The remarks that have been written already.
    said: Vec<String>,
}

impl Screen<'_> {
    /// Writes a title with a table below it.
    fn table(&mut self, title: &str, headings: &[String], left: usize, lines: &[TableLine]) {
        let gap = if self.out.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.out, "{gap}{}\n", wrap(&printable(title), WIDTH, LongWords::Cut).join("\n"));
        self.out += &table(headings, left, lines, self.style);
    }

    /// Writes the remarks that have not been written before, each in a paragraph of its own.
    fn say(&mut self, remarks: Vec<String>) {
        let mut gap = "\n";
        for remark in remarks {
            if !self.said.contains(&remark) {
                let _ = writeln!(
                    self.out,
                    "{gap}{}",
                    wrap(&printable(&remark), WIDTH, LongWords::Cut).join("\n")
                );
                gap = "";
                self.said.push(remark);
            }
        }
    }

    /// Returns the first headings of a table: `first`, and the sweep if there are several.
    fn headings(&self, first: &str) -> Vec<String> {
        let sweep = (self.sweeps.len() > 1).then_some("Sweep");
        std::iter::once(first).chain(sweep).map(str::to_owned).collect()
    }

    /// Returns the first cells of a line: `first`, and the sweep's name if there are several.
    fn cells(&self, first: impl Into<String>, sweep: &Sweep) -> Vec<Entry> {
        let name = (self.sweeps.len() > 1).then(|| Entry::plain(self.name(sweep)));
        std::iter::once(Entry::plain(first)).chain(name).collect()
    }

    /// Returns the name of a sweep.
    fn name(&self, sweep: &Sweep) -> String {
        let index = self.sweeps.iter().position(|s| std::ptr::eq(s, sweep)).unwrap_or(0);
        self.names[index].clone()
    }

    /// Writes Table 1 and Table 1b, with the sweep in the second column if there are several.
    fn lines(&mut self) {
        let sweeps = self.sweeps;
        let mut table = LinesTable::new(sweeps);
        let several = sweeps.len() > 1;
        if several {
            // Rows with the same label in several sweeps are put next to each other.
            let mut first: HashMap<&str, usize> = HashMap::new();
            for (index, (_, group)) in table.groups.iter().enumerate() {
                first.entry(&group.label).or_insert(index);
            }
            let mut order: Vec<usize> = (0..table.groups.len()).collect();
            let key = |i: &usize| {
                let group = table.groups[*i].1;
                (published().position(&group.cell().variant), first.get(&*group.label), *i)
            };
            order.sort_by_key(key);
            table.groups = order.into_iter().map(|i| table.groups[i]).collect();
        }
        let mut headings = self.headings("Variant");
        let left = headings.len();
        headings.extend(published_metrics().flat_map(|metric| [metric.short(), "paper".into(), "vs".into()]));
        headings.extend(["Seeds".into(), "Samples".into()]);
        let line = |(sweep, group): &(&Sweep, &RunGroup)| -> TableLine {
            let mut cells = self.cells(group.label.as_str(), sweep);
            for metric in published_metrics() {
                // There is no room for the deviation of the paper's number.
                let paper = Entry::published(group.paper(metric.of), Detail::Brief);
                cells.extend([table.entry(group, metric), paper, Entry::verdict(verdict(group, metric))]);
            }
            cells.extend([seeds(group), samples(group)]);
            cells.into()
        };
        let mut lines: Vec<TableLine> = table.groups.iter().map(line).collect();
        lines.extend(references().iter().map(|(reference, scores)| {
            let mut cells = vec![Entry::paper(reference.title(), None)];
            cells.extend(several.then(Entry::dash));
            for metric in published_metrics() {
                cells.extend([reference_entry(scores, metric), Entry::dash(), Entry::dash()]);
            }
            cells.extend([Entry::dash(), Entry::dash()]);
            TableLine::from(cells)
        }));
        let differences = table.differences().map(|(headings, rows)| {
            let rows = rows.into_iter().zip(&table.groups).map(|(row, (sweep, group))| {
                let cells = self.cells(group.label.as_str(), sweep);
                cells.into_iter().chain(row.into_iter().skip(1)).collect()
            });
            let mut all = self.headings("Variant");
            all.extend(headings.into_iter().skip(1));
            (all, rows.collect::<Vec<TableLine>>())
        });

        self.table("Table 1: interpolation between lines; lower is better", &headings, left, &lines);
        let mut remarks = verdict_rules(&table.verdicts());
        for (sweep, name) in sweeps.iter().zip(self.names) {
            let selection = sweep.lines();
            if selection.groups.is_empty() {
                continue;
            }
            // The reasons of the verdicts already state how the conditions differ from the paper's.
            let reasons: Vec<String> = verdict_reasons(&LinesTable::new([sweep]).verdicts()).collect();
            let conditions =
                if reasons.is_empty() { selection.all_conditions() } else { selection.conditions() };
            remarks.push(format!("{name}: {conditions}"));
            remarks.extend(reasons.into_iter().map(|reason| format!("{name}: {reason}")));
            remarks.extend(selection.missing().into_iter().map(|sentence| format!("{name}: {sentence}")));
        }
        remarks.extend([source_note(1), REFERENCES.to_owned()]);
        self.say(remarks);
        if let Some((headings, lines)) = differences {
            self.table("Table 1b: differences from the best", &headings, left, &lines);
            let mut remarks = vec![differences::CAPTION.to_owned()];
            remarks.extend(table.fewest().and_then(differences::coarse_note));
            self.say(remarks);
        } else {
            self.say(table.too_few_note().into_iter().collect());
        }
    }

    /// Writes the table of user-defined metrics, if there are any, with the sweep in the second column if there are
    /// several.
    fn user_metrics(&mut self) {
        let sweeps = self.sweeps;
        let Some(table) = UserMetrics::new(sweeps) else { return };
        let mut headings = self.headings("Configuration");
        let left = headings.len();
        headings.extend(table.headings());
        let line = |(sweep, group): &(&Sweep, &RunGroup)| -> TableLine {
            self.cells(group.name(), sweep).into_iter().chain(table.row(group)).collect()
        };
        let lines: Vec<TableLine> = table.groups.iter().map(line).collect();
        self.table("Further metrics, which are not the paper's", &headings, left, &lines);
        let mut remarks = table.about();
        remarks.extend(table.notes());
        self.say(remarks);
    }

    /// Writes one of the tables of image sets with its conditions and notes.
    fn images(&mut self, images: &Images) {
        let table = images.table();
        let what = match images.kind {
            ImageTable::Classifier => "accuracy of the single-layer classifier, %",
            ImageTable::Fitted => "accuracy of a single-layer classifier fitted afterwards, %",
            ImageTable::Clusters => "accuracy of clusters, %",
            ImageTable::Error => "mean squared error of reconstructions, ×10⁻³",
        };
        self.table(&format!("{}: {what}", table.name), &table.headings, table.left, &table.lines);
        let mut remarks = Vec::new();
        for (sweep, name) in self.sweeps.iter().zip(self.names) {
            let selection = images.selection(sweep);
            if !selection.groups.is_empty() {
                remarks.push(format!("{name}: {}", selection.all_conditions()));
                let restarts = images.other_restarts(&selection);
                if !restarts.is_empty() {
                    remarks.push(format!("{name}:{restarts}"));
                }
            }
        }
        remarks.extend(images.remarks());
        self.say(remarks);
        if let Some(table) = images.differences() {
            self.table(&table.name, &table.headings, table.left, &table.lines);
            self.say(std::iter::once(table.caption).chain(table.notes).collect());
        }
    }
}

/// Returns the names of the sweeps: those of their folders, or whole paths if two folders have the same name.
fn names(sweeps: &[Sweep]) -> Vec<String> {
    let short: Vec<String> = sweeps.iter().map(Sweep::name).collect();
    let path = |i: usize| printable(&sweeps[i].dir.to_string_lossy()).into_owned();
    (0..short.len())
        .map(
            |i| if short.iter().filter(|s| **s == short[i]).count() > 1 { path(i) } else { short[i].clone() },
        )
        .collect()
}
