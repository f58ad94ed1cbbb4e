//! Helpers that describe the runs behind a figure.

use lerp_train::State;

use crate::{
    summary::{Group, Loaded},
    text::thousands,
};

/// The file of a run with the metrics along the interpolations of its last evaluation.
pub const PATHS: &str = "paths.safetensors";
/// The file of a run with decoded samples of the prior.
pub const SAMPLES: &str = "samples.safetensors";

/// Returns a sentence about the runs shown that are not finished, with a space before it; empty if all are finished.
pub fn unfinished(shown: &[(&Group, &Loaded)]) -> String {
    let early: Vec<String> = shown
        .iter()
        .filter(|(_, loaded)| loaded.run.status.state != State::Done)
        .map(|(group, loaded)| format!("{} ({} samples)", group.label, thousands(loaded.run.status.samples)))
        .collect();
    if early.is_empty() { String::new() } else { format!(" Not finished: {}.", early.join(", ")) }
}
