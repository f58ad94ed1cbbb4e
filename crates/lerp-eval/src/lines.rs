//! Mean distance, smoothness and detour of interpolations between lines.

use crate::{
    Nearest,
    angles::{PathLengths, path_lengths, smoothness},
};

/// Line metrics of interpolations, as [`LineBank::evaluate`](crate::LineBank::evaluate) computes them (section 3).
///
/// Distance and smoothness must be read together: a jump from one end to the other has the best distance, and a
/// blur that turns evenly has the best smoothness (figure 2d and 2f).
#[derive(Debug, Clone, PartialEq)]
pub struct LineMetrics {
    /// Number of interpolations.
    pub interpolations: usize,
    /// Number of images of one interpolation, both ends included.
    pub positions: usize,
    /// Index in the bank of the line nearest to each image; `interpolations * positions` entries, one interpolation
    /// after the other, as in the next two fields.
    pub bank_index: Vec<usize>,
    /// Angle of the line nearest to each image, in radians.
    pub closest_angle: Vec<f64>,
    /// Cosine distance of each image to the nearest line; NaN for an image that is zero or not finite.
    pub distance: Vec<f64>,
    /// [`smoothness`](crate::smoothness) of each interpolation; NaN if the line does not turn.
    pub smoothness: Vec<f64>,
    /// Detour of each interpolation: the length of its path of angles over that of the shortest path from the first
    /// to the last angle, less 1. It is 0 for the shortest path, 1 for twice its length, and NaN if the shortest
    /// path is below 1e-4 radians. Not in the paper, whose smoothness does not penalise an even turn along the
    /// longer arc (figure 2e).
    pub detour: Vec<f64>,
}

impl LineMetrics {
    pub(crate) fn new(interpolations: usize, positions: usize, nearest: &[Nearest]) -> Self {
        let closest_angle: Vec<f64> = nearest.iter().map(|n| n.angle).collect();
        let ratio = |PathLengths { turned, shortest }: PathLengths| turned / shortest - 1.0;
        Self {
            interpolations,
            positions,
            bank_index: nearest.iter().map(|n| n.index).collect(),
            distance: nearest.iter().map(|n| n.distance).collect(),
            smoothness: closest_angle.chunks(positions).map(smoothness).collect(),
            detour: closest_angle
                .chunks(positions)
                .map(|a| path_lengths(a).map_or(f64::NAN, ratio))
                .collect(),
            closest_angle,
        }
    }

    /// Returns the paper's Mean Distance: the mean over all images.
    pub fn mean_distance(&self) -> f64 {
        self.distance.iter().sum::<f64>() / self.distance.len() as f64
    }

    /// Returns the paper's Mean Smoothness, as its code computes it: the sum of the valid scores over the number of
    /// *all* interpolations, so that an interpolation that does not turn counts as perfectly smooth; NaN if none is
    /// valid.
    pub fn mean_smoothness(&self) -> f64 {
        self.mean_smoothness_valid() * self.valid_fraction()
    }

    /// Returns the mean smoothness of the valid interpolations; NaN if none is valid.
    pub fn mean_smoothness_valid(&self) -> f64 {
        let valid = || self.smoothness.iter().filter(|s| !s.is_nan());
        valid().sum::<f64>() / valid().count() as f64
    }

    /// Returns the detour of all interpolations together: the total length of their paths over that of the shortest
    /// paths, less 1; NaN if no interpolation is valid.
    ///
    /// This is a quotient of sums rather than a mean of quotients: if the two ends are almost parallel, one step of
    /// the bank back and forth is already many times the shortest path, and one such pair would dominate the mean.
    pub fn mean_detour(&self) -> f64 {
        let lengths = self.closest_angle.chunks(self.positions).filter_map(path_lengths);
        let (turned, shortest) =
            lengths.fold((0.0, 0.0), |sum, one| (sum.0 + one.turned, sum.1 + one.shortest));
        turned / shortest - 1.0
    }

    /// Returns the share of interpolations that are valid, which means that they have a smoothness.
    pub fn valid_fraction(&self) -> f64 {
        self.smoothness.iter().filter(|s| !s.is_nan()).count() as f64 / self.smoothness.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(angles: &[f64], positions: usize) -> LineMetrics {
        let nearest: Vec<Nearest> =
            angles.iter().map(|&angle| Nearest { index: 0, angle, distance: angle / 100.0 }).collect();
        LineMetrics::new(angles.len() / positions, positions, &nearest)
    }

    #[test]
    fn an_interpolation_that_does_not_turn_counts_as_zero_only_in_the_papers_mean() {
        let m = metrics(&[1.0, 1.0, 2.0, 3.0, 3.0, 3.0], 3);
        assert!((m.smoothness[0] - 0.5).abs() < 1e-12 && m.smoothness[1].is_nan());
        assert!((m.mean_smoothness() - 0.25).abs() < 1e-12);
        assert!((m.mean_smoothness_valid() - 0.5).abs() < 1e-12);
        assert_eq!(m.valid_fraction(), 0.5);
        assert!((m.mean_distance() - 13.0 / 600.0).abs() < 1e-12);
        assert!(m.mean_detour().abs() < 1e-12 && m.detour[1].is_nan());
    }

    #[test]
    fn without_a_valid_interpolation_means_are_nan() {
        let m = metrics(&[1.0, 2.0, 1.0, 3.0, 3.0, 3.0], 3);
        assert!(
            m.mean_smoothness().is_nan() && m.mean_smoothness_valid().is_nan() && m.mean_detour().is_nan()
        );
        assert_eq!(m.valid_fraction(), 0.0);
    }

    #[test]
    fn detours_are_weighted_by_the_shortest_path() {
        let m = metrics(&[1.0, 2.0, 1.5, 1.0, 1.1, 1.001], 3);
        assert!((m.detour[0] - 2.0).abs() < 1e-12 && (m.detour[1] - 198.0).abs() < 1e-9, "{:?}", m.detour);
        assert!((m.mean_detour() - (1.699 / 0.501 - 1.0)).abs() < 1e-12);
    }
}
