//! Downloads image sets from the Hugging Face hub (feature `hub`) into the cache that all its clients share.
//!
//! `hf-hub`, the client that `candle-datasets` uses, makes the requests, with redirects, tokens and TLS. Its
//! own downloads give a file its final name before the digest can be compared, and start again when a
//! connection breaks, so this module takes the bytes from its stream and stores them itself. The layout is that
//! of all clients: the bytes of a file are in `blobs/<sha256>`, and `snapshots/<commit>/<path>` is a link to
//! them. An unfinished file is called `blobs/<id>.incomplete`, with its id in the hub's list of files, and gets
//! its final name when its SHA-256 and size match that id. An interrupted download continues where it broke
//! off, in the same call or the next one.
//!
//! ```no_run
//! # fn main() -> Result<(), lerp_data::hub::HubError> {
//! let here = lerp_data::hub::Hub::from_env().fetch("mnist", &mut |_| {})?;
//! assert!(here.folder.is_dir());
//! # Ok(())
//! # }
//! ```

mod error;

use std::{
    env,
    fs::{self, File},
    future::Future,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use hf_hub::{HFClient, HFError, HFRepository, RepoTypeDataset, repository::RepoTreeEntry, split_id};
use lerp_files::{Lock, Locked, hexadecimal};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::{runtime::Runtime, time::timeout};

pub use error::{HubError, Result};

use crate::{
    HubCache, HubSource,
    find::{KNOWN, Known},
    tree::file_name,
};

/// Number of consecutive attempts without any progress after which a download fails.
const TRIES: u32 = 5;
/// Time without any data after which a connection is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A progress event of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The list of files has been read.
    Start {
        /// Number of files that have to be downloaded.
        files: usize,
        /// Total size of these files in bytes.
        bytes: u64,
    },
    /// The download of a file begins.
    File {
        /// The path of the file in the repository.
        name: &'a str,
    },
    /// More data has arrived.
    Bytes {
        /// Number of bytes that have arrived so far, over all files.
        done: u64,
    },
    /// The connection failed; there will be another attempt after a pause.
    Again {
        /// The reason.
        why: &'a str,
    },
}

/// The result of a download: an image set that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The location on the hub.
    pub source: HubSource,
    /// The cache folder that holds the files.
    pub folder: PathBuf,
    /// Number of files that were downloaded.
    pub files: usize,
}

/// How to reach the hub, and the cache to download to.
#[derive(Clone)]
pub struct Hub {
    /// The address of the hub, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The cache.
    pub cache: HubCache,
    /// The access token, or `None` to use the one that `hf-hub` finds in the user's settings, if any. Public
    /// data needs none.
    pub token: Option<String>,
    /// Whether only the cache may be used, and not the network.
    pub offline: bool,
    /// The pause after the first attempt without progress; it doubles with each consecutive one.
    pub pause: Duration,
}

impl Hub {
    /// Reads the environment variables of the hub's clients: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`, and
    /// those of [`HubCache::from_env`].
    pub fn from_env() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let yes = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str());
        Self {
            endpoint: endpoint.trim().trim_end_matches('/').into(),
            cache: HubCache::from_env(),
            token: variable("HF_TOKEN").map(|token| token.trim().to_owned()),
            offline: variable("HF_HUB_OFFLINE").is_some_and(yes),
            pause: Duration::from_secs(1),
        }
    }

    /// Downloads the files of the image set `name` that are missing from the cache, and reports progress to
    /// `tell`. No request is made if all files are there.
    ///
    /// # Errors
    /// Returns an error if there is no such image set, or its files cannot be downloaded; the next call
    /// continues with the bytes that have arrived.
    pub fn fetch(&self, name: &str, tell: &mut dyn FnMut(&Event)) -> Result<Fetched> {
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
            return Err(HubError::Unknown {
                name: name.into(),
                nearest: lerp_core::nearest(name, error::names()),
            });
        };
        let source = known.hub;
        let (Some(repository), Some(folder)) =
            (self.cache.repository(&source), self.cache.folder_of(&source))
        else {
            return Err(HubError::NoCache);
        };
        let here = self.cache.names(&source);
        let missing = source.missing(&here);
        let Some(first) = missing.first() else {
            return Ok(Fetched { source, folder, files: 0 });
        };
        if self.offline {
            return Err(HubError::Offline { name: known.name, folder, first: first.clone() });
        }
        let mut transfer = Transfer::new(self, known, repository, tell)?;
        let mut remotes = transfer.list()?;
        remotes.retain(|remote| !here.contains(&remote.name));
        let bytes = remotes.iter().map(|remote| remote.bytes).sum();
        (transfer.tell)(&Event::Start { files: remotes.len(), bytes });
        for remote in &remotes {
            let blob = transfer.file(remote)?;
            let pointer = folder.join(&remote.name);
            link(&blob, &pointer).map_err(|problem| HubError::Io {
                action: "write",
                file: pointer,
                problem,
            })?;
        }
        Ok(Fetched { source, folder, files: remotes.len() })
    }
}

