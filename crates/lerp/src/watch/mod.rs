//! `lerp watch`: shows a running sweep in the terminal.
//!
//! It reads the files in the sweep's folder and, if the sweep was submitted to a cluster, asks the cluster's queue. It
//! writes nothing and takes no locks, so any number of watchers can run without affecting the sweep. [`sweep`],
//! [`cell`] and [`detail`] read the files, [`app`] holds the user's selection, `draw` draws it, and [`terminal`] is the
//! event loop. When a file is damaged or deleted, the last valid state stays on the screen.

mod app;
mod cell;
mod detail;
mod draw;
mod kept;
mod palette;
mod plain;
mod sweep;
mod terminal;
#[cfg(test)]
mod tests;
mod words;

use std::{
    io::IsTerminal,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use crate::{
    cli::WatchArgs,
    say::{is_dumb, say_lines},
};
use app::App;
use palette::Palette;
use sweep::Sweep;

/// Longest time that `--once` waits for an answer of a cluster's queue.
const SQUEUE: Duration = Duration::from_secs(10);

/// Runs `lerp watch` until the user quits, or prints one plain table if standard output is not a terminal. Returns
/// `false` if a file that the table needs is damaged.
///
/// # Errors
/// If there is no sweep in the folder, or the terminal cannot be drawn on.
pub fn watch(args: &WatchArgs) -> Result<bool> {
    let mut sweep = Sweep::open(&args.dir)?;
    let mut whole = true;
    if args.once || is_dumb() || !std::io::stdout().is_terminal() {
        kept::silence_readers();
        sweep.patience = SQUEUE;
        sweep.refresh(now());
        whole = !sweep.is_damaged();
        say_lines(plain::snapshot(&sweep).trim_end());
    } else {
        terminal::run(App::new(sweep, Palette::from_env()))?;
    }
    Ok(whole)
}

/// Returns the present time in seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
