//! Finds the files of image sets, and decides in which split of the dataset each file belongs.

use std::path::{Path, PathBuf};

use lerp_core::{ImageShape, Network};

use crate::{
    Dataset, Error, HubCache, HubSource, Lines, Result,
    error::Fault,
    folders, idx, picture,
    resize::SIDE,
    role::{self, Role},
    tree::{self, Folder, LeftOut, extension, file_name, list},
};

/// One of the paper's image sets, with the network and the images that the paper uses.
#[derive(Debug)]
pub(crate) struct Known {
    pub name: &'static str,
    pub title: &'static str,
    pub channels: usize,
    pub depth: usize,
    /// Names of the classes; empty if the images have no labels.
    pub classes: &'static [&'static str],
    /// Names of the files that the set is read from, for error messages.
    pub files: &'static str,
    pub hub: HubSource,
}

pub(crate) const KNOWN: [Known; 4] = [
    Known {
        name: "mnist",
        title: "MNIST",
        channels: 1,
        depth: 16,
        classes: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
        files: "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                t10k-labels-idx1-ubyte, each with or without .gz, or train-*.parquet and test-*.parquet",
        hub: HubSource {
            repository: "ylecun/mnist",
            revision: "77f3279092a1c1579b2250db8eafed0ad422088c",
            folder: "mnist",
            splits: &["train", "test"],
        },
    },
    Known {
        name: "svhn",
        title: "SVHN",
        channels: 3,
        depth: 64,
        classes: &["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"],
        files: "train_32x32.mat, extra_32x32.mat (if wanted) and test_32x32.mat, or train-*.parquet, \
                extra-*.parquet and test-*.parquet",
        hub: HubSource {
            repository: "ufldl-stanford/svhn",
            revision: "f9e1717d73324ebbc1ece84267ccd80d0aca0690",
            folder: "cropped_digits",
            splits: &["train", "extra", "test"],
        },
    },
    Known {
        name: "cifar10",
        title: "CIFAR-10",
        channels: 3,
        depth: 64,
        classes: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        files: "data_batch_1.bin to data_batch_5.bin and test_batch.bin, or train-*.parquet and test-*.parquet",
        hub: HubSource {
            repository: "uoft-cs/cifar10",
            revision: "0b2714987fa478483af9968de7c934580d0bb9a2",
            folder: "plain_text",
            splits: &["train", "test"],
        },
    },
    Known {
        name: "celeba",
        title: "CelebA",
        channels: 3,
        depth: 64,
        classes: &[],
        files: "the folder img_align_celeba of aligned JPEG images, or *.parquet",
        hub: HubSource {
            repository: "flwrlabs/celeba",
            revision: "2d738f56e0e7f925ea36ae7c808ea925264aacec",
            folder: "img_align+identity+attr",
            splits: &["train", "test"],
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

/// The paper's setup for a dataset, whether its files are present or not.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// Name on the command line, such as `mnist`.
    pub name: &'static str,
    /// Name in tables and figures, such as `MNIST`.
    pub title: &'static str,
    /// Shape of the images.
    pub image: ImageShape,
    /// Sizes of encoder and decoder. The paper has two latent sizes for image sets; this is the larger one for
    /// MNIST, SVHN and CelebA, and the smaller one for CIFAR-10.
    pub network: Network,
    /// Number of classes; 0 if the images have no labels.
    pub classes: usize,
    /// The repository on the Hugging Face hub, such as `ylecun/mnist`, or `None` for a dataset that is drawn.
    pub hub: Option<&'static str>,
}

/// The paper's datasets, in the order of the paper.
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
        classes: known.classes.len(),
        hub: Some(known.hub.repository),
    };
    std::iter::once(lines).chain(KNOWN.iter().map(of))
}

/// The format of a dataset's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    /// One idx file of images, followed by one of labels if there are any. If `turned`, rows and columns of the
    /// images are exchanged, as in EMNIST's files.
    Idx {
        turned: bool,
    },
    Cifar,
    Mat,
    Parquet,
    /// Image files without labels.
    Pictures,
    /// Image files below one folder for each class; these are the names of the classes.
    Folders(Vec<String>),
}

/// The files of a dataset, in the order in which they are read. If `test` is empty, the test split is a holdout
/// set of the training images.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub format: Format,
    pub folder: PathBuf,
    pub train: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
    /// The index of the class of each training file, for [`Format::Folders`]; empty for other formats.
    pub train_classes: Vec<u32>,
    pub test_classes: Vec<u32>,
    /// What the folder holds that is not read.
    pub left_out: LeftOut,
    /// The location on the hub, if the files are in the hub's cache.
    pub hub: Option<&'static HubSource>,
}

