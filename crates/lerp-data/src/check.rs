//! Reports on image sets: statistics to compare, and a contact sheet to look at.

use std::{
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use image::{ImageFormat, RgbImage};
use lerp_core::ImageShape;
use lerp_files::hexadecimal;
use sha2::{Digest, Sha256};

use crate::{
    Dataset, Error, ImageSet, Result,
    images::Images,
    tree::{self, file_name},
};

/// The number of files up to which each has a report of its own; more are combined into one digest.
const MAX_FILES: usize = 16;
/// Columns of a contact sheet.
const COLUMNS: usize = 10;
/// Rows of a contact sheet for images without labels.
const ROWS: usize = 10;
/// The largest number of rows for images with labels.
const MAX_ROWS: usize = 50;
/// Magnification of the images on a contact sheet; a pixel becomes a square with this side.
const ZOOM: usize = 2;
/// White pixels between the images.
const GAP: usize = 4;

/// The report that [`check`] makes about an image set.
#[derive(Debug, Clone)]
pub struct Report {
    /// The dataset's name.
    pub name: String,
    /// The folder that holds its files.
    pub folder: PathBuf,
    /// The shape of its images.
    pub image: ImageShape,
    /// The files that were read.
    pub files: Vec<FileReport>,
    /// The cache files that hold its images, each with its size in bytes; empty if the images are held in
    /// memory.
    pub cache: Vec<(PathBuf, u64)>,
    /// What the files or their folders hold that is not read: one line for each reason.
    pub left_out: Vec<String>,
    /// The names of the classes, in the order of [`SplitReport::classes`]; empty if there are no labels.
    pub class_names: Vec<String>,
    /// The training split.
    pub train: SplitReport,
    /// The test split.
    pub test: SplitReport,
    /// If the test split is a holdout set taken from the training files: one of this many images is in it.
    pub holdout: Option<usize>,
    /// SHA-256 of all images and labels ([`Dataset::digest`]), in hexadecimal.
    pub digest: String,
}

/// The size and digest of one file, or of all files of a split that has many.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// The file's name, or the number of files.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal; for several files, that of their concatenation in order.
    pub sha256: String,
}

/// Statistics of one split of a dataset.
#[derive(Debug, Clone)]
pub struct SplitReport {
    /// Number of images.
    pub images: usize,
    /// Number of images of each class, or `None` if there are no labels.
    pub classes: Option<Vec<usize>>,
    /// Mean of each channel, on the scale on which black is 0 and white is 1.
    pub means: Vec<f64>,
    /// Smallest value of a pixel, on the scale of a batch, -1 to 1.
    pub min: f32,
    /// Largest value of a pixel, on the same scale.
    pub max: f32,
}

/// Reads a whole image set and reports its files, classes and pixel statistics.
///
/// # Errors
/// Returns an error if a file cannot be read or its content is not what the format or the dataset requires.
pub fn check(set: &ImageSet) -> Result<Report> {
    let (files, splits) = (set.files(), set.splits()?);
    let mut reports = file_reports(&files.train, "training files")?;
    reports.extend(file_reports(&files.test, "test files")?);
    let mut cache = Vec::new();
    for split in [&splits.train, &splits.test] {
        cache.extend(split.cache_file()?);
    }
    // Both splits are in the same cache file if the test split is a holdout set.
    cache.dedup();
    Ok(Report {
        name: set.name().into(),
        folder: files.folder.clone(),
        image: set.image(),
        files: reports,
        cache,
        left_out: splits.left_out.lines(),
        class_names: splits.classes.clone(),
        train: split_report(&splits.train, set.classes())?,
        test: split_report(&splits.test, set.classes())?,
        holdout: files.test.is_empty().then(|| set.every()),
        digest: splits.digest()?,
    })
}

fn file_reports(paths: &[PathBuf], what: &str) -> Result<Vec<FileReport>> {
    let report = |name: String, paths: &[PathBuf]| -> Result<FileReport> {
        let mut digest = Sha256::new();
        let mut bytes = 0;
        for path in paths {
            bytes += feed(&mut digest, path).map_err(|problem| Error::Io { file: path.clone(), problem })?;
        }
        Ok(FileReport { name, bytes, sha256: hexadecimal(digest.finalize()) })
    };
    if paths.len() > MAX_FILES {
        return Ok(vec![report(format!("{} {what}", paths.len()), paths)?]);
    }
    paths.iter().map(|path| report(file_name(path), std::slice::from_ref(path))).collect()
}

fn feed(digest: &mut Sha256, path: &Path) -> io::Result<u64> {
    let (mut file, mut buffer, mut total) = (tree::open(path)?, vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(total),
            n => {
                digest.update(&buffer[..n]);
                total += n as u64;
            }
        }
    }
}

fn split_report(images: &Images, classes: usize) -> Result<SplitReport> {
    let channels = images.shape.channels;
    let (mut sums, mut min, mut max) = (vec![0.0_f64; channels], f32::INFINITY, f32::NEG_INFINITY);
    for index in 0..images.len() {
        for pixel in images.image(index)?.chunks_exact(channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += f64::from(value);
                (min, max) = (min.min(value), max.max(value));
            }
        }
    }
    let pixels = (images.len() * images.shape.height * images.shape.width) as f64;
    let counts = images.labelled().then(|| {
        let mut counts = vec![0; classes];
        for label in images.labels() {
            if let Some(count) = counts.get_mut(label as usize) {
                *count += 1;
            }
        }
        counts
    });
    let means = sums.into_iter().map(|sum| (sum / pixels + 1.0) * 0.5).collect();
    Ok(SplitReport { images: images.len(), classes: counts, means, min, max })
}

/// Draws a contact sheet as a PNG file: one row for each of the first fifty classes, with its first ten
/// training images; the first hundred training images if there are no labels.
///
/// # Errors
/// Returns an error if the images cannot be read.
pub fn contact_sheet(set: &ImageSet) -> Result<Vec<u8>> {
    let splits = set.splits()?;
    let images = &splits.train;
    let labels: Vec<u32> = images.labels().collect();
    let rows: Vec<Vec<usize>> = if labels.is_empty() {
        (0..ROWS).map(|row| (row * COLUMNS..(row + 1) * COLUMNS).collect()).collect()
    } else {
        (0..set.classes().min(MAX_ROWS) as u32)
            .map(|class| (0..images.len()).filter(|&i| labels[i] == class).take(COLUMNS).collect())
            .collect()
    };
    let ImageShape { height, width, channels } = images.shape;
    let (cell_height, cell_width) = (height * ZOOM + GAP, width * ZOOM + GAP);
    let (sheet_height, sheet_width) = (rows.len() * cell_height + GAP, COLUMNS * cell_width + GAP);
    let mut sheet = vec![255; sheet_height * sheet_width * 3];
    for (row, indices) in rows.iter().enumerate() {
        for (column, &index) in indices.iter().enumerate().filter(|(_, index)| **index < images.len()) {
            let image = images.image(index)?;
            for (y, x) in (0..height * ZOOM).flat_map(|y| (0..width * ZOOM).map(move |x| (y, x))) {
                let from = (y / ZOOM * width + x / ZOOM) * channels;
                let to = (row * cell_height + GAP + y) * sheet_width + column * cell_width + GAP + x;
                for c in 0..3 {
                    let value = image[from + c.min(channels - 1)];
                    sheet[to * 3 + c] = ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    // The buffer has exactly this size, so `from_raw` cannot return `None`.
    let sheet = RgbImage::from_raw(sheet_width as u32, sheet_height as u32, sheet).unwrap_or_default();
    sheet.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
