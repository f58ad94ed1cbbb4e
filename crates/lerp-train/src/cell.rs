//! The configuration of a run (the cell of a sweep), and its provenance and status.

use std::hash::Hasher;

use fnv::FnvHasher;
use lerp_core::{Architecture, Hyper, LatentShape, LearningRate, Precision, Schedule};
use lerp_data::{DATASETS, is_own, separate_option};
use lerp_eval::{Metric, Quantity, check_recorded, recorded};
use lerp_files::is_word;
use serde::{Deserialize, Serialize};

use crate::{Error, ExternalModel, Origin, Result};

/// The maximum number of k-means restarts: a hundred times the protocol's.
pub const MAX_RESTARTS: usize = 100_000;

/// The configuration of a run: everything that determines its results, except the kind of device and, on image
/// sets, the images themselves ([`Provenance::data`]). The documentation of this crate begins with an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the variant.
    pub variant: String,
    /// Seed of the initial parameters, the data and the noise.
    pub seed: u64,
    /// Total number of training samples.
    pub samples: u64,
    /// Batch size: samples per training step.
    pub batch: usize,
    /// Adam's learning rate, the same for every parameter group; with a learning-rate schedule, its peak.
    pub learning_rate: f64,
    /// Number of training samples between evaluations (2^16 in the protocol).
    pub eval_every: u64,
    /// Number of training samples between checkpoints.
    pub checkpoint_every: u64,
    /// Number of test samples for reconstruction error and classifier accuracy: 5,000 in the protocol on lines; of
    /// an image set all images, if it has no more than this.
    pub test_samples: usize,
    /// Number of k-means restarts (1,000 in the protocol), if latents are clustered at the end of the run: on
    /// labelled image sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_restarts: Option<usize>,
    /// Precision of the multiplications in convolutions. Full `f32` is not written. Versions without digests wrote
    /// no precision; that of their runs follows from the device.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Decay of the exponential moving average of weights that is evaluated and saved in place of the trained
    /// weights; `None` in the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Learning-rate schedule. A constant one, which is the protocol's, is not written.
    #[serde(default, skip_serializing_if = "Schedule::is_constant")]
    pub schedule: Schedule,
    /// Where the model was trained. A model trained by the run itself, the default, is not written.
    #[serde(default, skip_serializing_if = "Origin::is_trained")]
    pub origin: Origin,
    /// Architecture of encoder and decoder.
    pub network: Architecture,
    /// Hyperparameters of the variant, checked and completed with defaults.
    pub hyper: Hyper,
}

impl Cell {
    /// Returns the name of the cell's folder: readable, and ending in a hash of the whole cell.
    pub fn id(&self) -> String {
        /// The maximum number of bytes of the dataset's part of the name.
        const MAX_NAME_BYTES: usize = 120;
        let name = self.dataset_as_file_name();
        let mut from = name.len().saturating_sub(MAX_NAME_BYTES);
        while !name.is_char_boundary(from) {
            from += 1;
        }
        self.id_with(name[from..].trim_start_matches(['-', '.']))
    }

    /// Returns the alternative name of the cell's folder, for when [`Cell::id`] is taken by a run of an earlier
    /// version, whose name did not depend on its precision.
    pub fn other_id(&self) -> String {
        format!("{}-{}", self.id(), self.precision)
    }