impl Files {
    pub fn new(format: Format, folder: &Path, train: Vec<PathBuf>, test: Vec<PathBuf>) -> Self {
        let (train_classes, test_classes) = (Vec::new(), Vec::new());
        let left_out = LeftOut::default();
        Self { format, folder: folder.into(), train, test, train_classes, test_classes, left_out, hub: None }
    }
}

/// Finds the files of one of the paper's image sets: in its sub-folder of `data`, in `data` itself if an
/// archive was unpacked there, or else in the hub's cache.
pub(crate) fn known(known: &'static Known, data: Option<&Path>, cache: &HubCache) -> Result<Files> {
    let folder = data.map(|data| data.join(known.name));
    let in_folder = data.map(|data| in_folder(known, data)).transpose()?.flatten();
    let found = match in_folder {
        Some(found) => Some(found),
        None => cache.find(known)?,
    };
    found.ok_or_else(|| match folder {
        None => Error::NoFolder { name: known.name, files: known.files },
        Some(folder) => Error::NoFiles { name: known.name.into(), folder, files: known.files.into() },
    })
}

fn in_folder(known: &Known, data: &Path) -> Result<Option<Files>> {
    let folder = data.join(known.name);
    let found = match known.name {
        "mnist" => {
            let inner = ["raw", "MNIST/raw"].map(|inner| folder.join(inner));
            let locations = [&folder, &inner[0], &inner[1], &data.join("MNIST/raw")];
            first(locations, |location| idx::files(location, ""))?
        }
        "cifar10" => {
            let inner = "cifar-10-batches-bin";
            [&folder, &folder.join(inner), &data.join(inner), data].into_iter().find_map(cifar)
        }
        "svhn" => [&folder, data].into_iter().find_map(mat),
        _ => {
            let (once, twice) = ("img_align_celeba", "img_align_celeba/img_align_celeba");
            let locations =
                [&folder.join(twice), &folder.join(once), &folder, &data.join(twice), &data.join(once)];
            first(locations, pictures)?
        }
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => parquet(&folder),
    }
}

/// Finds the files of user-supplied images; `kind` is `idx`, `images` or `parquet`.
pub(crate) fn own(name: &str, kind: &str, location: &Path) -> Result<Files> {
    let mut left_out = LeftOut::default();
    let (found, files) = match kind {
        "idx" => (
            idx::own(location)?,
            "*train-images-idx3-ubyte and *train-labels-idx1-ubyte, each with or without .gz, and the same with t10k or \
             test, if wanted"
                .to_owned(),
        ),
        "images" => (
            folders::classes(location, &mut left_out)?,
            format!("one sub-folder of {} images a class, or such sub-folders in train and in test", picture::FORMATS),
        ),
        _ if location.is_file() => {
            let folder = location.parent().unwrap_or(location);
            (Some(Files::new(Format::Parquet, folder, vec![location.into()], Vec::new())), String::new())
        }
        _ => (parquet(location)?, "*.parquet, with 'train' or 'test' in their names or their folders'".to_owned()),
    };
    if let Some(mut found) = found {
        found.left_out.extend(&left_out);
        return Ok(found);
    }
    let flat = kind == "images"
        && list(location, location, &mut LeftOut::default())?
            .0
            .iter()
            .any(|path| is_no_picture(path).is_none());
    let hint = match location {
        _ if flat => " (pictures are there, but not in a sub-folder: its name is their class)".to_owned(),
        _ if location.starts_with("~") => {
            " ('~' is expanded only by a shell, at the beginning of a word)".to_owned()
        }
        _ => match left_out.lines() {
            lines if lines.is_empty() => String::new(),
            lines => format!(" (there is: {})", lines.join("; ")),
        },
    };
    Err(Error::NoFiles { name: name.into(), folder: location.into(), files: format!("{files}{hint}") })
}

/// Returns the files in the first of `locations` that has any.
fn first<'a>(
    locations: impl IntoIterator<Item = &'a PathBuf>,
    find: impl Fn(&Path) -> Result<Option<Files>>,
) -> Result<Option<Files>> {
    locations.into_iter().find_map(|location| find(location).transpose()).transpose()
}

fn cifar(folder: &Path) -> Option<Files> {
    let train: Vec<PathBuf> = (1..=5).map(|i| folder.join(format!("data_batch_{i}.bin"))).collect();
    let test = vec![folder.join("test_batch.bin")];
    // All batches are listed if one is there: the dataset is not complete without the others, and reading a
    // missing file is an error that names it.
    let any = train.iter().any(|path| path.is_file());
    any.then(|| Files::new(Format::Cifar, folder, train, test))
}

