//! Table 1: what its cells, caption and notes say; `formats`, `page` and `terminal` set it.

use std::fmt::Write;

use crate::{
    published::published,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Estimate, Group, Sweep},
    text::{self, count, fixed, thousands},
};

/// A metric of the table.
pub struct Metric {
    /// Name behind `eval/` in a run's metrics.
    pub name: &'static str,
    /// Heading of its column.
    pub heading: &'static str,
    /// What a value is multiplied by.
    pub factor: f64,
    /// Decimals printed.
    pub decimals: usize,
    /// Whether the paper has numbers for it; the lowest is then the best.
    pub published: bool,
    /// Whether it is a column; all are in the CSV file.
    pub column: bool,
}

/// All metrics, in the order of columns.
pub const METRICS: [Metric; 7] = [
    metric("mean_distance", "Mean distance ×10⁻³", 1e3, 2, true, true),
    metric("mean_smoothness", "Mean smoothness", 1.0, 2, true, true),
    metric("detour", "Detour", 1.0, 2, false, true),
    metric("reconstruction_mse", "Reconstruction MSE", 1.0, 4, false, true),
    metric("mean_smoothness_valid", "Smoothness, valid only", 1.0, 2, false, false),
    metric("valid_fraction", "Valid fraction", 1.0, 2, false, false),
    metric("classifier_accuracy", "Classifier accuracy", 1.0, 3, false, false),
];

impl Metric {
    /// Name in a run's metrics.
    fn key(&self) -> String {
        format!("eval/{}", self.name)
    }
}

const fn metric(
    name: &'static str,
    heading: &'static str,
    factor: f64,
    decimals: usize,
    published: bool,
    column: bool,
) -> Metric {
    Metric { name, heading, factor, decimals, published, column }
}

/// Mean distance of an all-black image: a model beyond five sixths of it draws nothing yet.
pub const BLACK: f64 = 0.0307;

/// Table 1 of one or more sweeps.
pub struct Table<'a> {
    /// The rows: sweep and configuration.
    pub groups: Vec<(&'a Sweep, &'a Group)>,
}

impl<'a> Table<'a> {
    /// The table of `sweeps`, on lines.
    pub fn new(sweeps: impl IntoIterator<Item = &'a Sweep>) -> Self {
        let groups = sweeps.into_iter().flat_map(|sweep| sweep.on_lines().map(move |group| (sweep, group)));
        Self { groups: groups.collect() }
    }

    /// Headings of all columns.
    pub fn headings() -> Vec<String> {
        let mut headings = vec!["Variant".to_owned()];
        for metric in METRICS.iter().filter(|m| m.column) {
            headings.push(metric.heading.into());
            if metric.published {
                headings.push("paper".into());
            }
        }
        headings.extend(["Seeds".into(), "Samples".into()]);
        headings
    }

    /// All rows, the first entry the label.
    pub fn rows(&self) -> Vec<Vec<Entry>> {
        let row = |(_, group): &(&Sweep, &Group)| {
            let mut row = vec![Entry::plain(group.label.clone())];
            for metric in METRICS.iter().filter(|m| m.column) {
                row.push(self.entry(group, metric));
                if metric.published {
                    row.push(paper(group, metric));
                }
            }
            row.push(Entry::plain(seeds(group)));
            row.push(Entry::plain(thousands(group.cell().samples)));
            row
        };
        self.groups.iter().map(row).collect()
    }

    /// The value of a metric. Equal printed values are equally good; the only row is not the best of anything.
    pub fn entry(&self, group: &Group, metric: &Metric) -> Entry {
        let value = |v: f64| fixed(v * metric.factor, metric.decimals);
        let estimate = group.estimate(&metric.key());
        let text = match estimate {
            Estimate::Missing => "–".into(),
            Estimate::Undefined => "undefined".into(),
            Estimate::Known { mean, n: 1, .. } => value(mean),
            Estimate::Known { mean, std, .. } => format!("{} ± {}", value(mean), value(std)),
        };
        let means = self.groups.iter().filter_map(|(_, g)| g.estimate(&metric.key()).mean());
        let lowest = means.fold(f64::INFINITY, f64::min);
        let best = metric.published
            && self.groups.len() > 1
            && estimate.mean().is_some_and(|mean| value(mean) == value(lowest));
        Entry { text, best, paper: false }
    }

    /// The caption, without "Table 1".
    pub fn caption(sweep: &Sweep) -> String {
        let mut caption = String::from(
            "Interpolation between 256 pairs of test lines; lower is better. Median of the last 20 of 256 evaluations of \
             each run (of the same share, at least 3, of fewer), then mean ± standard deviation (divisor n) over seeds; n=1 has \
             none. Best mean distance and smoothness in bold. ",
        );
        caption += &sweep.lines().all_conditions();
        caption
    }

