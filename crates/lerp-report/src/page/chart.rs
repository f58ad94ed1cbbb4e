//! Small curves on the pages of runs, drawn in the page's own colours.

use std::fmt::Write;

use crate::text::{number, thousands, two_digits};

/// The size of a chart and the margins for its lettering, in units of the SVG.
const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 6.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;

/// The scale of a chart's vertical axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Linear.
    Linear,
    /// Logarithmic if all values are positive, else linear.
    Logarithmic,
}

/// The most points of a curve that a chart can show; longer curves are thinned evenly.
const MAX_POINTS: usize = 120;

/// Draws values over training samples as SVG, with the extremes labelled on both axes. Returns `None` if no value is
/// finite. Curves break where a value is not finite.
pub fn chart(points: &[(u64, f64)], scale: Scale) -> Option<String> {
    let finite = || points.iter().filter(|(_, v)| v.is_finite());
    let low = finite().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    let high = finite().map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return None;
    }
    let is_logarithmic = scale == Scale::Logarithmic && low > 0.0;
    let scaled = |v: f64| if is_logarithmic { v.ln() } else { v };
    let (start, end) = (points.first()?.0 as f64, points.last()?.0 as f64);
    // A constant is drawn at half height, a single evaluation in the middle.
    let part = |v: f64, low: f64, high: f64| if high > low { (v - low) / (high - low) } else { 0.5 };
    let x = |samples: u64| LEFT + (WIDTH - LEFT - RIGHT) * part(samples as f64, start, end);
    let y = |v: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - part(scaled(v), scaled(low), scaled(high)));

    let mut path = String::new();
    let mut pen = 'M';
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len() - 1;
    for (_, (samples, value)) in points.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last) {
        if value.is_finite() {
            let _ = write!(path, "{pen}{:.1} {:.1}", x(*samples), y(*value));
            pen = 'L';
        } else {
            pen = 'M';
        }
    }
    // A single point has no line; a line of length 0 with round caps makes it a dot.
    if !path.contains('L') {
        path += "h0";
    }
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
         <path class=\"curve\" stroke-linecap=\"round\" d=\"{path}\"/>",
        bottom = HEIGHT - BOTTOM,
        right = WIDTH - RIGHT,
    );
    let mut text = |x: f64, y: f64, anchor: &str, words: &str| {
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
    };
    text(LEFT - 5.0, y(high) + 4.0, "end", &brief(high));
    if high > low {
        text(LEFT - 5.0, y(low), "end", &brief(low));
    }
    text(LEFT, HEIGHT - 6.0, "start", &thousands(points.first()?.0));
    if end > start {
        text(WIDTH - RIGHT, HEIGHT - 6.0, "end", &format!("{} samples", thousands(points.last()?.0)));
    }
    Some(svg + "</svg>")
}

/// Formats a number with two significant digits, short enough for the margin.
pub fn brief(value: f64) -> String {
    let size = value.abs();
    if size >= 1e4 || (size > 0.0 && size < 1e-3) {
        format!("{value:.1e}")
    } else {
        number(two_digits(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_show_only_finite_values() {
        assert_eq!(chart(&[], Scale::Linear), None);
        assert_eq!(chart(&[(1, f64::NAN)], Scale::Logarithmic), None);
        let one = chart(&[(64, 0.5)], Scale::Logarithmic).unwrap();
        assert!(one.contains("h0") && one.contains(">0.5<") && one.contains(">64<"), "{one}");
        let gap = chart(&[(0, 1.0), (1, f64::NAN), (2, 3.0), (3, 2.0)], Scale::Linear).unwrap();
        assert_eq!(gap.matches('L').count(), 1, "{gap}");
        assert!(!gap.contains("NaN") && !gap.contains("inf"), "{gap}");
        let constant = chart(&[(0, 0.0), (1, 0.0)], Scale::Logarithmic).unwrap();
        assert!(!constant.contains("NaN"), "{constant}");
        let long: Vec<(u64, f64)> = (0..10_000).map(|i| (i, i as f64)).collect();
        assert!(chart(&long, Scale::Linear).unwrap().len() < 3_000);
        assert_eq!([1.2e-5, 12345.0, 0.123, 0.0].map(brief), ["1.2e-5", "1.2e4", "0.12", "0"]);
    }
}
