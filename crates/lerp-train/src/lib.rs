//! Training: the training loop, optimisers, evaluation, checkpoints, run folders and TensorBoard events.
//!
//! * [`Learner`]: a model with its optimisers and the jointly trained single-layer classifier. One training step
//!   computes all gradients at the same parameters, and then applies all updates.
//! * [`Trainer`]: runs a learner's steps, synchronously on the host or captured as a graph on a GPU, and reads
//!   batches ahead.
//! * [`train`]: a whole run in a folder, with data, evaluations, metrics and checkpoints. A resumed run equals
//!   an uninterrupted one bit for bit.
//! * [`RunLock`]: exclusive write access to a run's folder, across the processes of all machines; [`Holder`]
//!   identifies the process that has it.
//! * [`Cell`], [`Run`]: the configuration of a run, and a run read back from its folder: its metrics, [`Strips`],
//!   [`Paths`] and samples, and, while a worker process trains it, its current progress ([`LiveProgress`]).
//! * [`evaluate`], [`measure`]: evaluate a model in training, and a finished run once more.
//! * [`Judge`]: a classifier that scores how realistic decoded images are, and predicts their classes.
//! * [`probe_and_cluster_pixels`]: a classifier and clusters of raw pixels, as a baseline for those of latents.
//! * [`Task`], [`TaskAnswers`], [`import`]: evaluation of models that were trained with other software.
//! * [`conformance`]: checks that every variant must pass.
//! * [`events`]: TensorBoard's event file format.
//! * [`SWEEP_RECORD`], [`SWEEP_FORMAT`]: name and format of the record of a sweep.
//!
//! # A run
//! A [`Cell`] is all that determines the results of a run, and a [`RunRecord`] names the run's folder after it.
//! [`train()`] trains the run there, and [`Run::read`] reads it back.
//!
//! ```
//! use lerp_core::{Hyper, Network, Precision, Schedule};
//! use lerp_train::{Cell, Origin, Provenance, RunRecord};
//!
//! let cell = Cell {
//!     dataset: "lines".into(),
//!     variant: "baseline".into(),
//!     seed: 0,
//!     samples: 65_536,
//!     batch: 64,
//!     learning_rate: 1e-4,
//!     eval_every: 16_384,
//!     checkpoint_every: 16_384,
//!     test_samples: 5_000,
//!     cluster_restarts: None,
//!     precision: Precision::F32,
//!     ema: None,
//!     schedule: Schedule::default(),
//!     origin: Origin::default(),
//!     network: Network { scales: 4, depth: 16, latent: 16 }.into(),
//!     hyper: Hyper::new(),
//! };
//! cell.check()?;
//! assert_eq!((cell.steps(), cell.eval_steps()), (1024, 256));
//!
//! let record = RunRecord::new(cell, "Baseline", Provenance::unknown());
//! assert!(record.id.starts_with("lines-baseline-s0-"));
//! # Ok::<(), lerp_train::Error>(())
//! ```

mod asynchronous;
mod cell;
mod checkpoint;
pub mod conformance;
mod digests;
mod error;
mod evaluate;
pub mod events;
mod external;
mod files;
mod judge;
mod learner;
mod lease;
mod measure;
mod memory;
mod metrics;
mod origin;
mod paths;
mod progress_file;
mod protocol;
mod representation;
mod run_folder;
mod samples;
mod strips;
mod tensors;
mod train;
mod trainer;

pub use cell::{Cell, MAX_RESTARTS, Provenance, RunRecord, Segment, State, Status};
pub use error::{Error, Result};
pub use evaluate::{EVALUATED_PAIRS, Evaluation, Scorers, evaluate};
pub use external::{
    ArrayFormat, ImportedModel, ModelFile, NamedArray, Task, TaskAnswers, contains_run, import,
    training_images, write_arrays, write_run,
};
pub use files::{MAX_SWEEP_RECORD_BYTES, SWEEP_FORMAT, SWEEP_RECORD};
pub use judge::{
    DatasetIdentity, JUDGE_SAMPLES, Judge, JudgeRecord, JudgeScores, JudgeTarget, MAX_JUDGE_SAMPLES,
    ReferenceScores,
};
pub use learner::{Gradients, Learner};
pub use lease::Holder;
pub use lerp_eval::POSITIONS;
pub use measure::measure;
pub use metrics::{MetricRow, Metrics};
pub use origin::{ExternalModel, Origin};
pub use paths::{Paths, Profile};
pub use progress_file::{LiveProgress, Phase};
pub use protocol::{
    MAX_TEST_IMAGES, PROTOCOL_BATCH, PROTOCOL_EVAL_EVERY, PROTOCOL_RATE, PROTOCOL_RESTARTS, PROTOCOL_SAMPLES,
    PROTOCOL_TEST_LINES,
};
pub use representation::{MAX_PROBE_IMAGES, probe_and_cluster_pixels};
pub use run_folder::{LeftOutFolder, Run, RunLock, Runs, runs_in};
pub use strips::{FIGURE_3_ANGLES, Strips, encode_png};
pub use train::{Progress, RunInputs, TrainOutcome, mark_failed, train};
pub use trainer::{BatchSource, ExecutionMode, Trainer};
