//! `lerp watch`: a running sweep on the terminal.
//!
//! It reads the files of the sweep's folder and, where it was submitted to a cluster, asks the queue of that; it writes nothing and locks nothing: any number may watch, and the
//! sweep does not know. [`sweep`], [`cell`] and [`detail`] read, [`app`] holds what a person chose, `draw` draws it, and
//! [`terminal`] is the loop around them. What is damaged or goes away while it is watched leaves the last good state.

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

use crate::{cli::WatchArgs, say::say_lines};
use app::App;
use palette::Palette;
use sweep::Sweep;

/// How long one table waits for the queue of a cluster.
const SQUEUE: Duration = Duration::from_secs(10);

/// Watches until the user quits; one plain table where there is no terminal, and false if a file in it is damaged.
///
/// # Errors
/// If there is no sweep in the folder, or the terminal cannot be drawn on.
pub fn watch(args: &WatchArgs) -> Result<bool> {
    let mut sweep = Sweep::open(&args.dir)?;
    let mut whole = true;
    if args.once || crate::is_dumb() || !std::io::stdout().is_terminal() {
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

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