fn mat(folder: &Path) -> Option<Files> {
    let file = |split: &str| Some(folder.join(format!("{split}_32x32.mat"))).filter(|path| path.is_file());
    let mut train = vec![file("train")?];
    train.extend(file("extra"));
    let test = file("test").into_iter().collect();
    Some(Files::new(Format::Mat, folder, train, test))
}

fn pictures(folder: &Path) -> Result<Option<Files>> {
    let mut left_out = LeftOut::default();
    let (files, _) = list(folder, folder, &mut left_out)?;
    let (train, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| is_picture(path));
    for path in others {
        left_out.add("file", OTHER, &file_name(&path));
    }
    let files = Files { left_out, ..Files::new(Format::Pictures, folder, train, Vec::new()) };
    Ok(Some(files).filter(|files| !files.train.is_empty()))
}

/// Finds the parquet files in `folder` and below, and sorts them into splits by the words in the names of files
/// and folders. If one name tells a split, all must. Files of a split `extra` follow those of the training split.
/// A validation split becomes the test split if there is no other, and is not used if there is one.
///
/// # Errors
/// Returns an error if a file's split is ambiguous: training on it might be training on test images.
pub(crate) fn parquet(folder: &Path) -> Result<Option<Files>> {
    let mut left_out = LeftOut::default();
    let other = |path: &Path| (extension(path) != "parquet").then_some("no parquet file");
    let all = Folder::read(folder, &other, &mut left_out)?.all();
    let (mut train, mut extra, mut test, mut validation, mut none) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    for path in all {
        let inside = path.strip_prefix(folder).unwrap_or(&path);
        let role = role::of_path(inside).map_err(|_| {
            let expected = "a name that tells to which split of the dataset the file belongs";
            Fault::new(expected, "words of two splits, such as 'train' and 'test', in its path").at(&path)
        })?;
        match role {
            Some(Role::Train) => train.push(path),
            Some(Role::Extra) => extra.push(path),
            Some(Role::Test) => test.push(path),
            Some(Role::Validation) => validation.push(path),
            None => none.push(path),
        }
    }
    train.append(&mut extra);
    let named = [&train, &test, &validation].iter().any(|split| !split.is_empty());
    if let Some(first) = none.first().filter(|_| named) {
        let expected =
            "'train', 'test' or 'validation' in its name or its folder's, as in those of other files here";
        let found = if none.len() > 1 {
            format!("none (nor in those of {} more)", none.len() - 1)
        } else {
            "none".into()
        };
        return Err(Fault::new(expected, found).at(first));
    }
    one_series(folder, &none)?;
    train.append(&mut none);
    if test.is_empty() {
        test = validation;
    } else {
        for path in validation {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            left_out.add("file", "validation images, which are neither trained nor tested on", &name);
        }
    }
    match (train.is_empty(), test.first()) {
        (true, None) => Ok(None),
        (true, Some(test)) => Err(Fault::new("files of a training split beside it", "none").at(test)),
        _ => Ok(Some(Files { left_out, ..Files::new(Format::Parquet, folder, train, test) })),
    }
}

/// Refuses files whose names tell no split and differ in more than digits: one of them may be a test split.
fn one_series(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let series = |path: &Path| -> String {
        let name = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        name.chars().filter(|c| !c.is_ascii_digit()).collect()
    };
    let Some(first) = files.first() else { return Ok(()) };
    match files.iter().find(|path| series(path) != series(first)) {
        None => Ok(()),
        Some(other) => {
            let expected =
                "'train', 'test' or 'validation' in its name, or names that differ in numbers alone";
            Err(Fault::new(expected, format!("'{}' beside it", file_name(first))).at(other))
        }
    }
}

const OTHER: &str = "no image of a format that is read (PNG, JPEG, WebP, BMP, TIFF, GIF)";

/// Whether the extension of a file is that of an image format.
pub(crate) fn is_picture(path: &Path) -> bool {
    picture::is_extension(&extension(path))
}

/// Returns the reason why the file at `path` is not read as an image, or `None` if its extension or its content
/// is that of an image format.
pub(crate) fn is_no_picture(path: &Path) -> Option<&'static str> {
    if is_picture(path) {
        return None;
    }
    let Ok(mut file) = tree::open(path) else { return Some("may not be read") };
    let mut head = [0; 32];
    let read = crate::error::read_most(&mut file, &mut head).unwrap_or(0);
    (!picture::is_content(&head[..read], &extension(path))).then_some(OTHER)
}
