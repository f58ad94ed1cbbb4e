//! Table 1 and Table 1b, of interpolations between lines: cells, captions and notes.

use lerp_eval::{
    Better, LineReference, Quantity,
    quantity::{
        CLASSIFIER_ACCURACY, DETOUR, MEAN_DISTANCE, MEAN_SMOOTHNESS, MEAN_SMOOTHNESS_VALID,
        RECONSTRUCTION_MSE, VALID_FRACTION,
    },
};

use super::{
    columns,
    differences::{self, NEAR, common_seeds},
    frame::{Frame, FrameRow},
    sheet::{Detail, Entry, Sheet, Table, TableLine},
};
use crate::{
    paper::published,
    reading::{Estimate, RunGroup, Sweep},
    statistics::{BLACK, LineScores, NO_LINES, Standing, Standings, references},
    text::{count, few, fixed, names, thousands},
    verdicts::{Question, Selection, Verdict, verdict_notes},
};

/// A metric of Table 1.
pub struct LinesMetric {
    /// The measured quantity.
    pub of: &'static Quantity,
    /// The factor that a value is multiplied by when printed.
    pub factor: f64,
    /// The number of decimals printed.
    pub decimals: usize,
    /// Whether the paper has numbers for the metric. The lowest value of such a metric is the best.
    pub published: bool,
    /// Whether the metric is a column of the table. The CSV file has all metrics.
    pub column: bool,
}

/// All metrics, in the order of the columns.
pub static METRICS: [LinesMetric; 7] = [
    LinesMetric { of: &MEAN_DISTANCE, factor: 1e3, decimals: 2, published: true, column: true },
    LinesMetric { of: &MEAN_SMOOTHNESS, factor: 1.0, decimals: 2, published: true, column: true },
    LinesMetric { of: &DETOUR, factor: 1.0, decimals: 2, published: false, column: true },
    LinesMetric { of: &RECONSTRUCTION_MSE, factor: 1.0, decimals: 4, published: false, column: true },
    LinesMetric { of: &MEAN_SMOOTHNESS_VALID, factor: 1.0, decimals: 2, published: false, column: false },
    LinesMetric { of: &VALID_FRACTION, factor: 1.0, decimals: 2, published: false, column: false },
    LinesMetric { of: &CLASSIFIER_ACCURACY, factor: 1.0, decimals: 3, published: false, column: false },
];

impl LinesMetric {
    /// Returns the heading of the metric's column.
    pub fn heading(&self) -> String {
        let unit = if self.factor > 1.0 { " ×10⁻³" } else { "" };
        format!("{}{unit}", self.of.title)
    }

    /// Returns a shortened heading, for tables with little room.
    pub fn short(&self) -> String {
        self.heading().replacen("Mean d", "D", 1).replacen("Mean s", "S", 1)
    }
}

/// Returns the metrics that the paper has numbers for.
pub fn published_metrics() -> impl Iterator<Item = &'static LinesMetric> {
    METRICS.iter().filter(|metric| metric.published)
}

/// Returns the metrics that are columns of the table.
fn shown_metrics() -> impl Iterator<Item = &'static LinesMetric> {
    METRICS.iter().filter(|metric| metric.column)
}

/// Table 1 of one or more sweeps.
pub struct LinesTable<'a> {
    /// The rows, as pairs of a sweep and a configuration.
    pub groups: Vec<(&'a Sweep, &'a RunGroup)>,
    /// The comparison of the rows with the best one, for each metric that the paper has.
    standings: Vec<(&'static Quantity, Standings<'a>)>,
}

impl<'a> LinesTable<'a> {
    /// Builds the table of the configurations of `sweeps` on lines.
    pub fn new(sweeps: impl IntoIterator<Item = &'a Sweep>) -> Self {
        let groups = sweeps.into_iter().flat_map(|sweep| sweep.on(None).map(move |group| (sweep, group)));
        let groups: Vec<(&Sweep, &RunGroup)> = groups.collect();
        let all: Vec<&RunGroup> = groups.iter().map(|(_, group)| *group).collect();
        let standings = published_metrics().map(|metric| (metric.of, Standings::new(&all, metric.of)));
        Self { standings: standings.collect(), groups }
    }

