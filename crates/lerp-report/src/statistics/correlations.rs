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

use crate::reading::{LoadedRun, RunGroup, SizedImageSet, Sweep, distinct};

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
pub struct Interpolation {
    /// The metric, or a judge's score.
    pub metric: &'static Quantity,
    /// Where it is measured.
    pub on: MeasuredOn,
}

impl Interpolation {
    /// Returns the name in tables.
    pub fn title(&self) -> String {
        let prefix = if self.on == MeasuredOn::Lines { "lines: " } else { "" };
        format!("{prefix}{}", self.metric.title.to_lowercase())
    }
}

/// The interpolation metrics.
pub static INTERPOLATION: [Interpolation; 4] = [
    Interpolation { metric: &JUDGED_DISTANCE, on: MeasuredOn::Itself },
    Interpolation { metric: &JUDGED_SMOOTHNESS, on: MeasuredOn::Itself },
    Interpolation { metric: &MEAN_DISTANCE, on: MeasuredOn::Lines },
    Interpolation { metric: &MEAN_SMOOTHNESS, on: MeasuredOn::Lines },
];
/// The metrics of usefulness.
pub static USEFULNESS: [&Quantity; 2] = [&PROBE_ACCURACY, &CLUSTER_ACCURACY];
/// Pairs of a judge's score on lines and the true metric that it should stand for.
static SCORES: [(&Quantity, &Quantity); 4] = [
    (&JUDGED_DISTANCE, &MEAN_DISTANCE),
    (&JUDGED_PRECISION, &MEAN_DISTANCE),
    (&JUDGED_SMOOTHNESS, &MEAN_SMOOTHNESS),
    (&JUDGED_DETOUR, &DETOUR),
];

/// The points of one configuration in a scatter plot.
#[derive(Clone)]
pub struct GroupPoints<'a> {
    /// The configuration.
    pub group: &'a RunGroup,
    /// A pair of values for each finished run that has both.
    pub points: Vec<(f64, f64)>,
}