    /// What stands under the table.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![source_note(1)];
        let black: Vec<&str> =
            self.groups.iter().filter(|(_, g)| draws_black(g)).map(|(_, g)| g.label.as_str()).collect();
        if !black.is_empty() {
            notes.push(format!(
                "{}: about as far from any line as a black image is ({:.1} ×10⁻³) or farther, so smoothness and \
                 detour say nothing yet.",
                black.join(", "),
                BLACK * 1e3
            ));
        }
        for (_, group) in &self.groups {
            notes.extend(group_notes(group));
        }
        let mut seen: Vec<&Sweep> = Vec::new();
        for (sweep, _) in &self.groups {
            if !seen.iter().any(|s| std::ptr::eq(*s, *sweep)) {
                seen.push(sweep);
                notes.extend(sweep.lines().missing());
            }
        }
        notes
    }
}

/// The paper's number beside ours.
pub fn paper(group: &Group, metric: &Metric) -> Entry {
    let number = published().lines(metric.name, &group.cell().variant);
    Entry::paper(number.map_or("–".into(), |number| number.text(false)))
}

/// How many seeds are in the numbers of a row.
pub fn seeds(group: &Group) -> String {
    match (group.done().count(), group.runs.len()) {
        (done, all) if done == all => format!("n={all}"),
        (done, all) => format!("n={done} of {all}"),
    }
}

/// Where the published numbers of a table come from and how far they are checked.
pub fn source_note(table: usize) -> String {
    format!(
        "paper: {}, Table {table}. † transcribed from memory and not yet checked against the paper's PDF; where there is \
         no †, a second source confirms the mean, but not its standard deviation.",
        published().source
    )
}

/// Table 1 of a sweep; none if nothing is on lines.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let table = Table::new([sweep]);
    let part = Part {
        name: "Table 1".into(),
        caption: Table::caption(sweep),
        label: "tab:lines",
        wide: false,
        headings: Table::headings(),
        left: 1,
        lines: table.rows().into_iter().map(|cells| Line { cells, first: false }).collect(),
        notes: table.notes(),
    };
    let sheet = Sheet { id: "table1", title: "Table 1", parts: vec![part], csv: csv(sweep) };
    (!table.groups.is_empty()).then_some(sheet)
}

/// One line for each row and metric, plain numbers: empty where no run is finished, `NaN` where undefined.
///
/// Mean distances are not scaled, neither ours nor the paper's.
fn csv(sweep: &Sweep) -> String {
    let mut out = String::from(
        "variant,label,metric,mean,std,seeds,samples,learning_rate,published_mean,published_std,published_mean_checked\n",
    );
    for group in sweep.on_lines() {
        for metric in &METRICS {
            let (mean, std, seeds) = group.estimate(&metric.key()).fields();
            let cell = group.cell();
            // Rounded, since dividing by 1000 is not exact.
            let unscaled = |v: f64| text::number((v / metric.factor * 1e9).round() / 1e9);
            let paper = published().lines(metric.name, &cell.variant).map_or(",,".into(), |n| {
                let std = n.std.map(unscaled).unwrap_or_default();
                format!("{},{std},{}", unscaled(n.mean), n.mean_checked)
            });
            let _ = writeln!(
                out,
                "{},{},{},{mean},{std},{seeds},{},{},{paper}",
                text::csv(&cell.variant),
                text::csv(&group.label),
                metric.name,
                cell.samples,
                text::number(cell.learning_rate)
            );
        }
    }
    out
}

/// Whether the images of a row are hardly better than black ones.
fn draws_black(group: &Group) -> bool {
    group.estimate("eval/mean_distance").mean().is_some_and(|mean| mean > BLACK / 1.2)
}

/// What a reader of a row must know to not be misled by it.
fn group_notes(group: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    let (label, done) = (&group.label, group.done().count());
    for metric in METRICS.iter().filter(|m| m.column) {
        if let Estimate::Known { n, .. } = group.estimate(&metric.key())
            && n < done
        {
            let left = count(done - n, "run");
            notes.push(format!("{label}: {} is undefined in {left} and over {n} only.", metric.heading));
        }
    }
    if draws_black(group) {
        return notes;
    }
    if let (Some(part), Some(valid)) =
        (group.estimate("eval/valid_fraction").mean(), group.estimate("eval/mean_smoothness_valid").mean())
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
