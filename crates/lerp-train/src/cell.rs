//! What a run is: the cell of a sweep, and what is recorded beside its results.

use lerp_core::{Hyper, Network};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Everything that decides the numbers of a run, except the device and, on image sets, the images themselves
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
    /// Adam's learning rate, constant, for every group.
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
    /// Size of encoder and decoder.
    pub network: Network,
    /// Hyperparameters of the variant, checked and completed.
    pub hyper: Hyper,
}

impl Cell {
    /// The name of the cell's folder: readable, ending in a hash of the whole cell.
    pub fn id(&self) -> String {
        let mut canonical = self.clone();
        canonical.hyper.sort_keys();
        let json = serde_json::to_string(&canonical).unwrap_or_default();
        let hash = json
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let dataset = self.dataset_as_file_name();
        format!("{dataset}-{}-s{}-{:08x}", self.variant, self.seed, (hash ^ (hash >> 32)) as u32)
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

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.samples.div_ceil(self.batch as u64)
    }

    /// Samples seen after `step` steps: the run's own number at its end.
    pub fn samples_at(&self, step: u64) -> u64 {
        (step * self.batch as u64).min(self.samples)
    }

    /// Steps between evaluations.
    pub fn eval_steps(&self) -> u64 {
        (self.eval_every / self.batch as u64).max(1)
    }

    /// Steps between checkpoints.
    pub fn checkpoint_steps(&self) -> u64 {
        (self.checkpoint_every / self.batch as u64).max(1)
    }

    /// Checks the numbers that no variant or dataset checks.
    ///
    /// # Errors
    /// The first one that is out of range.
    pub fn check(&self) -> Result<()> {
        let bad =
            |problem: &str| Err(Error::BadCell(format!("{} on {}: {problem}", self.variant, self.dataset)));
        if self.samples == 0 {
            return bad("samples is 0; train on at least 1");
        }
        if !(2..=1 << 16).contains(&self.batch) {
            return bad("batch must be at least 2 and at most 65536");
        }
        let Network { scales, depth, latent } = self.network;
        let widest = depth.checked_shl(scales as u32).filter(|w| scales <= 12 && *w >> scales == depth);
        if widest.is_none_or(|widest| widest > 8192) || latent > 8192 {
            return bad(
                "network: the widest layer (depth doubled scales times, and latent) may have 8192 channels",
            );
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return bad("learning_rate must be above 0");
        }
        if self.eval_every == 0 || self.checkpoint_every == 0 || self.test_samples == 0 {
            return bad("eval_every, checkpoint_every and test_samples must be at least 1");
        }
        if self.test_samples > 1 << 20 {
            return bad("test_samples may be at most 1048576");
        }
        if self.cluster_restarts == Some(0) {
            return bad("cluster_restarts must be at least 1");
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

/// `run.toml`: configuration and provenance of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The cell's [`Cell::id`].
    pub id: String,
    /// The variant's name in tables.
    pub title: String,
    /// The cell.
    pub cell: Cell,
    /// Where it was made.
    pub provenance: Provenance,
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
}
