//! Tables 2, 2b, 3 and 4, on image sets: their cells, captions and notes.

mod captions;
mod comparison;
mod csv;

use lerp_eval::{
    Better, Interval, Quantity, When,
    quantity::{
        CLASSIFIER_ACCURACY, CLUSTER_ACCURACY, CLUSTER_INFORMATION, EVALUATED_IMAGES, PROBE_ACCURACY,
        RECONSTRUCTION_MSE, TEST_IMAGES,
    },
    wilson_interval,
};

use super::sheet::{Detail, Entry, Sheet, Table, TableLine};
use crate::{
    paper::{PublishedRow, published},
    provenance::{ReportProvenance, command},
    reading::{Estimate, LoadedRun, PixelReference, RunGroup, SizedImageSet, Sweep, natural},
    statistics::Standings,
    text::{fixed, unique_by},
    verdicts::Selection,
};

/// One of the tables on image sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageTable {
    /// Table 2: accuracy of the single-layer classifier trained alongside the autoencoder.
    Classifier,
    /// Table 2b: accuracy of a single-layer classifier fitted after training. The paper has no such table.
    Fitted,
    /// Table 3: accuracy of k-means clusters.
    Clusters,
    /// Table 4: reconstruction error. The paper has no such table.
    Error,
}

impl ImageTable {
    /// All tables, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Classifier, Self::Fitted, Self::Clusters, Self::Error];

    /// Returns the table's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classifier => "Table 2",
            Self::Fitted => "Table 2b",
            Self::Clusters => "Table 3",
            Self::Error => "Table 4",
        }
    }

    /// Returns the table's LaTeX label.
    fn label(self) -> &'static str {
        match self {
            Self::Classifier => "tab:classifier",
            Self::Fitted => "tab:fitted",
            Self::Clusters => "tab:clusters",
            Self::Error => "tab:reconstruction",
        }
    }

    /// Returns the metric that the table's cells show.
    pub fn metric(self) -> &'static Quantity {
        match self {
            Self::Classifier => &CLASSIFIER_ACCURACY,
            Self::Fitted => &PROBE_ACCURACY,
            Self::Clusters => &CLUSTER_ACCURACY,
            Self::Error => &RECONSTRUCTION_MSE,
        }
    }

    /// Returns the rows that the paper published; empty for the tables that the paper does not have.
    pub fn published(self) -> &'static [PublishedRow] {
        match self {
            Self::Classifier => &published().classifier,
            Self::Clusters => &published().clustering,
            Self::Fitted | Self::Error => &[],
        }
    }

    /// Returns whether the table shows an accuracy, for which higher is better, rather than an error.
    fn accuracy(self) -> bool {
        self.metric().better == Better::Higher
    }

    /// Formats a value: accuracies in percent, errors in 10⁻³.
    fn text(self, value: f64, seeds: usize) -> String {
        match self {
            Self::Error => fixed(value * 1e3, 2),
            // The 95 % interval of a single seed is wider than the second decimal.
            _ => fixed(value * 100.0, if seeds > 1 { 2 } else { 1 }),
        }
    }

    /// Returns the image sets of a sweep that have a row in this table.
    fn sets(self, sweep: &Sweep) -> Vec<SizedImageSet> {
        let any = |set: &SizedImageSet, of: &dyn Fn(&RunGroup) -> bool| sweep.on(Some(set)).any(of);
        let belongs = |set: &&SizedImageSet| match self {
            Self::Error => true,
            _ if sweep.has_one_class(set) => false,
            Self::Clusters => {
                any(set, &|group| group.cell().cluster_restarts.is_some() || group.has(&CLUSTER_ACCURACY))
            }
            Self::Classifier | Self::Fitted => {
                let measured =
                    |group: &RunGroup| group.has(&CLASSIFIER_ACCURACY) || group.has(&PROBE_ACCURACY);
                set.always_labelled() || any(set, &measured)
            }
        };
        sweep.sets().into_iter().filter(belongs).cloned().collect()
    }

    /// Returns the table's metric measured on raw pixels, if the reference has it.
    fn reference(self, pixels: &PixelReference) -> Option<f64> {
        match self {
            Self::Fitted => Some(pixels.probe_accuracy),
            Self::Clusters => pixels.cluster_accuracy,
            _ => None,
        }
    }
}

/// Returns the number of test images that a metric was measured on. Evaluations during training may use fewer images
/// than the measurement at the end of the run.
fn tested(loaded: &LoadedRun, metric: &Quantity) -> Option<f64> {
    let evaluated = When::of(&metric.key) == Some(When::EachEvaluation);
    let at_evaluations = || loaded.final_value(&EVALUATED_IMAGES.key).filter(|_| evaluated);
    at_evaluations().or_else(|| loaded.final_value(&TEST_IMAGES.key)).filter(|images| *images >= 1.0)
}

