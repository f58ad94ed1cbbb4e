//! The event loop: handles keys, reads changed files and draws the screen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::{app::App, draw::draw, kept, now};

/// Interval between two checks of the files.
const LOOK: Duration = Duration::from_secs(1);

/// Longest time until a termination signal is noticed.
const HEAR: Duration = Duration::from_millis(250);

/// Time that the loop has to end after a termination signal before the process exits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Restores the terminal when dropped.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // If the terminal is gone, nobody can see an error, so it is ignored.
        let _ = ratatui::try_restore();
    }
}

/// Runs the event loop until the user quits.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(mut app: App) -> Result<()> {
    const WHAT: &str = "cannot draw on this terminal (--once prints a table)";
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let end = move || {
        flag.store(true, Ordering::Relaxed);
        // If the terminal itself was closed, the wait for keys never ends, so the process exits here.
        thread::sleep(PATIENCE);
        drop(Restore);
        std::process::exit(1);
    };
    ctrlc::set_handler(end).context("cannot catch signals")?;
    let _restore = Restore;
    // The panic hook of ratatui restores the terminal before a panic is printed. The hook that silences readers is
    // installed later, so that it runs first.
    let mut terminal = ratatui::try_init().context(WHAT)?;
    kept::silence_readers();
    app.refresh(now());
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, &mut app)).context(WHAT)?;
        loop {
            let wait = LOOK.saturating_sub(looked.elapsed());
            if event::poll(wait.min(HEAR)).context(WHAT)? {
                if let Event::Key(key) = event::read().context(WHAT)?
                    && key.kind != KeyEventKind::Release
                    && app.key(key)
                {
                    return Ok(());
                }
                // All waiting keys are handled before the screen is drawn. A change of the terminal's size also redraws
                // it.
                if !event::poll(Duration::ZERO).context(WHAT)? {
                    break;
                }
            } else if stop.load(Ordering::Relaxed) {
                break;
            } else if looked.elapsed() >= LOOK {
                app.refresh(now());
                looked = Instant::now();
                break;
            }
        }
    }
    Ok(())
}
