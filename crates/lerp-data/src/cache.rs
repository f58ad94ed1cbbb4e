//! Finds image sets in the cache that all clients of the Hugging Face hub share. Looking there needs no client.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    Error, ImageSet, Result,
    find::{Files, Known, parquet},
    tree::file_name,
};

/// The location of an image set on the hub: a repository at a fixed commit, whose content cannot change, and
/// the files of it that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubSource {
    /// The dataset repository, such as `ylecun/mnist`.
    pub repository: &'static str,
    /// The commit, as its full hexadecimal hash.
    pub revision: &'static str,
    /// The folder in the repository that holds the parquet files.
    pub folder: &'static str,
    /// The dataset splits that are read, such as `train`. A file belongs to the split with which its name begins.
    pub splits: &'static [&'static str],
}

impl HubSource {
    /// Returns the names of the files that are missing from `names`; the list is empty if nothing is missing.
    /// The files of a split are named `split-00000-of-00002.parquet` and so on.
    pub(crate) fn missing(&self, names: &[String]) -> Vec<String> {
        let mut missing = Vec::new();
        for split in self.splits {
            let of = names
                .iter()
                .filter(|name| is_of_split(name, split))
                .find_map(|name| name.strip_suffix(".parquet")?.rsplit_once("-of-")?.1.parse::<usize>().ok());
            match of {
                None => missing.push(format!("{split}-*.parquet")),
                Some(n) => missing.extend(
                    (0..n.min(MAX_FILES))
                        .map(|i| format!("{split}-{i:05}-of-{n:05}.parquet"))
                        .filter(|name| !names.contains(name)),
                ),
            }
        }
        missing
    }

    /// Whether the file called `name` belongs to one of the splits that are read.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.splits.iter().any(|split| is_of_split(name, split))
    }
}

fn is_of_split(name: &str, split: &str) -> bool {
    name.ends_with(".parquet") && name.strip_prefix(split).is_some_and(|rest| rest.starts_with('-'))
}

/// The largest number of files per split that is believed: a file name may claim any number after `-of-`.
const MAX_FILES: usize = 1000;

/// The download cache of the Hugging Face hub's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    folder: Option<PathBuf>,
}

impl HubCache {
    /// The cache in `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()) }
    }

    /// The user's cache, found by the rules that all clients of the hub follow: the environment variable
    /// `HF_HUB_CACHE`, or else the folder `hub` in `HF_HOME`, in `huggingface` in `XDG_CACHE_HOME`, or in
    /// `.cache/huggingface` in the home folder. A `~` at the beginning of a path stands for the home folder.
    pub fn from_env() -> Self {
        let variable = |name| {
            let value = env::var_os(name).filter(|value| !value.is_empty());
            value.map(|value| with_home(PathBuf::from(value), env::home_dir()))
        };
        let cache = || {
            let caches = variable("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")))?;
            Some(caches.join("huggingface"))
        };
        let folder = variable("HF_HUB_CACHE")
            .or_else(|| Some(variable("HF_HOME").or_else(cache)?.join("hub")))
            .filter(|folder| !folder.as_os_str().is_empty());
        Self { folder }
    }

    /// The folder of the cache. Returns `None` if no variable names one and there is no home folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The cache folder of the repository of `source`.
    pub(crate) fn repository(&self, source: &HubSource) -> Option<PathBuf> {
        let name = format!("datasets--{}", source.repository.replace('/', "--"));
        Some(self.folder.as_ref()?.join(name))
    }

    /// The cache folder that holds the image set's files.
    pub(crate) fn folder_of(&self, source: &HubSource) -> Option<PathBuf> {
        Some(self.repository(source)?.join("snapshots").join(source.revision).join(source.folder))
    }

    /// The names of the files in the image set's cache folder, without dangling links.
    pub(crate) fn names(&self, source: &HubSource) -> Vec<String> {
        let Some(entries) = self.folder_of(source).and_then(|folder| fs::read_dir(folder).ok()) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| path.is_file()).map(|path| file_name(&path)).collect()
    }

    /// Finds the files of one of the paper's image sets. Returns `None` if the cache has none of them.
    ///
    /// # Errors
    /// Returns an error if the cache has only some of the files.
    pub(crate) fn find(&self, known: &'static Known) -> Result<Option<Files>> {
        let names = self.names(&known.hub);
        let Some(folder) =
            self.folder_of(&known.hub).filter(|_| names.iter().any(|name| known.hub.wants(name)))
        else {
            return Ok(None);
        };
        let missing = known.hub.missing(&names);
        if let Some(first) = missing.first() {
            return Err(Error::Incomplete {
                name: known.name,
                folder,
                first: first.clone(),
                n: missing.len(),
            });
        }
        let found = parquet(&folder)?;
        Ok(found.map(|files| Files { hub: Some(&known.hub), ..files }))
    }
}

/// Replaces a leading `~` in `path` by the home folder, as the hub's Python clients do for their environment
/// variables.
fn with_home(path: PathBuf, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(inside), Some(home)) if inside.as_os_str().is_empty() => home,
        (Ok(inside), Some(home)) => home.join(inside),
        _ => path,
    }
}

impl ImageSet {
    /// The folder that holds the image set's files.
    pub fn folder(&self) -> &Path {
        &self.files().folder
    }

    /// The location on the hub. Returns `None` if the files were not found in the hub's cache.
    pub fn hub(&self) -> Option<HubSource> {
        self.files().hub.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_folder() {
        let of = |path: &str| with_home(path.into(), Some("/home/me".into()));
        assert_eq!(of("~/x/y"), Path::new("/home/me/x/y"));
        assert_eq!(of("~"), Path::new("/home/me"));
        assert_eq!(of("/a/~/b"), Path::new("/a/~/b"));
        assert_eq!(of("~other/x"), Path::new("~other/x"));
    }
}
