//! Reads files into images and labels, in memory or in a cache file.

use std::{
    io::ErrorKind,
    ops::Range,
    path::{Path, PathBuf},
};

use candle_core::Device;
use lerp_core::{Draws, ImageShape};
use lerp_files::hexadecimal;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{
    Batch, Error, Result, Split, cifar,
    error::Fault,
    find::{Files, Format, Known},
    idx,
    images::Images,
    labels::{Class, ClassLabels, Label, Labels, union},
    mat, parquet,
    picture::{self, Picture},
    pixels::{PixelEncoding, StoredImages, fixed},
    resize::{SIDE, bicubic, fit, pad},
    shuffle::epoch_order,
    stored::{self, Cache, Collector},
    tree::{self, LeftOut},
};

/// Number of images that are decoded at a time, so that few are in memory twice.
const DECODED_AT_ONCE: usize = 1024;

/// The training and the test split of a dataset.
#[derive(Debug)]
pub(crate) struct Splits {
    pub train: Images,
    pub test: Images,
    /// Names of the classes; empty if there are no labels.
    pub classes: Vec<String>,
    /// What the files or their folders hold that is not read.
    pub left_out: LeftOut,
}

impl Splits {
    pub fn get(&self, split: Split) -> &Images {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }

    /// See [`Dataset::train_batch`](crate::Dataset::train_batch).
    pub fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        self.train.batch(&epoch_order(self.train.len(), size, draws), draws.device())
    }

    /// See [`Dataset::test_batch`](crate::Dataset::test_batch).
    pub fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        let len = self.test.len() as u128;
        let first = u128::from(draws.step()) * size as u128;
        let indices: Vec<usize> = (0..size as u128).map(|i| ((first + i) % len) as usize).collect();
        self.test.batch(&indices, draws.device())
    }

    /// See [`Dataset::range`](crate::Dataset::range).
    pub fn range(&self, split: Split, range: Range<usize>, device: &Device) -> Result<Batch> {
        let images = self.get(split);
        let len = images.len();
        if range.end > len || range.start > range.end {
            return Err(Error::OutOfRange { split, first: range.start, end: range.end, len });
        }
        images.batch(&range.collect::<Vec<_>>(), device)
    }

    /// SHA-256 in hexadecimal of all images and labels.
    ///
    /// # Errors
    /// Returns an error if the images cannot be read.
    pub fn digest(&self) -> Result<String> {
        let mut digest = Sha256::new();
        self.train.feed(&mut digest)?;
        self.test.feed(&mut digest)?;
        Ok(hexadecimal(digest.finalize()))
    }
}

/// Reads the files of a dataset; `known` says what they must hold, for one of the paper's sets. If there is no
/// test split, the last of every `every` images, counted class by class, becomes one. User-supplied images are
/// shuffled, because they may be sorted by class; the paper's keep their order.
///
/// # Errors
/// Returns an error if a file cannot be read, or its content is not what the format or `known` requires.
pub(crate) fn load(files: &Files, known: Option<&Known>, every: usize, cache: &Cache) -> Result<Splits> {
    let mut train = read_split(files, Split::Train, known, cache)?;
    let mut left_out = files.left_out.clone();
    left_out.extend(&train.left_out);
    let last = files.train.last().map_or(files.folder.as_path(), PathBuf::as_path);
    if train.len() == 0 {
        return Err(none(&left_out, "at least one image").at(last));
    }
    let (train, test, classes) = if files.test.is_empty() {
        let (classes, [new_numbers, _]) = union([&train.classes, &[]]);
        renumber(&mut train, &new_numbers);
        let (train, test) = Images::new(train).hold_out(every);
        (train, test, classes)
    } else {
        let mut test = read_split(files, Split::Test, known, cache)?;
        left_out.extend(&test.left_out);
        if test.len() > 0 && train.labels.is_some() != test.labels.is_some() {
            let (paths, labelled) = match train.labels {
                Some(_) => (&files.test, Split::Train),
                None => (&files.train, Split::Test),
            };
            return Err(lacks_labels(paths.first().map_or(last, PathBuf::as_path), labelled));
        }
        // On the hub, a negative label means that an image has no label.
        let unknown =
            |class: &&Class| matches!(class.label, Label::Number(..0)) && !train.classes.contains(class);
        if let (Some(class), Some(file)) = (test.classes.iter().find(unknown), files.test.last()) {
            let expected = "classes that the training split has, or no labels in both splits";
            return Err(Fault::new(expected, format!("the label {}", class.name)).at(file));
        }
        let (classes, new_numbers) = union([&train.classes, &test.classes]);
        renumber(&mut train, &new_numbers[0]);
        renumber(&mut test, &new_numbers[1]);
        (Images::new(train), Images::new(test), classes)
    };
    if test.len() == 0 {
        let file = files.test.last().map_or(last, PathBuf::as_path);
        let expected = format!("at least one test image (or {every} images to hold one out of)");
        return Err(none(&left_out, &expected).at(file));
    }
    let classes = classes.into_iter().map(|class| class.name).collect();
    if known.is_some() {
        return Ok(Splits { train, test, classes, left_out });
    }
    let [train, test] = Images::gray_if_gray([train, test]);
    Ok(Splits { train: train.shuffled(), test: test.shuffled(), classes, left_out })
}

