//! Columns that several CSV and parquet files have: which configuration a row is of, what it was measured to be, and how
//! that compares.

use lerp_eval::Interval;
use lerp_train::Cell;

use super::frame::{FrameRow, Value};
use crate::{
    paper::PublishedNumber,
    reading::{Estimate, RunGroup},
    statistics::{Standing, Standings},
    verdicts::Verdict,
};

/// The columns of [`conditions`].
pub const CONDITIONS: [&str; 4] = ["samples", "learning_rate", "schedule", "ema"];

/// The columns of [`verdict`].
pub const VERDICT: [&str; 5] =
    ["published_mean", "published_std", "published_mean_checked", "verdict", "verdict_reason"];

/// The columns of [`standing`].
pub const STANDING: [&str; 6] =
    ["best", "minus_best", "minus_best_low", "minus_best_high", "better_share", "common_seeds"];

/// Returns the columns that name a configuration. `latent` is the name of the column of the latent dimensionality.
pub fn configuration(group: &RunGroup, latent: &'static str) -> FrameRow {
    vec![
        ("dataset", group.dataset().into()),
        (latent, group.set.as_ref().map(|set| set.dims).into()),
        ("variant", group.cell().variant.as_str().into()),
        ("label", group.label.as_str().into()),
    ]
}

/// Returns the mean, the standard deviation and the number of runs. The mean is empty if no run is finished and NaN if
/// the metric is undefined; the deviation is empty for a single run.
pub fn estimate(estimate: Estimate) -> [(&'static str, Value); 3] {
    let (mean, std, seeds) = match estimate {
        Estimate::Known { mean, n: 1, .. } => (Value::Real(mean), Value::None, 1),
        Estimate::Known { mean, std, n } => (Value::Real(mean), Value::Real(std), n),
        Estimate::Undefined => (Value::Real(f64::NAN), Value::None, 0),
        Estimate::Missing => (Value::None, Value::None, 0),
    };
    [("mean", mean), ("std", std), ("seeds", seeds.into())]
}

/// Returns the ends of an interval.
pub fn interval(interval: Option<Interval>) -> [(&'static str, Value); 2] {
    [("low", interval.map(|ends| ends.low).into()), ("high", interval.map(|ends| ends.high).into())]
}

/// Returns the training of a cell. What is unknown of a model that was trained elsewhere is empty.
pub fn conditions(cell: &Cell) -> [(&'static str, Value); 4] {
    let here = cell.origin.is_trained();
    [
        ("samples", cell.known_samples().into()),
        ("learning_rate", here.then_some(cell.learning_rate).into()),
        ("schedule", here.then(|| cell.schedule.to_string()).into()),
        ("ema", cell.ema.into()),
    ]
}

/// Returns the paper's number, divided by `factor` into our unit, and the verdict on ours.
pub fn verdict(
    paper: Option<PublishedNumber>,
    factor: f64,
    verdict: Option<Verdict>,
) -> [(&'static str, Value); 5] {
    // Dividing by a power of ten is not exact, so the quotient is rounded.
    let unscaled = |v: f64| (v / factor * 1e9).round() / 1e9;
    let (relation, reason) = verdict.map(|v| (v.relation.name(), v.reason)).unzip();
    [
        ("published_mean", paper.map(|number| unscaled(number.mean)).into()),
        ("published_std", paper.and_then(|number| number.std).map(unscaled).into()),
        ("published_mean_checked", paper.map(|number| number.mean_checked).into()),
        ("verdict", relation.into()),
        ("verdict_reason", reason.into()),
    ]
}

/// Returns how a configuration compares with the best.
pub fn standing(standings: Option<&Standings>, group: &RunGroup) -> FrameRow {
    let Some(standings) = standings else { return FrameRow::new() };
    let mut row: FrameRow = vec![("best", standings.best.map(|best| best.label.as_str()).into())];
    match standings.of(group) {
        Standing::Unknown => row.clear(),
        Standing::Best => {}
        Standing::TooFew(seeds) => row.push(("common_seeds", seeds.into())),
        Standing::Differs { difference, better, seeds } => row.extend([
            ("minus_best", difference.mean.into()),
            ("minus_best_low", difference.interval.low.into()),
            ("minus_best_high", difference.interval.high.into()),
            ("better_share", better.into()),
            ("common_seeds", seeds.into()),
        ]),
    }
    row
}
