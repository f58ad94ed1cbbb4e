//! Paired comparison of each configuration with the one that has the best mean, over the seeds that both have finished.

use std::collections::{BTreeMap, HashMap};

use lerp_eval::{Better, Bootstrap, Quantity, paired_bootstrap};

use crate::reading::RunGroup;

/// How a configuration compares with the best one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// The configuration has no value.
    Unknown,
    /// The configuration is the best one.
    Best,
    /// Too few seeds have a finished run of both configurations; the field is their number.
    TooFew(usize),
    /// The difference from the best is known.
    Differs {
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
    /// The configuration with the best mean, if any has one.
    pub best: Option<&'a RunGroup>,
    all: Vec<(&'a RunGroup, Standing)>,
    /// The index into `all` of each configuration, by the address of its group.
    indices: HashMap<*const RunGroup, usize>,
}

impl<'a> Standings<'a> {
    /// Compares `groups` in `metric`.
    pub fn new(groups: &[&'a RunGroup], metric: &Quantity) -> Self {
        let mut best: Option<(f64, &RunGroup)> = None;
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
            |group: &&'a RunGroup| (*group, best.map_or(Standing::Unknown, |b| compared(group, b, metric)));
        let indices = groups.iter().enumerate().map(|(index, group)| (std::ptr::from_ref(*group), index));
        Self { best, all: groups.iter().map(standing).collect(), indices: indices.collect() }
    }

    /// Returns the best configuration, or `None` if fewer than two configurations have a value.
    pub fn best_of_several(&self) -> Option<&'a RunGroup> {
        let known = self.all.iter().filter(|(_, standing)| *standing != Standing::Unknown).count();
        self.best.filter(|_| known > 1)
    }

    /// Returns how a configuration compares with the best.
    pub fn of(&self, group: &RunGroup) -> Standing {
        let index = self.indices.get(&std::ptr::from_ref(group));
        index.map_or(Standing::Unknown, |index| self.all[*index].1)
    }

    /// Returns whether any difference is known.
    pub fn any(&self) -> bool {
        self.all.iter().any(|(_, standing)| matches!(standing, Standing::Differs { .. }))
    }

    /// Returns whether any configuration has too few seeds in common with the best.
    pub fn too_few(&self) -> bool {
        self.all.iter().any(|(_, standing)| matches!(standing, Standing::TooFew(_)))
    }

    /// Returns the fewest seeds behind any known difference, or `None` if no difference is known.
    pub fn fewest(&self) -> Option<usize> {
        let seeds = |(_, standing): &(&RunGroup, Standing)| match standing {
            Standing::Differs { seeds, .. } => Some(*seeds),
            _ => None,
        };
        self.all.iter().filter_map(seeds).min()
    }
}

/// Compares one configuration with the best one.
fn compared(group: &RunGroup, best: &RunGroup, metric: &Quantity) -> Standing {
    if std::ptr::eq(group, best) {
        return Standing::Best;
    }
    if group.estimate(metric).mean().is_none() {
        return Standing::Unknown;
    }
    let values = |group: &RunGroup| -> BTreeMap<u64, f64> {
        let of_run = |seed, value: Option<f64>| value.filter(|v| v.is_finite()).map(|value| (seed, value));
        group.done().filter_map(|l| of_run(l.run.record.cell.seed, l.final_value(&metric.key))).collect()
    };
    let (ours, theirs) = (values(group), values(best));
    let differences: Vec<f64> =
        ours.iter().filter_map(|(seed, value)| Some(value - theirs.get(seed)?)).collect();
    let seeds = differences.len();
    paired_bootstrap(&differences).map_or(Standing::TooFew(seeds), |difference| {
        let better = if metric.better == Better::Lower { difference.below } else { 1.0 - difference.below };
        Standing::Differs { difference, better, seeds }
    })
}

impl Standing {
    /// Returns whether the configuration cannot be told apart from the best: the interval of the difference contains 0.
    pub fn undecided(self) -> bool {
        matches!(self, Self::Differs { difference, .. } if difference.undecided())
    }
}
