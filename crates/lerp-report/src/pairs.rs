//! Paired comparison of each configuration with the one that has the best mean, over the seeds that both have finished.

use std::collections::{BTreeMap, HashMap};

use lerp_eval::{Better, Bootstrap, Quantity, paired_bootstrap};
use polars::prelude::DataType;

use crate::{frame::Value, sheet::Entry, summary::Group, text::fixed};

/// How a configuration compares with the best one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// The configuration has no value.
    Unknown,
    /// The configuration is the best one.
    Best,
    /// Too few seeds have a finished run of both configurations; the field is their number.
    Few(usize),
    /// The difference from the best is known.
    Beside {
        /// This configuration's value minus the best one's, over seeds.
        difference: Bootstrap,
        /// The share of bootstrap resamples in which this configuration is better.
        better: f64,
        /// The number of seeds that have a finished run of both.
        seeds: usize,
    },
}

/// The configurations on one dataset, compared in one metric.
#[derive(Debug, Clone)]
pub struct Standings<'a> {
    best: Option<&'a Group>,
    all: Vec<(&'a Group, Standing)>,
    /// The index into `all` of each configuration, by the address of its group.
    places: HashMap<*const Group, usize>,
}

impl<'a> Standings<'a> {
    /// Compares `groups` in `metric`.
    pub fn new(groups: &[&'a Group], metric: &Quantity) -> Self {
        let mut best: Option<(f64, &Group)> = None;
        for group in groups {
            // Metrics without a better direction, such as counts, have no best value.
            if metric.better != Better::Neither
                && let Some(mean) = group.estimate(metric).mean()
                && best.is_none_or(|(known, _)| metric.better.prefers(mean, known))
            {
                best = Some((mean, group));
            }
        }
        let best = best.map(|(_, group)| group);
        let standing =
            |group: &&'a Group| (*group, best.map_or(Standing::Unknown, |b| beside(group, b, metric)));
        let places = groups.iter().enumerate().map(|(place, group)| (std::ptr::from_ref(*group), place));
        Self { best, all: groups.iter().map(standing).collect(), places: places.collect() }
    }

    /// Returns the best configuration, or `None` if fewer than two configurations have a value.
    pub fn best_of_several(&self) -> Option<&'a Group> {
        let known = self.all.iter().filter(|(_, standing)| *standing != Standing::Unknown).count();
        self.best.filter(|_| known > 1)
    }

    /// Returns how a configuration compares with the best.
    pub fn of(&self, group: &Group) -> Standing {
        let place = self.places.get(&std::ptr::from_ref(group));
        place.map_or(Standing::Unknown, |place| self.all[*place].1)
    }

    /// Returns whether any difference is known.
    pub fn any(&self) -> bool {
        self.all.iter().any(|(_, standing)| matches!(standing, Standing::Beside { .. }))
    }

    /// Returns whether any configuration has too few seeds in common with the best.
    pub fn too_few(&self) -> bool {
        self.all.iter().any(|(_, standing)| matches!(standing, Standing::Few(_)))
    }

    /// Returns the fewest seeds behind any known difference, or `None` if no difference is known.
    pub fn fewest(&self) -> Option<usize> {
        let seeds = |(_, standing): &(&Group, Standing)| match standing {
            Standing::Beside { seeds, .. } => Some(*seeds),
            _ => None,
        };
        self.all.iter().filter_map(seeds).min()
    }

    /// Returns a configuration's values of the columns in [`COLUMNS`].
    pub fn values(&self, group: &Group) -> Vec<(&'static str, Value)> {
        let mut values = vec![("best", self.best.map(|best| best.label.clone()).into())];
        match self.of(group) {
            Standing::Unknown => values.clear(),
            Standing::Best => {}
            Standing::Few(seeds) => values.push(("common_seeds", seeds.into())),
            Standing::Beside { difference, better, seeds } => values.extend([
                ("minus_best", difference.mean.into()),
                ("minus_best_low", difference.low.into()),
                ("minus_best_high", difference.high.into()),
                ("better_share", better.into()),
                ("common_seeds", seeds.into()),
            ]),
        }
        values
    }
}

/// The columns of the CSV and parquet files that compare a row with the best one.
pub const COLUMNS: [(&str, DataType); 6] = [
    ("best", DataType::String),
    ("minus_best", DataType::Float64),
    ("minus_best_low", DataType::Float64),
    ("minus_best_high", DataType::Float64),
    ("better_share", DataType::Float64),
    ("common_seeds", DataType::Int64),
];