    /// Returns the names that the cell's folder has in this version or had in earlier ones, this version's first.
    /// In earlier versions the name did not depend on the precision.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids = vec![self.id(), self.other_id(), self.id_with(&self.dataset_as_file_name())];
        if !self.precision.is_f32() {
            ids.extend(Self { precision: Precision::F32, ..self.clone() }.ids());
        }
        ids
    }

    fn id_with(&self, dataset: &str) -> String {
        let mut hasher = FnvHasher::default();
        hasher.write(self.canonical().as_bytes());
        let hash = hasher.finish();
        let name = format!("{}-s{}-{:08x}", self.variant, self.seed, (hash ^ (hash >> 32)) as u32);
        if dataset.is_empty() { name } else { format!("{dataset}-{name}") }
    }

    /// Returns a canonical JSON text of the cell, equal for equal cells.
    fn canonical(&self) -> String {
        let mut canonical = self.clone();
        canonical.hyper.sort_keys();
        canonical.network.sort_keys();
        serde_json::to_string(&canonical).unwrap_or_default()
    }

    /// Returns the dataset's name reduced to characters that are safe in file names. A user's own dataset is named
    /// by its path, of which the end is kept.
    fn dataset_as_file_name(&self) -> String {
        /// The maximum number of characters of the dataset's part of the name.
        const MAX_NAME_CHARS: usize = 60;
        let plain = |c: char| if c.is_alphanumeric() || "._".contains(c) { c } else { '-' };
        let name: String = self.dataset.chars().map(plain).collect();
        let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        name.chars().skip(name.chars().count().saturating_sub(MAX_NAME_CHARS)).collect()
    }

    /// Returns the name of the variant that builds the model. For an imported model this differs from the variant
    /// that tables name.
    pub fn builder(&self) -> &str {
        match &self.origin {
            Origin::Imported { variant } => variant,
            Origin::Trained | Origin::Scored => &self.variant,
        }
    }

    /// Returns the number of samples that the model is trained on, if it is known. For an imported model it is not:
    /// what its description says refers to the training before the import.
    pub fn known_samples(&self) -> Option<u64> {
        let known = self.samples > 0 && !matches!(self.origin, Origin::Imported { .. });
        known.then_some(self.samples)
    }

    /// Returns the learning rate as a function of the step.
    pub fn rate(&self) -> LearningRate {
        LearningRate { peak: self.learning_rate, schedule: self.schedule, steps: self.steps() }
    }

    /// Returns the number of training steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.samples.div_ceil(self.batch.max(1) as u64)
    }

    /// Returns the number of samples seen after `step` steps, at most that of the whole run.
    pub fn samples_at(&self, step: u64) -> u64 {
        (step * self.batch as u64).min(self.samples)
    }

    /// Returns the number of steps between evaluations.
    pub fn eval_steps(&self) -> u64 {
        (self.eval_every / self.batch.max(1) as u64).max(1)
    }

    /// Returns the number of steps between checkpoints.
    pub fn checkpoint_steps(&self) -> u64 {
        (self.checkpoint_every / self.batch.max(1) as u64).max(1)
    }

    /// Checks the numbers that neither variant nor dataset checks.
    ///
    /// # Errors
    /// [`Error::BadCell`] for the first number that is out of range.
    pub fn check(&self) -> Result<()> {
        let bad =
            |problem: &str| Err(Error::BadCell(format!("{} on {}: {problem}", self.variant, self.dataset)));
        // For a model that was trained elsewhere, 0 means unknown.
        let here = self.origin.is_trained();
        if self.samples == 0 && here {
            return bad("samples is 0; train on at least 1");
        }
        if self.samples > 1 << 50 {
            return bad("samples may be at most 2^50");
        }
        if !(2..=1 << 16).contains(&self.batch) && (here || self.batch != 0) {
            return bad("batch must be at least 2 and at most 65536");
        }
        if let Err(error) = self.network.check() {
            return bad(&error.to_string());
        }
        let rate = self.learning_rate;
        if !(rate > 0.0 && rate.is_finite()) && (here || rate.to_bits() != 0) {
            return bad("learning_rate must be above 0");
        }
        if let Err(problem) = self.schedule.check() {
            return bad(&format!("schedule: {problem}"));
        }
        if self.schedule.warmup > self.steps() && here {
            let (warmup, steps) = (self.schedule.warmup, self.steps());
            return bad(&format!("schedule: {warmup} steps of warm-up, and the run has {steps}"));
        }
        if self.ema.is_some_and(|decay| !(decay > 0.0 && decay < 1.0)) {
            return bad("ema must be above 0 and below 1, or 0 for none");
        }
        if (self.eval_every == 0 || self.checkpoint_every == 0) && here || self.test_samples == 0 {
            return bad("eval_every, checkpoint_every and test_samples must be at least 1");
        }
        if self.test_samples > 1 << 20 {
            return bad("test_samples may be at most 1048576");
        }
        if self.cluster_restarts.is_some_and(|restarts| !(1..=MAX_RESTARTS).contains(&restarts)) {
            return bad(&format!("cluster_restarts must be at least 1 and at most {MAX_RESTARTS}"));
        }
        Ok(())
    }
}

