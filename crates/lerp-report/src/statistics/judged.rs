//! What a judge makes of the interpolations of each configuration, as its runs have stored it.

use lerp_eval::quantity::JUDGED_DISTANCE;
use lerp_train::{JudgeRecord, JudgeScores, JudgeTarget, Run};

use crate::reading::{LoadedRun, RunGroup, SizedImageSet, Sweep};

/// The 97.5 % quantile of the standard normal distribution.
pub const NORMAL_QUANTILE: f64 = 1.96;

/// Whether the runs of a configuration are measured on the same pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// All runs are measured on the same pairs, as on image sets.
    Shared,
    /// Each run has pairs of its own, as on lines.
    Own,
}

/// A dataset (lines, or an image set with one latent size) and the configurations that were judged on it.
pub struct JudgedDataset<'a> {
    /// The image set; `None` for lines.
    pub set: Option<&'a SizedImageSet>,
    /// The record of the judge, if the sweep has it.
    pub judge: Option<&'a JudgeRecord>,
    /// The configurations with the judge's scores of their finished runs, which are never empty.
    pub groups: Vec<(&'a RunGroup, Vec<JudgeScores>)>,
}

impl<'a> JudgedDataset<'a> {
    /// Reads the judge's scores of all runs of a sweep. Datasets without any are left out.
    pub fn all(sweep: &'a Sweep) -> Vec<Self> {
        let sets = sweep.lines_and_image_sets().into_iter().map(|set| {
            let groups = sweep.on(set).map(|group| (group, scores_of(group)));
            let groups = groups.filter(|(_, scores)| !scores.is_empty()).collect();
            Self { set, judge: sweep.judge(set), groups }
        });
        sets.filter(|judged: &Self| !judged.groups.is_empty()).collect()
    }

    /// Returns how the runs on it are measured.
    pub fn pairing(&self) -> Pairing {
        if self.set.is_some() { Pairing::Shared } else { Pairing::Own }
    }
}

/// Returns the judge's scores of a configuration's finished runs. Runs that were measured by another judge than the sweep's
/// have been stripped of their judged metrics and are skipped.
fn scores_of(group: &RunGroup) -> Vec<JudgeScores> {
    let judged = |loaded: &&LoadedRun| loaded.final_value(&JUDGED_DISTANCE.key).is_some();
    group.done().filter(judged).filter_map(|loaded| loaded.read_file(Run::judge_scores)).collect()
}

/// Returns the judge's word for a class, by the class names of the dataset.
pub fn class_word(judge: &JudgeRecord, set: Option<&SizedImageSet>, class: u32) -> String {
    match set {
        Some(set) if judge.target == JudgeTarget::Classes => set.class_name(class),
        _ => judge.target.class_name(class),
    }
}
