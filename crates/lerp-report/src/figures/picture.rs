//! Rows of images with their names, as one picture.

use base64::{Engine, prelude::BASE64_STANDARD};
use plotters::prelude::{DrawingBackend, RGBColor};
use unicode_width::UnicodeWidthStr;

use super::canvas::{Canvas, Draw, Side, both};
use crate::{
    Result,
    style::{Drawing, LONGEST, fit, png},
};

/// Room above and below the images.
const TOP: usize = 34;
const BOTTOM: usize = 10;
/// Width of a column of words.
const BESIDE: usize = 160;
/// Size of names.
const LETTERS: f64 = 18.0;
/// Size of headings.
const HEADINGS: f64 = 14.0;

/// The colours of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colors {
    /// One number a pixel.
    Gray,
    /// Three.
    Rgb,
}

impl Colors {
    fn channels(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// White pixels with images on them.
pub struct Picture {
    /// What it is called in errors.
    pub what: &'static str,
    /// Units of the figure for one pixel.
    pub zoom: usize,
    /// Names of rows, and the pixel of their middle from the top.
    pub rows: Vec<(String, f64)>,
    /// Headings of columns, and the pixel of their middle from the left.
    pub columns: Vec<(String, f64)>,
    /// Columns of words to the right of the picture: a heading, and an entry for each row.
    pub beside: Vec<(String, Vec<String>)>,
    colors: Colors,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A white one.
    pub fn new(what: &'static str, colors: Colors, (width, height): (usize, usize), zoom: usize) -> Self {
        let pixels = vec![255; width * height * colors.channels()];
        Self { what, zoom, rows: vec![], columns: vec![], beside: vec![], colors, width, height, pixels }
    }

    /// Puts an image, whose rows are `width` pixels wide, at a place that has room for it.
    pub fn put(&mut self, image: &[u8], width: usize, (x, y): (usize, usize)) {
        let channels = self.colors.channels();
        for (i, line) in image.chunks_exact(width * channels).enumerate() {
            let start = ((y + i) * self.width + x) * channels;
            self.pixels[start..start + line.len()].copy_from_slice(line);
        }
    }

    /// The heading of position `i` among `count`.
    pub fn alpha(i: usize, count: usize) -> String {
        match i {
            0 => "α = 0".into(),
            _ if i + 1 == count => "1".into(),
            _ => format!("{:.2}", i as f64 / (count - 1).max(1) as f64),
        }
    }

    /// The figure.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn draw(&self) -> Result<Drawing> {
        let width = self.right() + self.beside.len() * BESIDE + BOTTOM;
        let height = self.top() + self.zoom * self.height + BOTTOM;
        let mut drawing = both(self, width as u32, height as u32)?;
        // plotters writes the pixels of an image one by one; as one picture they are a tenth of that.
        drawing.svg =
            drawing.svg.trim_end().trim_end_matches("</svg>").to_owned() + &self.element()? + "</svg>\n";
        Ok(drawing)
    }

    /// Where the picture ends.
    fn right(&self) -> usize {
        self.left() + self.zoom * self.width
    }

    /// Room above, where there are headings.
    fn top(&self) -> usize {
        if self.columns.is_empty() && self.beside.is_empty() { BOTTOM } else { TOP }
    }

    /// Room for names.
    fn left(&self) -> usize {
        let longest = self.rows.iter().map(|(name, _)| name.width()).max();
        longest.map_or(BOTTOM, |longest| 24 + 11 * longest.min(LONGEST))
    }

    /// The picture as an element of an SVG.
    fn element(&self) -> Result<String> {
        let color = match self.colors {
            Colors::Gray => png::ColorType::Grayscale,
            Colors::Rgb => png::ColorType::Rgb,
        };
        let bytes = png(&self.pixels, self.width as u32, self.height as u32, color)?;
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

impl Draw for Picture {
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
            // The SVG gets the picture as one element.
            return Ok(());
        }
        for (p, pixel) in self.pixels.chunks_exact(self.colors.channels()).enumerate() {
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
