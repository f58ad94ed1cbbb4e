//! The file `digests.json`: SHA-256 of the files of a run, so that a changed, damaged or exchanged file is not read
//! as a result.
//!
//! Two files cannot be replaced atomically together. A file's new digest is therefore first added to the list
//! beside its current digest, then the file is replaced, and the old digest is removed with the next write. If a
//! process is killed in between, the list contains the digest of the file as it is.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, RunLock, lease::Held};

/// The name of the list of digests.
pub(crate) const DIGESTS: &str = "digests.json";

/// The maximum size in bytes of the list, and of a run's record and status.
pub(crate) const SMALL: u64 = 1 << 20;

/// The maximum size in bytes of any other file of a run.
const MAX_FILE_BYTES: u64 = 1 << 34;

/// Digests of the files of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    /// Id of the run.
    run: String,
    /// Digests that each file may have, by file name, the oldest first; an empty text means that the file may be
    /// absent.
    files: BTreeMap<String, Vec<String>>,
}

impl List {
    /// Reads the list of the run in `dir`. Returns `None` if the run has no list.
    fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(DIGESTS);
        let text = match lerp_files::read_to_string(&path, SMALL) {
            Err(error) if error.is_not_found() => return Ok(None),
            text => text?,
        };
        let list = serde_json::from_str(&text);
        list.map(Some).map_err(|e| Error::bad_file(&path, format!("is damaged ({e}); {REDO}")))
    }

    fn write(&self, held: &Held) -> Result<()> {
        let path = held.dir.join(DIGESTS);
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::encoding(DIGESTS, &e))?;
        held.replace(&path, format!("{text}\n").as_bytes())
    }
}

/// Advice about a file without which a run has no results.
pub(crate) const REDO: &str = "delete the run's folder to redo it";

/// Advice about a file that reports can do without and that can be made again from the model.
pub(crate) const AGAIN: &str = "where the run still has its model, `lerp eval RUN --write` makes it again";

/// Returns the advice about a damaged file called `name`.
fn remedy(name: &str) -> &'static str {
    use crate::files::{CHECKPOINT, METRICS, MODEL, RUN, STATUS};
    match name {
        RUN | STATUS | METRICS => REDO,
        CHECKPOINT => "delete it to train this cell from the start",
        MODEL => "delete the run's folder to train it again",
        _ => AGAIN,
    }
}

/// Whether a run has the list of digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DigestList {
    /// The run has a list.
    Present,
    /// The run has no list: it was made by a version that kept none.
    Absent,
}

/// Returns whether the run `id` in `dir` has the list.
///
/// # Errors
/// If the list is damaged or belongs to another run.
pub(crate) fn digest_list(dir: &Path, id: &str) -> Result<DigestList> {
    match List::read(dir)? {
        None => Ok(DigestList::Absent),
        Some(list) if list.run == id => Ok(DigestList::Present),
        Some(list) => {
            let problem = format!("is of the run {}, not of {id}; {REDO}", list.run);
            Err(Error::bad_file(&dir.join(DIGESTS), problem))
        }
    }
}

/// Reads the file `name` of the run in `dir` and checks its digest. Returns `None` if the run has no such file. The
/// run may be written at the same time.
///
/// # Errors
/// If the file cannot be read, has another digest than the list says, or is in the list and missing.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = dir.join(name);
    let mut list = List::read(dir)?;
    loop {
        let bytes = match lerp_files::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.is_not_found() => None,
            bytes => Some(bytes?),
        };
        let Some(known) = &list else { return Ok(bytes) };
        let digests = known.files.get(name).map_or(&[][..], Vec::as_slice);
        let problem = match bytes {
            None if digests.is_empty() || digests.iter().any(String::is_empty) => return Ok(None),
            None => "is missing, though the run has written it",
            Some(bytes) if digests.contains(&lerp_files::digest(&bytes)) => return Ok(Some(bytes)),
            Some(_) if digests.is_empty() => "is not in the run's digests.json, so it is not the run's",
            Some(_) => "was changed or damaged after it was written (digests.json has another digest)",
        };
        // The list is written before the file, so the digest of a file that was replaced just now is in a newer
        // list.
        let newer = List::read(dir)?;
        if newer == list {
            return Err(Error::bad_file(&path, format!("{problem}; {}", remedy(name))));
        }
        list = newer;
    }
}

