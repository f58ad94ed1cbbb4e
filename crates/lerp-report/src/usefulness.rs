//! Rank correlations between interpolation quality and the usefulness of latents (the paper's section 5), and between a
//! judge's scores on lines and the true metrics; over variants and over runs.

use std::collections::HashMap;

use lerp_eval::{
    Association, Better, Quantity,
    quantity::{
        CLUSTER_ACCURACY, DETOUR, JUDGED_DETOUR, JUDGED_DISTANCE, JUDGED_PRECISION, JUDGED_SMOOTHNESS,
        MEAN_DISTANCE, MEAN_SMOOTHNESS, PROBE_ACCURACY,
    },
    rank_correlation, spearman, within_groups,
};
use lerp_train::{MetricRow, Run};
use polars::prelude::DataType;

use crate::{
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Group, Loaded, Sweep, distinct},
    text::{fixed, number, signed, thousands, two_digits},
};

/// Where the interpolation metric of a pair is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasuredOn {
    /// In the same run as the other metric.
    Itself,
    /// In the runs on lines of the same variant, by their mean.
    Lines,
}

/// An interpolation metric, with where it is measured.
#[derive(Debug, Clone, Copy)]
struct Interpolation {
    metric: &'static Quantity,
    of: MeasuredOn,
}

/// The interpolation metrics.
static INTERPOLATION: [Interpolation; 4] = [
    Interpolation { metric: &JUDGED_DISTANCE, of: MeasuredOn::Itself },
    Interpolation { metric: &JUDGED_SMOOTHNESS, of: MeasuredOn::Itself },
    Interpolation { metric: &MEAN_DISTANCE, of: MeasuredOn::Lines },
    Interpolation { metric: &MEAN_SMOOTHNESS, of: MeasuredOn::Lines },
];
/// The metrics of usefulness.
static USEFULNESS: [&Quantity; 2] = [&PROBE_ACCURACY, &CLUSTER_ACCURACY];
/// Pairs of a judge's score on lines and the true metric that it should stand for.
static SCORES: [(&Quantity, &Quantity); 4] = [
    (&JUDGED_DISTANCE, &MEAN_DISTANCE),
    (&JUDGED_PRECISION, &MEAN_DISTANCE),
    (&JUDGED_SMOOTHNESS, &MEAN_SMOOTHNESS),
    (&JUDGED_DETOUR, &DETOUR),
];

/// The points of one configuration in a scatter plot.
pub struct GroupPoints<'a> {
    /// The configuration.
    pub group: &'a Group,
    /// A pair of values for each finished run that has both.
    pub points: Vec<(f64, f64)>,
}

/// A pair of metrics, with their values in all runs of one place.
pub struct Pairs<'a> {
    /// The image set; `None` for lines.
    pub set: Option<&'a Set>,
    /// The interpolation metric, or the judge's score.
    pub x: &'static Quantity,
    /// Where the interpolation metric is measured.
    pub of: MeasuredOn,
    /// The metric of usefulness, or the true metric.
    pub y: &'static Quantity,
    /// The configurations that have both values.
    pub groups: Vec<GroupPoints<'a>>,
}

/// Returns the value, negated if lower is better, so that higher is always better.
fn good(quantity: &Quantity, value: f64) -> f64 {
    if quantity.better == Better::Lower { -value } else { value }
}

