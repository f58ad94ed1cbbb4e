//! A bank of lines, and the search for the line nearest to an image by cosine distance.

use candle_core::Tensor;
use lerp_data::{Lines, draw_line};
use rayon::prelude::*;

use crate::{Error, LineMetrics, Result};

const PIXELS: usize = Lines::SIDE * Lines::SIDE;
/// The number of images compared at once: one pixel of each fills the vector registers of the inner loop.
const LANES: usize = 16;

/// Lines at evenly spaced angles, to which images are compared (section 3).
///
/// A line image is background (-1) with a few lit pixels. So with `v` a line and `u` an image,
/// `u·v = Σ u (v+1) - Σ u`, where the first sum has some 45 terms in place of 1024. Everything is computed in
/// `f64`.
///
/// ```
/// use candle_core::Device;
/// use lerp_data::Lines;
/// use lerp_eval::LineBank;
///
/// // Two interpolations of three images each, in which the line turns by the same angle at both steps.
/// let images = Lines::images(&[0.0, 0.5, 1.0, 3.0, 3.2, 3.4], &Device::Cpu)?;
/// let metrics = LineBank::new(1_000).evaluate(&images.reshape((2, 3, 32, 32))?)?;
/// assert!(metrics.mean_distance() < 1e-3, "each image is a line");
/// assert!(metrics.mean_smoothness() < 0.1, "the lines turn evenly");
/// # Ok::<(), lerp_eval::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct LineBank {
    angles: Vec<f64>,
    /// The lit pixels of line `i` are at `starts[i]..starts[i + 1]` of `pixels` and `lit`.
    starts: Vec<usize>,
    pixels: Vec<u16>,
    /// The value of each lit pixel plus 1.
    lit: Vec<f64>,
    inverse_norms: Vec<f64>,
}

/// The line of a [`LineBank`] that is nearest to an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Its index in the bank; the first of several equally near ones, and 0 if the distance is NaN.
    pub index: usize,
    /// Its angle, in radians.
    pub angle: f64,
    /// Cosine distance, `1 - u·v / (|u| |v|)`, from 0 to 2; NaN for an image that is zero or not finite.
    pub distance: f64,
}

impl Default for LineBank {
    /// Builds the paper's bank of 10,000 lines.
    fn default() -> Self {
        Self::new(10_000)
    }
}

impl LineBank {
    /// Builds a bank of `count` lines at angles from 0 to `2π - 2π/count`; a count of 0 is taken as 1.
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        let last = std::f64::consts::TAU - std::f64::consts::TAU / count as f64;
        // Rounded as in numpy's linspace, so that angles agree to the last bit.
        let step = last / (count.max(2) - 1) as f64;
        let mut angles: Vec<f64> = (0..count).map(|i| i as f64 * step).collect();
        if count > 1 {
            angles[count - 1] = last;
        }
        let draw = |&angle: &f64| draw_line(angle, Lines::CANVAS);
        let images: Vec<Vec<f64>> = angles.par_iter().map(draw).collect();