/// The files of a run whose lock this process holds.
#[derive(Debug)]
pub(crate) struct RunFiles {
    held: Arc<Held>,
    list: List,
}

impl RunFiles {
    /// Opens the folder of the run `id`, whose lock is `lock`. The files of a run without a list are accepted as
    /// they are. A missing checkpoint is removed from the list, since a user may have deleted a damaged one.
    ///
    /// # Errors
    /// If the list is damaged or belongs to another run, or a file cannot be read.
    pub fn open(lock: &RunLock, id: &str) -> Result<Self> {
        let held = lock.held();
        let dir = &held.dir;
        let adopted = digest_list(dir, id)? == DigestList::Absent;
        let empty = || List { run: id.to_owned(), files: BTreeMap::new() };
        let before = List::read(dir)?.unwrap_or_else(empty);
        let mut list = before.clone();
        for name in crate::files::LISTED {
            let now = match lerp_files::read(&dir.join(name), MAX_FILE_BYTES) {
                Err(error) if error.is_not_found() => {
                    // Any other missing file stays in the list, so that reading it is an error.
                    if *name == crate::files::CHECKPOINT {
                        list.files.remove(*name);
                    }
                    continue;
                }
                bytes => lerp_files::digest(&bytes?),
            };
            let digests = list.files.entry((*name).to_owned()).or_default();
            // A file with an unknown digest is reported when it is read.
            if adopted || digests.contains(&now) {
                *digests = vec![now];
            }
        }
        if list != before {
            list.write(&held)?;
        }
        Ok(Self { held, list })
    }

    /// Returns the path of the folder.
    pub fn dir(&self) -> &Path {
        &self.held.dir
    }

    /// Checks that no other process is known to have taken the folder over.
    ///
    /// # Errors
    /// [`Error::Lost`] if another process has.
    pub fn check(&self) -> Result<()> {
        if self.held.is_lost() { Err(self.held.lost_error()) } else { Ok(()) }
    }

    /// Replaces files in this order, each one atomically.
    ///
    /// # Errors
    /// If a file cannot be written, or another process has taken the folder over; the files before it are written
    /// then.
    pub fn write(&mut self, files: &[(&str, Vec<u8>)]) -> Result<()> {
        let digests: Vec<String> = files.iter().map(|(_, bytes)| lerp_files::digest(bytes)).collect();
        for ((name, _), digest) in files.iter().zip(&digests) {
            let known = self.list.files.entry((*name).to_owned()).or_insert_with(|| vec![String::new()]);
            if !known.contains(digest) {
                known.push(digest.clone());
            }
        }
        self.list.write(&self.held)?;
        for ((name, bytes), digest) in files.iter().zip(digests) {
            self.held.replace(&self.dir().join(name), bytes)?;
            self.list.files.insert((*name).to_owned(), vec![digest]);
        }
        Ok(())
    }