impl<'a> Pairs<'a> {
    /// Collects the values of an interpolation metric and of `y` on `set`.
    fn new(
        sweep: &'a Sweep,
        set: Option<&'a Set>,
        interpolation: Interpolation,
        y: &'static Quantity,
    ) -> Self {
        let Interpolation { metric: x, of } = interpolation;
        let value = |loaded: &Loaded, of: &Quantity| loaded.final_value(&of.key).filter(|v| v.is_finite());
        // A variant with several configurations is left out, since it is not clear which one to use.
        let only = |variant: &str, set: Option<&Set>| {
            let here = |group: &&Group| group.set.as_ref() == set && group.cell().variant == variant;
            let mut own = sweep.groups.iter().filter(here);
            let (first, others) = (own.next(), own.next());
            first.filter(|_| others.is_none())
        };
        let points = |group: &'a Group| {
            let lines = only(&group.cell().variant, None).filter(|_| of == MeasuredOn::Lines);
            let lines = lines.and_then(|lines| lines.estimate(x).mean());
            let point = |loaded: &Loaded| {
                let x = if of == MeasuredOn::Lines { lines } else { value(loaded, x) };
                Some((x?, value(loaded, y)?))
            };
            GroupPoints { group, points: group.done().filter_map(point).collect() }
        };
        let alone = |group: &&Group| only(&group.cell().variant, set).is_some();
        let groups = sweep.groups.iter().filter(|group| group.set.as_ref() == set).filter(alone).map(points);
        Self { set, x, of, y, groups: groups.filter(|found| !found.points.is_empty()).collect() }
    }

    /// Returns all pairs of an interpolation metric and a metric of usefulness that three configurations have, in the
    /// order of the table.
    pub fn all(sweep: &'a Sweep) -> Vec<Self> {
        let mut all = Vec::new();
        for set in sweep.sets() {
            for interpolation in INTERPOLATION {
                all.extend(USEFULNESS.map(|y| Self::new(sweep, Some(set), interpolation, y)));
            }
        }
        all.retain(|pairs| pairs.groups.len() > 2);
        all
    }

    /// Returns the pairs of a judge's score and the true metric on lines that three configurations have.
    fn scores(sweep: &'a Sweep) -> Vec<Self> {
        let pair = |(x, y)| Self::new(sweep, None, Interpolation { metric: x, of: MeasuredOn::Itself }, y);
        let mut all: Vec<Self> = SCORES.map(pair).into_iter().collect();
        all.retain(|pairs| pairs.groups.len() > 2);
        all
    }

    /// Keeps only the configurations for which `of` returns true.
    #[must_use]
    pub fn keep(mut self, of: impl Fn(&Group) -> bool) -> Self {
        self.groups.retain(|points| of(points.group));
        self
    }

    /// Returns whether the figure of usefulness shows this pair.
    pub fn drawn(&self) -> bool {
        *self.x == JUDGED_DISTANCE || *self.x == MEAN_DISTANCE
    }

    /// Returns both values, negated where lower is better.
    fn good(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (good(self.x, x), good(self.y, y))
    }

    /// Returns a configuration's mean over seeds, with signs such that higher is better.
    fn mean(&self, points: &GroupPoints) -> (f64, f64) {
        let n = points.points.len() as f64;
        let sum = points.points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        self.good((sum.0 / n, sum.1 / n))
    }

    /// Returns the mean of each configuration.
    fn variants(&self) -> Vec<(f64, f64)> {
        self.groups.iter().map(|points| self.mean(points)).collect()
    }

    /// Returns the correlation over runs, or `None` if there are no more runs than variants.
    fn over_runs(&self) -> Option<Untested> {
        let runs = self.groups.iter().flat_map(|points| &points.points).map(|point| self.good(*point));
        let runs: Vec<(f64, f64)> = runs.collect();
        Some(Untested { rho: rank_correlation(&runs)?, points: runs.len() })
            .filter(|found| found.points > self.groups.len())
    }

    /// Returns the correlation over all evaluations of all runs.
    fn over_evaluations(&self) -> Option<Untested> {
        let of = |loaded: &Loaded| {
            let metrics = loaded.look(|run: &Run| run.metrics().map(Some)).unwrap_or_default();
            let other: HashMap<u64, f64> =
                metrics.series(&self.y.key).map(|row| (row.step, row.value)).collect();
            let both = |row: &MetricRow| Some(self.good((row.value, *other.get(&row.step)?)));
            let points = metrics.series(&self.x.key).filter_map(both);
            points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect::<Vec<_>>()
        };
        let all: Vec<(f64, f64)> =
            self.groups.iter().flat_map(|points| points.group.done()).flat_map(of).collect();
        Some(Untested { rho: rank_correlation(&all)?, points: all.len() })
    }

    /// Returns the name of the interpolation metric in the table.
    fn interpolation(&self) -> String {
        let place = if self.of == MeasuredOn::Lines { "lines: " } else { "" };
        format!("{place}{}", self.x.title.to_lowercase())
    }
}

