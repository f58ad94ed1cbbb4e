//! The errors of this crate.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::Split;

/// An error while a dataset is found or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No dataset has this name.
    #[error("there is no dataset '{name}'{}; there is: {}, and your own: {}", did_you_mean(*.nearest), crate::DATASETS.join(", "), OWN)]
    UnknownDataset {
        /// The given name.
        name: String,
        /// The dataset whose name is closest to it, if one is close.
        nearest: Option<&'static str>,
    },
    /// One of the paper's image sets is not in the hub's cache, and no folder was given to read it from.
    #[error(
        "{name} is not in the hub's cache: `cargo xtask data fetch {name}` downloads it; or name a folder of datasets \
         with --data or LERP_DATA, and put into its sub-folder '{name}' {files}"
    )]
    NoFolder {
        /// The dataset.
        name: &'static str,
        /// Names of the files that it can be read from.
        files: &'static str,
    },
    /// The name of user-supplied images lacks the path after its colon.
    #[error("'{name}': expected a path after '{kind}:', found nothing")]
    NoPath {
        /// The whole name of the dataset.
        name: String,
        /// The part before the colon.
        kind: String,
    },
    /// The folder of datasets that was given is not a folder.
    #[error("{from} {} is not a folder", shown(.folder))]
    NoSuchFolder {
        /// What gave the folder: `--data` or the environment variable.
        from: &'static str,
        /// The given path.
        folder: PathBuf,
    },
    /// The folder of a dataset does not hold its files.
    #[error("{name}: found no images in {}: put there {files}{}", shown(.folder), or_fetch(name))]
    NoFiles {
        /// The dataset.
        name: String,
        /// The folder that was searched.
        folder: PathBuf,
        /// Names of the files that it can be read from.
        files: String,
    },
    /// The hub's cache has only some of the files of a dataset.
    #[error("{name}: {} lacks {first}{}: `cargo xtask data fetch {name}` downloads it", shown(.folder), and_more(*n))]
    Incomplete {
        /// The dataset.
        name: &'static str,
        /// The cache folder that holds the files.
        folder: PathBuf,
        /// The name of the first missing file.
        first: String,
        /// The number of missing files.
        n: usize,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {problem}", shown(.file))]
    Io {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: io::Error,
    },
    /// A cache file cannot be written.
    #[error("cannot write the cache file {}: {problem}; name another folder with LERP_CACHE", shown(.file))]
    Cache {
        /// The file.
        file: PathBuf,
        /// The reason.
        problem: io::Error,
    },
    /// An image in a cache file does not match its checksum. The file has been removed.
    #[error(
        "the cache file {} was damaged (image {image} is not as it was written) and has been removed: the same command makes \
         it anew",
        shown(.file)
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The index in the file of the first image that was found damaged.
        image: usize,
    },
    /// The option at the end of a dataset's name is not valid.
    #[error(
        "{name}: '{option}' is no option of an image set; there is ?test-every=N, N from 2, to hold out every Nth image"
    )]
    BadOption {
        /// The whole name of the dataset.
        name: String,
        /// The part after the question mark.
        option: String,
    },
    /// A holdout share was given for files that have a test split.
    #[error("{name}: these files have a test split, so ?test-every has nothing to do; leave it out")]
    HasTestSplit {
        /// The whole name of the dataset.
        name: String,
    },
    /// The content of a file is not what its format or its dataset requires.
    #[error("{}: expected {expected}, found {found}", shown(.file))]
    Format {
        /// The file.
        file: PathBuf,
        /// The expected content.
        expected: String,
        /// The content that was found.
        found: String,
    },
    /// Tensors do not form a valid dataset or batch.
    #[error("dataset {name}: expected {expected}, found {found}")]
    Tensors {
        /// The name of the dataset.
        name: String,
        /// The expected tensors or names.
        expected: String,
        /// What was found instead.
        found: String,
    },
    /// The labels of images without labels were requested.
    #[error("these images have no labels, so nothing can be classified")]
    NoLabels,
    /// A range of images goes beyond the last one.
    #[error("{} images {first} to {end} were asked for, but there are {len}", adjective(*.split))]
    OutOfRange {
        /// The split of the dataset.
        split: Split,
        /// The first requested index.
        first: usize,
        /// The end of the requested range, exclusive.
        end: usize,
        /// Number of images of the split.
        len: usize,
    },
    /// A contact sheet cannot be encoded as PNG.
    #[error("cannot make the contact sheet")]
    Sheet(#[from] image::ImageError),
    /// A failure inside the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The forms that names of user-supplied image sets have.
const OWN: &str = "idx:DIR, images:DIR, parquet:PATH";

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean '{n}'?)"))
}

