//! The [`Dataset`] trait, and how a dataset is found by its name.

use std::{ops::Range, path::Path};

use candle_core::{DType, Device, Tensor};
use lerp_core::{Draws, ImageShape, Network};

use crate::{Error, HubCache, ImageSet, Lines, Result};

/// The names of the built-in datasets. [`dataset`] also accepts names of user-supplied images, such as
/// `images:DIR`.
pub const DATASETS: &[&str] = &[Lines::NAME, "mnist", "svhn", "cifar10", "celeba"];

/// A batch of images and their classes.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Images `[batch, height, width, channels]`, `f32` in `[-1, 1]`. CelebA's values exceed that range a
    /// little, as in the paper, because its images are resized bicubically and not clipped.
    pub images: Tensor,
    /// Classes `[batch]`, `u32` below [`Dataset::classes`], or `None` if the images have no labels.
    pub labels: Option<Tensor>,
}

impl Batch {
    /// The classes `[batch]`.
    ///
    /// # Errors
    /// Returns an error if the images have no labels.
    pub fn labels(&self) -> Result<&Tensor> {
        self.labels.as_ref().ok_or(Error::NoLabels)
    }
}

impl Batch {
    /// Checks that the batch has `size` images and matches what `dataset` declares; a dataset may be
    /// implemented outside this crate.
    ///
    /// # Errors
    /// Returns an error if the shape or the type of a tensor differs, labels are missing, or a label is no
    /// class of the dataset.
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
/// A batch is a pure function of the draws it is given, so a dataset keeps no position and a run can resume at
/// any step. The caller sets the step and the scope of the draws; a dataset changes neither.
///
/// # Examples
/// A dataset of one's own, whose images are drawn without end:
///
/// ```
/// use candle_core::Device;
/// use lerp_core::{Draws, ImageShape, Network};
/// use lerp_data::{Batch, Dataset, Result};
///
/// /// Images of one random brightness each.
/// struct Greys;
///
/// impl Greys {
///     fn batch(size: usize, draws: &Draws) -> Result<Batch> {
///         let greys = draws.uniform("grey", (size, 1, 1, 1))?.affine(2.0, -1.0)?;
///         let images = greys.broadcast_as((size, 32, 32, 1))?.contiguous()?;
///         Ok(Batch { images, labels: None })
///     }
/// }
///
/// impl Dataset for Greys {
///     fn name(&self) -> &str {
///         "greys"
///     }
///     fn title(&self) -> &str {
///         "Greys"
///     }
///     fn image(&self) -> ImageShape {
///         ImageShape { height: 32, width: 32, channels: 1 }
///     }
///     fn network(&self) -> Network {
///         Network { scales: 4, depth: 16, latent: 16 }
///     }
///     fn classes(&self) -> usize {
///         0 // The images have no labels.
///     }
///     fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
///         Self::batch(size, draws)
///     }
///     fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
///         Self::batch(size, draws)
///     }
/// }
///
/// let draws = Draws::new(1, &Device::Cpu).scope("train").at(7);
/// let batch = Greys.train_batch(16, &draws)?;
/// batch.check(&Greys, 16)?;
/// # Ok::<(), lerp_data::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// The name on the command line and in files, such as `lines`.
    fn name(&self) -> &str;

    /// The name in tables and figures, such as `Lines`.
    fn title(&self) -> &str;

    /// The shape of the images.
    fn image(&self) -> ImageShape;

    /// The sizes of the encoder and decoder that the paper's protocol uses on this dataset.
    fn network(&self) -> Network;

    /// Number of classes; 0 if the images have no labels.
    fn classes(&self) -> usize;

    /// Whether [`Dataset::train_batch`] makes its batches on the device when the draws are made there
    /// ([`Draws::on_device`]), so that nothing has to be uploaded.
    fn on_device(&self) -> bool {
        false
    }

    /// The training batch of `size` images at the step of `draws`, on the device of `draws`.
    ///
    /// # Shapes
    /// Images `[size, height, width, channels]`, labels `[size]`.
    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch>;

    /// The test batch of `size` images at the step of `draws`, on the device of `draws`. An endless dataset
    /// draws it; a finite one returns the images from index `step * size` on, in order and continuing at the
    /// first image after the last one.
    ///
    /// # Shapes
    /// Images `[size, height, width, channels]`, labels `[size]`.
    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch>;

    /// Number of images of a split, or `None` if they are drawn without end.
    ///
    /// # Errors
    /// Returns an error if the images cannot be read.
    fn count(&self, split: Split) -> Result<Option<usize>> {
        let _ = split;
        Ok(None)
    }

    /// The images of a split at the indices `range`, in order: for measurements on a whole split.
    ///
    /// # Shapes
    /// Images `[range, height, width, channels]`, labels `[range]`.
    ///
    /// # Errors
    /// Returns an error if the split has fewer images, or is drawn without end ([`Dataset::count`]).
    fn range(&self, split: Split, range: Range<usize>, device: &Device) -> Result<Batch> {
        let _ = device;
        Err(Error::OutOfRange { split, first: range.start, end: range.end, len: 0 })
    }

    /// SHA-256 in hexadecimal of all images and labels as the model sees them, whatever files they came from,
    /// or `None` if they are drawn.
    ///
    /// # Errors
    /// Returns an error if the images cannot be read.
    fn digest(&self) -> Result<Option<String>> {
        Ok(None)
    }
}

/// A split of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The training images.
    Train,
    /// The test images.
    Test,
}

/// Opens the dataset called `name`: one of [`DATASETS`], or user-supplied images as `idx:DIR`, `images:DIR` or
/// `parquet:FILE_OR_DIR`.
///
/// The paper's image sets are looked for in the sub-folder of their name in `data`, or, if `data` is `None`, in
/// the folder that the environment variable `LERP_DATA` names, under their original file names or as parquet
/// files of the Hugging Face hub. If they are not there, or no folder is given, they are looked for in the
/// hub's cache ([`HubCache::from_env`]). If an image set has no test split, a tenth of its images becomes the
/// test split; `?test-every=N` after its name makes that one in N.
///
/// # Errors
/// Returns an error if no dataset has that name (the error holds the nearest one), or if its files are missing.
/// User-supplied images are read at once, so an error in their content is returned here, too.
pub fn dataset(name: &str, data: Option<&Path>) -> Result<Box<dyn Dataset>> {
    if name == Lines::NAME {
        return Ok(Box::new(Lines));
    }
    Ok(Box::new(image_set(name, data)?))
}

/// Opens the image set called `name`, by the rules of [`dataset`].
///
/// # Errors
/// Returns an error for the reasons given at [`dataset`], and for `lines`, which is no image set.
pub fn image_set(name: &str, data: Option<&Path>) -> Result<ImageSet> {
    image_set_with_cache(name, data, &HubCache::from_env())
}

/// Opens the image set called `name` by the rules of [`dataset`], with the given hub cache instead of the
/// user's.
///
/// # Errors
/// Returns an error for the reasons given at [`image_set`].
pub fn image_set_with_cache(name: &str, data: Option<&Path>, cache: &HubCache) -> Result<ImageSet> {
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
        assert_eq!(dataset("lines", None).unwrap().count(Split::Test).unwrap(), None);
        assert!(dataset("lines", None).unwrap().range(Split::Test, 0..1, &Device::Cpu).is_err());
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
