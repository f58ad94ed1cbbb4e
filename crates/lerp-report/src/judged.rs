//! Table 5: what judges make of interpolations, on lines and on image sets.

use std::ops::Range;

use lerp_eval::{
    Better, Between, Judged, Quantity, mean_std,
    quantity::{
        JUDGED_DETOUR, JUDGED_DISTANCE, JUDGED_DISTANCE_ERROR, JUDGED_ENDS, JUDGED_ENDS_ERROR,
        JUDGED_ENDS_PRECISION, JUDGED_PRECISION, JUDGED_PURITY, JUDGED_PURITY_BETWEEN, JUDGED_SMOOTHNESS,
    },
    student_quantile,
};
use lerp_train::{JudgeRecord, Lesson, Run, Verdicts};
use polars::prelude::DataType;

use crate::{
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Group, Loaded, Sweep},
    text::{fixed, listed, thousands},
};

/// 97.5 % of the standard normal distribution lie below.
const Z: f64 = 1.96;

/// How the interval of a measure comes about.
enum Spread {
    /// From a standard error that is measured beside it.
    Error(&'static Quantity),
    /// From the values of interpolations.
    Pairs(fn(&Judged) -> Vec<f64>),
}

/// A row of the table.
pub struct Measure {
    /// What it measures.
    pub of: &'static Quantity,
    heading: &'static str,
    /// What a value is multiplied by.
    factor: f64,
    decimals: usize,
    spread: Spread,
}

/// Positions in the middle of an interpolation.
const MIDDLE: Range<usize> = 4..12;

/// Share of an interpolation's images in these places that lie in the neighbourhood of a real one.
fn inside(judged: &Judged, places: &[usize]) -> Vec<f64> {
    let share =
        |row: &[bool; 16]| places.iter().filter(|place| row[**place]).count() as f64 / places.len() as f64;
    judged.inside.iter().map(share).collect()
}

const fn measure(
    of: &'static Quantity,
    heading: &'static str,
    (factor, decimals): (f64, usize),
    spread: Spread,
) -> Measure {
    Measure { of, heading, factor, decimals, spread }
}

const PLAIN: (f64, usize) = (1.0, 2);
const FINE: (f64, usize) = (1.0, 3);
const PERCENT: (f64, usize) = (100.0, 1);

/// All rows, in order.
pub static MEASURES: [Measure; 8] = [
    measure(&JUDGED_DISTANCE, "kernel distance, middle", PLAIN, Spread::Error(&JUDGED_DISTANCE_ERROR)),
    measure(&JUDGED_ENDS, "kernel distance, reconstructions", PLAIN, Spread::Error(&JUDGED_ENDS_ERROR)),
    measure(
        &JUDGED_PRECISION,
        "precision, middle, %",
        PERCENT,
        Spread::Pairs(|judged| inside(judged, &MIDDLE.collect::<Vec<_>>())),
    ),
    measure(
        &JUDGED_ENDS_PRECISION,
        "precision, reconstructions, %",
        PERCENT,
        Spread::Pairs(|judged| inside(judged, &[0, 15])),
    ),
    measure(&JUDGED_SMOOTHNESS, "smoothness", FINE, Spread::Pairs(Judged::smoothness)),
    measure(&JUDGED_DETOUR, "detour", PLAIN, Spread::Pairs(Judged::detour)),
    measure(
        &JUDGED_PURITY,
        "purity within a class, %",
        PERCENT,
        Spread::Pairs(|judged| judged.purity(Between::OneClass)),
    ),
    measure(
        &JUDGED_PURITY_BETWEEN,
        "purity between classes, %",
        PERCENT,
        Spread::Pairs(|judged| judged.purity(Between::TwoClasses)),
    ),
];

impl Measure {
    fn text(&self, value: f64) -> String {
        let text = fixed(value * self.factor, self.decimals);
        text.strip_prefix('-').map(|size| format!("−{size}")).unwrap_or(text)
    }