/// The correlation of two metrics over all image sets together, by the mean ranks of the variants that are in every
/// set.
pub struct Pooled<'a> {
    /// The rank correlation.
    pub found: Association,
    /// The configurations that it is over.
    pub groups: Vec<&'a Group>,
    /// The number of pairs of an image set and a latent size.
    pub sets: usize,
}

impl<'a> Pooled<'a> {
    /// Correlates `x` and `y`, or returns `None` if fewer than three variants have both on every image set.
    pub fn of(all: &[Pairs<'a>], x: &Quantity, y: &Quantity) -> Option<Self> {
        let all: Vec<&Pairs> = all.iter().filter(|pairs| pairs.x == x && pairs.y == y).collect();
        let of = |pairs: &Pairs<'a>, variant: &str| -> Option<(&'a Group, (f64, f64))> {
            let points = pairs.groups.iter().find(|points| points.group.cell().variant == variant)?;
            Some((points.group, pairs.mean(points)))
        };
        let variants = all.first()?.groups.iter().map(|points| points.group.cell().variant.as_str());
        let everywhere = |variant: &&str| all.iter().all(|pairs| of(pairs, variant).is_some());
        let variants: Vec<&str> = variants.filter(everywhere).collect();
        let found: Vec<Vec<(&Group, (f64, f64))>> = all
            .iter()
            .map(|pairs| variants.iter().filter_map(|variant| of(pairs, variant)).collect())
            .collect();
        let values: Vec<Vec<(f64, f64)>> =
            found.iter().map(|set| set.iter().map(|(_, value)| *value).collect()).collect();
        Some(Self {
            found: spearman(&within_groups(&values))?,
            groups: distinct(found.into_iter().flatten().map(|(group, _)| group)),
            sets: all.len(),
        })
    }
}

/// Returns whether the table of usefulness correlates these two metrics.
pub fn is_a_pair(x: &Quantity, y: &Quantity) -> bool {
    INTERPOLATION.iter().any(|known| known.metric == x) && USEFULNESS.contains(&y)
}

/// Returns the keys of the metrics that the table of usefulness correlates, in words.
pub fn pairs_in_words() -> String {
    let keys = |all: &mut dyn Iterator<Item = &'static Quantity>| {
        all.map(|quantity| &*quantity.key).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{} with {}",
        keys(&mut INTERPOLATION.iter().map(|known| known.metric)),
        keys(&mut USEFULNESS.into_iter())
    )
}

/// Returns the tables, or `None` if there is nothing to correlate.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let (all, scores) = (Pairs::all(sweep), Pairs::scores(sweep));
    if all.is_empty() && scores.is_empty() {
        return None;
    }
    let mut data = Frame::new(&COLUMNS);
    let mut parts = Vec::new();
    if !all.is_empty() {
        let mut lines: Vec<Line> = all.iter().map(|pairs| line(sweep, pairs, &mut data)).collect();
        lines.extend(pooled_lines(sweep, &all, &mut data));
        parts.push(part(sweep, &all, lines, &USEFUL));
    }
    if !scores.is_empty() {
        let lines = scores.iter().map(|pairs| line(sweep, pairs, &mut data)).collect();
        parts.push(part(sweep, &scores, lines, &SCORED));
    }
    Some(Sheet { id: "usefulness", title: "Usefulness and interpolation", parts, data })
}

/// The fixed texts of a table.
struct PartText {
    name: &'static str,
    /// The LaTeX label.
    label: &'static str,
    caption: &'static str,
}