/// Returns the 95 % Wilson interval of the accuracy of a single run, or `None` if there are several runs or the number
/// of test images is unknown.
fn interval(group: &RunGroup, metric: &Quantity) -> Option<Interval> {
    let mut known = group.done().filter_map(|loaded| {
        let value = loaded.final_value(&metric.key).filter(|value| value.is_finite())?;
        Some((value, tested(loaded, metric)))
    });
    match (known.next(), known.next()) {
        (Some((value, Some(images))), None) if images >= 1.0 => wilson_interval(value, images as usize).ok(),
        _ => None,
    }
}

/// One of the tables, with the numbers of one or more sweeps.
pub struct Images<'a> {
    /// Which table this is.
    pub kind: ImageTable,
    /// The sweeps, each with its name in the second column.
    sweeps: Vec<(String, &'a Sweep)>,
    /// The image sets, one for each row.
    sets: Vec<SizedImageSet>,
    /// The columns, as variant names with their titles.
    variants: Vec<(String, String)>,
    /// The comparison of each row's configurations with the best of that row.
    standings: Vec<Standings<'a>>,
    /// How much the table shows. A brief one, for a terminal, has no intervals, no deviations of the paper's, and no
    /// rows that no sweep has.
    detail: Detail,
}

/// Which configurations of a sweep a line shows.
#[derive(Clone, Copy)]
struct LineSelection<'t> {
    /// The settings that tell the configurations from others of their variants.
    settings: &'t str,
    /// Whether this is the first line of the sweep, which also states missing runs and the raw-pixel reference.
    first: bool,
}

/// Marks the first of a set's lines as the start of a row and writes the set's name into it.
fn with_row_name(set: &SizedImageSet, mut lines: Vec<TableLine>) -> Vec<TableLine> {
    if let Some(line) = lines.first_mut() {
        line.first = true;
        line.cells[0] = Entry::plain(set.name());
    }
    lines
}

impl<'a> Images<'a> {
    /// Builds the table of `sweeps`, or returns `None` if they have no image set for it.
    pub fn new(kind: ImageTable, sweeps: Vec<(String, &'a Sweep)>, detail: Detail) -> Option<Self> {
        let mut ours: Vec<SizedImageSet> = sweeps.iter().flat_map(|(_, sweep)| kind.sets(sweep)).collect();
        if ours.is_empty() {
            return None;
        }
        let datasets = ours.iter().map(|set| set.dataset.clone()).collect();
        let mut sets: Vec<SizedImageSet> = kind
            .published()
            .iter()
            .map(|row| SizedImageSet::new(&row.dataset, row.dims, &datasets))
            .collect();
        if detail == Detail::Brief {
            sets.retain(|set| ours.contains(set));
        }
        ours.retain(|set| !sets.contains(set));
        ours.sort_by(SizedImageSet::order);
        ours.dedup();
        sets.extend(ours);
        let papers = published().order.iter().cloned().zip(published().titles.iter().cloned());
        let groups = sets.iter().flat_map(|set| sweeps.iter().flat_map(|(_, sweep)| sweep.on(Some(set))));
        let ours = groups.map(|group| (group.cell().variant.clone(), group.title()));
        let variants = unique_by(papers.chain(ours), |(variant, _)| variant.clone());
        let mut table = Self { kind, sweeps, sets, variants, standings: Vec::new(), detail };
        table.standings = table.all_standings();
        Some(table)
    }

    /// Returns all configurations of a sweep that are in the table.
    pub fn selection(&self, sweep: &'a Sweep) -> Selection<'a> {
        Selection { groups: self.sets.iter().flat_map(|set| sweep.on(Some(set))).collect() }
    }

    fn selections(&self) -> Vec<Selection<'a>> {
        self.sweeps.iter().map(|(_, sweep)| self.selection(sweep)).collect()
    }

    fn groups(&self) -> Vec<&'a RunGroup> {
        self.selections().into_iter().flat_map(|selection| selection.groups).collect()
    }

