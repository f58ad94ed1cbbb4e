//! Downloads image sets from the Hugging Face hub (feature `hub`), into the cache that all its clients share.
//!
//! Requests, redirects, tokens and TLS are those of `hf-hub`, the client that `candle-datasets` has. What it offers as a
//! download names a file before anyone can compare its digest, and begins anew where a connection broke, so bytes are taken
//! from its stream, and put away here. The layout is that of all clients: a file's bytes are in `blobs/<sha256>`, and
//! `snapshots/<commit>/<path>` is a link to them. While a file comes in, it is `blobs/<id>.incomplete`, by its id in the
//! hub's list; it gets its name when its SHA-256 is the one that this id is made of. A connection that breaks off is taken
//! up where it broke, now or by the next call.
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

/// Tries in a row that may bring nothing.
const TRIES: u32 = 5;
/// A server that says nothing for so long says nothing more.
const PATIENCE: Duration = Duration::from_mins(1);

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The files are known.
    Start {
        /// How many are missing.
        files: usize,
        /// Bytes of these.
        bytes: u64,
    },
    /// A file begins.
    File {
        /// Its path in the repository.
        name: &'a str,
    },
    /// More is here.
    Bytes {
        /// Bytes of all missing files that are here by now.
        done: u64,
    },
    /// Nothing more came; there is another try after a pause.
    Again {
        /// Why nothing more came.
        why: &'a str,
    },
}

/// An image set that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it came from.
    pub source: HubSource,
    /// The folder of its files.
    pub folder: PathBuf,
    /// How many files were not here before.
    pub files: usize,
}

/// The hub, as it is seen from here.
#[derive(Clone)]
pub struct Hub {
    /// Its address, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The cache.
    pub cache: HubCache,
    /// What proves who asks; without it, what the user has given all clients, if anything. Public data need none.
    pub token: Option<String>,
    /// Whether only what is here may be used.
    pub offline: bool,
    /// The pause after the first try that brought nothing; it doubles with each in a row.
    pub pause: Duration,
}

impl Hub {
    /// As the environment says it to all clients of the hub: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`, and
    /// [`HubCache::from_env`].
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

    /// Sees to it that the files of image set `name` are in the cache. Where they are already, nothing is asked of the hub.
    ///
    /// # Errors
    /// If there is no such image set, or its files cannot be had; what of a file has come stays for the next call.
    pub fn fetch(&self, name: &str, tell: &mut dyn FnMut(&Event)) -> Result<Fetched> {
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
            return Err(HubError::Unknown {
                name: name.into(),
                nearest: lerp_core::nearest(name, error::names()),
            });
        };
        let source = known.hub;
        let (Some(repository), Some(folder)) = (self.cache.repository(&source), self.cache.place(&source))
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
            link(&blob, &folder.join(&remote.name))
                .map_err(|problem| HubError::Io { file: folder.join(&remote.name), problem })?;
        }
        Ok(Fetched { source, folder, files: remotes.len() })
    }
}

/// A file at the hub.
struct Remote {
    /// Name in the folder of the image set.
    name: String,
    bytes: u64,
    /// The SHA-1 by which git knows the pointer that stands for the file in the repository: see [`pointer`].
    id: String,
}

impl Remote {
    /// Whether this SHA-256, with the size of the file, is what its id is made of.
    fn is(&self, sha256: &str) -> bool {
        self.id == pointer(sha256, self.bytes)
    }
}

/// The id of the pointer that stands in a repository for a file in large file storage. The hub's list has the file's SHA-256,
/// too, but `hf-hub` 1.0 drops it (it looks for `sha256` where the list says `oid`).
fn pointer(sha256: &str, bytes: u64) -> String {
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n");
    hexadecimal(Sha1::digest(format!("blob {}\0{text}", text.len())))
}

/// Where the list of a repository's files is.
fn list_of(endpoint: &str, HubSource { repository, revision, .. }: &HubSource) -> String {
    format!("{endpoint}/api/datasets/{repository}/tree/{revision}")
}

