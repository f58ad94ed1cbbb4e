//! Do better interpolations go with more useful latents (the paper's section 5)? And does a judge's score on lines measure what it
//! claims? Rank correlations over variants and over runs.

use lerp_eval::{
    Association, Better, Quantity,
    quantity::{
        CLUSTER_ACCURACY, DETOUR, JUDGED_DETOUR, JUDGED_DISTANCE, JUDGED_PRECISION, JUDGED_SMOOTHNESS,
        MEAN_DISTANCE, MEAN_SMOOTHNESS, PROBE_ACCURACY,
    },
    spearman, spearman_within,
};
use lerp_train::Run;
use polars::prelude::DataType;

use crate::{
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Group, Loaded, Sweep, distinct},
    text::{fixed, number, thousands, two_digits},
};

/// Where the interpolation of a pair of quantities is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// In the same run.
    Itself,
    /// By the variant's runs on lines.
    Lines,
}

/// Interpolation, as it is measured on an image set and on lines.
static INTERPOLATION: [(&Quantity, Of); 4] = [
    (&JUDGED_DISTANCE, Of::Itself),
    (&JUDGED_SMOOTHNESS, Of::Itself),
    (&MEAN_DISTANCE, Of::Lines),
    (&MEAN_SMOOTHNESS, Of::Lines),
];
/// Usefulness.
static USEFULNESS: [&Quantity; 2] = [&PROBE_ACCURACY, &CLUSTER_ACCURACY];
/// A judge's score on lines, and the truth that it stands for.
static SCORES: [(&Quantity, &Quantity); 4] = [
    (&JUDGED_DISTANCE, &MEAN_DISTANCE),
    (&JUDGED_PRECISION, &MEAN_DISTANCE),
    (&JUDGED_SMOOTHNESS, &MEAN_SMOOTHNESS),
    (&JUDGED_DETOUR, &DETOUR),
];

/// The runs of a configuration, as points.
pub struct Points<'a> {
    pub group: &'a Group,
    /// A pair of values for each finished run that has both.
    pub points: Vec<(f64, f64)>,
}

/// Two quantities of the runs of one place.
pub struct Pairs<'a> {
    /// The image set; none on lines.
    pub set: Option<&'a Set>,
    pub x: &'static Quantity,
    pub of: Of,
    pub y: &'static Quantity,
    /// The configurations that have both.
    pub groups: Vec<Points<'a>>,
}

/// How good a value is: the more the better.
fn good(quantity: &Quantity, value: f64) -> f64 {
    if quantity.better == Better::Lower { -value } else { value }
}

impl<'a> Pairs<'a> {
    fn new(
        sweep: &'a Sweep,
        set: Option<&'a Set>,
        (x, of): (&'static Quantity, Of),
        y: &'static Quantity,
    ) -> Self {
        let value = |loaded: &Loaded, of: &Quantity| loaded.final_value(&of.key).filter(|v| v.is_finite());
        // Which of several configurations on lines is meant, nobody can tell.
        let on_lines = |group: &Group| {
            let mut own = sweep.on_lines().filter(|other| other.cell().variant == group.cell().variant);
            let (first, others) = (own.next()?, own.next());
            first.estimate(x).mean().filter(|_| others.is_none())
        };
        let points = |group: &'a Group| {
            let lines = (of == Of::Lines).then(|| on_lines(group)).flatten();
            let point = |loaded: &Loaded| {
                let x = if of == Of::Lines { lines } else { value(loaded, x) };
                Some((x?, value(loaded, y)?))
            };
            Points { group, points: group.done().filter_map(point).collect() }
        };
        let groups = sweep.groups.iter().filter(|group| group.set.as_ref() == set).map(points);
        Self { set, x, of, y, groups: groups.filter(|found| !found.points.is_empty()).collect() }
    }

    /// All that the question of usefulness is about, in the order of the table.
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

    /// Those of a judge's score and the truth.
    fn scores(sweep: &'a Sweep) -> Vec<Self> {
        let mut all: Vec<Self> =
            SCORES.map(|(x, y)| Self::new(sweep, None, (x, Of::Itself), y)).into_iter().collect();
        all.retain(|pairs| pairs.groups.len() > 2);
        all
    }

    /// Only configurations that `of` holds for.
    #[must_use]
    pub fn keep(mut self, of: impl Fn(&Group) -> bool) -> Self {
        self.groups.retain(|points| of(points.group));
        self
    }

    /// Whether the figure of usefulness shows it.
    pub fn drawn(&self) -> bool {
        *self.x == JUDGED_DISTANCE || *self.x == MEAN_DISTANCE
    }

    fn good(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (good(self.x, x), good(self.y, y))
    }

