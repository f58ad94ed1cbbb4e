//! What was last read whole from files that others write: read again only when they changed, kept when they are damaged.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

/// When a file was last written, and its length; none if it is not there.
type Stamp = Option<(SystemTime, u64)>;

/// Readers at work, whose panics are a damaged file's and not ours.
static READING: AtomicUsize = AtomicUsize::new(0);

/// A value that is read from some files together.
#[derive(Debug)]
pub struct Kept<T> {
    files: Vec<PathBuf>,
    stamps: Option<Vec<Stamp>>,
    value: Option<T>,
    problem: Option<String>,
}

impl<T> Kept<T> {
    /// The value of `files`, not read yet.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, stamps: None, value: None, problem: None }
    }

    /// The last value that could be read.
    pub fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// What is wrong with the files now, in a sentence.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// When the first of its files was last written, as seconds since 1970.
    pub fn written(&self) -> Option<f64> {
        let (time, _) = (*self.stamps.as_ref()?.first()?)?;
        time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
    }

    /// Reads the value if a file changed since the last time; whether it did.
    ///
    /// Files that are not all there yet have no value. Ones that were there and went, or that cannot be read, leave the last
    /// value and a problem.
    pub fn refresh<E: std::fmt::Display>(&mut self, read: impl FnOnce() -> Result<T, E>) -> bool {
        // Stamps first: what is written while it is read is read again the next time.
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

    /// Forgets everything: the files are gone, as they should be.
    pub fn forget(&mut self) {
        (self.stamps, self.value, self.problem) = (None, None, None);
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len()))
}

/// Reads; a reader that panics over a damaged file has merely failed, without a sentence of its own.
fn guarded<T, E: std::fmt::Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, Option<String>> {
    READING.fetch_add(1, Ordering::SeqCst);
    let result = panic::catch_unwind(AssertUnwindSafe(read));
    READING.fetch_sub(1, Ordering::SeqCst);
    match result {
        Ok(result) => result.map_err(|error| Some(error.to_string())),
        Err(_) => Err(None),
    }
}

/// From now on panics of readers say nothing, and all others what they said before.
pub fn silence_readers() {
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
        let mut kept = Kept::new(vec![path.clone()]);
        assert!(kept.refresh(|| read(&path)));
        assert_eq!((kept.value(), kept.problem()), (None, None));
        fs::write(&path, "12").unwrap();
        assert!(kept.refresh(|| read(&path)));
        assert_eq!(kept.value(), Some(&12));
        assert!(!kept.refresh(|| -> Result<u32, String> { unreachable!("nothing changed") }));
        fs::write(&path, "12x").unwrap();
        kept.refresh(|| read(&path));
        assert_eq!((kept.value(), kept.problem()), (Some(&12), Some("12x is no number")));
        fs::write(&path, "worst").unwrap();
        kept.refresh(|| read(&path));
        assert!(kept.value() == Some(&12) && kept.problem().unwrap().ends_with("number is damaged"));
        fs::remove_file(&path).unwrap();
        kept.refresh(|| read(&path));
        assert!(kept.value() == Some(&12) && kept.problem().unwrap().contains("is gone"));
        fs::write(&path, "1300").unwrap();
        kept.refresh(|| read(&path));
        assert_eq!((kept.value(), kept.problem()), (Some(&1300), None));
    }
}
