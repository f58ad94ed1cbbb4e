//! The answers of a model that was trained elsewhere, and checks of their plausibility.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, safetensors::load_buffer};
use lerp_files::printable;
use serde::Deserialize;

use super::{
    npy,
    task::{BETWEEN, DECODED, LATENTS, LEFT, NamedArray, RIGHT, SMALL, TEST, WantedArray},
};
use crate::{Error, ExternalModel, POSITIONS, Result, evaluate::squared_error};

/// The file name of a model's record, among its answers.
pub(crate) const RECORD: &str = "record.json";

/// The maximum size in bytes of a file of answers.
const MAX_FILE_BYTES: u64 = 1 << 36;

/// The maximum numbers of characters of the short texts (framework, version, device), and of the notes.
const MAX_TEXT_CHARS: usize = 200;
const MAX_NOTES_CHARS: usize = 2000;

/// The maximum number of training samples that a record may state.
const MAX_SAMPLES: u64 = 1 << 50;

/// A magnitude that pixels of images in [-1, 1] never reach, however badly they are decoded.
const FAR: f64 = 10.0;

/// The file `record.json`: what a model's owner states about it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRecord {
    /// Digest of the task that was answered.
    pub task: String,
    framework: Option<String>,
    version: Option<String>,
    device: Option<String>,
    notes: Option<String>,
    /// Number of samples that it was trained on, if stated.
    pub samples: Option<u64>,
    /// Seed of its training, if stated.
    pub seed: Option<u64>,
}

impl AnswerRecord {
    /// Reads the record of the answers in `folder`.
    ///
    /// # Errors
    /// If there is no record, or it is invalid.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let bad = |problem: String| Error::bad_file(&path, problem);
        let text = match lerp_files::read_to_string(&path, SMALL) {
            Err(error) if error.is_not_found() => {
                return Err(bad(
                    "is missing: the task is not answered yet; lerp_task.py writes it with the answers"
                        .into(),
                ));
            }
            text => text?,
        };
        let record: Self = serde_json::from_str(&text).map_err(|e| {
            let known = "task, framework, version, device, notes, samples, seed";
            bad(format!("is not the record of a model ({}); it may have: {known}", printable(&e.to_string())))
        })?;
        let short =
            [("framework", &record.framework), ("version", &record.version), ("device", &record.device)];
        let short = short.map(|(name, text)| (name, text, MAX_TEXT_CHARS));
        for (name, text, most) in short.into_iter().chain([("notes", &record.notes, MAX_NOTES_CHARS)]) {
            if text.as_ref().is_some_and(|text| text.chars().count() > most) {
                return Err(bad(format!("has a '{name}' of more than {most} characters; shorten it")));
            }
        }
        if record.samples.is_some_and(|samples| samples > MAX_SAMPLES) {
            return Err(bad("states 'samples' above 2^50".into()));
        }
        Ok(record)
    }

    /// Returns what a run stores of the record, with the digests of all answers, and of those about the figures'
    /// images.
    pub fn external_model(&self, digest: String, figures: String) -> ExternalModel {
        // Reduced to one line without control characters, for terminals and pages.
        let line = |text: &Option<String>| {
            text.as_ref().map(|text| printable(text.trim()).into_owned()).filter(|text| !text.is_empty())
        };
        ExternalModel {
            framework: line(&self.framework),
            version: line(&self.version),
            device: line(&self.device),
            notes: line(&self.notes),
            task: Some(self.task.clone()),
            digest,
            figures: Some(figures),
        }
    }
}

/// The arrays of a model's answers, by file and name.
#[derive(Debug)]
pub(crate) struct AnswerArrays {
    arrays: BTreeMap<(String, String), Tensor>,
    /// SHA-256 of all arrays together.
    pub digest: String,
}

