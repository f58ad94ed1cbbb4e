//! PNG and JPEG images.

use std::io::Cursor;

use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use crate::error::{Fault, show};

type Result<T> = std::result::Result<T, Fault>;

/// The largest image that is decoded: 100 MB as RGB, whatever a file of a few bytes claims.
const MOST_PIXELS: usize = 1 << 25;
const LONGEST_SIDE: usize = 1 << 15;

/// A decoded image.
pub(crate) struct Picture {
    pub height: usize,
    pub width: usize,
    /// `[height, width, 3]`, red first.
    pub rgb: Vec<u8>,
}

/// Decodes a PNG or JPEG image to RGB: gray is repeated, transparency is dropped, 16 bits are cut to 8.
pub(crate) fn decode(bytes: &[u8]) -> Result<Picture> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [0xff, 0xd8, ..] => jpeg(bytes),
        _ => {
            let found =
                format!("{} bytes that begin with {}", bytes.len(), show(&bytes[..bytes.len().min(4)]));
            Err(Fault::new("a PNG or JPEG image", found))
        }
    }
}

fn sized(width: usize, height: usize) -> Result<()> {
    if width == 0 || height == 0 || width.saturating_mul(height) > MOST_PIXELS {
        let found = format!("{width}x{height}");
        return Err(Fault::new(format!("an image of 1 to {MOST_PIXELS} pixels"), found));
    }
    Ok(())
}

fn png(bytes: &[u8]) -> Result<Picture> {
    let bad = |error: png::DecodingError| Fault::new("a sound PNG image", format!("'{error}'"));
    let limits = png::Limits { bytes: 4 * MOST_PIXELS };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(bad)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    sized(width, height)?;
    let size = reader.output_buffer_size().filter(|size| *size <= 4 * MOST_PIXELS);
    let size = size.ok_or_else(|| Fault::new("a PNG image that fits into memory", "a larger one"))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(bad)?;
    pixels.truncate(frame.buffer_size());
    let rgb = match frame.color_type {
        png::ColorType::Rgb => pixels,
        png::ColorType::Rgba => pixels.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        png::ColorType::Grayscale => pixels.iter().flat_map(|&p| [p; 3]).collect(),
        png::ColorType::GrayscaleAlpha => pixels.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        png::ColorType::Indexed => return Err(Fault::new("colours", "a palette's indices")),
    };
    whole(Picture { height, width, rgb })
}

fn jpeg(bytes: &[u8]) -> Result<Picture> {
    let bad = |error| Fault::new("a sound JPEG image", format!("'{error}'"));
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(LONGEST_SIDE)
        .set_max_height(LONGEST_SIDE)
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| bad(e.to_string()))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    sized(width, height)?;
    let rgb = decoder.decode().map_err(|e| bad(e.to_string()))?;
    whole(Picture { height, width, rgb })
}

fn whole(picture: Picture) -> Result<Picture> {
    let (found, wanted) = (picture.rgb.len(), picture.height * picture.width * 3);
    if found != wanted {
        return Err(Fault::new(format!("{wanted} values of an image"), found.to_string()));
    }
    Ok(picture)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A PNG image of `channels` 1 to 4.
    pub(crate) fn encode(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(match channels {
            1 => png::ColorType::Grayscale,
            2 => png::ColorType::GrayscaleAlpha,
            3 => png::ColorType::Rgb,
            _ => png::ColorType::Rgba,
        });
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_png_becomes_rgb_the_right_way_up() {
        let rgb = |channels, pixels: &[u8]| decode(&encode(2, 1, channels, pixels)).unwrap().rgb;
        assert_eq!(rgb(1, &[5, 9]), [5, 5, 5, 9, 9, 9]);
        assert_eq!(rgb(2, &[5, 0, 9, 255]), [5, 5, 5, 9, 9, 9]);
        assert_eq!(rgb(3, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(rgb(4, &[1, 2, 3, 0, 4, 5, 6, 255]), [1, 2, 3, 4, 5, 6]);
        let tall = decode(&encode(1, 3, 1, &[1, 2, 3])).unwrap();
        assert_eq!((tall.height, tall.width), (3, 1));
    }

    #[test]
    fn what_is_no_image_is_named() {
        let message = |bytes: &[u8]| decode(bytes).err().unwrap().at("a.png".as_ref()).to_string();
        assert_eq!(
            message(b"GIF89a"),
            "a.png: expected a PNG or JPEG image, found 6 bytes that begin with 'GIF8'"
        );
        assert!(message(b"").contains("0 bytes"));
        assert!(message(b"\x89PNG\r\n").starts_with("a.png: expected a sound PNG image, found '"));
        assert!(message(b"\xff\xd8\xff\xe0").starts_with("a.png: expected a sound JPEG image, found '"));
    }
}
