//! A cache of opened datasets.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use lerp_data::{Dataset, Split, separate_option};

use crate::registry::Registry;

/// The images of a dataset that is read from files or made by a user's program; lines, which are drawn, have none.
#[derive(Debug, Clone)]
pub struct Images {
    /// Digest of all images.
    pub digest: String,
    /// Numbers of training and test images.
    pub counts: [usize; 2],
}

/// The datasets of one command, each of which is opened once.
pub struct DatasetCache<'a> {
    registry: &'a Registry,
    data: Option<PathBuf>,
    open: RefCell<HashMap<String, Arc<dyn Dataset>>>,
    known: RefCell<HashMap<String, Option<Images>>>,
}

impl<'a> DatasetCache<'a> {
    /// Creates an empty cache for image sets in the folder `data`, or if that is `None` in the folder of the
    /// environment variable `LERP_DATA`.
    pub fn new(registry: &'a Registry, data: Option<&Path>) -> Self {
        Self { registry, data: data.map(PathBuf::from), open: RefCell::default(), known: RefCell::default() }
    }

    /// Returns the folder of image sets that was given to [`DatasetCache::new`].
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Returns the dataset called `name`, which is opened if necessary.
    ///
    /// # Errors
    /// If there is none, or its files are absent.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Dataset>> {
        if let Some(dataset) = self.open.borrow().get(name) {
            return Ok(Arc::clone(dataset));
        }
        let dataset: Arc<dyn Dataset> = self.registry.dataset(name, self.data())?.into();
        self.open.borrow_mut().insert(name.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    /// Returns the digest of the dataset's images. Returns `None` for images that are drawn.
    ///
    /// # Errors
    /// If the dataset cannot be read.
    pub fn digest(&self, name: &str) -> Result<Option<String>> {
        Ok(self.images(name)?.map(|images| images.digest))
    }

    /// Returns the digest and the numbers of the dataset's images. Returns `None` for images that are drawn.
    ///
    /// # Errors
    /// If the dataset cannot be read.
    pub fn images(&self, name: &str) -> Result<Option<Images>> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        let dataset = self.get(name)?;
        let counts = [dataset.count(Split::Train)?.unwrap_or(0), dataset.count(Split::Test)?.unwrap_or(0)];
        let images = dataset.digest()?.map(|digest| Images { digest, counts });
        self.known.borrow_mut().insert(name.to_owned(), images.clone());
        Ok(images)
    }

    /// Closes the datasets, whose images may take gigabytes of memory. Digests and counts stay cached.
    pub fn clear(&self) {
        self.open.borrow_mut().clear();
    }
}

/// Returns the dataset name `now`, the present place of images that a record knows under the name `recorded`. The split
/// option of the recorded name, such as `?test-every=5`, is added unless `now` has an option of its own.
pub fn with_recorded_option(now: &str, recorded: &str) -> String {
    match (separate_option(recorded).option, separate_option(now).option) {
        (Some(option), None) => format!("{now}?{option}"),
        _ => now.to_owned(),
    }
}
