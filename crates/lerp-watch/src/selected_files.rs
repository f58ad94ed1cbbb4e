//! Files that are read only for the selected cell: its strips of interpolated images, and the end of its log.

use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use lerp_train::Strips;

use crate::{cached_read::CachedRead, cell_view::CellView, text::plain_line};

/// Largest part of a log that is read, from its end, bytes.
const LOG_BYTES: u64 = 64 << 10;

/// Strips of interpolated images, in memory.
#[derive(Debug)]
pub struct StripImages {
    /// Number of pairs, each of which has a strip.
    pub pairs: usize,
    /// Number of images in a strip.
    pub positions: usize,
    /// Height of an image, pixels.
    pub height: usize,
    /// Width of an image, pixels.
    pub width: usize,
    /// Number of channels of an image.
    pub channels: usize,
    /// Pixel values in row-major order, nominally from -1 to 1.
    pub values: Vec<f32>,
    /// On lines, the angles of the two end points of each pair, radians.
    pub angles: Option<Vec<[f32; 2]>>,
}

impl StripImages {
    fn new(strips: &Strips) -> Result<Self, String> {
        let read = || -> candle_core::Result<Self> {
            let (pairs, positions, height, width, channels) = strips.images.dims5()?;
            let values = strips.images.flatten_all()?.to_vec1()?;
            let angles = strips.angles.clone();
            Ok(Self { pairs, positions, height, width, channels, values, angles })
        };
        read().map_err(|e| e.to_string())
    }
}

/// The strips and the log of one cell.
#[derive(Debug)]
pub struct SelectedFiles {
    id: String,
    strips: CachedRead<StripImages>,
    log: CachedRead<Vec<String>>,
}

impl Default for SelectedFiles {
    fn default() -> Self {
        Self { id: String::new(), strips: CachedRead::new(Vec::new()), log: CachedRead::new(Vec::new()) }
    }
}

impl SelectedFiles {
    /// Reads the files of `cell` that have changed, or all of them if another cell was selected before.
    pub fn refresh(&mut self, cell: &CellView) {
        let log = cell.dir.join("log.txt");
        let strips = cell.dir.join("interpolation.safetensors");
        if self.id != cell.id {
            *self = Self {
                id: cell.id.clone(),
                strips: CachedRead::new(vec![strips]),
                log: CachedRead::new(vec![log.clone()]),
            };
        }
        if let Some(run) = cell.run() {
            self.strips.refresh(|| match run.strips() {
                Ok(Some(strips)) => StripImages::new(&strips),
                Ok(None) => Err("the strip of images is gone".into()),
                Err(error) => Err(error.to_string()),
            });
        }
        self.log.refresh(|| tail(&log));
    }

    /// Returns the cell's strips. Returns `None` before its first evaluation.
    pub fn images(&self) -> Option<&StripImages> {
        self.strips.value()
    }

    /// Returns the last lines of the cell's log.
    pub fn log(&self) -> &[String] {
        self.log.value().map_or(&[], Vec::as_slice)
    }

    /// Returns sentences about files that cannot be read.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        [self.strips.problem(), self.log.problem()].into_iter().flatten()
    }
}

/// Reads the last lines of a file, without characters that would move a terminal's cursor.
fn tail(path: &Path) -> Result<Vec<String>, String> {
    let mut file = lerp_files::open(path).map_err(|e| e.to_string())?;
    let mut read = || -> std::io::Result<(Vec<u8>, bool)> {
        let skipped = file.metadata()?.len().saturating_sub(LOG_BYTES);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(LOG_BYTES).read_to_end(&mut bytes)?;
        Ok((bytes, skipped > 0))
    };
    let (bytes, cut) = read().map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    // If only the end of the file was read, its first line is incomplete and is skipped.
    Ok(String::from_utf8_lossy(&bytes).lines().skip(usize::from(cut)).map(plain_line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_read_in_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.txt");
        let lines: Vec<String> = (0..20_000).map(|i| format!("line {i}")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let tail = tail(&path).unwrap();
        assert_eq!(tail.last(), lines.last());
        assert!(tail.len() > 1000 && tail.len() < lines.len());
        assert!(tail.iter().all(|line| line.starts_with("line ")));
    }
}
