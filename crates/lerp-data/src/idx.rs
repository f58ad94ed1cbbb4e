//! Reads the idx files of MNIST and its relatives (<http://yann.lecun.com/exdb/mnist>): a magic number, the
//! sizes, and the values.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use lerp_core::ImageShape;

use crate::{
    Result, Split,
    error::{Fault, fill, read_most},
    find::{Files, Format},
    resize::{SIDE, fit, pad},
    tree::{self, LeftOut, file_name, list},
};

const MAX_SIDE: usize = 4096;
/// The largest number of images in one file; at 32x32 bytes each, that is 4 GB.
const MAX_IMAGES: usize = 4 << 20;
const MAX_BYTES: u64 = 4 << 30;
/// Number of bytes that are read at a time.
const BYTES_PER_BLOCK: usize = 1 << 20;

/// The folders below which torchvision puts idx files.
const TORCHVISION: [&str; 5] = ["MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST"];

/// The idx files of one image set.
#[derive(Default)]
struct IdxSet {
    train: IdxSplit,
    test: IdxSplit,
}

/// The idx files of one split of an image set.
#[derive(Default)]
struct IdxSplit {
    images: Option<PathBuf>,
    labels: Option<PathBuf>,
}

impl IdxSplit {
    /// The files in the order in which they are read; none if there are no images.
    fn files(self) -> Vec<PathBuf> {
        match self.images {
            None => Vec::new(),
            Some(images) => [Some(images), self.labels].into_iter().flatten().collect(),
        }
    }
}

/// What the name of an idx file says about its content.
#[derive(Debug, PartialEq, Eq)]
struct IdxName {
    /// The image set; empty for MNIST's own files.
    set: String,
    split: Split,
    content: Content,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    Images,
    Labels,
}

/// Parses the name of an idx file: `emnist-letters-train-labels-idx1-ubyte.gz` has the labels of the training split
/// of `emnist-letters`. Returns `None` if the name has another form.
fn parse(name: &str) -> Option<IdxName> {
    let name = name.to_lowercase().replace('.', "-");
    let name = name.strip_suffix("-gz").unwrap_or(&name);
    let (before, content) = match name.strip_suffix("-images-idx3-ubyte") {
        Some(before) => (before, Content::Images),
        None => (&name[..name.rfind("-labels-idx")?], Content::Labels),
    };
    let (set, split) = before.rsplit_once('-').unwrap_or(("", before));
    let split = match split {
        "train" => Split::Train,
        "t10k" | "test" => Split::Test,
        _ => return None,
    };
    Some(IdxName { set: set.into(), split, content })
}

/// The image sets in `folder` that have training images. Files that belong to no set are added to `left_out`.
fn sets(folder: &Path, left_out: &mut LeftOut) -> Result<BTreeMap<String, IdxSet>> {
    let mut sets: BTreeMap<String, IdxSet> = BTreeMap::new();
    for path in list(folder, folder, left_out)?.0 {
        let name = file_name(&path);
        let Some(IdxName { set, split, content }) = parse(&name) else {
            left_out.add("file", "not named as an idx file of a training or test split", &name);
            continue;
        };
        let set = sets.entry(set).or_default();
        let files = match split {
            Split::Train => &mut set.train,
            Split::Test => &mut set.test,
        };
        let file = match content {
            Content::Images => &mut files.images,
            Content::Labels => &mut files.labels,
        };
        // The unpacked file is preferred to the packed one, which follows it in the sorted list.
        _ = file.get_or_insert(path);
    }
    sets.retain(|_, set| set.train.images.is_some());
    Ok(sets)
}

fn files_of(folder: &Path, name: &str, set: IdxSet, left_out: LeftOut) -> Files {
    // EMNIST's images are stored with rows and columns exchanged.
    let format = Format::Idx { turned: name.starts_with("emnist") };
    Files { left_out, ..Files::new(format, folder, set.train.files(), set.test.files()) }
}

/// The files of the image set called `name` in `folder`, or `None` if it is not there.
///
/// # Errors
/// Returns an error if the folder cannot be listed.
pub(crate) fn files(folder: &Path, name: &str) -> Result<Option<Files>> {
    let mut left_out = LeftOut::default();
    let set = sets(folder, &mut left_out)?.remove(name);
    Ok(set.map(|set| files_of(folder, name, set, left_out)))
}