    /// Returns the comparison of the rows with the best one, or `None` for a metric that the paper does not have.
    fn standings(&self, metric: &LinesMetric) -> Option<&Standings<'a>> {
        self.standings.iter().find(|(of, _)| *of == metric.of).map(|(_, standings)| standings)
    }

    /// Returns the headings of all columns.
    fn headings() -> Vec<String> {
        let mut headings = vec!["Variant".to_owned()];
        for metric in shown_metrics() {
            headings.push(metric.heading());
            if metric.published {
                headings.extend(["paper".into(), "vs paper".into()]);
            }
        }
        headings.extend(["Seeds".into(), "Samples".into()]);
        headings
    }

    /// Returns all rows; the first cell of each is its label.
    fn rows(&self) -> Vec<TableLine> {
        let row = |(_, group): &(&Sweep, &RunGroup)| {
            let mut row = vec![Entry::plain(group.label.clone())];
            for metric in shown_metrics() {
                row.push(self.entry(group, metric));
                if metric.published {
                    row.extend([
                        Entry::published(group.paper(metric.of), Detail::Full),
                        Entry::verdict(verdict(group, metric)),
                    ]);
                }
            }
            row.extend([seeds(group), samples(group)]);
            row.into()
        };
        self.groups.iter().map(row).collect()
    }

    /// Returns the rows of the reference interpolations, with as many cells as those of [`LinesTable::rows`].
    fn references() -> Vec<TableLine> {
        let row = |(reference, scores): &(LineReference, LineScores)| {
            let mut row = vec![Entry::paper(reference.title(), None)];
            for metric in shown_metrics() {
                row.push(reference_entry(scores, metric));
                if metric.published {
                    row.extend([Entry::dash(), Entry::dash()]);
                }
            }
            row.extend([Entry::dash(), Entry::dash()]);
            row.into()
        };
        references().iter().map(row).collect()
    }

    /// Returns the cell of a metric. Values that are equal as printed are equally good; the only row is not marked as
    /// best.
    pub fn entry(&self, group: &RunGroup, metric: &LinesMetric) -> Entry {
        let value = |v: f64| fixed(v * metric.factor, metric.decimals);
        let estimate = group.estimate(metric.of);
        let mut text = estimate.text(value);
        let standings = self.standings(metric);
        let lowest = standings.and_then(|all| all.best?.estimate(metric.of).mean());
        let best = self.groups.len() > 1
            && estimate.mean().zip(lowest).is_some_and(|(mean, lowest)| value(mean) == value(lowest));
        if !best && standings.is_some_and(|all| all.of(group).undecided()) {
            text += NEAR;
        }
        Entry { best, ..Entry::number(text, estimate.mean().map(|mean| mean * metric.factor)) }
    }

    /// Returns whether any number is marked as not distinguishable from the best.
    fn has_near(&self) -> bool {
        let near = |(_, all): &(&Quantity, Standings)| self.groups.iter().any(|(_, g)| all.of(g).undecided());
        self.standings.iter().any(near)
    }

    /// Returns the caption, without "Table 1".
    fn caption(&self) -> String {
        let mut caption = String::from(
            "Interpolation between 256 pairs of test lines; lower is better. Median of the last 20 of 256 evaluations of \
             each run (of a run with fewer, the same share, at least three), then mean ± standard deviation (divisor n) over seeds; n=1 has \
             none. Best mean distance and smoothness in bold.",
        );
        if self.has_near() {
            caption += " ≈: not to be told apart from the best (Table 1b).";
        }
        caption
    }

    /// Returns the notes under the table of one sweep.
    fn notes(&self, sweep: &Sweep) -> Vec<String> {
        let mut notes = vec![source_note(1), REFERENCES.to_owned()];
        notes.extend(verdict_notes(&self.verdicts()));
        notes.extend(self.too_few_note());
        let black: Vec<&str> =
            self.groups.iter().filter(|(_, g)| draws_black(g)).map(|(_, g)| g.label.as_str()).collect();
        if !black.is_empty() {
            notes.push(format!(
                "{}: about as far from any line as a black image is ({:.1} ×10⁻³) or farther, so smoothness and \
                 detour say nothing yet.",
                names(&black),
                BLACK * 1e3
            ));
        }
        let of_groups = self.groups.iter().flat_map(|(_, group)| group_notes(group)).collect();
        notes.extend(few(of_groups, "notes on other rows"));
        notes.extend(sweep.missing_notes(&sweep.lines()));
        notes
    }
}

