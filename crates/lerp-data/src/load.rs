//! From files to images in memory.

use std::{fs, path::Path, path::PathBuf};

use lerp_core::ImageShape;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    Error, Part, Result,
    check::hexadecimal,
    cifar,
    error::Fault,
    find::{Files, Format, Known, file_name},
    idx,
    images::{Images, Kind, fixed},
    mat, parquet,
    picture::{self, Picture},
    resize::{SIDE, bicubic, fit, pad},
    stored::{self, Cache, Collector},
};

/// Classes that a dataset of one's own may have.
const MOST_CLASSES: i64 = 10_000;
/// Images decoded at a time, so that few are in memory twice.
const CHUNK: usize = 1024;

/// Training and test images.
#[derive(Debug)]
pub(crate) struct Parts {
    pub train: Images,
    pub test: Images,
}

impl Parts {
    pub fn get(&self, part: Part) -> &Images {
        match part {
            Part::Train => &self.train,
            Part::Test => &self.test,
        }
    }

    /// SHA-256 of all images and labels, in hexadecimal.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn digest(&self) -> Result<String> {
        let mut digest = Sha256::new();
        self.train.feed(&mut digest)?;
        self.test.feed(&mut digest)?;
        Ok(hexadecimal(digest))
    }
}

/// Reads the files; `known` says what they must hold, if they are a set of the paper. Where there is no test part, the last
/// of every `every` images makes one. The user's own images are brought into an order that does not depend on their classes;
/// the paper's have theirs.
///
/// # Errors
/// If one cannot be read or holds something else.
pub(crate) fn load(files: &Files, known: Option<&Known>, every: usize, cache: &Cache) -> Result<Parts> {
    let train = part(&files.format, &files.train, known, cache)?;
    let last = files.train.last().map_or(files.folder.as_path(), PathBuf::as_path);
    if train.len() == 0 {
        return Err(Fault::new("at least one image", "none").at(last));
    }
    let (train, test) = if files.test.is_empty() {
        train.hold_out(every)
    } else {
        (train, part(&files.format, &files.test, known, cache)?)
    };
    if test.len() == 0 {
        let file = files.test.last().map_or(last, PathBuf::as_path);
        let expected = format!("at least one test image (or {every} images to hold one out of)");
        return Err(Fault::new(expected, "none").at(file));
    }
    if train.labelled() != test.labelled() {
        let paths = if train.labelled() { &files.test } else { &files.train };
        return Err(lacking(paths.first().map_or(last, PathBuf::as_path), train.labelled()));
    }
    if known.is_some() {
        return Ok(Parts { train, test });
    }
    let [train, test] = Images::gray_if_gray([train, test]);
    Ok(Parts { train: train.shuffled(), test: test.shuffled() })
}

fn lacking(file: &Path, in_train: bool) -> Error {
    let (with, without) = if in_train { ("training", "test") } else { ("test", "training") };
    let expected = format!("labels in this {without} part, as in the {with} part, or in neither");
    Fault::new(expected, "none").at(file)
}

/// Whether the files have labels, as far as they say so without being read.
///
/// # Errors
/// If a part has some and the other none, or a file cannot be read.
pub(crate) fn labelled(files: &Files) -> Result<bool> {
    let of = |paths: &[PathBuf]| -> Result<Option<bool>> {
        let Some(first) = paths.first() else { return Ok(None) };
        Ok(Some(match files.format {
            Format::Parquet => parquet::has_labels(first)?,
            Format::Idx => paths.len() == 2,
            Format::Pictures => false,
            Format::Cifar | Format::Mat | Format::Folders(_) => true,
        }))
    };
    let train = of(&files.train)?.unwrap_or_default();
    match of(&files.test)? {
        Some(test) if test != train => {
            let paths = if train { &files.test } else { &files.train };
            Err(lacking(&paths[0], train))
        }
        _ => Ok(train),
    }
}

fn part(format: &Format, paths: &[PathBuf], known: Option<&Known>, cache: &Cache) -> Result<Images> {
    let channels = match (format, known) {
        (Format::Idx, _) => 1,
        (_, Some(known)) => known.channels,
        (_, None) => 3,
    };
    let shape = ImageShape { height: SIDE, width: SIDE, channels };
    let kind = if known.is_some_and(|known| known.name == "celeba") { Kind::Fixed } else { Kind::Bytes };
    let place = cache.place(&format!("{} {format:?}", known.map_or("own", |known| known.name)), paths)?;
    if let Some(place) = &place
        && let Some(held) = stored::open(place, shape, kind)?
    {
        return Ok(Images::new(held));
    }
    let mut images = Collector::new(shape, kind, cache, place);
    let labels = match format {
        Format::Idx => idx_part(paths, known, &mut images)?,
        Format::Cifar | Format::Mat => {
            let mut labels = Vec::new();
            for path in paths {
                if *format == Format::Mat {
                    labels.extend(mat::read(path, |pixels| images.push(pixels))?);
                } else {
                    images.push(cifar::read(path, &mut labels)?)?;
                }
            }
            Some(labels)
        }
        Format::Parquet => parquet_part(paths, known, &mut images)?,
        Format::Pictures => {
            pictures(paths, known, &mut images)?;
            None
        }
        Format::Folders(classes) => {
            let class = |path: &PathBuf| {
                let class = path.parent().map(file_name).unwrap_or_default();
                let index = classes.iter().position(|name| *name == class);
                let fault =
                    || Fault::new("a class that the training part has", format!("'{class}'")).at(path);
                Ok(index.ok_or_else(fault)? as u32)
            };
            let labels = paths.iter().map(class).collect::<Result<_>>()?;
            pictures(paths, known, &mut images)?;
            Some(labels)
        }
    };
    Ok(Images::new(images.finish(labels)?))
}

