//! The common style of all figures: the embedded font, a palette for colour-blind readers, and the encoding of both
//! file formats.

use std::{borrow::Cow, sync::OnceLock};

use ab_glyph::{Font, FontRef};
use plotters::{
    prelude::*,
    style::{FontStyle, TextStyle, register_font},
};
use png::text_metadata::{EncodableTextChunk, ITXtChunk};
use unicode_width::UnicodeWidthStr;

use crate::{
    Error, Result, paper::published, provenance::ReportProvenance, reading::RunGroup, text::in_ascii,
};

/// A finished drawing in both file formats.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// The drawing as a vector graphic.
    pub svg: String,
    /// The drawing as a PNG image, with two pixels for each unit of the vector graphic.
    pub png: Vec<u8>,
}

impl Drawing {
    /// Writes the caption and the provenance into both formats, where programs find them: as text chunks of the PNG and
    /// as `<metadata>` of the SVG.
    pub fn stamp(&mut self, caption: &str, provenance: &ReportProvenance) -> Result<()> {
        let mut pairs = vec![("caption", caption.to_owned())];
        pairs.extend(provenance.pairs());
        let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        if let Some(end) =
            self.svg.find("<svg").and_then(|start| Some(start + self.svg[start..].find('>')? + 1))
        {
            self.svg.insert_str(end, &format!("\n<metadata>{}</metadata>", xml(&lines.join("\n"))));
        }
        let mut chunks = Vec::new();
        for (name, value) in pairs {
            ITXtChunk::new(name, value).encode(&mut chunks).map_err(Error::draw("a PNG image"))?;
        }
        // The chunks follow the PNG header: a signature of 8 bytes, and a chunk of 13 bytes between a length and name
        // and a checksum of 4 bytes each.
        let header = 8 + 4 + 4 + 13 + 4;
        self.png.splice(header..header, chunks);
        Ok(())
    }
}

/// Escapes text for an XML file.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The name of the embedded font.
pub const FONT: &str = "DejaVu Sans";

/// The colour of lettering.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);

/// The colour of grid lines.
pub const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// The palette of Okabe and Ito, by the paper's order of variants, without its yellow, which is faint on white.
const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xd5, 0x5e, 0x00),
];

/// The colours of variants that are not in the paper.
const OTHERS: [RGBColor; 3] =
    [RGBColor(0x66, 0x33, 0x99), RGBColor(0x7a, 0x5c, 0x2e), RGBColor(0x80, 0x80, 0x80)];

/// The style of a configuration's curve. Variants differ in colour and marker, configurations of one variant in dashes.
#[derive(Debug, Clone, Copy)]
pub struct CurveStyle {
    /// The colour of the variant.
    pub color: RGBColor,
    /// The lengths of dash and gap, in units of the figure; `None` for a solid line.
    pub dash: Option<(u32, u32)>,
    /// The index of the marker, from 0 to 3.
    pub marker: usize,
}

/// Returns the styles of `groups`, in the same order.
pub fn curve_styles(groups: &[&RunGroup]) -> Vec<CurveStyle> {
    const DASHES: [Option<(u32, u32)>; 3] = [None, Some((8, 4)), Some((3, 3))];
    let mut others: Vec<&str> = groups
        .iter()
        .map(|group| group.cell().variant.as_str())
        .filter(|variant| published().position(variant) >= COLORS.len())
        .collect();
    // Groups of one variant are adjacent, so `dedup` removes all repetitions.
    others.dedup();
    let style = |(i, group): (usize, &&RunGroup)| {
        let variant = group.cell().variant.as_str();
        let twin = groups[..i].iter().filter(|g| g.cell().variant == variant).count();
        let index = published().position(variant);
        let other = others.iter().position(|known| *known == variant).unwrap_or(0);
        let color = COLORS.get(index).copied().unwrap_or(OTHERS[other % OTHERS.len()]);
        let dash = DASHES[twin % DASHES.len()];
        CurveStyle { color, dash, marker: (index + twin) % 4 }
    };
    groups.iter().enumerate().map(style).collect()
}

