//! Reference values of the line metrics: three interpolations between two lines that no model makes.

use std::f64::consts::{PI, TAU};

use candle_core::{Device, Tensor};
use lerp_core::Draws;
use lerp_data::{Lines, draw_line};

use crate::{LineBank, LineMetrics, POSITIONS, Result, angles::wrap};

/// The number of pairs of lines, as in an evaluation.
const PAIRS: usize = 256;

/// An interpolation between two lines that no model makes, for comparison with those of models.
///
/// ```
/// use lerp_eval::{LineBank, LineReference};
///
/// let bank = LineBank::new(500);
/// let (blend, path) = (LineReference::Blend.metrics(&bank)?, LineReference::Path.metrics(&bank)?);
/// assert!(path.mean_distance() < 1e-3 && blend.mean_distance() > 5e-3);
/// assert!(path.mean_smoothness() < blend.mean_smoothness());
/// # Ok::<(), lerp_eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineReference {
    /// A linear mixture of the pixels of both lines, as a linear decoder gives it.
    Blend,
    /// True lines, from an ideal autoencoder whose latents lie on a circle at the line's angle, and whose decoder
    /// depends on the direction of a latent alone. A linear interpolation of latents runs along a chord of the
    /// circle, and the line turns like that chord as seen from the centre.
    Circle,
    /// True lines that turn by the same angle at every step along the shorter arc: the best possible interpolation.
    Path,
}

/// The images of a [`LineReference`].
#[derive(Debug, Clone)]
pub struct ReferenceImages {
    /// The angles of the two lines that each interpolation is between, in radians.
    pub angles: Vec<[f64; 2]>,
    /// The interpolations, `[256, 16, 32, 32, 1]`, `f32` on the CPU.
    pub images: Tensor,
}

impl LineReference {
    /// All of them, the worst first.
    pub const ALL: [Self; 3] = [Self::Blend, Self::Circle, Self::Path];

    /// Returns the name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Blend => "pixel blend",
            Self::Circle => "perfect circle",
            Self::Path => "perfect path",
        }
    }

    /// Returns the name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blend => "blend",
            Self::Circle => "circle",
            Self::Path => "path",
        }
    }

    /// Returns the pixels of the images between two lines at these angles (radians), one image after the other.
    fn images(self, [from, to]: [f64; 2]) -> Vec<f64> {
        let line = |angle: f64| draw_line(angle, Lines::CANVAS);
        let at = |position: usize| position as f64 / (POSITIONS - 1) as f64;
        let (first, last) = (line(from), line(to));
        let turn = wrap(to - from);
        let image = |t: f64| match self {
            Self::Blend => first.iter().zip(&last).map(|(a, b)| (1.0 - t) * a + t * b).collect(),
            Self::Circle => {
                let mixed = |of: fn(f64) -> f64| (1.0 - t) * of(from) + t * of(to);
                line(mixed(f64::sin).atan2(mixed(f64::cos)).rem_euclid(TAU))
            }
            Self::Path => line((from + t * turn).rem_euclid(TAU)),
        };
        (0..POSITIONS).flat_map(|position| image(at(position))).collect()
    }

    /// Returns the images between 256 fixed pairs of lines. The first angle of each pair is drawn uniformly. The
    /// differences to the second angles take 256 equally spaced values from -π to π, so that a mean over the pairs is
    /// nearly that over all possible pairs.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn interpolations(self) -> Result<ReferenceImages> {
        let draws = Draws::new(0, &Device::Cpu).scope("reference");
        let firsts = draws.uniforms_f64("angle", PAIRS).into_iter().map(|u| u * TAU);
        let turn = |pair: usize| (pair as f64 + 0.5) / PAIRS as f64 * TAU - PI;
        let pairs = firsts.enumerate().map(|(pair, from)| [from, (from + turn(pair)).rem_euclid(TAU)]);
        let angles: Vec<[f64; 2]> = pairs.collect();
        let pixels: Vec<f32> = angles.iter().flat_map(|pair| self.images(*pair)).map(|v| v as f32).collect();
        let shape = (PAIRS, POSITIONS, Lines::SIDE, Lines::SIDE, 1);
        Ok(ReferenceImages { angles, images: Tensor::from_vec(pixels, shape, &Device::Cpu)? })
    }

    /// Returns the line metrics of [`LineReference::interpolations`].
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn metrics(self, bank: &LineBank) -> Result<LineMetrics> {
        bank.evaluate(&self.interpolations()?.images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoothness;

    /// The number of points in a numerical integral.
    const STEPS: usize = 100_000;

    /// Returns the angles along the chord of a circle between two latents whose angles differ by `apart` radians.
    fn chord(apart: f64) -> Vec<f64> {
        let at = |i: usize| {
            let t = i as f64 / (POSITIONS - 1) as f64;
            (t * apart.sin()).atan2(1.0 - t + t * apart.cos())
        };
        (0..POSITIONS).map(at).collect()
    }

    #[test]
    fn the_best_smoothness_of_a_circle_is_known() {
        // The largest of the 15 steps along a chord is the middle one, which turns by 2 atan(tan(Δ/2) / 15).
        let expected = |apart: f64| 2.0 * ((apart / 2.0).tan() / 15.0).atan() / apart - 1.0 / 15.0;
        for apart in [0.1, 1.0, 2.0, 3.0] {
            assert!((smoothness(&chord(apart)) - expected(apart)).abs() < 1e-12, "{apart}");
        }
        // The difference of two uniform angles is uniform in (0, π).
        let mean: f64 = (0..STEPS).map(|i| expected((i as f64 + 0.5) / STEPS as f64 * PI)).sum();
        assert!((mean / STEPS as f64 - 0.0766).abs() < 5e-5, "{}", mean / STEPS as f64);
    }

    #[test]
    fn references_have_their_known_scores() {
        let bank = LineBank::default();
        let [blend, circle, path] = LineReference::ALL.map(|reference| reference.metrics(&bank).unwrap());
        assert!((circle.mean_smoothness() - 0.0766).abs() < 2e-3, "{}", circle.mean_smoothness());
        // For pairs of nearly equal angles, the 10,000 angles of the bank are coarse steps.
        assert!(path.mean_smoothness() < 5e-3 && path.mean_detour() < 1e-3, "{}", path.mean_smoothness());
        // True lines are as near to the bank as its 10,000 angles allow.
        assert!(path.mean_distance() < 1e-6 && circle.mean_distance() < 1e-6, "{}", path.mean_distance());
        // A blend's nearest line jumps once, and its images in the middle are no lines.
        assert!(blend.mean_smoothness() > 0.8 && blend.mean_distance() > 5e-3, "{}", blend.mean_distance());
        assert_eq!(blend.interpolations, 256);
    }
}
