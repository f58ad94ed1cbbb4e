//! Reads SVHN's MATLAB files (<http://ufldl.stanford.edu/housenumbers>, "format 2"): version 5, with an array
//! `X` of images and an array `y` of labels, each usually packed with zlib.
//!
//! They are read as a stream, one block of images at a time, because `extra_32x32.mat` has 1.6 GB when
//! unpacked.

use std::{
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::read::ZlibDecoder;

use crate::{
    Result,
    error::{Fault, fill, read_most, show},
    resize::SIDE,
    tree,
};

type Faulty<T> = std::result::Result<T, Fault>;

const IMAGE_BYTES: usize = SIDE * SIDE * 3;
/// Number of images that are passed on at a time.
const IMAGES_PER_BLOCK: usize = 1024;

const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;

/// The two arrays, as far as they have been read.
#[derive(Default)]
struct Arrays {
    /// Number of images that were passed on.
    images: Option<usize>,
    labels: Option<Vec<u32>>,
}

/// Passes the images of the file at `path` to `each` in blocks, and returns their classes: the label minus one,
/// so that the digit 0, whose label is 10, is class 9.
///
/// # Shapes
/// Pixels `[n, 32, 32, 3]`, labels `[n]`.
pub(crate) fn read(path: &Path, mut each: impl FnMut(Vec<u8>) -> Result<()>) -> Result<Vec<u32>> {
    let mut arrays = || -> Faulty<(usize, Vec<u32>)> {
        let file = tree::open(path)?;
        let length = file.metadata()?.len();
        let arrays = arrays(&mut BufReader::new(file), length, &mut each)?;
        let absent = |name| Fault::new(format!("an array '{name}'"), "none");
        Ok((arrays.images.ok_or_else(|| absent("X"))?, arrays.labels.ok_or_else(|| absent("y"))?))
    };
    let (images, labels) = arrays().map_err(|fault| fault.at(path))?;
    if images != labels.len() {
        let expected = format!("{images} labels for as many images");
        return Err(Fault::new(expected, labels.len().to_string()).at(path));
    }
    Ok(labels)
}

type Each<'a> = &'a mut dyn FnMut(Vec<u8>) -> Result<()>;

fn arrays(file: &mut impl Read, length: u64, each: Each) -> Faulty<Arrays> {
    let mut header = [0; 128];
    let read = read_most(file, &mut header)?;
    if header[124..] != [0, 1, b'I', b'M'] {
        return Err(Fault::new("a little-endian MATLAB file of version 5", version(&header[..read])));
    }
    let mut arrays = Arrays::default();
    while arrays.images.is_none() || arrays.labels.is_none() {
        let Some(tag) = Tag::read_unless_at_end(file)? else { break };
        let mut element = file.take(u64::from(tag.size));
        match tag.kind {
            COMPRESSED => {
                let mut unpacked = ZlibDecoder::new(&mut element);
                if Tag::read(&mut unpacked)?.kind == MATRIX {
                    matrix(&mut unpacked, length, &mut arrays, each)?;
                }
            }
            MATRIX => matrix(&mut element, length, &mut arrays, each)?,
            _ => {}
        }
        io::copy(&mut element, &mut io::sink())?;
    }
    Ok(arrays)
}

/// Describes a file whose header is not that of version 5, for an error message.
fn version(header: &[u8]) -> String {
    if header.starts_with(b"MATLAB 7.3") || header.starts_with(b"\x89HDF") {
        return "version 7.3 (HDF5), where MATLAB's save -v7 writes version 5".into();
    }
    match header {
        [.., b'M', b'I'] if header.len() == 128 => "a big-endian one".into(),
        // Version 4 begins with a type below 5000, where version 5 has letters.
        [a, b, 0, 0, ..] if u16::from_le_bytes([*a, *b]) < 5000 => "version 4, or no MATLAB file".into(),
        _ => format!("{} bytes that begin with {}", header.len(), show(&header[..header.len().min(16)])),
    }
}

/// The tag of a data element: its type and its size in bytes.
struct Tag {
    kind: u32,
    size: u32,
    /// The content of a small element, which is stored in the tag itself.
    small: Option<[u8; 4]>,
}

impl Tag {
    /// Reads a tag. The end of the file is an error.
    fn read(reader: &mut impl Read) -> Faulty<Self> {
        let mut bytes = [0; 8];
        fill(reader, &mut bytes, "an element's kind and size")?;
        Self::decode(bytes)
    }

    /// Reads a tag. Returns `None` at the end of the file.
    fn read_unless_at_end(reader: &mut impl Read) -> Faulty<Option<Self>> {
        let mut bytes = [0; 8];
        if reader.read(&mut bytes[..1])? == 0 {
            return Ok(None);
        }
        fill(reader, &mut bytes[1..], "an element's kind and size")?;
        Self::decode(bytes).map(Some)
    }

    fn decode([a, b, c, d, e, f, g, h]: [u8; 8]) -> Faulty<Self> {
        let (kind, size) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if kind >> 16 == 0 {
            return Ok(Self { kind, size, small: None });
        }
        let (kind, size) = (kind & 0xffff, kind >> 16);
        if size > 4 {
            return Err(Fault::new("at most 4 bytes in a small element", size.to_string()));
        }
        Ok(Self { kind, size, small: Some([e, f, g, h]) })
    }

    /// Reads the content of an element of at most `limit` bytes, and skips the padding after it.
    fn content(&self, reader: &mut impl Read, limit: u32, what: &str) -> Faulty<Vec<u8>> {
        if let Some(small) = self.small {
            return Ok(small[..self.size as usize].to_vec());
        }
        if self.size > limit {
            return Err(Fault::new(format!("{what} of at most {limit} bytes"), self.size.to_string()));
        }
        let mut bytes = vec![0; (self.size as usize).next_multiple_of(8)];
        fill(reader, &mut bytes, what)?;
        bytes.truncate(self.size as usize);
        Ok(bytes)
    }
}

/// Reads an element of at most `limit` bytes.
fn element(reader: &mut impl Read, limit: u32, what: &str) -> Faulty<Vec<u8>> {
    Tag::read(reader)?.content(reader, limit, what)
}

/// Reads an array into `arrays` if it is `X` or `y`.
fn matrix(reader: &mut impl Read, length: u64, arrays: &mut Arrays, each: Each) -> Faulty<()> {
    let _flags = element(reader, 64, "array flags")?;
    let sizes = element(reader, 128, "dimensions")?;
    let sizes: Vec<usize> =
        sizes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b) as usize).collect();
    let name = element(reader, 256, "an array's name")?;
    let tag = Tag::read(reader)?;
    match name.as_slice() {
        b"X" => {
            let n = match sizes[..] {
                [SIDE, SIDE, 3, n] if tag.kind == 2 && tag.size as usize == n.saturating_mul(IMAGE_BYTES) => {
                    n
                }
                _ => {
                    let found = format!("{} bytes of type {} as {sizes:?}", tag.size, tag.kind);
                    return Err(Fault::new("bytes (type 2) as [32, 32, 3, n] in the array X", found));
                }
            };
            if arrays.images.is_some() {
                return Err(Fault::new("one array X", "another"));
            }
            images(reader, n, each)?;
            arrays.images = Some(n);
        }
        b"y" => {
            let n: usize = sizes.iter().fold(1, |product: usize, size| product.saturating_mul(*size));
            arrays.labels = Some(labels(reader, &tag, n, length)?);
        }
        _ => {}
    }
    Ok(())
}