/// Returns the cell of a reference interpolation's value of a metric, or a dash if it has none.
pub fn reference_entry(scores: &LineScores, metric: &LinesMetric) -> Entry {
    let value = score(scores, metric.of).map(|value| value * metric.factor);
    Entry::paper(value.map_or("–".into(), |value| fixed(value, metric.decimals)), value)
}

/// Returns a reference interpolation's value of a metric, or `None` if it has none.
fn score(scores: &LineScores, metric: &Quantity) -> Option<f64> {
    match metric {
        metric if *metric == MEAN_DISTANCE => Some(scores.distance),
        metric if *metric == MEAN_SMOOTHNESS => Some(scores.smoothness),
        metric if *metric == DETOUR => Some(scores.detour),
        _ => None,
    }
}

/// The note on the rows of reference interpolations.
pub const REFERENCES: &str = "The last three rows come from no model and show what values are possible, over 256 pairs. Pixel blend: the mixed \
    pixels of both lines, as a linear decoder gives them. Perfect circle: true lines whose latents lie on a circle and are mixed \
    linearly; the decoder uses the direction of a latent alone. Perfect path: true lines that turn evenly.";

/// Returns the verdict on a number against the paper's, or `None` if either is missing.
pub fn verdict(group: &RunGroup, metric: &LinesMetric) -> Option<Verdict> {
    let paper = group.paper(metric.of)?;
    let mut deviations = Selection { groups: vec![group] }.deviations();
    if *metric.of != MEAN_DISTANCE && draws_black(group) {
        deviations.measured.push("images hardly better than black ones".into());
    }
    let ours = group.estimate(metric.of);
    Question { ours, paper, factor: metric.factor, better: Better::Lower, deviations: &deviations }.verdict()
}

/// Returns the cell of the number of finished seeds of a row.
pub fn seeds(group: &RunGroup) -> Entry {
    let (done, all) = (group.done().count(), group.runs.len());
    let text = if done == all { format!("n={all}") } else { format!("n={done} of {all}") };
    Entry::number(text, done as f64)
}

/// Returns the cell of the number of training samples of a run.
pub fn samples(group: &RunGroup) -> Entry {
    let known = group.cell().known_samples();
    known.map_or_else(Entry::dash, |samples| Entry::number(thousands(samples), samples as f64))
}

/// Returns the note on the source of a table's published numbers and on how far they have been checked.
pub fn source_note(table: usize) -> String {
    let confirmed = match table {
        2 => "; where there is no †, a second source confirms the mean, but not its standard deviation",
        _ => "",
    };
    format!(
        "paper: {}, Table {table}. † transcribed from memory and not yet checked against the paper's PDF{confirmed}.",
        published().source
    )
}

/// Returns the sheet with Table 1, and with Table 1b if there are enough seeds, or `None` if no run is on lines.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let table = LinesTable::new([sweep]);
    if table.groups.is_empty() {
        return None;
    }
    let main = Table {
        name: "Table 1".into(),
        caption: table.caption(),
        label: "tab:lines".into(),
        headings: LinesTable::headings(),
        left: 1,
        lines: table.rows().into_iter().chain(LinesTable::references()).collect(),
        notes: table.notes(sweep),
        ..Table::about(sweep, &sweep.lines().groups)
    };
    let differences = table.differences().map(|(headings, rows)| Table {
        name: "Table 1b".into(),
        caption: differences::CAPTION.into(),
        label: "tab:lines-differences".into(),
        headings,
        left: 1,
        lines: rows.into_iter().map(TableLine::from).collect(),
        notes: table.fewest().and_then(differences::coarse_note).into_iter().collect(),
        provenance: main.provenance.clone(),
        ..Table::default()
    });
    let tables = std::iter::once(main).chain(differences).collect();
    Some(Sheet { id: "table1", title: "Table 1", tables, data: table.data(sweep) })
}

