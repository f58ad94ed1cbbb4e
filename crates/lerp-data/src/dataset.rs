//! What a trainer asks of a dataset.

use std::{ops::Range, path::Path};

use candle_core::{DType, Device, Tensor};
use lerp_core::{Draws, ImageShape, Network};

use crate::{Error, HubCache, ImageSet, Lines, Result};

/// The names that [`dataset`] knows; the user's own images have names such as `images:DIR` besides.
pub const DATASETS: &[&str] = &[Lines::NAME, "mnist", "svhn", "cifar10", "celeba"];

/// Images and their classes.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Images `[batch, height, width, channels]`, `f32` in `[-1, 1]` (CelebA's overshoot a little, as the paper's).
    pub images: Tensor,
    /// Classes `[batch]`, `u32` below [`Dataset::classes`]; `None` where the images have none.
    pub labels: Option<Tensor>,
}

impl Batch {
    /// The classes `[batch]`.
    ///
    /// # Errors
    /// If the images have none.
    pub fn labels(&self) -> Result<&Tensor> {
        self.labels.as_ref().ok_or(Error::NoLabels)
    }
}

impl Batch {
    /// Checks that `size` images of `dataset`, whoever wrote it, are what it says.
    ///
    /// # Errors
    /// If their shape or type is another, labels are missing, or one is no class of the dataset's.
    pub fn check(&self, dataset: &dyn Dataset, size: usize) -> Result<()> {
        let wrong =
            |expected: String, found: String| Error::Tensors { name: dataset.name().into(), expected, found };
        let ImageShape { height, width, channels } = dataset.image();
        let wanted = [size, height, width, channels];
        if self.images.dims() != wanted || self.images.dtype() != DType::F32 {
            let found = format!("{:?} of {:?}", self.images.dims(), self.images.dtype());
            return Err(wrong(format!("images {wanted:?} of F32"), found));
        }
        let classes = dataset.classes();
        let Some(labels) = self.labels.as_ref().filter(|_| classes > 0) else {
            return if classes == 0 { Ok(()) } else { Err(wrong("labels".into(), "none".into())) };
        };
        if labels.dims() != [size] || labels.dtype() != DType::U32 {
            let found = format!("{:?} of {:?}", labels.dims(), labels.dtype());
            return Err(wrong(format!("labels [{size}] of U32"), found));
        }
        match labels.to_vec1::<u32>()?.into_iter().find(|label| *label as usize >= classes) {
            Some(label) => Err(wrong(format!("labels below {classes}"), format!("label {label}"))),
            None => Ok(()),
        }
    }
}

/// A source of images.
///
/// A batch is a pure function of the draws it is given, so a dataset keeps no position and a run can resume at any
/// step. The draws come in at the step and in the scope of their use; a dataset adds neither.
pub trait Dataset: Send + Sync {
    /// Name on the command line and in files, such as `lines`.
    fn name(&self) -> &str;

    /// Name in tables and figures, such as `Lines`.
    fn title(&self) -> &str;

    /// Shape of the images.
    fn image(&self) -> ImageShape;

    /// The encoder and decoder that the paper's protocol uses on it.
    fn network(&self) -> Network;

    /// Number of classes; 0 where the images have no labels.
    fn classes(&self) -> usize;

    /// Whether [`Dataset::train_batch`] makes its batches on the device, if the draws are made there
    /// ([`Draws::on_device`]): then nothing is uploaded.
    fn on_device(&self) -> bool {
        false
    }

    /// `size` images to train on, on the draws' device.
    ///
    /// # Shapes
    /// Images `[size, height, width, channels]`, labels `[size]`.
    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch>;

    /// `size` images to evaluate on, on the draws' device: drawn, or from place `step * size` of a finite test part on,
    /// in its order and around its end.
    ///
    /// # Shapes
    /// Images `[size, height, width, channels]`, labels `[size]`.
    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch>;

    /// Number of images of a part; `None` where they are drawn without end.
    ///
    /// # Errors
    /// If they cannot be read.
    fn count(&self, part: Part) -> Result<Option<usize>> {
        let _ = part;
        Ok(None)
    }

    /// The images of a part in places `range`, in their order, for a measurement of all of them.
    ///
    /// # Shapes
    /// Images `[range, height, width, channels]`, labels `[range]`.
    ///
    /// # Errors
    /// If there are fewer, or they are drawn without end ([`Dataset::count`]).
    fn range(&self, part: Part, range: Range<usize>, device: &Device) -> Result<Batch> {
        let _ = (part, device);
        Err(Error::OutOfRange { first: range.start, end: range.end, len: 0 })
    }

    /// SHA-256 of all images and labels as they are trained and tested on, in hexadecimal, whatever files they came from;
    /// `None` where they are drawn.
    ///
    /// # Errors
    /// If they cannot be read.
    fn digest(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What is trained on.
    Train,
    /// What is tested on.
    Test,
}

/// The dataset called `name`: one of [`DATASETS`], or the user's own images, `idx:DIR`, `images:DIR` or
/// `parquet:FILE_OR_DIR`.
///
/// The paper's image sets are looked for in the sub-folder of their name in `data`, or else in the folder that the
/// environment variable `LERP_DATA` names; under their original names or as parquet files of the Hugging Face hub. If they
/// are not there, or there is no such folder, they are looked for in the hub's cache ([`HubCache::from_env`]).
/// `?test-every=N` behind the name of images without a test part holds every Nth out for it, instead of every tenth.
///
/// # Errors
/// If there is none of that name (the error holds the nearest one), or its files are not there; the user's own images
/// are also read.
pub fn dataset(name: &str, data: Option<&Path>) -> Result<Box<dyn Dataset>> {
    if name == Lines::NAME {
        return Ok(Box::new(Lines));
    }
    Ok(Box::new(image_set(name, data)?))
}

/// The image set called `name`, by the rules of [`dataset`].
///
/// # Errors
/// As [`dataset`]; lines are no image set.
pub fn image_set(name: &str, data: Option<&Path>) -> Result<ImageSet> {
    image_set_in(name, data, &HubCache::from_env())
}

/// The image set called `name`, by the rules of [`dataset`], with the hub's cache in another place than the user's.
///
/// # Errors
/// As [`image_set`].
pub fn image_set_in(name: &str, data: Option<&Path>, cache: &HubCache) -> Result<ImageSet> {
    ImageSet::open(name, data, cache).unwrap_or_else(|| {
        Err(Error::UnknownDataset {
            name: name.into(),
            nearest: lerp_core::nearest(name, DATASETS.iter().copied()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_need_no_files() {
        assert_eq!(dataset("lines", None).unwrap().name(), "lines");
        assert_eq!(dataset("lines", None).unwrap().count(Part::Test).unwrap(), None);
        assert!(dataset("lines", None).unwrap().range(Part::Test, 0..1, &Device::Cpu).is_err());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let message = |name| dataset(name, None).err().unwrap().to_string();
        let there =
            "there is: lines, mnist, svhn, cifar10, celeba, and your own: idx:DIR, images:DIR, parquet:PATH";
        assert_eq!(message("line"), format!("there is no dataset 'line' (did you mean 'lines'?); {there}"));
        assert_eq!(message("imagenet"), format!("there is no dataset 'imagenet'; {there}"));
    }
}
