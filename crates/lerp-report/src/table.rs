//! Table 1: what its cells, caption and notes say; `formats` and `terminal` set it.

use serde::Serialize;

use crate::{
    published::{Number, published},
    summary::{Estimate, Group, Sweep},
    text::{count, fixed, thousands},
};

/// A metric of the table.
pub struct Metric {
    /// Name behind `eval/`.
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
const BLACK: f64 = 0.0307;

/// What a cell of the table says, before it is set in a format.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The text.
    pub text: String,
    /// Whether it is the best of its column.
    pub best: bool,
}

impl Entry {
    /// One that is not the best.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), best: false }
    }
}

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
                    row.push(Entry::plain(paper(group, metric)));
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
        let estimate = group.estimate(metric.name);
        let text = match estimate {
            Estimate::Missing => "–".into(),
            Estimate::Undefined => "undefined".into(),
            Estimate::Known { mean, n: 1, .. } => value(mean),
            Estimate::Known { mean, std, .. } => format!("{} ± {}", value(mean), value(std)),
        };
        let means = self.groups.iter().filter_map(|(_, g)| g.estimate(metric.name).mean());
        let lowest = means.fold(f64::INFINITY, f64::min);
        let best = metric.published
            && self.groups.len() > 1
            && estimate.mean().is_some_and(|mean| value(mean) == value(lowest));
        Entry { text, best }
    }

    /// The caption, without "Table 1".
    pub fn caption(sweep: &Sweep) -> String {
        let mut caption = String::from(
            "Interpolation between 256 pairs of test lines; lower is better. Median of the last 20 of 256 evaluations of \
             each run (of the same share, at least 3, of fewer), then mean ± standard deviation (divisor n) over seeds; n=1 has \
             none. Best mean distance and smoothness in bold. ",
        );
        caption += &sweep.conditions();
        if let Some(sentence) = sweep.unlike_the_paper() {
            caption += " ";
            caption += &sentence;
        }
        caption
    }

    /// What stands under the table.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![source_note()];
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
                notes.extend(sweep.missing());
            }
        }
        notes
    }
}

/// The paper's number beside ours.
pub fn paper(group: &Group, metric: &Metric) -> String {
    match published().lines(metric.name, &group.cell().variant) {
        Some(Number { mean, std, mean_checked }) => {
            format!("{mean:.2} ± {std:.2}{}", if mean_checked { "" } else { "†" })
        }
        None => "–".into(),
    }
}

/// How many seeds are in the numbers of a row.
pub fn seeds(group: &Group) -> String {
    match (group.done().count(), group.runs.len()) {
        (done, all) if done == all => format!("n={all}"),
        (done, all) => format!("n={done} of {all}"),
    }
}

/// Where the published numbers come from and how far they are checked.
pub fn source_note() -> String {
    format!(
        "paper: {}. † transcribed from memory and not yet checked against the paper's PDF; where there is no †, a \
         second source confirms the mean, but not its standard deviation.",
        published().source
    )
}

/// Whether the images of a row are hardly better than black ones.
fn draws_black(group: &Group) -> bool {
    group.estimate("mean_distance").mean().is_some_and(|mean| mean > BLACK / 1.2)
}

/// What a reader of a row must know to not be misled by it.
fn group_notes(group: &Group) -> Vec<String> {
    let mut notes = Vec::new();
    let (label, done) = (&group.label, group.done().count());
    for metric in METRICS.iter().filter(|m| m.column) {
        if let Estimate::Known { n, .. } = group.estimate(metric.name)
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
        (group.estimate("valid_fraction").mean(), group.estimate("mean_smoothness_valid").mean())
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