impl LinesTable<'_> {
    /// Returns all verdicts, each with the label of its row.
    pub fn verdicts(&self) -> Vec<(String, Verdict)> {
        let of = |(_, group): &(&Sweep, &RunGroup)| {
            let verdict = |metric| Some((group.label.clone(), verdict(group, metric)?));
            published_metrics().filter_map(verdict).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// Returns the fewest seeds behind any difference in Table 1b.
    pub fn fewest(&self) -> Option<usize> {
        self.standings.iter().filter_map(|(_, all)| all.fewest()).min()
    }

    /// Returns a note if some rows have too few seeds in common with the best and no difference is known.
    pub fn too_few_note(&self) -> Option<String> {
        let all: Vec<&Standings> = self.standings.iter().map(|(_, all)| all).collect();
        differences::too_few_note(&all)
    }

    /// Returns the headings and rows of Table 1b, which compares each row with the best, or `None` if no two rows have
    /// enough seeds in common.
    pub fn differences(&self) -> Option<(Vec<String>, Vec<Vec<Entry>>)> {
        if !self.standings.iter().any(|(_, all)| all.any()) {
            return None;
        }
        let mut headings = vec!["Variant".to_owned()];
        for metric in published_metrics() {
            let name = metric.short();
            let (name, unit) =
                name.split_once(" ×").map_or((name.as_str(), ""), |(name, _)| (name, " ×10⁻³"));
            headings.extend([format!("{name} − best{unit}"), "better".into()]);
        }
        headings.push("Seeds".into());
        let row = |(_, group): &(&Sweep, &RunGroup)| {
            let standings: Vec<(&LinesMetric, Standing)> = METRICS
                .iter()
                .filter_map(|metric| Some((metric, self.standings(metric)?.of(group))))
                .collect();
            let mut row = vec![Entry::plain(group.label.clone())];
            for (metric, standing) in &standings {
                row.extend([standing.difference(metric.factor, metric.decimals), standing.share()]);
            }
            row.push(common_seeds(standings.iter().map(|(_, standing)| *standing)));
            row
        };
        Some((headings, self.groups.iter().map(row).collect()))
    }

    /// Returns one row for each configuration and metric, followed by the reference interpolations. Means are empty
    /// where no run is finished and NaN where the metric is undefined.
    ///
    /// Mean distances, ours and the paper's, are not scaled by 10³.
    fn data(&self, sweep: &Sweep) -> Frame {
        let own = ["variant", "label", "metric", "mean", "std", "seeds"].into_iter();
        let shared = own.chain(columns::CONDITIONS).chain(columns::VERDICT);
        let mut frame = Frame::new(shared.chain(columns::STANDING));
        for (_, group) in &self.groups {
            let provenance = sweep.provenance(&[group]);
            for metric in &METRICS {
                let mut row: FrameRow = vec![
                    ("variant", group.cell().variant.as_str().into()),
                    ("label", group.label.as_str().into()),
                    ("metric", metric.of.name().into()),
                ];
                row.extend(columns::estimate(group.estimate(metric.of)));
                row.extend(columns::conditions(group.cell()));
                row.extend(columns::verdict(group.paper(metric.of), metric.factor, verdict(group, metric)));
                row.extend(columns::standing(self.standings(metric), group));
                frame.push(row, Some(&provenance));
            }
        }
        for (reference, scores) in references() {
            for metric in &METRICS {
                let Some(value) = score(scores, metric.of) else { continue };
                let row = vec![
                    ("variant", "reference".into()),
                    ("label", reference.title().into()),
                    ("metric", metric.of.name().into()),
                    ("mean", value.into()),
                ];
                frame.push(row, None);
            }
        }
        frame
    }
}

/// Returns whether the images of a row are hardly closer to lines than black images are.
fn draws_black(group: &RunGroup) -> bool {
    group.estimate(&MEAN_DISTANCE).mean().is_some_and(|mean| mean > NO_LINES)
}

/// Returns the notes without which a row's numbers could mislead.
fn group_notes(group: &RunGroup) -> Vec<String> {
    let mut notes = Vec::new();
    let (label, done) = (&group.label, group.done().count());
    for metric in shown_metrics() {
        if let Estimate::Known { n, .. } = group.estimate(metric.of)
            && n < done
        {
            let left = count(done - n, "run");
            notes.push(format!("{label}: {} is undefined in {left} and over {n} only.", metric.heading()));
        }
    }
    if draws_black(group) {
        return notes;
    }
    if let (Some(part), Some(valid)) =
        (group.estimate(&VALID_FRACTION).mean(), group.estimate(&MEAN_SMOOTHNESS_VALID).mean())
        && part < 0.95
    {
        notes.push(format!(
            "{label}: {:.0} % of its interpolations do not turn, which the paper's mean counts as perfectly smooth; \
             the smoothness of the others is {valid:.2}.",
            100.0 * (1.0 - part)
        ));
    }
    notes
}
