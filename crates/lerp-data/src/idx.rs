//! The idx files of MNIST and its relatives (<http://yann.lecun.com/exdb/mnist>): a magic number, sizes, bytes.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::{
    Result,
    error::{Fault, fill, read_most},
    resize::{SIDE, fit, pad},
};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
const LONGEST_SIDE: usize = 4096;
/// The most that one file may hold: 4 GB as it is and, at 32x32, as it is kept.
const MOST_IMAGES: usize = 4 << 20;
const MOST_BYTES: u64 = 4 << 30;
/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Hands the images of an idx file, gzip or plain, to `each`, many at a time, and says how many there were: smaller ones in
/// the middle of black, larger ones made smaller.
///
/// # Shapes
/// `[n, 32, 32, 1]`.
pub(crate) fn images(path: &Path, mut each: impl FnMut(Vec<u8>) -> Result<()>) -> Result<usize> {
    let mut read = || -> std::result::Result<usize, Fault> {
        let ([n, height, width], mut body) = open::<3>(path, IMAGES)?;
        let small = height <= SIDE && width <= SIDE;
        body.read_all(n, height * width, |block| {
            let images = block.chunks_exact(height * width);
            let pixels = images.flat_map(|image| {
                if small { pad(image, height, width, SIDE) } else { fit(image, [height, width, 1], SIDE) }
            });
            each(pixels.collect())
        })?;
        Ok(n)
    };
    read().map_err(|fault| fault.at(path))
}

/// The classes of an idx file, gzip or plain.
pub(crate) fn labels(path: &Path) -> Result<Vec<u32>> {
    let read = || -> std::result::Result<Vec<u32>, Fault> {
        let ([n], mut body) = open::<1>(path, LABELS)?;
        let mut labels = Vec::new();
        body.read_all(n, 1, |block| {
            labels.extend(block.iter().map(|&label| u32::from(label)));
            Ok(())
        })?;
        Ok(labels)
    };
    read().map_err(|fault| fault.at(path))
}

/// What follows the sizes.
struct Body {
    reader: Box<dyn Read>,
    sizes: String,
}

impl Body {
    /// Hands `n` elements of `size` bytes to `each`, a block at a time: no more is in memory, whatever the header claims.
    fn read_all(
        &mut self,
        n: usize,
        size: usize,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> std::result::Result<(), Fault> {
        let per_block = (BLOCK / size).max(1);
        let mut buffer = vec![0; size * per_block.min(n)];
        let expected = || format!("{} bytes after the sizes {}", n * size, self.sizes);
        for first in (0..n).step_by(per_block) {
            let block = &mut buffer[..size * per_block.min(n - first)];
            let read = read_most(&mut *self.reader, block)?;
            if read < block.len() {
                return Err(Fault::new(expected(), (first * size + read).to_string()));
            }
            each(block)?;
        }
        match read_most(&mut *self.reader, &mut [0])? {
            0 => Ok(()),
            _ => Err(Fault::new(expected(), "more")),
        }
    }
}

/// Sizes of a file of `N` dimensions, and what follows them.
fn open<const N: usize>(path: &Path, magic: u32) -> std::result::Result<([usize; N], Body), Fault> {
    let mut file = BufReader::new(File::open(path)?);
    let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let mut reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let found = word(&mut *reader, "the magic number")?;
    if found != magic {
        return Err(Fault::new(format!("the magic number {magic:#010x}"), format!("{found:#010x}")));
    }
    let mut sizes = [0; N];
    for (axis, size) in sizes.iter_mut().enumerate() {
        *size = word(&mut *reader, "a size")? as usize;
        if axis > 0 && (*size == 0 || *size > LONGEST_SIDE) {
            return Err(Fault::new(format!("images of 1 to {LONGEST_SIDE} pixels a side"), size.to_string()));
        }
    }
    // A gzip stream can deliver a thousand times its size, so that what it is believed to hold needs an end.
    let bytes = sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64));
    if sizes[0] > MOST_IMAGES || bytes > MOST_BYTES {
        let expected = format!("at most {MOST_IMAGES} images, and {MOST_BYTES} bytes of them");
        return Err(Fault::new(expected, format!("the sizes {sizes:?}")));
    }
    Ok((sizes, Body { reader, sizes: format!("{sizes:?}") }))
}

fn word(reader: &mut dyn Read, what: &str) -> std::result::Result<u32, Fault> {
    let mut bytes = [0; 4];
    fill(reader, &mut bytes, what)?;
    Ok(u32::from_be_bytes(bytes))
}
