//! Table 5: scores that a judge network gives to interpolations, on lines and on image sets.

use lerp_eval::{
    ENDS, Judged, KernelDistance, MIDDLE, PairKind, Quantity, mean_std,
    quantity::{
        JUDGED_DETOUR, JUDGED_DISTANCE, JUDGED_ENDS, JUDGED_ENDS_PRECISION, JUDGED_PRECISION, JUDGED_PURITY,
        JUDGED_PURITY_BETWEEN, JUDGED_SMOOTHNESS,
    },
    student_quantile,
};
use lerp_files::printable;
use lerp_train::{JudgeRecord, JudgeScores, JudgeTarget, Run};
use polars::prelude::DataType;

use crate::{
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Group, Loaded, Sweep},
    text::{fixed, listed, minus, thousands},
};

/// The 97.5 % quantile of the standard normal distribution.
pub const NORMAL_QUANTILE: f64 = 1.96;

/// Whether the runs of a configuration are measured on the same pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// All runs are measured on the same pairs, as on image sets.
    Shared,
    /// Each run has pairs of its own, as on lines.
    Own,
}

impl Pairing {
    /// Returns how runs on an image set, or on lines, are measured.
    pub fn on(set: Option<&Set>) -> Self {
        if set.is_some() { Self::Shared } else { Self::Own }
    }
}

/// How a run's value and its uncertainty are obtained.
enum Source {
    /// A kernel distance, which has a standard error.
    Distance(fn(&Judged) -> KernelDistance),
    /// The mean of one value for each interpolation.
    Pairs(fn(&Judged) -> Vec<f64>),
}

/// A row of the table.
pub struct Measure {
    /// The metric.
    pub of: &'static Quantity,
    heading: &'static str,
    /// The factor that a value is multiplied by when printed.
    factor: f64,
    decimals: usize,
    source: Source,
    /// Whether the best of a row is marked.
    ranked: bool,
}

/// Returns a row whose best value is marked.
const fn measure(
    of: &'static Quantity,
    heading: &'static str,
    (factor, decimals): (f64, usize),
    source: Source,
) -> Measure {
    Measure { of, heading, factor, decimals, source, ranked: true }
}

/// Returns the same row without marking its best value, for a metric that says little by itself.
const fn beside(measure: Measure) -> Measure {
    Measure { ranked: false, ..measure }
}

const PLAIN: (f64, usize) = (1.0, 2);
const FINE: (f64, usize) = (1.0, 3);
const PERCENT: (f64, usize) = (100.0, 1);

/// All rows of the table, in order.
pub static MEASURES: [Measure; 8] = [
    measure(&JUDGED_DISTANCE, "kernel distance, middle", PLAIN, Source::Distance(|of| of.middle.distance)),
    measure(
        &JUDGED_ENDS,
        "kernel distance, reconstructions",
        PLAIN,
        Source::Distance(|of| of.reconstructions.distance),
    ),
    measure(&JUDGED_PRECISION, "precision, middle, %", PERCENT, Source::Pairs(|of| of.precision(&MIDDLE))),
    measure(
        &JUDGED_ENDS_PRECISION,
        "precision, reconstructions, %",
        PERCENT,
        Source::Pairs(|of| of.precision(&ENDS)),
    ),
    beside(measure(&JUDGED_SMOOTHNESS, "smoothness in features", FINE, Source::Pairs(Judged::smoothness))),
    beside(measure(&JUDGED_DETOUR, "detour in features", PLAIN, Source::Pairs(Judged::detour))),
    measure(
        &JUDGED_PURITY,
        "purity within a class, %",
        PERCENT,
        Source::Pairs(|of| of.purity(PairKind::OneClass)),
    ),
    measure(
        &JUDGED_PURITY_BETWEEN,
        "purity between classes, %",
        PERCENT,
        Source::Pairs(|of| of.purity(PairKind::TwoClasses)),
    ),
];

/// A configuration's value of one measure.
struct Known {
    mean: f64,
    /// The standard deviation over seeds, with divisor n.
    std: f64,
    seeds: usize,
    /// The half-width of the 95 % interval over pairs, for these particular models.
    half: Option<f64>,
}

