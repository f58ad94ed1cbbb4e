//! Tables 2 to 4, on image sets: what their cells, captions and notes say.

use std::collections::BTreeMap;

use lerp_eval::wilson_interval;

use crate::{
    conditions::Selection,
    images_csv::csv,
    pixels::PixelReference,
    published::{Row, published},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Estimate, Group, Loaded, Sweep, natural},
    table::source_note,
    text::{count, fixed, thousands},
};

/// Restarts of k-means in the paper.
const RESTARTS: usize = 1000;

/// Accuracy of the classifier trained beside the autoencoder.
pub const CLASSIFIER: &str = "eval/classifier_accuracy";
/// Accuracy of the classifier fitted afterwards.
pub const FITTED: &str = "final/probe_accuracy";
/// Accuracy of clusters.
pub const CLUSTERS: &str = "final/cluster_accuracy";
/// Normalised mutual information of clusters and classes.
pub const INFORMATION: &str = "final/cluster_information";
/// Reconstruction error.
pub const ERROR: &str = "eval/reconstruction_mse";
/// Number of test images.
pub const TEST_IMAGES: &str = "final/test_images";

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
    pub fn metric(self) -> &'static str {
        match self {
            Self::Classifier => CLASSIFIER,
            Self::Fitted => FITTED,
            Self::Clusters => CLUSTERS,
            Self::Error => ERROR,
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
        self != Self::Error
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
            Self::Clusters => {
                sweep.on(set).any(|group| group.cell().cluster_restarts.is_some() || group.has(CLUSTERS))
            }
            Self::Classifier | Self::Fitted => {
                set.always_labelled() || sweep.on(set).any(|group| group.has(CLASSIFIER) || group.has(FITTED))
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

/// The 95 % interval of an accuracy of a single run, if the number of test images is known.
pub fn interval(group: &Group, metric: &str) -> Option<(f64, f64)> {
    let mut known = group.done().filter_map(|loaded| {
        let value = loaded.final_value(metric).filter(|value| value.is_finite())?;
        Some((value, loaded.final_value(TEST_IMAGES)))
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
    /// For a terminal: no intervals, no deviations of the paper's, no rows that no sweep has.
    brief: bool,
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
                    variants.push((variant.clone(), group.runs[0].run.record.title.clone()));
                }
            }
        }
        Some(Self { kind, sweeps, sets, variants, brief })
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
        Part {
            name: self.kind.name().into(),
            caption: self.caption(),
            label: match self.kind {
                Kind::Classifier => "tab:classifier",
                Kind::Fitted => "tab:fitted",
                Kind::Clusters => "tab:clusters",
                Kind::Error => "tab:reconstruction",
            },
            wide: true,
            headings,
            left: 2,
            lines: self.sets.iter().flat_map(|set| self.lines(set)).collect(),
            notes: self.notes(),
        }
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
        let mut lines = Vec::new();
        for (name, sweep) in &self.sweeps {
            let mut tellings: Vec<&str> = sweep.on(set).map(|group| group.telling.as_str()).collect();
            tellings.sort_by(|a, b| natural(a, b));
            tellings.dedup();
            if tellings.is_empty() && self.sweeps.len() == 1 {
                tellings.push("");
            }
            for (i, telling) in tellings.iter().enumerate() {
                let label = if telling.is_empty() { name.clone() } else { format!("{name} ({telling})") };
                lines.push(self.line(set, sweep, label, (i == 0, telling), self.kind.metric()));
                if self.kind == Kind::Clusters && sweep.on(set).any(|group| group.has(INFORMATION)) {
                    lines.push(self.line(set, sweep, "NMI".into(), (false, telling), INFORMATION));
                }
            }
        }
        if !self.kind.published().is_empty() {
            let row = self.kind.published().iter().find(|r| (&r.dataset, r.dims) == (&set.dataset, set.dims));
            let mut cells = vec![Entry::plain(""), Entry::paper("paper")];
            cells.extend(self.variants.iter().map(|(variant, _)| {
                let number = row.and_then(|row| row.number(variant));
                Entry::paper(number.map_or("–".into(), |number| number.text(self.brief)))
            }));
            if self.has_reference() {
                cells.push(Entry::paper("–"));
            }
            lines.push(Line { cells, first: false });
        }
        if let Some(line) = lines.first_mut() {
            line.first = true;
            line.cells[0] = Entry::plain(set.name());
        }
        lines
    }

    /// A line of a sweep's: of the configurations with these settings, `first` if it is the row's first.
    fn line(
        &self,
        set: &Set,
        sweep: &Sweep,
        label: String,
        (first, telling): (bool, &str),
        metric: &str,
    ) -> Line {
        let mut cells = vec![Entry::plain(""), Entry::plain(label)];
        for (variant, _) in &self.variants {
            let mut groups = sweep.on(set).filter(|group| group.cell().variant == *variant).peekable();
            let any = groups.peek().is_some();
            let entry = match groups.find(|group| group.telling == telling) {
                Some(group) => self.entry(set, group, metric),
                None if any && telling.is_empty() => Entry::plain("below"),
                None if first && metric == self.kind.metric() => Entry::plain("not run"),
                None => Entry::plain("–"),
            };
            cells.push(entry);
        }
        if self.has_reference() {
            let reference = sweep.pixels.get(&set.dataset);
            let text = match self.reference(sweep, set) {
                _ if metric == INFORMATION => {
                    reference.and_then(|p| p.cluster_information).map(|value| fixed(value, 2))
                }
                Some((value, images)) => Some(self.single(value, wilson_interval(value, images).ok())),
                None => None,
            };
            cells.push(Entry::plain(text.filter(|_| first || metric == INFORMATION).unwrap_or("–".into())));
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

    /// A configuration's number; the best of ours in its row in bold, equal printed values being equally good.
    fn entry(&self, set: &Set, group: &Group, metric: &str) -> Entry {
        let estimate = group.estimate(metric);
        let information = metric == INFORMATION;
        let text = match estimate {
            Estimate::Missing if group.done().next().is_some() => "–".into(),
            Estimate::Missing => unfinished(group).into(),
            Estimate::Undefined => "undefined".into(),
            Estimate::Known { mean, n: 1, .. } if information => fixed(mean, 2),
            Estimate::Known { mean, std, .. } if information => {
                format!("{} ± {}", fixed(mean, 2), fixed(std, 2))
            }
            Estimate::Known { mean, n: 1, .. } => {
                self.single(mean, self.kind.accuracy().then(|| interval(group, metric)).flatten())
            }
            Estimate::Known { mean, std, n } => {
                format!("{} ± {}", self.kind.text(mean, n), self.kind.text(std, n))
            }
        };
        let Estimate::Known { mean, n, .. } = estimate else { return Entry::plain(text) };
        let rivals = self.sweeps.iter().flat_map(|(_, sweep)| sweep.on(set));
        let means: Vec<f64> = rivals.filter_map(|group| group.estimate(metric).mean()).collect();
        let highest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = means.iter().copied().fold(f64::INFINITY, f64::min);
        let winner = if self.kind.accuracy() { highest } else { lowest };
        let best = means.len() > 1 && !information && self.kind.text(winner, n) == self.kind.text(mean, n);
        Entry { text, best, paper: false }
    }

    /// What it shows.
    fn caption(&self) -> String {
        let of_run =
            "median of the last 20 of 256 evaluations of each run (of the same share, at least 3, of fewer)";
        let numbers = "One seed: the value with its 95 % Wilson interval, which is for the choice of test images and not of \
                       seeds; several: mean ± standard deviation (divisor n) over them.";
        let what = match self.kind {
            Kind::Classifier => format!(
                "Accuracy of a single-layer classifier on the test images, in %; higher is better. It sees the latents \
                 (VAE, VQ-VAE: the features that the paper gives it) and is trained beside the autoencoder, which learns \
                 nothing from it: {of_run}. {numbers}"
            ),
            Kind::Fitted => format!(
                "Accuracy of a single-layer classifier on the test images, in %, fitted to convergence after training, to \
                 features that no longer change; higher is better. Not in the paper: without it, an accuracy in Table 2 may \
                 be that of a classifier that has not caught up. {numbers}"
            ),
            Kind::Clusters => format!(
                "Accuracy of clusters on the test images, in %; higher is better. k-means, with as many clusters as \
                 classes, on whitened latents of training images, {}; each cluster is given the class that makes the \
                 most of the test images right. NMI: normalised mutual information of clusters and classes, from 0 to 1. \
                 {numbers}",
                self.restarts()
            ),
            Kind::Error => format!(
                "Mean squared error of reconstructions of test images (values from -1 to 1), ×10⁻³; lower is better: \
                 {of_run}. Several seeds: mean ± standard deviation (divisor n) over them. Not in the paper."
            ),
        };
        let best = "Best of ours in each row in bold.";
        let selections = self.selections();
        let conditions: Vec<String> = selections
            .iter()
            .map(|selection| {
                let images = test_images(selection);
                let other = self.other_restarts(selection);
                format!("{}{images}{other}", selection.all_conditions())
            })
            .collect();
        format!("{what} {best} {}", conditions.join(" "))
    }

    /// How often k-means was begun, in words.
    fn restarts(&self) -> String {
        let groups = self.groups();
        let by = Selection { groups }.by(|l| l.run.record.cell.cluster_restarts.map(|n| thousands(n as u64)));
        if by.is_empty() { "restarts not recorded".into() } else { format!("best of {by} restarts") }
    }

    /// A sentence where k-means was not begun as often as in the paper.
    pub fn other_restarts(&self, selection: &Selection) -> String {
        let other = |group: &&Group| group.cell().cluster_restarts.is_some_and(|n| n != RESTARTS);
        if self.kind == Kind::Clusters && selection.groups.iter().any(other) {
            let by = selection.by(|l| l.run.record.cell.cluster_restarts.map(|n| thousands(n as u64)));
            format!(" Restarts of k-means: {by} instead of the paper's {}.", thousands(RESTARTS as u64))
        } else {
            String::new()
        }
    }

    /// What stands under it.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.remarks();
        for (_, sweep) in &self.sweeps {
            notes.extend(self.selection(sweep).missing());
        }
        notes
    }

    /// The same without the runs that are not in the numbers.
    pub fn remarks(&self) -> Vec<String> {
        let mut notes = self.source_notes();
        notes.extend(self.seed_notes());
        for group in self.groups() {
            let done = group.done().count();
            if let Estimate::Known { n, .. } = group.estimate(self.kind.metric())
                && n < group.done().filter(|l| l.final_value(self.kind.metric()).is_some()).count()
            {
                let name = group.name();
                notes.push(format!("{name}: undefined in {} and over {n} only.", count(done - n, "run")));
            }
            if self.kind == Kind::Fitted {
                notes.extend(unconverged(group));
            }
        }
        for (_, sweep) in &self.sweeps {
            notes.extend(self.data_notes(sweep));
        }
        notes
    }

    /// Where numbers that are not ours come from.
    fn source_notes(&self) -> Vec<String> {
        match self.kind {
            Kind::Classifier => vec![source_note(2)],
            Kind::Clusters => vec![format!(
                "paper: {}, Table 3, one run each. † transcribed from memory and not yet checked against the paper's PDF.",
                published().source
            )],
            Kind::Fitted | Kind::Error => Vec::new(),
        }
    }

    /// How many runs are in the numbers, where it is not one of each.
    fn seed_notes(&self) -> Option<String> {
        let mut counts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for group in self.groups() {
            if let Estimate::Known { n, .. } = group.estimate(self.kind.metric()) {
                counts.entry(n).or_default().push(group.name());
            }
        }
        let most = counts.values().map(Vec::len).max()?;
        let usual = counts.iter().find(|(_, names)| names.len() == most).map(|(n, _)| *n)?;
        if counts.len() == 1 {
            return (usual > 1).then(|| format!("n={usual} runs in each number."));
        }
        let others: Vec<String> = counts
            .iter()
            .filter(|(n, _)| **n != usual)
            .map(|(n, names)| format!("n={n}: {}", names.join(", ")))
            .collect();
        Some(format!("n={usual} runs in each number, but {}.", others.join("; ")))
    }

    /// Runs on different files, and what is to be known of the reference of raw pixels.
    fn data_notes(&self, sweep: &Sweep) -> Vec<String> {
        let mut notes = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for set in &self.sets {
            if seen.contains(&set.dataset.as_str()) {
                continue;
            }
            seen.push(&set.dataset);
            let groups = self.sets.iter().filter(|s| s.dataset == set.dataset).flat_map(|s| sweep.on(s));
            let groups: Vec<&Group> = groups.collect();
            let runs = || groups.iter().flat_map(|group| &group.runs);
            let mut digests: Vec<&str> =
                runs().filter_map(|l| l.run.record.provenance.data.as_deref()).collect();
            digests.sort_unstable();
            digests.dedup();
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            if digests.len() > 1 {
                let digests: Vec<String> = digests.iter().map(|digest| short(digest)).collect();
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
                    short(&pixels.data)
                ));
            }
            if self.kind == Kind::Fitted && !pixels.probe_converged {
                notes.push(format!(
                    "{}: the classifier of raw pixels had not converged after {} iterations.",
                    set.title(),
                    thousands(pixels.probe_iterations as u64)
                ));
            }
            if let (Kind::Clusters, Some(restarts)) = (self.kind, pixels.cluster_restarts) {
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

/// How many test images there were, in words.
fn test_images(selection: &Selection) -> String {
    let by = selection
        .by(|l| l.final_value(TEST_IMAGES).filter(|n| *n >= 1.0).map(|images| thousands(images as u64)));
    if by.is_empty() { by } else { format!(" Test images: {by}.") }
}

/// What stands in the cell of a configuration without a finished run.
fn unfinished(group: &Group) -> &'static str {
    let failed = |l: &Loaded| l.run.status.state == lerp_train::State::Failed;
    if group.runs.iter().all(failed) { "failed" } else { "unfinished" }
}

/// A sentence for each run whose fit ended too early.
fn unconverged(group: &Group) -> Vec<String> {
    let of_run = |loaded: &Loaded| {
        let converged = loaded.final_value("final/probe_converged")?;
        let after = loaded
            .final_value("final/probe_iterations")
            .map(|n| format!(" after {} iterations", thousands(n as u64)))
            .unwrap_or_default();
        (converged < 0.5).then(|| {
            let seed = loaded.run.record.cell.seed;
            format!("{}, seed {seed}: the classifier had not converged{after}.", group.name())
        })
    };
    group.done().filter_map(of_run).collect()
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
            .filter(|table| table.kind != Kind::Fitted || table.groups().iter().any(|g| g.has(FITTED)))
            .map(|table| table.part())
            .collect();
        (!parts.is_empty()).then(|| Sheet { id, title, parts, csv: csv(&chosen, sweep) })
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
