//! What can go wrong with a download, a sentence each.

use std::{io, path::PathBuf};

use crate::find::KNOWN;

/// What can go wrong while an image set is downloaded.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that the hub has nothing for.
    #[error("there is no image set '{name}' to download{}; there is: {}", did_you_mean(*.nearest), names().join(", "))]
    Unknown {
        /// The name that was given.
        name: String,
        /// The image set whose name is closest to it, if one is close.
        nearest: Option<&'static str>,
    },
    /// No place for the cache.
    #[error("there is no home folder to keep a cache in: name a folder with HF_HUB_CACHE")]
    NoCache,
    /// The network is not to be used, and the files are not here.
    #[error(
        "{} lacks {first}, and HF_HUB_OFFLINE forbids to download it: unset it, or {}",
        .folder.display(), by_hand(.name)
    )]
    Offline {
        /// The image set.
        name: &'static str,
        /// Where its files should be.
        folder: PathBuf,
        /// The first that is missing.
        first: String,
    },
    /// No answer.
    #[error("cannot reach {url} ({why}): try again, or {}", by_hand(.name))]
    Unreachable {
        /// The image set.
        name: &'static str,
        /// What was asked for.
        url: String,
        /// Why there was no answer.
        why: String,
    },
    /// An answer that says no.
    #[error("{url} answers {status}{}", hint(*.status))]
    Refused {
        /// What was asked for.
        url: String,
        /// The status of the answer.
        status: u16,
    },
    /// A list of files that is none, or lacks a file.
    #[error("{url}: expected {expected}, found {found}")]
    List {
        /// Where the list is.
        url: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A download that broke off, again and again.
    #[error(
        "the download of {file} broke off at {done} of {bytes} bytes ({why}): the same command goes on from there"
    )]
    Cut {
        /// The file.
        file: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes that it has.
        bytes: u64,
        /// Why.
        why: String,
    },
    /// Bytes that are not the file's. They have been removed.
    #[error(
        "{file} came with {found}, which is not what {id} stands for in the hub's list, and was removed: run the same command \
         again; if it says so twice, get the file by hand"
    )]
    Wrong {
        /// The file.
        file: String,
        /// Its id in the list, which is made of its SHA-256 and size.
        id: String,
        /// The SHA-256 that it has, or that it has too many bytes.
        found: String,
    },
    /// Someone else is at it.
    #[error("another program is downloading {file}: wait until it is done ({} is locked)", .lock.display())]
    Busy {
        /// The file.
        file: String,
        /// The lock that it holds.
        lock: PathBuf,
    },
    /// A file of the cache that cannot be written or read.
    #[error("cannot write {}: {problem}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        problem: io::Error,
    },
}

/// Result with a [`HubError`].
pub type Result<T> = std::result::Result<T, HubError>;

/// The image sets that the hub has.
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