const USEFUL: PartText = PartText {
    name: "Usefulness",
    label: "tab:usefulness",
    caption: "Do better interpolations go with more useful latents? Spearman's rank correlation of how good a variant's \
    interpolation is and how useful its latents are: +1 where the best is the best, −1 where it is the worst. Interpolation: Table 5's \
    scores on the same images, or Table 1's of the same variant on lines; usefulness: the fitted classifier (Table 2b) and clusters \
    (Table 3). Over variants (means over seeds) with a permutation test, and from ten on a bootstrap interval; over all image sets by \
    the variants' mean ranks; over runs, which are not independent of each other, without a test. It takes: about so many variants to tell \
    such a correlation from none, four times in five. P-values are not corrected for being several. A variant with several configurations \
    is left out.",
};
const SCORED: PartText = PartText {
    name: "The score on lines",
    label: "tab:score",
    caption: "Does a judge's score measure what it claims? On lines the truth is known: Spearman's rank correlation of the \
    score and the true metric, both turned so that more is better, over variants (means over seeds), over runs, and over all evaluations of \
    all runs. Points of one run are not independent, so only variants have a p-value.",
};

fn part(sweep: &Sweep, pairs: &[Pairs], lines: Vec<Line>, text: &PartText) -> Part {
    let groups = distinct(pairs.iter().flat_map(|pairs| pairs.groups.iter().map(|points| points.group)));
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let on_lines = pairs.iter().all(|pairs| pairs.set.is_none());
    let [x, y] = if on_lines { ["Score", "Truth"] } else { ["Interpolation", "Usefulness"] };
    let last = if on_lines { "Over evaluations" } else { "It takes" };
    let headings = ["Dataset, latent", x, y, "Over variants", "p", "Over runs", last];
    Part {
        name: text.name.into(),
        caption: text.caption.into(),
        conditions: Selection { groups }.all_conditions(),
        label: text.label,
        wide: true,
        headings: headings.map(String::from).to_vec(),
        left: 3,
        lines,
        folded: Vec::new(),
        notes: Vec::new(),
        provenance: provenance.line(),
    }
}

/// Returns the cell of a correlation with its interval.
fn with_interval(found: &Association) -> Entry {
    let rho = |value: f64| signed(&fixed(value, 2));
    let interval = found.interval.map(|(low, high)| format!(" [{}, {}]", rho(low), rho(high)));
    Entry::number(
        format!("{}{} (n={})", rho(found.rho), interval.unwrap_or_default(), found.points),
        found.rho,
    )
}

fn dash() -> Entry {
    Entry::plain("–")
}

/// Returns the cell of a p-value.
fn p(found: &Association) -> Entry {
    let text = if found.p < 0.001 { "< 0.001".to_owned() } else { number(two_digits(found.p)) };
    Entry::number(text, found.p)
}

/// Returns the cell of the number of variants that would show such a correlation to be significant.
fn takes(found: &Association) -> Entry {
    match found.points_needed {
        _ if found.p < 0.05 => dash(),
        Some(many) => Entry::number(format!("{} variants", thousands(many as u64)), many as f64),
        None => Entry::plain("more than can be told"),
    }
}

/// Returns the cell of a correlation without a test.
fn alone(found: Untested) -> Entry {
    let Untested { rho, points } = found;
    Entry::number(format!("{} (n={})", signed(&fixed(rho, 2)), thousands(points as u64)), rho)
}

fn line(sweep: &Sweep, pairs: &Pairs, data: &mut Frame) -> Line {
    let place = pairs.set.map_or_else(|| "Lines".into(), Set::name);
    let (over, runs) = (spearman(&pairs.variants()), pairs.over_runs());
    // The table of scores on lines has the correlation over evaluations in its last column, the table of usefulness the
    // number of variants needed.
    let evaluations = if pairs.set.is_none() { pairs.over_evaluations() } else { None };
    let last = match pairs.set {
        None => evaluations.map_or_else(dash, alone),
        Some(_) => over.as_ref().map_or_else(dash, takes),
    };
    let groups: Vec<&Group> = pairs.groups.iter().map(|points| points.group).collect();
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let dataset = pairs.set.map_or("lines", |set| &set.dataset);
    let mut push = |over: &'static str, found: Over| {
        let correlation = Correlation {
            dataset,
            dims: pairs.set.map(|set| set.dims),
            x: pairs.x,
            of: pairs.of,
            y: pairs.y,
            over,
            found,
        };
        data.push(correlation.row(), Some(&provenance));
    };
    let tested = over.map(|found| ("variants", Over::Tested(found)));
    let runs_alone = runs.map(|found| ("runs", Over::Alone(found)));
    let evaluations_alone = evaluations.map(|found| ("evaluations", Over::Alone(found)));
    for (over, found) in tested.into_iter().chain(runs_alone).chain(evaluations_alone) {
        push(over, found);
    }
    let cells = vec![
        Entry::plain(place),
        Entry::plain(pairs.interpolation()),
        Entry::plain(pairs.y.title.to_lowercase()),
        over.as_ref().map_or_else(dash, with_interval),
        over.as_ref().map_or_else(dash, p),
        runs.map_or_else(dash, alone),
        last,
    ];
    Line { cells, first: false }
}