/// Compares one configuration with the best one.
fn beside(group: &Group, best: &Group, metric: &Quantity) -> Standing {
    if std::ptr::eq(group, best) {
        return Standing::Best;
    }
    if group.estimate(metric).mean().is_none() {
        return Standing::Unknown;
    }
    let values = |group: &Group| -> BTreeMap<u64, f64> {
        let of_run = |seed, value: Option<f64>| value.filter(|v| v.is_finite()).map(|value| (seed, value));
        group.done().filter_map(|l| of_run(l.run.record.cell.seed, l.final_value(&metric.key))).collect()
    };
    let (ours, theirs) = (values(group), values(best));
    let differences: Vec<f64> =
        ours.iter().filter_map(|(seed, value)| Some(value - theirs.get(seed)?)).collect();
    let seeds = differences.len();
    paired_bootstrap(&differences).map_or(Standing::Few(seeds), |difference| {
        let better = if metric.better == Better::Lower { difference.below } else { 1.0 - difference.below };
        Standing::Beside { difference, better, seeds }
    })
}

impl Standing {
    /// Returns whether the configuration cannot be told apart from the best: the interval of the difference contains 0.
    pub fn undecided(self) -> bool {
        matches!(self, Self::Beside { difference, .. } if difference.undecided())
    }

    /// Returns the cell of the difference and its interval, multiplied by `factor`.
    pub fn difference(self, factor: f64, decimals: usize) -> Entry {
        match self {
            Self::Unknown => Entry::plain("–"),
            Self::Best => Entry { best: true, ..Entry::number("best", 0.0) },
            Self::Few(_) => Entry::plain("too few seeds"),
            Self::Beside { difference, .. } => {
                let [mean, low, high] =
                    [difference.mean, difference.low, difference.high].map(|v| signed(v * factor, decimals));
                let mark = if difference.undecided() { NEAR } else { "" };
                Entry::number(format!("{mean}{mark} [{low}, {high}]"), difference.mean * factor)
            }
        }
    }

    /// Returns the cell of the share of resamples in which the configuration is better than the best.
    pub fn share(self) -> Entry {
        match self {
            Self::Beside { better, .. } => {
                let percent = 100.0 * better;
                let text = match percent {
                    p if p > 0.0 && p < 0.5 => "< 1 %".to_owned(),
                    p if p < 100.0 && p > 99.5 => "> 99 %".to_owned(),
                    p => format!("{p:.0} %"),
                };
                Entry::number(text, better)
            }
            _ => Entry::plain("–"),
        }
    }
}

/// Returns the cell of the number of seeds in common with the best: one number, or one for each metric if they differ.
pub fn seeds(standings: impl IntoIterator<Item = Standing>) -> Entry {
    let of = |standing| match standing {
        Standing::Beside { seeds, .. } | Standing::Few(seeds) => Some(seeds),
        Standing::Best | Standing::Unknown => None,
    };
    let mut counts: Vec<usize> = standings.into_iter().filter_map(of).collect();
    counts.dedup();
    match counts.as_slice() {
        [] => Entry::plain("–"),
        [first, ..] => {
            let all: Vec<String> = counts.iter().map(ToString::to_string).collect();
            Entry::number(all.join(", "), *first as f64)
        }
    }
}

/// The mark that follows a number which cannot be told apart from the best.
pub const NEAR: &str = " ≈";

/// Formats a number with its sign, which is omitted if the number is printed as zero.
fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value.abs(), decimals);
    match value {
        _ if text.chars().all(|c| "0.".contains(c)) => text,
        v if v < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// The caption of a table of differences.
pub const CAPTION: &str = "Differences from the best. Each variant's value minus that of the variant with the best mean, \
     over the seeds that both have finished: the mean with its 95 % interval by the paired bootstrap over seeds (percentiles; \
     all resamples are counted up to 10 seeds), and the share of resamples in which the variant is better than the best. ≈: \
     the interval contains 0, so the two cannot be told apart.";

/// Returns a note on the coarseness of bootstrap intervals over few seeds, or `None` for five seeds or more.
pub fn coarse_note(fewest: usize) -> Option<String> {
    (fewest < 5).then(|| {
        format!(
            "Intervals of 2 to 4 seeds are coarse and too narrow: of {fewest} seeds, all differences of two equally good \
             variants have one sign by chance in one of {} cases, and the interval then leaves 0 out.",
            1_u32 << (fewest - 1)
        )
    })
}

/// Returns a note if some rows have too few seeds in common with the best and no difference is known.
pub fn too_few_note(tables: &[&Standings]) -> Option<String> {
    let none = !tables.iter().any(|all| all.any()) && tables.iter().any(|all| all.too_few());
    none.then(|| {
        "Whether the best is better than the others by more than chance cannot be said: none has two finished seeds in \
         common with it."
            .into()
    })
}
