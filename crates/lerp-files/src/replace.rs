//! Files that are replaced whole.

use std::{
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{Error, Result};

/// Hexadecimal digits in the name of a temporary file.
const DIGITS: usize = 16;

/// Age at which a temporary file belongs to no process that still writes it, where several may write.
pub const STALE: Duration = Duration::from_mins(10);

/// Replaces the file at `path` by `bytes`, entirely or not at all, also if the machine stops halfway. A link at `path` is
/// replaced, too, and what it points to stays.
///
/// # Errors
/// If it cannot be written; the file is as before then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, true)
}

/// As [`replace`], but after a loss of power the file may be gone: for what nobody needs then.
///
/// # Errors
/// As [`replace`].
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, false)
}

fn write(path: &Path, bytes: &[u8], synced: bool) -> Result<()> {
    let (mut file, temporary) = temporary(path).map_err(Error::at("write", path))?;
    let mut write = || -> io::Result<()> {
        file.write_all(bytes)?;
        if synced {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        // The new name itself, too, must outlive a loss of power; not every system can sync a folder.
        #[cfg(unix)]
        if synced {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|problem| {
        let _ = fs::remove_file(&temporary);
        Error::at("write", path)(problem)
    })
}

/// A new file beside `path`. Nobody can foresee its name, and nothing that is there is opened.
fn temporary(path: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        // Keys of hashers come from the system's random numbers.
        let random = RandomState::new().hash_one(SystemTime::now());
        let temporary = path.with_file_name(format!(".lerp-{random:0DIGITS$x}.tmp"));
        match File::options().write(true).create_new(true).open(&temporary) {
            Err(problem) if problem.kind() == ErrorKind::AlreadyExists => {}
            file => return file.map(|file| (file, temporary)),
        }
    }
}

/// Whether `name` is that of a temporary file of [`replace`], which a process leaves that is killed in it.
pub fn is_leftover(name: &str) -> bool {
    let middle = name.strip_prefix(".lerp-").and_then(|rest| rest.strip_suffix(".tmp"));
    middle.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Removes from `folder` the temporary files that killed processes left: those older than `age`, which is [`STALE`] unless
/// nobody else writes there.
pub fn remove_leftovers(folder: &Path, age: Duration) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(io::Result::ok) {
        let leftover = entry.file_name().to_str().is_some_and(is_leftover);
        let old = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if leftover && (age.is_zero() || old().is_some_and(|old| old > age)) {
            let _ = fs::remove_file(entry.path());
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
    fn only_old_leftovers_of_ours_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (".lerp-0123456789abcdef.tmp", ".lerp-0123456789abcde0.tmp");
        for name in [old, new, "notes.tmp", ".lerp-notes.tmp"] {
            let file = File::create(dir.path().join(name)).unwrap();
            if name != new {
                file.set_modified(SystemTime::now() - 2 * STALE).unwrap();
            }
        }
        remove_leftovers(dir.path(), STALE);
        let mut left = names(dir.path());
        left.sort();
        assert_eq!(left, [new, ".lerp-notes.tmp", "notes.tmp"]);
        remove_leftovers(dir.path(), Duration::ZERO);
        assert_eq!(names(dir.path()).len(), 2);
        assert!(is_leftover(new) && !is_leftover("notes.tmp"));
    }
}
