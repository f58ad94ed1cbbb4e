//! Table 5: scores that a judge network gives to interpolations, on lines and on image sets.

use lerp_eval::{
    ENDS, Interval, Judged, KernelDistance, MIDDLE, PairKind, Quantity, Sample,
    quantity::{
        JUDGED_DETOUR, JUDGED_DISTANCE, JUDGED_ENDS_DISTANCE, JUDGED_ENDS_PRECISION, JUDGED_PRECISION,
        JUDGED_PURITY, JUDGED_PURITY_BETWEEN, JUDGED_SMOOTHNESS,
    },
    student_quantile,
};
use lerp_files::printable;
use lerp_train::{JudgeScores, JudgeTarget};

use super::{
    columns,
    frame::Frame,
    sheet::{Entry, Sheet, Table, TableLine},
};
use crate::{
    reading::{Estimate, LoadedRun, RunGroup, SizedImageSet, Sweep, title_of},
    statistics::{Analysis, JudgedDataset, NORMAL_QUANTILE, Pairing},
    text::{fixed, listed, minus, thousands, unique},
};

/// How a run's value and its uncertainty are obtained.
enum Source {
    /// A kernel distance, which has a standard error.
    Distance(fn(&Judged) -> KernelDistance),
    /// The mean of one value for each interpolation.
    Pairs(fn(&Judged) -> Vec<f64>),
}

/// A row of the table.
struct Measure {
    /// The metric.
    of: &'static Quantity,
    heading: &'static str,
    /// The factor that a value is multiplied by when printed.
    factor: f64,
    decimals: usize,
    source: Source,
    /// Whether the best of a row is marked; it is not where the metric says little by itself.
    ranked: bool,
}

impl Measure {
    /// Returns a row of values in their own unit, with two decimals, whose best is marked.
    const fn new(of: &'static Quantity, heading: &'static str, source: Source) -> Self {
        Self { of, heading, factor: 1.0, decimals: 2, source, ranked: true }
    }

    /// Returns a row of shares in percent.
    const fn percent(of: &'static Quantity, heading: &'static str, share: fn(&Judged) -> Vec<f64>) -> Self {
        Self { factor: 100.0, decimals: 1, ..Self::new(of, heading, Source::Pairs(share)) }
    }
}

/// All rows of the table, in order.
static MEASURES: [Measure; 8] = [
    Measure::new(&JUDGED_DISTANCE, "kernel distance, middle", Source::Distance(|of| of.middle.distance)),
    Measure::new(
        &JUDGED_ENDS_DISTANCE,
        "kernel distance, reconstructions",
        Source::Distance(|of| of.reconstructions.distance),
    ),
    Measure::percent(&JUDGED_PRECISION, "precision, middle, %", |of| of.precision(&MIDDLE)),
    Measure::percent(&JUDGED_ENDS_PRECISION, "precision, reconstructions, %", |of| of.precision(&ENDS)),
    Measure {
        decimals: 3,
        ranked: false,
        ..Measure::new(&JUDGED_SMOOTHNESS, "smoothness in features", Source::Pairs(Judged::smoothness))
    },
    Measure {
        ranked: false,
        ..Measure::new(&JUDGED_DETOUR, "detour in features", Source::Pairs(Judged::detour))
    },
    Measure::percent(&JUDGED_PURITY, "purity within a class, %", |of| of.purity(PairKind::OneClass)),
    Measure::percent(&JUDGED_PURITY_BETWEEN, "purity between classes, %", |of| {
        of.purity(PairKind::TwoClasses)
    }),
];

/// A configuration's value of one measure.
struct MeasuredValue {
    estimate: Estimate,
    mean: f64,
    /// The half-width of the 95 % interval over pairs, for these particular models.
    half: Option<f64>,
}

impl Measure {
    /// Formats a value.
    fn text(&self, value: f64) -> String {
        minus(&fixed(value * self.factor, self.decimals))
    }

    /// Returns whether the measure applies to a dataset. On lines, purity between classes does not: a line that turns
    /// from one class to another must pass through the classes between.
    fn is_of(&self, set: Option<&SizedImageSet>) -> bool {
        set.is_some() || *self.of != JUDGED_PURITY_BETWEEN
    }

