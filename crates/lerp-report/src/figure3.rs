//! Figure 3: each variant's interpolation between two lines, under the true one.

use base64::{Engine, prelude::BASE64_STANDARD};
use candle_core::DType;
use lerp_data::draw_line;
use lerp_train::FIGURE_3_ANGLES;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    Error, Result,
    style::{Draw, Drawing, LONGEST, both, fit, font, png},
    summary::{Group, Sweep},
};

/// Pixels between two images.
const GAP: usize = 2;
/// Units of the figure for one pixel of an image.
const ZOOM: usize = 2;
/// Room above and below the images.
const TOP: usize = 34;
const BOTTOM: usize = 10;
/// Size of names.
const LETTERS: f64 = 15.0;

/// What the figure shows.
pub fn caption(sweep: &Sweep) -> String {
    let seeds: Vec<(&str, u64)> = sweep
        .on_lines()
        .filter_map(|group| drawn(group).ok().flatten().map(|(seed, _)| (group.label.as_str(), seed)))
        .collect();
    let seeds = match seeds.as_slice() {
        [(_, first), rest @ ..] if rest.iter().all(|(_, seed)| seed == first) => first.to_string(),
        _ => seeds.iter().map(|(label, seed)| format!("{seed} ({label})")).collect::<Vec<_>>().join(", "),
    };
    format!(
        "Figure 3. Interpolation between lines at 5π/7 and 3π/2 (the first and last column are their reconstructions), \
         under the true one. Gray from -1, black, to 1, white. Models of seed {seeds}. {}{}",
        sweep.conditions(),
        sweep.unlike_the_paper().map(|s| format!(" {s}")).unwrap_or_default(),
    )
}

/// Draws it; none if no run has an interpolation yet.
///
/// # Errors
/// If an interpolation is damaged or the figure cannot be drawn.
pub fn draw(sweep: &Sweep) -> Result<Option<Drawing>> {
    let mut rows = Vec::new();
    for group in sweep.on_lines() {
        if let Some((_, strip)) = drawn(group)? {
            rows.push((group.label.clone(), strip));
        }
    }
    let Some((count, side)) = rows.first().map(|(_, strip)| (strip.count, strip.side)) else {
        return Ok(None);
    };
    rows.insert(0, ("True".into(), truth(count, side)));
    let figure = Figure3::new(&rows, count, side)?;
    let (width, height) = figure.size();
    let mut drawing = both(&figure, width, height)?;
    // plotters writes the pixels of an image one by one; as one picture they are a tenth of that.
    drawing.svg =
        drawing.svg.trim_end().trim_end_matches("</svg>").to_owned() + &figure.picture()? + "</svg>\n";
    Ok(Some(drawing))
}

/// The images of one row.
struct Strip {
    count: usize,
    side: usize,
    /// Gray values, image by image.
    gray: Vec<u8>,
}

