//! The task for a model that was trained elsewhere: the images to encode and decode, and the answers wanted.

use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};

use candle_core::{DType, Device, Tensor};
use lerp_core::{Draws, ImageShape};
use lerp_data::{Batch, Dataset, Lines, Split};
use lerp_eval::{PairEnds, test_images, test_pairs};
use safetensors::View;
use serde::{Deserialize, Serialize};

use super::npy;
use crate::{
    Cell, EVALUATED_PAIRS, Error, MAX_RESTARTS, POSITIONS, Result,
    evaluate::{Chunk, chunks, tested, tested_lines},
    paths::IMAGE_PAIRS,
    representation,
    strips::Ends,
};

/// The format of a task's files.
const FORMAT: &str = "lerp task 1";

/// The file name of a task's description.
pub(crate) const DESCRIPTION: &str = "task.json";

/// The maximum size in bytes of a description or record.
pub(crate) const SMALL: u64 = 1 << 20;

/// The parameters that determine the images of a task.
///
/// # Examples
/// A task is written into a folder, which another program answers and [`TaskAnswers`](crate::TaskAnswers) reads.
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use lerp_data::Lines;
/// use lerp_train::{ArrayFormat, EVALUATED_PAIRS, Task};
///
/// let (dataset, never) = ("lines".to_owned(), AtomicBool::new(false));
/// let task = Task { dataset, data: None, seed: 0, step: 100, test_samples: 8, cluster_restarts: None };
/// let folder = tempfile::tempdir()?;
/// task.write(&Lines, &[ArrayFormat::Safetensors], folder.path(), "1.0", &never)?;
/// assert!(folder.path().join("images.safetensors").exists());
/// assert_eq!(Task::read(folder.path())?, task);
///
/// // The pairs to interpolate between, the pairs of Figure 3, and the images to reconstruct.
/// let images = task.images(&Lines, &never)?;
/// let shapes: Vec<_> = images.iter().map(|images| (images.name, images.array.dims()[0])).collect();
/// assert_eq!(shapes[..2], [("left", EVALUATED_PAIRS), ("right", EVALUATED_PAIRS)]);
/// assert_eq!(shapes[2..], [("figure_left", 6), ("figure_right", 6), ("test", 8)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Name of the dataset.
    pub dataset: String,
    /// SHA-256 of its images; `None` for a generated dataset.
    pub data: Option<String>,
    /// Seed of generated lines, and of k-means.
    pub seed: u64,
    /// Step of the evaluation whose draws the task uses; lines are drawn anew at every evaluation.
    pub step: u64,
    /// Number of images to reconstruct: lines, or images of an image set, of which all are taken if it has no more
    /// than this.
    pub test_samples: usize,
    /// Number of k-means restarts, on labelled image sets.
    pub cluster_restarts: Option<usize>,
}

/// The file format of arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayFormat {
    /// One `.npy` file for each array.
    Npy,
    /// One safetensors file with all arrays.
    Safetensors,
}

/// An array with its name.
#[derive(Debug, Clone)]
pub struct NamedArray {
    /// Name of the array.
    pub name: &'static str,
    /// The array.
    pub array: Tensor,
}

impl NamedArray {
    fn new(name: &'static str, array: Tensor) -> Self {
        Self { name, array }
    }

    /// Returns the array `name` of `arrays`, if there is one.
    pub(super) fn find<'a>(arrays: &'a [Self], name: &str) -> Option<&'a Tensor> {
        arrays.iter().find(|known| known.name == name).map(|known| &known.array)
    }
}

/// The file `task.json`: a task with everything that another program needs to answer it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskDescription {
    format: String,
    /// Version of the software that wrote it.
    version: String,
    title: String,
    /// SHA-256 of everything that determines the images; the record of the answers must repeat it.
    pub digest: String,
    pub task: Task,
    /// Height, width and channels of an image.
    image: [usize; 3],
    /// The memory layout of images, in words.
    layout: String,
    /// Minimum and maximum of pixel values.
    range: [f32; 2],
    /// Number of positions of an interpolation; position `i` is at the interpolation coefficient α = `i` / 15.
    positions: usize,
    /// The task's arrays of images, by name.
    images: BTreeMap<String, ArrayDescription>,
    /// The arrays that are wanted as answers.
    answers: Vec<WantedArray>,
}

