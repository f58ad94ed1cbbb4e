//! A judge in the folder of a sweep: `judges/<dataset>.toml`, and its weights in a file whose name ends in their digest, so that
//! whoever reads the record finds the weights that it speaks of, also while another judge takes its place.

use std::path::{Path, PathBuf};

use candle_core::{Device, safetensors::load_buffer};
use lerp_data::Dataset;
use lerp_files::{file_stem, make_folder};
use serde::{Deserialize, Serialize};

use super::{Classifier, Judge, Target, Values};
use crate::{Error, Result};

/// The format of the record, and the recipe by which the judge was trained.
pub(super) const FORMAT: &str = "lerp judge 1";
const FOLDER: &str = "judges";
/// Bytes of a file's name without its ending.
const MOST_NAME: usize = 120;
/// Most bytes of a record, and of weights.
const MOST_RECORD: u64 = 1 << 16;
const MOST_WEIGHTS: u64 = 1 << 32;

/// What a judge is known by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeRecord {
    pub(super) format: String,
    /// Name of the dataset.
    pub dataset: String,
    /// SHA-256 of its images and labels; none where they are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the judge was trained to tell apart.
    pub target: Target,
    /// Samples that it was trained on.
    pub samples: u64,
    /// Share of test images that it tells right.
    pub accuracy: f64,
    /// Number of these.
    pub tested: usize,
    /// SHA-256 of the file of its weights: what runs that it measured know it by.
    pub weights: String,
    /// What the score says of images that no model made.
    #[serde(default)]
    pub references: Vec<Reference>,
}

/// What the score says of images that no model made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// What they are.
    pub title: String,
    /// Numbers by the keys of a run's.
    pub values: Values,
}

impl JudgeRecord {
    /// The record of the judge of `dataset` in the folder of a sweep; none if there is none.
    ///
    /// # Errors
    /// If it cannot be read, is damaged, or is another dataset's.
    pub fn read(sweep: &Path, dataset: &str) -> Result<Option<Self>> {
        let folder = sweep.join(FOLDER);
        if folder.is_symlink() {
            return Err(Error::bad_file(&folder, "is a symbolic link, which is not followed"));
        }
        let path = path(sweep, dataset);
        let text = match lerp_files::read_to_string(&path, MOST_RECORD) {
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
    /// The judge of a dataset, which records call `name` and whose images have the digest `data`, from the folder of a sweep; none
    /// if there is none that was trained on these images, and, where that is given, on so many `samples`.
    ///
    /// # Errors
    /// If its files cannot be read or are damaged.
    pub fn find(
        sweep: &Path,
        dataset: &dyn Dataset,
        (name, data): (&str, Option<&str>),
        samples: Option<u64>,
    ) -> Result<Option<Self>> {
        let Some(record) = JudgeRecord::read(sweep, name)? else { return Ok(None) };
        let target = Target::of(dataset);
        let other = record.data.as_deref() != data || record.target != target;
        if other || samples.is_some_and(|samples| samples != record.samples) {
            return Ok(None);
        }
        let path = weights(sweep, &record);
        let bytes = lerp_files::read(&path, MOST_WEIGHTS)?;
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
        Ok(Some(Self { record, network, seen: std::sync::Mutex::default() }))
    }

    /// Keeps the judge in the folder of a sweep.
    ///
    /// # Errors
    /// If its files cannot be written.
    pub fn keep(&self, sweep: &Path) -> Result<()> {
        make_folder(&sweep.join(FOLDER))?;
        let dataset = &self.record.dataset;
        let path = path(sweep, dataset);
        // First what the record speaks of.
        lerp_files::replace(&weights(sweep, &self.record), &packed(&self.network)?)?;
        let record = toml::to_string(&self.record)
            .map_err(|error| Error::bad_file(&path, format!("cannot be made: {error}")))?;
        Ok(lerp_files::replace(&path, record.as_bytes())?)
    }
}

/// Where a judge's record is.
fn path(sweep: &Path, dataset: &str) -> PathBuf {
    sweep.join(FOLDER).join(format!("{}.toml", file_stem(dataset, MOST_NAME)))
}

/// Where the weights are that a record speaks of.
fn weights(sweep: &Path, record: &JudgeRecord) -> PathBuf {
    let digest: String = record.weights.chars().filter(char::is_ascii_hexdigit).take(12).collect();
    let stem = file_stem(&record.dataset, MOST_NAME);
    sweep.join(FOLDER).join(format!("{stem}-{digest}.safetensors"))
}

/// The weights as a file.
pub(super) fn packed(network: &Classifier) -> Result<Vec<u8>> {
    let tensors: Vec<_> =
        network.store.params().iter().map(|p| (p.name.as_str(), p.var.as_tensor().clone())).collect();
    crate::tensors::pack("judge.safetensors", tensors)
}
