//! Where the files of image sets are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lerp_core::{ImageShape, Network};

use crate::{Dataset, Error, HubCache, HubSource, Lines, Result, resize::SIDE};

/// An image set of the paper (section B2 of the protocol: networks; B6: images).
#[derive(Debug)]
pub(crate) struct Known {
    pub name: &'static str,
    pub title: &'static str,
    pub channels: usize,
    pub depth: usize,
    /// Classes, where the files have labels.
    pub classes: usize,
    /// What to put where, for errors.
    pub files: &'static str,
    pub hub: HubSource,
}

pub(crate) const KNOWN: [Known; 4] = [
    Known {
        name: "mnist",
        title: "MNIST",
        channels: 1,
        depth: 16,
        classes: 10,
        files: "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                t10k-labels-idx1-ubyte, each with or without .gz, or train-*.parquet and test-*.parquet",
        hub: HubSource {
            repository: "ylecun/mnist",
            revision: "77f3279092a1c1579b2250db8eafed0ad422088c",
            folder: "mnist",
            parts: &["train", "test"],
        },
    },
    Known {
        name: "svhn",
        title: "SVHN",
        channels: 3,
        depth: 64,
        classes: 10,
        files: "train_32x32.mat, extra_32x32.mat (if wanted) and test_32x32.mat, or train-*.parquet, \
                extra-*.parquet and test-*.parquet",
        hub: HubSource {
            repository: "ufldl-stanford/svhn",
            revision: "f9e1717d73324ebbc1ece84267ccd80d0aca0690",
            folder: "cropped_digits",
            parts: &["train", "extra", "test"],
        },
    },
    Known {
        name: "cifar10",
        title: "CIFAR-10",
        channels: 3,
        depth: 64,
        classes: 10,
        files: "data_batch_1.bin to data_batch_5.bin and test_batch.bin, or train-*.parquet and test-*.parquet",
        hub: HubSource {
            repository: "uoft-cs/cifar10",
            revision: "0b2714987fa478483af9968de7c934580d0bb9a2",
            folder: "plain_text",
            parts: &["train", "test"],
        },
    },
    Known {
        name: "celeba",
        title: "CelebA",
        channels: 3,
        depth: 64,
        classes: 0,
        files: "the folder img_align_celeba of aligned JPEG images, or *.parquet",
        hub: HubSource {
            repository: "flwrlabs/celeba",
            revision: "2d738f56e0e7f925ea36ae7c808ea925264aacec",
            folder: "img_align+identity+attr",
            parts: &["train", "test"],
        },
    },
];

impl Known {
    pub fn image(&self) -> ImageShape {
        ImageShape { height: SIDE, width: SIDE, channels: self.channels }
    }

    pub fn network(&self) -> Network {
        Network { scales: 3, depth: self.depth, latent: 16 }
    }
}

/// What the paper's protocol says of a dataset, whether its files are here or not (section B2).
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// Name on the command line, such as `mnist`.
    pub name: &'static str,
    /// Name in tables and figures, such as `MNIST`.
    pub title: &'static str,
    /// Shape of the images.
    pub image: ImageShape,
    /// Encoder and decoder; the paper has two sizes of latents on image sets, this is the larger on MNIST, SVHN and CelebA
    /// and the smaller on CIFAR-10.
    pub network: Network,
    /// Number of classes; 0 where images have no labels.
    pub classes: usize,
    /// Its repository on the Hugging Face hub, such as `ylecun/mnist`; none of what is drawn.
    pub hub: Option<&'static str>,
}

/// The paper's datasets in its order.
pub fn protocols() -> impl Iterator<Item = Protocol> {
    let lines = Protocol {
        name: Lines::NAME,
        title: Lines.title(),
        image: Lines.image(),
        network: Lines.network(),
        classes: Lines.classes(),
        hub: None,
    };
    let of = |known: &Known| Protocol {
        name: known.name,
        title: known.title,
        image: known.image(),
        network: known.network(),
        classes: known.classes,
        hub: Some(known.hub.repository),
    };
    std::iter::once(lines).chain(KNOWN.iter().map(of))
}

