//! Parts of captions: what a figure shows, and which of the runs are not finished.

use lerp_train::State;

use crate::{
    reading::{LoadedRun, RunGroup, SizedImageSet},
    text::thousands,
};

/// The file of a run with the metrics along the interpolations of its last evaluation.
pub const PATHS: &str = "paths.safetensors";
/// The file of a run with decoded samples of the prior.
pub const SAMPLES: &str = "samples.safetensors";

/// Returns in words what interpolations are between: lines, or images of a set.
pub fn test_examples(set: Option<&SizedImageSet>) -> String {
    set.map_or_else(|| "test lines".to_owned(), |set| format!("test images of {}", set.words()))
}

/// Returns a sentence about the runs shown that are not finished, with a space before it; empty if all are finished.
pub fn unfinished(shown: &[(&RunGroup, &LoadedRun)]) -> String {
    let early: Vec<String> = shown
        .iter()
        .filter(|(_, loaded)| loaded.run.status.state != State::Done)
        .map(|(group, loaded)| format!("{} ({} samples)", group.label, thousands(loaded.run.status.samples)))
        .collect();
    if early.is_empty() { String::new() } else { format!(" Not finished: {}.", early.join(", ")) }
}
