//! Tables 2 to 4, on image sets: what their cells, captions and notes say.

mod beside;
mod csv;
mod words;

use beside::paper_entry;
use lerp_eval::{
    Better, Quantity, When,
    quantity::{
        CLASSIFIER_ACCURACY, CLUSTER_ACCURACY, CLUSTER_INFORMATION, EVALUATED_IMAGES, PROBE_ACCURACY,
        PROBE_LOSS, RECONSTRUCTION_MSE, TEST_IMAGES,
    },
    wilson_interval,
};

use crate::{
    conditions::Selection,
    pairs::Standings,
    pixels::PixelReference,
    provenance::{Provenance, command},
    published::{Row, published},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Estimate, Group, Loaded, Sweep, natural},
    text::fixed,
};

/// Restarts of k-means in the paper.
const RESTARTS: usize = 1000;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Table 2: the classifier trained beside the autoencoder.
    Classifier,
    /// Table 2b: the classifier fitted afterwards.
    Fitted,
    /// Table 3: clusters.
    Clusters,
    /// Table 4: reconstruction error.
    Error,
}

impl Kind {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Classifier, Self::Fitted, Self::Clusters, Self::Error];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classifier => "Table 2",
            Self::Fitted => "Table 2b",
            Self::Clusters => "Table 3",
            Self::Error => "Table 4",
        }
    }

    /// The metric in its cells.
    pub fn metric(self) -> &'static Quantity {
        match self {
            Self::Classifier => &CLASSIFIER_ACCURACY,
            Self::Fitted => &PROBE_ACCURACY,
            Self::Clusters => &CLUSTER_ACCURACY,
            Self::Error => &RECONSTRUCTION_MSE,
        }
    }

    /// The paper's rows.
    pub fn published(self) -> &'static [Row] {
        match self {
            Self::Classifier => &published().classifier,
            Self::Clusters => &published().clustering,
            Self::Fitted | Self::Error => &[],
        }
    }

    fn accuracy(self) -> bool {
        self.metric().better == Better::Higher
    }

    /// A value as it is printed.
    fn text(self, value: f64, seeds: usize) -> String {
        match self {
            Self::Error => fixed(value * 1e3, 2),
            // The interval of a single seed is wider than the second decimal.
            _ => fixed(value * 100.0, if seeds > 1 { 2 } else { 1 }),
        }
    }

    /// The image sets of a sweep that belong in it.
    fn sets(self, sweep: &Sweep) -> Vec<Set> {
        let belongs = |set: &&Set| match self {
            Self::Error => true,
            _ if of_one_class(sweep, set) => false,
            Self::Clusters => sweep
                .on(set)
                .any(|group| group.cell().cluster_restarts.is_some() || group.has(&CLUSTER_ACCURACY)),
            Self::Classifier | Self::Fitted => {
                set.always_labelled()
                    || sweep
                        .on(set)
                        .any(|group| group.has(&CLASSIFIER_ACCURACY) || group.has(&PROBE_ACCURACY))
            }
        };
        sweep.sets().into_iter().filter(belongs).cloned().collect()
    }

    /// The reference of raw pixels.
    fn reference(self, pixels: &PixelReference) -> Option<f64> {
        match self {
            Self::Fitted => Some(pixels.probe_accuracy),
            Self::Clusters => pixels.cluster_accuracy,
            _ => None,
        }
    }
}

/// Whether all images of a set are of one class, so that every classifier is right. A classifier of several has a loss.
pub fn of_one_class(sweep: &Sweep, set: &Set) -> bool {
    let loss = |loaded: &Loaded| loaded.final_value(&PROBE_LOSS.key);
    let mut losses = sweep.on(set).flat_map(Group::done).filter_map(loss).peekable();
    losses.peek().is_some() && losses.all(|loss| loss == 0.0)
}

/// On how many test images a metric of a run was measured: at evaluations they may be fewer than at its end.
pub fn tested(loaded: &Loaded, metric: &Quantity) -> Option<f64> {
    let evaluated = When::of(&metric.key) == Some(When::EachEvaluation);
    let at_evaluations = || loaded.final_value(&EVALUATED_IMAGES.key).filter(|_| evaluated);
    at_evaluations().or_else(|| loaded.final_value(&TEST_IMAGES.key)).filter(|images| *images >= 1.0)
}

