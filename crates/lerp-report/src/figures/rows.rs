//! Pictures of rows of line images.

use png::ColorType;

use super::{picture::Picture, style::byte};
use crate::{Error, Result};

/// The number of pixels between two images.
const GAP: usize = 2;
/// The units of the figure for one pixel of an image.
const ZOOM: usize = 2;

/// The images of one row.
pub struct Strip {
    /// The number of images.
    pub count: usize,
    /// The height and width of an image.
    pub side: usize,
    /// The gray values, image by image.
    pub gray: Vec<u8>,
}

impl Strip {
    /// Creates a row of images from their values, where -1 is black and 1 is white.
    pub fn new(count: usize, side: usize, values: impl Iterator<Item = f32>) -> Self {
        Self { count, side, gray: values.map(|value| byte(value, 1.0)).collect() }
    }
}

/// What stands above the columns of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Headings {
    /// The values of α.
    Alphas,
    /// Nothing.
    None,
}

/// Arranges rows of images with their names as one picture.
pub fn picture(what: &'static str, rows: &[(String, Strip)], headings: Headings) -> Result<Picture> {
    let (count, side) = rows.first().map_or((1, 1), |(_, strip)| (strip.count, strip.side));
    let pitch = side + GAP;
    let size = (count * pitch - GAP, (rows.len() * pitch).saturating_sub(GAP));
    let mut picture = Picture::new(what, ColorType::Grayscale, size, ZOOM);
    let middle = |i: usize| (i * pitch) as f64 + side as f64 / 2.0;
    for (r, (name, strip)) in rows.iter().enumerate() {
        if (strip.count, strip.side) != (count, side) || strip.gray.len() != count * side * side {
            let problem = format!("the images of {name} are of another size than those above");
            return Err(Error::draw(what)(problem));
        }
        for (i, image) in strip.gray.chunks_exact(side * side).enumerate() {
            picture.put(image, side, (i * pitch, r * pitch));
        }
        picture.rows.push((name.clone(), middle(r)));
    }
    if headings == Headings::Alphas {
        picture.columns = (0..count).map(|i| (Picture::alpha(i, count), middle(i))).collect();
    }
    Ok(picture)
}