/// A file on the hub.
struct Remote {
    /// The name in the folder of the image set.
    name: String,
    bytes: u64,
    /// The git SHA-1 of the pointer that stands for the file in the repository; see [`pointer`].
    id: String,
}

impl Remote {
    /// Whether `sha256` and the size of the file match its id.
    fn is(&self, sha256: &str) -> bool {
        self.id == pointer(sha256, self.bytes)
    }
}

/// The git id of the pointer that a repository has in the place of a file in large file storage (LFS). The
/// hub's list also has the SHA-256 of the file, but `hf-hub` 1.0 drops it (it looks for `sha256` where the list
/// says `oid`).
fn pointer(sha256: &str, bytes: u64) -> String {
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n");
    hexadecimal(Sha1::digest(format!("blob {}\0{text}", text.len())))
}

/// The URL of the list of a repository's files.
fn list_of(endpoint: &str, HubSource { repository, revision, .. }: &HubSource) -> String {
    format!("{endpoint}/api/datasets/{repository}/tree/{revision}")
}

/// The reason why an attempt did not finish.
enum Failure {
    Final(HubError),
    /// Another attempt may succeed; `moved` says whether this one made any progress.
    Again {
        why: String,
        moved: bool,
    },
}

impl Failure {
    fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), moved: false }
    }
}

/// A partially downloaded file, with the digest of its bytes so far.
struct PartialFile {
    file: File,
    path: PathBuf,
    have: u64,
    digest: Sha256,
}

struct Transfer<'a> {
    hub: &'a Hub,
    known: &'static Known,
    repository: HFRepository<RepoTypeDataset>,
    /// A single-threaded runtime: requests are made one after the other.
    runtime: Runtime,
    /// The cache folder of the repository.
    cache_folder: PathBuf,
    /// Number of bytes of the finished files.
    done: u64,
    tell: &'a mut dyn FnMut(&Event),
}

impl<'a> Transfer<'a> {
    fn new(
        hub: &'a Hub,
        known: &'static Known,
        cache_folder: PathBuf,
        tell: &'a mut dyn FnMut(&Event),
    ) -> Result<Self> {
        let url = list_of(&hub.endpoint, &known.hub);
        let unreachable = |why: String| HubError::Unreachable { name: known.name, url: url.clone(), why };
        let mut client = HFClient::builder()
            .endpoint(&hub.endpoint)
            .user_agent(concat!("lerp/", env!("CARGO_PKG_VERSION")))
            .cache_enabled(false)
            // Attempts are counted and reported by this module.
            .retry_max_attempts(0);
        if let Some(token) = &hub.token {
            client = client.token(token);
        }
        let client = client.build().map_err(|error| unreachable(innermost(&error)))?;
        let (owner, name) = split_id(known.hub.repository);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        Ok(Self { hub, known, repository: client.dataset(owner, name), runtime, cache_folder, done: 0, tell })
    }

