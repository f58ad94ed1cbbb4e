//! Smoothness and path lengths of a sequence of angles.

use std::f64::consts::{PI, TAU};

/// The minimum turn in radians; an interpolation that turns less has neither smoothness nor detour.
const MIN_TURN: f64 = 1e-4;

/// Returns the smoothness of one interpolation, given the angles (radians) of the lines nearest to its images
/// (section 3): 0 if the line turns by the same angle at every step, `1 - 1/(T-1)` if it turns in one step.
///
/// The angles are unwrapped, and the score is the largest step's share of the turn from the first to the last
/// angle, less the share `1/(T-1)` of an even step. It is NaN if the first and the last unwrapped angle differ by
/// less than 1e-4 radians, or if there are fewer than two angles. An even turn along the longer arc scores 0 too
/// (see [`LineMetrics::detour`](crate::LineMetrics::detour)).
///
/// ```
/// use lerp_eval::smoothness;
///
/// assert_eq!(smoothness(&[0.0, 1.0, 2.0]), 0.0); // the same angle at every step
/// assert_eq!(smoothness(&[0.0, 0.0, 2.0]), 0.5); // the whole turn in one of two steps
/// assert!(smoothness(&[1.0, 1.0, 1.0]).is_nan()); // no turn
/// ```
pub fn smoothness(angles: &[f64]) -> f64 {
    let path = unwrap(angles);
    let (Some(first), Some(last)) = (path.first(), path.last()) else { return f64::NAN };
    let total = (first - last).abs();
    if total < MIN_TURN {
        return f64::NAN;
    }
    let largest = path.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
    largest / total - 1.0 / (path.len() - 1) as f64
}

/// Lengths of paths of angles, in radians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PathLengths {
    /// The length of a path.
    pub turned: f64,
    /// The length of the shortest path from its first to its last angle.
    pub shortest: f64,
}

/// Returns the lengths of the path of these angles; `None` if the shortest path is below 1e-4 radians.
pub(crate) fn path_lengths(angles: &[f64]) -> Option<PathLengths> {
    let path = unwrap(angles);
    let turned = path.windows(2).map(|w| (w[1] - w[0]).abs()).sum();
    let shortest = wrap(angles.last()? - angles.first()?).abs();
    (shortest >= MIN_TURN).then_some(PathLengths { turned, shortest })
}

/// Returns the angles (radians) with multiples of 2π added so that no step is longer than π; the arithmetic equals
/// that of numpy's `unwrap`.
///
/// ```
/// let path = lerp_eval::unwrap(&[3.0, -3.0]);
/// assert!((path[1] - (std::f64::consts::TAU - 3.0)).abs() < 1e-12);
/// ```
pub fn unwrap(angles: &[f64]) -> Vec<f64> {
    let mut shift = 0.0;
    let steps = angles.windows(2).map(|w| {
        let step = w[1] - w[0];
        if step.abs() >= PI || step.is_nan() {
            // For a step of exactly half a turn, numpy keeps the step's sign.
            let wrapped = wrap(step);
            shift += if wrapped == -PI && step > 0.0 { PI } else { wrapped } - step;
        }
        w[1] + shift
    });
    angles.first().copied().into_iter().chain(steps).collect()
}