/// An array as listed in a description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ArrayDescription {
    shape: Vec<usize>,
    /// SHA-256 of its numbers as little-endian `f32` in C order.
    sha256: String,
}

/// An array that is wanted as an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WantedArray {
    /// Name of the file, or of the folder of `.npy` files, that contains it: `decoded` or `latents`.
    pub file: String,
    /// Name of the array.
    pub name: String,
    /// Shape of the array; for latents only the leading dimensions, because every model chooses the shape of its
    /// latents.
    pub shape: Vec<usize>,
    /// Whether the array may be omitted.
    pub optional: bool,
}

impl WantedArray {
    /// Returns whether the array holds images rather than latents.
    pub fn images(&self) -> bool {
        self.file == DECODED
    }
}

/// The names of the files of answers: decoded images, and latents.
pub(crate) const DECODED: &str = "decoded";
pub(crate) const LATENTS: &str = "latents";

/// The names of a task's arrays of images.
pub(crate) const LEFT: &str = "left";
pub(crate) const RIGHT: &str = "right";
const FIGURE_LEFT: &str = "figure_left";
const FIGURE_RIGHT: &str = "figure_right";
pub(crate) const TEST: &str = "test";
pub(crate) const TRAIN: &str = "train";

/// The names of further arrays of answers.
pub(crate) const BETWEEN: &str = "between";
pub(crate) const FIGURE: &str = "figure";
pub(crate) const FIGURE_AGAIN: &str = "figure_again";
pub(crate) const TRAIN_FEATURES: &str = "train_features";
pub(crate) const TEST_FEATURES: &str = "test_features";

impl Task {
    /// Returns the task whose images are those of the last evaluation of a run of `cell`; `data` is the SHA-256 of
    /// the run's images.
    pub fn like(cell: &Cell, data: Option<String>) -> Self {
        Self {
            dataset: cell.dataset.clone(),
            data,
            seed: cell.seed,
            step: cell.steps(),
            test_samples: cell.test_samples,
            cluster_restarts: cell.cluster_restarts,
        }
    }

    /// Returns whether the task is on the lines dataset.
    pub(crate) fn on_lines(&self) -> bool {
        self.dataset == Lines::NAME
    }

    /// Returns the draws of an evaluation (scope `eval`) or of the measurements at the end of a run (scope
    /// `final`).
    pub(crate) fn draws(&self, scope: &str) -> Draws {
        Draws::new(self.seed, &Device::Cpu).scope(scope).at(self.step)
    }

    /// Returns the end points of the interpolations for display.
    pub(crate) fn ends(&self, dataset: &dyn Dataset) -> Result<Ends> {
        Ends::of(dataset, &self.draws("eval").scope("figure"))
    }

    /// Checks that the task is valid for `dataset`.
    ///
    /// # Errors
    /// The first invalid field, as the predicate of a sentence about the file.
    pub(crate) fn check(&self, dataset: &dyn Dataset) -> std::result::Result<(), String> {
        if !(1..=1 << 20).contains(&self.test_samples) {
            return Err(format!("asks for {} test images; 1 to 2^20 are possible", self.test_samples));
        }
        check_restarts(self.cluster_restarts, dataset)
    }

    /// Returns the lines of a task on lines: the left ones, then as many right ones.
    pub(super) fn lines(&self, dataset: &dyn Dataset) -> Result<Batch> {
        tested_lines(dataset, &self.draws("eval"))
    }

    /// Returns the images of the task, by name.
    ///
    /// # Shapes
    /// `[images, height, width, channels]`, `f32` in [-1, 1], on the CPU.
    ///
    /// # Errors
    /// If they cannot be read, or `stop` became true.
    pub fn images(&self, dataset: &dyn Dataset, stop: &AtomicBool) -> Result<Vec<NamedArray>> {
        let draws = self.draws("eval");
        let PairEnds { left, right } = if self.on_lines() {
            PairEnds::of_first(&self.lines(dataset)?.images, EVALUATED_PAIRS)?
        } else {
            test_pairs(dataset, IMAGE_PAIRS, &draws.scope("paths"))?
        };
        let PairEnds { left: figure_left, right: figure_right } = self.ends(dataset)?.images;
        let mut images = vec![
            NamedArray::new(LEFT, left),
            NamedArray::new(RIGHT, right),
            NamedArray::new(FIGURE_LEFT, figure_left),
            NamedArray::new(FIGURE_RIGHT, figure_right),
        ];
        if self.cluster_restarts.is_some() {
            for (name, split) in [(TEST, Split::Test), (TRAIN, Split::Train)] {
                images.push(NamedArray::new(name, representation::read_split(dataset, split, stop)?.0));
            }
        } else {
            let samples = tested(dataset, self.test_samples)?;
            let chunk =
                |chunk: Chunk| Ok(test_images(dataset, chunk.first, chunk.size, &chunk.draws)?.images);
            let chunks = chunks(samples, &draws.scope("test")).map(chunk).collect::<Result<Vec<_>>>()?;
            images.push(NamedArray::new(TEST, Tensor::cat(&chunks, 0)?));
        }
        Ok(images)
    }

