//! Datasets by name, each opened once.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use lerp_data::Dataset;

/// The datasets of a command, found in one folder.
#[derive(Default)]
pub struct Shelf {
    data: Option<PathBuf>,
    open: RefCell<HashMap<String, Arc<dyn Dataset>>>,
    digests: RefCell<HashMap<String, Option<String>>>,
}

impl Shelf {
    /// A shelf of what is in the folder `data`, or in that of the environment.
    pub fn new(data: Option<&Path>) -> Self {
        Self { data: data.map(PathBuf::from), ..Self::default() }
    }

    /// The folder it was given.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The dataset called `name`.
    ///
    /// # Errors
    /// If there is none, or its files are not here.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Dataset>> {
        if let Some(dataset) = self.open.borrow().get(name) {
            return Ok(Arc::clone(dataset));
        }
        let dataset: Arc<dyn Dataset> = lerp_data::dataset(name, self.data())?.into();
        self.open.borrow_mut().insert(name.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    /// The digest of the dataset's images, if it has any.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn digest(&self, name: &str) -> Result<Option<String>> {
        if let Some(digest) = self.digests.borrow().get(name) {
            return Ok(digest.clone());
        }
        let digest = self.get(name)?.digest()?;
        self.digests.borrow_mut().insert(name.to_owned(), digest.clone());
        Ok(digest)
    }

    /// Closes the datasets, whose images may take gigabytes; digests stay.
    pub fn clear(&self) {
        self.open.borrow_mut().clear();
    }
}