/// The files of the only image set in `location`, or in the folders that torchvision makes there. If `location` is no
/// folder, its last component is the name of an image set, as in `EMNIST/raw/emnist-letters`. Returns `None` if
/// there is no image set.
///
/// # Errors
/// Returns an error if a folder cannot be listed, or there are several image sets.
pub(crate) fn own(location: &Path) -> Result<Option<Files>> {
    if !location.is_dir() {
        let folder = location.parent().filter(|folder| !folder.as_os_str().is_empty());
        return files(folder.unwrap_or(Path::new(".")), &file_name(location).to_lowercase());
    }
    let mut found = Vec::new();
    let inner = TORCHVISION.iter().map(|name| location.join(name).join("raw"));
    for folder in [location.to_path_buf(), location.join("raw")].into_iter().chain(inner) {
        let mut left_out = LeftOut::default();
        for (name, set) in sets(&folder, &mut left_out)? {
            found.push((folder.clone(), name, set, left_out.clone()));
        }
    }
    if let [(first, first_name, ..), (second, second_name, ..), ..] = &found[..] {
        let several = format!(
            "{} of them: name one, as in idx:{} or idx:{}",
            found.len(),
            first.join(first_name).display(),
            second.join(second_name).display()
        );
        return Err(Fault::new("the files of one image set", several).at(location));
    }
    Ok(found.pop().map(|(folder, name, set, left_out)| files_of(&folder, &name, set, left_out)))
}

