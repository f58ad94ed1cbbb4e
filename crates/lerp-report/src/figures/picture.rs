//! Rows of images with their names, as one picture.

use base64::{Engine, prelude::BASE64_STANDARD};
use plotters::prelude::{DrawingBackend, RGBColor};
use unicode_width::UnicodeWidthStr;

use super::{
    canvas::{Canvas, Drawable, Side, both},
    style::{Drawing, FULL_SIZE_WIDTH, fit, png},
};
use crate::Result;

/// The margins above and below the images.
const TOP: usize = 34;
const BOTTOM: usize = 10;
/// The width of a column of words to the right of the picture.
const BESIDE: usize = 160;
/// The size of names.
const LETTERS: f64 = 18.0;
/// The size of headings.
const HEADINGS: f64 = 14.0;

/// A white picture onto which images are placed.
pub struct Picture {
    /// The name of the figure in error messages.
    pub what: &'static str,
    /// The units of the figure for one pixel.
    pub zoom: usize,
    /// The names of rows, each with the distance of the row's middle from the top, in pixels.
    pub rows: Vec<(String, f64)>,
    /// The headings of columns, each with the distance of the column's middle from the left, in pixels.
    pub columns: Vec<(String, f64)>,
    /// Columns of words to the right of the picture: a heading, and an entry for each row.
    pub beside: Vec<(String, Vec<String>)>,
    colors: png::ColorType,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// Creates a white picture, which is gray or RGB.
    pub fn new(
        what: &'static str,
        colors: png::ColorType,
        (width, height): (usize, usize),
        zoom: usize,
    ) -> Self {
        let pixels = vec![255; width * height * colors.samples()];
        Self { what, zoom, rows: vec![], columns: vec![], beside: vec![], colors, width, height, pixels }
    }

    /// Places an image, whose rows are `width` pixels wide, with its upper left corner at `(x, y)`.
    pub fn put(&mut self, image: &[u8], width: usize, (x, y): (usize, usize)) {
        let channels = self.colors.samples();
        for (i, line) in image.chunks_exact(width * channels).enumerate() {
            let start = ((y + i) * self.width + x) * channels;
            self.pixels[start..start + line.len()].copy_from_slice(line);
        }
    }

    /// Returns the heading of position `i` among `count`, which is its α.
    pub fn alpha(i: usize, count: usize) -> String {
        match i {
            0 => "α = 0".into(),
            _ if i + 1 == count => "1".into(),
            _ => format!("{:.2}", i as f64 / (count - 1).max(1) as f64),
        }
    }

    /// Draws the figure.
    pub fn draw(&self) -> Result<Drawing> {
        let width = self.right() + self.beside.len() * BESIDE + BOTTOM;
        let height = self.top() + self.zoom * self.height + BOTTOM;
        let mut drawing = both(self, width as u32, height as u32)?;
        // plotters would write every pixel of the picture as an element of its own, which takes ten times the space of
        // one embedded picture.
        drawing.svg =
            drawing.svg.trim_end().trim_end_matches("</svg>").to_owned() + &self.element()? + "</svg>\n";
        Ok(drawing)
    }

    /// Returns the right edge of the picture, in units.
    fn right(&self) -> usize {
        self.left() + self.zoom * self.width
    }

    /// Returns the margin above the picture, which is larger if there are headings.
    fn top(&self) -> usize {
        if self.columns.is_empty() && self.beside.is_empty() { BOTTOM } else { TOP }
    }

    /// Returns the width of the margin for names.
    fn left(&self) -> usize {
        let longest = self.rows.iter().map(|(name, _)| name.width()).max();
        longest.map_or(BOTTOM, |longest| 24 + 11 * longest.min(FULL_SIZE_WIDTH))
    }

    /// Returns the picture as an element of an SVG.
    fn element(&self) -> Result<String> {
        let bytes = png(&self.pixels, self.width as u32, self.height as u32, self.colors)?;
        Ok(format!(
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" style=\"image-rendering:pixelated\" \
             href=\"data:image/png;base64,{}\"/>\n",
            self.left(),
            self.top(),
            self.zoom * self.width,
            self.zoom * self.height,
            BASE64_STANDARD.encode(bytes)
        ))
    }
}

impl Drawable for Picture {
    const SOFT: bool = false;

    fn what(&self) -> &'static str {
        self.what
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let (left, top, zoom) = (self.left() as f64, self.top() as f64, self.zoom as f64);
        for (name, middle) in &self.rows {
            canvas.text(name, LETTERS * fit(name), (left - 12.0, top + zoom * middle), Side::Left)?;
        }
        for (words, middle) in &self.columns {
            canvas.text(words, HEADINGS, (left + zoom * middle, top - 8.0), Side::Above)?;
        }
        for (i, (heading, entries)) in self.beside.iter().enumerate() {
            let x = (self.right() + i * BESIDE + BESIDE / 2 + 4) as f64;
            canvas.text(heading, LETTERS, (x, top - 8.0), Side::Above)?;
            for ((_, middle), words) in self.rows.iter().zip(entries) {
                canvas.text(words, LETTERS, (x, top + zoom * middle), Side::Middle)?;
            }
        }
        if canvas.vector {
            // In the SVG, the picture is embedded as one element.
            return Ok(());
        }
        for (p, pixel) in self.pixels.chunks_exact(self.colors.samples()).enumerate() {
            let corner = (left + zoom * (p % self.width) as f64, top + zoom * (p / self.width) as f64);
            let [red, green, blue] = match *pixel {
                [red, green, blue] => [red, green, blue],
                _ => [pixel[0]; 3],
            };
            canvas.rectangle(corner, (corner.0 + zoom, corner.1 + zoom), RGBColor(red, green, blue))?;
        }
        Ok(())
    }
}
