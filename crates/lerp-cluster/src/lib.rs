//! Slurm: its queue, the calls of its commands, and the records of what was submitted for a sweep.
//!
//! * [`queue`], [`is_running`], [`max_array_size`], [`submit`], [`cancel`], [`requeue`]: calls of Slurm's commands.
//! * [`Records`], [`SubmittedJob`]: the subfolder `cluster` of a sweep, with its submissions and the list of its jobs.
//! * [`QueueView`], [`queued_cells`]: the cells of a sweep that are in the queue.
//! * [`Script`]: the text of a batch script.
//!
//! This crate does not know what a task does. What a submission says about the training is defined by the crate that
//! submits; here only the names of the cells are read from it.
//!
//! # A job in the queue
//! ```
//! use std::path::Path;
//!
//! use lerp_cluster::{JobKind, SubmittedJob};
//!
//! // The name of a job identifies the sweep, the submission and the purpose.
//! let name = SubmittedJob::name(Path::new("/data/lines"), 1, JobKind::Cells, 0);
//! assert!(name.starts_with("lerp-lines-") && name.ends_with("-1-cells-0"));
//! ```

mod command;
mod error;
mod queue_view;
mod records;
mod script;
mod warning;

pub use command::{
    DEFAULT_MAX_ARRAY_SIZE, QueuedTask, cancel, is_queued, is_running, max_array_size, queue, requeue, submit,
};
pub use error::{Error, Result};
pub use queue_view::{QueueView, QueuedCell, queued_cells};
pub use records::{JobKind, Records, SubmittedJob};
pub use script::{SbatchOption, Script, TaskArray};
pub use warning::on_warning;