/// Formats a colour for the page's CSS. Black becomes the page's own ink, which is light in dark mode.
pub fn hex(color: RGBColor) -> String {
    match color {
        RGBColor(0, 0, 0) => "var(--ink)".into(),
        RGBColor(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    }
}

/// The colour of reference lines.
pub const IDEAL: RGBColor = RGBColor(0x77, 0x77, 0x77);

/// Returns the colour of step `i` among `count`, from dark to light, so that colour-blind readers also see the order.
pub fn shade(i: usize, count: usize) -> RGBColor {
    const STOPS: [[f64; 3]; 4] =
        [[0.0, 34.0, 78.0], [87.0, 92.0, 109.0], [165.0, 156.0, 116.0], [214.0, 178.0, 40.0]];
    let along = i as f64 / count.saturating_sub(1).max(1) as f64 * (STOPS.len() - 1) as f64;
    let first = (along as usize).min(STOPS.len() - 2);
    let share = (along - first as f64).clamp(0.0, 1.0);
    let mixed = |c: usize| (STOPS[first][c] * (1.0 - share) + STOPS[first + 1][c] * share).round() as u8;
    RGBColor(mixed(0), mixed(1), mixed(2))
}

/// The file of the embedded font.
const GLYPHS: &[u8] = include_bytes!("../../assets/DejaVuSans.ttf");

/// Replaces characters that the embedded font does not have by transliterations, as in `Koshki` for `Кошки`.
pub fn in_font(words: &str) -> Cow<'_, str> {
    static FACE: OnceLock<Option<FontRef>> = OnceLock::new();
    let face = FACE.get_or_init(|| FontRef::try_from_slice(GLYPHS).ok());
    let has = |c: char| c.is_ascii() || face.as_ref().is_some_and(|face| face.glyph_id(c).0 != 0);
    if words.chars().all(has) {
        return Cow::Borrowed(words);
    }
    let near = words.chars().map(|c| if has(c) { c.to_string() } else { in_ascii(c) });
    Cow::Owned(near.collect::<String>().trim_end().to_owned())
}

/// Returns the embedded font at `size` units of the SVG, on a canvas with `scale` steps for each unit.
pub fn font(size: f64, scale: u32) -> TextStyle<'static> {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // If the font cannot be read, drawing text with it returns an error, so the failure is not reported here.
        let _ = register_font(FONT, FontStyle::Normal, GLYPHS);
    });
    (FONT, size * f64::from(scale)).into_font().color(&INK)
}

/// The width of the longest name that is set in full size, in characters.
pub const FULL_SIZE_WIDTH: usize = 19;

/// Returns the factor by which a long name is set smaller, so that it need not be cut.
pub fn fit(name: &str) -> f64 {
    (FULL_SIZE_WIDTH as f64 / name.width().max(1) as f64).min(1.0)
}

/// Converts a pixel's value to eight bits: `-range` is black, `range` is white, and NaN is black.
pub fn byte(value: f32, range: f32) -> u8 {
    (((value + range) / (2.0 * range)).clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Encodes pixels with eight bits per channel as PNG.
pub fn png(pixels: &[u8], width: u32, height: u32, color: png::ColorType) -> Result<Vec<u8>> {
    lerp_train::encode_png(pixels, [width, height], color, png::Compression::High)
        .map_err(Error::draw("a PNG image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_without_glyphs_are_transliterated() {
        assert_eq!(in_font("Baseline α = 0, ×10⁻³ – é"), "Baseline α = 0, ×10⁻³ – é");
        assert_eq!(
            [in_font("Кошки"), in_font("猫 (x=1)"), in_font("ねこ")],
            ["Koshki", "Mao  (x=1)", "neko"]
        );
        assert_eq!(in_font("\u{e000}"), "U+E000");
    }
}
