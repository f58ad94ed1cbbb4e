//! Safe handling of files in folders of unknown origin: files are replaced atomically, opened only if they are
//! plain files, locked without being changed, and compared by digests; text from such files is made safe to
//! print.
//!
//! The folder of a sweep may be copied, sent and unpacked, so its content is not trusted. A symbolic link in it
//! could point to any file of the user who reads it, so no function here follows a link below the folder that
//! the user named.
//!
//! * [`replace`], [`replace_unsynced`], [`Draft`]: replace a file atomically, whenever the machine stops.
//! * [`read`], [`read_to_string`]: read a plain file up to a size limit; [`append`] opens a log.
//! * [`make_folder`], [`is_folder`]: folders that are not links.
//! * [`Lock`]: a file lock, held by one process and released however that process ends.
//! * [`digest`] (SHA-256), [`hexadecimal`]: digests as text.
//! * [`caught`]: turns a panic of a library on a damaged file into an error.
//! * [`printable`], [`is_word`], [`file_stem`]: make text and names of unknown origin safe.
//! * [`duration`]: formats a duration for reading.

mod caught;
mod lock;
mod plain;
mod replace;
mod text;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use caught::caught;
pub use lock::{Lock, Locked};
pub use plain::{append, is_folder, make_folder, open, read, read_to_string};
pub use replace::{
    Draft, Durability, STALE, is_leftover, remove_leftovers, replace, replace_unsynced, temporary,
};
pub use text::{duration, file_stem, is_word, printable};

/// An operation on a file or folder failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {problem}", printable(&.path.to_string_lossy()))]
pub struct Error {
    /// The operation: `read`, `write`, `create` or `lock`.
    pub action: &'static str,
    /// The path of the file or folder.
    pub path: PathBuf,
    /// The error of the operating system.
    pub problem: std::io::Error,
}

impl Error {
    /// Returns a function for `map_err` that adds the operation and the path to an error of the operating
    /// system.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |problem| Self { action, path, problem }
    }

    /// Whether the reason is that the file does not exist.
    pub fn is_not_found(&self) -> bool {
        self.problem.kind() == std::io::ErrorKind::NotFound
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The SHA-256 of `bytes` in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes))
}

/// Formats a digest in hexadecimal, with two lower-case digits for each byte.
pub fn hexadecimal(digest: impl AsRef<[u8]>) -> String {
    use std::fmt::Write;
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_digest_is_the_one_that_others_compute() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::digest(b"abc"), of_abc);
    }
}