/// Returns the angle in `[-π, π)` that differs from `angle` (radians) by a multiple of 2π.
pub(crate) fn wrap(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(from: f64, to: f64, steps: usize) -> Vec<f64> {
        (0..steps).map(|i| (from + (to - from) * i as f64 / (steps - 1) as f64).rem_euclid(TAU)).collect()
    }

    #[test]
    fn even_turns_along_either_arc_score_zero() {
        for (from, to) in [(0.3, 2.0), (6.0, 7.0), (1.0, -1.5), (0.5, 0.5 - 5.0), (2.0, 2.0 + TAU * 1.4)] {
            assert!(smoothness(&line(from, to, 16)).abs() < 1e-12, "{from} to {to}");
        }
    }

    #[test]
    fn a_turn_in_one_step_has_the_worst_score() {
        let angles: Vec<f64> = (0..16).map(|i| if i < 8 { 1.0 } else { 2.5 }).collect();
        assert!((smoothness(&angles) - 14.0 / 15.0).abs() < 1e-12);
    }

    #[test]
    fn scores_are_invariant_under_rotation() {
        let angles = [0.1, 0.9, 1.1, 2.0, 1.8, 3.3, 4.0];
        let PathLengths { turned, shortest } = path_lengths(&angles).unwrap();
        for by in [0.7, 2.0, 3.1, 5.5] {
            let other: Vec<f64> = angles.iter().map(|a| (a + by).rem_euclid(TAU)).collect();
            assert!((smoothness(&angles) - smoothness(&other)).abs() < 1e-12);
            let other = path_lengths(&other).unwrap();
            assert!((other.turned - turned).abs() < 1e-12 && (other.shortest - shortest).abs() < 1e-12);
        }
    }

    #[test]
    fn too_short_paths_have_no_score() {
        for angles in [&[][..], &[1.0], &[1.0, 1.0], &[1.0, 2.0, 1.000_05], &[1.0, f64::NAN, 2.0]] {
            assert!(smoothness(angles).is_nan(), "{angles:?}");
        }
        for angles in [&[][..], &[1.0], &[1.0, 2.0, 1.0], &[f64::NAN, 2.0]] {
            assert_eq!(path_lengths(angles), None, "{angles:?}");
        }
        assert!(smoothness(&[1.0, 1.000_11]).abs() < 1e-12);
    }

    #[test]
    fn path_lengths_tell_the_longer_arc_from_the_shorter() {
        let PathLengths { turned, shortest } = path_lengths(&line(1.0, 1.0 + 1.5, 16)).unwrap();
        assert!((turned - 1.5).abs() < 1e-12 && (shortest - 1.5).abs() < 1e-12);
        let PathLengths { turned, shortest } = path_lengths(&line(1.0, 1.0 + 1.5 - TAU, 16)).unwrap();
        assert!((turned - (TAU - 1.5)).abs() < 1e-12 && (shortest - 1.5).abs() < 1e-12);
    }

    #[test]
    fn half_turns_keep_their_sign_as_in_numpy() {
        assert_eq!(unwrap(&[0.0, PI]), [0.0, PI]);
        assert_eq!(unwrap(&[PI, 0.0]), [PI, 0.0]);
        assert_eq!(unwrap(&[0.0, PI + 1.0]), [0.0, PI + 1.0 - TAU]);
    }

    /// For latents that lie exactly on a circle, no linear interpolation in the plane is smoother than the known
    /// minimum of about 0.077.
    #[test]
    fn chords_of_a_circle_score_their_known_minimum() {
        let pairs = 20_000;
        let mut scores: Vec<f64> = (0..pairs)
            .map(|i| {
                // By symmetry only the difference of the angles matters; equally spaced differences replace random
                // draws.
                let turn = TAU * (f64::from(i) + 0.5) / f64::from(pairs);
                let at = |j: i32| {
                    let t = f64::from(j) / 15.0;
                    (t * turn.sin()).atan2(1.0 - t + t * turn.cos())
                };
                smoothness(&(0..16).map(at).collect::<Vec<_>>())
            })
            .collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        assert!((mean - 0.077).abs() < 0.003, "mean {mean}");
        let far: f64 = scores[pairs as usize * 160 / 360..pairs as usize * 200 / 360].iter().sum();
        let share = far / scores.iter().sum::<f64>();
        assert!((share - 0.61).abs() < 0.03, "share of pairs over 160 degrees apart {share}");
        scores.sort_by(f64::total_cmp);
        let middle = scores[scores.len() / 2];
        assert!((middle - 0.019).abs() < 0.002, "median {middle}");
    }
}
