//! Datasets of images in files.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::Device;
use lerp_core::{Draws, ImageShape, Network};
use lerp_files::printable;

use crate::{
    Batch, Dataset, Error, HubCache, Result, Split,
    find::{Files, KNOWN, Known, known, own},
    load::{Splits, labelled, load},
    stored::Cache,
    tree::file_name,
};

/// The environment variable that names the folder of datasets.
pub const FOLDER_VARIABLE: &str = "LERP_DATA";

/// By default, one of this many images is in the holdout set, if there is no test split.
const TEST_EVERY: usize = 10;

/// A dataset of images in files: `mnist`, `svhn`, `cifar10`, `celeba` or user-supplied images.
///
/// A training batch is the next `size` images of an endless sequence of epochs, each of which is a permutation
/// of the whole training split (the paper's code shuffles only within 1,024 images); [`Dataset`] says what
/// determines it. If the files have no test split, every tenth image is in a holdout set that takes its place
/// (for CelebA, the paper's code tests on its training images). `?test-every=5` at the end of the name makes that
/// every fifth image. Of labelled images it is every n-th image of each class. The paper's sets are read at
/// their first use, user-supplied ones at once. The latter may be sorted by class, so they are shuffled, always
/// in the same way.
///
/// # Examples
/// ```
/// use candle_core::Device;
/// use image::{Rgb, RgbImage};
/// use lerp_core::Draws;
/// use lerp_data::{Dataset, Split, check, image_set};
///
/// # let folder = tempfile::tempdir()?;
/// # let photos = folder.path().join("photos");
/// // A folder of images of any size, with one sub-folder for each class.
/// for class in ["cat", "dog"] {
///     std::fs::create_dir_all(photos.join(class))?;
///     for i in 0..10 {
///         let photo = RgbImage::from_pixel(60, 40, Rgb([20 * i, 0, 99]));
///         photo.save(photos.join(class).join(format!("{i}.png")))?;
///     }
/// }
/// let set = image_set(&format!("images:{}", photos.display()), None)?;
/// let batch = set.train_batch(4, &Draws::new(1, &Device::Cpu))?;
/// assert_eq!(batch.images.dims(), [4, 32, 32, 3]);
///
/// // Every tenth image of each class is held out to test on.
/// assert_eq!((set.count(Split::Train)?, set.count(Split::Test)?), (Some(18), Some(2)));
/// let report = check(&set)?;
/// assert_eq!(report.holdout, Some(10));
/// assert_eq!(report.class_names, ["cat", "dog"]);
/// assert_eq!(report.train.classes, Some(vec![9, 9]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ImageSet {
    name: String,
    title: String,
    known: Option<&'static Known>,
    image: ImageShape,
    network: Network,
    classes: usize,
    files: Files,
    every: usize,
    splits: Mutex<Option<Arc<Splits>>>,
}

impl ImageSet {
    /// Opens the image set called `name`: one of the paper's, or `idx:DIR`, `images:DIR` or
    /// `parquet:FILE_OR_DIR`, optionally with `?test-every=N` at its end. Returns `None` if `name` is not the
    /// name of an image set.
    pub(crate) fn open(name: &str, data: Option<&Path>, cache: &HubCache) -> Option<Result<Self>> {
        let DatasetName { bare, option } = separate_option(name);
        let known = KNOWN.iter().find(|known| known.name == bare);
        let own = bare.split_once(':').filter(|_| is_own(bare));
        let every = || parse_test_every(name, option);
        match (known, own) {
            (Some(known), _) => {
                Some(every().and_then(|every| Self::of_paper(name, known, every, data, cache)))
            }
            (None, Some((kind, location))) => {
                Some(every().and_then(|every| Self::own(name, kind, Path::new(location), every)))
            }
            (None, None) => None,
        }
    }