/// The provenance of a run: software, hardware and data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this software.
    pub version: String,
    /// Git revision of this software, or `unknown`.
    pub git: String,
    /// Device, such as `cpu`.
    pub device: String,
    /// Name of the machine's processor; empty if the system does not report it, and in runs of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub processor: String,
    /// CPU instruction set of the kernels, on which the last bits of results depend; empty in runs of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// Number of threads of the worker process.
    pub threads: usize,
    /// Version of candle.
    pub candle: String,
    /// SHA-256 of the images and labels that the run was trained and tested on; `None` for a generated dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Number of training images and of test images; `None` for a generated dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<[usize; 2]>,
    /// Time at which the run was first started, in RFC 3339 format, UTC.
    pub started: String,
    /// Command that reproduces the run.
    pub command: String,
}

impl Provenance {
    /// Returns the provenance of a temporary run: one CPU thread, and nothing else known.
    pub fn unknown() -> Self {
        Self {
            version: String::new(),
            git: String::new(),
            device: "cpu".into(),
            processor: String::new(),
            instructions: String::new(),
            threads: 1,
            candle: String::new(),
            data: None,
            images: None,
            started: String::new(),
            command: String::new(),
        }
    }
}

/// A segment of a resumed run: what was computed on another device, processor or revision than the segment before
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Number of training samples before this segment.
    pub from: u64,
    /// Device, as in [`Provenance::device`].
    pub device: String,
    /// Processor, as in [`Provenance::processor`].
    pub processor: String,
    /// Instruction set, as in [`Provenance::instructions`].
    pub instructions: String,
    /// Git revision, as in [`Provenance::git`].
    pub git: String,
}

impl Segment {
    /// Returns the segment that begins after `from` samples with the provenance `made`.
    fn of(made: &Provenance, from: u64) -> Self {
        let Provenance { device, processor, instructions, git, .. } = made.clone();
        Self { from, device, processor, instructions, git }
    }
}

/// The file `run.toml`: configuration and provenance of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the run's folder: [`Cell::id`] or another of the cell's names.
    pub id: String,
    /// Name of the variant in tables.
    pub title: String,
    /// Configuration of the run.
    pub cell: Cell,
    /// Whether the run keeps digests of its files, in which case it is damaged if they are missing. False for runs
    /// of earlier versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digests: bool,
    /// Name of the dataset in tables, for a dataset defined in code; reports know the names of all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_title: Option<String>,
    /// Sizes of latents and features; `None` until the model is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<LatentShape>,
    /// For a model that was trained elsewhere: what else is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<ExternalModel>,
    /// Provenance of the run; for a model that was trained elsewhere, that of its evaluation.
    pub provenance: Provenance,
    /// All segments but the first of a run that was resumed with other hardware or software. The provenance of the
    /// first segment is [`RunRecord::provenance`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Segment>,
    /// Quantities measured by user-defined metrics, described so that every report can show them. They are not part
    /// of the run's identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantities: Vec<Quantity>,
}

/// Height and width in pixels of all images in versions that did not write [`RunRecord::shape`].
const SIDE: usize = 32;

impl RunRecord {
    /// Returns the record of a new run of `cell`; tables call its variant `title`.
    pub fn new(cell: Cell, title: &str, provenance: Provenance) -> Self {
        Self {
            id: cell.id(),
            title: title.into(),
            cell,
            digests: true,
            dataset_title: None,
            shape: None,
            elsewhere: None,
            provenance,
            later: Vec::new(),
            quantities: Vec::new(),
        }
    }

    /// Returns the record with the quantities of `metrics` added, or replaced where the key exists.
    #[must_use]
    pub(crate) fn with_quantities(mut self, metrics: &[&dyn Metric]) -> Self {
        for quantity in metrics.iter().flat_map(|metric| recorded(*metric)) {
            match self.quantities.iter_mut().find(|known| known.key == quantity.key) {
                Some(known) => *known = quantity,
                None => self.quantities.push(quantity),
            }
        }
        self
    }

    /// Returns the last segment of the run.
    pub(crate) fn last_segment(&self) -> Segment {
        self.later.last().cloned().unwrap_or_else(|| Segment::of(&self.provenance, 0))
    }

    /// Adds a segment that begins after `samples` samples with the provenance `made`, if that differs from the last
    /// segment's.
    pub(crate) fn add_segment(&mut self, made: &Provenance, samples: u64) {
        let now = Segment::of(made, samples);
        if now != (Segment { from: samples, ..self.last_segment() }) {
            self.later.push(now);
        }
    }

