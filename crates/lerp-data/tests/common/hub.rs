//! A local server that answers like the hub: the list of a repository's files, a relative and an absolute
//! redirect, and ranges of bytes; it can simulate faults.

#![allow(dead_code, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const REPOSITORY: &str = "ylecun/mnist";
pub const REVISION: &str = "77f3279092a1c1579b2250db8eafed0ad422088c";
pub const TRAIN: &str = "mnist/train-00000-of-00001.parquet";
pub const TEST: &str = "mnist/test-00000-of-00001.parquet";

/// The fault that the server simulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    Nothing,
    /// The connection of the first answer with the training file breaks off in the middle.
    CutOnce,
    /// No answer contains anything beyond the middle of the training file.
    CutAlways,
    /// The bytes of the training file do not match its digest.
    WrongBytes,
    /// The list gives a size for the training file that is too small.
    TooMany,
    /// The server ignores ranges, and the connection of the first answer breaks off.
    NoRanges,
    /// The first answer for each path is status 503.
    Busy,
    /// The repository does not exist.
    Absent,
    /// The repository may not be read without a token.
    Forbidden,
    /// The list is an HTML page.
    NoList,
    /// The list is JSON of another kind.
    OtherList,
    /// The list lacks the training file.
    ShortList,
    /// The list has paths that lead out of the folder.
    BadNames,
    /// The files of the list are not in large file storage.
    NotStored,
}

/// The server, with a record of its requests.
pub struct Hub {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    fault: Fault,
    files: BTreeMap<String, Vec<u8>>,
    asked: Vec<Request>,
    cuts: usize,
}

struct Request {
    path: String,
    /// Whether this is a HEAD request.
    head: bool,
    range: Option<String>,
    token: Option<String>,
}

fn hexadecimal(digest: &[u8]) -> String {
    lerp_files::hexadecimal(digest)
}

pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The git id of the pointer that stands for a file of `bytes` bytes in large file storage.
pub fn id(sha256: &str, bytes: usize) -> String {
    let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n");
    hexadecimal(&Sha1::digest(format!("blob {}\0{text}", text.len())))
}

impl Hub {
    pub fn start(fault: Fault, files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
        let state = Arc::new(Mutex::new(State { fault, files, ..State::default() }));
        let (shared, address) = (Arc::clone(&state), endpoint.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, address) = (Arc::clone(&shared), address.clone());
                // A client that disconnects is not an error of the server.
                thread::spawn(move || serve(&stream.ok()?, &shared, &address));
            }
        });
        Self { endpoint, state }
    }

    pub fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }

    /// The ranges of all requests, except HEAD requests, for paths that contain `part`.
    pub fn asked(&self, part: &str) -> Vec<Option<String>> {
        let state = self.state.lock().unwrap();
        let requests = state.asked.iter().filter(|request| request.path.contains(part) && !request.head);
        requests.map(|request| request.range.clone()).collect()
    }

    /// The tokens of all requests for paths that contain `part`.
    pub fn tokens(&self, part: &str) -> Vec<Option<String>> {
        let state = self.state.lock().unwrap();
        let requests = state.asked.iter().filter(|request| request.path.contains(part));
        requests.map(|request| request.token.clone()).collect()
    }
}

fn list(state: &State) -> String {
    let entries: Vec<String> = state
        .files
        .iter()
        .filter(|(name, _)| state.fault != Fault::ShortList || *name != TRAIN)
        .map(|(name, bytes)| {
            let name = if state.fault == Fault::BadNames { name.replace("/t", "/../../t") } else { name.clone() };
            let size = bytes.len() - usize::from(state.fault == Fault::TooMany && name == TRAIN);
            let (digest, stored) = (sha256(bytes), if state.fault == Fault::NotStored { "" } else { "lfs" });
            format!(
                r#"{{"type":"file","oid":"{}","size":{size},"path":"{name}","{stored}":{{"oid":"{digest}","size":{size},"pointerSize":133}},"xetHash":null}}"#,
                id(&digest, size)
            )
        })
        .collect();
    format!(
        r#"[{{"type":"directory","oid":"3d","size":0,"path":"mnist"}},{{"type":"file","oid":"2e","size":9,"path":"README.md"}},{}]"#,
        entries.join(",")
    )
}