    /// Reads the list of the image set's files from the hub.
    fn list(&mut self) -> Result<Vec<Remote>> {
        let HubSource { revision, folder, .. } = self.known.hub;
        let url = list_of(&self.hub.endpoint, &self.known.hub);
        let wrong = |expected: &str, found: String| HubError::List {
            url: url.clone(),
            expected: expected.into(),
            found,
        };
        let once = |transfer: &mut Self| {
            transfer.wait(&url, async {
                let entries = transfer.repository.list_tree().revision(revision).recursive(true).send()?;
                entries.try_collect::<Vec<_>>().await
            })
        };
        let entries = self.persist(once, |transfer, why| transfer.unreachable(&url, why))?;
        let mut remotes = Vec::new();
        for entry in entries {
            let RepoTreeEntry::File { oid, size, path, lfs, .. } = entry else { continue };
            let name = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
            let Some(name) = name.filter(|name| self.known.hub.wants(name) && plain(name)) else { continue };
            if lfs.is_none() || !is_hexadecimal(&oid, 40) {
                let found = format!("id '{}', {} bytes", oid.escape_debug(), size);
                return Err(wrong(&format!("{path} in large file storage, with its id"), found));
            }
            remotes.push(Remote { name: name.into(), bytes: size, id: oid });
        }
        let names: Vec<String> = remotes.iter().map(|remote| remote.name.clone()).collect();
        match self.known.hub.missing(&names).first() {
            None => Ok(remotes),
            Some(first) => Err(wrong(
                &format!("{folder}/{first} in the list"),
                format!("{} files of the image set", names.len()),
            )),
        }
    }

