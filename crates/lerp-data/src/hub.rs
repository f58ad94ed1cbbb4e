//! Downloads image sets from the Hugging Face hub (feature `hub`), into the cache that all its clients share.
//!
//! The layout is theirs: a file's bytes are in `blobs/<sha256>`, and `snapshots/<commit>/<path>` is a link to them. While a
//! file comes in, it is `blobs/<sha256>.incomplete`; it gets its name when its SHA-256 is the one that the hub's list of
//! files gives. A connection that breaks off is taken up where it broke, now or by the next call.
//!
//! ```no_run
//! # fn main() -> Result<(), lerp_data::hub::HubError> {
//! let here = lerp_data::hub::Hub::from_env().fetch("mnist", &mut |_| {})?;
//! assert!(here.folder.is_dir());
//! # Ok(())
//! # }
//! ```

use std::{
    env,
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use ureq::{Agent, Body, config::RedirectAuthHeaders, http::Response};

use crate::{
    HubCache, HubSource,
    check::hexadecimal,
    find::{KNOWN, Known},
};

/// Tries in a row that may bring nothing.
const TRIES: u32 = 5;
/// A list of files is far shorter.
const LONGEST_LIST: u64 = 16 << 20;
/// What may stand in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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
    #[error("{file} came with {found} instead of {expected}, and was removed: run the same command again")]
    Wrong {
        /// The file.
        file: String,
        /// The SHA-256 or the size that it should have.
        expected: String,
        /// The one that it has.
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
    /// What proves who asks. Public data need none.
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
                nearest: lerp_core::nearest(name, names().iter().copied()),
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
        let mut transfer = Transfer { hub: self, known, agent: agent(), repository, done: 0, tell };
        let mut remotes = transfer.list()?;
        remotes.retain(|remote| !here.contains(&remote.name));
        let bytes = remotes.iter().map(|remote| remote.bytes).sum();
        (transfer.tell)(&Event::Start { files: remotes.len(), bytes });
        for remote in &remotes {
            transfer.file(remote)?;
            link(&transfer.blob(remote), &folder.join(&remote.name))
                .map_err(|problem| HubError::Io { file: folder.join(&remote.name), problem })?;
        }
        Ok(Fetched { source, folder, files: remotes.len() })
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("lerp/", env!("CARGO_PKG_VERSION")))
        // A place in a packed answer is no place in the file.
        .accept_encoding("identity")
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_mins(1)))
        .timeout_per_read(Some(Duration::from_mins(1)))
        .build()
        .into()
}

/// A file at the hub.
struct Remote {
    /// Name in the folder of the image set.
    name: String,
    bytes: u64,
    sha256: String,
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
    agent: Agent,
    /// The repository in the cache.
    repository: PathBuf,
    /// Bytes of the files that are done.
    done: u64,
    tell: &'a mut dyn FnMut(&Event),
}

