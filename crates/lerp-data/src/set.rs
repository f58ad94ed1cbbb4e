//! Image sets as datasets.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::Device;
use lerp_core::{Draws, ImageShape, Network};

use crate::{
    Batch, Dataset, Error, HubCache, Result,
    find::{Files, Format, KNOWN, Known, file_name, known, own},
    load::{Parts, load},
    parquet,
    resize::SIDE,
    shuffle::epoch_order,
};

/// The environment variable that names the folder of datasets.
pub const FOLDER_VARIABLE: &str = "LERP_DATA";

/// Images in files: `mnist`, `svhn`, `cifar10`, `celeba` or the user's own (section B6 of the protocol).
///
/// A training batch is the next `size` images of an endless row of epochs, each a permutation of the whole training
/// part (the reference shuffles within 1024 images only); see [`Dataset`] for what decides it. Where the files have no
/// test part, every tenth image is held out for it (CelebA; the reference tests on its training images). The images of
/// the paper's sets are read when they are first asked for, the user's own at once.
pub struct ImageSet {
    name: String,
    title: String,
    known: Option<&'static Known>,
    image: ImageShape,
    network: Network,
    classes: usize,
    files: Files,
    parts: Mutex<Option<Arc<Parts>>>,
}

impl ImageSet {
    /// The image set called `name`: one of the paper's, or `idx:DIR`, `images:DIR` or `parquet:FILE_OR_DIR`; `None` if
    /// it is no name of an image set.
    pub(crate) fn open(name: &str, data: Option<&Path>, cache: &HubCache) -> Option<Result<Self>> {
        if let Some(known) = KNOWN.iter().find(|known| known.name == name) {
            return Some(Self::of_paper(known, data, cache));
        }
        let (kind, place) = name.split_once(':')?;
        ["idx", "images", "parquet"].contains(&kind).then(|| Self::own(name, kind, Path::new(place)))
    }

    fn of_paper(set: &'static Known, data: Option<&Path>, cache: &HubCache) -> Result<Self> {
        let variable = || std::env::var_os(FOLDER_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = data.map(PathBuf::from).or_else(variable);
        let files = known(set, folder.as_deref(), cache)?;
        let labelled = match files.format {
            Format::Parquet => files.train.first().map_or(Ok(false), |path| parquet::has_labels(path))?,
            Format::Idx => files.train.len() == 2,
            _ => true,
        };
        Ok(Self {
            name: set.name.into(),
            title: set.title.into(),
            known: Some(set),
            image: ImageShape { height: SIDE, width: SIDE, channels: set.channels },
            network: Network { scales: 3, depth: set.depth, latent: 16 },
            classes: if labelled { set.classes } else { 0 },
            files,
            parts: Mutex::new(None),
        })
    }

    fn own(name: &str, kind: &str, place: &Path) -> Result<Self> {
        let files = own(name, kind, place)?;
        let parts = load(&files, None)?;
        let image = parts.train.shape;
        let classes = match (&files.format, &parts.train.labels) {
            (Format::Folders(classes), _) => classes.len(),
            (_, None) => 0,
            (_, Some(labels)) => {
                let all = labels.iter().chain(parts.test.labels.iter().flatten());
                all.max().map_or(0, |most| *most as usize + 1)
            }
        };
        // As the paper's gray set and its colour sets.
        let depth = if image.channels == 1 { 16 } else { 64 };
        Ok(Self {
            name: name.into(),
            title: file_name(place),
            known: None,
            image,
            network: Network { scales: 3, depth, latent: 16 },
            classes,
            files,
            parts: Mutex::new(Some(Arc::new(parts))),
        })
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The images, which are read at the first call.
    pub(crate) fn parts(&self) -> Result<Arc<Parts>> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parts) = &*parts {
            return Ok(Arc::clone(parts));
        }
        let loaded = Arc::new(load(&self.files, self.known)?);
        *parts = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
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
        let parts = self.parts()?;
        parts.train.batch(&epoch_order(parts.train.len(), size, draws), draws.device())
    }

    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        let parts = self.parts()?;
        let len = parts.test.len() as u128;
        let first = u128::from(draws.step()) * size as u128;
        let indices: Vec<usize> = (0..size as u128).map(|i| ((first + i) % len) as usize).collect();
        parts.test.batch(&indices, draws.device())
    }

    fn test_len(&self) -> Result<Option<usize>> {
        Ok(Some(self.parts()?.test.len()))
    }

    fn test_range(&self, range: Range<usize>, device: &Device) -> Result<Batch> {
        let parts = self.parts()?;
        let len = parts.test.len();
        if range.end > len || range.start > range.end {
            return Err(Error::OutOfRange { first: range.start, end: range.end, len });
        }
        parts.test.batch(&range.collect::<Vec<_>>(), device)
    }
}
