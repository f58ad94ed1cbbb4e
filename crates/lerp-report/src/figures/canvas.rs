//! A canvas for figures that is measured in units of the SVG and writes both file formats.

use std::borrow::Cow;

use plotters::{
    coord::Shift,
    element::DashedPathElement,
    prelude::*,
    style::{
        FontTransform, RGBAColor,
        text_anchor::{HPos, Pos, VPos},
    },
};
use unicode_width::UnicodeWidthStr;

use super::style::{CurveStyle, Drawing, FONT, font, in_font, png};
use crate::{Error, Result};

/// The steps of the SVG's coordinates in a unit. plotters has integer coordinates only, and whole units would show as
/// stairs in curves.
const FINE: u32 = 4;
/// The pixels of the PNG in a unit.
const SHARPNESS: u32 = 2;

/// A drawing that can be made on a canvas of either format.
pub trait Drawable {
    /// Whether the PNG is antialiased. Pictures of pixels must not be.
    const SOFT: bool = true;

    /// Returns the name of the drawing in error messages.
    fn what(&self) -> &'static str;

    /// Draws onto `canvas`.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()>;
}

/// The position of a text relative to its anchor point.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// To the left of the point, vertically centred.
    Left,
    /// To the right of the point, vertically centred.
    Right,
    /// Above the point, horizontally centred.
    Above,
    /// Below the point, horizontally centred.
    Below,
    /// Centred on the point.
    Middle,
}

impl Side {
    fn pos(self) -> Pos {
        match self {
            Self::Left => Pos::new(HPos::Right, VPos::Center),
            Self::Right => Pos::new(HPos::Left, VPos::Center),
            Self::Above => Pos::new(HPos::Center, VPos::Bottom),
            Self::Below => Pos::new(HPos::Center, VPos::Top),
            Self::Middle => Pos::new(HPos::Center, VPos::Center),
        }
    }
}

/// A point: its distances from the left and from the top, in units.
pub type Point = (f64, f64);

/// A white canvas of either format.
pub struct Canvas<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    scale: u32,
    what: &'static str,
    /// Whether this is the canvas of the SVG.
    pub vector: bool,
}

impl<DB: DrawingBackend> Canvas<'_, DB> {
    fn at(&self, (x, y): Point) -> (i32, i32) {
        let pixel = |v: f64| (v * f64::from(self.scale)).round() as i32;
        (pixel(x), pixel(y))
    }

    fn length(&self, units: f64) -> u32 {
        ((units * f64::from(self.scale)).round() as u32).max(1)
    }

    fn put<E>(&self, element: &E) -> Result<()>
    where
        for<'b> &'b E: plotters::element::PointCollection<'b, (i32, i32)>,
        E: plotters::element::Drawable<DB>,
    {
        self.area.draw(element).map_err(|e| Error::draw(self.what)(e.to_string()))
    }

    /// Draws a line through `points`. `width`, and the lengths of `dash` and gap, are in units.
    pub fn line(
        &self,
        points: &[Point],
        color: impl Into<RGBAColor>,
        width: f64,
        dash: Option<(u32, u32)>,
    ) -> Result<()> {
        let points: Vec<(i32, i32)> = points.iter().map(|p| self.at(*p)).collect();
        let style = ShapeStyle { color: color.into(), filled: false, stroke_width: self.length(width) };
        match dash {
            _ if points.len() < 2 => Ok(()),
            None => self.put(&PathElement::new(points, style)),
            Some((dash, gap)) => {
                let dashes = DashedPathElement::new(points, dash * self.scale, gap * self.scale, style);
                self.area.draw(&dashes).map_err(|e| Error::draw(self.what)(e.to_string()))
            }
        }
    }

    /// Draws a filled polygon.
    pub fn polygon(&self, corners: &[Point], color: impl Into<RGBAColor>) -> Result<()> {
        let corners: Vec<(i32, i32)> = corners.iter().map(|p| self.at(*p)).collect();
        self.put(&Polygon::new(corners, ShapeStyle { color: color.into(), filled: true, stroke_width: 0 }))
    }

    /// Draws a filled rectangle.
    pub fn rectangle(&self, from: Point, to: Point, color: impl Into<RGBAColor>) -> Result<()> {
        let style = ShapeStyle { color: color.into(), filled: true, stroke_width: 0 };
        self.put(&Rectangle::new([self.at(from), self.at(to)], style))
    }

    /// Draws the marker of a style: disc, square, triangle or diamond.
    pub fn marker(&self, style: &CurveStyle, (x, y): Point) -> Result<()> {
        let polygon = |corners: &[Point]| {
            let corners: Vec<Point> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            self.polygon(&corners, style.color)
        };
        match style.marker {
            0 => self.put(&Circle::new(self.at((x, y)), self.length(4.0), style.color.filled())),
            1 => polygon(&[(-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)]),
            2 => polygon(&[(0.0, -5.0), (4.8, 3.6), (-4.8, 3.6)]),
            _ => polygon(&[(0.0, -5.5), (5.0, 0.0), (0.0, 5.5), (-5.0, 0.0)]),
        }
    }

    /// Returns the words that this format can show, and their size. A viewer of the SVG has fonts for any script; the
    /// PNG has only the embedded font.
    fn as_shown<'w>(&self, words: &'w str, size: f64) -> (Cow<'w, str>, f64) {
        let shown = if self.vector { Cow::Borrowed(words) } else { in_font(words) };
        let room = words.width().max(1) as f64 / shown.width().max(1) as f64;
        (shown, size * room.min(1.0))
    }

    /// Draws words of a size in units.
    pub fn text(&self, words: &str, size: f64, at: Point, side: Side) -> Result<()> {
        let (words, size) = self.as_shown(words, size);
        let style = font(size, self.scale).pos(side.pos());
        // For bitmaps, plotters includes the height of accents when it centres text vertically.
        let down = if self.vector || matches!(side, Side::Above | Side::Below) { 0.0 } else { 0.1 * size };
        self.area.draw_text(&words, &style, self.at((at.0, at.1 + down))).map_err(Error::draw(self.what))
    }

    /// Draws words that run upwards, centred on a point.
    pub fn upright(&self, words: &str, size: f64, at: Point) -> Result<()> {
        let (words, size) = self.as_shown(words, size);
        let style = font(size, self.scale)
            .transform(FontTransform::Rotate270)
            .pos(Pos::new(HPos::Center, VPos::Center));
        self.area.draw_text(&words, &style, self.at(at)).map_err(Error::draw(self.what))
    }
}