fn idx_part(paths: &[PathBuf], known: Option<&Known>, images: &mut Collector) -> Result<Option<Vec<u32>>> {
    let [file, rest @ ..] = paths else { return Ok(None) };
    let count = idx::images(file, |pixels| images.push(pixels))?;
    let [path] = rest else { return Ok(None) };
    let labels = idx::labels(path)?;
    if labels.len() != count {
        return Err(Fault::new(format!("{count} labels"), labels.len().to_string()).at(path));
    }
    let most = known.map_or(256, |known| known.classes as u32);
    if let Some(index) = labels.iter().position(|label| *label >= most) {
        let found = format!("{} in place {index}", labels[index]);
        return Err(Fault::new(format!("labels 0 to {}", most - 1), found).at(path));
    }
    Ok(Some(labels))
}

fn parquet_part(
    paths: &[PathBuf],
    known: Option<&Known>,
    pixels: &mut Collector,
) -> Result<Option<Vec<u32>>> {
    let (mut labels, mut unlabelled) = (Vec::new(), false);
    for path in paths {
        let mut first = 0;
        parquet::read(path, |rows| {
            let images = rows.images();
            for (chunk, images) in images.chunks(CHUNK).enumerate() {
                let row = |place: usize| first + chunk * CHUNK + place;
                let made = images.par_iter().enumerate().map(|(place, bytes)| {
                    make(bytes, known).map_err(|fault| in_row(fault, row(place)).at(path))
                });
                made.collect::<Result<Vec<_>>>()?.into_iter().try_for_each(|image| pixels.push(image))?;
            }
            match &rows.labels {
                None => unlabelled = true,
                Some(given) => {
                    for (row, &label) in given.iter().enumerate() {
                        labels
                            .push(class(label, known).map_err(|fault| in_row(fault, first + row).at(path))?);
                    }
                }
            }
            first += images.len();
            Ok(())
        })?;
    }
    if unlabelled && !labels.is_empty() {
        let last = paths.last().map_or(Path::new(""), PathBuf::as_path);
        return Err(Fault::new("a column 'label' in all of these files or in none", "it in some").at(last));
    }
    // CelebA is a dataset without classes, whatever a file of it holds.
    let unlabelled = unlabelled || known.is_some_and(|known| known.classes == 0);
    Ok((!unlabelled).then_some(labels))
}

fn in_row(fault: Fault, row: usize) -> Fault {
    match fault {
        Fault::Format { expected, found } => Fault::new(expected, format!("{found} in row {row}")),
        other => other,
    }
}

/// The class of a label in a parquet file. The hub's SVHN calls the digit 0 by 0, the original by 10: it is class 9.
fn class(label: i64, known: Option<&Known>) -> std::result::Result<u32, Fault> {
    let classes = match known.map_or(MOST_CLASSES, |known| known.classes as i64) {
        0 => return Ok(0),
        classes => classes,
    };
    if !(0..classes).contains(&label) {
        return Err(Fault::new(format!("labels 0 to {}", classes - 1), label.to_string()));
    }
    let svhn = known.is_some_and(|known| known.name == "svhn");
    Ok(if svhn { (label as u32 + 9) % 10 } else { label as u32 })
}

fn pictures(paths: &[PathBuf], known: Option<&Known>, images: &mut Collector) -> Result<()> {
    for chunk in paths.chunks(CHUNK) {
        let made: Result<Vec<_>> = chunk
            .par_iter()
            .map(|path| {
                let bytes = fs::read(path).map_err(|source| Error::Io { file: path.clone(), source })?;
                make(&bytes, known).map_err(|fault| fault.at(path))
            })
            .collect();
        made?.into_iter().try_for_each(|image| images.push(image))?;
    }
    Ok(())
}

/// Decodes an image and brings it to the benchmark's size and values, as its dataset wants it (section B6 of the protocol).
fn make(bytes: &[u8], known: Option<&Known>) -> std::result::Result<Vec<u8>, Fault> {
    let picture = picture::decode(bytes)?;
    let size = [picture.height, picture.width, 3];
    let wrong = |wanted: &str| {
        Err(Fault::new(
            format!("an image of {wanted} pixels (width x height)"),
            format!("{}x{}", size[1], size[0]),
        ))
    };
    match known.map(|known| known.name) {
        None => Ok(fit(&picture.rgb, size, SIDE)),
        Some("celeba") => match size {
            [218, 178, 3] => Ok(face(&picture, 36, 16)),
            [109, 89, 3] => Ok(face(&picture, 18, 8)),
            _ => wrong("178x218, or 89x109 for those at half size,"),
        },
        Some("mnist") => match size {
            [28, 28, 3] => {
                let gray: Vec<u8> = picture.rgb.iter().copied().step_by(3).collect();
                Ok(pad(&gray, 28, 28, SIDE))
            }
            _ => wrong("28x28"),
        },
        Some(_) if size == [SIDE, SIDE, 3] => Ok(picture.rgb),
        Some(_) => wrong("32x32"),
    }
}

/// The middle of a CelebA image, `top` and `left` pixels off each edge, resized as the paper did; not clipped.
fn face(picture: &Picture, top: usize, left: usize) -> Vec<u8> {
    let (height, width) = (picture.height - 2 * top, picture.width - 2 * left);
    let rows = picture.rgb.chunks_exact(3 * picture.width).skip(top).take(height);
    let middle = rows.flat_map(|row| &row[3 * left..3 * (left + width)]);
    let middle: Vec<f32> = middle.map(|&v| f32::from(v) * 2.0 / 255.0 - 1.0).collect();
    bicubic(&middle, [height, width, 3], SIDE).into_iter().flat_map(fixed).collect()
}