impl Transfer<'_> {
    fn blob(&self, remote: &Remote) -> PathBuf {
        self.repository.join("blobs").join(&remote.sha256)
    }

    /// The files of the image set.
    fn list(&mut self) -> Result<Vec<Remote>> {
        let HubSource { repository, revision, .. } = self.known.hub;
        let url = format!("{}/api/datasets/{repository}/revision/{revision}?blobs=true", self.hub.endpoint);
        let once = |transfer: &mut Self| {
            let body = transfer.get(&url, 0)?.into_body();
            let bytes = body.into_with_config().limit(LONGEST_LIST).read_to_vec();
            bytes.map_err(|error| Failure::Again { why: error.to_string(), moved: false })
        };
        let bytes = self.persist(once, |transfer, why| transfer.unreachable(&url, why))?;
        let wrong = |expected: &str, found: String| HubError::List {
            url: url.clone(),
            expected: expected.into(),
            found,
        };
        let list: Value =
            serde_json::from_slice(&bytes).map_err(|error| wrong("a list in JSON", format!("'{error}'")))?;
        if list["sha"] != revision {
            return Err(wrong(&format!("commit {revision}"), list["sha"].to_string()));
        }
        let mut remotes = Vec::new();
        for entry in list["siblings"].as_array().into_iter().flatten() {
            let path = entry["rfilename"].as_str().unwrap_or_default();
            let name = path.strip_prefix(self.known.hub.folder).and_then(|rest| rest.strip_prefix('/'));
            let Some(name) = name.filter(|name| self.known.hub.wants(name) && plain(name)) else { continue };
            let (bytes, sha256) = (entry["lfs"]["size"].as_u64(), entry["lfs"]["sha256"].as_str());
            let (Some(bytes), Some(sha256)) = (bytes, sha256.filter(|digits| is_sha256(digits))) else {
                return Err(wrong(&format!("size and SHA-256 of {path}"), entry["lfs"].to_string()));
            };
            remotes.push(Remote { name: name.into(), bytes, sha256: sha256.into() });
        }
        let names: Vec<String> = remotes.iter().map(|remote| remote.name.clone()).collect();
        match self.known.hub.missing(&names).first() {
            None => Ok(remotes),
            Some(first) => Err(wrong(
                &format!("{}/{first} in the list", self.known.hub.folder),
                format!("{} files of the image set", names.len()),
            )),
        }
    }

    /// Brings a file's bytes into the cache, unless they are there.
    fn file(&mut self, remote: &Remote) -> Result<()> {
        let HubSource { repository, revision, folder, .. } = self.known.hub;
        let path = format!("{folder}/{}", remote.name);
        (self.tell)(&Event::File { name: &path });
        let blob = self.blob(remote);
        let io = |file: &Path| {
            let file = file.to_path_buf();
            move |problem| HubError::Io { file, problem }
        };
        let _lock = self.lock(remote)?;
        // Under its digest is what some client has checked, under another name or commit maybe.
        if !fs::metadata(&blob).is_ok_and(|data| data.is_file() && data.len() == remote.bytes) {
            fs::create_dir_all(self.repository.join("blobs")).map_err(io(&self.repository))?;
            let partial = blob.with_extension("incomplete");
            let mut part = Part::open(partial.clone(), remote.bytes).map_err(io(&partial))?;
            let path_in_url = utf8_percent_encode(&path, PATH);
            let url = format!("{}/datasets/{repository}/resolve/{revision}/{path_in_url}", self.hub.endpoint);
            if part.have < remote.bytes {
                let (file, bytes) = (path.clone(), remote.bytes);
                let part = std::cell::RefCell::new(&mut part);
                self.persist(
                    |transfer| transfer.pull(&url, remote, &mut part.borrow_mut()),
                    |transfer, why| match part.borrow().have {
                        0 => transfer.unreachable(&url, why),
                        done => HubError::Cut { file: file.clone(), done, bytes, why },
                    },
                )?;
            }
            let found = hexadecimal(part.digest);
            if found != remote.sha256 {
                fs::remove_file(&partial).map_err(io(&partial))?;
                let expected = format!("SHA-256 {}", remote.sha256);
                return Err(HubError::Wrong { file: path, expected, found: format!("SHA-256 {found}") });
            }
            part.file.sync_all().and_then(|()| fs::rename(&partial, &blob)).map_err(io(&blob))?;
        }
        self.done += remote.bytes;
        (self.tell)(&Event::Bytes { done: self.done });
        Ok(())
    }

    /// The lock that the hub's own clients take, too.
    fn lock(&self, remote: &Remote) -> Result<File> {
        let name = self.repository.file_name().unwrap_or_default();
        let folder = self.repository.with_file_name(".locks").join(name);
        let path = folder.join(format!("{}.lock", remote.sha256));
        let open = || -> io::Result<File> {
            fs::create_dir_all(&folder)?;
            File::options().create(true).append(true).open(&path)
        };
        let file = open().map_err(|problem| HubError::Io { file: path.clone(), problem })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(HubError::Busy { file: remote.name.clone(), lock: path }),
            // A file system without locks is no reason not to download.
            Err(TryLockError::Error(_)) | Ok(()) => Ok(file),
        }
    }

    /// Reads what is missing of a file, as far as it comes.
    fn pull(&mut self, url: &str, remote: &Remote, part: &mut Part) -> std::result::Result<(), Failure> {
        let before = part.have;
        let answer = self.get(url, part.have)?;
        let io = |part: &Part, problem| Failure::Final(HubError::Io { file: part.path.clone(), problem });
        if answer.status() != 206 && part.have > 0 {
            // All of it instead of the rest.
            part.restart().map_err(|problem| io(part, problem))?;
        }
        let range = answer.headers().get("content-range").and_then(|range| range.to_str().ok());
        let from = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if answer.status() == 206 && from != Some(part.have) {
            let why = format!("bytes from {} on were asked for, '{}' came", part.have, range.unwrap_or(""));
            return Err(Failure::Again { why, moved: false });
        }
        let mut body = answer.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) if part.have < remote.bytes => {
                    let why = "the connection was closed".into();
                    return Err(Failure::Again { why, moved: part.have > before });
                }
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) => {
                    return Err(Failure::Again { why: error.to_string(), moved: part.have > before });
                }
            };
            if part.have + n as u64 > remote.bytes {
                fs::remove_file(&part.path).map_err(|problem| io(part, problem))?;
                return Err(Failure::Final(HubError::Wrong {
                    file: format!("{}/{}", self.known.hub.folder, remote.name),
                    expected: format!("{} bytes", remote.bytes),
                    found: "more".into(),
                }));
            }
            part.file.write_all(&buffer[..n]).map_err(|problem| io(part, problem))?;
            part.digest.update(&buffer[..n]);
            part.have += n as u64;
            (self.tell)(&Event::Bytes { done: self.done + part.have });
        }
    }

    /// The answer to a request for `url`, from byte `from` on.
    fn get(&self, url: &str, from: u64) -> std::result::Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.hub.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let again = |why| Failure::Again { why, moved: false };
        let answer = request.call().map_err(|error| match error {
            // An address or a certificate does not get better.
            ureq::Error::BadUri(_)
            | ureq::Error::Http(_)
            | ureq::Error::InvalidProxyUrl
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_) => Failure::Final(self.unreachable(url, error.to_string())),
            // Without the 'io: ' that ureq puts before it.
            ureq::Error::Io(error) => again(error.to_string()),
            error => again(error.to_string()),
        })?;
        match answer.status().as_u16() {
            200 => Ok(answer),
            206 if from > 0 => Ok(answer),
            status @ (408 | 429 | 500..) => Err(again(format!("status {status}"))),
            status => Err(Failure::Final(HubError::Refused { url: url.into(), status })),
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

fn is_sha256(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn names() -> Vec<&'static str> {
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
