//! Replaces files atomically.

use std::{
    fs::{self, File, TryLockError},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{Error, Result};

/// Number of hexadecimal digits in the name of a temporary file.
const DIGITS: usize = 16;

/// The age from which a temporary file is taken for abandoned if several processes may write in its folder and
/// locks cannot tell.
pub const STALE: Duration = Duration::from_mins(10);

/// The age up to which an empty temporary file is left alone: its process may not have locked it yet.
const FRESH: Duration = Duration::from_mins(1);

/// Replaces the file at `path` by `bytes`, either completely or not at all, even if the machine stops halfway.
/// If there is a link at `path`, the link itself is replaced, and its target stays unchanged.
///
/// # Errors
/// Returns an error if the file cannot be written; it then stays as it was.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use lerp_files::{Draft, Durability, read_to_string, replace};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let path = folder.join("settings.toml");
/// replace(&path, b"seed = 1")?;
/// replace(&path, b"seed = 2")?;
/// assert_eq!(read_to_string(&path, 100)?, "seed = 2");
///
/// // A larger file is written step by step, and has its name only when it is complete.
/// let path = folder.join("rows.csv");
/// let mut draft = Draft::new(&path)?;
/// writeln!(draft, "step,loss")?;
/// assert!(!path.exists());
/// draft.commit(Durability::Synced)?;
/// assert_eq!(read_to_string(&path, 100)?, "step,loss\n");
///
/// // A file that is larger than expected is not read.
/// assert!(read_to_string(&path, 5).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, Durability::Synced)
}

/// Like [`replace`], but without synchronising to disk: after a loss of power the file may be missing. For
/// files that nobody needs then.
///
/// # Errors
/// Returns an error for the reasons given at [`replace`].
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, Durability::Unsynced)
}

fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let mut draft = Draft::new(path)?;
    draft.write_all(bytes).map_err(Error::at("write", path))?;
    draft.commit(durability)
}

/// What a new file survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: content and name are synchronised to disk.
    Synced,
    /// The end of the process, but not a loss of power.
    Unsynced,
}