/// How files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// Images and labels, in turn.
    Idx,
    Cifar,
    Mat,
    Parquet,
    /// Images without labels.
    Pictures,
    /// Images in a folder of their class's name.
    Folders(Vec<String>),
}

/// The files of a dataset, in the order in which they are read; without test files every tenth image is held out.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub format: Format,
    pub folder: PathBuf,
    pub train: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
    /// Where they were downloaded from.
    pub hub: Option<&'static HubSource>,
}

impl Files {
    fn new(format: Format, folder: &Path, train: Vec<PathBuf>, test: Vec<PathBuf>) -> Self {
        Self { format, folder: folder.into(), train, test, hub: None }
    }
}

/// The files of one of the paper's image sets: in its sub-folder of `data`, or else in the hub's cache.
pub(crate) fn known(known: &'static Known, data: Option<&Path>, cache: &HubCache) -> Result<Files> {
    let folder = data.map(|data| data.join(known.name));
    let in_folder = folder.as_deref().map(|folder| in_folder(known, folder)).transpose()?.flatten();
    let found = match in_folder {
        Some(found) => Some(found),
        None => cache.find(known)?,
    };
    found.ok_or_else(|| match folder {
        None => Error::NoFolder { name: known.name, files: known.files },
        Some(folder) => Error::NoFiles { name: known.name.into(), folder, files: known.files.into() },
    })
}

fn in_folder(known: &Known, folder: &Path) -> Result<Option<Files>> {
    let found = match known.name {
        "mnist" => idx(&[folder.into(), folder.join("raw"), folder.join("MNIST/raw")])?,
        "cifar10" => cifar(&[folder.into(), folder.join("cifar-10-batches-bin")]),
        "svhn" => mat(folder),
        _ => pictures(&[folder.join("img_align_celeba"), folder.into()])?,
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => parquet(folder, known.name == "svhn"),
    }
}

/// The files of the user's own dataset: `kind` is `idx`, `images` or `parquet`.
pub(crate) fn own(name: &str, kind: &str, place: &Path) -> Result<Files> {
    let (found, files) = match kind {
        "idx" => (
            idx(&[place.into()])?,
            "*-images-idx3-ubyte and *-labels-idx1-ubyte, each with or without .gz, for train and, if wanted, t10k",
        ),
        "images" => (
            folders(place)?,
            "one sub-folder of PNG or JPEG images a class, or such sub-folders in train and in test",
        ),
        _ if place.is_file() => {
            let folder = place.parent().unwrap_or(place);
            (Some(Files::new(Format::Parquet, folder, vec![place.into()], Vec::new())), "")
        }
        _ => (parquet(place, false)?, "*.parquet, the test part's named test*"),
    };
    let flat = kind == "images" && list(place)?.iter().any(|path| is_picture(path));
    let hint = match place {
        _ if flat => " (pictures are there, but not in a sub-folder: its name is their class)",
        _ if place.starts_with("~") => " ('~' is expanded only by a shell, at the beginning of a word)",
        _ => "",
    };
    found.ok_or_else(|| Error::NoFiles {
        name: name.into(),
        folder: place.into(),
        files: format!("{files}{hint}"),
    })
}

