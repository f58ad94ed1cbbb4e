//! Crops, pads and resizes images.

use lerp_core::ImageShape;

/// Height and width of the benchmark's images, pixels.
pub const SIDE: usize = 32;

/// Resizes an image like TensorFlow 1's `resize_bicubic` with `align_corners=False`, which made the paper's
/// CelebA images.
///
/// It uses Keys' kernel with a = -0.75, sampled at `x * in / out` (no half-pixel centres, no antialiasing),
/// with weights from a table of 1024 steps per pixel and edges repeated. The result can exceed the range of the
/// input: its magnitude is at most 1.9 times the input's.
///
/// # Shapes
/// `[height, width, channels]` to `[out, out, channels]`, row by row.
pub fn bicubic(image: &[f32], shape: ImageShape, out: usize) -> Vec<f32> {
    let ImageShape { height, width, channels } = shape;
    let (rows, columns) = (taps(height, out), taps(width, out));
    let mut result = Vec::with_capacity(out * out * channels);
    for (row, row_weights) in &rows {
        for (column, column_weights) in &columns {
            for channel in 0..channels {
                let mut sum = 0.0;
                for (y, wy) in row.iter().zip(row_weights) {
                    let at = |x: &usize| image[(y * width + x) * channels + channel];
                    let line: f32 = column.iter().zip(column_weights).map(|(x, wx)| at(x) * wx).sum();
                    sum += line * wy;
                }
                result.push(sum);
            }
        }
    }
    result
}

/// The indices and weights of the four input pixels for each output pixel.
fn taps(size: usize, out: usize) -> Vec<([usize; 4], [f32; 4])> {
    const STEPS: f32 = 1024.0;
    let scale = size as f32 / out as f32;
    let last = size as isize - 1;
    (0..out)
        .map(|output| {
            let position = output as f32 * scale;
            let floor = position.floor();
            let t = ((position - floor) * STEPS).round() / STEPS;
            let index = [-1, 0, 1, 2].map(|k| (floor as isize + k).clamp(0, last) as usize);
            (index, [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)])
        })
        .collect()
}

const A: f32 = -0.75;

fn near(x: f32) -> f32 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

fn far(x: f32) -> f32 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}

/// Crops the largest square from the middle of an image, and resizes it by the mean over the area that each
/// output pixel covers, so that a large photograph does not alias. Used for user-supplied images.
///
/// # Shapes
/// `[height, width, channels]` to `[out, out, channels]`, row by row.
pub fn fit(image: &[u8], shape: ImageShape, out: usize) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let side = height.min(width);
    let (top, left) = ((height - side) / 2, (width - side) / 2);
    if side == out && height == width {
        return image.to_vec();
    }
    let spans = spans(side, out);
    // Resizes along rows first, and along columns after that.
    let mut narrow = vec![0.0_f32; side * out * channels];
    for y in 0..side {
        for (x, span) in spans.iter().enumerate() {
            for &(from, weight) in span {
                for c in 0..channels {
                    narrow[(y * out + x) * channels + c] +=
                        weight * f32::from(image[((top + y) * width + left + from) * channels + c]);
                }
            }
        }
    }
    let mut result = Vec::with_capacity(out * out * channels);
    for span in &spans {
        for x in 0..out * channels {
            let sum: f32 =
                span.iter().map(|&(from, weight)| weight * narrow[from * out * channels + x]).sum();
            result.push(sum.round() as u8);
        }
    }
    result
}

/// The input pixels that each output pixel covers, each with its share in the mean.
fn spans(size: usize, out: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = size as f64 / out as f64;
    let span = |output: usize| {
        let (start, end) = (output as f64 * scale, (output + 1) as f64 * scale);
        let covered = |pixel: usize| (end.min((pixel + 1) as f64) - start.max(pixel as f64)) / scale;
        let pixels = start as usize..(end.ceil() as usize).min(size);
        pixels.map(|pixel| (pixel, covered(pixel) as f32)).filter(|(_, weight)| *weight > 1e-9).collect()
    };
    (0..out).map(span).collect()
}