        let mut bank = Self {
            angles,
            starts: vec![0],
            pixels: Vec::new(),
            lit: Vec::new(),
            inverse_norms: Vec::with_capacity(count),
        };
        for image in images {
            for (pixel, value) in image.iter().enumerate().filter(|(_, v)| **v != -1.0) {
                bank.pixels.push(pixel as u16);
                bank.lit.push(value + 1.0);
            }
            bank.starts.push(bank.pixels.len());
            bank.inverse_norms.push(1.0 / image.iter().map(|v| v * v).sum::<f64>().sqrt());
        }
        bank
    }

    /// Returns the angles of the lines, in radians.
    pub fn angles(&self) -> &[f64] {
        &self.angles
    }

    /// Returns the line nearest to each image.
    ///
    /// # Shapes
    /// `images` `[..., 32, 32]` or `[..., 32, 32, 1]`, of any type and on any device; the result has one entry per
    /// image, in order.
    ///
    /// # Errors
    /// If the images are not 32 by 32 pixels of one channel.
    pub fn nearest(&self, images: &Tensor) -> Result<Vec<Nearest>> {
        let side = Lines::SIDE;
        if !matches!(images.dims(), [.., h, w] | [.., h, w, 1] if *h == side && *w == side) {
            let wanted = format!("[..., {side}, {side}] or [..., {side}, {side}, 1]");
            return Err(Error::Shape { what: "images of lines", wanted, given: images.dims().to_vec() });
        }
        // Images are moved to the host first, because some devices do not support `f64`.
        let pixels = lerp_core::on_host(images)?.flatten_all()?.to_vec1::<f64>()?;
        let blocks = pixels.par_chunks(LANES * PIXELS).flat_map_iter(|block| self.nearest_of_block(block));
        Ok(blocks.collect())
    }

    /// Computes the line metrics of interpolations.
    ///
    /// # Shapes
    /// `images` `[interpolations, positions, 32, 32]` or `[interpolations, positions, 32, 32, 1]`.
    ///
    /// # Errors
    /// If the shape differs from these, there is no interpolation, or an interpolation has fewer than two
    /// positions.
    pub fn evaluate(&self, images: &Tensor) -> Result<LineMetrics> {
        match images.dims() {
            [n, t, 32, 32] | [n, t, 32, 32, 1] if *n > 0 && *t > 1 => {
                Ok(LineMetrics::new(*n, *t, &self.nearest(images)?))
            }
            given => {
                let wanted = "[interpolations, positions, 32, 32] with at least 1 and 2 of them".into();
                Err(Error::Shape { what: "interpolations of lines", wanted, given: given.to_vec() })
            }
        }
    }

    /// Returns the lines nearest to at most [`LANES`] images.
    fn nearest_of_block(&self, images: &[f64]) -> Vec<Nearest> {
        // The images are transposed: a row holds one pixel of every image. Missing images are zero and are dropped
        // at the end.
        let mut rows = vec![[0.0; LANES]; PIXELS];
        let (mut minus_sum, mut square) = ([0.0; LANES], [0.0; LANES]);
        for (lane, image) in images.chunks_exact(PIXELS).enumerate() {
            for (row, value) in rows.iter_mut().zip(image) {
                row[lane] = *value;
            }
            minus_sum[lane] = -image.iter().sum::<f64>();
            square[lane] = image.iter().map(|v| v * v).sum::<f64>();
        }
        let inverse_norm = square.map(|s: f64| 1.0 / s.sqrt());

        let (mut smallest, mut index) = ([f64::INFINITY; LANES], [0; LANES]);
        for (line, inverse_line_norm) in self.inverse_norms.iter().enumerate() {
            let part = self.starts[line]..self.starts[line + 1];
            let mut dot = minus_sum;
            for (pixel, lit) in self.pixels[part.clone()].iter().zip(&self.lit[part]) {
                for (sum, value) in dot.iter_mut().zip(&rows[usize::from(*pixel)]) {
                    *sum += value * lit;
                }
            }
            let distance: [f64; LANES] =
                std::array::from_fn(|lane| 1.0 - dot[lane] * (inverse_norm[lane] * inverse_line_norm));
            // Counting without short-circuiting lets the compiler use vector comparisons.
            if distance.iter().zip(&smallest).map(|(d, s)| u64::from(d < s)).sum::<u64>() > 0 {
                for (lane, d) in distance.into_iter().enumerate() {
                    if d < smallest[lane] {
                        (smallest[lane], index[lane]) = (d, line);
                    }
                }
            }
        }
        let result = |lane: usize| Nearest {
            index: index[lane],
            angle: self.angles[index[lane]],
            // Comparisons with NaN are false, so no line was found for an image that is zero or not finite.
            distance: if smallest[lane].is_finite() { smallest[lane].clamp(0.0, 2.0) } else { f64::NAN },
        };
        (0..images.len() / PIXELS).map(result).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn angles_are_numpys_linspace() {
        let bank = LineBank::default();
        assert_eq!(bank.angles().len(), 10_000);
        assert_eq!(bank.angles()[0], 0.0);
        assert_eq!(bank.angles()[9999], std::f64::consts::TAU - std::f64::consts::TAU / 10_000.0);
        assert_eq!(LineBank::new(0).angles(), [0.0]);
    }

    #[test]
    fn images_without_a_direction_have_no_distance() {
        let mut pixels = vec![0.0_f32; 4 * PIXELS];
        pixels[PIXELS] = f32::NAN;
        pixels[2 * PIXELS..3 * PIXELS].fill(f32::MAX);
        pixels[3 * PIXELS + 7] = f32::INFINITY;
        let images = Tensor::from_vec(pixels, (4, 32, 32, 1), &Device::Cpu).unwrap();
        let nearest = LineBank::new(50).nearest(&images).unwrap();
        for i in [0, 1, 3] {
            assert!(nearest[i].distance.is_nan() && nearest[i].index == 0, "{:?}", nearest[i]);
        }
        assert!((1.0..=2.0).contains(&nearest[2].distance), "white is opposite to black, not invalid");
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let bank = LineBank::new(3);
        let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
        for dims in
            [&[4, 16, 32, 31][..], &[0, 16, 32, 32], &[4, 1, 32, 32], &[16, 32, 32], &[2, 2, 32, 32, 3]]
        {
            let message = bank.evaluate(&zeros(dims)).unwrap_err().to_string();
            assert!(message.contains("[interpolations, positions, 32, 32]"), "{message}");
        }
        assert!(bank.nearest(&zeros(&[5, 32, 32, 3])).is_err());
        assert_eq!(bank.nearest(&zeros(&[0, 32, 32])).unwrap(), []);
        assert_eq!(bank.nearest(&zeros(&[2, 32, 32])).unwrap().len(), 2);
    }
}