    /// Returns the record under the cell's alternative name, [`Cell::other_id`].
    #[must_use]
    pub fn renamed(self) -> Self {
        Self { id: self.cell.other_id(), ..self }
    }

    /// Returns the number of elements of one latent; 0 if no model was built yet.
    pub fn latent_dims(&self) -> usize {
        self.shape.as_ref().map_or(0, LatentShape::dims)
    }

    /// Fills in fields that earlier versions did not write, because they were not configurable: before digests
    /// existed, CUDA devices rounded to TF32 unless their description says otherwise, and all networks were the
    /// paper's, on images of one size.
    pub(crate) fn complete(&mut self) {
        // Those versions had no datasets defined in code.
        let dataset = separate_option(&self.cell.dataset).bare;
        let known = DATASETS.contains(&dataset) || is_own(dataset);
        if let (None, true, Some(network)) = (&self.shape, known, self.cell.network.paper()) {
            let side = u32::try_from(network.scales).ok().and_then(|scales| SIDE.checked_shr(scales));
            let side = side.unwrap_or(0);
            self.shape = Some(LatentShape {
                latent: vec![side, side, network.latent],
                features: side.pow(2).saturating_mul(network.latent),
            });
        }
        let device = &self.provenance.device;
        if !self.digests && device.starts_with("cuda") && !device.contains("full f32") {
            self.cell.precision = Precision::Tf32;
        }
    }

    /// Checks a record that was read from the folder named `folder`.
    ///
    /// # Errors
    /// The first invalid field, as the predicate of a sentence about the file.
    pub(crate) fn check(&self, folder: &str) -> std::result::Result<(), String> {
        const DO: &str = "delete the folder, or give it back its name";
        if !is_word(&self.id) || !is_word(&self.cell.variant) {
            return Err(format!(
                "has a run name '{}' or a variant name '{}' that is not valid; {DO}",
                self.id, self.cell.variant
            ));
        }
        if self.id != folder {
            return Err(format!("is the record of {}, and its folder is called {folder}; {DO}", self.id));
        }
        self.cell.check().map_err(|error| format!("is not the record of a run ({error}); {DO}"))?;
        check_recorded(&self.quantities)
            .map_err(|problem| format!("describes a quantity that is not valid ({problem}); {DO}"))?;
        if !self.cell.ids().contains(&self.id) {
            return Err(format!(
                "says {} and describes {}: it was changed, or is another version's; {DO}",
                self.id,
                self.cell.id()
            ));
        }
        Ok(())
    }

    /// Returns a text that is equal for two runs of the same configuration: the whole cell, with a user's own
    /// images identified by their digest instead of their folder.
    pub fn identity(&self) -> String {
        let mut cell = self.cell.clone();
        if let Some(digest) = self.provenance.data.as_ref().filter(|_| lerp_data::is_own(&self.cell.dataset))
        {
            cell.dataset = format!("sha256:{digest}");
        }
        cell.canonical()
    }
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A worker process is training it, or was killed.
    Running,
    /// Stopped on request; it can be resumed from its checkpoint.
    Interrupted,
    /// Complete.
    Done,
    /// Stopped by an error, which [`Status::reason`] gives.
    Failed,
}

/// The file `status.json`: the progress of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// State of the run.
    pub state: State,
    /// Number of training samples at the last checkpoint, or at the end.
    pub samples: u64,
    /// Time of training and evaluation so far, in seconds.
    pub wall_s: f64,
    /// Reason of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Peak host memory in bytes, if known: on Linux, for a run with a process of its own. Like the time, it
    /// differs between equal runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

#[cfg(test)]
mod tests {
    use lerp_core::Network;

    use super::*;

    fn cell(precision: Precision) -> Cell {
        Cell {
            dataset: "lines".into(),
            variant: "acai".into(),
            seed: 3,
            samples: 64,
            batch: 4,
            learning_rate: 1e-3,
            eval_every: 64,
            checkpoint_every: 64,
            test_samples: 8,
            cluster_restarts: None,
            precision,
            ema: None,
            schedule: Schedule::default(),
            origin: Origin::default(),
            network: Network { scales: 4, depth: 2, latent: 2 }.into(),
            hyper: Hyper::new(),
        }
    }

