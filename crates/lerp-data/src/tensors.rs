//! Datasets made of tensors.

use std::{ops::Range, sync::Arc};

use candle_core::{DType, Device, Tensor};
use lerp_core::{Draws, ImageShape, Network};

use crate::{
    Batch, Dataset, Error, Result, Split,
    images::Images,
    labels::{Class, Label, MAX_CLASSES},
    load::Splits,
    pixels::{PixelEncoding, Pixels, StoredImages},
    set::usual_network,
    tree::LeftOut,
};

/// The largest magnitude of a value that is accepted; resized images exceed [-1, 1] a little.
const MAX_VALUE: f32 = 2.0;

/// The images of one split, and their labels if they have any.
#[derive(Debug, Clone)]
pub struct Tensors {
    /// Images `[images, height, width, channels]`: `u8`, where 0 stands for -1 and 255 for 1, or floating-point
    /// numbers from -1 to 1.
    pub images: Tensor,
    /// Labels `[images]`: `u8`, `u32` or `i64`, from 0 on.
    pub labels: Option<Tensor>,
}

/// A dataset made of tensors, which a program draws or reads with another library.
///
/// Its batches are like those of an [`ImageSet`](crate::ImageSet): endless epochs, each a permutation of the
/// training split, and the test split in order. Runs on different sets are told apart by the set's name, and a
/// resumed run compares its [`Dataset::digest`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use lerp_data::{Dataset, Split, TensorSet, Tensors};
///
/// # fn main() -> lerp_data::Result<()> {
/// let images = |n| Tensor::zeros((n, 32, 32, 3), candle_core::DType::U8, &Device::Cpu);
/// let split = |n| Ok::<_, lerp_data::Error>(Tensors { images: images(n)?, labels: None });
/// let nights = TensorSet::new("nights", &split(100)?, &split(10)?)?.titled("Starless nights");
/// assert_eq!(nights.count(Split::Test)?, Some(10));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TensorSet {
    name: String,
    title: String,
    image: ImageShape,
    network: Network,
    splits: Arc<Splits>,
}

impl TensorSet {
    /// Makes a dataset called `name` on the command line and in files. By default its title is its name, and
    /// its network the paper's for its number of channels.
    ///
    /// # Errors
    /// Returns an error if the name is that of a built-in dataset or not a single word; the splits differ in
    /// image shape, or only one has labels; a tensor has another shape or type than [`Tensors`] says, or values
    /// out of range; or it cannot be read.
    pub fn new(name: &str, train: &Tensors, test: &Tensors) -> Result<Self> {
        Self::with_classes(name, train, test, 0)
    }

    /// Like [`TensorSet::new`], with at least `classes` classes, even if the last of them have no image.
    pub(crate) fn with_classes(name: &str, train: &Tensors, test: &Tensors, classes: usize) -> Result<Self> {
        let wrong = |expected: &str, found: String| Error::Tensors {
            name: name.into(),
            expected: expected.into(),
            found,
        };
        if crate::DATASETS.contains(&name) || !lerp_files::is_word(name) {
            return Err(wrong(
                "a name of its own, of letters, digits, '.', '-' and '_'",
                format!("'{name}'"),
            ));
        }
        let splits = [encode_split(train), encode_split(test)];
        let [train, test] = splits.map(|split| {
            split.map_err(|fault| match fault {
                Fault::Wrong(expected, found) => wrong(expected, found),
                Fault::Tensor(error) => error.into(),
            })
        });
        let (mut train, mut test) = (train?, test?);
        if train.shape != test.shape {
            let shown = |ImageShape { height, width, channels }| format!("{height}x{width}x{channels}");
            let found = format!("{} to train on and {} to test on", shown(train.shape), shown(test.shape));
            return Err(wrong("images of one shape", found));
        }
        let labels = || [&train, &test].into_iter().filter_map(|split| split.labels.as_ref());
        if labels().count() == 1 {
            return Err(wrong("labels in both splits or in neither", "them in one".into()));
        }
        let most = labels().flatten().max().map_or(0, |&last| last as usize + 1);
        if most > MAX_CLASSES {
            return Err(wrong(&format!("labels below {MAX_CLASSES}"), (most - 1).to_string()));
        }
        let classes = if labels().count() == 0 { 0 } else { most.max(classes) };
        let names = |i: i64| Class { label: Label::Number(i), name: i.to_string() };
        let all: Vec<Class> = (0..classes as i64).map(names).collect();
        (train.classes, test.classes) = (all.clone(), all.clone());
        let image = train.shape;
        Ok(Self {
            name: name.into(),
            title: name.into(),
            image,
            network: usual_network(image),
            splits: Arc::new(Splits {
                train: Images::new(train),
                test: Images::new(test),
                classes: all.into_iter().map(|class| class.name).collect(),
                left_out: LeftOut::default(),
            }),
        })
    }

