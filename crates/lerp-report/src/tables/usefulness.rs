//! The tables of rank correlations: of interpolation and usefulness, and of a judge's scores and the truth on lines.

use lerp_eval::{Association, Interval, Quantity};

use super::{
    columns,
    frame::{Frame, FrameRow},
    sheet::{Entry, Sheet, Table, TableLine},
};
use crate::{
    reading::{RunGroup, Sweep, dataset_of, distinct, title_of},
    statistics::{Analysis, INTERPOLATION, Interpolation, MeasuredOn, Pairs, Pooled, USEFULNESS, Untested},
    text::{p_value, signed, thousands},
};

/// Returns the tables, or `None` if there is nothing to correlate.
pub fn sheet(analysis: &Analysis) -> Option<Sheet> {
    let (sweep, all, scores) = (analysis.sweep, &analysis.pairs, Pairs::scores(analysis.sweep));
    let mut usefulness: Vec<Correlated> = all.iter().map(Correlated::of).collect();
    for x in INTERPOLATION {
        for y in USEFULNESS {
            let pooled = Pooled::of(all, x.metric, y).filter(|pooled| pooled.sets > 1);
            usefulness.extend(pooled.map(|pooled| Correlated::pooled(pooled, x, y)));
        }
    }
    let scores: Vec<Correlated> = scores.iter().map(Correlated::of).collect();
    let mut data = Frame::new([
        "dataset",
        "latent_dims",
        "interpolation",
        "interpolation_on",
        "usefulness",
        "over",
        "rho",
        "low",
        "high",
        "p",
        "points",
        "to_tell",
    ]);
    let mut tables = Vec::new();
    for (correlated, text) in [(usefulness, &USEFUL), (scores, &SCORED)] {
        if !correlated.is_empty() {
            for correlated in &correlated {
                correlated.push_to(&mut data, sweep);
            }
            tables.push(table(sweep, &correlated, text));
        }
    }
    let (id, title) = ("usefulness", "Usefulness and interpolation");
    (!tables.is_empty()).then_some(Sheet { id, title, tables, data })
}

/// The fixed texts of a table.
struct TableText {
    name: &'static str,
    /// The LaTeX label.
    label: &'static str,
    caption: &'static str,
    headings: [&'static str; 7],
}

const USEFUL: TableText = TableText {
    name: "Usefulness",
    label: "tab:usefulness",
    caption: "Do better interpolations go with more useful latents? Spearman's rank correlation of how good a variant's \
    interpolation is and how useful its latents are: +1 where the best is the best, −1 where it is the worst. Interpolation: Table 5's \
    scores on the same images, or Table 1's of the same variant on lines; usefulness: the fitted classifier (Table 2b) and clusters \
    (Table 3). Over variants (means over seeds) with a permutation test, and from ten on a bootstrap interval; over all image sets by \
    the variants' mean ranks; over runs, which are not independent of each other, without a test. Needed: about how many variants \
    would show such a correlation to be significant in four of five cases. P-values are not corrected for multiple tests. A variant with several configurations \
    is left out.",
    headings: ["Dataset, latent", "Interpolation", "Usefulness", "Over variants", "p", "Over runs", "Needed"],
};
const SCORED: TableText = TableText {
    name: "The score on lines",
    label: "tab:score",
    caption: "Does a judge's score measure what it claims? On lines the truth is known: Spearman's rank correlation of the \
    score and the true metric, both turned so that more is better, over variants (means over seeds), over runs, and over all evaluations of \
    all runs. Points of one run are not independent, so only variants have a p-value.",
    headings: ["Dataset, latent", "Score", "Truth", "Over variants", "p", "Over runs", "Over evaluations"],
};

fn table(sweep: &Sweep, correlated: &[Correlated], text: &TableText) -> Table {
    let groups = distinct(correlated.iter().flat_map(|correlated| correlated.groups.iter().copied()));
    Table {
        name: text.name.into(),
        caption: text.caption.into(),
        label: text.label.into(),
        headings: text.headings.map(String::from).to_vec(),
        left: 3,
        lines: correlated.iter().map(Correlated::line).collect(),
        ..Table::about(sweep, &groups)
    }
}

/// Two metrics on one dataset, or over all image sets together, with their correlations.
struct Correlated<'a> {
    /// The title of the dataset.
    dataset_title: String,
    /// Its name in files.
    dataset: &'a str,
    /// The latent dimensionality; `None` for lines and for all image sets together.
    dims: Option<usize>,
    /// The interpolation metric, or the judge's score.
    x: Interpolation,
    /// The metric of usefulness, or the true metric.
    y: &'static Quantity,
    /// The configurations that the correlations are over.
    groups: Vec<&'a RunGroup>,
    variants: Option<Association>,
    runs: Option<Untested>,
    evaluations: Option<Untested>,
}