    fn of_paper(
        name: &str,
        set: &'static Known,
        every: Option<usize>,
        data: Option<&Path>,
        cache: &HubCache,
    ) -> Result<Self> {
        let variable = || std::env::var_os(FOLDER_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let given = || Some((PathBuf::from(data?), "--data"));
        let given = given().or_else(|| Some((variable()?, FOLDER_VARIABLE)));
        // A mistyped folder is an error even if the hub's cache has the image set.
        if let Some((folder, from)) = &given
            && !folder.is_dir()
        {
            return Err(Error::NoSuchFolder { from, folder: folder.clone() });
        }
        let folder = given.map(|(folder, _)| folder);
        let files = known(set, folder.as_deref(), cache)?;
        let every = test_every_or_default(name, every, &files)?;
        let labelled = !set.classes.is_empty() && labelled(&files)?;
        Ok(Self {
            name: name.into(),
            title: set.title.into(),
            known: Some(set),
            image: set.image(),
            network: set.network(),
            classes: if labelled { set.classes.len() } else { 0 },
            files,
            every,
            splits: Mutex::new(None),
        })
    }

    fn own(name: &str, kind: &str, location: &Path, every: Option<usize>) -> Result<Self> {
        if location.as_os_str().is_empty() {
            return Err(Error::NoPath { name: name.into(), kind: kind.into() });
        }
        let files = own(name, kind, location)?;
        let every = test_every_or_default(name, every, &files)?;
        let splits = load(&files, None, every, &Cache::of_user())?;
        let image = splits.train.shape;
        Ok(Self {
            name: name.into(),
            title: file_name(location),
            known: None,
            image,
            network: usual_network(image),
            classes: splits.classes.len(),
            files,
            every,
            splits: Mutex::new(Some(Arc::new(splits))),
        })
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// One of this many images is in the holdout set, if there is no test split.
    pub(crate) fn every(&self) -> usize {
        self.every
    }

    /// The images and labels, which are read at the first call.
    pub(crate) fn splits(&self) -> Result<Arc<Splits>> {
        let mut splits = self.splits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(splits) = &*splits {
            return Ok(Arc::clone(splits));
        }
        let loaded = Arc::new(load(&self.files, self.known, self.every, &Cache::of_user())?);
        *splits = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The images and labels, for uses that do not report what was left out; a notice does that here.
    fn used(&self) -> Result<Arc<Splits>> {
        let splits = self.splits()?;
        let lines = splits.left_out.lines();
        if !lines.is_empty() {
            lerp_kernels::notice(&format!("{}: not read: {}", printable(&self.name), lines.join("; ")));
        }
        Ok(splits)
    }
}

/// The default network for images that are not the paper's: that of the paper's gray set or its colour sets.
pub(crate) fn usual_network(image: ImageShape) -> Network {
    Network { scales: 3, depth: if image.channels == 1 { 16 } else { 64 }, latent: 16 }
}

/// Whether `name` is that of user-supplied images in files. Such datasets are identified by their content, not
/// by the path in their name.
pub fn is_own(name: &str) -> bool {
    matches!(name.split_once(':'), Some(("idx" | "images" | "parquet", _)))
}

/// The parts of a dataset's name, such as `images:photos?test-every=5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetName<'a> {
    /// The name without its option, such as `images:photos`.
    pub bare: &'a str,
    /// The option, which determines the holdout set, such as `test-every=5`.
    pub option: Option<&'a str>,
}

/// Separates the option from a dataset's name.
pub fn separate_option(name: &str) -> DatasetName<'_> {
    // The name of a folder may contain a question mark, too.
    let is_option = |text: &str| !is_own(name) || text.starts_with("test-every") || text.contains('=');
    match name.rsplit_once('?') {
        Some((bare, option)) if is_option(option) => DatasetName { bare, option: Some(option) },
        _ => DatasetName { bare: name, option: None },
    }
}

/// Parses N from the option `test-every=N`. Returns `None` if there is no option.
fn parse_test_every(name: &str, option: Option<&str>) -> Result<Option<usize>> {
    let Some(option) = option else { return Ok(None) };
    let every = option.strip_prefix("test-every=").and_then(|n| n.parse().ok()).filter(|n| *n >= 2);
    let bad = || Error::BadOption { name: name.into(), option: option.into() };
    every.map(Some).ok_or_else(bad)
}

/// Returns N of the option, or its default. Refuses the option if the files have a test split.
fn test_every_or_default(name: &str, every: Option<usize>, files: &Files) -> Result<usize> {
    if every.is_some() && !files.test.is_empty() {
        return Err(Error::HasTestSplit { name: name.into() });
    }
    Ok(every.unwrap_or(TEST_EVERY))
}

impl Dataset for ImageSet {
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
        self.classes
    }

    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        self.used()?.train_batch(size, draws)
    }

    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        self.used()?.test_batch(size, draws)
    }

    fn count(&self, split: Split) -> Result<Option<usize>> {
        Ok(Some(self.used()?.get(split).len()))
    }

    fn range(&self, split: Split, range: Range<usize>, device: &Device) -> Result<Batch> {
        self.used()?.range(split, range, device)
    }

    fn digest(&self) -> Result<Option<String>> {
        self.used()?.digest().map(Some)
    }
}