    /// Means over seeds, the more the better.
    pub fn variants(&self) -> Vec<(f64, f64)> {
        let mean = |points: &Points| {
            let n = points.points.len() as f64;
            let sum = points.points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
            self.good((sum.0 / n, sum.1 / n))
        };
        self.groups.iter().map(mean).collect()
    }

    /// Every run, the more the better.
    fn runs(&self) -> Vec<(f64, f64)> {
        self.groups.iter().flat_map(|points| &points.points).map(|point| self.good(*point)).collect()
    }

    /// Every evaluation of every run, the more the better.
    fn evaluations(&self) -> Vec<(f64, f64)> {
        let of = |loaded: &Loaded| {
            let metrics = loaded.look(|run: &Run| run.metrics().map(Some)).unwrap_or_default();
            let other: Vec<(u64, f64)> =
                metrics.series(&self.y.key).map(|row| (row.step, row.value)).collect();
            let both = |row: &lerp_train::Row| {
                let (_, y) = other.iter().find(|(step, _)| *step == row.step)?;
                Some(self.good((row.value, *y)))
            };
            metrics.series(&self.x.key).filter_map(both).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(|points| points.group.done()).flat_map(of).collect()
    }

    /// What it is called in the table.
    fn interpolation(&self) -> String {
        let place = if self.of == Of::Lines { "lines: " } else { "" };
        format!("{place}{}", self.x.title.to_lowercase())
    }
}

/// Pairs of quantities over all image sets, which are not comparable with each other: correlated within each.
pub fn pooled(all: &[Pairs], x: &Quantity, y: &Quantity) -> Option<Association> {
    let groups: Vec<Vec<(f64, f64)>> =
        all.iter().filter(|pairs| pairs.x == x && pairs.y == y).map(Pairs::variants).collect();
    if groups.len() > 1 { spearman_within(&groups) } else { spearman(groups.first()?) }
}

/// Whether the table of usefulness correlates these two.
pub fn is_a_pair(x: &Quantity, y: &Quantity) -> bool {
    INTERPOLATION.iter().any(|(known, _)| *known == x) && USEFULNESS.contains(&y)
}

/// What the table of usefulness correlates.
pub fn pairs_in_words() -> String {
    let keys = |all: &mut dyn Iterator<Item = &'static Quantity>| {
        all.map(|quantity| &*quantity.key).collect::<Vec<_>>().join(", ")
    };
    format!("{} with {}", keys(&mut INTERPOLATION.iter().map(|(x, _)| *x)), keys(&mut USEFULNESS.into_iter()))
}

/// The tables; none if there is nothing to correlate.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let (all, scores) = (Pairs::all(sweep), Pairs::scores(sweep));
    if all.is_empty() && scores.is_empty() {
        return None;
    }
    let mut data = Frame::new(&COLUMNS);
    let mut parts = Vec::new();
    if !all.is_empty() {
        let mut lines: Vec<Line> = all.iter().map(|pairs| line(pairs, None, &mut data)).collect();
        if sweep.sets().len() > 1 {
            lines.extend(pooled_lines(&all, &mut data));
        }
        parts.push(part(sweep, &all, lines, ("Usefulness", "tab:usefulness"), USEFUL));
    }
    if !scores.is_empty() {
        let lines = scores.iter().map(|pairs| line(pairs, Some(pairs.evaluations()), &mut data)).collect();
        parts.push(part(sweep, &scores, lines, ("The score on lines", "tab:score"), SCORED));
    }
    Some(Sheet { id: "usefulness", title: "Usefulness and interpolation", parts, data })
}

const USEFUL: &str = "Do better interpolations go with more useful latents? Spearman's rank correlation of how good a variant's \
    interpolation is and how useful its latents are: +1 where the best is the best, −1 where it is the worst. Interpolation: Table 5's \
    scores on the same images, or Table 1's of the same variant on lines; usefulness: the fitted classifier (Table 2b) and clusters \
    (Table 3). Over variants (means over seeds) with the 95 % bootstrap interval and the p-value of all permutations, or 10,000; over \
    runs, which are not independent of each other, without p. It takes: about so many variants to tell such a correlation from none, \
    four times in five. P-values are not corrected for being several.";
const SCORED: &str = "Does a judge's score measure what it claims? On lines the truth is known: Spearman's rank correlation of the \
    score and the true metric, both turned so that more is better, over variants (means over seeds), over runs, and over all evaluations of \
    all runs. Points of one run are not independent, so only variants have a p-value.";

