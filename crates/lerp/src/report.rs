//! `lerp report` and `lerp compare`: tables, figures and the page of finished sweeps. Other commands draw a report
//! after they have changed a sweep's folder.

use std::path::Path;

use anyhow::Result;
use lerp_report::{ReportOptions, ReportOutcome};

use crate::{
    cli::{CompareArgs, ReportArgs},
    say::{note, say, say_lines, terminal_style, warn_of_all},
};

/// Runs `lerp report`. Returns whether the report is complete.
///
/// # Errors
/// If the folder holds no runs, or cannot be read or written.
pub fn report(args: &ReportArgs) -> Result<bool> {
    let Some(figure) = &args.figure else { return draw(&args.dir) };
    let outcome =
        lerp_report::report(&args.dir, &ReportOptions { figure: Some(figure.clone()), terminal: None })?;
    let is_complete = tell(&outcome);
    say(&format!("Figure {figure}: {}", args.dir.join("figures").display()));
    Ok(is_complete)
}

/// Runs `lerp compare`: prints the tables of several sweeps. Returns whether nothing was left out of them.
///
/// # Errors
/// If a folder holds no runs or cannot be read.
pub fn compare(args: &CompareArgs) -> Result<bool> {
    let outcome = lerp_report::compare(&args.dirs, terminal_style())?;
    say_lines(outcome.terminal.trim_end());
    Ok(tell(&outcome))
}

/// Draws the tables, figures and HTML page of a sweep, and prints what is left out of them. Returns whether the report
/// is complete.
///
/// # Errors
/// If the folder holds no runs, or cannot be read or written.
pub fn draw(dir: &Path) -> Result<bool> {
    let outcome = lerp_report::report(dir, &ReportOptions { figure: None, terminal: None })?;
    let is_complete = tell(&outcome);
    tell_place(dir);
    Ok(is_complete)
}

/// Does the same as [`draw`], and also prints the tables.
///
/// # Errors
/// The errors of [`draw`].
pub fn draw_and_print(dir: &Path) -> Result<bool> {
    let outcome =
        lerp_report::report(dir, &ReportOptions { figure: None, terminal: Some(terminal_style()) })?;
    let is_complete = tell(&outcome);
    say_lines(outcome.terminal.trim_end());
    tell_place(dir);
    Ok(is_complete)
}

/// Prints notices and what is left out of a report. Returns whether nothing is left out.
fn tell(outcome: &ReportOutcome) -> bool {
    outcome.notices.iter().for_each(|notice| note(&format!("{notice}.")));
    warn_of_all(&outcome.left_out);
    outcome.left_out.is_empty()
}

/// Prints where the page of a report is.
fn tell_place(dir: &Path) {
    say(&format!("Tables, figures and the page: {}", dir.join("index.html").display()));
}
