//! Which runs a figure is of.

use lerp_train::State;

use crate::{
    summary::{Group, Loaded},
    text::thousands,
};

/// The interpolations of the last evaluation, in numbers.
pub const PATHS: &str = "paths.safetensors";
/// Decoded draws from the prior.
pub const SAMPLES: &str = "samples.safetensors";

/// A sentence about those of the runs shown that are not finished, with a space before it; empty if all are.
pub fn unfinished(shown: &[(&Group, &Loaded)]) -> String {
    let early: Vec<String> = shown
        .iter()
        .filter(|(_, loaded)| loaded.run.status.state != State::Done)
        .map(|(group, loaded)| format!("{} ({} samples)", group.label, thousands(loaded.run.status.samples)))
        .collect();
    if early.is_empty() { String::new() } else { format!(" Not finished: {}.", early.join(", ")) }
}
