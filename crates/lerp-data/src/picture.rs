//! Decodes image files in common formats with the crate `image`; the format is recognised by the content.

use std::{
    io::Cursor,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, metadata::Orientation,
};

use crate::error::{Fault, show};

type Result<T> = std::result::Result<T, Fault>;

/// The formats that are read, for use in a sentence.
pub(crate) const FORMATS: &str = "PNG, JPEG, WebP, BMP, TIFF or GIF";

/// The file extensions of image formats.
const EXTENSIONS: [&str; 12] =
    ["png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "tif", "tiff", "gif"];

/// The largest number of pixels of an image that is read, 256 megapixels: 768 MB as RGB, and three times as
/// much while a progressive JPEG image is decoded.
const MAX_PIXELS: u64 = 1 << 28;
/// Images with more pixels than this are decoded one at a time, whatever the number of threads, to bound
/// memory.
const LARGE_PIXELS: u64 = 1 << 25;
/// The lock that is held while a large image is decoded.
static LARGE_IMAGE_LOCK: Mutex<()> = Mutex::new(());
/// Number of bytes allowed for what a file holds besides pixels, such as a colour profile.
const OVERHEAD_BYTES: u64 = 64 << 20;

/// A decoded image.
pub(crate) struct Picture {
    pub height: usize,
    pub width: usize,
    /// The pixels, `[height, width, 3]`, red first.
    pub rgb: Vec<u8>,
    /// The lock [`LARGE_IMAGE_LOCK`] of a large image, released when its memory is.
    _lock: Option<MutexGuard<'static, ()>>,
}

/// Whether `extension`, in lower case and without the dot, is that of an image format.
pub(crate) fn is_extension(extension: &str) -> bool {
    EXTENSIONS.contains(&extension)
}

/// Whether the content of a file without an image extension is nevertheless an image, by its first bytes
/// `head`. Cameras' raw files, which are TIFF files with a small preview, are not.
pub(crate) fn is_content(head: &[u8], extension: &str) -> bool {
    match format(head) {
        Some(ImageFormat::Tiff) => extension.is_empty(),
        // Text may begin with 'BM', too; only a BMP file has the size of its second header here.
        Some(ImageFormat::Bmp) => {
            matches!(head.get(14..18), Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0]))
        }
        format => format.is_some(),
    }
}

fn format(bytes: &[u8]) -> Option<ImageFormat> {
    image::guess_format(bytes).ok().filter(ImageFormat::reading_enabled)
}

/// Decodes an image to RGB: rotated by its EXIF orientation, gray repeated on three channels, transparency
/// blended onto white, 16 bits reduced to 8, and only the first of several frames. Before it decodes anything,
/// it calls `suits` with the width and the height, which may refuse them.
///
/// # Errors
/// Returns an error if the bytes are not an image or damaged, and [`Fault::LeftOut`] if the image seems to be
/// sound but is of a kind or a size that is not read.
pub(crate) fn decode(bytes: &[u8], suits: impl Fn(usize, usize) -> Result<()>) -> Result<Picture> {
    let Some(format) = format(bytes) else {
        let found = format!("{} bytes that begin with {}", bytes.len(), show(&bytes[..bytes.len().min(4)]));
        return Err(Fault::new(format!("a {FORMATS} image"), found));
    };
    let sound = |found: String| Fault::new(format!("a sound {} image", name(format)), format!("'{found}'"));
    let decode = || -> std::result::Result<Result<Picture>, ImageError> {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_alloc = Some(OVERHEAD_BYTES);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder()?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return Ok(Err(sound(format!("{width}x{height} pixels"))));
        }
        if let Err(fault) = suits(width as usize, height as usize) {
            return Ok(Err(fault));
        }
        if pixels > MAX_PIXELS {
            let most = MAX_PIXELS >> 20;
            return Ok(Err(Fault::LeftOut(format!("more than {most} megapixels, the most that is read"))));
        }
        if format == ImageFormat::Jpeg && !has_end(bytes) {
            return Ok(Err(Fault::new("a whole JPEG image", "one that ends early")));
        }
        let lock =
            (pixels > LARGE_PIXELS).then(|| LARGE_IMAGE_LOCK.lock().unwrap_or_else(PoisonError::into_inner));
        limits.max_alloc = Some(decoder.total_bytes().saturating_mul(2).saturating_add(OVERHEAD_BYTES));
        decoder.set_limits(limits)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        let rgb = on_white(image);
        let (height, width) = (rgb.height() as usize, rgb.width() as usize);
        Ok(Ok(Picture { height, width, rgb: rgb.into_raw(), _lock: lock }))
    };
    match lerp_files::caught(AssertUnwindSafe(decode)) {
        Ok(Ok(result)) => result,
        Ok(Err(ImageError::Unsupported(error))) => Err(Fault::LeftOut(format!(
            "a kind of {} image that is not read ({})",
            name(format),
            one_line(&error)
        ))),
        Ok(Err(error)) => Err(sound(one_line(&error))),
        Err(panic) => Err(sound(one_line(&panic))),
    }
}