fn gray(value: f32) -> u8 {
    // NaN becomes 0.
    ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// The row of a configuration: its first run by seed that has one, and that seed.
fn drawn(group: &Group) -> Result<Option<(u64, Strip)>> {
    for loaded in &group.runs {
        let Some(images) = loaded.run.interpolation()? else { continue };
        let read = || -> candle_core::Result<Strip> {
            let (count, side, _, _) = images.dims4()?;
            let values = images.to_dtype(DType::F32)?.narrow(3, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
            Ok(Strip { count, side, gray: values.into_iter().map(gray).collect() })
        };
        return Ok(Some((loaded.run.record.cell.seed, read().map_err(Error::draw("figure 3"))?)));
    }
    Ok(None)
}

/// The interpolation that a perfect model would draw: the line turns at an even pace.
fn truth(count: usize, side: usize) -> Strip {
    let angle = |i: usize| {
        let t = i as f64 / (count - 1).max(1) as f64;
        FIGURE_3_ANGLES[0] + t * (FIGURE_3_ANGLES[1] - FIGURE_3_ANGLES[0])
    };
    let lines = (0..count).flat_map(|i| draw_line(angle(i), side, side, 2.0));
    Strip { count, side, gray: lines.map(|v| gray(v as f32)).collect() }
}

/// All rows as one picture of gray pixels, and their names.
struct Figure3 {
    names: Vec<String>,
    /// Room for names.
    left: usize,
    count: usize,
    side: usize,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Figure3 {
    fn new(rows: &[(String, Strip)], count: usize, side: usize) -> Result<Self> {
        let pitch = side + GAP;
        let (width, height) = (count * pitch - GAP, rows.len() * pitch - GAP);
        let mut pixels = vec![255; width * height];
        for (r, (name, strip)) in rows.iter().enumerate() {
            if (strip.count, strip.side) != (count, side) || strip.gray.len() != count * side * side {
                let problem = format!("the images of {name} are of another size than those above");
                return Err(Error::draw("figure 3")(problem));
            }
            for (i, line) in strip.gray.chunks_exact(side).enumerate() {
                let (image, y) = (i / side, i % side);
                let start = (r * pitch + y) * width + image * pitch;
                pixels[start..start + side].copy_from_slice(line);
            }
        }
        let names: Vec<String> = rows.iter().map(|(name, _)| name.clone()).collect();
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let left = 24 + 9 * longest.min(LONGEST);
        Ok(Self { names, left, count, side, width, height, pixels })
    }

    fn size(&self) -> (u32, u32) {
        ((self.left + ZOOM * self.width + BOTTOM) as u32, (TOP + ZOOM * self.height + BOTTOM) as u32)
    }

    /// The picture as an element of an SVG.
    fn picture(&self) -> Result<String> {
        let bytes = png(&self.pixels, self.width as u32, self.height as u32, png::ColorType::Grayscale)?;
        Ok(format!(
            "<image x=\"{}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" style=\"image-rendering:pixelated\" \
             href=\"data:image/png;base64,{}\"/>\n",
            self.left,
            ZOOM * self.width,
            ZOOM * self.height,
            BASE64_STANDARD.encode(bytes)
        ))
    }
}

impl Draw for Figure3 {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, scale: u32) -> Result<()> {
        let at = |x: usize, y: usize| ((x * scale as usize) as i32, (y * scale as usize) as i32);
        area.fill(&WHITE).map_err(Error::draw("figure 3"))?;
        let pitch = ZOOM * (self.side + GAP);
        let half = ZOOM * self.side / 2;
        let text = |words: &str, size: f64, pos: Pos, (x, y): (i32, i32)| {
            area.draw_text(words, &font(size, scale).pos(pos), (x, y)).map_err(Error::draw("figure 3"))
        };
        for (r, name) in self.names.iter().enumerate() {
            let (size, place) = (LETTERS * fit(name), at(self.left - 12, TOP + r * pitch + half));
            text(name, size, Pos::new(HPos::Right, VPos::Center), place)?;
        }
        for i in 0..self.count {
            let alpha = i as f64 / (self.count - 1).max(1) as f64;
            let words = if i == 0 { "α = 0".into() } else { format!("{alpha:.2}") };
            let words = if i + 1 == self.count { "1" } else { words.as_str() };
            let place = at(self.left + i * pitch + half, TOP - 8);
            text(words, 12.0, Pos::new(HPos::Center, VPos::Bottom), place)?;
        }
        if scale == 1 {
            // The SVG gets the picture as one element.
            return Ok(());
        }
        let zoom = ZOOM * scale as usize;
        let (left, top) = at(self.left, TOP);
        for (p, &level) in self.pixels.iter().enumerate() {
            let (x, y) = (left + (p % self.width * zoom) as i32, top + (p / self.width * zoom) as i32);
            let corners = [(x, y), (x + zoom as i32, y + zoom as i32)];
            area.draw(&Rectangle::new(corners, RGBColor(level, level, level).filled()))
                .map_err(Error::draw("figure 3"))?;
        }
        Ok(())
    }
}
