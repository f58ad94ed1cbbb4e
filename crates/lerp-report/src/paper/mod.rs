//! What the paper says, and how runs compare with it. In go groups of runs; out come the paper's numbers, what of the
//! training or measurement differs from the paper's, and verdicts on whether its numbers are matched.

mod conditions;
mod published;
mod verdict;

pub use conditions::{Selection, model_seeds};
pub use published::{PublishedNumber, PublishedRow, published};
pub use verdict::{Question, Relation, Verdict, verdict_notes, verdict_reasons, verdict_rules};
