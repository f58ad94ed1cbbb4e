//! The verdict on whether one of our numbers matches the paper's.
//!
//! Under the paper's conditions, our number is better, the same or worse, by the 95 % confidence interval of the
//! difference of the means (Welch's t). The paper's means are over five runs; its standard deviations, like ours, have
//! divisor n, and both are converted to n - 1. A side without a spread of its own (a single seed of ours, a single run
//! of the paper's) is treated as one more draw with the other side's spread. If neither side has a spread, there is no
//! verdict. A difference that the paper's rounding to two decimals can explain counts as none.
//!
//! If our training differs (fewer samples, another learning rate), the question is whether the paper's number is
//! reached. It is reached if our mean is as good, up to the paper's rounding; nearly reached if it is not, but the
//! interval contains the paper's number; and not reached otherwise. If neither side has a spread, the means alone
//! decide. If what was measured differs from the paper, the numbers cannot be compared.

use std::collections::HashMap;

use lerp_eval::{Better, Interval, Sample, welch_interval};
use serde::Serialize;

use super::conditions::Deviations;
use crate::{
    paper::{PublishedNumber, published},
    reading::Estimate,
    text::{MAX_NAMES, listed, names},
};

/// How our number compares with the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Ours is better, by more than the interval allows.
    Better,
    /// The difference lies within the interval.
    Same,
    /// Ours is worse, by more than the interval allows.
    Worse,
    /// The training differs from the paper's, and ours is as good.
    Reached,
    /// The training differs from the paper's, and ours is not as good, but the interval contains the paper's number.
    NearlyReached,
    /// The training differs from the paper's, and ours is worse, by more than the interval allows.
    NotReached,
    /// What was measured differs from the paper.
    Incomparable,
    /// Neither side has a spread.
    Spreadless,
}

impl Relation {
    /// Returns the verdict as printed in tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::Worse => "worse",
            Self::Reached => "reached",
            Self::NearlyReached => "reached ≈",
            Self::NotReached => "not reached",
            Self::Incomparable => "n/c",
            Self::Spreadless => "no spread",
        }
    }

    /// Returns the verdict as written to CSV and parquet files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incomparable => "not comparable",
            other => other.word(),
        }
    }

    /// Returns the sort key of the verdict, lower for better; `None` if the verdict does not rank the numbers.
    pub fn rank(self) -> Option<f64> {
        match self {
            Self::Better => Some(0.0),
            Self::Same => Some(1.0),
            Self::Worse => Some(2.0),
            Self::Reached => Some(3.0),
            Self::NearlyReached => Some(4.0),
            Self::NotReached => Some(5.0),
            Self::Incomparable | Self::Spreadless => None,
        }
    }
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The verdict.
    pub relation: Relation,
    /// The reason in words: why the numbers cannot be compared, or else the interval of the difference and how the
    /// training differs.
    pub reason: String,
    /// The separate differences of the training, or of the measurement if that makes the numbers incomparable.
    #[serde(skip)]
    pub parts: Vec<String>,
}

/// The two numbers to compare, and the conditions of the comparison.
pub struct Question<'a> {
    /// Our number.
    pub ours: Estimate,
    /// The paper's number, in the paper's unit.
    pub paper: PublishedNumber,
    /// The factor that converts our values to the paper's unit.
    pub factor: f64,
    /// Whether lower or higher values are better.
    pub better: Better,
    /// How our conditions deviate from the paper's.
    pub deviations: &'a Deviations,
}

