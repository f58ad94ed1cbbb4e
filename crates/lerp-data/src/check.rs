//! What is in an image set: numbers to compare, and pictures to look at.

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

/// More files than these are summed up in one digest.
const MOST_FILES: usize = 16;
/// Columns of a contact sheet.
const COLUMNS: usize = 10;
/// Rows of a contact sheet for images without labels, and the most for any.
const ROWS: usize = 10;
const MOST_ROWS: usize = 50;
/// Every pixel is this many pixels wide, with a gap as wide as two of them around each image.
const ZOOM: usize = 2;
const GAP: usize = 4;

/// What [`check`] found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The dataset's name.
    pub name: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// Shape of its images.
    pub image: ImageShape,
    /// Its files.
    pub files: Vec<FileReport>,
    /// The cache files that hold its images, and their bytes; none where they are held in memory.
    pub cache: Vec<(PathBuf, u64)>,
    /// What lies in the files or beside them and is not read, a line for each reason.
    pub left_out: Vec<String>,
    /// Names of the classes, in the order of [`PartReport::classes`]; none where there are no labels.
    pub class_names: Vec<String>,
    /// The training part.
    pub train: PartReport,
    /// The test part.
    pub test: PartReport,
    /// Whether the test part was held out of the training files.
    pub held_out: bool,
    /// The last of every so many images is held out, if any is.
    pub every: usize,
    /// SHA-256 of all images and labels ([`Dataset::digest`]), in hexadecimal.
    pub digest: String,
}

/// One file, or the many files of one part.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// Its name; of many, how many there are.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal; of many, of one after the other in order.
    pub sha256: String,
}

/// One part of a dataset.
#[derive(Debug, Clone)]
pub struct PartReport {
    /// Number of images.
    pub images: usize,
    /// Number of images of each class; `None` where there are no labels.
    pub classes: Option<Vec<usize>>,
    /// Mean of each channel, on the scale on which black is 0 and white is 1.
    pub means: Vec<f64>,
    /// Smallest and largest value of a pixel, on the scale of a batch, -1 to 1.
    pub range: (f32, f32),
}

/// Reads all of an image set.
///
/// # Errors
/// If a file cannot be read or holds something else than it should.
pub fn check(set: &ImageSet) -> Result<Report> {
    let (files, parts) = (set.files(), set.parts()?);
    let mut reports = file_reports(&files.train, "training files")?;
    reports.extend(file_reports(&files.test, "test files")?);
    let mut cache = Vec::new();
    for part in [&parts.train, &parts.test] {
        cache.extend(part.cache_file()?);
    }
    // Of one file, if images are held out.
    cache.dedup();
    Ok(Report {
        name: set.name().into(),
        folder: files.folder.clone(),
        image: set.image(),
        files: reports,
        cache,
        left_out: parts.left_out.lines(),
        class_names: parts.classes.clone(),
        train: part_report(&parts.train, set.classes())?,
        test: part_report(&parts.test, set.classes())?,
        held_out: files.test.is_empty(),
        every: set.every(),
        digest: parts.digest()?,
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
    if paths.len() > MOST_FILES {
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

fn part_report(images: &Images, classes: usize) -> Result<PartReport> {
    let channels = images.shape.channels;
    let (mut sums, mut range) = (vec![0.0_f64; channels], (f32::INFINITY, f32::NEG_INFINITY));
    for index in 0..images.len() {
        for pixel in images.image(index)?.chunks_exact(channels) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += f64::from(value);
                range = (range.0.min(value), range.1.max(value));
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
    Ok(PartReport { images: images.len(), classes: counts, means, range })
}

/// The first ten training images of each class (of the first fifty classes), a row a class, as the bytes of a PNG file;
/// the first hundred, where there are no labels.
///
/// # Errors
/// If the images cannot be read.
pub fn contact_sheet(set: &ImageSet) -> Result<Vec<u8>> {
    let parts = set.parts()?;
    let images = &parts.train;
    let labels: Vec<u32> = images.labels().collect();
    let rows: Vec<Vec<usize>> = if labels.is_empty() {
        (0..ROWS).map(|row| (row * COLUMNS..(row + 1) * COLUMNS).collect()).collect()
    } else {
        (0..set.classes().min(MOST_ROWS) as u32)
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
    // As large as its sides say.
    let sheet = RgbImage::from_raw(sheet_width as u32, sheet_height as u32, sheet).unwrap_or_default();
    sheet.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
