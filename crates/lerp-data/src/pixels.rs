//! Stored pixel values: in memory or in a cache file, image by image.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use lerp_core::ImageShape;

use crate::{Error, Result, labels::Class, tree::LeftOut};

/// Size in bytes of the header of a cache file, which precedes the pixels.
pub(crate) const HEADER: usize = 64;

/// The encoding of a stored pixel value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PixelEncoding {
    /// One byte `v`, for the value `v * 2 / 255 - 1`, as in the paper's code.
    Bytes,
    /// A little-endian `i16` `v`, for the value `v / 16384`: resized images exceed [-1, 1], by a factor below
    /// 1.9, and are not clipped. Rounding moves a pixel by at most 1/260 of a gray level, and it takes half the
    /// memory of `f32`.
    Fixed,
    /// A little-endian `f32`, the value itself.
    Floats,
}

const FIXED: f32 = 16_384.0;

/// Encodes `value` as [`PixelEncoding::Fixed`].
pub(crate) fn fixed(value: f32) -> [u8; 2] {
    ((value * FIXED).round() as i16).to_le_bytes()
}

impl PixelEncoding {
    /// Size of a value in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Bytes => 1,
            Self::Fixed => 2,
            Self::Floats => 4,
        }
    }

    pub fn values(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Bytes => bytes.iter().map(|&v| f32::from(v) * 2.0 / 255.0 - 1.0).collect(),
            Self::Fixed => {
                let (pairs, _) = bytes.as_chunks::<2>();
                pairs.iter().map(|&v| f32::from(i16::from_le_bytes(v)) / FIXED).collect()
            }
            Self::Floats => bytes.as_chunks::<4>().0.iter().map(|&v| f32::from_le_bytes(v)).collect(),
        }
    }
}

/// The pixels of all images, each `[height, width, channels]`, one after the other.
#[derive(Debug)]
pub(crate) enum Pixels {
    Memory(Vec<u8>),
    File(CachedPixels),
}

/// The images and labels that were read from the files of one split.
#[derive(Debug)]
pub(crate) struct StoredImages {
    pub shape: ImageShape,
    pub encoding: PixelEncoding,
    pub pixels: Pixels,
    /// The index in `classes` of each image's class, or `None` if there are no labels.
    pub labels: Option<Vec<u32>>,
    pub classes: Vec<Class>,
    /// Whether the three channels of every pixel are equal.
    pub gray: bool,
    /// What the files hold that is not among the images.
    pub left_out: LeftOut,
}

impl StoredImages {
    /// Size of one image in bytes.
    pub fn stride(&self) -> usize {
        self.shape.height * self.shape.width * self.shape.channels * self.encoding.size()
    }

    pub fn len(&self) -> usize {
        match &self.pixels {
            Pixels::Memory(bytes) => bytes.len() / self.stride().max(1),
            Pixels::File(stored) => stored.len(),
        }
    }
}

/// The pixels in a cache file.
#[derive(Debug)]
pub(crate) struct CachedPixels {
    pub path: PathBuf,
    pub file: File,
    /// Size of one image in bytes.
    pub stride: usize,
    /// The CRC-32C of each image.
    pub sums: Vec<u32>,
}

impl CachedPixels {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// The path of the file, and its size in bytes.
    ///
    /// # Errors
    /// Returns an error if the metadata of the file cannot be read.
    pub fn file(&self) -> Result<(PathBuf, u64)> {
        let bad = |problem| Error::Io { file: self.path.clone(), problem };
        Ok((self.path.clone(), self.file.metadata().map_err(bad)?.len()))
    }

    /// Reads the pixels of the image with index `image`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or the pixels do not match their checksum; in the latter
    /// case the file is removed.
    pub fn read(&self, image: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.stride];
        read_at(&self.file, &mut bytes, (HEADER + image * self.stride) as u64)
            .map_err(|problem| Error::Io { file: self.path.clone(), problem })?;
        if crc32c::crc32c(&bytes) != self.sums[image] {
            let _ = fs::remove_file(&self.path);
            return Err(Error::Damaged { file: self.path.clone(), image });
        }
        Ok(bytes)
    }
}

#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (bytes, offset) = (&mut bytes[n..], offset + n as u64),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_holds_what_resizing_overshoots() {
        for value in [-1.9_f32, -1.0, -0.123_456, 0.0, 0.7, 1.0, 1.9] {
            assert!((PixelEncoding::Fixed.values(&fixed(value))[0] - value).abs() <= 0.5 / FIXED);
        }
    }
}