    /// Half of the 95 % interval of a configuration's mean over pairs, for these very models.
    fn half(&self, group: &Group, verdicts: &[Verdicts]) -> Option<f64> {
        let half = match self.spread {
            Spread::Error(error) => Z * group.estimate(error).mean()?,
            Spread::Pairs(of) => {
                let runs: Vec<Vec<f64>> = verdicts.iter().map(|verdicts| of(&verdicts.judged)).collect();
                // On images all runs are asked about the same pairs; on lines each evaluation draws its own.
                let same = group.set.is_some() && runs.iter().all(|run| run.len() == runs[0].len());
                let values: Vec<f64> = if same {
                    let pairs = runs.first().map_or(0, Vec::len);
                    (0..pairs)
                        .map(|i| runs.iter().map(|run| run[i]).sum::<f64>() / runs.len() as f64)
                        .collect()
                } else {
                    runs.concat()
                };
                let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
                let degrees = (values.len().max(2) - 1) as f64;
                student_quantile(degrees) * mean_std(&values).1 / degrees.sqrt()
            }
        };
        Some(half).filter(|half| half.is_finite())
    }
}

/// The verdicts of a configuration's finished runs.
pub fn verdicts(group: &Group) -> Vec<Verdicts> {
    group.done().filter_map(|loaded| loaded.look(Run::verdicts)).collect()
}

/// The judge's word for an image, as its dataset's classes are called.
pub fn word(judge: &JudgeRecord, set: Option<&Set>, class: u32) -> String {
    match set {
        Some(set) if judge.lesson == Lesson::Classes => set.class_name(class),
        _ => judge.lesson.word(class),
    }
}

/// Where runs have been judged: on lines, or on an image set with one size of latents.
fn places(sweep: &Sweep) -> Vec<Option<&Set>> {
    let judged = |set: &Option<&Set>| on(sweep, *set).any(|group| group.has(&JUDGED_DISTANCE));
    std::iter::once(None).chain(sweep.sets().into_iter().map(Some)).filter(judged).collect()
}

fn on<'a>(sweep: &'a Sweep, set: Option<&Set>) -> impl Iterator<Item = &'a Group> {
    sweep.groups.iter().filter(move |group| group.set.as_ref() == set)
}

/// Table 5; none if no run was judged.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let places = places(sweep);
    if places.is_empty() {
        return None;
    }
    let groups: Vec<&Group> = places.iter().flat_map(|set| on(sweep, *set)).collect();
    let mut labels: Vec<&str> = Vec::new();
    for group in groups.iter().filter(|group| group.has(&JUDGED_DISTANCE)) {
        if !labels.contains(&group.label.as_str()) {
            labels.push(&group.label);
        }
    }
    let mut titles: Vec<&str> = Vec::new();
    for reference in places.iter().filter_map(|set| sweep.judge(*set)).flat_map(|judge| &judge.references) {
        if !titles.contains(&reference.title.as_str()) {
            titles.push(&reference.title);
        }
    }
    // Last what is as real as can be.
    titles.sort_by_key(|title| *title == "test images");
    let mut headings = vec!["Dataset, latent".to_owned(), String::new()];
    headings.extend(labels.iter().chain(&titles).map(|text| (*text).to_owned()));
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let (mut lines, mut notes) = (Vec::new(), Vec::new());
    let mut data = Frame::new(&COLUMNS);
    for set in places {
        let judge = sweep.judge(set);
        let here: Vec<(&Group, Vec<Verdicts>)> =
            on(sweep, set).map(|group| (group, verdicts(group))).collect();
        lines.extend(of_place(set, judge, &here, (&labels, &titles)));
        notes.extend(notes_of(set, judge, &here));
        here.iter().for_each(|(group, verdicts)| rows(&mut data, set, group, verdicts, sweep));
    }
    let part = Part {
        name: "Table 5".into(),
        caption: caption(&groups),
        conditions: Selection { groups: groups.clone() }.all_conditions(),
        label: "tab:judged",
        wide: true,
        headings,
        left: 2,
        lines,
        folded: Vec::new(),
        notes,
        provenance: provenance.line(),
    };
    Some(Sheet { id: "table5", title: "Table 5", parts: vec![part], data })
}

/// The lines of a place: one for each measure that anybody has.
fn of_place(
    set: Option<&Set>,
    judge: Option<&JudgeRecord>,
    here: &[(&Group, Vec<Verdicts>)],
    (labels, titles): (&[&str], &[&str]),
) -> Vec<Line> {
    let mut lines = Vec::new();
    for measure in MEASURES.iter().filter(|measure| here.iter().any(|(group, _)| group.has(measure.of))) {
        let means = || here.iter().filter_map(|(group, _)| group.estimate(measure.of).mean());
        let best =
            means().reduce(|best, mean| if measure.of.better.prefers(mean, best) { mean } else { best });
        let name =
            if lines.is_empty() { set.map_or_else(|| "Lines".into(), Set::name) } else { String::new() };
        let mut cells = vec![Entry::plain(name), Entry::plain(measure.heading)];
        for label in labels {
            let own = here.iter().find(|(group, _)| group.label == *label);
            let mean = own.and_then(|(group, _)| group.estimate(measure.of).mean());
            cells.push(match (own, mean) {
                (Some((group, verdicts)), Some(mean)) => {
                    let half = measure.half(group, verdicts);
                    let half = half.map(|half| format!(" ± {}", measure.text(half))).unwrap_or_default();
                    let best = best == Some(mean) && measure.of.better != Better::Neither;
                    Entry { best, ..Entry::number(measure.text(mean) + &half, mean * measure.factor) }
                }
                _ => Entry::plain("–"),
            });
        }
        for title in titles {
            let known = judge.and_then(|judge| judge.references.iter().find(|known| known.title == *title));
            let value = known.and_then(|known| known.values.get(&*measure.of.key));
            cells.push(match value {
                Some(value) => Entry::paper(measure.text(*value), *value * measure.factor),
                None => Entry::plain("–"),
            });
        }
        lines.push(Line { cells, first: lines.is_empty() });
    }
    lines
}

