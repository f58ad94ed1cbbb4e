//! Draws strips of images with half-block characters: each character shows two pixels, the upper one in its foreground
//! colour and the lower one in its background colour.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{palette::Palette, selected_files::StripImages};

/// The layout of a strip: the number of rows of images, and the width and height of each image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripLayout {
    rows: usize,
    width: usize,
    height: usize,
}

/// Width of the gap between images, in characters.
const GAP: usize = 1;

impl StripLayout {
    /// Returns the layout with the largest images on `width` by `height` characters. Returns `None` if they would be
    /// too small to recognise.
    pub fn new(images: &StripImages, width: usize, height: usize) -> Option<Self> {
        let StripImages { positions, height: tall, width: wide, .. } = *images;
        let mut best: Option<Self> = None;
        for rows in 1..=positions {
            let across = positions.div_ceil(rows);
            let room = (width + GAP).checked_div(across).unwrap_or(0).saturating_sub(GAP);
            let lines = (height + GAP).checked_div(rows).unwrap_or(0).saturating_sub(GAP);
            // Images are at most as large as the originals and keep their aspect ratio.
            let by_height = 2 * lines * wide / tall.max(1);
            let columns = room.min(by_height).min(wide);
            let layout =
                Self { rows, width: columns, height: (columns * tall).div_ceil(wide.max(1)).min(2 * lines) };
            if columns > best.map_or(2, |best| best.width) && layout.height > 0 {
                best = Some(layout);
            }
        }
        best
    }

    /// Returns the height of the strip in rows of characters.
    pub fn lines(self) -> usize {
        self.rows * (self.height.div_ceil(2) + GAP) - GAP
    }
}

/// Draws the strip of a pair into the upper left corner of `area`.
pub fn draw(
    images: &StripImages,
    pair: usize,
    layout: StripLayout,
    palette: Palette,
    area: Rect,
    buffer: &mut Buffer,
) {
    let positions = images.positions;
    let across = positions.div_ceil(layout.rows);
    let lines = layout.height.div_ceil(2);
    for position in 0..positions {
        let (row, column) = (position / across, position % across);
        for line in 0..lines {
            for x in 0..layout.width {
                let at = (
                    area.x + (column * (layout.width + GAP) + x) as u16,
                    area.y + (row * (lines + GAP) + line) as u16,
                );
                let pixel =
                    |y: usize| (y < layout.height).then(|| mean(images, pair, position, layout, (x, y)));
                let (upper, lower) = (pixel(2 * line), pixel(2 * line + 1));
                if area.contains(at.into())
                    && let (Some(cell), Some(upper)) = (buffer.cell_mut(at), upper)
                {
                    let (symbol, style) = character(palette, upper, lower);
                    cell.set_symbol(symbol).set_style(style);
                }
            }
        }
    }
}

/// Returns the character and style of two pixels.
fn character(palette: Palette, upper: [u8; 3], lower: Option<[u8; 3]>) -> (&'static str, Style) {
    if let Some(color) = palette.pixel(upper) {
        let style = Style::new().fg(color);
        return ("▀", lower.and_then(|lower| palette.pixel(lower)).map_or(style, |lower| style.bg(lower)));
    }
    let light = |[r, g, b]: [u8; 3]| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
    let mean = lower.map_or(light(upper), |lower| f32::midpoint(light(upper), light(lower)));
    // Without colours the brightness selects a shade. Its square root keeps thin lines visible, whose mean with their
    // surroundings is dark.
    ([" ", "░", "▒", "▓", "█"][((mean / 255.0).sqrt() * 4.0).round() as usize], Style::new())
}

/// Returns the mean colour of the image's pixels that one pixel of the strip covers.
fn mean(
    images: &StripImages,
    pair: usize,
    position: usize,
    layout: StripLayout,
    (x, y): (usize, usize),
) -> [u8; 3] {
    let StripImages { positions, height: tall, width: wide, channels, .. } = *images;
    let part = |index: usize, all: usize, of: usize| {
        let first = index * of / all;
        first..((index + 1) * of / all).max(first + 1).min(of)
    };
    let (rows, columns) = (part(y, layout.height, tall), part(x, layout.width, wide));
    let image = (pair * positions + position) * tall;
    let mut sums = [0.0_f32; 3];
    let mut n = 0.0;
    for row in rows {
        for column in columns.clone() {
            let pixel = ((image + row) * wide + column) * channels;
            for (channel, sum) in sums.iter_mut().enumerate() {
                // An image with fewer than three channels is grey.
                let channel = if channels < 3 { 0 } else { channel };
                *sum += images.values.get(pixel + channel).copied().unwrap_or(-1.0).clamp(-1.0, 1.0);
            }
            n += 1.0;
        }
    }
    sums.map(|sum| ((sum / n + 1.0) * 127.5).round() as u8)
}

#[cfg(test)]
mod tests {
    use ratatui::style::Color;

    use super::*;

    /// Returns one pair of two images of 4x4 pixels: the first black, the second with a white left half.
    fn images() -> StripImages {
        let second = (0..16).map(|i| if i % 4 < 2 { 1.0 } else { -1.0 });
        let values = std::iter::repeat_n(-1.0, 16).chain(second).collect();
        StripImages { pairs: 1, positions: 2, height: 4, width: 4, channels: 1, values, angles: None }
    }

    #[test]
    fn images_are_as_large_as_fits() {
        let (height, width, values, angles) = (32, 32, Vec::new(), None);
        let lines = StripImages { pairs: 1, positions: 16, height, width, channels: 1, values, angles };
        assert_eq!(StripLayout::new(&lines, 118, 9), Some(StripLayout { rows: 2, width: 8, height: 8 }));
        assert_eq!(StripLayout::new(&lines, 118, 4), Some(StripLayout { rows: 1, width: 6, height: 6 }));
        assert_eq!(StripLayout::new(&lines, 1000, 100), Some(StripLayout { rows: 1, width: 32, height: 32 }));
        assert_eq!(StripLayout::new(&lines, 20, 2), None);
        assert_eq!(StripLayout::new(&lines, 0, 0), None);
        assert_eq!(StripLayout::new(&lines, 118, 9).unwrap().lines(), 9);
    }

    #[test]
    fn pixels_are_averaged_and_drawn_two_a_character() {
        let images = images();
        let area = Rect::new(0, 0, 9, 2);
        let mut buffer = Buffer::empty(area);
        let full = StripLayout::new(&images, 9, 2).unwrap();
        assert_eq!(full, StripLayout { rows: 1, width: 4, height: 4 });
        draw(&images, 0, full, Palette::True, area, &mut buffer);
        assert_eq!(buffer[(0, 0)].fg, Color::Rgb(0, 0, 0));
        assert_eq!((buffer[(5, 1)].symbol(), buffer[(5, 1)].bg), ("▀", Color::Rgb(255, 255, 255)));
        assert_eq!(buffer[(7, 0)].fg, Color::Rgb(0, 0, 0));
        // Three columns show four columns of pixels, so the last one is the mean of two.
        let three = StripLayout { rows: 1, width: 3, height: 4 };
        assert_eq!((0..3).map(|x| mean(&images, 0, 1, three, (x, 0))[0]).collect::<Vec<_>>(), [255, 255, 0]);
        let one = StripLayout { rows: 1, width: 1, height: 1 };
        assert_eq!(mean(&images, 0, 1, one, (0, 0)), [128; 3]);
        let mut buffer = Buffer::empty(area);
        draw(&images, 0, full, Palette::None, area, &mut buffer);
        assert_eq!(
            buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect::<String>(),
            "     ██       ██  "
        );
    }
}