    /// Computes the measure over the runs of a configuration, or returns `None` if it is undefined.
    fn over(&self, scores: &[JudgeScores], pairing: Pairing) -> Option<MeasuredValue> {
        let judged = || scores.iter().map(|scores| &scores.judged);
        let defined = |values: Vec<f64>| values.into_iter().filter(|v| v.is_finite()).collect::<Vec<f64>>();
        let (values, half) = match self.source {
            Source::Distance(of) => {
                let n = scores.len() as f64;
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
                let half = student_quantile(degrees) * Sample::of(&all).std / degrees.sqrt();
                (runs.into_iter().map(|run| Sample::of(&defined(run)).mean).collect(), half)
            }
        };
        let values = defined(values);
        let Sample { mean, std, n } = Sample::of(&values);
        let half = Some(half).filter(|half| half.is_finite());
        let estimate = Estimate::Known { mean, std, n };
        mean.is_finite().then_some(MeasuredValue { estimate, mean, half })
    }
}

/// Returns Table 5, or `None` if no run was judged.
pub fn sheet(analysis: &Analysis) -> Option<Sheet> {
    let (sweep, sets) = (analysis.sweep, analysis.judged());
    let groups: Vec<&RunGroup> =
        sets.iter().flat_map(|on| on.groups.iter().map(|(group, _)| *group)).collect();
    let labels = unique(groups.iter().filter(|group| group.shown).map(|group| group.label.as_str()));
    let references = sets.iter().filter_map(|on| on.judge).flat_map(|judge| &judge.references);
    let mut titles = unique(references.map(|reference| reference.title.as_str()));
    // The column of real images comes last.
    titles.sort_by_key(|title| *title == "test images");
    let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
    headings.extend(labels.iter().chain(&titles).map(|text| printable(text).into_owned()));
    let mut data = Frame::new(COLUMNS);
    for on in sets {
        rows(&mut data, on, sweep);
    }
    let lines = sets.iter().flat_map(|on| lines_on(on, &labels, &titles)).collect();
    let table = Table {
        name: "Table 5".into(),
        caption: caption(sets),
        label: "tab:judged".into(),
        headings,
        left: 2,
        lines,
        notes: notes(sweep, sets),
        ..Table::about(sweep, &groups)
    };
    (!groups.is_empty()).then(|| Sheet { id: "table5", title: "Table 5", tables: vec![table], data })
}

/// Returns the lines of a dataset, one for each measure that any configuration has.
fn lines_on(on: &JudgedDataset, labels: &[&str], titles: &[&str]) -> Vec<TableLine> {
    let mut lines = Vec::new();
    for measure in MEASURES.iter().filter(|measure| measure.is_of(on.set)) {
        let known: Vec<(&str, MeasuredValue)> = on
            .groups
            .iter()
            .filter_map(|(group, scores)| Some((group.label.as_str(), measure.over(scores, on.pairing())?)))
            .collect();
        let better = |a: &&(&str, MeasuredValue), b: &&(&str, MeasuredValue)| {
            let order = a.1.mean.total_cmp(&b.1.mean);
            if measure.of.better.prefers(1.0, 0.0) { order } else { order.reverse() }
        };
        let Some((_, best)) = known.iter().max_by(better) else { continue };
        // A value that cannot be told apart from the best counts as equally good.
        let is_best = |one: &MeasuredValue| {
            let apart = one.half.unwrap_or(0.0).hypot(best.half.unwrap_or(0.0));
            measure.ranked && known.len() > 1 && (one.mean - best.mean).abs() <= apart
        };
        let name = if lines.is_empty() { title_of(on.set) } else { String::new() };
        let mut cells = vec![Entry::plain(name), Entry::plain(measure.heading)];
        for label in labels {
            cells.push(match known.iter().find(|(known, _)| known == label) {
                Some((_, one)) => {
                    let half = one.half.map(|half| format!(" ± {}", measure.text(half))).unwrap_or_default();
                    let entry = Entry::number(measure.text(one.mean) + &half, one.mean * measure.factor);
                    Entry { best: is_best(one), ..entry }
                }
                None => Entry::dash(),
            });
        }
        for title in titles {
            let reference = on.judge.and_then(|judge| judge.references.iter().find(|of| of.title == *title));
            cells.push(match reference.and_then(|reference| reference.values.get(&*measure.of.key)) {
                Some(value) => Entry::paper(measure.text(*value), *value * measure.factor),
                None => Entry::dash(),
            });
        }
        lines.push(TableLine { cells, first: lines.is_empty() });
    }
    lines
}