/// Reads the images of an idx file, packed with gzip or not, passes them to `each` in blocks, and returns their
/// number. Smaller images are padded with black, larger ones are cropped and shrunk. If `turned`, rows and
/// columns of the stored images are exchanged.
///
/// # Shapes
/// Each block is `[n, 32, 32, 1]`.
pub(crate) fn images(
    path: &Path,
    turned: bool,
    mut each: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<usize> {
    let mut read = || -> std::result::Result<usize, Fault> {
        let (_, sizes, mut body) = open(path, 0x0803, |kind, sizes| kind == 8 && sizes == 3)?;
        let [n, height, width] = sizes[..] else { return Err(Fault::new("three sizes", "others")) };
        let small = height <= SIDE && width <= SIDE;
        body.read_all(n, height * width, |block| {
            let images = block.chunks_exact(height * width);
            let pixels = images.flat_map(|image| {
                let upright: Vec<u8>;
                let (image, height, width) = if turned {
                    upright = (0..width).flat_map(|x| image[x..].iter().step_by(width).copied()).collect();
                    (upright.as_slice(), width, height)
                } else {
                    (image, height, width)
                };
                if small {
                    pad(image, height, width, SIDE)
                } else {
                    fit(image, ImageShape { height, width, channels: 1 }, SIDE)
                }
            });
            each(pixels.collect())
        })?;
        Ok(n)
    };
    read().map_err(|fault| fault.at(path))
}

/// Reads the labels of an idx file, packed with gzip or not, of any number type. If each image has several
/// labels, the first one is used; in QMNIST's files that is the class.
pub(crate) fn labels(path: &Path) -> Result<Vec<i64>> {
    let read = || -> std::result::Result<Vec<i64>, Fault> {
        let (kind, sizes, mut body) =
            open(path, 0x0801, |kind, sizes| width(kind) > 0 && (sizes == 1 || sizes == 2))?;
        let row = width(kind) * sizes.get(1).copied().unwrap_or(1);
        let mut labels = Vec::new();
        body.read_all(sizes[0], row, |block| {
            labels.extend(block.chunks_exact(row).map(|row| number(kind, &row[..width(kind)])));
            Ok(())
        })?;
        let whole = |(index, label): (usize, f64)| {
            let fault = || Fault::new("whole numbers as labels", format!("{label} at index {index}"));
            crate::labels::whole(label).ok_or_else(fault)
        };
        labels.into_iter().enumerate().map(whole).collect()
    };
    read().map_err(|fault| fault.at(path))
}

/// Size in bytes of the number type `kind` of a magic number; 0 if there is no such type.
fn width(kind: u8) -> usize {
    match kind {
        8 | 9 => 1,
        11 => 2,
        12 | 13 => 4,
        14 => 8,
        _ => 0,
    }
}

fn number(kind: u8, bytes: &[u8]) -> f64 {
    match (kind, bytes) {
        (9, &[a]) => i8::from_be_bytes([a]).into(),
        (11, &[a, b]) => i16::from_be_bytes([a, b]).into(),
        (12, &[a, b, c, d]) => i32::from_be_bytes([a, b, c, d]).into(),
        (13, &[a, b, c, d]) => f32::from_be_bytes([a, b, c, d]).into(),
        (14, &[a, b, c, d, e, f, g, h]) => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => bytes.first().copied().unwrap_or_default().into(),
    }
}

/// The values of an idx file, which follow its sizes.
struct Body {
    reader: Box<dyn Read>,
    sizes: String,
}

impl Body {
    /// Passes `n` elements of `size` bytes to `each` in blocks, so that memory is bounded whatever the header
    /// claims.
    fn read_all(
        &mut self,
        n: usize,
        size: usize,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> std::result::Result<(), Fault> {
        let per_block = (BYTES_PER_BLOCK / size).max(1);
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

/// Opens an idx file, and returns its number type, its sizes and a reader of its values. The type and the
/// number of sizes must satisfy `fits`; `magic` is the magic number of most such files, for the error message.
fn open(
    path: &Path,
    magic: u32,
    fits: impl Fn(u8, u8) -> bool,
) -> std::result::Result<(u8, Vec<usize>, Body), Fault> {
    let mut file = BufReader::new(tree::open(path)?);
    let packed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let mut reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

    let found = word(&mut *reader, "the magic number")?;
    let [0, 0, kind, dimensions] = found.to_be_bytes() else {
        return Err(Fault::new(format!("the magic number {magic:#010x}"), format!("{found:#010x}")));
    };
    if !fits(kind, dimensions) {
        return Err(Fault::new(format!("the magic number {magic:#010x}"), format!("{found:#010x}")));
    }
    let mut sizes = vec![0; dimensions.into()];
    for (axis, size) in sizes.iter_mut().enumerate() {
        *size = word(&mut *reader, "a size")? as usize;
        if axis > 0 && (*size == 0 || *size > MAX_SIDE) {
            return Err(Fault::new(format!("images of 1 to {MAX_SIDE} pixels a side"), size.to_string()));
        }
    }
    // A gzip stream can unpack to a thousand times its size, so the claimed amount needs a limit.
    let bytes = sizes.iter().fold(width(kind) as u64, |product, &size| product.saturating_mul(size as u64));
    if sizes[0] > MAX_IMAGES || bytes > MAX_BYTES {
        let expected = format!("at most {MAX_IMAGES} images, and {MAX_BYTES} bytes of them");
        return Err(Fault::new(expected, format!("the sizes {sizes:?}")));
    }
    let sizes_text = format!("{sizes:?}");
    Ok((kind, sizes, Body { reader, sizes: sizes_text }))
}

fn word(reader: &mut dyn Read, what: &str) -> std::result::Result<u32, Fault> {
    let mut bytes = [0; 4];
    fill(reader, &mut bytes, what)?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_set_and_the_split() {
        use Content::{Images, Labels};
        for (name, set, split, content) in [
            ("train-images-idx3-ubyte", "", Split::Train, Images),
            ("t10k-labels.idx1-ubyte.gz", "", Split::Test, Labels),
            ("emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters", Split::Train, Images),
            ("emnist-byclass-test-labels-idx1-ubyte", "emnist-byclass", Split::Test, Labels),
            ("qmnist-test-labels-idx2-int.gz", "qmnist", Split::Test, Labels),
        ] {
            assert_eq!(parse(name), Some(IdxName { set: set.into(), split, content }), "{name}");
        }
        for name in ["train.parquet", "qmnist-test50k-images-idx3-ubyte", "xnist-images-idx3-ubyte.xz"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