impl AnswerArrays {
    /// Reads the arrays `wanted` from the folder of a task, and checks them against the task's `images`.
    ///
    /// # Errors
    /// If an array is missing or invalid; the error states the likely cause.
    pub fn read(folder: &Path, wanted: &[WantedArray], images: &[NamedArray]) -> Result<Self> {
        let mut arrays = BTreeMap::new();
        let mut digests = Vec::new();
        for file in [DECODED, LATENTS] {
            let source = ArraySource::open(folder, file)?;
            for wanted in wanted.iter().filter(|wanted| wanted.file == file) {
                let Some((array, found_in)) = source.find(&wanted.name)? else {
                    if wanted.optional {
                        continue;
                    }
                    let problem = format!(
                        "holds no '{}'; lerp_task.py writes all that is wanted, and task.json lists it",
                        wanted.name
                    );
                    return Err(Error::bad_file(&source.path, problem));
                };
                let bad =
                    |problem: String| Error::bad_file(&found_in, format!("('{}') {problem}", wanted.name));
                check_shape(&array, wanted).map_err(bad)?;
                check_values(&array, wanted).map_err(bad)?;
                digests.push((
                    file,
                    wanted.name.clone(),
                    lerp_files::digest(&safetensors::View::data(&array)),
                ));
                arrays.insert((wanted.file.clone(), wanted.name.clone()), array);
            }
        }
        let all = serde_json::to_vec(&digests).map_err(|e| {
            Error::bad_file(folder, format!("has answers whose digest cannot be computed: {e}"))
        })?;
        let answers = Self { arrays, digest: lerp_files::digest(&all) };
        answers.check_likeness(folder, images)?;
        Ok(answers)
    }

    /// Returns the array `name` of the file `file`, if it was given.
    pub fn find(&self, file: &str, name: &str) -> Option<&Tensor> {
        self.arrays.get(&(file.to_owned(), name.to_owned()))
    }

    /// Returns the array `name` of the file `file`.
    ///
    /// # Errors
    /// If the array was not among those that were wanted.
    pub fn get(&self, file: &str, name: &str) -> Result<&Tensor> {
        let missing = || Error::MissingAnswer { file: file.to_owned(), array: name.to_owned() };
        self.find(file, name).ok_or_else(missing)
    }

    /// Detects swapped axes and reversed interpolations: images that would be much nearer to the task's if they
    /// were transposed or reversed.
    fn check_likeness(&self, folder: &Path, images: &[NamedArray]) -> Result<()> {
        let asked = |name: &str| NamedArray::find(images, name);
        // The factor keeps untrained models from being refused: they are about equally near either way.
        let much = |nearer: f64, given: f64| nearer < 0.5 * given;
        let bad = |name: &str, problem: &str| {
            Err(Error::bad_file(folder, format!("has answers, '{name}', {problem}")))
        };
        let decoded = self.get(DECODED, TEST)?;
        if let Some(images) = asked(TEST) {
            let images = images.narrow(0, 0, decoded.dim(0)?)?;
            let (_, height, width, _) = images.dims4()?;
            let given = squared_error(decoded, &images)?;
            if height == width
                && much(squared_error(&decoded.transpose(1, 2)?.contiguous()?, &images)?, given)
            {
                return bad(TEST, "in which height and width are exchanged; write x.swapaxes(-3, -2)");
            }
        }
        let between = self.get(DECODED, BETWEEN)?;
        if let (Some(left), Some(right)) = (asked(LEFT), asked(RIGHT)) {
            let at = |position: usize| -> Result<Tensor> { Ok(between.narrow(1, position, 1)?.squeeze(1)?) };
            let (first, last) = (at(0)?, at(POSITIONS - 1)?);
            let given = squared_error(&first, left)? + squared_error(&last, right)?;
            if much(squared_error(&first, right)? + squared_error(&last, left)?, given) {
                return bad(
                    BETWEEN,
                    "that go from right to left; position 0 is the image left, position 15 the image right",
                );
            }
        }
        Ok(())
    }
}

/// The arrays of a safetensors file of answers, or of a folder of `.npy` files in its place.
struct ArraySource {
    /// Path of the file or folder.
    path: PathBuf,
    /// The file's arrays by name; `None` for a folder.
    tensors: Option<std::collections::HashMap<String, Tensor>>,
}

impl ArraySource {
    fn open(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.safetensors"));
        let bytes = match lerp_files::read(&path, MAX_FILE_BYTES) {
            Err(error) if error.is_not_found() => {
                let within = folder.join(name);
                if lerp_files::is_folder(&within) {
                    return Ok(Self { path: within, tensors: None });
                }
                let problem = format!(
                    "is missing, and there is no folder {name} of .npy files either; lerp_task.py writes the answers"
                );
                return Err(Error::bad_file(&path, problem));
            }
            bytes => bytes?,
        };
        let tensors = load_buffer(&bytes, &Device::Cpu).map_err(|e| {
            Error::bad_file(&path, format!("is no safetensors file, or damaged ({e}); write it again"))
        })?;
        Ok(Self { path, tensors: Some(tensors) })
    }