    /// Replaces a file that is to grow by appending, and is not in the list before it is [adopted](Self::adopt).
    ///
    /// # Errors
    /// If it cannot be written, or another process has taken the folder over.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.held.replace(&self.dir().join(name), bytes)
    }

    /// Accepts the current content of a file that was written by appending. Its digest is stored with the next
    /// write of the list.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn adopt(&mut self, name: &str) -> Result<()> {
        let digest = lerp_files::digest(&lerp_files::read(&self.dir().join(name), MAX_FILE_BYTES)?);
        self.list.files.insert(name.to_owned(), vec![digest]);
        Ok(())
    }

    /// Writes the list with the current digest of every file, and removes former digests.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub fn settle(&self) -> Result<()> {
        self.list.write(&self.held)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::{METRICS, STATUS};

    fn digests(dir: &Path, name: &str) -> usize {
        List::read(dir).unwrap().unwrap().files[name].len()
    }

    #[test]
    fn a_changed_file_or_one_of_another_run_is_refused() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = dirs.each_ref().map(tempfile::TempDir::path);
        for (dir, text) in [(a, "of a"), (b, "of b")] {
            let lock = RunLock::take(dir).unwrap();
            let mut files = RunFiles::open(&lock, text).unwrap();
            files.write(&[(METRICS, text.into()), (STATUS, "{}".into())]).unwrap();
            files.settle().unwrap();
        }
        assert_eq!(read(a, METRICS).unwrap().unwrap(), b"of a");
        assert_eq!(read(a, "paths.safetensors").unwrap(), None);
        fs::rename(b.join(STATUS), b.join("elsewhere")).unwrap();
        assert!(
            read(b, STATUS).unwrap_err().to_string().contains("is missing, though the run has written it")
        );
        assert!(digest_list(a, "of b").unwrap_err().to_string().contains("is of the run of a, not of of b"));
        fs::copy(b.join(METRICS), a.join(METRICS)).unwrap();
        let changed = read(a, METRICS).unwrap_err().to_string();
        assert!(
            changed.contains("was changed or damaged") && changed.contains("delete the run's folder"),
            "{changed}"
        );
        fs::write(a.join("paths.safetensors"), "strange").unwrap();
        let strange = read(a, "paths.safetensors").unwrap_err().to_string();
        assert!(strange.contains("is not in the run's digests.json"), "{strange}");
        fs::write(a.join(DIGESTS), "{").unwrap();
        assert!(read(a, STATUS).unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn a_kill_between_list_and_file_leaves_valid_files() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let lock = RunLock::take(dir).unwrap();
        let mut files = RunFiles::open(&lock, "x").unwrap();
        files.write(&[(METRICS, "one".into())]).unwrap();
        // Simulates a process that is killed after the list was written and before the file was.
        let mut list = List::read(dir).unwrap().unwrap();
        list.files.get_mut(METRICS).unwrap().push(lerp_files::digest(b"two"));
        list.write(&lock.held()).unwrap();
        assert_eq!(read(dir, METRICS).unwrap().unwrap(), b"one");
        fs::write(dir.join(METRICS), "two").unwrap();
        assert_eq!(read(dir, METRICS).unwrap().unwrap(), b"two");
        // The next process finds out which digest is the current one.
        let mut files = RunFiles::open(&lock, "x").unwrap();
        files.settle().unwrap();
        assert_eq!(digests(dir, METRICS), 1);
        files.write(&[(METRICS, "three".into())]).unwrap();
        assert_eq!((read(dir, METRICS).unwrap().unwrap(), digests(dir, METRICS)), (b"three".to_vec(), 2));
        fs::write(dir.join(METRICS), "one").unwrap();
        assert!(read(dir, METRICS).is_err());
    }

    #[test]
    fn a_run_without_a_list_gets_one() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join(METRICS), "old").unwrap();
        assert_eq!(
            (digest_list(dir, "x").unwrap(), read(dir, METRICS).unwrap().unwrap()),
            (DigestList::Absent, b"old".to_vec())
        );
        let lock = RunLock::take(dir).unwrap();
        RunFiles::open(&lock, "x").unwrap().write(&[(STATUS, "{}".into())]).unwrap();
        assert_eq!(
            (digest_list(dir, "x").unwrap(), read(dir, METRICS).unwrap().unwrap()),
            (DigestList::Present, b"old".to_vec())
        );
    }

    #[test]
    fn a_concurrent_reader_never_sees_damage() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let lock = RunLock::take(dir).unwrap();
        let mut files = RunFiles::open(&lock, "x").unwrap();
        files.write(&[(METRICS, vec![0; 100])]).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                for step in 1..=100 {
                    files.write(&[(METRICS, vec![step; 100])]).unwrap();
                }
            });
            while !writer.is_finished() {
                assert_eq!(read(dir, METRICS).unwrap().unwrap().len(), 100);
            }
        });
    }
}
