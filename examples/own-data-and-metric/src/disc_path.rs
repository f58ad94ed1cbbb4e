//! A user-defined metric: does a disc turn into the other disc along an interpolation, or does it fade out while the
//! other fades in?

use lerp_eval::{Better, Metric, Quantity, Result, Subject};

/// Measures the brightness and the area of discs along interpolations.
pub struct DiscPath;

/// Number of pairs of test images.
const PAIRS: usize = 64;
/// Interpolation coefficients at which images are measured, without the end points.
const POSITIONS: [f64; 3] = [0.25, 0.5, 0.75];

static QUANTITIES: [Quantity; 2] = [
    Quantity::new(
        "dimming",
        "Dimming",
        Better::Lower,
        "How much darker than white the brightest pixel of an interpolated image is, from 0 to 1; the mean over images. A \
         cross-fade between discs that do not overlap has 1/2 halfway.",
    ),
    Quantity::new(
        "area_error",
        "Area error",
        Better::Lower,
        "How far the lit area of an interpolated image is from that of a disc whose radius lies as far between those of both \
         ends, as a share of that area; the mean over images.",
    ),
];

/// Returns the brightest pixel and the sum of all pixels of an image, after scaling pixels to the range from 0 (black)
/// to 1 (white).
fn light(pixels: &[f32]) -> (f64, f64) {
    let lit = pixels.iter().map(|v| f64::from((v + 1.0) / 2.0).clamp(0.0, 1.0));
    lit.fold((0.0, 0.0), |(brightest, area), v| (f64::max(brightest, v), area + v))
}

impl Metric for DiscPath {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    fn measure(&self, of: &Subject<'_>) -> Result<Vec<f64>> {
        let between = of.between(PAIRS, &POSITIONS)?;
        let pixels = |images: &candle_core::Tensor| images.flatten_all()?.to_vec1::<f32>();
        let [left, right] = [pixels(&between.ends.left)?, pixels(&between.ends.right)?];
        let images = pixels(&between.images)?;
        let pairs = between.images.dim(0)?;
        let size = left.len() / pairs;
        let (mut dimming, mut area_error) = (0.0, 0.0);
        for (i, image) in images.chunks_exact(size).enumerate() {
            let (pair, alpha) = (i / POSITIONS.len(), POSITIONS[i % POSITIONS.len()]);
            let end = |ends: &[f32]| light(&ends[pair * size..][..size]).1.sqrt();
            let wanted = ((1.0 - alpha) * end(&left) + alpha * end(&right)).powi(2);
            let (brightest, area) = light(image);
            dimming += 1.0 - brightest;
            area_error += (area / wanted - 1.0).abs();
        }
        let n = (pairs * POSITIONS.len()) as f64;
        Ok(vec![dimming / n, area_error / n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_is_measured_between_black_and_white() {
        assert_eq!(light(&[-1.0, 1.0, 0.0, -2.0]), (1.0, 1.5));
        assert_eq!(light(&[-1.0; 4]), (0.0, 0.0));
    }
}
