//! Datasets by name, each opened once.

use std::{
    cell::RefCell,
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use lerp_data::{Dataset, Part};

use crate::registry::Registry;

/// The digest of a dataset's images, and how many there are to train and test on.
pub type Images = (String, [usize; 2]);

/// The datasets of a command, found in one folder.
pub struct Shelf<'a> {
    registry: &'a Registry,
    data: Option<PathBuf>,
    open: RefCell<HashMap<String, Arc<dyn Dataset>>>,
    known: RefCell<HashMap<String, Option<Images>>>,
}

impl<'a> Shelf<'a> {
    /// A shelf of what is in the folder `data`, or in that of the environment.
    pub fn new(registry: &'a Registry, data: Option<&Path>) -> Self {
        Self { registry, data: data.map(PathBuf::from), open: RefCell::default(), known: RefCell::default() }
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
        let dataset: Arc<dyn Dataset> = self.registry.dataset(name, self.data())?.into();
        self.open.borrow_mut().insert(name.to_owned(), Arc::clone(&dataset));
        Ok(dataset)
    }

    /// The digest of the dataset's images, if it has any.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn digest(&self, name: &str) -> Result<Option<String>> {
        Ok(self.images(name)?.map(|(digest, _)| digest))
    }

    /// The digest of the dataset's images and how many there are to train and test on; none of images that are drawn.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn images(&self, name: &str) -> Result<Option<Images>> {
        if let Some(known) = self.known.borrow().get(name) {
            return Ok(known.clone());
        }
        let dataset = self.get(name)?;
        let counts = [dataset.count(Part::Train)?.unwrap_or(0), dataset.count(Part::Test)?.unwrap_or(0)];
        let images = dataset.digest()?.map(|digest| (digest, counts));
        self.known.borrow_mut().insert(name.to_owned(), images.clone());
        Ok(images)
    }

    /// Closes the datasets, whose images may take gigabytes; what is known of them stays.
    pub fn clear(&self) {
        self.open.borrow_mut().clear();
    }
}
