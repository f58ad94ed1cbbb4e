//! Files in folders that may come from anybody: replaced whole or not at all, read only where they are plain files, locked
//! without being changed, and told apart by digests; and text from such files made fit to print.
//!
//! A sweep's folder is copied, sent and unpacked, so nothing in it is believed. A symbolic link in it could point to any
//! file of the person who reads it: nothing here follows one below the folder that a user named.
//!
//! * [`replace`], [`replace_unsynced`], [`Draft`]: a file is as before or as it should be, whenever the machine stops.
//! * [`read`], [`read_to_string`]: a plain file, up to a limit; [`append`]: a log.
//! * [`make_folder`], [`is_folder`]: folders that are no links.
//! * [`Lock`]: held by one process of a machine, released however that ends.
//! * [`digest`], which is SHA-256, and [`hexadecimal`].
//! * [`caught`]: a library that panics on a damaged file.
//! * [`printable`], [`is_word`], [`file_stem`]: text and names from elsewhere.

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
pub use replace::{Draft, STALE, is_leftover, remove_leftovers, replace, replace_unsynced, temporary};
pub use text::{file_stem, is_word, printable};

/// A file or folder that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {problem}", printable(&.path.to_string_lossy()))]
pub struct Error {
    /// What was tried: `read`, `write`, `create`, `lock`.
    pub action: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Why not.
    pub problem: std::io::Error,
}

impl Error {
    /// For `map_err`: the failure to do `action` to `path`.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |problem| Self { action, path, problem }
    }

    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        self.problem.kind() == std::io::ErrorKind::NotFound
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// SHA-256 of `bytes`, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes))
}

/// A digest of any kind in hexadecimal, two small digits a byte.
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
