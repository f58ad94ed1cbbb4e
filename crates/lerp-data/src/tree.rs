//! Lists folders that a user names, and records what in them is not read.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use lerp_files::printable;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The largest number of names in a line about files.
const NAMED: usize = 3;
/// The deepest nesting of folders that is followed.
const DEEPEST: usize = 64;

/// What is found among the files of a dataset and not read, by reason, for reports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut(Vec<Items>);

/// Items that are not read for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Items {
    /// `file`, `picture`, `folder` or `column`.
    noun: String,
    why: String,
    count: usize,
    /// The first few names.
    names: Vec<String>,
}

impl LeftOut {
    /// Adds one item called `name`.
    pub fn add(&mut self, noun: &str, why: &str, name: &str) {
        self.add_all(noun, why, 1, [name.to_owned()]);
    }

    fn add_all(&mut self, noun: &str, why: &str, count: usize, names: impl IntoIterator<Item = String>) {
        let same = self.0.iter().position(|items| items.noun == noun && items.why == why);
        let index = same.unwrap_or_else(|| {
            self.0.push(Items { noun: noun.into(), why: why.into(), count: 0, names: Vec::new() });
            self.0.len() - 1
        });
        let items = &mut self.0[index];
        items.count += count;
        items.names.extend(names);
        items.names.truncate(NAMED);
    }

    /// Adds the items of `other`. A column that is in both counts once.
    pub fn extend(&mut self, other: &Self) {
        for Items { noun, why, count, names } in &other.0 {
            let same = |items: &&mut Items| noun == "column" && items.noun == *noun && items.why == *why;
            match self.0.iter_mut().find(same) {
                Some(items) => items.count = items.count.max(*count),
                None => self.add_all(noun, why, *count, names.iter().cloned()),
            }
        }
    }

    /// One line for each reason, such as `2 files (a.txt, b.txt): no images`.
    pub fn lines(&self) -> Vec<String> {
        let line = |Items { noun, why, count, names }: &Items| {
            let (plural, more) =
                (if *count == 1 { "" } else { "s" }, if *count > names.len() { ", ..." } else { "" });
            printable(&format!("{count} {noun}{plural} ({}{more}): {why}", names.join(", "))).into_owned()
        };
        self.0.iter().map(line).collect()
    }
}

/// A function that returns the reason why a file is not wanted, or `None` if it is.
pub(crate) type Unwanted<'a> = &'a dyn Fn(&Path) -> Option<&'static str>;

/// A folder with the wanted files in it and below it; sub-folders without such files are left out.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub path: PathBuf,
    /// Sorted by name.
    pub files: Vec<PathBuf>,
    /// Sorted by name.
    pub folders: Vec<Self>,
}

impl Folder {
    /// Reads the folder at `path` and everything below it. The result is empty if there is no such folder.
    /// Links are followed, but not in circles. What is not wanted is added to `left_out`.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be listed, except a sub-folder for which the permission is missing.
    pub fn read(path: &Path, unwanted: Unwanted, left_out: &mut LeftOut) -> Result<Self> {
        Self::below(path, path, unwanted, left_out, &mut Vec::new())
    }

    fn below(
        root: &Path,
        path: &Path,
        unwanted: Unwanted,
        left_out: &mut LeftOut,
        above: &mut Vec<PathBuf>,
    ) -> Result<Self> {
        let mut folder = Self { path: path.into(), files: Vec::new(), folders: Vec::new() };
        let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        let real = path.canonicalize().unwrap_or_else(|_| path.into());
        if above.contains(&real) {
            left_out.add("folder", "a link back to a folder that holds it", &name(path));
            return Ok(folder);
        }
        if above.len() > DEEPEST {
            left_out.add("folder", "nested too deep", &name(path));
            return Ok(folder);
        }
        above.push(real);
        let (files, folders) = list(root, path, left_out)?;
        for file in files {
            match unwanted(&file) {
                None => folder.files.push(file),
                Some(why) => left_out.add("file", why, &name(&file)),
            }
        }
        for path in folders {
            let inner = Self::below(root, &path, unwanted, left_out, above)?;
            if inner.files.is_empty() && inner.folders.is_empty() {
                left_out.add("folder", "nothing in it that is read", &name(&path));
            } else {
                folder.folders.push(inner);
            }
        }
        above.pop();
        Ok(folder)
    }

    pub fn name(&self) -> String {
        file_name(&self.path)
    }

    /// All files in the folder and below it; the files of a folder precede those of its sub-folders.
    pub fn all(&self) -> Vec<PathBuf> {
        let mut all = self.files.clone();
        all.extend(self.folders.iter().flat_map(Self::all));
        all
    }

    /// Descends into the only sub-folder while it has the same name, as unpacking an archive may leave it:
    /// `pets/pets`.
    pub fn unwrapped(mut self) -> Self {
        while self.files.is_empty()
            && self.folders.len() == 1
            && self.folders[0].name() == self.name()
            && self.folders[0].files.is_empty()
        {
            self = self.folders.remove(0);
        }
        self
    }
}

/// The files and the folders in `folder`, each sorted by name; both are empty if there is no such folder.
/// Hidden files and what is neither file nor folder are added to `left_out`, with their paths relative to
/// `root`.
///
/// # Errors
/// Returns an error if the folder cannot be listed, except if it is not `root` and the permission is missing.
pub(crate) fn list(
    root: &Path,
    folder: &Path,
    left_out: &mut LeftOut,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let bad = |problem| Error::Io { file: folder.into(), problem };
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok((Vec::new(), Vec::new()));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && folder != root => {
            left_out.add("folder", "may not be read", &name(folder));
            return Ok((Vec::new(), Vec::new()));
        }
        entries => entries.map_err(bad)?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(bad)?;
    paths.sort();
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for path in paths {
        if file_name(&path).starts_with('.') {
            left_out.add("file", "hidden", &name(&path));
            continue;
        }
        match fs::metadata(&path) {
            Ok(data) if data.is_dir() => folders.push(path),
            Ok(data) if data.is_file() => files.push(path),
            Ok(_) => left_out.add("file", "neither a file nor a folder", &name(&path)),
            Err(_) => left_out.add("file", "a link to nothing, or may not be read", &name(&path)),
        }
    }
    Ok((files, folders))
}

/// Opens the file at `path` for reading. A pipe is refused, because opening it would block.
///
/// # Errors
/// Returns an error if `path` cannot be opened, or is not a file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Links are resolved first: users link to images elsewhere, and the hub's cache consists of links.
    let path = path.canonicalize()?;
    lerp_files::open(&path).map_err(|error| error.problem)
}

/// Reads the whole file at `path`.
///
/// # Errors
/// Returns an error if `path` cannot be read, or is not a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
    io::Read::read_to_end(&mut file, &mut bytes)?;
    Ok(bytes)
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The extension of a path in lower case, without the dot; empty if there is none.
pub(crate) fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_the_first_are_named() {
        let mut left_out = LeftOut::default();
        for name in ["a", "b\n", "c", "d"] {
            left_out.add("file", "hidden", name);
        }
        let mut all = LeftOut::default();
        all.add("column", "no labels", "x");
        all.extend(&left_out);
        all.add("file", "hidden", "e");
        assert_eq!(all.lines(), ["1 column (x): no labels", r"5 files (a, b\n, c, ...): hidden"]);
    }
}