/// The fault that there are no images, with the lines about what was left out.
fn none(left_out: &LeftOut, expected: &str) -> Fault {
    let mut found = vec!["none".to_owned()];
    found.extend(left_out.lines());
    Fault::new(expected, found.join("; "))
}

/// Replaces the class indices of one split by those in the merged list of classes.
fn renumber(split: &mut StoredImages, new_numbers: &[u32]) {
    for label in split.labels.iter_mut().flatten() {
        *label = new_numbers[*label as usize];
    }
}

/// The error that `file` has no labels, although the files of the split `labelled` have some.
fn lacks_labels(file: &Path, labelled: Split) -> Error {
    let (with, without) = match labelled {
        Split::Train => ("training", "test"),
        Split::Test => ("test", "training"),
    };
    let expected = format!("labels in this {without} split, as in the {with} split, or in neither");
    Fault::new(expected, "none").at(file)
}

/// Whether the files have labels, as far as that is known without reading all of them.
///
/// # Errors
/// Returns an error if only one of the two splits has labels, or a file cannot be read.
pub(crate) fn labelled(files: &Files) -> Result<bool> {
    let of = |paths: &[PathBuf]| -> Result<Option<bool>> {
        let Some(first) = paths.first() else { return Ok(None) };
        Ok(Some(match files.format {
            Format::Parquet => parquet::has_labels(first)?,
            Format::Idx { .. } => paths.len() == 2,
            Format::Pictures => false,
            Format::Cifar | Format::Mat | Format::Folders(_) => true,
        }))
    };
    let train = of(&files.train)?.unwrap_or_default();
    match of(&files.test)? {
        Some(test) if test != train => {
            let (paths, labelled) =
                if train { (&files.test, Split::Train) } else { (&files.train, Split::Test) };
            Err(lacks_labels(&paths[0], labelled))
        }
        _ => Ok(train),
    }
}

fn read_split(files: &Files, split: Split, known: Option<&Known>, cache: &Cache) -> Result<StoredImages> {
    let format = &files.format;
    let (paths, classes) = match split {
        Split::Train => (&files.train, &files.train_classes),
        Split::Test => (&files.test, &files.test_classes),
    };
    let channels = match (format, known) {
        (Format::Idx { .. }, _) => 1,
        (_, Some(known)) => known.channels,
        (_, None) => 3,
    };
    let shape = ImageShape { height: SIDE, width: SIDE, channels };
    let encoding = if known.is_some_and(|known| known.name == "celeba") {
        PixelEncoding::Fixed
    } else {
        PixelEncoding::Bytes
    };
    let cache_file =
        cache.cache_file(&format!("{} {format:?}", known.map_or("own", |known| known.name)), paths)?;
    if let Some(cache_file) = &cache_file
        && let Some(stored) = stored::open(cache_file, shape, encoding)?
    {
        return Ok(stored);
    }
    let mut images = Collector::new(shape, encoding, cache, cache_file);
    let labels = match format {
        Format::Idx { turned } => read_idx(paths, *turned, known, &mut images)?,
        Format::Cifar | Format::Mat => {
            let mut labels = Vec::new();
            for path in paths {
                if *format == Format::Mat {
                    labels.extend(mat::read(path, |pixels| images.push(pixels))?);
                } else {
                    images.push(cifar::read(path, &mut labels)?)?;
                }
            }
            Some(ClassLabels { of_images: labels, classes: of_paper(known) })
        }
        Format::Parquet => read_parquet(paths, known, &mut images)?,
        Format::Pictures => {
            pictures(&files.folder, paths, known, &mut images)?;
            None
        }
        Format::Folders(names) => {
            let kept = pictures(&files.folder, paths, known, &mut images)?;
            let mut labels = Labels::default();
            for position in kept {
                let name = &names[classes[position] as usize];
                labels.push(Label::Text(name.clone()), None).map_err(|fault| fault.at(&files.folder))?;
            }
            Some(labels.finish())
        }
    };
    images.finish(labels)
}

