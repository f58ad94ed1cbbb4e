//! What a run is: the cell of a sweep, and what is recorded beside its results.

use std::hash::Hasher;

use fnv::FnvHasher;
use lerp_core::{Architecture, Hyper, LatentShape, LearningRate, Precision, Schedule};
use lerp_data::{DATASETS, is_own, split_option};
use lerp_eval::{Metric, Quantity, check_recorded, recorded};
use lerp_files::is_word;
use serde::{Deserialize, Serialize};

use crate::{Elsewhere, Error, Origin, Result};

/// Most restarts of k-means: a hundred times the protocol's.
pub const MOST_RESTARTS: usize = 100_000;

/// Everything that decides the numbers of a run, except the kind of device and, on image sets, the images themselves
/// ([`Provenance::data`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the variant.
    pub variant: String,
    /// Seed of initial values, data and noise.
    pub seed: u64,
    /// Training samples in all.
    pub samples: u64,
    /// Samples a step.
    pub batch: usize,
    /// Adam's learning rate, for every group: the greatest, if there is a schedule.
    pub learning_rate: f64,
    /// Samples between evaluations (2^16 in the protocol).
    pub eval_every: u64,
    /// Samples between checkpoints.
    pub checkpoint_every: u64,
    /// Test samples for reconstruction error and classifier accuracy: 5,000 in the protocol on lines; all of an image
    /// set's, if it has no more than these.
    pub test_samples: usize,
    /// Restarts of k-means, where latents are clustered at the end of the run (1,000 in the protocol): on labelled image
    /// sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_restarts: Option<usize>,
    /// How exactly convolutions multiply. Full `f32` is not written. Versions that kept no digests wrote nothing: of their
    /// runs the device tells it.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Decay of the averaged weights that are evaluated and saved in place of the trained ones; none in the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// How the learning rate changes over the run. A constant one, the protocol's, is not written.
    #[serde(default, skip_serializing_if = "Schedule::is_constant")]
    pub schedule: Schedule,
    /// Where the model was trained. By the run itself is not written.
    #[serde(default, skip_serializing_if = "Origin::is_trained")]
    pub origin: Origin,
    /// Encoder and decoder.
    pub network: Architecture,
    /// Hyperparameters of the variant, checked and completed.
    pub hyper: Hyper,
}

impl Cell {
    /// The name of the cell's folder: readable, ending in a hash of the whole cell.
    pub fn id(&self) -> String {
        /// Bytes that leave room for the rest of a file's name.
        const MOST: usize = 120;
        let name = self.dataset_as_file_name();
        let mut from = name.len().saturating_sub(MOST);
        while !name.is_char_boundary(from) {
            from += 1;
        }
        self.id_with(name[from..].trim_start_matches(['-', '.']))
    }

    /// The name of the cell's folder where [`Cell::id`] is taken: by a run of an earlier version, whose name took no account
    /// of its precision.
    pub fn other_id(&self) -> String {
        format!("{}-{}", self.id(), self.precision)
    }

    /// The names that the cell's folder has in this version or had in an earlier one, this version's first. Earlier ones
    /// took no account of the precision.
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

    /// The cell as a text, equal for equal cells.
    fn canonical(&self) -> String {
        let mut canonical = self.clone();
        canonical.hyper.sort_keys();
        canonical.network.sort_keys();
        serde_json::to_string(&canonical).unwrap_or_default()
    }

    /// The dataset's name as a file may be called: one of the user's own is named by its path, of which the end will do.
    fn dataset_as_file_name(&self) -> String {
        /// Characters that leave room for the rest of a file's name.
        const MOST: usize = 60;
        let plain = |c: char| if c.is_alphanumeric() || "._".contains(c) { c } else { '-' };
        let name: String = self.dataset.chars().map(plain).collect();
        let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        name.chars().skip(name.chars().count().saturating_sub(MOST)).collect()
    }

    /// The variant that builds the model: of an imported one not that which tables name.
    pub fn builder(&self) -> &str {
        match &self.origin {
            Origin::Imported { variant } => variant,
            Origin::Trained | Origin::Scored => &self.variant,
        }
    }

    /// Samples that the model is trained on, where that is known: of an imported one what its description says is what it was
    /// trained on before.
    pub fn known_samples(&self) -> Option<u64> {
        let known = self.samples > 0 && !matches!(self.origin, Origin::Imported { .. });
        known.then_some(self.samples)
    }

    /// The learning rate of every step.
    pub fn rate(&self) -> LearningRate {
        LearningRate { peak: self.learning_rate, schedule: self.schedule, steps: self.steps() }
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.samples.div_ceil(self.batch.max(1) as u64)
    }