fn part(
    sweep: &Sweep,
    pairs: &[Pairs],
    lines: Vec<Line>,
    (name, label): (&str, &'static str),
    caption: &str,
) -> Part {
    let groups = distinct(pairs.iter().flat_map(|pairs| pairs.groups.iter().map(|points| points.group)));
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let on_lines = pairs.iter().all(|pairs| pairs.set.is_none());
    let [x, y] = if on_lines { ["Score", "Truth"] } else { ["Interpolation", "Usefulness"] };
    let last = if on_lines { "Over evaluations" } else { "It takes" };
    let headings = ["Dataset, latent", x, y, "Over variants", "p", "Over runs", last];
    Part {
        name: name.into(),
        caption: caption.into(),
        conditions: Selection { groups }.all_conditions(),
        label,
        wide: true,
        headings: headings.map(String::from).to_vec(),
        left: 3,
        lines,
        folded: Vec::new(),
        notes: Vec::new(),
        provenance: provenance.line(),
    }
}

fn signed(rho: f64) -> String {
    let size = fixed(rho.abs(), 2);
    match size.as_str() {
        "0.00" => size,
        _ if rho < 0.0 => format!("−{size}"),
        _ => format!("+{size}"),
    }
}

fn with_interval(found: &Association) -> Entry {
    let interval =
        found.interval.map(|(low, high)| format!(" [{}, {}]", signed(low), signed(high))).unwrap_or_default();
    Entry::number(format!("{}{interval} (n={})", signed(found.rho), found.points), found.rho)
}

fn dash() -> Entry {
    Entry::plain("–")
}

/// How sure it is, in words.
fn p(found: &Association) -> Entry {
    let text = if found.p < 0.001 { "< 0.001".to_owned() } else { number(two_digits(found.p)) };
    Entry { best: found.p < 0.05, ..Entry::number(text, found.p) }
}

fn takes(found: &Association) -> Entry {
    match found.to_tell {
        _ if found.p < 0.05 => dash(),
        Some(many) => Entry::number(format!("{} variants", thousands(many as u64)), many as f64),
        None => Entry::plain("more than can be told"),
    }
}

fn line(pairs: &Pairs, evaluations: Option<Vec<(f64, f64)>>, data: &mut Frame) -> Line {
    let place = pairs.set.map_or_else(|| "Lines".into(), Set::name);
    let (variants, runs) = (pairs.variants(), pairs.runs());
    let over = spearman(&variants);
    let of_runs = if runs.len() > variants.len() { spearman(&runs) } else { None };
    let alone = |found: Association| {
        Entry::number(format!("{} (n={})", signed(found.rho), thousands(found.points as u64)), found.rho)
    };
    let last = match &evaluations {
        Some(points) => spearman(points).map_or_else(dash, alone),
        None => over.as_ref().map_or_else(dash, takes),
    };
    row(data, pairs.set, (pairs.x.name(), pairs.of, pairs.y.name()), [("variants", over), ("runs", of_runs)]);
    if let Some(points) = evaluations {
        row(
            data,
            pairs.set,
            (pairs.x.name(), pairs.of, pairs.y.name()),
            [("evaluations", spearman(&points))],
        );
    }
    let cells = vec![
        Entry::plain(place),
        Entry::plain(pairs.interpolation()),
        Entry::plain(pairs.y.title.to_lowercase()),
        over.as_ref().map_or_else(dash, with_interval),
        over.as_ref().map_or_else(dash, p),
        of_runs.map_or_else(dash, alone),
        last,
    ];
    Line { cells, first: false }
}

/// The same over all image sets, ranked within each.
fn pooled_lines(all: &[Pairs], data: &mut Frame) -> Vec<Line> {
    let mut lines = Vec::new();
    for (x, of) in INTERPOLATION {
        for y in USEFULNESS {
            let Some(found) = pooled(all, x, y) else { continue };
            row(data, None, (x.name(), of, y.name()), [("variants_within_sets", Some(found))]);
            let named = all.iter().find(|pairs| pairs.x == x).map(Pairs::interpolation).unwrap_or_default();
            let cells = vec![
                Entry::plain("all, each ranked by itself"),
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

fn row<const N: usize>(
    data: &mut Frame,
    set: Option<&Set>,
    (x, of, y): (&str, Of, &str),
    found: [(&'static str, Option<Association>); N],
) {
    for (over, found) in found {
        let Some(found) = found else { continue };
        let certain = over.starts_with("variants");
        let known: Vec<(&'static str, Value)> = vec![
            ("dataset", set.map_or("lines", |set| &set.dataset).into()),
            ("latent_dims", set.map(|set| set.dims).into()),
            ("interpolation", x.to_owned().into()),
            ("interpolation_on", if of == Of::Lines { "lines" } else { "the same images" }.into()),
            ("usefulness", y.to_owned().into()),
            ("over", over.into()),
            ("rho", found.rho.into()),
            ("low", found.interval.filter(|_| certain).map(|(low, _)| low).into()),
            ("high", found.interval.filter(|_| certain).map(|(_, high)| high).into()),
            ("p", Some(found.p).filter(|_| certain).into()),
            ("points", found.points.into()),
            ("to_tell", found.to_tell.filter(|_| certain).into()),
        ];
        data.push(known, None);
    }
}