    /// Downloads a file into the cache, unless it is there, and returns the path of its blob.
    fn file(&mut self, remote: &Remote) -> Result<PathBuf> {
        let HubSource { repository, revision, folder, .. } = self.known.hub;
        let path = format!("{folder}/{}", remote.name);
        (self.tell)(&Event::File { name: &path });
        let io = |action: &'static str, file: &Path| {
            let file = file.to_path_buf();
            move |problem| HubError::Io { action, file, problem }
        };
        let _lock = self.lock(remote)?;
        let blobs = self.cache_folder.join("blobs");
        let blob = if let Some(blob) = present(&blobs, remote) {
            blob
        } else {
            fs::create_dir_all(&blobs).map_err(io("create", &blobs))?;
            let partial_path = blobs.join(format!("{}.incomplete", remote.id));
            let mut partial =
                PartialFile::open(partial_path.clone(), remote.bytes).map_err(io("open", &partial_path))?;
            let url = format!("{}/datasets/{repository}/resolve/{revision}/{path}", self.hub.endpoint);
            if partial.have < remote.bytes {
                let (file, bytes) = (path.clone(), remote.bytes);
                let partial = std::cell::RefCell::new(&mut partial);
                self.persist(
                    |transfer| transfer.pull(&url, &path, remote, &mut partial.borrow_mut()),
                    |transfer, why| match partial.borrow().have {
                        0 => transfer.unreachable(&url, why),
                        done => HubError::Cut { file: file.clone(), done, bytes, why },
                    },
                )?;
            }
            let sha256 = hexadecimal(partial.digest.finalize());
            if partial.have > remote.bytes || !remote.is(&sha256) {
                fs::remove_file(&partial_path).map_err(io("remove", &partial_path))?;
                let more = partial.have > remote.bytes;
                let found = if more {
                    format!("more than {} bytes", remote.bytes)
                } else {
                    format!("SHA-256 {sha256}")
                };
                return Err(HubError::Wrong { file: path, id: remote.id.clone(), found });
            }
            let blob = blobs.join(sha256);
            partial
                .file
                .sync_all()
                .and_then(|()| fs::rename(&partial_path, &blob))
                .map_err(io("write", &blob))?;
            blob
        };
        self.done += remote.bytes;
        (self.tell)(&Event::Bytes { done: self.done });
        Ok(blob)
    }

    /// Takes the file lock that keeps two processes from writing the same file.
    fn lock(&self, remote: &Remote) -> Result<Option<Lock>> {
        let name = self.cache_folder.file_name().unwrap_or_default();
        let folder = self.cache_folder.with_file_name(".locks").join(name);
        let path = folder.join(format!("{}.lock", remote.id));
        fs::create_dir_all(&folder).map_err(|problem| HubError::Io {
            action: "create",
            file: folder,
            problem,
        })?;
        match Lock::take(&path) {
            Ok(Locked::Ours(lock)) => Ok(Some(lock)),
            Ok(Locked::Busy) => Err(HubError::Busy { file: remote.name.clone(), lock: path }),
            // Files are downloaded without a lock if the file system has none.
            Ok(Locked::Unsupported) | Err(_) => Ok(None),
        }
    }

    /// Reads the missing part of a file until it is complete or the connection fails.
    fn pull(
        &mut self,
        url: &str,
        path: &str,
        remote: &Remote,
        partial: &mut PartialFile,
    ) -> std::result::Result<(), Failure> {
        let before = partial.have;
        let io = |action: &'static str, partial: &PartialFile, problem| {
            Failure::Final(HubError::Io { action, file: partial.path.clone(), problem })
        };
        let ask = |from: u64| {
            let request =
                self.repository.download_file_stream().filename(path).revision(self.known.hub.revision);
            self.wait(url, request.maybe_range((from > 0).then_some(from..remote.bytes)).send())
        };
        let (length, mut stream) = ask(partial.have)?;
        if partial.have > 0 && length != Some(remote.bytes - partial.have) {
            // The answer is not the rest of the file, but probably all of it, so the file is read from its
            // beginning.
            partial.restart().map_err(|problem| io("empty", partial, problem))?;
            (_, stream) = ask(0)?;
        }
        loop {
            let again = |why| Failure::Again { why, moved: partial.have > before };
            let bytes = match self.runtime.block_on(async { timeout(PATIENCE, stream.next()).await }) {
                Err(_) => return Err(again(silence())),
                Ok(None) if partial.have < remote.bytes => {
                    return Err(again("the connection was closed".into()));
                }
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(again(innermost(&error))),
                Ok(Some(Ok(bytes))) => bytes,
            };
            // One byte more than expected is enough to recognise a wrong file.
            let most = (remote.bytes + 1).saturating_sub(partial.have).min(bytes.len() as u64) as usize;
            partial.file.write_all(&bytes[..most]).map_err(|problem| io("write", partial, problem))?;
            partial.digest.update(&bytes[..most]);
            partial.have += most as u64;
            if partial.have > remote.bytes {
                return Ok(());
            }
            (self.tell)(&Event::Bytes { done: self.done + partial.have });
        }
    }

    /// Waits for an answer, at most [`PATIENCE`].
    fn wait<T>(
        &self,
        url: &str,
        answer: impl Future<Output = hf_hub::HFResult<T>>,
    ) -> std::result::Result<T, Failure> {
        match self.runtime.block_on(async { timeout(PATIENCE, answer).await }) {
            Ok(answer) => answer.map_err(|error| self.failure(error, url)),
            Err(_) => Err(Failure::again(silence())),
        }
    }

    /// Decides whether an error of the client is final or worth another attempt.
    fn failure(&self, error: HFError, url: &str) -> Failure {
        let context = match error {
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RateLimited { context, .. }
            | HFError::RepoNotFound { context: Some(context), .. }
            | HFError::RevisionNotFound { context: Some(context), .. }
            | HFError::EntryNotFound { context: Some(context), .. } => context,
            HFError::Request { source, .. } if is_json(&source) => {
                let found = format!("'{}'", innermost(&source));
                return Failure::Final(HubError::List {
                    url: url.into(),
                    expected: "a list in JSON".into(),
                    found,
                });
            }
            HFError::Json(error) => {
                let found = format!("'{error}'");
                return Failure::Final(HubError::List {
                    url: url.into(),
                    expected: "a list of files".into(),
                    found,
                });
            }
            // Another attempt with an invalid address would fail in the same way.
            HFError::Request { source, .. } if source.is_builder() => {
                return Failure::Final(self.unreachable(url, innermost(&source)));
            }
            HFError::Request { source, .. } => return Failure::again(innermost(&source)),
            error => return Failure::Final(self.unreachable(url, innermost(&error))),
        };
        match context.status.as_u16() {
            status @ (408 | 429 | 500..) => Failure::again(format!("status {status}")),
            status => Failure::Final(HubError::Refused { url: context.url, status }),
        }
    }

    /// Repeats `once` until it succeeds, fails finally, or has made no progress in [`TRIES`] consecutive
    /// attempts.
    fn persist<T>(
        &mut self,
        mut once: impl FnMut(&mut Self) -> std::result::Result<T, Failure>,
        give_up: impl Fn(&Self, String) -> HubError,
    ) -> Result<T> {
        let mut vain = 0;
        loop {
            let (why, moved) = match once(self) {
                Ok(done) => return Ok(done),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again { why, moved }) => (why, moved),
            };
            vain = if moved { 0 } else { vain + 1 };
            if vain == TRIES {
                return Err(give_up(self, why));
            }
            (self.tell)(&Event::Again { why: &why });
            thread::sleep(self.hub.pause * 2_u32.pow(vain.saturating_sub(1)));
        }
    }

    fn unreachable(&self, url: &str, why: String) -> HubError {
        HubError::Unreachable { name: self.known.name, url: url.into(), why }
    }
}