    /// Samples seen after `step` steps: the run's own number at its end.
    pub fn samples_at(&self, step: u64) -> u64 {
        (step * self.batch as u64).min(self.samples)
    }

    /// Steps between evaluations.
    pub fn eval_steps(&self) -> u64 {
        (self.eval_every / self.batch.max(1) as u64).max(1)
    }

    /// Steps between checkpoints.
    pub fn checkpoint_steps(&self) -> u64 {
        (self.checkpoint_every / self.batch.max(1) as u64).max(1)
    }

    /// Checks the numbers that no variant or dataset checks.
    ///
    /// # Errors
    /// The first one that is out of range.
    pub fn check(&self) -> Result<()> {
        let bad =
            |problem: &str| Err(Error::BadCell(format!("{} on {}: {problem}", self.variant, self.dataset)));
        // Of a model from elsewhere, 0 is what nobody said.
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
        if self.cluster_restarts.is_some_and(|restarts| !(1..=MOST_RESTARTS).contains(&restarts)) {
            return bad(&format!("cluster_restarts must be at least 1 and at most {MOST_RESTARTS}"));
        }
        Ok(())
    }
}

/// Where and with what a run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this software.
    pub version: String,
    /// Git revision it was built from, or `unknown`.
    pub git: String,
    /// Device, such as `cpu`.
    pub device: String,
    /// The machine's processor as it calls itself; empty if it does not say, and of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub processor: String,
    /// The instruction set that kernels on it use, on which the last bits depend; empty of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// Threads of the worker.
    pub threads: usize,
    /// Version of candle.
    pub candle: String,
    /// SHA-256 of the images and labels it was trained and tested on; none where they are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many training and test images these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<[usize; 2]>,
    /// When the run was first started, RFC 3339, UTC.
    pub started: String,
    /// The command that makes it again.
    pub command: String,
}

impl Provenance {
    /// Of a run on one thread of a CPU about which nothing more is known: one that is thrown away.
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

/// A later part of a run, that was made by other means than what came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Samples trained on before.
    pub from: u64,
    /// As in [`Provenance`].
    pub device: String,
    /// As in [`Provenance`].
    pub processor: String,
    /// As in [`Provenance`].
    pub instructions: String,
    /// As in [`Provenance`].
    pub git: String,
}

impl Part {
    /// What is made from then on as the provenance says.
    fn of(made: &Provenance, from: u64) -> Self {
        let Provenance { device, processor, instructions, git, .. } = made.clone();
        Self { from, device, processor, instructions, git }
    }
}

/// `run.toml`: configuration and provenance of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The cell's [`Cell::id`].
    pub id: String,
    /// The variant's name in tables.
    pub title: String,
    /// The cell.
    pub cell: Cell,
    /// Whether digests of the run's files are kept beside them, which runs of earlier versions do not say; without these the run is damaged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub digests: bool,
    /// The dataset's name in tables, of one from code: a report knows only the names of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_title: Option<String>,
    /// Sizes of latents and features, as the model was built; none before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<LatentShape>,
    /// Of a model that was trained elsewhere: what is known of it besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
    /// Where it was made; of a model that was trained elsewhere, where it was measured.
    pub provenance: Provenance,
    /// The parts of a run that was stopped and went on elsewhere, but for the first, whose provenance is the run's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Part>,
    /// What metrics of one's own measure in it, so that every report knows how to read it. Two runs may differ in it and be the
    /// same otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantities: Vec<Quantity>,
}

/// Height and width of all images of versions that did not write a run's [`RunRecord::shape`].
const SIDE: usize = 32;

impl RunRecord {
    /// That of a run of `cell` that begins now, of the variant that tables call `title`.
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

    /// The same record with what `metrics` measure in the run.
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

    /// The last part of the run.
    pub(crate) fn last_part(&self) -> Part {
        self.later.last().cloned().unwrap_or_else(|| Part::of(&self.provenance, 0))
    }

    /// Adds the part that is made from `samples` on as the provenance says, if by other means than the last.
    pub(crate) fn go_on(&mut self, made: &Provenance, samples: u64) {
        let now = Part::of(made, samples);
        if now != (Part { from: samples, ..self.last_part() }) {
            self.later.push(now);
        }
    }

    /// The same record under the cell's other name, [`Cell::other_id`].
    #[must_use]
    pub fn renamed(self) -> Self {
        Self { id: self.cell.other_id(), ..self }
    }

    /// Numbers in one latent; 0 as long as no model was built.
    pub fn latent_dims(&self) -> usize {
        self.shape.as_ref().map_or(0, LatentShape::dims)
    }