/// Returns the lines over all image sets, for the pairs that several sets have.
fn pooled_lines(sweep: &Sweep, all: &[Pairs], data: &mut Frame) -> Vec<Line> {
    let mut lines = Vec::new();
    for Interpolation { metric: x, of } in INTERPOLATION {
        for y in USEFULNESS {
            let Some(Pooled { found, groups, sets: 2.. }) = Pooled::of(all, x, y) else { continue };
            let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
            let correlation = Correlation {
                dataset: "all",
                dims: None,
                x,
                of,
                y,
                over: "variants",
                found: Over::Tested(found),
            };
            data.push(correlation.row(), Some(&provenance));
            let named = all.iter().find(|pairs| pairs.x == x).map(Pairs::interpolation).unwrap_or_default();
            let cells = vec![
                Entry::plain("all, by mean ranks"),
                Entry::plain(named),
                Entry::plain(y.title.to_lowercase()),
                with_interval(&found),
                p(&found),
                dash(),
                takes(&found),
            ];
            lines.push(Line { cells, first: false });
        }
    }
    lines
}

/// A rank correlation without a significance test.
#[derive(Debug, Clone, Copy)]
struct Untested {
    rho: f64,
    /// The number of points that it is over.
    points: usize,
}

/// A correlation with a significance test, or one without.
#[derive(Debug, Clone, Copy)]
enum Over {
    Tested(Association),
    Alone(Untested),
}

const COLUMNS: [(&str, DataType); 12] = [
    ("dataset", DataType::String),
    ("latent_dims", DataType::Int64),
    ("interpolation", DataType::String),
    ("interpolation_on", DataType::String),
    ("usefulness", DataType::String),
    ("over", DataType::String),
    ("rho", DataType::Float64),
    ("low", DataType::Float64),
    ("high", DataType::Float64),
    ("p", DataType::Float64),
    ("points", DataType::Int64),
    ("to_tell", DataType::Int64),
];

/// A row of the CSV and parquet files.
struct Correlation<'a> {
    dataset: &'a str,
    /// The latent dimensionality; `None` for lines and for all image sets together.
    dims: Option<usize>,
    /// The interpolation metric, or the judge's score.
    x: &'a Quantity,
    /// Where the interpolation metric is measured.
    of: MeasuredOn,
    /// The metric of usefulness, or the true metric.
    y: &'a Quantity,
    /// What the points are that the correlation is over.
    over: &'static str,
    found: Over,
}

impl Correlation<'_> {
    /// Returns the values of the columns in [`COLUMNS`].
    fn row(&self) -> Vec<(&'static str, Value)> {
        let (rho, points, tested) = match self.found {
            Over::Tested(found) => (found.rho, found.points, Some(found)),
            Over::Alone(Untested { rho, points }) => (rho, points, None),
        };
        let interval = tested.and_then(|found| found.interval);
        vec![
            ("dataset", self.dataset.to_owned().into()),
            ("latent_dims", self.dims.into()),
            ("interpolation", self.x.name().to_owned().into()),
            (
                "interpolation_on",
                if self.of == MeasuredOn::Lines { "lines" } else { "the same images" }.into(),
            ),
            ("usefulness", self.y.name().to_owned().into()),
            ("over", self.over.into()),
            ("rho", rho.into()),
            ("low", interval.map(|(low, _)| low).into()),
            ("high", interval.map(|(_, high)| high).into()),
            ("p", tested.map(|found| found.p).into()),
            ("points", points.into()),
            ("to_tell", tested.and_then(|found| found.points_needed).into()),
        ]
    }
}
