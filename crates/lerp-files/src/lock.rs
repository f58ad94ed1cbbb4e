//! File locks.

use std::{
    fs::{File, TryLockError},
    io::ErrorKind,
    path::Path,
};

use crate::{Error, Result, plain, read};

/// An exclusive file lock, held until this value is dropped or the process ends for any reason.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The result of an attempt to take a lock.
#[derive(Debug)]
pub enum Locked {
    /// This process holds the lock now.
    Ours(Lock),
    /// Another process holds the lock.
    Busy,
    /// The file system does not support locks, for example Lustre without the mount option `flock`.
    Unsupported,
}

impl Lock {
    /// Tries to take the lock at `path` without waiting. The file is created if it does not exist. Its content
    /// is never changed, because a file with the name of a lock may be something else.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created or locked, or is not a plain file.
    pub fn take(path: &Path) -> Result<Locked> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = plain::open_with(options, path).map_err(Error::at("lock", path))?;
        match file.try_lock() {
            Ok(()) => Ok(Locked::Ours(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(Locked::Busy),
            Err(TryLockError::Error(problem)) if is_unsupported(&problem) => Ok(Locked::Unsupported),
            Err(TryLockError::Error(problem)) => Err(Error::at("lock", path)(problem)),
        }
    }

    /// Whether the file at `path` is an empty plain file, as lock files are.
    pub fn looks_like_one(path: &Path) -> bool {
        read(path, 0).is_ok()
    }
}

/// Whether a file system has no locks, or none now, as NFS without its daemon.
fn is_unsupported(problem: &std::io::Error) -> bool {
    #[cfg(unix)]
    if problem.raw_os_error() == Some(libc::ENOLCK) {
        return true;
    }
    problem.kind() == ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_exclusive_and_its_file_stays_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        std::fs::write(&path, "precious").unwrap();
        let Locked::Ours(lock) = Lock::take(&path).unwrap() else { panic!("nobody else has it") };
        assert!(matches!(Lock::take(&path).unwrap(), Locked::Busy));
        drop(lock);
        assert!(matches!(Lock::take(&path).unwrap(), Locked::Ours(_)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert!(!Lock::looks_like_one(&path));
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (target, path) = (dir.path().join("target"), dir.path().join(".lock"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(Lock::take(&path).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    }
}