/// Pads a gray image of at most `out` by `out` pixels with black (0, which a model sees as -1), so that it is
/// in the middle.
///
/// # Shapes
/// `[height, width]` to `[out, out]`, row by row.
pub fn pad(image: &[u8], height: usize, width: usize, out: usize) -> Vec<u8> {
    let (top, left) = ((out - height) / 2, (out - width) / 2);
    let mut result = vec![0; out * out];
    for (y, row) in image.chunks_exact(width).enumerate().take(height) {
        let start = (top + y) * out + left;
        result[start..start + width].copy_from_slice(row);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(height: usize, width: usize, channels: usize) -> ImageShape {
        ImageShape { height, width, channels }
    }

    #[test]
    fn bicubic_is_the_identity_at_the_same_size() {
        let image: Vec<f32> = (0..32 * 32 * 3).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        assert_eq!(bicubic(&image, shape(32, 32, 3), 32), image);
    }

    #[test]
    fn bicubic_by_hand() {
        // From 4 to 8 pixels, odd output pixels lie half-way between two, where the weights are (-3, 19, 19,
        // -3) / 32; edges repeat.
        let row = [0.0_f32, 1.0, 4.0, 9.0];
        let image: Vec<f32> = row.iter().copied().cycle().take(16).collect();
        let out = bicubic(&image, shape(4, 4, 1), 8);
        let expected = [
            0.0,
            (19.0 - 3.0 * 4.0) / 32.0,
            1.0,
            (19.0 + 19.0 * 4.0 - 3.0 * 9.0) / 32.0,
            4.0,
            (-3.0 + 19.0 * 4.0 + 19.0 * 9.0 - 3.0 * 9.0) / 32.0,
            9.0,
            (-3.0 * 4.0 + 19.0 * 9.0 + 19.0 * 9.0 - 3.0 * 9.0) / 32.0,
        ];
        for (line, y) in out.chunks_exact(8).zip(0..) {
            for (x, (found, wanted)) in line.iter().zip(&expected).enumerate() {
                assert!((found - wanted).abs() < 1e-5, "row {y}, column {x}: {found} for {wanted}");
            }
        }
    }

    #[test]
    fn bicubic_of_celebas_sizes() {
        // At an offset of a quarter of a pixel, Keys' kernel with a = -0.75 has the weights (-27, 225, 67, -9)
        // / 256, computed by hand.
        let (_, weights) = taps(146, 32)[4];
        assert_eq!((4.0 * 146.0_f32 / 32.0).fract(), 0.25);
        for (found, wanted) in weights.iter().zip([-27.0, 225.0, 67.0, -9.0]) {
            assert!((found - wanted / 256.0).abs() < 1e-6, "{weights:?}");
        }
        for size in [146, 73] {
            for (index, weights) in taps(size, 32) {
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6 && index[3] < size);
                assert!(weights.iter().map(|w| w.abs()).sum::<f32>() < 1.38, "overshoot: 1.375² < 1.9");
            }
            assert_eq!(
                taps(size, 32)[31].0[3],
                31 * size / 32 + 2,
                "the edge is not reached: nothing repeats"
            );
        }
    }

    #[test]
    fn fit_takes_the_middle_and_means() {
        // The image has 2 rows of 6 columns; the middle square is columns 2 and 3.
        let image = [9, 9, 0, 100, 9, 9, 9, 9, 50, 250, 9, 9];
        assert_eq!(fit(&image, shape(2, 6, 1), 1), [100]);
        assert_eq!(fit(&image, shape(2, 6, 1), 2), [0, 100, 50, 250]);
        assert_eq!(fit(&image, shape(2, 6, 1), 4)[..8], [0, 0, 100, 100, 0, 0, 100, 100]);
        // From 3 to 2 pixels, each output pixel covers one pixel and half of the next.
        let three: Vec<u8> = [0, 60, 120].repeat(3);
        assert_eq!(fit(&three, shape(3, 3, 1), 2), [20, 100, 20, 100]);
    }

    #[test]
    fn pad_keeps_the_image_upright_in_the_middle() {
        let image: Vec<u8> = (1..=6).collect();
        let out = pad(&image, 2, 3, 6);
        assert_eq!(out[2 * 6..3 * 6], [0, 1, 2, 3, 0, 0]);
        assert_eq!(out[3 * 6..4 * 6], [0, 4, 5, 6, 0, 0]);
        assert_eq!(out.iter().filter(|v| **v > 0).count(), 6);
    }
}