    /// Returns the dataset with another title in tables and figures.
    #[must_use]
    pub fn titled(self, title: &str) -> Self {
        Self { title: title.into(), ..self }
    }

    /// Returns the dataset with another network; see [`Dataset::network`].
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self { network, ..self }
    }
}

enum Fault {
    Wrong(&'static str, String),
    Tensor(candle_core::Error),
}

impl From<candle_core::Error> for Fault {
    fn from(error: candle_core::Error) -> Self {
        Self::Tensor(error)
    }
}

/// Copies one split to the host and encodes its values.
fn encode_split(split: &Tensors) -> std::result::Result<StoredImages, Fault> {
    let Ok((images, height, width, channels)) = split.images.dims4() else {
        return Err(Fault::Wrong(
            "images [images, height, width, channels]",
            format!("{:?}", split.images.dims()),
        ));
    };
    if split.images.elem_count() == 0 {
        return Err(Fault::Wrong("at least one image in each split", format!("{:?}", split.images.dims())));
    }
    let here = |tensor: &Tensor| tensor.detach().to_device(&Device::Cpu);
    let flat = here(&split.images)?.flatten_all()?;
    let (encoding, pixels) = match flat.dtype() {
        DType::U8 => (PixelEncoding::Bytes, flat.to_vec1::<u8>()?),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
            let values = flat.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            let fits = |value: &f32| (-MAX_VALUE..=MAX_VALUE).contains(value);
            if let Some(value) = values.iter().find(|value| !fits(value)) {
                return Err(Fault::Wrong("values from -1 to 1", value.to_string()));
            }
            (PixelEncoding::Floats, values.into_iter().flat_map(f32::to_le_bytes).collect())
        }
        other => return Err(Fault::Wrong("images of u8 or floating-point numbers", format!("{other:?}"))),
    };
    let labels = split.labels.as_ref().map(|labels| {
        if labels.dims() != [images] {
            let found = format!("{:?} for {images} images", labels.dims());
            return Err(Fault::Wrong("labels [images]", found));
        }
        if !matches!(labels.dtype(), DType::U8 | DType::U32 | DType::I64) {
            return Err(Fault::Wrong("labels of u8, u32 or i64", format!("{:?}", labels.dtype())));
        }
        let numbers = here(labels)?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        let one = |number: i64| {
            u32::try_from(number).map_err(|_| Fault::Wrong("labels from 0 on", number.to_string()))
        };
        numbers.into_iter().map(one).collect()
    });
    Ok(StoredImages {
        shape: ImageShape { height, width, channels },
        encoding,
        pixels: Pixels::Memory(pixels),
        labels: labels.transpose()?,
        classes: Vec::new(),
        gray: false,
        left_out: LeftOut::default(),
    })
}

impl Dataset for TensorSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn title(&self) -> &str {
        &self.title
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn network(&self) -> Network {
        self.network
    }

    fn classes(&self) -> usize {
        self.splits.classes.len()
    }

    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        self.splits.train_batch(size, draws)
    }

    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        self.splits.test_batch(size, draws)
    }

    fn count(&self, split: Split) -> Result<Option<usize>> {
        Ok(Some(self.splits.get(split).len()))
    }

    fn range(&self, split: Split, range: Range<usize>, device: &Device) -> Result<Batch> {
        self.splits.range(split, range, device)
    }

    fn digest(&self) -> Result<Option<String>> {
        self.splits.digest().map(Some)
    }
}