/// The classes of one of the paper's sets.
fn of_paper(known: Option<&Known>) -> Vec<Class> {
    let names = known.map(|known| known.classes).unwrap_or_default();
    (0..).zip(names).map(|(i, name)| Class { label: Label::Number(i), name: (*name).into() }).collect()
}

fn read_idx(
    paths: &[PathBuf],
    turned: bool,
    known: Option<&Known>,
    images: &mut Collector,
) -> Result<Option<ClassLabels>> {
    let [file, rest @ ..] = paths else { return Ok(None) };
    let count = idx::images(file, turned, |pixels| images.push(pixels))?;
    let [path] = rest else { return Ok(None) };
    let numbers = idx::labels(path)?;
    if numbers.len() != count {
        return Err(Fault::new(format!("{count} labels"), numbers.len().to_string()).at(path));
    }
    let mut labels = Labels::default();
    for (index, number) in numbers.iter().enumerate() {
        let most = known.map_or(i64::MAX, |known| known.classes.len() as i64);
        if known.is_some() && !(0..most).contains(number) {
            let found = format!("{number} at index {index}");
            return Err(Fault::new(format!("labels 0 to {}", most - 1), found).at(path));
        }
        labels.push(Label::Number(*number), None).map_err(|fault| fault.at(path))?;
    }
    if known.is_none() {
        return Ok(Some(labels.finish()));
    }
    let of_images = numbers.iter().map(|number| *number as u32).collect();
    Ok(Some(ClassLabels { of_images, classes: of_paper(known) }))
}

fn read_parquet(
    paths: &[PathBuf],
    known: Option<&Known>,
    pixels: &mut Collector,
) -> Result<Option<ClassLabels>> {
    let (mut labels, mut of_known) = (Labels::default(), Vec::new());
    let (mut unlabelled, mut unread) = (false, parquet::Unread::new());
    for path in paths {
        let mut first = 0;
        parquet::read(path, &mut unread, |rows| {
            let images = rows.images();
            let mut kept = vec![true; images.len()];
            for (chunk, images) in images.chunks(DECODED_AT_ONCE).enumerate() {
                let position = |position: usize| chunk * DECODED_AT_ONCE + position;
                let made = images.par_iter().enumerate().map(|(i, bytes)| match make(bytes, known) {
                    Err(Fault::LeftOut(why)) if known.is_none() => Ok(Err(why)),
                    made => made.map(Ok).map_err(|fault| in_row(fault, first + position(i)).at(path)),
                });
                for (i, made) in made.collect::<Result<Vec<_>>>()?.into_iter().enumerate() {
                    match made {
                        Ok(image) => pixels.push(image)?,
                        Err(why) => {
                            kept[position(i)] = false;
                            let name = format!("{} row {}", tree::file_name(path), first + position(i));
                            pixels.left_out.add("picture", &why, &name);
                        }
                    }
                }
            }
            match &rows.labels {
                None => unlabelled = true,
                Some(given) => {
                    for (row, (label, name)) in given.iter().enumerate().filter(|(row, _)| kept[*row]) {
                        let at = |fault| in_row(fault, first + row).at(path);
                        match known {
                            None => labels.push(label.clone(), name.as_deref()).map_err(at)?,
                            Some(known) => of_known.push(class(label, known).map_err(at)?),
                        }
                    }
                }
            }
            first += images.len();
            Ok(())
        })?;
    }
    for (why, name) in unread.iter().filter(|_| known.is_none()) {
        pixels.left_out.add("column", why, name);
    }
    if unlabelled && labels.len() + of_known.len() > 0 {
        let last = paths.last().map_or(Path::new(""), PathBuf::as_path);
        return Err(Fault::new("a column of labels in all of these files or in none", "it in some").at(last));
    }
    // CelebA has no classes in this benchmark, even if a file of it has a column of labels.
    let unlabelled = unlabelled || known.is_some_and(|known| known.classes.is_empty());
    let labels = match known {
        Some(_) => ClassLabels { of_images: of_known, classes: of_paper(known) },
        None => labels.finish(),
    };
    Ok((!unlabelled).then_some(labels))
}

