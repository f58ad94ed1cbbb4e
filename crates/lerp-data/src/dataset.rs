//! What a trainer asks of a dataset.

use candle_core::Tensor;
use lerp_core::{Draws, ImageShape, Network};

use crate::{Error, Lines, Result};

/// The names that [`dataset`] knows.
pub const DATASETS: &[&str] = &[Lines::NAME];

/// Images and their classes.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Images `[batch, height, width, channels]`, `f32` in `[-1, 1]`.
    pub images: Tensor,
    /// Classes `[batch]`, `u32` below [`Dataset::classes`].
    pub labels: Tensor,
}

/// A source of labelled images.
///
/// A batch is a pure function of the draws it is given, so a dataset keeps no position and a run can resume at any
/// step. The draws come in at the step and in the scope of their use; a dataset adds neither.
pub trait Dataset: Send + Sync {
    /// Name on the command line and in files, such as `lines`.
    fn name(&self) -> &'static str;

    /// Name in tables and figures, such as `Lines`.
    fn title(&self) -> &str;

    /// Shape of the images.
    fn image(&self) -> ImageShape;

    /// The encoder and decoder that the paper's protocol uses on it.
    fn network(&self) -> Network;

    /// Number of classes.
    fn classes(&self) -> usize;

    /// `size` images to train on, on the draws' device.
    ///
    /// # Shapes
    /// Images `[size, height, width, channels]`, labels `[size]`.
    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch>;

    /// `size` images to evaluate on, on the draws' device.
    ///
    /// # Shapes
    /// Images `[size, height, width, channels]`, labels `[size]`.
    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch>;
}

/// The dataset called `name`.
///
/// # Errors
/// If there is none of that name; the error holds the nearest one.
pub fn dataset(name: &str) -> Result<Box<dyn Dataset>> {
    match name {
        Lines::NAME => Ok(Box::new(Lines)),
        _ => Err(Error::UnknownDataset {
            name: name.into(),
            nearest: lerp_core::nearest(name, DATASETS.iter().copied()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_dataset_is_found_under_its_name() {
        for name in DATASETS {
            assert_eq!(dataset(name).unwrap().name(), *name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let message = |name| dataset(name).err().unwrap().to_string();
        assert_eq!(message("line"), "there is no dataset 'line' (did you mean 'lines'?); there is: lines");
        assert_eq!(message("mnist"), "there is no dataset 'mnist'; there is: lines");
    }
}