/// A pair of metrics, with their values in all runs on one dataset.
#[derive(Clone)]
pub struct Pairs<'a> {
    /// The image set; `None` for lines.
    pub set: Option<&'a SizedImageSet>,
    /// The interpolation metric, or the judge's score.
    pub x: Interpolation,
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
    fn new(sweep: &'a Sweep, set: Option<&'a SizedImageSet>, x: Interpolation, y: &'static Quantity) -> Self {
        let value = |loaded: &LoadedRun, of: &Quantity| loaded.final_value(&of.key).filter(|v| v.is_finite());
        let points = |group: &'a RunGroup| {
            let lines = sweep.only(None, &group.cell().variant).filter(|_| x.on == MeasuredOn::Lines);
            let lines = lines.and_then(|lines| lines.estimate(x.metric).mean());
            let point = |loaded: &LoadedRun| {
                let x = if x.on == MeasuredOn::Lines { lines } else { value(loaded, x.metric) };
                Some((x?, value(loaded, y)?))
            };
            GroupPoints { group, points: group.done().filter_map(point).collect() }
        };
        let groups =
            sweep.on(set).filter(|group| sweep.only(set, &group.cell().variant).is_some()).map(points);
        Self { set, x, y, groups: groups.filter(|found| !found.points.is_empty()).collect() }
    }

    /// Returns all pairs of an interpolation metric and a metric of usefulness that three configurations have, in the
    /// order of the table.
    pub fn all(sweep: &'a Sweep) -> Vec<Self> {
        let mut all = Vec::new();
        for set in sweep.sets() {
            for x in INTERPOLATION {
                all.extend(USEFULNESS.map(|y| Self::new(sweep, Some(set), x, y)));
            }
        }
        all.retain(|pairs| pairs.groups.len() > 2);
        all
    }

    /// Returns the pairs of a judge's score and the true metric on lines that three configurations have.
    pub fn scores(sweep: &'a Sweep) -> Vec<Self> {
        let pair = |(metric, y)| Self::new(sweep, None, Interpolation { metric, on: MeasuredOn::Itself }, y);
        let mut all: Vec<Self> = SCORES.map(pair).into_iter().collect();
        all.retain(|pairs| pairs.groups.len() > 2);
        all
    }

    /// Returns the pair with only those configurations for which `of` returns true.
    pub fn only(&self, of: impl Fn(&RunGroup) -> bool) -> Self {
        let groups = self.groups.iter().filter(|points| of(points.group));
        Self { groups: groups.cloned().collect(), ..*self }
    }

    /// Iterates over the configurations that have both values.
    pub fn configurations(&self) -> impl Iterator<Item = &'a RunGroup> {
        self.groups.iter().map(|points| points.group)
    }

    /// Returns whether the figure of usefulness shows this pair.
    pub fn is_drawn(&self) -> bool {
        *self.x.metric == JUDGED_DISTANCE || *self.x.metric == MEAN_DISTANCE
    }

    /// Returns both values, negated where lower is better.
    fn good(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (good(self.x.metric, x), good(self.y, y))
    }

    /// Returns a configuration's mean over seeds, with signs such that higher is better.
    fn mean(&self, points: &GroupPoints) -> (f64, f64) {
        let n = points.points.len() as f64;
        let sum = points.points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        self.good((sum.0 / n, sum.1 / n))
    }

    /// Returns the correlation over the means of variants.
    pub fn over_variants(&self) -> Option<Association> {
        spearman(&self.groups.iter().map(|points| self.mean(points)).collect::<Vec<_>>())
    }

    /// Returns the correlation over runs, or `None` if there are no more runs than variants.
    pub fn over_runs(&self) -> Option<Untested> {
        let runs = self.groups.iter().flat_map(|points| &points.points).map(|point| self.good(*point));
        let runs: Vec<(f64, f64)> = runs.collect();
        Some(Untested { rho: rank_correlation(&runs)?, points: runs.len() })
            .filter(|found| found.points > self.groups.len())
    }

    /// Returns the correlation over all evaluations of all runs.
    pub fn over_evaluations(&self) -> Option<Untested> {
        let of = |loaded: &LoadedRun| {
            let metrics = loaded.read_file(|run: &Run| run.metrics().map(Some)).unwrap_or_default();
            let other: HashMap<u64, f64> =
                metrics.series(&self.y.key).map(|row| (row.step, row.value)).collect();
            let both = |row: &MetricRow| Some(self.good((row.value, *other.get(&row.step)?)));
            let points = metrics.series(&self.x.metric.key).filter_map(both);
            points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect::<Vec<_>>()
        };
        let all: Vec<(f64, f64)> = self.configurations().flat_map(RunGroup::done).flat_map(of).collect();
        Some(Untested { rho: rank_correlation(&all)?, points: all.len() })
    }
}

/// The correlation of two metrics over all image sets together, by the mean ranks of the variants that are in every
/// set.
pub struct Pooled<'a> {
    /// The rank correlation.
    pub found: Association,
    /// The configurations that it is over.
    pub groups: Vec<&'a RunGroup>,
    /// The number of pairs of an image set and a latent size.
    pub sets: usize,
}

impl<'a> Pooled<'a> {
    /// Correlates `x` and `y`, or returns `None` if fewer than three variants have both on every image set.
    pub fn of(all: &[Pairs<'a>], x: &Quantity, y: &Quantity) -> Option<Self> {
        let all: Vec<&Pairs> = all.iter().filter(|pairs| pairs.x.metric == x && pairs.y == y).collect();
        let of = |pairs: &Pairs<'a>, variant: &str| -> Option<(&'a RunGroup, (f64, f64))> {
            let points = pairs.groups.iter().find(|points| points.group.cell().variant == variant)?;
            Some((points.group, pairs.mean(points)))
        };
        let variants = all.first()?.configurations().map(|group| group.cell().variant.as_str());
        let everywhere = |variant: &&str| all.iter().all(|pairs| of(pairs, variant).is_some());
        let variants: Vec<&str> = variants.filter(everywhere).collect();
        let found: Vec<Vec<(&RunGroup, (f64, f64))>> = all
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

/// A rank correlation without a significance test.
#[derive(Debug, Clone, Copy)]
pub struct Untested {
    /// The correlation.
    pub rho: f64,
    /// The number of points that it is over.
    pub points: usize,
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
