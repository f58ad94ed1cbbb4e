//! Turns datasets of the crate `candle-datasets` into a [`TensorSet`] (feature `candle-datasets`).

use candle_core::{DType, Tensor};
use candle_datasets::vision;

use crate::{Error, Result, TensorSet, Tensors};

/// Side of the images of MNIST and its relatives, pixels.
const MNIST_SIDE: usize = 28;
/// Black pixels that are added to each side of these images.
const MNIST_PADDING: usize = 2;

impl TensorSet {
    /// Makes a dataset from the images and labels of a `candle-datasets` dataset, whoever made it. Values lie
    /// between 0 and 1. Images of 28x28 pixels are padded with black to 32x32. Values that are multiples of
    /// 1/255 are stored as bytes, so MNIST and CIFAR-10 from their original files have the same digest as when
    /// this crate reads them.
    ///
    /// Some images of `candle-datasets` 0.11.1 are transposed: `vision::cifar::load`, which reads the hub's
    /// parquet files, exchanges rows and columns (it calls `permute((0, 3, 2, 1))` on images that are
    /// `[images, height, width, channels]`). `vision::cifar::load_dir` does not.
    ///
    /// # Shapes
    /// Images `[images, pixels]`, square and of one channel, or `[images, channels, height, width]`; labels
    /// `[images]`.
    ///
    /// ```no_run
    /// # fn main() -> lerp_data::Result<()> {
    /// use lerp_data::TensorSet;
    /// let fashion = TensorSet::from_candle("fashion", &candle_datasets::vision::fashion_mnist::load()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the images have another shape, or for the reasons given at [`TensorSet::new`].
    pub fn from_candle(name: &str, dataset: &vision::Dataset) -> Result<Self> {
        let tensors = |images: &Tensor, labels: &Tensor| {
            Ok::<_, Error>(Tensors { images: channels_last(name, images)?, labels: Some(labels.clone()) })
        };
        let train = tensors(&dataset.train_images, &dataset.train_labels)?;
        let test = tensors(&dataset.test_images, &dataset.test_labels)?;
        Self::with_classes(name, &train, &test, dataset.labels)
    }
}

/// Brings images into the layout `[images, height, width, channels]` of a [`TensorSet`].
fn channels_last(name: &str, images: &Tensor) -> Result<Tensor> {
    let wrong = || {
        let expected = "images [images, pixels], square ones, or [images, channels, height, width]".into();
        Error::Tensors { name: name.into(), expected, found: format!("{:?}", images.dims()) }
    };
    let images = match *images.dims() {
        [n, pixels] => {
            let side = pixels.isqrt();
            let square = (side * side == pixels).then(|| images.reshape((n, side, side, 1)));
            square.ok_or_else(wrong)??
        }
        [_, _, _, _] => images.permute((0, 2, 3, 1))?,
        _ => return Err(wrong()),
    };
    let images = images.to_dtype(DType::F32)?;
    let images = match images.dims4()? {
        (_, MNIST_SIDE, MNIST_SIDE, _) => {
            let rows = images.pad_with_zeros(1, MNIST_PADDING, MNIST_PADDING)?;
            rows.pad_with_zeros(2, MNIST_PADDING, MNIST_PADDING)?
        }
        _ => images,
    };
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    // A value counts as a multiple of 1/255 if it is one up to the rounding of 32-bit arithmetic.
    let byte = |value: f32| {
        let byte = (value * 255.0).round();
        ((0.0..=255.0).contains(&byte) && (value * 255.0 - byte).abs() < 1e-3).then_some(byte as u8)
    };
    if let Some(bytes) = values.iter().map(|&value| byte(value)).collect::<Option<Vec<u8>>>() {
        return Ok(Tensor::from_vec(bytes, images.dims(), &candle_core::Device::Cpu)?);
    }
    // Bicubic resizing overshoots the range [0, 1] a little.
    if let Some(value) = values.iter().find(|value| !(-0.25..=1.25).contains(*value)) {
        return Err(Error::Tensors {
            name: name.into(),
            expected: "values from 0 to 1".into(),
            found: value.to_string(),
        });
    }
    Ok(images.affine(2.0, -1.0)?)
}