/// The 95 % interval of an accuracy of a single run, if the number of test images is known.
pub fn interval(group: &Group, metric: &Quantity) -> Option<(f64, f64)> {
    let mut known = group.done().filter_map(|loaded| {
        let value = loaded.final_value(&metric.key).filter(|value| value.is_finite())?;
        Some((value, tested(loaded, metric)))
    });
    match (known.next(), known.next()) {
        (Some((value, Some(images))), None) if images >= 1.0 => wilson_interval(value, images as usize).ok(),
        _ => None,
    }
}

/// One of the tables, of one or more sweeps.
pub struct Images<'a> {
    /// Which.
    pub kind: Kind,
    /// The sweeps, and what each is called in the second column.
    sweeps: Vec<(String, &'a Sweep)>,
    /// The rows.
    sets: Vec<Set>,
    /// The columns: variants and their titles.
    variants: Vec<(String, String)>,
    /// How the configurations of each row stand to the best.
    standings: Vec<Standings<'a>>,
    /// The best mean of each row, and whether it is one of several.
    winners: Vec<Option<(f64, bool)>>,
    /// For a terminal: no intervals, no deviations of the paper's, no rows that no sweep has.
    brief: bool,
}

/// The lines of a set, the first of which names it.
fn headed(set: &Set, mut lines: Vec<Line>) -> Vec<Line> {
    if let Some(line) = lines.first_mut() {
        line.first = true;
        line.cells[0] = Entry::plain(set.name());
    }
    lines
}

impl<'a> Images<'a> {
    /// The table of `sweeps`; none if they have nothing for it. With `brief` as a terminal has room for.
    pub fn new(kind: Kind, sweeps: Vec<(String, &'a Sweep)>, brief: bool) -> Option<Self> {
        let mut ours: Vec<Set> = sweeps.iter().flat_map(|(_, sweep)| kind.sets(sweep)).collect();
        if ours.is_empty() {
            return None;
        }
        let datasets = ours.iter().map(|set| set.dataset.clone()).collect();
        let mut sets: Vec<Set> =
            kind.published().iter().map(|row| Set::new(&row.dataset, row.dims, &datasets)).collect();
        if brief {
            sets.retain(|set| ours.contains(set));
        }
        ours.retain(|set| !sets.contains(set));
        ours.sort_by(Set::order);
        ours.dedup();
        sets.extend(ours);
        let mut variants: Vec<(String, String)> =
            published().order.iter().cloned().zip(published().titles.iter().cloned()).collect();
        for set in &sets {
            for group in sweeps.iter().flat_map(|(_, sweep)| sweep.on(set)) {
                let variant = &group.cell().variant;
                if !variants.iter().any(|(known, _)| known == variant) {
                    variants.push((variant.clone(), group.title()));
                }
            }
        }
        let (standings, winners) = (Vec::new(), Vec::new());
        let mut table = Self { kind, sweeps, sets, variants, standings, winners, brief };
        table.standings = table.all_standings();
        table.winners = table.sets.iter().map(|set| table.winner(set)).collect();
        Some(table)
    }

    /// The rows.
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// The columns: variants and their titles.
    pub fn variants(&self) -> &[(String, String)] {
        &self.variants
    }

    /// All configurations of a sweep that are in the table.
    pub fn selection(&self, sweep: &'a Sweep) -> Selection<'a> {
        Selection { groups: self.sets.iter().flat_map(|set| sweep.on(set)).collect() }
    }

    fn selections(&self) -> Vec<Selection<'a>> {
        self.sweeps.iter().map(|(_, sweep)| self.selection(sweep)).collect()
    }

    fn groups(&self) -> Vec<&'a Group> {
        self.selections().into_iter().flat_map(|selection| selection.groups).collect()
    }

    /// The table itself.
    pub fn part(&self) -> Part {
        let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
        headings.extend(self.variants.iter().map(|(_, title)| title.clone()));
        if self.has_reference() {
            headings.push("Raw pixels".into());
        }
        let here = |set: &&Set| self.sweeps.iter().any(|(_, sweep)| sweep.on(set).next().is_some());
        let lines = |sets: Vec<&Set>| sets.into_iter().flat_map(|set| self.lines(set)).collect();
        let (ours, absent): (Vec<&Set>, Vec<&Set>) = self.sets.iter().partition(here);
        Part {
            name: self.kind.name().into(),
            caption: self.caption(),
            conditions: self.conditions(),
            label: match self.kind {
                Kind::Classifier => "tab:classifier",
                Kind::Fitted => "tab:fitted",
                Kind::Clusters => "tab:clusters",
                Kind::Error => "tab:reconstruction",
            },
            wide: true,
            headings,
            left: 2,
            lines: lines(ours),
            folded: absent
                .into_iter()
                .flat_map(|set| headed(set, self.paper_line(set).into_iter().collect()))
                .collect(),
            notes: self.notes(),
            provenance: self.provenance(),
        }
    }