impl Measure {
    /// Formats a value.
    fn text(&self, value: f64) -> String {
        minus(&fixed(value * self.factor, self.decimals))
    }

    /// Returns whether the measure applies to a place. On lines, purity between classes does not: a line that turns
    /// from one class to another must pass through the classes between.
    fn is_of(&self, set: Option<&Set>) -> bool {
        set.is_some() || *self.of != JUDGED_PURITY_BETWEEN
    }

    /// Computes the measure over the runs of a configuration, or returns `None` if it is undefined.
    fn over(&self, verdicts: &[JudgeScores], pairing: Pairing) -> Option<Known> {
        let judged = || verdicts.iter().map(|verdicts| &verdicts.judged);
        let defined = |values: Vec<f64>| values.into_iter().filter(|v| v.is_finite()).collect::<Vec<f64>>();
        let (values, half) = match self.source {
            Source::Distance(of) => {
                let n = verdicts.len() as f64;
                let errors = judged().map(|judged| of(judged).error);
                let error = match pairing {
                    Pairing::Shared => errors.sum::<f64>() / n,
                    Pairing::Own => errors.map(|e| e * e).sum::<f64>().sqrt() / n,
                };
                (judged().map(|judged| of(judged).value).collect(), NORMAL_QUANTILE * error)
            }
            Source::Pairs(of) => {
                let runs: Vec<Vec<f64>> = judged().map(of).collect();
                let pairs = runs.first().map_or(0, Vec::len);
                let mean = |i: usize| runs.iter().map(|run| run[i]).sum::<f64>() / runs.len() as f64;
                let same = pairing == Pairing::Shared && runs.iter().all(|run| run.len() == pairs);
                let all = defined(if same { (0..pairs).map(mean).collect() } else { runs.concat() });
                let degrees = (all.len().max(2) - 1) as f64;
                let half = student_quantile(degrees) * mean_std(&all).1 / degrees.sqrt();
                (runs.into_iter().map(|run| mean_std(&defined(run)).0).collect(), half)
            }
        };
        let values = defined(values);
        let (mean, std) = mean_std(&values);
        let half = Some(half).filter(|half| half.is_finite());
        mean.is_finite().then_some(Known { mean, std, seeds: values.len(), half })
    }
}

/// Returns the verdicts of a configuration's finished runs. Runs that were measured by another judge than the sweep's
/// have been stripped of their judged metrics and are skipped.
pub fn verdicts(group: &Group) -> Vec<JudgeScores> {
    let judged = |loaded: &&Loaded| loaded.final_value(&JUDGED_DISTANCE.key).is_some();
    group.done().filter(judged).filter_map(|loaded| loaded.look(Run::judge_scores)).collect()
}

/// Returns the judge's word for a class, by the class names of the dataset.
pub fn word(judge: &JudgeRecord, set: Option<&Set>, class: u32) -> String {
    match set {
        Some(set) if judge.target == JudgeTarget::Classes => set.class_name(class),
        _ => judge.target.class_name(class),
    }
}

/// Iterates over the configurations on an image set, or on lines.
fn on<'a>(sweep: &'a Sweep, set: Option<&Set>) -> impl Iterator<Item = &'a Group> {
    sweep.groups.iter().filter(move |group| group.set.as_ref() == set)
}

/// A place: lines, or an image set with one latent size, and the configurations that were judged there.
struct JudgedPlace<'a> {
    set: Option<&'a Set>,
    judge: Option<&'a JudgeRecord>,
    groups: Vec<(&'a Group, Vec<JudgeScores>)>,
}

impl JudgedPlace<'_> {
    fn name(&self) -> String {
        self.set.map_or_else(|| "Lines".into(), Set::name)
    }
}

