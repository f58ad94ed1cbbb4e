//! What raw pixels allow: the reference beside the numbers of latents.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, set::plain};

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
        format!("pixels/{}.toml", plain(dataset))
    }

    /// Reads the reference of `dataset` in the folder of a sweep; none if it was not made.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is another dataset's.
    pub fn read(sweep: &Path, dataset: &str) -> Result<Option<Self>> {
        let path = sweep.join(Self::path(dataset));
        let bad = |problem: String| Error::bad_file(&path, problem);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(format!("cannot be read ({error})"))),
        };
        let reference: Self = toml::from_str(&text).map_err(|e| {
            bad(format!("is not a reference of raw pixels ({}); delete it to redo it", e.message()))
        })?;
        if reference.dataset != dataset {
            return Err(bad(format!("is the reference of '{}', not of '{dataset}'", reference.dataset)));
        }
        Ok(Some(reference))
    }
}
