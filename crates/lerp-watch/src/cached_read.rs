//! A cached value read from files that other processes write. It is read again only when the files have changed, and
//! kept when they become damaged.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

/// Modification time and length of a file; `None` if the file does not exist.
type Stamp = Option<(SystemTime, u64)>;

/// Number of readers at work. Their panics are caused by damaged files and are not printed.
static READING: AtomicUsize = AtomicUsize::new(0);

/// A value that is read from one or several files together.
#[derive(Debug)]
pub struct CachedRead<T> {
    files: Vec<PathBuf>,
    stamps: Option<Vec<Stamp>>,
    value: Option<T>,
    problem: Option<String>,
}

impl<T> CachedRead<T> {
    /// Creates an empty cache for a value in `files`, without reading them.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, stamps: None, value: None, problem: None }
    }

    /// Returns the last value that could be read.
    pub fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Returns a sentence about what is wrong with the files at present.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Returns the modification time of the first of the files, in seconds since 1970.
    pub fn modified(&self) -> Option<f64> {
        let (time, _) = (*self.stamps.as_ref()?.first()?)?;
        time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
    }

    /// Calls `read` if a file has changed since the last call. Returns whether one has.
    ///
    /// While a file does not exist yet, there is no value. If a file disappears or cannot be read, the last value is
    /// kept and a problem is noted.
    pub fn refresh<E: std::fmt::Display>(&mut self, read: impl FnOnce() -> Result<T, E>) -> bool {
        // The stamps are taken before reading, so that a file that changes during the reading is read again the next
        // time.
        let stamps: Vec<Stamp> = self.files.iter().map(|file| stamp(file)).collect();
        if self.stamps.as_ref() == Some(&stamps) {
            return false;
        }
        let absent = stamps.iter().position(Option::is_none);
        self.stamps = Some(stamps);
        if let Some(absent) = absent {
            self.problem = self
                .value
                .is_some()
                .then(|| format!("{} is gone; this is what it last said", self.files[absent].display()));
            return true;
        }
        match guarded(read) {
            Ok(value) => (self.value, self.problem) = (Some(value), None),
            Err(problem) => {
                self.problem = Some(match problem {
                    Some(problem) => problem,
                    None => format!("{} is damaged", self.files[0].display()),
                });
            }
        }
        true
    }

    /// Discards the value, because the files were deleted as expected.
    pub fn clear(&mut self) {
        (self.stamps, self.value, self.problem) = (None, None, None);
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len()))
}

/// Calls `read` and turns a panic, which a damaged file can cause, into an error without a message (`Err(None)`).
fn guarded<T, E: std::fmt::Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, Option<String>> {
    READING.fetch_add(1, Ordering::SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    READING.fetch_sub(1, Ordering::SeqCst);
    match result {
        Ok(result) => result.map_err(|error| Some(error.to_string())),
        Err(_) => Err(None),
    }
}

/// Installs a panic hook that prints nothing for panics of readers and calls the previous hook for all others.
pub fn silence_panics_of_readers() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if READING.load(Ordering::SeqCst) == 0 {
            before(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<u32, String> {
        let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
        assert!(text != "worst", "a reader that trusts its file");
        text.parse().map_err(|_| format!("{text} is no number"))
    }

    #[test]
    fn the_last_good_value_outlives_damage_and_is_read_only_when_the_file_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let mut number = CachedRead::new(vec![path.clone()]);
        assert!(number.refresh(|| read(&path)));
        assert_eq!((number.value(), number.problem()), (None, None));
        fs::write(&path, "12").unwrap();
        assert!(number.refresh(|| read(&path)));
        assert_eq!(number.value(), Some(&12));
        assert!(!number.refresh(|| -> Result<u32, String> { unreachable!("nothing changed") }));
        fs::write(&path, "12x").unwrap();
        number.refresh(|| read(&path));
        assert_eq!((number.value(), number.problem()), (Some(&12), Some("12x is no number")));
        fs::write(&path, "worst").unwrap();
        number.refresh(|| read(&path));
        assert!(number.value() == Some(&12) && number.problem().unwrap().ends_with("number is damaged"));
        fs::remove_file(&path).unwrap();
        number.refresh(|| read(&path));
        assert!(number.value() == Some(&12) && number.problem().unwrap().contains("is gone"));
        fs::write(&path, "1300").unwrap();
        number.refresh(|| read(&path));
        assert_eq!((number.value(), number.problem()), (Some(&1300), None));
    }
}