    /// Adds what earlier versions did not write. It could not be chosen for a run: before there were digests, a CUDA device
    /// rounded to TF32, unless its description says otherwise; all networks were the paper's, on images of one size.
    pub(crate) fn complete(&mut self) {
        // Then there were no datasets from code.
        let dataset = split_option(&self.cell.dataset).0;
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

    /// Checks a record that was read from the folder `folder`.
    ///
    /// # Errors
    /// The first thing in it that no run of ours has, as the end of a sentence about the file.
    pub(crate) fn check(&self, folder: &str) -> std::result::Result<(), String> {
        const DO: &str = "delete the folder, or give it back its name";
        if !is_word(&self.id) || !is_word(&self.cell.variant) {
            return Err(format!(
                "names a run '{}' or a variant '{}' as none is; {DO}",
                self.id, self.cell.variant
            ));
        }
        if self.id != folder {
            return Err(format!("is the record of {}, and its folder is called {folder}; {DO}", self.id));
        }
        self.cell.check().map_err(|error| format!("is not the record of a run ({error}); {DO}"))?;
        check_recorded(&self.quantities)
            .map_err(|problem| format!("names a quantity as none is ({problem}); {DO}"))?;
        if !self.cell.ids().contains(&self.id) {
            return Err(format!(
                "says {} and describes {}: it was changed, or is another version's; {DO}",
                self.id,
                self.cell.id()
            ));
        }
        Ok(())
    }

    /// What is equal in two runs that are the same: everything of the cell, where images are told by their digest and not by
    /// the folder in which they happen to be.
    pub fn identity(&self) -> String {
        let mut cell = self.cell.clone();
        if let Some(digest) = self.provenance.data.as_ref().filter(|_| lerp_data::is_own(&self.cell.dataset))
        {
            cell.dataset = format!("sha256:{digest}");
        }
        cell.canonical()
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A worker is on it, or was killed.
    Running,
    /// Stopped on request; goes on from its checkpoint.
    Interrupted,
    /// Complete.
    Done,
    /// Stopped by an error; the reason is beside it.
    Failed,
}

/// `status.json`: how far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Samples trained on by the last checkpoint or the end.
    pub samples: u64,
    /// Seconds of training and evaluation so far.
    pub wall_s: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The most memory of the host that it had at a time, bytes, where that is known: on Linux, of a run that has a process of
    /// its own. Like the seconds, it differs between equal runs.
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

    /// The record as it is read from its file; of an earlier version, which wrote neither precision nor digests.
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
    fn latents_of_earlier_versions_are_the_papers_networks_on_images_of_one_size() {
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
    fn a_record_keeps_what_made_each_part() {
        let on = |processor: &str| {
            let mut record = record(Precision::F32, "cpu");
            record.provenance.processor = processor.into();
            record
        };
        let mut run = on("old");
        for (processor, samples) in [("old", 16), ("new", 32), ("new", 40), ("old", 48)] {
            run.go_on(&on(processor).provenance, samples);
        }
        let parts: Vec<_> = run.later.iter().map(|part| (part.from, part.processor.as_str())).collect();
        assert_eq!(parts, [(32, "new"), (48, "old")]);
        assert_eq!(read(&run, false), run);
    }

    #[test]
    fn precision_is_part_of_a_cell_and_full_f32_is_called_as_before() {
        let (f32, tf32) = (cell(Precision::F32), cell(Precision::Tf32));
        assert_eq!(f32.id(), "lines-acai-s3-26f414f8", "as in versions that knew no precision");
        assert!(!serde_json::to_string(&f32).unwrap().contains("precision"));
        assert_ne!(f32.id(), tf32.id());
        for precision in [Precision::F32, Precision::Tf32] {
            let written = record(precision, "cuda:0 (NVIDIA H200, TF32)");
            let read = read(&written, false);
            assert_eq!(read, written, "what is written is what counts");
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
            // It is the same run, under the name that it had.
            assert_eq!(then.identity(), now.identity());
            assert_eq!(then.id, cell(Precision::F32).id());
            assert_eq!(then.check(&then.id), Ok(()));
        }
    }

    #[test]
    fn where_an_earlier_run_has_the_name_there_is_another() {
        let other = record(Precision::F32, "cpu").renamed();
        assert_ne!(other.id, cell(Precision::F32).id());
        assert!(is_word(&other.id));
        assert_eq!(read(&other, false).check(&other.id), Ok(()));
        assert_eq!(other.identity(), record(Precision::F32, "cpu").identity());
    }
}