    /// Formats the table.
    pub fn table(&self) -> Table {
        let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
        headings.extend(self.variants.iter().map(|(_, title)| title.clone()));
        if self.has_reference() {
            headings.push("Raw pixels".into());
        }
        let here =
            |set: &&SizedImageSet| self.sweeps.iter().any(|(_, sweep)| sweep.on(Some(set)).next().is_some());
        let lines = |sets: Vec<&SizedImageSet>| sets.into_iter().flat_map(|set| self.lines(set)).collect();
        let (ours, absent): (Vec<&SizedImageSet>, Vec<&SizedImageSet>) = self.sets.iter().partition(here);
        Table {
            name: self.kind.name().into(),
            caption: self.caption(),
            conditions: self.conditions(),
            label: self.kind.label().into(),
            headings,
            left: 2,
            lines: lines(ours),
            folded: absent
                .into_iter()
                .flat_map(|set| with_row_name(set, self.paper_line(set).into_iter().collect()))
                .collect(),
            notes: self.notes(),
            provenance: self.provenance(),
        }
    }

    /// Returns the provenance line. Of several sweeps it names the command that reproduces the first one's report.
    fn provenance(&self) -> String {
        let again = self.sweeps.first().map(|(_, sweep)| command(&sweep.dir, None)).unwrap_or_default();
        ReportProvenance::of(&self.groups(), &again).line()
    }

    /// Returns the distinct [`RunGroup::settings`] of the configurations in a row; a single empty one if nothing tells the
    /// configurations of a variant apart.
    fn distinctions(&self, sweep: &'a Sweep, set: &SizedImageSet) -> Vec<&'a str> {
        let mut distinctions: Vec<&str> = sweep.on(Some(set)).map(|group| group.settings.as_str()).collect();
        distinctions.sort_by(|a, b| natural(a, b));
        distinctions.dedup();
        if distinctions.is_empty() && self.sweeps.len() == 1 {
            distinctions.push("");
        }
        distinctions
    }

    /// Returns whether any row has a raw-pixel reference, which gets a column of its own.
    fn has_reference(&self) -> bool {
        self.sweeps.iter().any(|(_, sweep)| self.sets.iter().any(|set| self.reference(sweep, set).is_some()))
    }

    /// Returns the raw-pixel reference of an image set, and the number of its test images.
    fn reference(&self, sweep: &Sweep, set: &SizedImageSet) -> Option<(f64, usize)> {
        let pixels = sweep.pixels.get(&set.dataset)?;
        Some((self.kind.reference(pixels)?, pixels.test_images as usize))
    }

    /// Returns the lines of a row: one for each sweep and for each combination of settings that tells a variant's
    /// configurations apart, then the paper's, the verdicts, and the mutual information of clusters.
    fn lines(&self, set: &SizedImageSet) -> Vec<TableLine> {
        let (mut lines, mut verdicts, mut information) = (Vec::new(), Vec::new(), Vec::new());
        for (name, sweep) in &self.sweeps {
            for (i, settings) in self.distinctions(sweep, set).into_iter().enumerate() {
                let label = label(name, settings);
                let of = LineSelection { settings, first: i == 0 };
                verdicts.extend(self.verdict_line(set, sweep, &label, settings));
                if self.kind == ImageTable::Clusters
                    && sweep.on(Some(set)).any(|group| group.has(&CLUSTER_INFORMATION))
                {
                    // The label omits "ours", which only tells the line from the paper's: the paper has no mutual
                    // information.
                    let label = label.strip_prefix("ours").unwrap_or(&label);
                    let label = format!("NMI {}", label.trim_start());
                    information.push(self.line(
                        set,
                        sweep,
                        label.trim_end().into(),
                        of,
                        &CLUSTER_INFORMATION,
                    ));
                }
                lines.push(self.line(set, sweep, label, of, self.kind.metric()));
            }
        }
        lines.extend(self.paper_line(set));
        lines.extend(verdicts);
        lines.extend(information);
        with_row_name(set, lines)
    }

    /// Returns the line of the paper's numbers, or `None` if the paper does not have this table.
    fn paper_line(&self, set: &SizedImageSet) -> Option<TableLine> {
        let mut cells = vec![Entry::plain(""), Entry::paper("paper", None)];
        let numbers = self.variants.iter().map(|(variant, _)| self.kind.paper(set, variant));
        cells.extend(numbers.map(|number| Entry::published(number, self.detail)));
        if self.has_reference() {
            cells.push(Entry::paper("–", None));
        }
        (!self.kind.published().is_empty()).then_some(cells.into())
    }

    /// Returns one line of a sweep.
    fn line(
        &self,
        set: &SizedImageSet,
        sweep: &Sweep,
        label: String,
        LineSelection { settings, first }: LineSelection,
        metric: &Quantity,
    ) -> TableLine {
        let information = *metric == CLUSTER_INFORMATION;
        let mut cells = vec![Entry::plain(""), Entry::plain(label)];
        for (variant, _) in &self.variants {
            let groups: Vec<&RunGroup> =
                sweep.on(Some(set)).filter(|group| group.cell().variant == *variant).collect();
            let entry = match groups.iter().find(|group| group.settings == settings) {
                Some(group) if information => {
                    let estimate = group.estimate(metric);
                    Entry::number(estimate.text(|value| fixed(value, 2)), estimate.mean())
                }
                Some(group) => self.entry(set, group, metric),
                None if !groups.is_empty() && settings.is_empty() => Entry::plain("below"),
                None if first && !information && groups.is_empty() => Entry::plain("not run"),
                None => Entry::dash(),
            };
            cells.push(entry);
        }
        if self.has_reference() {
            let entry = if information {
                let pixels = sweep.pixels.get(&set.dataset);
                let value = pixels.and_then(|pixels| pixels.cluster_information);
                value.map(|value| Entry::number(fixed(value, 2), value))
            } else {
                self.reference(sweep, set).map(|(value, images)| {
                    let text = self.single(value, wilson_interval(value, images).ok());
                    Entry::number(text, value * 100.0)
                })
            };
            cells.push(entry.filter(|_| first).unwrap_or_else(Entry::dash));
        }
        cells.into()
    }

    /// Formats the value of a single run with its interval.
    fn single(&self, value: f64, interval: Option<Interval>) -> String {
        let percent = |v: f64| fixed(v * 100.0, 1);
        match interval {
            Some(Interval { low, high }) if self.detail == Detail::Full => {
                format!("{} [{}, {}]", self.kind.text(value, 1), percent(low), percent(high))
            }
            _ => self.kind.text(value, 1),
        }
    }

    /// Returns the cell of a configuration's number. The best of ours in its row is in bold; values that are equal as
    /// printed are equally good.
    fn entry(&self, set: &SizedImageSet, group: &RunGroup, metric: &Quantity) -> Entry {
        let estimate = group.estimate(metric);
        let text = match estimate {
            Estimate::Missing if group.done().next().is_none() => unfinished(group).into(),
            Estimate::Known { mean, n: 1, .. } => {
                self.single(mean, self.kind.accuracy().then(|| interval(group, metric)).flatten())
            }
            Estimate::Known { n, .. } => estimate.text(|value| self.kind.text(value, n)),
            Estimate::Missing | Estimate::Undefined => estimate.text(|_| String::new()),
        };
        let Estimate::Known { mean, n, .. } = estimate else { return Entry::plain(text) };
        let best = self.standings(set).and_then(Standings::best_of_several);
        let best = best.and_then(|best| best.estimate(metric).mean());
        let best = best.is_some_and(|best| self.kind.text(best, n) == self.kind.text(mean, n));
        let near = if best { "" } else { self.near(set, group) };
        let factor = if self.kind.accuracy() { 100.0 } else { 1e3 };
        Entry { best, ..Entry::number(text + near, mean * factor) }
    }
}

/// Returns the label of a sweep's line, with the settings that tell it from the sweep's other lines.
fn label(name: &str, settings: &str) -> String {
    if settings.is_empty() { name.to_owned() } else { format!("{name} ({settings})") }
}

/// Returns the text in the cell of a configuration without a finished run.
fn unfinished(group: &RunGroup) -> &'static str {
    let failed = |l: &LoadedRun| l.run.status.state == lerp_train::State::Failed;
    if group.runs.iter().all(failed) { "failed" } else { "unfinished" }
}

