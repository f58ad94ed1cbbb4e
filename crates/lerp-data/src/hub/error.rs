//! The errors of downloads.

use std::{io, path::PathBuf};

use crate::find::KNOWN;

/// An error while an image set is downloaded.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No image set on the hub has this name.
    #[error("there is no image set '{name}' to download{}; there is: {}", did_you_mean(*.nearest), names().join(", "))]
    Unknown {
        /// The given name.
        name: String,
        /// The image set whose name is closest to it, if one is close.
        nearest: Option<&'static str>,
    },
    /// There is no folder for the cache.
    #[error("there is no home folder to keep a cache in: name a folder with HF_HUB_CACHE")]
    NoCache,
    /// Files are missing, and the network may not be used.
    #[error(
        "{} lacks {first}, and HF_HUB_OFFLINE forbids to download it: unset it, or {}",
        .folder.display(), by_hand(.name)
    )]
    Offline {
        /// The image set.
        name: &'static str,
        /// The cache folder of its files.
        folder: PathBuf,
        /// The name of the first missing file.
        first: String,
    },
    /// The hub did not answer.
    #[error("cannot reach {url} ({why}): try again, or {}", by_hand(.name))]
    Unreachable {
        /// The image set.
        name: &'static str,
        /// The requested URL.
        url: String,
        /// The reason.
        why: String,
    },
    /// The hub answered with an error status.
    #[error("{url} answers {status}{}", hint(*.status))]
    Refused {
        /// The requested URL.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The hub's list of files is not valid, or lacks a file.
    #[error("{url}: expected {expected}, found {found}")]
    List {
        /// The URL of the list.
        url: String,
        /// The expected content.
        expected: String,
        /// The content that was found.
        found: String,
    },
    /// A download broke off, and further attempts made no progress.
    #[error(
        "the download of {file} broke off at {done} of {bytes} bytes ({why}): the same command goes on from there"
    )]
    Cut {
        /// The file.
        file: String,
        /// Number of bytes that have arrived.
        done: u64,
        /// Size of the file in bytes.
        bytes: u64,
        /// The reason.
        why: String,
    },
    /// The downloaded bytes do not match the file's id. They have been removed.
    #[error(
        "{file} came with {found}, which is not what {id} stands for in the hub's list, and was removed: run the same command \
         again; if it says so twice, get the file by hand"
    )]
    Wrong {
        /// The file.
        file: String,
        /// The id of the file in the hub's list, which is computed from its SHA-256 and size.
        id: String,
        /// The SHA-256 of the downloaded bytes, or the statement that there are too many of them.
        found: String,
    },
    /// Another process is downloading the file.
    #[error("another program is downloading {file}: wait until it is done ({} is locked)", .lock.display())]
    Busy {
        /// The file.
        file: String,
        /// The file lock that the other process holds.
        lock: PathBuf,
    },
    /// A file or folder of the cache cannot be read or changed.
    #[error("cannot {action} {}: {problem}", .file.display())]
    Io {
        /// What failed, as a verb: `open`, `write`, `remove` and the like.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// The reason.
        problem: io::Error,
    },
}

/// Result with a [`HubError`].
pub type Result<T> = std::result::Result<T, HubError>;

/// The names of the image sets that can be downloaded.
pub(super) fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|known| known.name).collect()
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(" (did you mean '{nearest}'?)"))
}

fn by_hand(name: &str) -> String {
    let files = KNOWN.iter().find(|known| known.name == name).map_or("", |known| known.files);
    format!("put into the sub-folder '{name}' of a folder that --data or LERP_DATA names {files}")
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": it may be that HF_TOKEN is wrong, or missing",
        404 => ": is HF_ENDPOINT the address of a hub?",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_file_says_what_failed() {
        let error =
            HubError::Io { action: "open", file: "blob".into(), problem: io::ErrorKind::NotFound.into() };
        assert!(error.to_string().starts_with("cannot open blob: "), "{error}");
    }
}