fn in_row(fault: Fault, row: usize) -> Fault {
    match fault {
        Fault::Format { expected, found } => Fault::new(expected, format!("{found} in row {row}")),
        other => other,
    }
}

/// Converts a label in a parquet file of one of the paper's sets to a class index. The hub's SVHN labels the
/// digit 0 with 0, the original files with 10; it is class 9 here.
fn class(label: &Label, known: &Known) -> std::result::Result<u32, Fault> {
    let classes = known.classes.len() as i64;
    match label {
        _ if classes == 0 => Ok(0),
        Label::Number(number) if (0..classes).contains(number) => {
            Ok(if known.name == "svhn" { (*number as u32 + 9) % 10 } else { *number as u32 })
        }
        other => {
            let found = match other {
                Label::Number(number) => number.to_string(),
                Label::Text(text) => format!("'{text}'"),
            };
            Err(Fault::new(format!("labels 0 to {}", classes - 1), found))
        }
    }
}

/// Reads the image files at `paths`, and returns the indices of those that were kept.
fn pictures(
    folder: &Path,
    paths: &[PathBuf],
    known: Option<&Known>,
    images: &mut Collector,
) -> Result<Vec<usize>> {
    let mut kept = Vec::new();
    for (chunk, paths) in paths.chunks(DECODED_AT_ONCE).enumerate() {
        let made = paths.par_iter().map(|path| {
            let made = match tree::read(path) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    Err(Fault::LeftOut("may not be read".into()))
                }
                Err(problem) => return Err(Error::Io { file: path.clone(), problem }),
                Ok(bytes) => make(&bytes, known),
            };
            match made {
                Err(Fault::LeftOut(why)) if known.is_none() => Ok(Err(why)),
                made => made.map(Ok).map_err(|fault| fault.at(path)),
            }
        });
        for (i, made) in made.collect::<Result<Vec<_>>>()?.into_iter().enumerate() {
            match made {
                Ok(image) => {
                    images.push(image)?;
                    kept.push(chunk * DECODED_AT_ONCE + i);
                }
                Err(why) => {
                    let name = paths[i].strip_prefix(folder).unwrap_or(&paths[i]).to_string_lossy();
                    images.left_out.add("picture", &why, &name);
                }
            }
        }
    }
    Ok(kept)
}

/// Decodes an image and converts it to the size and the stored values of its dataset.
fn make(bytes: &[u8], known: Option<&Known>) -> std::result::Result<Vec<u8>, Fault> {
    // The image sizes that a set of the paper may have, as [width, height].
    let (sizes, said): (&[[usize; 2]], _) = match known.map(|known| known.name) {
        None => (&[], ""),
        Some("celeba") => (&[[178, 218], [89, 109]], "178x218, or 89x109 for those at half size,"),
        Some("mnist") => (&[[28, 28]], "28x28"),
        Some(_) => (&[[SIDE, SIDE]], "32x32"),
    };
    let suits = |width, height| {
        if sizes.is_empty() || sizes.contains(&[width, height]) {
            return Ok(());
        }
        let expected = format!("an image of {said} pixels (width x height)");
        Err(Fault::new(expected, format!("{width}x{height}")))
    };
    let picture = picture::decode(bytes, suits)?;
    suits(picture.width, picture.height)?;
    let shape = ImageShape { height: picture.height, width: picture.width, channels: 3 };
    Ok(match known.map(|known| known.name) {
        None => fit(&picture.rgb, shape, SIDE),
        Some("celeba") if shape.height == 218 => face(&picture, 36, 16),
        Some("celeba") => face(&picture, 18, 8),
        Some("mnist") => {
            let gray: Vec<u8> = picture.rgb.iter().copied().step_by(3).collect();
            pad(&gray, 28, 28, SIDE)
        }
        Some(_) => picture.rgb,
    })
}

/// Crops `top` and `left` pixels off opposite edges of a CelebA image, and resizes the rest as the paper did.
/// Values are not clipped.
fn face(picture: &Picture, top: usize, left: usize) -> Vec<u8> {
    let (height, width) = (picture.height - 2 * top, picture.width - 2 * left);
    let rows = picture.rgb.chunks_exact(3 * picture.width).skip(top).take(height);
    let middle = rows.flat_map(|row| &row[3 * left..3 * (left + width)]);
    let middle: Vec<f32> = middle.map(|&v| f32::from(v) * 2.0 / 255.0 - 1.0).collect();
    bicubic(&middle, ImageShape { height, width, channels: 3 }, SIDE).into_iter().flat_map(fixed).collect()
}
