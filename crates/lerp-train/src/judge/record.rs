//! Reading and writing a judge in the folder of a sweep: its record `judges/<dataset>.toml`, and its weights in a
//! file whose name contains the beginning of their digest. Whoever reads a record therefore finds the weights that
//! belong to it, even while another judge replaces it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::{Device, safetensors::load_buffer};
use lerp_data::Dataset;
use lerp_files::{file_stem, make_folder};
use serde::{Deserialize, Serialize};

use super::{Classifier, DatasetIdentity, Judge, JudgeTarget};
use crate::{Error, Result};

/// The format of the record; it also identifies the recipe by which the judge was trained.
pub(super) const FORMAT: &str = "lerp judge 1";
const FOLDER: &str = "judges";
/// The maximum number of bytes of a file name without its extension.
const MAX_NAME: usize = 120;
/// The maximum size in bytes of a record and of a file of weights.
const MAX_RECORD: u64 = 1 << 16;
const MAX_WEIGHTS: u64 = 1 << 32;

/// The record of a judge: what it was trained on, how accurate it is, and its reference scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeRecord {
    pub(super) format: String,
    /// Name of the dataset.
    pub dataset: String,
    /// SHA-256 of the dataset's images and labels; `None` for a generated dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the judge was trained to distinguish.
    pub target: JudgeTarget,
    /// Number of training samples.
    pub samples: u64,
    /// Accuracy on test images, from 0 to 1.
    pub accuracy: f64,
    /// Number of test images behind [`JudgeRecord::accuracy`].
    pub tested: usize,
    /// SHA-256 of the file of weights; runs name the judge that measured them by it.
    pub weights: String,
    /// Scores of images that no model made, as reference points.
    #[serde(default)]
    pub references: Vec<ReferenceScores>,
}

/// The scores of one set of images that no model made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReferenceScores {
    /// What the images are, such as `test images`.
    pub title: String,
    /// Scores, by the same keys as those of a run.
    pub values: BTreeMap<String, f64>,
}

impl JudgeRecord {
    /// Reads the record of the judge of `dataset` from the folder of a sweep. Returns `None` if there is no such
    /// record.
    ///
    /// # Errors
    /// If the record cannot be read, is damaged, or belongs to another dataset.
    pub fn read(sweep: &Path, dataset: &str) -> Result<Option<Self>> {
        let folder = sweep.join(FOLDER);
        if folder.is_symlink() {
            return Err(Error::bad_file(&folder, "is a symbolic link, which is not followed"));
        }
        let path = path(sweep, dataset);
        let text = match lerp_files::read_to_string(&path, MAX_RECORD) {
            Err(error) if error.is_not_found() => return Ok(None),
            text => text?,
        };
        let bad = |problem: String| Error::bad_file(&path, format!("{problem}; delete it"));
        let record: Self = toml::from_str(&text)
            .map_err(|error| bad(format!("is not the record of a judge ({})", error.message())))?;
        if record.format != FORMAT {
            return Err(bad(format!("is of another version ('{}')", record.format)));
        }
        if record.dataset != dataset {
            return Err(bad(format!("is the judge of '{}', not of '{dataset}'", record.dataset)));
        }
        Ok(Some(record))
    }
}

impl Judge {
    /// Loads the judge of a dataset from the folder of a sweep. Returns `None` if no judge was trained on these images,
    /// or if `samples` is given and the judge was trained on another number of samples.
    ///
    /// # Errors
    /// If the judge's files cannot be read or are damaged.
    pub fn find(
        sweep: &Path,
        dataset: &dyn Dataset,
        identity: DatasetIdentity,
        samples: Option<u64>,
    ) -> Result<Option<Self>> {
        let Some(record) = JudgeRecord::read(sweep, identity.name)? else { return Ok(None) };
        let target = JudgeTarget::of(dataset);
        let other = record.data.as_deref() != identity.digest || record.target != target;
        if other || samples.is_some_and(|samples| samples != record.samples) {
            return Ok(None);
        }
        let path = weights(sweep, &record);
        let bytes = lerp_files::read(&path, MAX_WEIGHTS)?;
        let damaged = |why: &str| {
            Error::bad_file(&path, format!("is damaged ({why}); delete it and the record beside it"))
        };
        if lerp_files::digest(&bytes) != record.weights {
            return Err(damaged("the record has another digest"));
        }
        let network = Classifier::new(dataset.image(), target.classes(dataset))?;
        let tensors = load_buffer(&bytes, &Device::Cpu)?;
        for param in network.store.params() {
            let tensor = tensors.get(&param.name).ok_or_else(|| damaged(&format!("no '{}'", param.name)))?;
            network.store.set(&param.name, tensor)?;
        }
        Ok(Some(Self { record, network, comparison: std::sync::Mutex::default() }))
    }

    /// Writes the judge into the folder of a sweep.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn save(&self, sweep: &Path) -> Result<()> {
        make_folder(&sweep.join(FOLDER))?;
        let dataset = &self.record.dataset;
        let path = path(sweep, dataset);
        // The weights go first, so that a record never names weights that do not exist.
        lerp_files::replace(&weights(sweep, &self.record), &packed(&self.network)?)?;
        let record = toml::to_string(&self.record)
            .map_err(|error| Error::encoding(&path.to_string_lossy(), &error))?;
        Ok(lerp_files::replace(&path, record.as_bytes())?)
    }
}

/// Returns the path of a judge's record.
fn path(sweep: &Path, dataset: &str) -> PathBuf {
    sweep.join(FOLDER).join(format!("{}.toml", file_stem(dataset, MAX_NAME)))
}

/// Returns the path of the weights that belong to a record.
fn weights(sweep: &Path, record: &JudgeRecord) -> PathBuf {
    let digest: String = record.weights.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    let stem = file_stem(&record.dataset, MAX_NAME);
    sweep.join(FOLDER).join(format!("{stem}-{digest}.safetensors"))
}

/// Returns the weights as the bytes of a safetensors file.
pub(super) fn packed(network: &Classifier) -> Result<Vec<u8>> {
    let tensors: Vec<_> =
        network.store.params().iter().map(|p| (p.name.as_str(), p.var.as_tensor().clone())).collect();
    crate::tensors::pack("judge.safetensors", tensors)
}
