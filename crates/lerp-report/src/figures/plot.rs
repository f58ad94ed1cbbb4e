//! Axes, and curves on them.

use std::ops::Range;

use plotters::prelude::{Color, DrawingBackend};
use unicode_width::UnicodeWidthStr;

use super::{
    canvas::{Canvas, Point, Side},
    style::{CurveStyle, FULL_SIZE_WIDTH, GRID, INK, fit},
};
use crate::{Result, text::number};

/// The size of titles of axes and of legends, in units.
pub const LETTERS: f64 = 15.5;
/// The size of numbers at axes, in units.
pub const NUMBERS: f64 = 14.0;

/// A linear or logarithmic axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// The title: what the axis measures, with its unit.
    pub title: String,
    shown: Range<f64>,
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Creates a linear axis with about `count` numbers.
    pub fn linear(shown: Range<f64>, count: usize, title: &str) -> Self {
        let ticks = steps(&shown, count);
        Self { title: title.into(), shown, logarithmic: false, ticks }
    }

    /// Creates a linear axis with these numbers.
    pub fn numbered(shown: Range<f64>, numbers: &[f64], title: &str) -> Self {
        let ticks = numbers.iter().map(|v| (*v, number(*v))).collect();
        Self { title: title.into(), shown, logarithmic: false, ticks }
    }

    /// Creates a logarithmic axis that covers the positive ones of `values`.
    pub fn logarithmic(values: impl Iterator<Item = f64>, title: &str) -> Self {
        let (low, high) = values
            .filter(|v| *v > 0.0 && v.is_finite())
            .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
        let shown = if low.is_finite() { low / 1.2..high * 1.2 } else { 1.0..100.0 };
        // The more powers of ten there are, the fewer numbers stand between them.
        let span = shown.end / shown.start;
        let between: &[f64] = match span {
            s if s < 20.0 => &[1.0, 2.0, 3.0, 5.0, 7.0],
            s if s < 200.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let every = if span < 1e9 { 1 } else { 3 };
        let powers = shown.start.log10().floor() as i32..=shown.end.log10().ceil() as i32;
        let powers = powers.filter(|power| power % every == 0);
        let ticks = powers.flat_map(|power| between.iter().map(move |s| s * 10_f64.powi(power)));
        let ticks = ticks.filter(|tick| shown.contains(tick)).map(|tick| (tick, short(tick))).collect();
        Self { title: title.into(), shown, logarithmic: true, ticks }
    }

    /// Creates an axis of training samples from 0 to `most`.
    pub fn samples(most: f64, count: usize) -> Self {
        let (unit, title) = match most {
            s if s >= 4e6 => (1e6, "training samples, millions"),
            s if s >= 8e3 => (1e3, "training samples, thousands"),
            _ => (1.0, "training samples"),
        };
        let end = most.max(1.0) / unit;
        let ticks = steps(&(0.0..end), count).into_iter().map(|(at, label)| (at * unit, label)).collect();
        Self { title: title.into(), shown: 0.0..most.max(1.0) * 1.02, logarithmic: false, ticks }
    }

    /// Returns whether a value is on the axis.
    pub fn shows(&self, value: f64) -> bool {
        self.shown.contains(&value)
    }

    /// Returns how far along the axis a value is, from 0 to 1. Values beyond the axis are clamped to its ends.
    fn share(&self, value: f64) -> f64 {
        let scaled = |v: f64| if self.logarithmic { v.max(f64::MIN_POSITIVE).log10() } else { v };
        let (low, high) = (scaled(self.shown.start), scaled(self.shown.end));
        ((scaled(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// Returns about `count` round numbers on a range, with their labels.
fn steps(shown: &Range<f64>, count: usize) -> Vec<(f64, String)> {
    let wanted = (shown.end - shown.start) / count.max(1) as f64;
    if !(wanted > 0.0 && wanted.is_finite()) {
        return Vec::new();
    }
    let power = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|s| s * power);
    let step = steps.into_iter().find(|s| *s >= wanted * 0.999).unwrap_or(wanted);
    let more = if step == steps[2] { 1.0 } else { 0.0 };
    let decimals = (more - (step * 1.001).log10().floor()).max(0.0) as usize;
    let first = (shown.start / step - 1e-6).ceil() as i64;
    let last = (shown.end / step + 1e-6).floor() as i64;
    (first..=last).map(|i| i as f64 * step).map(|v| (v, format!("{v:.decimals$}"))).collect()
}

/// Formats a number at a logarithmic axis: plain, or as a power of ten.
fn short(value: f64) -> String {
    let power = value.log10().round() as i32;
    if (-4..5).contains(&power) {
        return number((value * 1e6).round() / 1e6);
    }
    let digit = |c: char| {
        if c == '-' {
            '⁻'
        } else {
            ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][c as usize - '0' as usize]
        }
    };
    format!("10{}", power.to_string().chars().map(digit).collect::<String>())
}

/// The rectangle of a plot, without its numbers and titles, in units.
#[derive(Debug, Clone, Copy)]
pub struct PlotArea {
    /// The distance from the left.
    pub left: f64,
    /// The distance from the top.
    pub top: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
}

/// A pair of axes around an area.
#[derive(Debug, Clone, Copy)]
pub struct Plot<'a> {
    /// The rectangle of the plot.
    pub area: PlotArea,
    /// The horizontal axis.
    pub x: &'a Axis,
    /// The vertical axis.
    pub y: &'a Axis,
}

/// The axes of a plot that have numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbered {
    /// Whether the horizontal axis has numbers.
    pub x: bool,
    /// Whether the vertical axis has numbers.
    pub y: bool,
}

impl Numbered {
    /// Numbers at both axes.
    pub const BOTH: Self = Self { x: true, y: true };
}

/// A point of a curve with a band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandPoint {
    /// The horizontal value.
    pub x: f64,
    /// The vertical value of the lower edge of the band.
    pub low: f64,
    /// The vertical value of the curve.
    pub middle: f64,
    /// The vertical value of the upper edge of the band.
    pub high: f64,
}

