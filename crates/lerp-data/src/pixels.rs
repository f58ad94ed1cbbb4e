//! Pixels as they were read: in memory or in a cache file, image by image.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
};

use lerp_core::ImageShape;

use crate::{Error, Result, labels::Class, tree::LeftOut};

/// Bytes of a cache file before the pixels.
pub(crate) const HEADER: usize = 64;

/// What a stored value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A byte `v` for `v * 2 / 255 - 1` (section B6 of the protocol: all image sets).
    Bytes,
    /// Two bytes, little-endian, `v` for `v / 16384`: resized images overshoot [-1, 1], by a factor below 1.9, and are not
    /// clipped. Rounding to it moves a pixel by at most 1/260 of a gray level; half the memory of `f32`.
    Fixed,
    /// Four bytes, little-endian, for the value itself.
    Floats,
}

const FIXED: f32 = 16_384.0;

/// `value` as [`Kind::Fixed`] has it.
pub(crate) fn fixed(value: f32) -> [u8; 2] {
    ((value * FIXED).round() as i16).to_le_bytes()
}

impl Kind {
    /// Bytes of a value.
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

/// Pixels, each image `[height, width, channels]`, one after the other.
#[derive(Debug)]
pub(crate) enum Pixels {
    Memory(Vec<u8>),
    File(Stored),
}

/// All that was read of some files.
#[derive(Debug)]
pub(crate) struct Held {
    pub shape: ImageShape,
    pub kind: Kind,
    pub pixels: Pixels,
    /// The class of each image by its place among `classes`.
    pub labels: Option<Vec<u32>>,
    pub classes: Vec<Class>,
    /// Whether the three channels of every pixel are equal.
    pub gray: bool,
    /// What was found in the files and is not among the images.
    pub left_out: LeftOut,
}

impl Held {
    /// Bytes of one image.
    pub fn stride(&self) -> usize {
        self.shape.height * self.shape.width * self.shape.channels * self.kind.size()
    }

    pub fn len(&self) -> usize {
        match &self.pixels {
            Pixels::Memory(bytes) => bytes.len() / self.stride().max(1),
            Pixels::File(stored) => stored.len(),
        }
    }
}

/// Pixels in a file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub path: PathBuf,
    pub file: File,
    /// Bytes of one image.
    pub stride: usize,
    /// The checksum of each image.
    pub sums: Vec<u32>,
}

impl Stored {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Where the file is, and its bytes.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn file(&self) -> Result<(PathBuf, u64)> {
        let bad = |problem| Error::Io { file: self.path.clone(), problem };
        Ok((self.path.clone(), self.file.metadata().map_err(bad)?.len()))
    }

    /// The pixels of the image in `place`.
    ///
    /// # Errors
    /// If the file cannot be read, or the pixels are not those that were written; the file is removed then.
    pub fn read(&self, place: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.stride];
        read_at(&self.file, &mut bytes, (HEADER + place * self.stride) as u64)
            .map_err(|problem| Error::Io { file: self.path.clone(), problem })?;
        if crc32c::crc32c(&bytes) != self.sums[place] {
            let _ = fs::remove_file(&self.path);
            return Err(Error::Damaged { file: self.path.clone(), place });
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
            assert!((Kind::Fixed.values(&fixed(value))[0] - value).abs() <= 0.5 / FIXED);
        }
    }
}