    fn record(precision: Precision, device: &str) -> RunRecord {
        let provenance = Provenance { device: device.into(), ..Provenance::unknown() };
        let shape = Some(LatentShape::new([2, 2, 2]));
        RunRecord { shape, ..RunRecord::new(cell(precision), "ACAI", provenance) }
    }

    /// The record as read from its file, which is written like an earlier version's, without precision and digests,
    /// if `earlier`.
    fn read(record: &RunRecord, earlier: bool) -> RunRecord {
        let mut written = record.clone();
        if earlier {
            written.cell.precision = Precision::F32;
            written.id = written.cell.id();
            written.digests = false;
            written.shape = None;
        }
        let mut read: RunRecord = toml::from_str(&toml::to_string(&written).unwrap()).unwrap();
        read.complete();
        read
    }

    #[test]
    fn latent_shapes_of_earlier_versions_are_those_of_the_papers_network() {
        let shape = |network: Architecture| {
            let cell = Cell { network, ..cell(Precision::F32) };
            read(&RunRecord { cell, ..record(Precision::F32, "cpu") }, true).shape
        };
        let paper = shape(Network { scales: 3, depth: 2, latent: 16 }.into());
        assert_eq!(paper, Some(LatentShape { latent: vec![4, 4, 16], features: 256 }));
        assert_eq!(shape(Network { scales: 40, depth: 2, latent: 16 }.into()).unwrap().dims(), 0);
        let own: Architecture = serde_json::from_str(r#"{"name": "resnet", "width": 4}"#).unwrap();
        assert_eq!(shape(own), None);
        let mut from_code = record(Precision::F32, "cpu");
        from_code.cell.dataset = "discs".into();
        assert_eq!(read(&from_code, true).shape, None);
    }

    #[test]
    fn a_record_keeps_the_provenance_of_each_segment() {
        let on = |processor: &str| {
            let mut record = record(Precision::F32, "cpu");
            record.provenance.processor = processor.into();
            record
        };
        let mut run = on("old");
        for (processor, samples) in [("old", 16), ("new", 32), ("new", 40), ("old", 48)] {
            run.add_segment(&on(processor).provenance, samples);
        }
        let segments: Vec<_> =
            run.later.iter().map(|segment| (segment.from, segment.processor.as_str())).collect();
        assert_eq!(segments, [(32, "new"), (48, "old")]);
        assert_eq!(read(&run, false), run);
    }

    #[test]
    fn the_id_depends_on_precision_except_for_full_f32() {
        let (f32, tf32) = (cell(Precision::F32), cell(Precision::Tf32));
        assert_eq!(f32.id(), "lines-acai-s3-26f414f8", "full f32 keeps the id of versions without precision");
        assert!(!serde_json::to_string(&f32).unwrap().contains("precision"));
        assert_ne!(f32.id(), tf32.id());
        for precision in [Precision::F32, Precision::Tf32] {
            let written = record(precision, "cuda:0 (NVIDIA H200, TF32)");
            let read = read(&written, false);
            assert_eq!(read, written, "a record with digests keeps the precision that it states");
            assert_eq!(read.check(&written.id), Ok(()));
        }
        let identity = |precision| record(precision, "cuda:0").identity();
        assert_ne!(identity(Precision::F32), identity(Precision::Tf32));
    }

    #[test]
    fn runs_of_earlier_versions_have_the_precision_of_their_device() {
        for (device, precision) in [
            ("cuda:0 (NVIDIA H200, TF32)", Precision::Tf32),
            ("cuda:1", Precision::Tf32),
            ("cuda:0 (NVIDIA H200, full f32)", Precision::F32),
            ("cpu", Precision::F32),
            ("metal", Precision::F32),
        ] {
            let now = record(precision, device);
            let then = read(&now, true);
            assert_eq!(then.cell.precision, precision, "{device}");
            // It is the same run, under its old name.
            assert_eq!(then.identity(), now.identity());
            assert_eq!(then.id, cell(Precision::F32).id());
            assert_eq!(then.check(&then.id), Ok(()));
        }
    }

    #[test]
    fn the_alternative_name_is_valid_and_keeps_the_identity() {
        let other = record(Precision::F32, "cpu").renamed();
        assert_ne!(other.id, cell(Precision::F32).id());
        assert!(is_word(&other.id));
        assert_eq!(read(&other, false).check(&other.id), Ok(()));
        assert_eq!(other.identity(), record(Precision::F32, "cpu").identity());
    }
}
