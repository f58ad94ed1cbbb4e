//! Statistics of a sweep that several tables and figures show. In goes a [`Sweep`]; out comes an [`Analysis`], which
//! computes each of them once: paired values, ranks, judges' scores. Comparisons with the best configuration are made
//! for each table ([`Standings`]), and reference interpolations need no run.

mod correlations;
mod judged;
mod ranking;
mod references;
mod standings;

use std::sync::OnceLock;

use crate::reading::Sweep;

pub use correlations::{
    INTERPOLATION, Interpolation, MeasuredOn, Pairs, Pooled, USEFULNESS, Untested, is_a_pair, pairs_in_words,
};
pub use judged::{JudgedDataset, NORMAL_QUANTILE, Pairing, class_word};
pub use ranking::{RankColumn, Ranks};
pub use references::{BLACK, LineScores, NO_LINES, reference_scores, references};
pub use standings::{Standing, Standings};

/// A sweep with the statistics that several tables and figures show.
pub struct Analysis<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// The pairs of an interpolation metric and a metric of usefulness.
    pub pairs: Vec<Pairs<'a>>,
    /// The ranks of the variants over all tables, if there are enough of both.
    pub ranks: Option<Ranks<'a>>,
    judged: OnceLock<Vec<JudgedDataset<'a>>>,
}

impl<'a> Analysis<'a> {
    /// Analyses a sweep. `rank_columns` are the numbers that variants are ranked by.
    pub fn new(sweep: &'a Sweep, rank_columns: Vec<RankColumn<'a>>) -> Self {
        let ranks = Ranks::new(sweep, rank_columns);
        Self { sweep, pairs: Pairs::all(sweep), ranks, judged: OnceLock::new() }
    }

    /// Returns the judged configurations by dataset. The scores are read from the runs' files on the first call.
    pub fn judged(&self) -> &[JudgedDataset<'a>] {
        self.judged.get_or_init(|| JudgedDataset::all(self.sweep))
    }
}
