//! Differences from the best: what the tables of differences have in common.

use super::sheet::Entry;
use crate::{
    statistics::{Standing, Standings},
    text::signed,
};

impl Standing {
    /// Returns the cell of the difference and its interval, multiplied by `factor`.
    pub fn difference(self, factor: f64, decimals: usize) -> Entry {
        match self {
            Self::Unknown => Entry::dash(),
            Self::Best => Entry { best: true, ..Entry::number("best", 0.0) },
            Self::TooFew(_) => Entry::plain("too few seeds"),
            Self::Differs { difference, .. } => {
                let [mean, low, high] = [difference.mean, difference.interval.low, difference.interval.high]
                    .map(|v| signed(v * factor, decimals));
                let mark = if difference.undecided() { NEAR } else { "" };
                Entry::number(format!("{mean}{mark} [{low}, {high}]"), difference.mean * factor)
            }
        }
    }

    /// Returns the cell of the share of resamples in which the configuration is better than the best.
    pub fn share(self) -> Entry {
        match self {
            Self::Differs { better, .. } => {
                let percent = 100.0 * better;
                let text = match percent {
                    p if p > 0.0 && p < 0.5 => "< 1 %".to_owned(),
                    p if p < 100.0 && p > 99.5 => "> 99 %".to_owned(),
                    p => format!("{p:.0} %"),
                };
                Entry::number(text, better)
            }
            _ => Entry::dash(),
        }
    }
}

/// Returns the cell of the number of seeds in common with the best: one number, or one for each metric if they differ.
pub fn common_seeds(standings: impl IntoIterator<Item = Standing>) -> Entry {
    let of = |standing| match standing {
        Standing::Differs { seeds, .. } | Standing::TooFew(seeds) => Some(seeds),
        Standing::Best | Standing::Unknown => None,
    };
    let mut counts: Vec<usize> = standings.into_iter().filter_map(of).collect();
    counts.dedup();
    match counts.as_slice() {
        [] => Entry::dash(),
        [first, ..] => {
            let all: Vec<String> = counts.iter().map(ToString::to_string).collect();
            Entry::number(all.join(", "), *first as f64)
        }
    }
}

/// The mark that follows a number which cannot be told apart from the best.
pub const NEAR: &str = " ≈";

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