impl Question<'_> {
    /// Returns the verdict, or `None` if we have no number.
    pub fn verdict(&self) -> Option<Verdict> {
        let Deviations { training, measured } = self.deviations;
        let (mean, std, n) = match self.ours {
            Estimate::Missing => return None,
            Estimate::Known { .. } | Estimate::Undefined if !measured.is_empty() => {
                return Some(Verdict::new(Relation::Incomparable, None, measured));
            }
            Estimate::Undefined => {
                return Some(Verdict::new(Relation::Incomparable, None, &["ours is undefined".into()]));
            }
            Estimate::Known { mean, std, n } => (mean * self.factor, std * self.factor, n),
        };
        let (paper, runs) = match self.paper.std {
            Some(std) => (std, published().training.runs),
            None => (0.0, 1),
        };
        let ours = Sample { mean, std, n };
        let theirs = Sample { mean: self.paper.mean, std: paper, n: runs };
        let interval = welch_interval(ours, theirs);
        let difference = mean - self.paper.mean;
        let Interval { low, high } = interval.unwrap_or(Interval { low: difference, high: difference });
        // Half a unit in the last decimal that the paper prints.
        let rounding = 0.005;
        let relation = match (low > rounding, high < -rounding) {
            (false, false) => Relation::Same,
            (above, _) if above == (self.better == Better::Lower) => Relation::Worse,
            _ => Relation::Better,
        };
        let behind = if self.better == Better::Lower { difference } else { -difference };
        let relation = match (relation, interval) {
            (Relation::Worse, _) if !training.is_empty() => Relation::NotReached,
            (Relation::Same, _) if !training.is_empty() && behind > rounding => Relation::NearlyReached,
            _ if !training.is_empty() => Relation::Reached,
            (_, None) => Relation::Spreadless,
            (relation, Some(_)) => relation,
        };
        let reason = if interval.is_some() {
            format!("ours minus the paper's is from {low:.2} to {high:.2} with 95 % confidence")
        } else {
            "neither side has more than one run".to_owned()
        };
        Some(Verdict::new(relation, Some(reason), training))
    }
}

impl Verdict {
    fn new(relation: Relation, reason: Option<String>, parts: &[String]) -> Self {
        let differs = match relation {
            Relation::Incomparable => String::new(),
            _ => "the training differs from the paper's: ".to_owned(),
        };
        let reason = reason.into_iter().chain((!parts.is_empty()).then(|| differs + &parts.join(", ")));
        Self { relation, reason: reason.collect::<Vec<_>>().join("; "), parts: parts.to_vec() }
    }
}

/// Returns the notes under a table with these verdicts, each given with the name of its row.
pub fn verdict_notes(verdicts: &[(String, Verdict)]) -> Vec<String> {
    verdict_rules(verdicts).into_iter().chain(verdict_reasons(verdicts)).collect()
}

/// The explanation of how a difference is judged.
const INTERVAL: &str = "by the 95 % interval of the difference of the means (Welch's t), in which a side of a single run \
                            is taken to have the other's spread";

/// Returns notes that explain the verdicts that occur.
pub fn verdict_rules(verdicts: &[(String, Verdict)]) -> Vec<String> {
    let mut notes = Vec::new();
    let is = |wanted: &[Relation]| verdicts.iter().any(|(_, verdict)| wanted.contains(&verdict.relation));
    if is(&[Relation::Better, Relation::Same, Relation::Worse]) {
        notes.push(format!("better, same, worse: under the paper's conditions, {INTERVAL}."));
    }
    if is(&REACHING) {
        notes.push(format!(
            "reached: after another training than the paper's, our mean is as good as the paper's number; reached ≈: it is not, \
             but cannot be told from it, {INTERVAL}; not reached: neither. Where neither side has more than one run, the two \
             numbers alone decide."
        ));
    }
    if is(&[Relation::Spreadless]) {
        notes.push(
            "no spread: neither the paper nor the runs here have more than one value to compare.".into(),
        );
    }
    notes
}

/// The verdicts for runs whose training differs from the paper's.
const REACHING: [Relation; 3] = [Relation::Reached, Relation::NearlyReached, Relation::NotReached];

