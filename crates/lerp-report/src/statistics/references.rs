//! Scores of reference interpolations between lines, which need no model and show what values the metrics can take.

use std::sync::OnceLock;

use lerp_eval::{LineBank, LineReference};

/// The mean distance of an all-black image to lines.
pub const BLACK: f64 = 0.0307;

/// The mean distance above which a model is taken to draw no lines.
pub const NO_LINES: f64 = BLACK / 1.2;

/// The metrics of a reference interpolation between lines.
#[derive(Debug, Clone, Copy)]
pub struct LineScores {
    /// The mean distance.
    pub distance: f64,
    /// The mean smoothness.
    pub smoothness: f64,
    /// The detour.
    pub detour: f64,
}

/// Returns the scores of a reference interpolation, or `None` if they cannot be computed.
pub fn reference_scores(reference: LineReference) -> Option<&'static LineScores> {
    references().iter().find(|(known, _)| *known == reference).map(|(_, scores)| scores)
}

/// Returns the reference interpolations with their scores over 256 pairs of lines, the worst first. They are drawn and
/// measured on the first call only.
pub fn references() -> &'static [(LineReference, LineScores)] {
    static ONCE: OnceLock<Vec<(LineReference, LineScores)>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let bank = LineBank::default();
        let scores = |reference: LineReference| {
            // A failure of the tensor library is not expected here; if it occurs, the reference has no row.
            let metrics = reference.metrics(&bank).ok()?;
            let (distance, smoothness) = (metrics.mean_distance(), metrics.mean_smoothness());
            Some((reference, LineScores { distance, smoothness, detour: metrics.mean_detour() }))
        };
        LineReference::ALL.into_iter().filter_map(scores).collect()
    })
}