/// Draws `what` in both formats, `width` by `height` units.
pub fn both<D: Drawable>(what: &D, width: u32, height: u32) -> Result<Drawing> {
    let name = what.what();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width * FINE, height * FINE)).into_drawing_area();
        what.draw(&Canvas { area: &area, scale: FINE, what: name, vector: true })?;
        area.present().map_err(Error::draw(name))?;
    }
    // The header is rewritten so that the SVG is measured in units, and fallback fonts are named for viewers without
    // the embedded one.
    let (_, inside) = svg.split_once('>').unwrap_or_default();
    let inside = inside.trim().trim_end_matches("</svg>").trim_end();
    let inside = inside.replace(&format!("\"{FONT}\""), &format!("\"{FONT}, Verdana, sans-serif\""));
    let svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<g transform=\"scale({})\">\n{inside}\n</g>\n</svg>\n",
        1.0 / f64::from(FINE)
    );

    let softness = if D::SOFT { 2 } else { 1 };
    let scale = SHARPNESS * softness;
    let (wide, high) = (width * scale, height * scale);
    let mut pixels = vec![255; (3 * wide * high) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (wide, high)).into_drawing_area();
        what.draw(&Canvas { area: &area, scale, what: name, vector: false })?;
        area.present().map_err(Error::draw(name))?;
    }
    let pixels = if softness == 1 { pixels } else { halved(&pixels, wide as usize) };
    Ok(Drawing { svg, png: png(&pixels, width * SHARPNESS, height * SHARPNESS, png::ColorType::Rgb)? })
}

/// Halves the size of a picture by averaging blocks of four pixels.
fn halved(pixels: &[u8], width: usize) -> Vec<u8> {
    let row = 3 * width;
    let mut out = Vec::with_capacity(pixels.len() / 4);
    for rows in pixels.chunks_exact(2 * row) {
        let (upper, lower) = rows.split_at(row);
        for (a, b) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            for c in 0..3 {
                let sum: u16 = [a[c], a[c + 3], b[c], b[c + 3]].into_iter().map(u16::from).sum();
                out.push(((sum + 2) / 4) as u8);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_takes_means() {
        let pixels = [[0, 10, 20], [4, 10, 22], [8, 10, 20], [8, 14, 22]].concat();
        assert_eq!(halved(&pixels, 2), [5, 11, 21]);
    }
}
