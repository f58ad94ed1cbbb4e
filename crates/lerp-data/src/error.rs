//! Errors of datasets.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What can go wrong while a dataset is found or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that belongs to no dataset.
    #[error("there is no dataset '{name}'{}; there is: {}, and your own: {}", did_you_mean(*.nearest), crate::DATASETS.join(", "), OWN)]
    UnknownDataset {
        /// The name that was given.
        name: String,
        /// The dataset whose name is closest to it, if one is close.
        nearest: Option<&'static str>,
    },
    /// An image set, and no folder to read it from.
    #[error(
        "{name} is not in the hub's cache: `cargo xtask data fetch {name}` downloads it; or name a folder of datasets \
         with --data or LERP_DATA, and put into its sub-folder '{name}' {files}"
    )]
    NoFolder {
        /// The dataset.
        name: &'static str,
        /// The files that it can be read from.
        files: &'static str,
    },
    /// A name of one's own images that names no place.
    #[error("'{name}': expected a place behind '{kind}:', found nothing")]
    NoPlace {
        /// The whole name.
        name: String,
        /// What stands before the colon.
        kind: String,
    },
    /// A folder of datasets that is none.
    #[error("{from} {} is not a folder", shown(.folder))]
    NoSuchFolder {
        /// Where it was named: `--data`, or the environment variable.
        from: &'static str,
        /// What was named.
        folder: PathBuf,
    },
    /// A folder without the files of the dataset.
    #[error("{name}: found no images in {}: put there {files}{}", shown(.folder), or_fetch(name))]
    NoFiles {
        /// The dataset.
        name: String,
        /// Where they were looked for.
        folder: PathBuf,
        /// The files that it can be read from.
        files: String,
    },
    /// Some of the files of a dataset in the hub's cache, but not all.
    #[error("{name}: {} lacks {first}{}: `cargo xtask data fetch {name}` downloads it", shown(.folder), and_more(*n))]
    Incomplete {
        /// The dataset.
        name: &'static str,
        /// Where its files are.
        folder: PathBuf,
        /// The first file that is missing.
        first: String,
        /// How many files are missing.
        n: usize,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {problem}", shown(.file))]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        problem: io::Error,
    },
    /// A cache file that cannot be written.
    #[error("cannot write the cache file {}: {problem}; name another folder with LERP_CACHE", shown(.file))]
    Cache {
        /// The file.
        file: PathBuf,
        /// Why.
        problem: io::Error,
    },
    /// A cache file that does not hold what was written.
    #[error(
        "the cache file {} was damaged (image {place} is not as it was written) and has been removed: the same command makes \
         it anew",
        shown(.file)
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The first image in it that was found damaged.
        place: usize,
    },
    /// A name of a dataset whose option is none.
    #[error(
        "{name}: '{option}' is no option of an image set; there is ?test-every=N, N from 2, to hold out every Nth image"
    )]
    BadOption {
        /// The whole name.
        name: String,
        /// What stands behind the question mark.
        option: String,
    },
    /// A share to hold out of files that have a test part.
    #[error("{name}: these files have a test part, so ?test-every has nothing to do; leave it out")]
    HasTestPart {
        /// The whole name.
        name: String,
    },
    /// A file that does not hold what it should.
    #[error("{}: expected {expected}, found {found}", shown(.file))]
    Format {
        /// The file.
        file: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Tensors that are no dataset.
    #[error("dataset {name}: expected {expected}, found {found}")]
    Tensors {
        /// The dataset's name.
        name: String,
        /// What it should be made of.
        expected: String,
        /// What there is.
        found: String,
    },
    /// Classes were asked of images that have none.
    #[error("these images have no labels, so nothing can be classified")]
    NoLabels,
    /// Test images beyond the last.
    #[error("test images {first} to {end} were asked for, but there are {len}")]
    OutOfRange {
        /// The first that was asked for.
        first: usize,
        /// One beyond the last that was asked for.
        end: usize,
        /// How many there are.
        len: usize,
    },
    /// A contact sheet that could not be packed.
    #[error("cannot make the contact sheet")]
    Sheet(#[from] image::ImageError),
    /// A failure inside the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Forms of the names of the user's own image sets.
const OWN: &str = "idx:DIR, images:DIR, parquet:PATH";

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean '{n}'?)"))
}

/// A path, fit for a terminal.
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

/// An [`Error`] that does not know yet in which file it happened.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Format {
        expected: String,
        found: String,
    },
    /// Nothing wrong, but of a kind or size that is not read: this.
    LeftOut(String),
    /// Of another file, such as the cache file that is written meanwhile.
    Elsewhere(Error),
}

impl Fault {
    /// Something else than expected.
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Format { expected: expected.into(), found: found.into() }
    }

    /// The fault, in `file`.
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
            // What a decompressor says of bytes that it cannot read.
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

/// Reads as many bytes as `bytes` has, which are `what`; where the file or its compressed stream ends too early, the fault
/// says how many were there.
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

/// Reads what there is, up to all of `bytes`, and says how many there were; a compressed stream may be cut anywhere.
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

/// The first or last bytes of a file, for errors: as text where they are.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => format!("'{text}'"),
        _ => format!("{bytes:02x?}"),
    }
}
