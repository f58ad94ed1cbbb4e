//! The loop: keys, files, screen.

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

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Time in which a signal to stop is heard.
const HEAR: Duration = Duration::from_millis(250);

/// Time that the loop has to end after such a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gives the terminal back, however this ends.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // There is nobody left to tell if the terminal is gone.
        let _ = ratatui::try_restore();
    }
}

/// Draws until the user quits.
///
/// # Errors
/// If the terminal cannot be used.
pub fn run(mut app: App) -> Result<()> {
    const WHAT: &str = "cannot draw on this terminal (--once prints a table)";
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let end = move || {
        flag.store(true, Ordering::Relaxed);
        // Where the terminal itself went away, the wait for keys never ends.
        thread::sleep(PATIENCE);
        drop(Restore);
        std::process::exit(1);
    };
    ctrlc::set_handler(end).context("cannot catch signals")?;
    let _restore = Restore;
    // Its hook gives the terminal back before a panic is told; readers' panics are not told at all, so that hook comes last.
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
                // All keys that wait are taken before anything is drawn; a change of size has the same effect.
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