    /// Returns an array as `f32`, and the path of its file; `None` if there is no such array.
    fn find(&self, name: &str) -> Result<Option<(Tensor, PathBuf)>> {
        let Some(tensors) = &self.tensors else {
            let path = self.path.join(format!("{name}.npy"));
            return match lerp_files::read(&path, MAX_FILE_BYTES) {
                Err(error) if error.is_not_found() => Ok(None),
                bytes => Ok(Some((npy::tensor(&path, &bytes?)?, path))),
            };
        };
        let Some(tensor) = tensors.get(name) else { return Ok(None) };
        match tensor.dtype() {
            DType::F32 | DType::F16 | DType::BF16 | DType::F64 => {
                Ok(Some((tensor.to_dtype(DType::F32)?, self.path.clone())))
            }
            other => {
                let problem = format!(
                    "('{name}') holds numbers of type {}; write 32-bit floating-point numbers, images in [-1, 1]",
                    other.as_str()
                );
                Err(Error::bad_file(&self.path, problem))
            }
        }
    }
}

/// Checks the shape of an array; the error states the likely cause of a mismatch.
fn check_shape(array: &Tensor, wanted: &WantedArray) -> std::result::Result<(), String> {
    let (given, want) = (array.dims(), &wanted.shape[..]);
    let fits = if wanted.images() {
        given == want
    } else {
        given.len() > want.len() && given.starts_with(want) && array.elem_count() > 0
    };
    if fits {
        return Ok(());
    }
    let shown = if wanted.images() {
        format!("{want:?}")
    } else {
        format!("{want:?} and then the sizes of a latent").replace("] and", ", ...] and")
    };
    let is = format!("is {given:?}, wanted {shown}");
    let lead = if wanted.images() { want.len() - 3 } else { want.len() };
    let first: usize = want[..lead].iter().product();
    let because = if wanted.images() && given == channels_first(want) {
        "channels come first here; write x.transpose so that they come last (lerp_task.py does with channels_first=True)"
            .to_owned()
    } else if wanted.images() && want.ends_with(&[1]) && given == &want[..want.len() - 1] {
        "the axis of the one channel is missing; write x[..., None]".into()
    } else if lead == 2 && given.len() >= 2 && given[..2] == [want[1], want[0]] && want[0] != want[1] {
        "positions come before pairs; write x.swapaxes(0, 1)".into()
    } else if lead == 2 && given.first() == Some(&first) {
        format!("pairs and positions are one axis; write x.reshape({}, {}, ...)", want[0], want[1])
    } else if given.first().is_some_and(|count| *count < want[0]) {
        format!("these are {} of {}; answer all of them", given[0], want[0])
    } else {
        "the shape is in task.json".into()
    };
    Err(format!("{is}: {because}"))
}

/// Returns the channels-first shape of images with the channels-last shape `last`.
fn channels_first(last: &[usize]) -> Vec<usize> {
    let (lead, image) = last.split_at(last.len() - 3);
    [lead, &[image[2], image[0], image[1]]].concat()
}

/// Checks that an array is finite, and that images are roughly in [-1, 1].
fn check_values(array: &Tensor, wanted: &WantedArray) -> std::result::Result<(), String> {
    let values = array.flatten_all().and_then(|all| all.to_vec1::<f32>()).map_err(|e| e.to_string())?;
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        let each: usize = array.dims()[1..].iter().product();
        let (count, first) = (values.iter().filter(|value| !value.is_finite()).count(), index / each.max(1));
        return Err(format!(
            "holds {count} numbers that are not finite, the first in number {first} of its first axis"
        ));
    }
    if !wanted.images() {
        return Ok(());
    }
    let least = f64::from(values.iter().copied().fold(f32::INFINITY, f32::min));
    let most = f64::from(values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let range = format!("holds values from {least:.3} to {most:.3}, wanted [-1, 1]");
    if most > FAR && least >= 0.0 && most <= 256.0 {
        return Err(format!("{range}: these seem to be bytes; write x / 127.5 - 1"));
    }
    if most > FAR || least < -FAR {
        return Err(format!(
            "{range}: scale the images that the model is trained on to [-1, 1], and decode to that"
        ));
    }
    if least >= 0.0 && most > 0.0 {
        return Err(format!("{range}: these seem to be in [0, 1]; write 2 * x - 1"));
    }
    Ok(())
}