/// Reads `n` images, and transposes each to `[row, column, channel]`. MATLAB stores
/// `X[row, column, channel, image]` with the row varying fastest.
fn images(reader: &mut impl Read, n: usize, each: Each) -> Faulty<()> {
    let mut image = [0; IMAGE_BYTES];
    for first in (0..n).step_by(IMAGES_PER_BLOCK) {
        let mut pixels = Vec::with_capacity(IMAGES_PER_BLOCK * IMAGE_BYTES);
        for index in first..n.min(first + IMAGES_PER_BLOCK) {
            if read_most(reader, &mut image)? < IMAGE_BYTES {
                return Err(Fault::new(format!("{n} images"), format!("the end in image {index}")));
            }
            for row in 0..SIDE {
                for column in 0..SIDE {
                    pixels.extend([0, 1, 2].map(|channel| image[row + SIDE * (column + SIDE * channel)]));
                }
            }
        }
        each(pixels)?;
    }
    Ok(())
}

fn labels(reader: &mut impl Read, tag: &Tag, n: usize, length: u64) -> Faulty<Vec<u32>> {
    let width = match tag.kind {
        1 | 2 => 1,
        3 | 4 => 2,
        5..=7 => 4,
        9 | 12 | 13 => 8,
        other => return Err(Fault::new("numbers in the array y", format!("type {other}"))),
    };
    if n.saturating_mul(width) != tag.size as usize {
        return Err(Fault::new(
            format!("{n} labels of {width} bytes in the array y"),
            format!("{} bytes", tag.size),
        ));
    }
    // A file has 3,072 bytes of image for each label, so even if it is packed to a thousandth, its labels have
    // fewer bytes than this.
    let limit = u32::try_from(length.saturating_mul(8) + 4096).unwrap_or(u32::MAX);
    let bytes = tag.content(reader, limit, "labels")?;
    let number = |bytes: &[u8]| match (tag.kind, bytes) {
        (1, &[a]) => f64::from(i8::from_le_bytes([a])),
        (3, &[a, b]) => f64::from(i16::from_le_bytes([a, b])),
        (5, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
        (7, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (9, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        (12, &[a, b, c, d, e, f, g, h]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]) as f64,
        _ => bytes.iter().rev().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte)),
    };
    let class = |(index, bytes)| match number(bytes) {
        label if (1.0..=10.0).contains(&label) && label.fract() == 0.0 => Ok(label as u32 - 1),
        label => Err(Fault::new("labels 1 to 10 in the array y", format!("{label} for image {index}"))),
    };
    bytes.chunks_exact(width).enumerate().map(class).collect()
}