/// An unfinished file: a temporary file that gets its final name when it is complete, and is removed if it is
/// dropped before. Its lock tells other processes that its writer is alive.
#[derive(Debug)]
pub struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Creates a draft of the file at `path`, in the same folder. The temporary name is unpredictable, and no
    /// existing file is opened.
    ///
    /// # Errors
    /// Returns an error if the temporary file cannot be created.
    pub fn new(path: &Path) -> Result<Self> {
        Self::inside(path.parent().unwrap_or(Path::new("")), path)
    }

    /// Creates a draft of the file at `path` whose temporary file is in `folder`, on the same file system. If
    /// that folder is moved or removed, the draft cannot get its final name any more.
    ///
    /// # Errors
    /// Returns an error if the temporary file cannot be created.
    pub fn inside(folder: &Path, path: &Path) -> Result<Self> {
        let bad = Error::at("write", path);
        loop {
            let temporary = temporary(folder);
            match File::options().write(true).create_new(true).open(&temporary) {
                Err(problem) if problem.kind() == ErrorKind::AlreadyExists => {}
                Err(problem) => return Err(bad(problem)),
                Ok(file) => match file.try_lock() {
                    // Another process took the file for a leftover and has locked it to remove it.
                    Err(TryLockError::WouldBlock) => {}
                    // File systems without locks are accepted.
                    Ok(()) | Err(TryLockError::Error(_)) => {
                        return Ok(Self { file, temporary, path: path.into() });
                    }
                },
            }
        }
    }

    /// Gives the file its final name.
    ///
    /// # Errors
    /// Returns an error if that fails; a file that had this name stays unchanged then.
    pub fn commit(mut self, durability: Durability) -> Result<()> {
        let synced = durability == Durability::Synced;
        let name = || -> io::Result<()> {
            if synced {
                self.file.sync_all()?;
            }
            fs::rename(&self.temporary, &self.path)?;
            // The folder is synchronised so that the new name survives a loss of power; not every system can do
            // that.
            #[cfg(unix)]
            if synced {
                let folder =
                    self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        name().map_err(Error::at("write", &self.path))?;
        self.temporary.clear();
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Draft {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Returns an unused, unpredictable path in `folder` for a temporary file or folder; see [`is_leftover`].
pub fn temporary(folder: &Path) -> PathBuf {
    // The standard library seeds its hashers with the system's random numbers.
    let random = RandomState::new().hash_one(SystemTime::now());
    folder.join(format!(".lerp-{random:0DIGITS$x}.tmp"))
}

/// Whether `name` is that of a temporary file or folder, which stays behind if its process is killed.
pub fn is_leftover(name: &str) -> bool {
    let middle = name.strip_prefix(".lerp-").and_then(|rest| rest.strip_suffix(".tmp"));
    middle.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Removes temporary files of killed processes from `folder`. The lock of a temporary file tells whether its
/// process is alive. Where there is no lock, as for folders, those older than `age` are removed; that should be
/// [`STALE`] unless no other process writes in the folder.
pub fn remove_leftovers(folder: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if !path.file_name().and_then(|name| name.to_str()).is_some_and(is_leftover) {
            continue;
        }
        let older = |data: Option<&fs::Metadata>, least: Duration| {
            let old = data.and_then(|data| data.modified().ok()?.elapsed().ok());
            least.is_zero() || old.is_some_and(|old| old > least)
        };
        if crate::is_folder(&path) {
            if older(path.metadata().ok().as_ref(), age) {
                let _ = fs::remove_dir_all(&path);
            }
            continue;
        }
        let Ok(file) = crate::open(&path) else { continue };
        let data = file.metadata().ok();
        let left = match file.try_lock() {
            Ok(()) => {
                data.as_ref().is_some_and(|data| data.len() > 0) || older(data.as_ref(), age.min(FRESH))
            }
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => older(data.as_ref(), age),
        };
        if left {
            let _ = fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(dir.path()), ["file"]);
        fs::create_dir(dir.path().join("folder")).unwrap();
        assert!(replace(&dir.path().join("folder"), b"").is_err());
        assert!(replace(&dir.path().join("no/file"), b"").is_err());
        assert_eq!(names(dir.path()).len(), 2);
    }

    #[test]
    fn a_draft_goes_with_the_folder_that_it_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, path) = (dir.path().join("lease"), dir.path().join("file"));
        fs::create_dir(&folder).unwrap();
        let mut draft = Draft::inside(&folder, &path).unwrap();
        draft.write_all(b"one").unwrap();
        draft.commit(Durability::Synced).unwrap();
        let draft = Draft::inside(&folder, &path).unwrap();
        fs::rename(&folder, dir.path().join("taken")).unwrap();
        assert!(draft.commit(Durability::Unsynced).unwrap_err().is_not_found());
        assert!(Draft::inside(&folder, &path).unwrap_err().is_not_found());
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    #[cfg(unix)]
    fn what_a_link_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (target, path) = (dir.path().join("target"), dir.path().join("table.csv"));
        fs::write(&target, "precious").unwrap();
        for link in [path.clone(), dir.path().join("table.csv.tmp")] {
            std::os::unix::fs::symlink(&target, link).unwrap();
        }
        replace(&path, b"table").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&path).unwrap(), "table");
        assert!(!path.is_symlink());
    }

    #[test]
    fn several_write_the_same_file_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..50 {
                        replace_unsynced(path, &[writer; 1000]).unwrap();
                        let read = fs::read(path).unwrap();
                        assert!(read.len() == 1000 && read.iter().all(|byte| *byte == read[0]));
                    }
                });
            }
        });
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn only_leftovers_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let name = |i: usize| format!(".lerp-{i:016x}.tmp");
        let make = |name: &str, text: &str, old: bool| {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            let file = File::options().write(true).open(file).unwrap();
            file.set_modified(SystemTime::now() - if old { 2 * STALE } else { Duration::ZERO }).unwrap();
            file
        };
        // The files are one begun by a process that is gone, an old one, one just created and not yet locked,
        // and one of a living process.
        let (begun, old, fresh, living) = (name(1), name(2), name(3), name(4));
        make(&begun, "begun", false);
        make(&old, "", true);
        make(&fresh, "", false);
        let lock = make(&living, "begun", true);
        lock.try_lock().unwrap();
        for other in ["notes.tmp", ".lerp-notes.tmp"] {
            make(other, "", true);
        }
        let folder = dir.path().join(name(5));
        fs::create_dir(&folder).unwrap();
        let draft = Draft::new(&dir.path().join("file")).unwrap();
        remove_leftovers(dir.path(), STALE);
        assert!(folder.exists(), "somebody may be about to name it");
        let left = || {
            let mut left = names(dir.path());
            left.retain(|name| !draft.temporary.ends_with(name) && !folder.ends_with(name));
            left.sort();
            left
        };
        assert_eq!(left(), [&fresh, &living, ".lerp-notes.tmp", "notes.tmp"]);
        remove_leftovers(dir.path(), Duration::ZERO);
        assert!(!folder.exists());
        assert_eq!(left(), [&living, ".lerp-notes.tmp", "notes.tmp"]);
        assert!(draft.temporary.exists(), "it is locked");
        drop(draft);
        assert_eq!(names(dir.path()).len(), 3, "a draft without a name goes");
        assert!(is_leftover(&fresh) && !is_leftover("notes.tmp"));
    }
}