fn caption(sets: &[JudgedDataset]) -> String {
    let pairs = sets.iter().flat_map(|on| &on.groups).flat_map(|(_, scores)| scores);
    let mut pairs: Vec<usize> = pairs.map(|scores| scores.judged.predicted.len()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let pairs: Vec<String> = pairs.iter().map(ToString::to_string).collect();
    let groups = || sets.iter().flat_map(|on| &on.groups);
    let seeds = if groups().any(|(_, scores)| scores.len() > 1) {
        " Means over seeds, whose spread is in the CSV file."
    } else {
        ""
    };
    format!(
        "Interpolations between {} pairs of test images, measured in the features of a judge: the penultimate layer of a small network \
         that was trained on real images. Kernel distance (KID) to other test images: of the images decoded in the middle (α from 4/15 to 11/15) and \
         of reconstructions (α = 0 and 1), which distinguishes blur from bad mixing; the column of test images shows what real images \
         have. Precision: the share within the neighbourhood of a test image (Kynkäänniemi et al., 2019). Smoothness: the longest of \
         the 15 steps in feature space as a share of the path, minus 1/15. Detour: the length of the path over the distance of its \
         ends, minus 1. Purity: the share of images that the judge assigns to the class of both ends, or of one of them, with a \
         probability above 0.9. ± is half of the 95 % interval over pairs for these models; it does not cover retraining.{seeds} Bold: \
         the best of our models and those that these intervals cannot distinguish from it. Compare numbers within one dataset only. \
         Only the kernel distance distinguishes a blend of pixels from real images everywhere: a blend is smooth and, on MNIST, precise \
         and pure. Not in the paper.",
        pairs.join(" or ")
    )
}

/// Returns notes on the judges, and on configurations with runs that were not judged.
fn notes(sweep: &Sweep, sets: &[JudgedDataset]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for on in sets {
        let dataset = on.set.map_or("Lines", SizedImageSet::title);
        let note = match on.judge {
            Some(judge) => {
                let of = match judge.target {
                    JudgeTarget::Classes => "",
                    JudgeTarget::Distortions => ", distorted or not,",
                };
                format!(
                    "{dataset}: the judge was trained on {} samples and classifies {} % of {} test images{of} correctly.",
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
        let lacks = |loaded: &LoadedRun| loaded.final_value(&JUDGED_DISTANCE.key).is_none();
        let without: Vec<&str> = sweep
            .on(on.set)
            .filter(|group| group.done().any(lacks))
            .map(|group| group.label.as_str())
            .collect();
        if !without.is_empty() {
            notes.push(format!(
                "{}: of {}, not all finished runs were judged; lerp eval RUN --write does, where a run has its model.",
                title_of(on.set),
                listed(&without, 10, ", ")
            ));
        }
        notes.extend(Some(sweep.not_shown(on.set)).filter(|said| !said.is_empty()));
    }
    notes
}

/// The columns of the CSV and parquet files.
const COLUMNS: [&str; 10] =
    ["dataset", "latent_dims", "variant", "label", "metric", "mean", "std", "seeds", "low", "high"];

/// Adds a row for each configuration and measure on a dataset.
fn rows(data: &mut Frame, on: &JudgedDataset, sweep: &Sweep) {
    for (group, scores) in &on.groups {
        let provenance = sweep.provenance(&[group]);
        for measure in &MEASURES {
            let Some(MeasuredValue { estimate, mean, half }) = measure.over(scores, on.pairing()) else {
                continue;
            };
            let mut row = columns::configuration(group, "latent_dims");
            row.push(("metric", measure.of.name().into()));
            row.extend(columns::estimate(estimate));
            row.extend(columns::interval(half.map(|half| Interval { low: mean - half, high: mean + half })));
            data.push(row, Some(&provenance));
        }
    }
}