impl BandPoint {
    /// Creates a point from its horizontal value and its vertical values in ascending order.
    pub fn new(x: f64, [low, middle, high]: [f64; 3]) -> Self {
        Self { x, low, middle, high }
    }

    /// Returns the vertical values in ascending order.
    pub fn values(&self) -> [f64; 3] {
        [self.low, self.middle, self.high]
    }
}

impl Plot<'_> {
    /// Returns the point on the canvas of a pair of values.
    pub fn at(&self, x: f64, y: f64) -> Point {
        let PlotArea { left, top, width, height } = self.area;
        (left + width * self.x.share(x), top + height * (1.0 - self.y.share(y)))
    }

    /// Draws the grid and the axes, with numbers at those that are `numbered`.
    pub fn axes<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, numbered: Numbered) -> Result<()> {
        let PlotArea { left, top, width, height } = self.area;
        let (right, bottom) = (left + width, top + height);
        for (value, label) in &self.y.ticks {
            let (_, at) = self.at(0.0, *value);
            canvas.line(&[(left, at), (right, at)], GRID, 1.0, None)?;
            if numbered.y {
                canvas.text(label, NUMBERS, (left - 6.0, at), Side::Left)?;
            }
        }
        for (value, label) in &self.x.ticks {
            let (at, _) = self.at(*value, 0.0);
            canvas.line(&[(at, top), (at, bottom)], GRID, 1.0, None)?;
            if numbered.x {
                canvas.text(label, NUMBERS, (at, bottom + 6.0), Side::Below)?;
            }
        }
        canvas.line(&[(left, top), (left, bottom), (right, bottom)], INK, 1.0, None)
    }

    /// Draws the titles of the axes, `below` and `beside` units away from the plot.
    pub fn titles<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, below: f64, beside: f64) -> Result<()> {
        let PlotArea { left, top, width, height } = self.area;
        canvas.text(&self.x.title, LETTERS, (left + width / 2.0, top + height + below), Side::Below)?;
        self.title_beside(canvas, beside)
    }

    /// Draws the title of the vertical axis, its last line `beside` units away from the plot.
    pub fn title_beside<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, beside: f64) -> Result<()> {
        let PlotArea { left, top, height, .. } = self.area;
        for (i, line) in self.y.title.lines().rev().enumerate() {
            let x = left - beside - 16.0 * i as f64;
            canvas.upright(line, LETTERS, (x, top + height / 2.0))?;
        }
        Ok(())
    }

    /// Draws the band between the lower and the upper values.
    pub fn band<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        points: &[BandPoint],
        style: &CurveStyle,
    ) -> Result<()> {
        if points.len() < 2 {
            return Ok(());
        }
        let lower = points.iter().map(|point| self.at(point.x, point.low));
        let upper = points.iter().rev().map(|point| self.at(point.x, point.high));
        canvas.polygon(&lower.chain(upper).collect::<Vec<_>>(), style.color.mix(0.2))
    }

    /// Draws the curve through the middle values.
    pub fn curve<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        points: &[BandPoint],
        style: &CurveStyle,
    ) -> Result<()> {
        let points: Vec<Point> = points.iter().map(|point| self.at(point.x, point.middle)).collect();
        canvas.line(&points, style.color, 2.0, style.dash)
    }
}

