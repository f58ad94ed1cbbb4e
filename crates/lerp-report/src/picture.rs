//! Rows of images with their names, as one picture.

use base64::{Engine, prelude::BASE64_STANDARD};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    Error, Result,
    style::{Draw, Drawing, LONGEST, both, fit, font, png},
};

/// Room above and below the images.
const TOP: usize = 34;
const BOTTOM: usize = 10;
/// Size of names.
const LETTERS: f64 = 15.0;

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
    colors: Colors,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A white one.
    pub fn new(what: &'static str, colors: Colors, (width, height): (usize, usize), zoom: usize) -> Self {
        let pixels = vec![255; width * height * colors.channels()];
        Self { what, zoom, rows: Vec::new(), columns: Vec::new(), colors, width, height, pixels }
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
        let width = self.left() + self.zoom * self.width + BOTTOM;
        let height = TOP + self.zoom * self.height + BOTTOM;
        let mut drawing = both(self, width as u32, height as u32)?;
        // plotters writes the pixels of an image one by one; as one picture they are a tenth of that.
        drawing.svg =
            drawing.svg.trim_end().trim_end_matches("</svg>").to_owned() + &self.element()? + "</svg>\n";
        Ok(drawing)
    }

    /// Room for names.
    fn left(&self) -> usize {
        let longest = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        24 + 9 * longest.min(LONGEST)
    }

    /// The picture as an element of an SVG.
    fn element(&self) -> Result<String> {
        let color = match self.colors {
            Colors::Gray => png::ColorType::Grayscale,
            Colors::Rgb => png::ColorType::Rgb,
        };
        let bytes = png(&self.pixels, self.width as u32, self.height as u32, color)?;
        Ok(format!(
            "<image x=\"{}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" style=\"image-rendering:pixelated\" \
             href=\"data:image/png;base64,{}\"/>\n",
            self.left(),
            self.zoom * self.width,
            self.zoom * self.height,
            BASE64_STANDARD.encode(bytes)
        ))
    }
}

impl Draw for Picture {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, scale: u32) -> Result<()> {
        let at = |x: usize, y: usize| ((x * scale as usize) as i32, (y * scale as usize) as i32);
        area.fill(&WHITE).map_err(Error::draw(self.what))?;
        let text = |words: &str, size: f64, pos: Pos, (x, y): (i32, i32)| {
            area.draw_text(words, &font(size, scale).pos(pos), (x, y)).map_err(Error::draw(self.what))
        };
        let units = |pixels: f64| (pixels * self.zoom as f64) as usize;
        for (name, middle) in &self.rows {
            let (size, place) = (LETTERS * fit(name), at(self.left() - 12, TOP + units(*middle)));
            text(name, size, Pos::new(HPos::Right, VPos::Center), place)?;
        }
        for (words, middle) in &self.columns {
            let place = at(self.left() + units(*middle), TOP - 8);
            text(words, 12.0, Pos::new(HPos::Center, VPos::Bottom), place)?;
        }
        if scale == 1 {
            // The SVG gets the picture as one element.
            return Ok(());
        }
        let zoom = self.zoom * scale as usize;
        let (left, top) = at(self.left(), TOP);
        for (p, pixel) in self.pixels.chunks_exact(self.colors.channels()).enumerate() {
            let (x, y) = (left + (p % self.width * zoom) as i32, top + (p / self.width * zoom) as i32);
            let corners = [(x, y), (x + zoom as i32, y + zoom as i32)];
            let [red, green, blue] = match *pixel {
                [red, green, blue] => [red, green, blue],
                _ => [pixel[0]; 3],
            };
            area.draw(&Rectangle::new(corners, RGBColor(red, green, blue).filled()))
                .map_err(Error::draw(self.what))?;
        }
        Ok(())
    }
}