/// Returns Table 5, or `None` if no run was judged.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let places = std::iter::once(None).chain(sweep.sets().into_iter().map(Some)).map(|set| {
        let judged = on(sweep, set).filter(|group| group.has(&JUDGED_DISTANCE));
        let groups =
            judged.map(|group| (group, verdicts(group))).filter(|(_, verdicts)| !verdicts.is_empty());
        JudgedPlace { set, judge: sweep.judge(set), groups: groups.collect() }
    });
    let places: Vec<JudgedPlace> = places.filter(|place| !place.groups.is_empty()).collect();
    let groups: Vec<&Group> =
        places.iter().flat_map(|place| place.groups.iter().map(|(group, _)| *group)).collect();
    let mut labels: Vec<&str> = Vec::new();
    for group in groups.iter().filter(|group| group.shown) {
        if !labels.contains(&group.label.as_str()) {
            labels.push(&group.label);
        }
    }
    let mut titles: Vec<&str> = Vec::new();
    for reference in places.iter().filter_map(|place| place.judge).flat_map(|judge| &judge.references) {
        if !titles.contains(&reference.title.as_str()) {
            titles.push(&reference.title);
        }
    }
    // The column of real images comes last.
    titles.sort_by_key(|title| *title == "test images");
    let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
    headings.extend(labels.iter().chain(&titles).map(|text| printable(text).into_owned()));
    let mut data = Frame::new(&COLUMNS);
    for place in &places {
        rows(&mut data, place, sweep);
    }
    let lines = places.iter().flat_map(|place| of_place(place, (&labels, &titles))).collect();
    let part = Part {
        name: "Table 5".into(),
        caption: caption(&places),
        conditions: Selection { groups: groups.clone() }.all_conditions(),
        label: "tab:judged",
        wide: true,
        headings,
        left: 2,
        lines,
        folded: Vec::new(),
        notes: notes(sweep, &places),
        provenance: Provenance::of(&groups, &command(&sweep.dir, None)).line(),
    };
    (!groups.is_empty()).then(|| Sheet { id: "table5", title: "Table 5", parts: vec![part], data })
}

/// Returns the lines of a place, one for each measure that any configuration has.
fn of_place(place: &JudgedPlace, (labels, titles): (&[&str], &[&str])) -> Vec<Line> {
    let mut lines = Vec::new();
    for measure in MEASURES.iter().filter(|measure| measure.is_of(place.set)) {
        let known: Vec<(&str, Known)> = place
            .groups
            .iter()
            .filter_map(|(group, verdicts)| {
                Some((group.label.as_str(), measure.over(verdicts, Pairing::on(place.set))?))
            })
            .collect();
        let better = |a: &&(&str, Known), b: &&(&str, Known)| {
            let order = a.1.mean.total_cmp(&b.1.mean);
            if measure.of.better.prefers(1.0, 0.0) { order } else { order.reverse() }
        };
        let Some((_, best)) = known.iter().max_by(better) else { continue };
        // A value that cannot be told apart from the best counts as equally good.
        let is_best = |one: &Known| {
            let apart = one.half.unwrap_or(0.0).hypot(best.half.unwrap_or(0.0));
            measure.ranked && known.len() > 1 && (one.mean - best.mean).abs() <= apart
        };
        let name = if lines.is_empty() { place.name() } else { String::new() };
        let mut cells = vec![Entry::plain(name), Entry::plain(measure.heading)];
        for label in labels {
            cells.push(match known.iter().find(|(known, _)| known == label) {
                Some((_, one)) => {
                    let half = one.half.map(|half| format!(" ± {}", measure.text(half))).unwrap_or_default();
                    let entry = Entry::number(measure.text(one.mean) + &half, one.mean * measure.factor);
                    Entry { best: is_best(one), ..entry }
                }
                None => Entry::plain("–"),
            });
        }
        for title in titles {
            let reference =
                place.judge.and_then(|judge| judge.references.iter().find(|of| of.title == *title));
            cells.push(match reference.and_then(|reference| reference.values.get(&*measure.of.key)) {
                Some(value) => Entry::paper(measure.text(*value), *value * measure.factor),
                None => Entry::plain("–"),
            });
        }
        lines.push(Line { cells, first: lines.is_empty() });
    }
    lines
}

