//! Draws the image of one line and computes its class, as the paper's own code does.

use std::f64::consts::TAU;

/// The size of an image of a line, in pixels. The benchmark's is [`Lines::CANVAS`](crate::Lines::CANVAS).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LineCanvas {
    /// Height of the image.
    pub height: usize,
    /// Width of the image.
    pub width: usize,
    /// Width of the line; widths below 1 are not antialiased correctly.
    pub line_width: f64,
}

/// Draws the line that points from the image's centre in the direction `angle` (radians, anticlockwise from the
/// right).
///
/// This reproduces the drawing of the paper's lines (section 3), on which the benchmark's numbers depend, bit
/// for bit, including its peculiarities: the line is `height / 2 - 1` pixels long, its far end is not weighted
/// by the fraction of a pixel that it covers, and it jumps at odd multiples of π/4, where the axis along which
/// it is drawn changes. Pixels outside the image are left out.
///
/// # Shapes
/// `height * width` values in `[-1, 1]`, row by row; the background is -1.
///
/// # Examples
/// ```
/// use lerp_data::{Lines, draw_line};
///
/// // A line to the right is 15 pixels long and 2 pixels wide.
/// let image = draw_line(0.0, Lines::CANVAS);
/// assert_eq!(image.iter().filter(|pixel| **pixel > -1.0).count(), 30);
/// ```
pub fn draw_line(angle: f64, canvas: LineCanvas) -> Vec<f64> {
    let LineCanvas { height, width, line_width } = canvas;
    let (row, column) = (height as f64 * 0.5, width as f64 * 0.5);
    let (end_row, end_column) = (row - (row - 1.0) * angle.sin(), column + (column - 1.0) * angle.cos());

    // (a, b) are the coordinates along the axis on which the line is longer, and along the other axis.
    let along_rows = (end_column - column).abs() < (end_row - row).abs();
    let (mut near, mut far) = ((column, row), (end_column, end_row));
    let (mut a_stride, mut b_stride, mut a_size, mut b_size) = (1, width, width, height);
    if along_rows {
        (near, far) = ((row, column), (end_row, end_column));
        (a_stride, b_stride, a_size, b_size) = (width, 1, height, width);
    }
    if far.0 < near.0 {
        (near, far) = (far, near);
    }
    let ((a0, b0), (a1, b1)) = (near, far);
    let (b0, b1) = (b0 - line_width / 2.0, b1 - line_width / 2.0);
    let slope = (b1 - b0) / (a1 - a0);

    let mut image = vec![0.0; height * width];
    for a in inside(a0.floor(), a1.ceil(), a_size) {
        let weight = if (a as f64) < a0.ceil() { a0.ceil() - a0 } else { 1.0 };
        let start = b0 + (a as f64 - a0 - 0.5) * slope;
        let end = start + line_width;
        let mut add = |from: f64, to: f64, covered: f64| {
            for b in inside(from, to, b_size) {
                image[a * a_stride + b * b_stride] += 2.0 * weight * covered;
            }
        };
        add(start.floor(), start.ceil(), start.ceil() - start);
        add(start.ceil(), end.floor(), 1.0);
        add(end.floor(), end.ceil(), end - end.floor());
    }
    for pixel in &mut image {
        *pixel = (*pixel - 1.0).clamp(-1.0, 1.0);
    }
    image
}

/// The indices from `from` to `to`, exclusive, clipped to `0..size`. The cast of a negative number is 0.
fn inside(from: f64, to: f64, size: usize) -> std::ops::Range<usize> {
    from as usize..(to as usize).min(size)
}

/// The class of the line at `angle` (radians): the tenth of the circle into which it points.
///
/// This is the formula of the paper's code, `int(10 angle / (2π - 1e-6))`. For angles in `[0, 2π)` it gives 0
/// to 9, except for the last 1e-6 radians, which it puts into an eleventh class, 10. Angles below zero give 0.
pub fn line_label(angle: f64) -> u32 {
    (10.0 * angle / (TAU - 1e-6)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lines;

    #[test]
    fn lines_point_right_up_left_and_down() {
        let lit = |angle| {
            let image = draw_line(angle, Lines::CANVAS);
            (0..1024).filter(|&p| image[p] > -1.0).map(|p| (p / 32, p % 32)).collect::<Vec<_>>()
        };
        let bounds = |v: &[(usize, usize)]| {
            let rows = v.iter().map(|p| p.0);
            let columns = v.iter().map(|p| p.1);
            (rows.clone().min(), rows.max(), columns.clone().min(), columns.max())
        };
        let quarter = TAU / 4.0;
        assert_eq!(bounds(&lit(0.0)), (Some(15), Some(16), Some(16), Some(30)));
        assert_eq!(bounds(&lit(quarter)), (Some(1), Some(15), Some(15), Some(16)));
        assert_eq!(lit(0.0).len(), 30, "15 pixels long, 2 wide");
        assert!(lit(2.0 * quarter).iter().all(|p| p.1 < 16));
        assert!(lit(3.0 * quarter).iter().all(|p| p.0 >= 16));
    }

    #[test]
    fn lit_mass_lies_in_the_known_range() {
        let mass = |i: i32| {
            draw_line(f64::from(i) * TAU / 5000.0, Lines::CANVAS).iter().map(|v| (v + 1.0) / 2.0).sum::<f64>()
        };
        let masses: Vec<f64> = (0..5000).map(mass).collect();
        let low = masses.iter().copied().fold(f64::INFINITY, f64::min);
        let high = masses.iter().copied().fold(0.0, f64::max);
        assert!((low - 21.2).abs() < 0.1 && (high - 30.0).abs() < 0.1, "{low} to {high}");
    }

    #[test]
    fn odd_arguments_do_not_panic() {
        for (height, width, line_width) in
            [(0, 0, 2.0), (1, 5, 2.0), (2, 2, 2.0), (9, 4, 1e300), (8, 8, f64::NAN)]
        {
            for angle in [0.0, 1.0, f64::NAN, f64::INFINITY, 1e300] {
                let image = draw_line(angle, LineCanvas { height, width, line_width });
                assert_eq!(image.len(), height * width);
                assert!(image.iter().all(|v| (-1.0..=1.0).contains(v)));
            }
        }
    }

    #[test]
    fn labels_are_tenths_of_the_circle() {
        for class in 0..10 {
            assert_eq!(line_label((f64::from(class) + 0.5) * TAU / 10.0), class);
        }
        assert_eq!(line_label(TAU - 1e-7), 10);
        assert_eq!(line_label(-1.0), 0);
    }
}