    /// Where its numbers come from; of several sweeps the first one's command.
    fn provenance(&self) -> String {
        let again = self.sweeps.first().map(|(_, sweep)| command(&sweep.dir, None)).unwrap_or_default();
        Provenance::of(&self.groups(), &again).line()
    }

    /// What tells configurations of variants apart in a row: empty where nothing does.
    fn tellings(&self, sweep: &'a Sweep, set: &Set) -> Vec<&'a str> {
        let mut tellings: Vec<&str> = sweep.on(set).map(|group| group.telling.as_str()).collect();
        tellings.sort_by(|a, b| natural(a, b));
        tellings.dedup();
        if tellings.is_empty() && self.sweeps.len() == 1 {
            tellings.push("");
        }
        tellings
    }

    fn has_reference(&self) -> bool {
        self.sweeps.iter().any(|(_, sweep)| self.sets.iter().any(|set| self.reference(sweep, set).is_some()))
    }

    fn reference(&self, sweep: &Sweep, set: &Set) -> Option<(f64, usize)> {
        let pixels = sweep.pixels.get(&set.dataset)?;
        Some((self.kind.reference(pixels)?, pixels.test_images as usize))
    }

    /// The lines of a row: one for each sweep and set of settings that tell configurations of a variant apart, the paper's,
    /// and the mutual information of clusters.
    fn lines(&self, set: &Set) -> Vec<Line> {
        let (mut lines, mut verdicts, mut information) = (Vec::new(), Vec::new(), Vec::new());
        for (name, sweep) in &self.sweeps {
            for (i, telling) in self.tellings(sweep, set).into_iter().enumerate() {
                let label = label(name, telling);
                verdicts.extend(self.verdict_line(set, sweep, &label, telling));
                if self.kind == Kind::Clusters && sweep.on(set).any(|group| group.has(&CLUSTER_INFORMATION)) {
                    // The only line needs no name.
                    let label = label.strip_prefix("ours").unwrap_or(&label);
                    let label = format!("NMI {}", label.trim_start());
                    information.push(self.line(
                        set,
                        sweep,
                        label.trim_end().into(),
                        (i == 0, telling),
                        &CLUSTER_INFORMATION,
                    ));
                }
                lines.push(self.line(set, sweep, label, (i == 0, telling), self.kind.metric()));
            }
        }
        lines.extend(self.paper_line(set));
        lines.extend(verdicts);
        lines.extend(information);
        headed(set, lines)
    }

    fn paper_line(&self, set: &Set) -> Option<Line> {
        let mut cells = vec![Entry::plain(""), Entry::paper("paper", None)];
        let numbers = self.variants.iter().map(|(variant, _)| self.kind.paper(set, variant));
        cells.extend(numbers.map(|number| paper_entry(number, self.brief)));
        if self.has_reference() {
            cells.push(Entry::paper("–", None));
        }
        (!self.kind.published().is_empty()).then_some(Line { cells, first: false })
    }

    /// A line of a sweep's: of the configurations with these settings, `first` if it is the first of the sweep's.
    fn line(
        &self,
        set: &Set,
        sweep: &Sweep,
        label: String,
        (first, telling): (bool, &str),
        metric: &Quantity,
    ) -> Line {
        let information = *metric == CLUSTER_INFORMATION;
        let mut cells = vec![Entry::plain(""), Entry::plain(label)];
        for (variant, _) in &self.variants {
            let groups: Vec<&Group> =
                sweep.on(set).filter(|group| group.cell().variant == *variant).collect();
            let entry = match groups.iter().find(|group| group.telling == telling) {
                Some(group) if information => {
                    Entry::number(information_text(group), group.estimate(&CLUSTER_INFORMATION).mean())
                }
                Some(group) => self.entry(set, group, metric),
                None if !groups.is_empty() && telling.is_empty() => Entry::plain("below"),
                None if first && !information && groups.is_empty() => Entry::plain("not run"),
                None => Entry::plain("–"),
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
            cells.push(entry.filter(|_| first).unwrap_or_else(|| Entry::plain("–")));
        }
        Line { cells, first: false }
    }

    /// A single value and its interval.
    fn single(&self, value: f64, interval: Option<(f64, f64)>) -> String {
        let percent = |v: f64| fixed(v * 100.0, 1);
        match interval {
            Some((low, high)) if !self.brief => {
                format!("{} [{}, {}]", self.kind.text(value, 1), percent(low), percent(high))
            }
            _ => self.kind.text(value, 1),
        }
    }

    /// The best mean of a row, and whether there are others.
    fn winner(&self, set: &Set) -> Option<(f64, bool)> {
        let rivals = self.sweeps.iter().flat_map(|(_, sweep)| sweep.on(set));
        let means: Vec<f64> = rivals.filter_map(|g| g.estimate(self.kind.metric()).mean()).collect();
        let better = if self.kind.accuracy() { f64::max } else { f64::min };
        Some((means.iter().copied().reduce(better)?, means.len() > 1))
    }

    /// A configuration's number; the best of ours in its row in bold, equal printed values being equally good.
    fn entry(&self, set: &Set, group: &Group, metric: &Quantity) -> Entry {
        let estimate = group.estimate(metric);
        let text = match estimate {
            Estimate::Missing if group.done().next().is_some() => "–".into(),
            Estimate::Missing => unfinished(group).into(),
            Estimate::Undefined => "undefined".into(),
            Estimate::Known { mean, n: 1, .. } => {
                self.single(mean, self.kind.accuracy().then(|| interval(group, metric)).flatten())
            }
            Estimate::Known { mean, std, n } => {
                format!("{} ± {}", self.kind.text(mean, n), self.kind.text(std, n))
            }
        };
        let Estimate::Known { mean, n, .. } = estimate else { return Entry::plain(text) };
        let winner = self.sets.iter().position(|known| known == set).and_then(|place| self.winners[place]);
        let best = winner.is_some_and(|(winner, of_several)| {
            of_several && self.kind.text(winner, n) == self.kind.text(mean, n)
        });
        let near = if best { "" } else { self.near(set, group) };
        let factor = if self.kind.accuracy() { 100.0 } else { 1e3 };
        Entry { best, ..Entry::number(text + near, mean * factor) }
    }
}

/// What a line of a sweep's is called: by the settings that tell it from its others.
fn label(name: &str, telling: &str) -> String {
    if telling.is_empty() { name.to_owned() } else { format!("{name} ({telling})") }
}

/// The mutual information of a configuration's clusters and classes.
fn information_text(group: &Group) -> String {
    match group.estimate(&CLUSTER_INFORMATION) {
        Estimate::Missing => "–".into(),
        Estimate::Undefined => "undefined".into(),
        Estimate::Known { mean, n: 1, .. } => fixed(mean, 2),
        Estimate::Known { mean, std, .. } => format!("{} ± {}", fixed(mean, 2), fixed(std, 2)),
    }
}

/// What stands in the cell of a configuration without a finished run.
fn unfinished(group: &Group) -> &'static str {
    let failed = |l: &Loaded| l.run.status.state == lerp_train::State::Failed;
    if group.runs.iter().all(failed) { "failed" } else { "unfinished" }
}

/// The tables of a sweep on image sets.
pub fn sheets(sweep: &Sweep) -> Vec<Sheet> {
    let tables: Vec<Images> = Kind::ALL
        .into_iter()
        .filter_map(|kind| Images::new(kind, vec![("ours".into(), sweep)], false))
        .collect();
    let sheet = |id, title, kinds: &[Kind]| {
        let chosen: Vec<&Images> = tables.iter().filter(|table| kinds.contains(&table.kind)).collect();
        let parts: Vec<Part> = chosen
            .iter()
            .filter(|table| {
                table.kind != Kind::Fitted || table.groups().iter().any(|g| g.has(&PROBE_ACCURACY))
            })
            .flat_map(|table| std::iter::once(table.part()).chain(table.differences()))
            .collect();
        (!parts.is_empty()).then(|| Sheet { id, title, parts, data: csv::data(&chosen, sweep) })
    };
    [
        sheet("table2", "Table 2", &[Kind::Classifier, Kind::Fitted]),
        sheet("table3", "Table 3", &[Kind::Clusters]),
        sheet("table4", "Table 4", &[Kind::Error]),
    ]
    .into_iter()
    .flatten()
    .collect()
}