impl<'a> Correlated<'a> {
    /// Correlates a pair of metrics.
    fn of(pairs: &Pairs<'a>) -> Self {
        Self {
            dataset_title: title_of(pairs.set),
            dataset: dataset_of(pairs.set),
            dims: pairs.set.map(|set| set.dims),
            x: pairs.x,
            y: pairs.y,
            groups: pairs.configurations().collect(),
            variants: pairs.over_variants(),
            runs: pairs.over_runs(),
            // Only the table of scores on lines has a column for it.
            evaluations: if pairs.set.is_none() { pairs.over_evaluations() } else { None },
        }
    }

    /// Returns the correlation of two metrics over all image sets.
    fn pooled(Pooled { found, groups, .. }: Pooled<'a>, x: Interpolation, y: &'static Quantity) -> Self {
        let (dataset_title, variants) = ("all, by mean ranks".into(), Some(found));
        Self {
            dataset_title,
            dataset: "all",
            dims: None,
            x,
            y,
            groups,
            variants,
            runs: None,
            evaluations: None,
        }
    }

    fn line(&self) -> TableLine {
        // The table of scores on lines ends with the correlation over evaluations, that of usefulness with the number of
        // variants needed.
        let variants = self.variants.as_ref();
        let last = self
            .evaluations
            .map(untested)
            .or_else(|| variants.filter(|_| !self.on_lines()).map(needed_variants));
        [
            Some(Entry::plain(self.dataset_title.clone())),
            Some(Entry::plain(self.x.title())),
            Some(Entry::plain(self.y.title.to_lowercase())),
            variants.map(with_interval),
            variants.map(|found| Entry::number(p_value(found.p), found.p)),
            self.runs.map(untested),
            last,
        ]
        .into_iter()
        .map(|entry| entry.unwrap_or_else(Entry::dash))
        .collect()
    }

    fn on_lines(&self) -> bool {
        self.dataset == dataset_of(None)
    }

    /// Adds a row for each correlation.
    fn push_to(&self, data: &mut Frame, sweep: &Sweep) {
        let provenance = sweep.provenance(&self.groups);
        let untested = |found: Untested| (found.rho, found.points, None);
        let variants = self.variants.map(|found| (found.rho, found.points, Some(found)));
        let all = [
            ("variants", variants),
            ("runs", self.runs.map(untested)),
            ("evaluations", self.evaluations.map(untested)),
        ];
        for (over, found) in all {
            let Some((rho, points, tested)) = found else { continue };
            let on = if self.x.on == MeasuredOn::Lines { "lines" } else { "the same images" };
            let mut row: FrameRow = vec![
                ("dataset", self.dataset.into()),
                ("latent_dims", self.dims.into()),
                ("interpolation", self.x.metric.name().into()),
                ("interpolation_on", on.into()),
                ("usefulness", self.y.name().into()),
                ("over", over.into()),
                ("rho", rho.into()),
                ("p", tested.map(|found| found.p).into()),
                ("points", points.into()),
                ("to_tell", tested.and_then(|found| found.points_needed).into()),
            ];
            row.extend(columns::interval(tested.and_then(|found| found.interval)));
            data.push(row, Some(&provenance));
        }
    }
}

/// Returns the cell of a correlation with its interval.
fn with_interval(found: &Association) -> Entry {
    let interval =
        found.interval.map(|Interval { low, high }| format!(" [{}, {}]", signed(low, 2), signed(high, 2)));
    let text = format!("{}{} (n={})", signed(found.rho, 2), interval.unwrap_or_default(), found.points);
    Entry::number(text, found.rho)
}

/// Returns the cell of the number of variants that would show such a correlation to be significant.
fn needed_variants(found: &Association) -> Entry {
    match found.points_needed {
        _ if found.p < 0.05 => Entry::dash(),
        Some(many) => Entry::number(format!("{} variants", thousands(many as u64)), many as f64),
        None => Entry::plain("more than can be told"),
    }
}

/// Returns the cell of a correlation without a test.
fn untested(found: Untested) -> Entry {
    Entry::number(format!("{} (n={})", signed(found.rho, 2), thousands(found.points as u64)), found.rho)
}