fn caption(groups: &[&Group]) -> String {
    let seeds = if groups.iter().any(|group| group.done().count() > 1) {
        " Means over seeds; the spread of seeds is in the CSV file."
    } else {
        ""
    };
    format!(
        "What a judge makes of interpolations between 256 pairs of test images, on image sets half of them of one class: a small \
         classifier of real images, whose penultimate layer is the space of features. Kernel distance (KID) to other test images, of the \
         images decoded in the middle (α from 1/4 to 3/4) and of reconstructions (α = 0 and 1), which tells blur from bad mixing; 0 is \
         as real as real ones. Precision: the share within the neighbourhood of a test image (Kynkäänniemi et al., 2019). Smoothness: \
         the longest of 15 steps through the features as a share of the way, less 1/15. Detour: the way over the straight one, less 1. \
         Purity: the share of images that the judge calls the class of both ends, or of one of them, with a probability above 0.9. \
         ± half of the 95 % interval over pairs, for these very models.{seeds} Distances compare within a dataset alone. Of smoothness and \
         detour alone nothing follows: a blend of pixels is smooth and straight, and not real. Best of ours in each row in bold. Not in \
         the paper."
    )
}

/// What is to be known of a place's judge.
fn notes_of(set: Option<&Set>, judge: Option<&JudgeRecord>, here: &[(&Group, Vec<Verdicts>)]) -> Vec<String> {
    let place = set.map_or_else(|| "Lines".into(), Set::name);
    let mut notes = Vec::new();
    match judge {
        Some(judge) => notes.push(format!(
            "{place}: the judge was trained on {} samples and tells {} % of {} test images right.",
            thousands(judge.samples),
            fixed(judge.accuracy * 100.0, 1),
            thousands(judge.tested as u64)
        )),
        None => notes.push(format!("{place}: the record of the judge is not in the sweep's folder.")),
    }
    let other = |verdicts: &Verdicts| judge.is_some_and(|judge| judge.weights != verdicts.judge);
    let others: Vec<&str> = here
        .iter()
        .filter(|(_, verdicts)| verdicts.iter().any(other))
        .map(|(group, _)| group.label.as_str())
        .collect();
    if !others.is_empty() {
        notes.push(format!(
            "{place}: measured by another judge than that of the sweep, so not to be compared: {}; `lerp eval RUN --write` measures a \
             run again.",
            listed(&others, 10, ", ")
        ));
    }
    let without = |loaded: &&Loaded| loaded.final_value(&JUDGED_DISTANCE.key).is_none();
    let without: Vec<&str> = here
        .iter()
        .filter(|(group, _)| group.done().any(|loaded| without(&loaded)))
        .map(|(group, _)| group.label.as_str())
        .collect();
    if !without.is_empty() {
        notes.push(format!(
            "{place}: not all finished runs were judged of {}; `lerp eval RUN --write` does, where a run has its model.",
            listed(&without, 10, ", ")
        ));
    }
    notes
}

/// Columns of the file of numbers.
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

fn rows(data: &mut Frame, set: Option<&Set>, group: &Group, verdicts: &[Verdicts], sweep: &Sweep) {
    let provenance = Provenance::of(&[group], &command(&sweep.dir, None));
    for measure in &MEASURES {
        let Some(center) = group.estimate(measure.of).mean() else { continue };
        let (mean, std, seeds) = group.estimate(measure.of).values();
        let half = measure.half(group, verdicts);
        let row: Vec<(&'static str, Value)> = vec![
            ("dataset", set.map_or("lines", |set| &set.dataset).into()),
            ("latent_dims", set.map(|set| set.dims).into()),
            ("variant", group.cell().variant.clone().into()),
            ("label", group.label.clone().into()),
            ("metric", measure.of.name().into()),
            ("mean", mean),
            ("std", std),
            ("seeds", seeds.into()),
            ("low", half.map(|half| center - half).into()),
            ("high", half.map(|half| center + half).into()),
        ];
        data.push(row, Some(&provenance));
    }
}