/// Returns the lowest and the highest value, or an empty range if there are none.
pub fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

/// Returns the width of a legend's longest label, in units.
pub fn legend_width<'a>(labels: impl Iterator<Item = &'a str>) -> f64 {
    9.2 * labels.map(UnicodeWidthStr::width).max().unwrap_or(0).min(FULL_SIZE_WIDTH) as f64
}

/// Draws an entry of a legend: a marker at a point, and the label to its right.
pub fn legend_entry<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    (x, y): Point,
    style: &CurveStyle,
    label: &str,
) -> Result<()> {
    canvas.marker(style, (x, y))?;
    canvas.text(label, LETTERS * fit(label), (x + 14.0, y), Side::Right)
}

/// Splits a curve that has gaps into its unbroken pieces.
pub fn pieces(points: &[(f64, Option<[f64; 3]>)]) -> Vec<Vec<BandPoint>> {
    let parts = points.split(|(_, values)| values.is_none());
    let part = |part: &[(f64, Option<[f64; 3]>)]| {
        part.iter().filter_map(|(x, values)| Some(BandPoint::new(*x, (*values)?))).collect()
    };
    parts.map(part).filter(|part: &Vec<BandPoint>| !part.is_empty()).collect()
}

/// Returns the lower quartile, the median and the upper quartile of the finite values, interpolated linearly as numpy
/// does, or `None` if there are none.
pub fn quartiles(values: impl Iterator<Item = f64>) -> Option<[f64; 3]> {
    let mut sorted: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| {
        let position = share * last as f64;
        let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
        low + (high - low) * position.fract()
    };
    Some([at(0.25), at(0.5), at(0.75)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(labels(&Axis::linear(-0.05..0.55, 6, "")), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&Axis::linear(0.0..1234.0, 4, "")), ["0", "500", "1000"]);
        assert_eq!(labels(&Axis::samples(131_072.0, 6)), ["0", "25", "50", "75", "100", "125"]);
        assert_eq!(labels(&Axis::samples(16_777_216.0, 5)), ["0", "5", "10", "15"]);
        assert_eq!(
            labels(&Axis::logarithmic([3.0, 40.0].into_iter(), "")),
            ["3", "5", "7", "10", "20", "30"]
        );
        assert_eq!(
            labels(&Axis::logarithmic([0.01, 9e3, -1.0].into_iter(), "")),
            ["0.01", "0.1", "1", "10", "100", "1000", "10000"]
        );
        assert_eq!(labels(&Axis::logarithmic([1e-3, 1e11].into_iter(), ""))[..3], ["0.001", "1", "1000"]);
        assert_eq!(short(1e-9), "10⁻⁹");
    }

    #[test]
    fn axes_without_values_do_not_fail() {
        let shares = |axis: &Axis| [f64::NEG_INFINITY, -1.0, 0.0, 1.0, f64::INFINITY].map(|v| axis.share(v));
        for axis in
            [Axis::logarithmic(std::iter::empty(), ""), Axis::samples(0.0, 5), Axis::linear(0.0..1.0, 0, "")]
        {
            assert!(shares(&axis).iter().all(|v| (0.0..=1.0).contains(v)), "{axis:?}");
        }
        assert!(labels(&Axis::linear(1.0..1.0, 5, "")).is_empty());
    }

    #[test]
    fn quartiles_match_numpy() {
        assert_eq!(quartiles([4.0, 1.0, f64::NAN, 2.0, 3.0].into_iter()), Some([1.75, 2.5, 3.25]));
        assert_eq!(quartiles([7.0].into_iter()), Some([7.0; 3]));
        assert_eq!(quartiles([f64::NAN].into_iter()), None);
    }

    #[test]
    fn a_gap_breaks_a_curve() {
        let points =
            [(0.0, None), (1.0, Some([1.0; 3])), (2.0, None), (3.0, Some([2.0; 3])), (4.0, Some([3.0; 3]))];
        let lengths: Vec<usize> = pieces(&points).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2]);
    }
}
