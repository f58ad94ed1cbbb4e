//! What raw pixels allow: the reference beside the numbers of latents.

use std::path::Path;

use lerp_files::file_stem;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The folder of all references.
const FOLDER: &str = "pixels";

/// Bytes of a file's name without its ending.
const MOST_NAME: usize = 120;

/// Most bytes of a file.
const MOST_BYTES: u64 = 1 << 16;

/// `pixels/<dataset>.toml` of a sweep: a single-layer classifier and clusters of the images themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PixelReference {
    /// Name of the dataset.
    pub dataset: String,
    /// SHA-256 of the images and labels.
    pub data: String,
    /// Test accuracy of a single-layer classifier fitted to convergence.
    pub probe_accuracy: f64,
    /// Its accuracy on the training images.
    pub probe_train_accuracy: f64,
    /// Iterations of the fit.
    pub probe_iterations: f64,
    /// Whether the fit converged.
    pub probe_converged: bool,
    /// Number of test images.
    pub test_images: f64,
    /// Number of training images.
    pub train_images: f64,
    /// Accuracy of clusters on the test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_accuracy: Option<f64>,
    /// Normalised mutual information of clusters and classes of the test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_information: Option<f64>,
    /// Restarts of k-means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_restarts: Option<f64>,
}

impl PixelReference {
    /// Where a sweep keeps the reference of `dataset`, from its folder on.
    pub fn path(dataset: &str) -> String {
        format!("{FOLDER}/{}.toml", file_stem(dataset, MOST_NAME))
    }

    /// Where earlier versions kept it, under a name that several datasets could have.
    fn old_path(dataset: &str) -> String {
        let skipped = dataset.chars().count().saturating_sub(MOST_NAME);
        let plain = |c: char| if c.is_alphanumeric() || "._".contains(c) { c } else { '-' };
        format!("{FOLDER}/{}.toml", dataset.chars().skip(skipped).map(plain).collect::<String>())
    }

    /// Reads the reference of `dataset` in the folder of a sweep; none if it was not made.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is another dataset's.
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

    /// Reads a reference; none if there is no such file.
    fn read_file(path: &Path) -> Result<Option<Self>> {
        let text = match lerp_files::read_to_string(path, MOST_BYTES) {
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
