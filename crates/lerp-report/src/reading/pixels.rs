//! The raw-pixel reference: accuracies of a classifier and of clusters on the images themselves, to compare latents
//! with.

use std::path::Path;

use lerp_files::file_stem;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The folder of all references within a sweep.
const FOLDER: &str = "pixels";

/// The most bytes of a file name without its ending.
const MAX_NAME_BYTES: usize = 120;

/// The most bytes of a file.
const MAX_FILE_BYTES: u64 = 1 << 16;

/// The content of `pixels/<dataset>.toml` in a sweep: how well a single-layer classifier and k-means do on raw pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PixelReference {
    /// The name of the dataset.
    pub dataset: String,
    /// The SHA-256 digest of the images and labels.
    pub data: String,
    /// The test accuracy of a single-layer classifier fitted to convergence, from 0 to 1.
    pub probe_accuracy: f64,
    /// The classifier's accuracy on the training images, from 0 to 1.
    pub probe_train_accuracy: f64,
    /// The number of iterations of the fit.
    pub probe_iterations: f64,
    /// Whether the fit converged.
    pub probe_converged: bool,
    /// The number of test images.
    pub test_images: f64,
    /// The number of training images.
    pub train_images: f64,
    /// The accuracy of clusters on the test images, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_accuracy: Option<f64>,
    /// The normalised mutual information of clusters and classes of the test images, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_information: Option<f64>,
    /// The number of k-means restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_restarts: Option<f64>,
}

impl PixelReference {
    /// Returns the path of the reference of `dataset`, relative to the sweep's folder.
    pub fn path(dataset: &str) -> String {
        format!("{FOLDER}/{}.toml", file_stem(dataset, MAX_NAME_BYTES))
    }

    /// Returns the path that earlier versions used, which several datasets could share.
    fn old_path(dataset: &str) -> String {
        let skipped = dataset.chars().count().saturating_sub(MAX_NAME_BYTES);
        let plain = |c: char| if c.is_alphanumeric() || "._".contains(c) { c } else { '-' };
        format!("{FOLDER}/{}.toml", dataset.chars().skip(skipped).map(plain).collect::<String>())
    }

    /// Reads the reference of `dataset` from the folder of a sweep, or returns `None` if it was not made.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is damaged, or belongs to another dataset.
    pub fn read(sweep: &Path, dataset: &str) -> Result<Option<Self>> {
        let folder = sweep.join(FOLDER);
        if folder.is_symlink() {
            return Err(Error::bad_file(&folder, "is a symbolic link, which is not followed".into()));
        }
        let (new, old) = (sweep.join(Self::path(dataset)), sweep.join(Self::old_path(dataset)));
        match Self::read_file(&new)? {
            Some(found) if found.dataset == dataset => Ok(Some(found)),
            Some(found) => {
                let problem =
                    format!("is the reference of '{}', not of '{dataset}'; delete it", found.dataset);
                Err(Error::bad_file(&new, problem))
            }
            None => {
                let found = Self::read_file(&old).ok().flatten();
                Ok(found.filter(|found| found.dataset == dataset))
            }
        }
    }

    /// Reads a reference, or returns `None` if the file does not exist.
    fn read_file(path: &Path) -> Result<Option<Self>> {
        let text = match lerp_files::read_to_string(path, MAX_FILE_BYTES) {
            Err(error) if error.is_not_found() => return Ok(None),
            text => text?,
        };
        toml::from_str(&text).map(Some).map_err(|e| {
            let problem = format!("is not a reference of raw pixels ({}); delete it to redo it", e.message());
            Error::bad_file(path, problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_with_similar_names_have_files_of_their_own_and_old_files_are_still_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        let reference = |dataset: &str| PixelReference {
            dataset: dataset.into(),
            data: "abc".into(),
            probe_accuracy: 0.5,
            probe_train_accuracy: 0.5,
            probe_iterations: 10.0,
            probe_converged: true,
            test_images: 10.0,
            train_images: 10.0,
            cluster_accuracy: None,
            cluster_information: None,
            cluster_restarts: None,
        };
        let write = |path: String, dataset: &str| {
            std::fs::write(dir.path().join(path), toml::to_string(&reference(dataset)).unwrap()).unwrap();
        };
        let (spaced, dashed) = ("images:4/my pets", "images:4/my-pets");
        assert_eq!(PixelReference::path("mnist"), "pixels/mnist.toml");
        assert_eq!(PixelReference::old_path(spaced), PixelReference::old_path(dashed));
        write(PixelReference::old_path(spaced), spaced);
        let read =
            |dataset: &str| PixelReference::read(dir.path(), dataset).unwrap().map(|found| found.dataset);
        assert_eq!((read(spaced), read(dashed)), (Some(spaced.into()), None));
        write(PixelReference::path(dashed), dashed);
        assert_eq!((read(spaced), read(dashed)), (Some(spaced.into()), Some(dashed.into())));
        write(PixelReference::path(dashed), spaced);
        assert!(
            PixelReference::read(dir.path(), dashed).unwrap_err().to_string().contains("is the reference of")
        );
    }
}