impl PartialFile {
    /// Opens the partial file at `path`, or creates it, and computes the digest of its bytes. A file of more
    /// than `bytes` bytes is emptied.
    fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut partial = Self { file, path, have: 0, digest: Sha256::new() };
        if partial.file.metadata()?.len() > bytes {
            partial.restart()?;
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            match partial.file.read(&mut buffer)? {
                0 => return Ok(partial),
                n => partial.digest.update(&buffer[..n]),
            }
            partial.have = partial.file.stream_position()?;
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.have = 0;
        self.digest = Sha256::new();
        Ok(())
    }
}

/// Returns the blob of a file if any client of the hub has downloaded it before, even under another name or
/// commit. The clients name blobs by their digest after checking it.
fn present(blobs: &Path, remote: &Remote) -> Option<PathBuf> {
    let paths = fs::read_dir(blobs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let whole =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == remote.bytes);
    let name = |path: &PathBuf| is_hexadecimal(&file_name(path), 64) && remote.is(&file_name(path));
    paths.into_iter().find(|path| name(path) && whole(path))
}

/// The message of the innermost source of an error; the outer layers repeat addresses.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the error is that an answer is not valid JSON.
fn is_json(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(inner) = error {
        if inner.is::<serde_json::Error>() {
            return true;
        }
        error = inner.source();
    }
    false
}

fn silence() -> String {
    format!("nothing for {} s", PATIENCE.as_secs())
}

/// Makes `pointer` a link to `blob`.
fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    if let Some(folder) = pointer.parent() {
        fs::create_dir_all(folder)?;
    }
    // A dangling link at this path would be in the way.
    if pointer.symlink_metadata().is_ok() {
        fs::remove_file(pointer)?;
    }
    point(blob, pointer)
}

#[cfg(unix)]
fn point(blob: &Path, pointer: &Path) -> io::Result<()> {
    // The target is relative to <repository>/snapshots/<commit>/<folder>/<name>, so that the cache can be
    // moved.
    let name = blob.file_name().unwrap_or_default();
    std::os::unix::fs::symlink(Path::new("../../../blobs").join(name), pointer)
}

/// Moves the file to its place. Not every user may create links on such systems, and the hub's clients do the
/// same.
#[cfg(not(unix))]
fn point(blob: &Path, pointer: &Path) -> io::Result<()> {
    fs::rename(blob, pointer)
}

/// Whether `name` consists of characters that cannot lead out of a folder.
fn plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn is_hexadecimal(digits: &str, n: usize) -> bool {
    digits.len() == n && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pointers_id_is_the_one_that_git_gives_it() {
        // The expected id is that of `git hash-object`.
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::pointer(of_abc, 3), "80d7d501c2b256023dc42e46d958b9ac2ec283ee");
    }
}
