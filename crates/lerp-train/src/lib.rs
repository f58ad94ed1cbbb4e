//! Training: the loop, optimisers, evaluation, checkpoints, the run directory and TensorBoard events.
//!
//! * [`Learner`]: a model with its optimisers and the joint single-layer classifier; one step is every gradient at the
//!   same parameters, then every update.
//! * [`Trainer`]: its steps one after the other, on the host or recorded on a GPU, with batches read ahead.
//! * [`train`]: a whole run in a directory: data, evaluation, metrics, checkpoints; resumes bit for bit.
//! * [`RunLock`]: who writes in a run's folder, among the processes of all machines; [`Holder`] says who that is.
//! * [`Cell`], [`Run`]: what a run is and how it is read back: its metrics, [`Strips`], [`Paths`] and samples, and, while a
//!   worker is on it, what it does ([`Live`]).
//! * [`measure`]: a finished run once more.
//! * [`Judge`]: a network that says how real decoded images are, and of what.
//! * [`Task`], [`Answered`], [`import`]: models that were trained elsewhere.
//! * [`conformance`]: what every variant must satisfy.
//! * [`events`]: the file format of TensorBoard.

mod asynchronous;
mod cell;
mod checkpoint;
pub mod conformance;
mod digests;
mod error;
mod evaluate;
pub mod events;
mod files;
mod judge;
mod learner;
mod lease;
mod live;
mod measure;
mod memory;
mod metrics;
mod origin;
mod outside;
mod paths;
mod rundir;
mod samples;
mod strips;
mod tensors;
mod train;
mod trainer;
mod worth;

pub use cell::{Cell, MOST_RESTARTS, Part, Provenance, RunRecord, State, Status};
pub use error::{Error, Result};
pub use evaluate::{EVALUATED_PAIRS, Evaluation, Yardsticks, evaluate};
pub use judge::{JUDGE_SAMPLES, Judge, JudgeRecord, MOST_JUDGE_SAMPLES, Reference, Target, Values, Verdicts};
pub use learner::{Gradients, Learner};
pub use lease::Holder;
pub use lerp_eval::POSITIONS;
pub use live::{Live, Phase};
pub use measure::measure;
pub use metrics::{Metrics, Row};
pub use origin::{Elsewhere, Origin};
pub use outside::{
    Answered, Format, Imported, Named, Task, import, is_among, training_images, write_arrays, write_run,
};
pub use paths::{Paths, Profile};
pub use rundir::{LeftOut, Run, RunLock, Runs, runs_in};
pub use strips::{FIGURE_3_ANGLES, Strips, png};
pub use train::{Outcome, Parts, Progress, mark_failed, train};
pub use trainer::{Mode, Source, Trainer};
pub use worth::{MOST_TRAINING, of_pixels};