/// Why a try brought no end.
enum Failure {
    Final(HubError),
    /// Worth another try: why, and whether this one brought anything.
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

/// A part of a file that is here, and its digest so far.
struct Part {
    file: File,
    path: PathBuf,
    have: u64,
    digest: Sha256,
}

struct Transfer<'a> {
    hub: &'a Hub,
    known: &'static Known,
    repository: HFRepository<RepoTypeDataset>,
    /// It has a thread of its own for nothing: requests are made one after the other.
    runtime: Runtime,
    /// The repository in the cache.
    place: PathBuf,
    /// Bytes of the files that are done.
    done: u64,
    tell: &'a mut dyn FnMut(&Event),
}

impl<'a> Transfer<'a> {
    fn new(
        hub: &'a Hub,
        known: &'static Known,
        place: PathBuf,
        tell: &'a mut dyn FnMut(&Event),
    ) -> Result<Self> {
        let url = list_of(&hub.endpoint, &known.hub);
        let unreachable = |why: String| HubError::Unreachable { name: known.name, url: url.clone(), why };
        let mut client = HFClient::builder()
            .endpoint(&hub.endpoint)
            .user_agent(concat!("lerp/", env!("CARGO_PKG_VERSION")))
            .cache_enabled(false)
            // Tries are counted, and told, here.
            .retry_max_attempts(0);
        if let Some(token) = &hub.token {
            client = client.token(token);
        }
        let client = client.build().map_err(|error| unreachable(innermost(&error)))?;
        let (owner, name) = split_id(known.hub.repository);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
        Ok(Self { hub, known, repository: client.dataset(owner, name), runtime, place, done: 0, tell })
    }

    /// The files of the image set.
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

    /// Brings a file's bytes into the cache, unless they are there; where they are.
    fn file(&mut self, remote: &Remote) -> Result<PathBuf> {
        let HubSource { repository, revision, folder, .. } = self.known.hub;
        let path = format!("{folder}/{}", remote.name);
        (self.tell)(&Event::File { name: &path });
        let io = |file: &Path| {
            let file = file.to_path_buf();
            move |problem| HubError::Io { file, problem }
        };
        let _lock = self.lock(remote)?;
        let blobs = self.place.join("blobs");
        let blob = if let Some(blob) = present(&blobs, remote) {
            blob
        } else {
            fs::create_dir_all(&blobs).map_err(io(&blobs))?;
            let partial = blobs.join(format!("{}.incomplete", remote.id));
            let mut part = Part::open(partial.clone(), remote.bytes).map_err(io(&partial))?;
            let url = format!("{}/datasets/{repository}/resolve/{revision}/{path}", self.hub.endpoint);
            if part.have < remote.bytes {
                let (file, bytes) = (path.clone(), remote.bytes);
                let part = std::cell::RefCell::new(&mut part);
                self.persist(
                    |transfer| transfer.pull(&url, &path, remote, &mut part.borrow_mut()),
                    |transfer, why| match part.borrow().have {
                        0 => transfer.unreachable(&url, why),
                        done => HubError::Cut { file: file.clone(), done, bytes, why },
                    },
                )?;
            }
            let sha256 = hexadecimal(part.digest.finalize());
            if part.have > remote.bytes || !remote.is(&sha256) {
                fs::remove_file(&partial).map_err(io(&partial))?;
                let more = part.have > remote.bytes;
                let found = if more {
                    format!("more than {} bytes", remote.bytes)
                } else {
                    format!("SHA-256 {sha256}")
                };
                return Err(HubError::Wrong { file: path, id: remote.id.clone(), found });
            }
            let blob = blobs.join(sha256);
            part.file.sync_all().and_then(|()| fs::rename(&partial, &blob)).map_err(io(&blob))?;
            blob
        };
        self.done += remote.bytes;
        (self.tell)(&Event::Bytes { done: self.done });
        Ok(blob)
    }

    /// Keeps two processes from writing one file.
    fn lock(&self, remote: &Remote) -> Result<Option<Lock>> {
        let name = self.place.file_name().unwrap_or_default();
        let folder = self.place.with_file_name(".locks").join(name);
        let path = folder.join(format!("{}.lock", remote.id));
        fs::create_dir_all(&folder).map_err(|problem| HubError::Io { file: folder, problem })?;
        match Lock::take(&path) {
            Ok(Locked::Ours(lock)) => Ok(Some(lock)),
            Ok(Locked::Busy) => Err(HubError::Busy { file: remote.name.clone(), lock: path }),
            // A file system without locks is no reason not to download.
            Ok(Locked::Unsupported) | Err(_) => Ok(None),
        }
    }