fn serve(stream: &TcpStream, state: &Mutex<State>, address: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let (method, path) = (first.split(' ').next()?, first.split(' ').nth(1)?.replace("%2B", "+"));
    let head = method == "HEAD";
    let (mut range, mut token) = (None, None);
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        match line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())) {
            Some((name, value)) if name == "range" => range = Some(value),
            Some((name, value)) if name == "authorization" => token = Some(value),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap();
    let busy = state.fault == Fault::Busy && state.asked.iter().all(|asked| asked.path != path);
    state.asked.push(Request { path: path.clone(), head, range: range.clone(), token });
    let answer = |status: &str, headers: &str, length: usize, body: &[u8]| {
        let start =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
        let body = if head { &[] } else { body };
        let mut stream = stream;
        stream.write_all(start.as_bytes()).and_then(|()| stream.write_all(body)).ok()
    };
    if busy {
        return answer("503 Service Unavailable", "", 0, b"");
    }
    if state.fault == Fault::Absent {
        return answer("404 Not Found", "x-error-code: RepoNotFound\r\n", 9, b"Not Found");
    }
    if state.fault == Fault::Forbidden {
        return answer("403 Forbidden", "x-error-code: GatedRepo\r\n", 9, b"Forbidden");
    }
    if path == format!("/api/datasets/{REPOSITORY}/tree/{REVISION}?recursive=true") {
        let list = match state.fault {
            Fault::NoList => "<html>hello</html>".into(),
            Fault::OtherList => r#"[{"type":"file","size":"large"}]"#.into(),
            _ => list(&state),
        };
        return answer("200 OK", "content-type: application/json\r\n", list.len(), list.as_bytes());
    }
    let moved =
        |to: &str| answer("302 Found", &format!("location: {to}\r\nx-repo-commit: {REVISION}\r\n"), 0, b"");
    if let Some(name) = path.strip_prefix(&format!("/datasets/{REPOSITORY}/resolve/{REVISION}/")) {
        return moved(&format!("/api/resolve-cache/{name}"));
    }
    if let Some(name) = path.strip_prefix("/api/resolve-cache/") {
        // For the client this is another host, to which it must not send the token.
        return moved(&format!("{}/storage/{name}", address.replace("127.0.0.1", "localhost")));
    }
    let name = path.strip_prefix("/storage/")?;
    let Some(bytes) = state.files.get(name).cloned() else {
        return answer("404 Not Found", "", 0, b"");
    };
    let ranged = range.filter(|_| state.fault != Fault::NoRanges);
    let (from, to): (usize, usize) = ranged.as_deref().map_or((0, bytes.len()), |range| {
        let (from, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        (from.parse().unwrap(), last.parse::<usize>().map_or(bytes.len(), |last| last + 1))
    });
    let mut body = bytes[from..to].to_vec();
    if state.fault == Fault::WrongBytes && name == TRAIN {
        *body.last_mut().unwrap() ^= 1;
    }
    let cut = name == TRAIN
        && !head
        && match state.fault {
            Fault::CutAlways => true,
            Fault::CutOnce | Fault::NoRanges => state.cuts == 0,
            _ => false,
        };
    let length = body.len();
    if cut {
        state.cuts += 1;
        body.truncate((bytes.len() / 2).saturating_sub(from));
    }
    if ranged.is_none() {
        return answer("200 OK", "", length, &body);
    }
    let headers = format!("content-range: bytes {from}-{}/{}\r\n", to - 1, bytes.len());
    answer("206 Partial Content", &headers, length, &body)
}

/// The paths of all files below `folder`, relative to it and sorted.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
