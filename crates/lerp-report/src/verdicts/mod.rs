//! How runs compare with the paper. In go groups of runs; out come what of their training or measurement differs from the
//! paper's, and verdicts on whether its numbers are matched.

mod conditions;
mod verdict;

pub use conditions::{Selection, model_seeds};
pub use verdict::{Question, Relation, Verdict, verdict_notes, verdict_reasons, verdict_rules};
