//! What numbers on lines can come to without a model, beside those of runs.

use std::sync::OnceLock;

use lerp_eval::{LineBank, Way};

/// What a way between lines comes to.
#[derive(Debug, Clone, Copy)]
pub struct LineScores {
    /// Mean distance.
    pub distance: f64,
    /// Mean smoothness.
    pub smoothness: f64,
    /// Detour.
    pub detour: f64,
}

/// The ways between two lines that need no model, the worst first, over 256 pairs. They are drawn and measured once.
pub fn references() -> &'static [(Way, LineScores)] {
    static ONCE: OnceLock<Vec<(Way, LineScores)>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let bank = LineBank::default();
        let scores = |way: Way| {
            // The tensor library has nothing to fail on here; without a number there is no row.
            let metrics = way.metrics(&bank).ok()?;
            let (distance, smoothness) = (metrics.mean_distance(), metrics.mean_smoothness());
            Some((way, LineScores { distance, smoothness, detour: metrics.mean_detour() }))
        };
        Way::ALL.into_iter().filter_map(scores).collect()
    })
}