    /// Reads what is missing of a file, as far as it comes.
    fn pull(
        &mut self,
        url: &str,
        path: &str,
        remote: &Remote,
        part: &mut Part,
    ) -> std::result::Result<(), Failure> {
        let before = part.have;
        let io = |part: &Part, problem| Failure::Final(HubError::Io { file: part.path.clone(), problem });
        let ask = |from: u64| {
            let request =
                self.repository.download_file_stream().filename(path).revision(self.known.hub.revision);
            self.wait(url, request.maybe_range((from > 0).then_some(from..remote.bytes)).send())
        };
        let (length, mut stream) = ask(part.have)?;
        if part.have > 0 && length != Some(remote.bytes - part.have) {
            // Something else than the rest, such as all of it.
            part.restart().map_err(|problem| io(part, problem))?;
            (_, stream) = ask(0)?;
        }
        loop {
            let again = |why| Failure::Again { why, moved: part.have > before };
            let bytes = match self.runtime.block_on(async { timeout(PATIENCE, stream.next()).await }) {
                Err(_) => return Err(again(silence())),
                Ok(None) if part.have < remote.bytes => {
                    return Err(again("the connection was closed".into()));
                }
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(again(innermost(&error))),
                Ok(Some(Ok(bytes))) => bytes,
            };
            // One more than there should be tells enough.
            let most = (remote.bytes + 1).saturating_sub(part.have).min(bytes.len() as u64) as usize;
            part.file.write_all(&bytes[..most]).map_err(|problem| io(part, problem))?;
            part.digest.update(&bytes[..most]);
            part.have += most as u64;
            if part.have > remote.bytes {
                return Ok(());
            }
            (self.tell)(&Event::Bytes { done: self.done + part.have });
        }
    }

    /// Waits for an answer.
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

    /// What an error of the client's means here.
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
            // An address does not get better.
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

    /// Tries until it is done, or brought nothing for several times.
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

impl Part {
    /// What is in `path`, which may be nothing, of a file of `bytes` bytes.
    fn open(path: PathBuf, bytes: u64) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut part = Self { file, path, have: 0, digest: Sha256::new() };
        if part.file.metadata()?.len() > bytes {
            part.restart()?;
        }
        let mut buffer = vec![0; 1 << 16];
        loop {
            match part.file.read(&mut buffer)? {
                0 => return Ok(part),
                n => part.digest.update(&buffer[..n]),
            }
            part.have = part.file.stream_position()?;
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

/// The blob that a file would become, if one of its clients has put it there, under another name or commit maybe: what is
/// called by a digest was compared with it.
fn present(blobs: &Path, remote: &Remote) -> Option<PathBuf> {
    let paths = fs::read_dir(blobs).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let whole =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() == remote.bytes);
    let name = |path: &PathBuf| is_hexadecimal(&file_name(path), 64) && remote.is(&file_name(path));
    paths.into_iter().find(|path| name(path) && whole(path))
}

/// What is at the bottom of an error, without the addresses that the layers above it repeat.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether an answer came and is no JSON.
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

/// Makes `pointer` mean `blob`.
fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    if let Some(folder) = pointer.parent() {
        fs::create_dir_all(folder)?;
    }
    // A link whose target is gone is in the way.
    if pointer.symlink_metadata().is_ok() {
        fs::remove_file(pointer)?;
    }
    point(blob, pointer)
}

#[cfg(unix)]
fn point(blob: &Path, pointer: &Path) -> io::Result<()> {
    // From <repository>/snapshots/<commit>/<folder>/<name>, so that the cache can be moved.
    let name = blob.file_name().unwrap_or_default();
    std::os::unix::fs::symlink(Path::new("../../../blobs").join(name), pointer)
}

/// Without links for everyone, the hub's clients move the file.
#[cfg(not(unix))]
fn point(blob: &Path, pointer: &Path) -> io::Result<()> {
    fs::rename(blob, pointer)
}

/// Whether this is the name of a file and no way out of its folder.
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
        // What `git hash-object` says of it.
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::pointer(of_abc, 3), "80d7d501c2b256023dc42e46d958b9ac2ec283ee");
    }
}