fn caption(places: &[JudgedPlace]) -> String {
    let pairs = places.iter().flat_map(|place| &place.groups).flat_map(|(_, verdicts)| verdicts);
    let mut pairs: Vec<usize> = pairs.map(|verdicts| verdicts.judged.predicted.len()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let pairs: Vec<String> = pairs.iter().map(ToString::to_string).collect();
    let groups = || places.iter().flat_map(|place| &place.groups);
    let seeds = if groups().any(|(_, verdicts)| verdicts.len() > 1) {
        " Means over seeds, whose spread is in the CSV file."
    } else {
        ""
    };
    format!(
        "What a judge, a small network trained on real images, makes of interpolations between {} pairs of test images, in the features of its \
         penultimate layer. Kernel distance (KID) to other test images, of the images decoded in the middle (α from 4/15 to 11/15) and \
         of reconstructions (α = 0 and 1), which tells blur from bad mixing; the column of test images shows what real ones come \
         to. Precision: the share within the neighbourhood of a test image (Kynkäänniemi et al., 2019). Smoothness: the longest of 15 \
         steps through the features as a share of the way, less 1/15. Detour: the way over the straight one, less 1. Purity: the share \
         of images that the judge calls the class of both ends, or of one of them, with a probability above 0.9. ± half of the 95 % \
         interval over pairs, for these very models; it says nothing of another training.{seeds} In bold the best of ours and what \
         these intervals do not tell from it. Numbers compare within a dataset alone. Only the kernel distance tells a blend of pixels \
         from real images everywhere: a blend is smooth and, on MNIST, precise and pure. Not in the paper.",
        pairs.join(" or ")
    )
}

/// Returns notes on the judges, and on configurations with runs that were not judged.
fn notes(sweep: &Sweep, places: &[JudgedPlace]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for place in places {
        let dataset = place.set.map_or("Lines", Set::title);
        let note = match place.judge {
            Some(judge) => {
                let of = match judge.target {
                    JudgeTarget::Classes => "",
                    JudgeTarget::Distortions => ", distorted or not,",
                };
                format!(
                    "{dataset}: the judge was trained on {} samples and tells {} % of {} test images{of} right.",
                    thousands(judge.samples),
                    fixed(judge.accuracy * 100.0, 1),
                    thousands(judge.tested as u64)
                )
            }
            None => format!("{dataset}: the record of the judge is not in the sweep's folder."),
        };
        if !notes.contains(&note) {
            notes.push(note);
        }
        let lacks = |loaded: &Loaded| loaded.final_value(&JUDGED_DISTANCE.key).is_none();
        let without: Vec<&str> = on(sweep, place.set)
            .filter(|group| group.done().any(lacks))
            .map(|group| group.label.as_str())
            .collect();
        if !without.is_empty() {
            notes.push(format!(
                "{}: of {}, not all finished runs were judged; lerp eval RUN --write does, where a run has its model.",
                place.name(),
                listed(&without, 10, ", ")
            ));
        }
        notes.extend(Some(sweep.not_shown(place.set)).filter(|said| !said.is_empty()));
    }
    notes
}

/// The columns of the CSV and parquet files.
const COLUMNS: [(&str, DataType); 10] = [
    ("dataset", DataType::String),
    ("latent_dims", DataType::Int64),
    ("variant", DataType::String),
    ("label", DataType::String),
    ("metric", DataType::String),
    ("mean", DataType::Float64),
    ("std", DataType::Float64),
    ("seeds", DataType::Int64),
    ("low", DataType::Float64),
    ("high", DataType::Float64),
];

/// Adds a row for each configuration and measure of a place.
fn rows(data: &mut Frame, place: &JudgedPlace, sweep: &Sweep) {
    for (group, verdicts) in &place.groups {
        let provenance = Provenance::of(&[group], &command(&sweep.dir, None));
        for measure in &MEASURES {
            let Some(known) = measure.over(verdicts, Pairing::on(place.set)) else { continue };
            let row: Vec<(&'static str, Value)> = vec![
                ("dataset", place.set.map_or("lines", |set| &set.dataset).into()),
                ("latent_dims", place.set.map(|set| set.dims).into()),
                ("variant", group.cell().variant.clone().into()),
                ("label", group.label.clone().into()),
                ("metric", measure.of.name().into()),
                ("mean", known.mean.into()),
                ("std", (known.seeds > 1).then_some(known.std).into()),
                ("seeds", known.seeds.into()),
                ("low", known.half.map(|half| known.mean - half).into()),
                ("high", known.half.map(|half| known.mean + half).into()),
            ];
            data.push(row, Some(&provenance));
        }
    }
}