/// Returns notes on how the training of rows differs from the paper's, and on why rows cannot be compared.
pub fn verdict_reasons(verdicts: &[(String, Verdict)]) -> impl Iterator<Item = String> {
    let of = |what: &str, wanted: &[Relation]| {
        parts(verdicts, |verdict| wanted.contains(&verdict.relation)).map(|parts| format!("{what}: {parts}."))
    };
    let training = of("How the training differs from the paper's", &REACHING);
    let measured = of("n/c, not comparable with the paper's", &[Relation::Incomparable]);
    training.into_iter().chain(measured)
}

/// Combines the differences of the `wanted` verdicts: first those that all rows share, then each row's own. Returns
/// `None` if no verdict is wanted.
fn parts<'a>(verdicts: &'a [(String, Verdict)], wanted: impl Fn(&Verdict) -> bool) -> Option<String> {
    // The differences of each row, over all of its metrics.
    let mut rows: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut indices: HashMap<&str, usize> = HashMap::new();
    for (name, verdict) in verdicts.iter().filter(|(_, verdict)| wanted(verdict)) {
        let index = *indices.entry(name).or_insert(rows.len());
        if index == rows.len() {
            rows.push((name, Vec::new()));
        }
        for part in &verdict.parts {
            if !rows[index].1.contains(&part.as_str()) {
                rows[index].1.push(part);
            }
        }
    }
    let (_, first) = rows.first()?;
    // A difference is stated without row names only if it applies to every row of the table.
    let all = verdicts.iter().all(|(name, _)| indices.contains_key(name.as_str()));
    let everywhere = |part: &str| all && rows.iter().all(|(_, parts)| parts.contains(&part));
    let shared: Vec<&str> = first.iter().copied().filter(|part| everywhere(part)).collect();
    let mut own: Vec<(String, Vec<&str>)> = Vec::new();
    let mut indices: HashMap<String, usize> = HashMap::new();
    for (name, parts) in &rows {
        // The variant's name is not repeated: `AAE: advweight 0.01`, not `AAE: AAE's advweight 0.01`.
        let own_words = |part: &&'a str| match part.split_once("'s ") {
            Some((title, rest)) if name.ends_with(title) => rest,
            _ => *part,
        };
        let rest = parts.iter().filter(|part| !shared.contains(part)).map(own_words);
        let rest: Vec<&str> = rest.collect();
        let rest = rest.join(", ");
        if rest.is_empty() {
            continue;
        }
        let index = *indices.entry(rest.clone()).or_insert(own.len());
        if index == own.len() {
            own.push((rest, Vec::new()));
        }
        own[index].1.push(name);
    }
    let mut sentences = vec![shared.join(", ")];
    sentences.retain(|sentence| !sentence.is_empty());
    sentences.extend(own.iter().map(|(rest, rows)| format!("{}: {rest}", names(rows))));
    Some(listed(&sentences, MAX_NAMES, "; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        ours: Estimate,
        paper: (f64, Option<f64>),
        better: Better,
        deviations: &Deviations,
    ) -> Option<Relation> {
        let paper = PublishedNumber { mean: paper.0, std: paper.1, mean_checked: true };
        Question { ours, paper, factor: 1e3, better, deviations }.verdict().map(|v| v.relation)
    }

    #[test]
    fn verdicts() {
        let known = |mean: f64, std: f64, n| Estimate::Known { mean: mean * 1e-3, std: std * 1e-3, n };
        let acai = (0.24, Some(0.01));
        for (ours, paper, better, wanted) in [
            // One seed: the tolerance is 2.776 * 0.01118 * sqrt(1.2) = 0.034, plus half a unit of the paper's last
            // digit.
            (known(0.27, 0.0, 1), acai, Better::Lower, Some(Relation::Same)),
            (known(0.285, 0.0, 1), acai, Better::Lower, Some(Relation::Worse)),
            (known(0.20, 0.0, 1), acai, Better::Lower, Some(Relation::Better)),
            (known(0.20, 0.0, 1), acai, Better::Higher, Some(Relation::Worse)),
            // Five seeds give a narrower interval.
            (known(0.27, 0.01, 5), acai, Better::Lower, Some(Relation::Worse)),
            (known(0.25, 0.01, 5), acai, Better::Lower, Some(Relation::Same)),
            // The paper's Table 3 is of single runs.
            (known(94.0, 0.1, 2), (90.0, None), Better::Higher, Some(Relation::Better)),
            (known(94.0, 4.0, 2), (90.0, None), Better::Higher, Some(Relation::Same)),
            (known(94.0, 0.0, 1), (90.0, None), Better::Higher, Some(Relation::Spreadless)),
            (Estimate::Undefined, acai, Better::Lower, Some(Relation::Incomparable)),
            (Estimate::Missing, acai, Better::Lower, None),
        ] {
            assert_eq!(ask(ours, paper, better, &Deviations::default()), wanted, "{ours:?} {paper:?}");
        }
        let short = Deviations { training: vec!["1 % of the samples".into()], measured: Vec::new() };
        for (ours, paper, better, wanted) in [
            (known(0.20, 0.0, 1), acai, Better::Lower, Relation::Reached),
            // The interval contains the paper's number.
            (known(0.27, 0.0, 1), acai, Better::Lower, Relation::NearlyReached),
            (known(0.3, 0.02, 2), acai, Better::Lower, Relation::NearlyReached),
            (known(0.3, 0.0, 1), acai, Better::Lower, Relation::NotReached),
            (known(0.3, 0.0, 1), acai, Better::Higher, Relation::Reached),
            // Neither side has a spread.
            (known(94.0, 0.0, 1), (90.0, None), Better::Higher, Relation::Reached),
            (known(89.0, 0.0, 1), (90.0, None), Better::Higher, Relation::NotReached),
            (Estimate::Undefined, acai, Better::Lower, Relation::Incomparable),
        ] {
            assert_eq!(ask(ours, paper, better, &short), Some(wanted), "{ours:?} {paper:?}");
        }
        let black = Deviations { measured: vec!["black images".into()], ..short };
        let known = known(0.2, 0.0, 1);
        assert_eq!(ask(known, acai, Better::Lower, &black), Some(Relation::Incomparable));
    }

    #[test]
    fn differences_shared_by_all_rows_are_stated_once() {
        let row = |name: &str, relation, parts: &[&str]| {
            let parts = parts.iter().map(|part| (*part).to_owned()).collect();
            (name.to_owned(), Verdict { relation, reason: String::new(), parts })
        };
        let short = "1 % of the samples";
        let all = [
            row("A", Relation::Incomparable, &[short]),
            row("B", Relation::Incomparable, &[short, "another rate"]),
            row("C", Relation::Incomparable, &[short, "another rate"]),
            row("A", Relation::Incomparable, &[short]),
        ];
        assert_eq!(
            verdict_notes(&all),
            ["n/c, not comparable with the paper's: 1 % of the samples; B, C: another rate."]
        );
        let reached = [
            row("A", Relation::Reached, &[short]),
            row("A", Relation::NotReached, &[short]),
            row("B", Relation::NotReached, &[short, "another rate", "B's weight 0.1 instead of 1"]),
            row("B", Relation::Incomparable, &["black images"]),
        ];
        assert!(verdict_notes(&reached)[0].starts_with("reached: after another training"));
        assert_eq!(
            verdict_notes(&reached)[1..],
            [
                "How the training differs from the paper's: 1 % of the samples; B: another rate, weight 0.1 instead of 1.",
                "n/c, not comparable with the paper's: B: black images."
            ]
        );
        let some = [row("A", Relation::Same, &[]), row("B", Relation::Incomparable, &[short])];
        assert_eq!(verdict_notes(&some).len(), 2);
        assert!(
            verdict_notes(&some)[0].starts_with("better, same, worse:")
                && verdict_notes(&some)[1].ends_with("paper's: B: 1 % of the samples.")
        );
        assert!(verdict_notes(&[row("A", Relation::Spreadless, &[])])[0].starts_with("no spread:"));
        assert!(verdict_notes(&[]).is_empty());
    }
}