    /// Returns the answers that are wanted for `images`.
    pub(crate) fn wanted(&self, images: &[NamedArray], shape: ImageShape) -> Vec<WantedArray> {
        let count =
            |name: &str| NamedArray::find(images, name).and_then(|images| images.dims().first().copied());
        let ImageShape { height, width, channels } = shape;
        let decoded = |name: &str, lead: &[usize]| WantedArray {
            file: DECODED.into(),
            name: name.into(),
            shape: [lead, &[height, width, channels]].concat(),
            optional: false,
        };
        let latents = |name: &str, lead: &[usize], optional| WantedArray {
            file: LATENTS.into(),
            name: name.into(),
            shape: lead.to_vec(),
            optional,
        };
        let [pairs, figures, test] = [LEFT, FIGURE_LEFT, TEST].map(|name| count(name).unwrap_or(0));
        let mut wanted = vec![
            decoded(BETWEEN, &[pairs, POSITIONS]),
            decoded(FIGURE, &[figures, POSITIONS]),
            decoded(TEST, &[test.min(self.test_samples)]),
            latents(BETWEEN, &[pairs, POSITIONS], false),
        ];
        if !self.on_lines() {
            wanted.push(decoded(FIGURE_AGAIN, &[figures, POSITIONS]));
        }
        if let Some(train) = count(TRAIN) {
            for (name, count) in [(TRAIN, train), (TEST, test)] {
                wanted.push(latents(name, &[count], false));
            }
            for (name, count) in [(TRAIN_FEATURES, train), (TEST_FEATURES, test)] {
                wanted.push(latents(name, &[count], true));
            }
        }
        wanted
    }

    /// Returns the task's description; `version` is the version of this software.
    ///
    /// # Errors
    /// If the digest of the task cannot be computed.
    pub(crate) fn described(
        &self,
        dataset: &dyn Dataset,
        images: &[NamedArray],
        version: &str,
    ) -> Result<TaskDescription> {
        let shape = dataset.image();
        let arrays = images.iter().map(|NamedArray { name, array }| {
            let sha256 = lerp_files::digest(&View::data(array));
            ((*name).to_owned(), ArrayDescription { shape: array.dims().to_vec(), sha256 })
        });
        let arrays: BTreeMap<String, ArrayDescription> = arrays.collect();
        let decides =
            serde_json::to_vec(&(FORMAT, self, &arrays)).map_err(|e| Error::encoding(DESCRIPTION, &e))?;
        Ok(TaskDescription {
            format: FORMAT.into(),
            version: version.into(),
            title: dataset.title().into(),
            digest: lerp_files::digest(&decides),
            task: self.clone(),
            image: [shape.height, shape.width, shape.channels],
            layout:
                "channels last: [images, height, width, channels]; channels first is x.transpose(0, 3, 1, 2)"
                    .into(),
            range: [-1.0, 1.0],
            positions: POSITIONS,
            answers: self.wanted(images, shape),
            images: arrays,
        })
    }

    /// Writes the task's description and images into a folder.
    ///
    /// # Errors
    /// If they cannot be read or written.
    pub fn write(
        &self,
        dataset: &dyn Dataset,
        formats: &[ArrayFormat],
        folder: &Path,
        version: &str,
        stop: &AtomicBool,
    ) -> Result<()> {
        let images = self.images(dataset, stop)?;
        let description = self.described(dataset, &images, version)?;
        write_arrays(&images, "images", formats, folder)?;
        lerp_files::replace(&folder.join(DESCRIPTION), &crate::files::json(DESCRIPTION, &description)?)?;
        Ok(())
    }