pub(crate) fn one_line(text: &impl ToString) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "GIF",
    }
}

fn on_white(image: DynamicImage) -> image::RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    let blend = |value: u8, alpha: u8| {
        ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8
    };
    let mut rgb = image::RgbImage::new(width, height);
    for (to, from) in rgb.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, alpha] = from.0;
        to.0 = [red, green, blue].map(|value| blend(value, alpha));
    }
    rgb
}

/// Whether a JPEG image has an end marker; the decoder would fill the missing part of a truncated image with
/// gray. Headers are skipped, because a preview in them has an end marker of its own.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2) {
        match (marker, bytes.get(at + 2..at + 4)) {
            (0xff, _) => at += 1,
            (0x01 | 0xd0..=0xd8, _) => at += 2,
            // The scan data begins.
            (0xda, _) | (_, None) => break,
            (_, Some(size)) => at += 2 + usize::from(size[0]) * 256 + usize::from(size[1]),
        }
    }
    bytes.get(at..).is_some_and(|rest| rest.windows(2).any(|pair| pair == [0xff, 0xd9]))
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType as Color, ImageEncoder, codecs::png::PngEncoder};

    use super::*;

    #[allow(clippy::unnecessary_wraps)]
    fn any(_: usize, _: usize) -> Result<()> {
        Ok(())
    }

    fn png(width: u32, height: u32, color: Color, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes).write_image(pixels, width, height, color).unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_png_becomes_rgb_the_right_way_up() {
        let rgb = |color, pixels: &[u8]| decode(&png(2, 1, color, pixels), any).unwrap().rgb;
        assert_eq!(rgb(Color::L8, &[5, 9]), [5, 5, 5, 9, 9, 9]);
        assert_eq!(rgb(Color::La8, &[5, 0, 9, 255]), [255, 255, 255, 9, 9, 9], "transparent is white");
        assert_eq!(rgb(Color::Rgb8, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
        assert_eq!(rgb(Color::Rgba8, &[1, 2, 3, 0, 4, 5, 6, 255]), [255, 255, 255, 4, 5, 6]);
        assert_eq!(rgb(Color::Rgba8, &[0, 100, 200, 128, 0, 100, 200, 51])[..3], [127, 177, 227]);
        let sixteen: Vec<u8> = [0x1234_u16, 0xffff].iter().flat_map(|v| v.to_ne_bytes()).collect();
        assert_eq!(rgb(Color::L16, &sixteen), [0x12, 0x12, 0x12, 255, 255, 255]);
        let tall = decode(&png(1, 3, Color::L8, &[1, 2, 3]), any).unwrap();
        assert_eq!((tall.height, tall.width), (3, 1));
    }

    #[test]
    fn what_is_no_image_is_named() {
        let message = |bytes: &[u8]| decode(bytes, any).err().unwrap().at("a.png".as_ref()).to_string();
        assert_eq!(
            message(b"import"),
            format!("a.png: expected a {FORMATS} image, found 6 bytes that begin with 'impo'")
        );
        assert!(message(b"").contains("0 bytes"));
        assert!(message(b"\x89PNG\r\n\x1a\n").starts_with("a.png: expected a sound PNG image, found '"));
        assert!(message(b"\xff\xd8\xff\xe0").starts_with("a.png: expected a sound JPEG image, found '"));
        assert!(message(b"GIF89a").starts_with("a.png: expected a sound GIF image, found '"));
    }

    #[test]
    fn content_tells_what_a_name_does_not() {
        assert!(is_content(&png(1, 1, Color::L8, &[1]), "dat") && is_content(b"\xff\xd8\xff\xe0", ""));
        assert!(!is_content(b"BMI,weight,height,name", "csv") && !is_content(b"", "png"));
        let raw = b"II*\0\x10\0\0\0CR\x02\0";
        assert!(!is_content(raw, "cr2") && is_content(raw, ""));
    }
}
