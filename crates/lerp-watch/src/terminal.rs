//! The event loop: handles keys, reads changed files and draws the screen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::{Error, Result, app::App, cached_read, draw::draw, now};

/// Interval between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time until a termination signal is noticed.
const SIGNAL_LATENCY: Duration = Duration::from_millis(250);

/// Time that the loop has to end after a termination signal before the process exits.
const EXIT_GRACE: Duration = Duration::from_secs(2);

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
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let end = move || {
        flag.store(true, Ordering::Relaxed);
        // If the terminal itself was closed, the wait for keys never ends, so the process exits here.
        thread::sleep(EXIT_GRACE);
        drop(Restore);
        std::process::exit(1);
    };
    ctrlc::set_handler(end).map_err(Error::Signals)?;
    let _restore = Restore;
    // The panic hook of ratatui restores the terminal before a panic is printed. The hook that silences readers is
    // installed later, so that it runs first.
    let mut terminal = ratatui::try_init().map_err(Error::Terminal)?;
    cached_read::silence_panics_of_readers();
    app.refresh(now());
    let mut last_check = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        terminal.draw(|frame| draw(frame, &mut app)).map_err(Error::Terminal)?;
        loop {
            let wait = CHECK_INTERVAL.saturating_sub(last_check.elapsed());
            if event::poll(wait.min(SIGNAL_LATENCY)).map_err(Error::Terminal)? {
                if let Event::Key(key) = event::read().map_err(Error::Terminal)?
                    && key.kind != KeyEventKind::Release
                    && app.handle_key(key)
                {
                    return Ok(());
                }
                // All waiting keys are handled before the screen is drawn. A change of the terminal's size also redraws
                // it.
                if !event::poll(Duration::ZERO).map_err(Error::Terminal)? {
                    break;
                }
            } else if stop.load(Ordering::Relaxed) {
                break;
            } else if last_check.elapsed() >= CHECK_INTERVAL {
                app.refresh(now());
                last_check = Instant::now();
                break;
            }
        }
    }
    Ok(())
}