/// Returns the tables of a sweep on image sets.
pub fn sheets(sweep: &Sweep) -> Vec<Sheet> {
    let tables: Vec<Images> = ImageTable::ALL
        .into_iter()
        .filter_map(|kind| Images::new(kind, vec![("ours".into(), sweep)], Detail::Full))
        .collect();
    let sheet = |id, title, kinds: &[ImageTable]| {
        let chosen: Vec<&Images> = tables.iter().filter(|table| kinds.contains(&table.kind)).collect();
        let measured = |table: &&&Images| {
            table.kind != ImageTable::Fitted || table.groups().iter().any(|group| group.has(&PROBE_ACCURACY))
        };
        let tables = chosen.iter().filter(measured);
        let tables: Vec<Table> =
            tables.flat_map(|table| std::iter::once(table.table()).chain(table.differences())).collect();
        (!tables.is_empty()).then(|| Sheet { id, title, tables, data: csv::data(&chosen, sweep) })
    };
    [
        sheet("table2", "Table 2", &[ImageTable::Classifier, ImageTable::Fitted]),
        sheet("table3", "Table 3", &[ImageTable::Clusters]),
        sheet("table4", "Table 4", &[ImageTable::Error]),
    ]
    .into_iter()
    .flatten()
    .collect()
}