fn idx(folders: &[PathBuf]) -> Result<Option<Files>> {
    for folder in folders {
        let names = list(folder)?;
        let file = |parts: &[&str], what: &str| {
            names.iter().find(|path| {
                let name = file_name(path).replace('.', "-");
                let tail = name.strip_suffix("-gz").unwrap_or(&name);
                parts.iter().any(|part| tail.strip_prefix(part).is_some_and(|rest| rest == what))
            })
        };
        let pair = |parts: &[&str]| {
            let images = file(parts, "-images-idx3-ubyte")?;
            Some(
                [Some(images.clone()), file(parts, "-labels-idx1-ubyte").cloned()]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        };
        if let Some(train) = pair(&["train"]) {
            let test = pair(&["t10k", "test"]).unwrap_or_default();
            return Ok(Some(Files::new(Format::Idx, folder, train, test)));
        }
    }
    Ok(None)
}

fn cifar(folders: &[PathBuf]) -> Option<Files> {
    let of = |folder: &PathBuf| {
        let train: Vec<PathBuf> = (1..=5).map(|i| folder.join(format!("data_batch_{i}.bin"))).collect();
        let test = vec![folder.join("test_batch.bin")];
        // A missing one is named when it is read: a part of the batches is not the dataset.
        let any = train.iter().any(|path| path.is_file());
        any.then(|| Files::new(Format::Cifar, folder, train, test))
    };
    folders.iter().find_map(of)
}

fn mat(folder: &Path) -> Option<Files> {
    let file = |part: &str| Some(folder.join(format!("{part}_32x32.mat"))).filter(|path| path.is_file());
    let mut train = vec![file("train")?];
    train.extend(file("extra"));
    let test = file("test").into_iter().collect();
    Some(Files::new(Format::Mat, folder, train, test))
}

fn pictures(folders: &[PathBuf]) -> Result<Option<Files>> {
    for folder in folders {
        let train: Vec<PathBuf> = list(folder)?.into_iter().filter(|path| is_picture(path)).collect();
        if !train.is_empty() {
            return Ok(Some(Files::new(Format::Pictures, folder, train, Vec::new())));
        }
    }
    Ok(None)
}

/// Parquet files in `folder` and the folders in it, by the beginning of their names: `test` is the test part,
/// `validation` belongs to neither, `extra` follows the rest if `extra` is wanted, and the rest is the training part.
pub(crate) fn parquet(folder: &Path, extra: bool) -> Result<Option<Files>> {
    let mut found = list(folder)?;
    for path in found.clone() {
        if path.is_dir() {
            found.extend(list(&path)?);
        }
    }
    let (mut train, mut more, mut test) = (Vec::new(), Vec::new(), Vec::new());
    for path in found.into_iter().filter(|path| extension(path) == "parquet" && path.is_file()) {
        let name = file_name(&path).to_lowercase();
        match name {
            _ if name.starts_with("test") => test.push(path),
            _ if name.starts_with("valid") => {}
            _ if name.starts_with("extra") && extra => more.push(path),
            _ => train.push(path),
        }
    }
    train.append(&mut more);
    let files = Files::new(Format::Parquet, folder, train, test);
    Ok(Some(files).filter(|files| !files.train.is_empty()))
}

/// Names of a folder of test images beside `train`.
const TEST_FOLDERS: [&str; 4] = ["test", "val", "valid", "validation"];

/// Folders of pictures, each a class; in `train` and in the first of [`TEST_FOLDERS`] that has any, if there is a `train`.
fn folders(folder: &Path) -> Result<Option<Files>> {
    let train_folder = folder.join("train");
    let split = train_folder.is_dir();
    let train_folder = if split { train_folder } else { folder.into() };
    let subfolders = |folder: &Path| -> Result<Vec<PathBuf>> {
        Ok(list(folder)?.into_iter().filter(|path| path.is_dir()).collect())
    };
    // A folder without pictures, such as macOS puts into archives, is no class.
    let inside = |folder: &Path| -> Result<(Vec<String>, Vec<PathBuf>)> {
        let (mut classes, mut pictures) = (Vec::new(), Vec::new());
        for class in subfolders(folder)? {
            let before = pictures.len();
            pictures.extend(list(&class)?.into_iter().filter(|path| is_picture(path)));
            if pictures.len() > before {
                classes.push(file_name(&class));
            }
        }
        Ok((classes, pictures))
    };
    let (names, train) = inside(&train_folder)?;
    let mut test = Vec::new();
    for name in TEST_FOLDERS.iter().filter(|_| split) {
        if test.is_empty() {
            test = inside(&folder.join(name))?.1;
        }
    }
    let files = Files::new(Format::Folders(names), folder, train, test);
    Ok(Some(files).filter(|files| !files.train.is_empty()))
}

/// What is in `folder`, sorted by name; nothing, if there is no such folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let bad = |source| Error::Io { file: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(bad)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(bad)?.path();
        if !file_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

pub(crate) fn is_picture(path: &Path) -> bool {
    matches!(extension(path).as_str(), "png" | "jpg" | "jpeg")
}