    /// Reads the description in the folder of a task.
    ///
    /// # Errors
    /// If there is no valid description.
    pub(crate) fn read_description(folder: &Path) -> Result<TaskDescription> {
        let path = folder.join(DESCRIPTION);
        let text = match lerp_files::read_to_string(&path, SMALL) {
            Err(error) if error.is_not_found() => {
                return Err(Error::bad_file(
                    folder,
                    format!("has no {DESCRIPTION}; give a folder that `lerp score prepare` has written"),
                ));
            }
            text => text?,
        };
        let format = serde_json::from_str::<serde_json::Value>(&text).ok();
        let format = format.as_ref().and_then(|value| value.get("format")?.as_str());
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            let problem = format!(
                "has the format '{format}', and this version reads '{FORMAT}'; prepare the task anew"
            );
            return Err(Error::bad_file(&path, problem));
        }
        serde_json::from_str(&text)
            .map_err(|e| Error::bad_file(&path, format!("is damaged ({e}); prepare the task anew")))
    }

    /// Reads the task in a folder.
    ///
    /// # Errors
    /// If there is no valid description.
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(Self::read_description(folder)?.task)
    }
}

/// Checks the number of k-means restarts, and that latents of `dataset` can be clustered if `restarts` is given.
///
/// # Errors
/// The problem, as the predicate of a sentence.
pub(crate) fn check_restarts(
    restarts: Option<usize>,
    dataset: &dyn Dataset,
) -> std::result::Result<(), String> {
    let counted = matches!(dataset.count(Split::Train), Ok(Some(1..)));
    match restarts {
        Some(_) if !counted || dataset.classes() == 0 => Err(format!(
            "asks for clusters of {}, which has no labels or no fixed set of images",
            dataset.name()
        )),
        Some(restarts) if !(1..=MAX_RESTARTS).contains(&restarts) => {
            Err(format!("asks for {restarts} restarts of k-means; 1 to {MAX_RESTARTS} are possible"))
        }
        _ => Ok(()),
    }
}

/// Returns the first `count` training images as a run with this `seed` and batch size sees them, and their classes
/// if there are labels.
///
/// # Shapes
/// `training` `[count, height, width, channels]`, `f32`; `training_labels` `[count]`, `i64`.
///
/// # Errors
/// If they cannot be read.
pub fn training_images(
    dataset: &dyn Dataset,
    seed: u64,
    batch: usize,
    count: usize,
) -> Result<Vec<NamedArray>> {
    let draws = Draws::new(seed, &Device::Cpu).scope("data");
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for step in 0..count.div_ceil(batch) {
        let read = dataset.train_batch(batch, &draws.at(step as u64))?;
        let size = batch.min(count - step * batch);
        images.push(read.images.narrow(0, 0, size)?);
        if let Some(classes) = read.labels {
            labels.push(classes.narrow(0, 0, size)?.to_dtype(DType::I64)?);
        }
    }
    let mut arrays = vec![NamedArray::new("training", Tensor::cat(&images, 0)?)];
    if !labels.is_empty() {
        arrays.push(NamedArray::new("training_labels", Tensor::cat(&labels, 0)?));
    }
    Ok(arrays)
}

/// Writes arrays into a folder: each as `NAME/ARRAY.npy`, or all as `NAME.safetensors`, or both.
///
/// # Errors
/// If they cannot be written.
pub fn write_arrays(arrays: &[NamedArray], name: &str, formats: &[ArrayFormat], folder: &Path) -> Result<()> {
    if formats.contains(&ArrayFormat::Npy) {
        let within = folder.join(name);
        fs::create_dir_all(&within).map_err(lerp_files::Error::at("create", &within))?;
        for NamedArray { name, array } in arrays {
            lerp_files::replace_unsynced(&within.join(format!("{name}.npy")), &npy::bytes(array))?;
        }
    }
    if formats.contains(&ArrayFormat::Safetensors) {
        let file = format!("{name}.safetensors");
        let views = arrays.iter().map(|NamedArray { name, array }| (*name, array));
        let bytes = safetensors::serialize(views, None).map_err(|e| Error::encoding(&file, &e))?;
        lerp_files::replace_unsynced(&folder.join(file), &bytes)?;
    }
    Ok(())
}
