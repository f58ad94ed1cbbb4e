//! Shows a sweep: [`watch`] draws it on the terminal until the user quits, and [`snapshot`] returns one table as text.
//!
//! Both read the files in the sweep's folder and, if the sweep was submitted to a cluster, ask the cluster's queue. They
//! write nothing and take no locks, so any number of watchers can run without affecting the sweep. When a file is damaged
//! or deleted, the last valid state stays on the screen.
//!
//! The modules `sweep_view`, `cell_view` and `selected_files` read the files, `app` holds the user's selection, `draw`
//! draws it, and `terminal` is the event loop.
//!
//! ```
//! let dir = tempfile::tempdir()?;
//! // The folder of a sweep that is about to begin.
//! let snapshot = lerp_watch::snapshot(dir.path())?;
//! assert!(snapshot.table.ends_with(": nothing has begun yet\n") && !snapshot.is_damaged);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod app;
mod cached_read;
mod cell_view;
mod draw;
mod error;
mod palette;
mod plain_table;
mod selected_files;
mod sweep_view;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use app::App;
use palette::Palette;
use sweep_view::SweepView;

pub use error::{Error, Result};

/// Longest time that [`snapshot`] waits for an answer of a cluster's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of a sweep as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// A line about the sweep, a table with one row per cell, and sentences about failed cells and damaged files. It has
    /// no control characters but line ends.
    pub table: String,
    /// Whether a file that the table needs is damaged.
    pub is_damaged: bool,
}

/// Returns the present state of the sweep in the folder `dir`. From then on, panics that damaged files cause in readers
/// are not printed in this process.
///
/// # Errors
/// If there is no sweep in the folder.
pub fn snapshot(dir: &Path) -> Result<Snapshot> {
    let mut sweep = SweepView::open(dir)?;
    cached_read::silence_panics_of_readers();
    sweep.queue_timeout = QUEUE_TIMEOUT;
    sweep.refresh(now());
    Ok(Snapshot { table: plain_table::plain_table(&sweep), is_damaged: sweep.is_damaged() })
}

/// Draws the sweep in the folder `dir` on the terminal until the user quits. For this it sets the process's handlers of
/// termination signals and of panics. After a termination signal it returns, or ends the process if the terminal no
/// longer answers.
///
/// # Errors
/// If there is no sweep in the folder, or the terminal cannot be drawn on.
pub fn watch(dir: &Path) -> Result<()> {
    terminal::run(App::new(SweepView::open(dir)?, Palette::from_env()))
}

/// Returns the present time in seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