/// The word before `images` that names a split of a dataset.
fn adjective(split: Split) -> &'static str {
    match split {
        Split::Train => "training",
        Split::Test => "test",
    }
}

/// Formats a path for a terminal, with control characters escaped.
fn shown(path: &Path) -> String {
    lerp_files::printable(&path.to_string_lossy()).into_owned()
}

fn or_fetch(name: &str) -> String {
    let known = crate::find::KNOWN.iter().any(|known| known.name == name);
    if known { format!(", or let `cargo xtask data fetch {name}` download it") } else { String::new() }
}

fn and_more(n: usize) -> String {
    if n > 1 { format!(" and {} more", n - 1) } else { String::new() }
}

/// An [`Error`] to which the path of its file has not been added yet; see [`Fault::at`].
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Format {
        expected: String,
        found: String,
    },
    /// The image is not damaged, but of a kind or size that is not read. The string is the reason.
    LeftOut(String),
    /// An error that already has its file, such as one of the cache file that is written while another file is
    /// read.
    Elsewhere(Error),
}

impl Fault {
    /// A fault in the content of a file: what was expected, and what was found instead.
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Format { expected: expected.into(), found: found.into() }
    }

    /// Adds the path of the file to the fault.
    pub fn at(self, file: &Path) -> Error {
        match self {
            Self::Io(problem) => Error::Io { file: file.into(), problem },
            Self::LeftOut(found) => {
                Error::Format { file: file.into(), expected: "an image that is read".into(), found }
            }
            Self::Format { expected, found } => Error::Format { file: file.into(), expected, found },
            Self::Elsewhere(error) => error,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::new("more bytes", "the end of the file"),
            // A decompressor returns these kinds for bytes that it cannot decode.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                Self::new("a sound compressed stream", format!("'{error}'"))
            }
            _ => Self::Io(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Elsewhere(error)
    }
}

/// Fills `bytes` from `reader`. If the file or its compressed stream ends before that, the fault names `what`
/// was read and how many bytes there were.
pub(crate) fn fill(
    reader: &mut (impl Read + ?Sized),
    bytes: &mut [u8],
    what: &str,
) -> std::result::Result<(), Fault> {
    let read = read_most(reader, bytes)?;
    if read < bytes.len() {
        let expected = format!("more bytes ({} for {what})", bytes.len());
        return Err(Fault::new(expected, format!("the end after {read} of them")));
    }
    Ok(())
}

/// Reads until `bytes` is full or the stream ends, and returns the number of bytes read. A compressed stream
/// that is cut off counts as one that ends.
pub(crate) fn read_most(
    reader: &mut (impl Read + ?Sized),
    bytes: &mut [u8],
) -> std::result::Result<usize, Fault> {
    let mut read = 0;
    while read < bytes.len() {
        match reader.read(&mut bytes[read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}

/// Formats some bytes of a file for an error message: as text if they are printable ASCII, otherwise in
/// hexadecimal.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => format!("'{text}'"),
        _ => format!("{bytes:02x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_the_last_image_names_the_split() {
        let text = |split| Error::OutOfRange { split, first: 2, end: 9, len: 5 }.to_string();
        assert_eq!(text(Split::Train), "training images 2 to 9 were asked for, but there are 5");
        assert_eq!(text(Split::Test), "test images 2 to 9 were asked for, but there are 5");
    }
}
