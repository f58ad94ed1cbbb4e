//! The idx files of MNIST and its relatives (<http://yann.lecun.com/exdb/mnist>): a magic number, sizes, bytes.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

use crate::{
    Result,
    error::Fault,
    resize::{SIDE, fit, pad},
};

const IMAGES: u32 = 0x0803;
const LABELS: u32 = 0x0801;
const LONGEST_SIDE: usize = 4096;

/// The images of an idx file, gzip or plain: smaller ones in the middle of black, larger ones made smaller.
///
/// # Shapes
/// `[n, 32, 32, 1]`.
pub(crate) fn images(path: &Path) -> Result<Vec<u8>> {
    let read = || -> std::result::Result<Vec<u8>, Fault> {
        let (sizes, bytes) = body::<3>(path, IMAGES)?;
        let [_, height, width] = sizes;
        if height == SIDE && width == SIDE {
            return Ok(bytes);
        }
        let images = bytes.chunks_exact(height * width);
        let small = height <= SIDE && width <= SIDE;
        let pixels = images.flat_map(|image| {
            if small { pad(image, height, width, SIDE) } else { fit(image, [height, width, 1], SIDE) }
        });
        Ok(pixels.collect())
    };
    read().map_err(|fault| fault.at(path))
}

/// The classes of an idx file, gzip or plain.
pub(crate) fn labels(path: &Path) -> Result<Vec<u32>> {
    let (_, bytes) = body::<1>(path, LABELS).map_err(|fault| fault.at(path))?;
    Ok(bytes.into_iter().map(u32::from).collect())
}

/// Sizes and bytes of a file of `N` dimensions.
fn body<const N: usize>(path: &Path, magic: u32) -> std::result::Result<([usize; N], Vec<u8>), Fault> {
    let file = File::open(path)?;
    let length = file.metadata()?.len() as usize;
    let mut file = BufReader::new(file);
    let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let reader: &mut dyn Read = if packed { &mut MultiGzDecoder::new(file) } else { &mut file };

    let found = word(reader)?;
    if found != magic {
        return Err(Fault::new(format!("the magic number {magic:#010x}"), format!("{found:#010x}")));
    }
    let mut sizes = [0; N];
    for (axis, size) in sizes.iter_mut().enumerate() {
        *size = word(reader)? as usize;
        if axis > 0 && (*size == 0 || *size > LONGEST_SIDE) {
            return Err(Fault::new(format!("images of 1 to {LONGEST_SIDE} pixels a side"), size.to_string()));
        }
    }
    let wanted: usize = sizes.iter().product();
    // The claim is believed only as far as the file's size makes it likely.
    let mut bytes = Vec::with_capacity(wanted.min(4 * length + 4096));
    reader.take(wanted as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() != wanted {
        let found = if bytes.len() > wanted { "more".into() } else { bytes.len().to_string() };
        return Err(Fault::new(format!("{wanted} bytes after the sizes {sizes:?}"), found));
    }
    Ok((sizes, bytes))
}

fn word(reader: &mut dyn Read) -> std::result::Result<u32, Fault> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}
