//! Writing the report of a sweep, and the tables of several sweeps for a terminal.

use std::path::{Path, PathBuf};

use lerp_files::replace;

use crate::{Result, figures, page, reading::Sweep, statistics::Analysis, tables};

/// Options of a report.
#[derive(Debug, Clone, Default)]
pub struct ReportOptions {
    /// Draws only the figure of this name. On lines: `2` (`2a` to `2f`), `3` (`3a` to `3g`), `5`, `curves`, `paths`,
    /// `turns`, `norms`, `critic`, `samples-aae`. On image sets: `4`, `6` to `11`, and names that contain the image set
    /// and the size of its latents, such as `strips-cifar10-256`, `curves-mnist-32`, `norms-mnist-32`,
    /// `critic-mnist-32` and `samples-vae-mnist-32`. On either: `judged`, `judged-mnist-32`, `usefulness`, `ranks`,
    /// `cost`, `cost-mnist-32`, `speed`.
    pub figure: Option<String>,
    /// Also formats the tables for a terminal, as [`compare`] does. This avoids reading a large sweep twice.
    pub terminal: Option<TerminalStyle>,
}

/// How tables are set on a terminal. Either way, the text contains no control sequences but those for bold type and
/// colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalStyle {
    /// Without bold type and colours.
    Plain,
    /// With the best numbers in bold type, and verdicts in colours.
    Colored,
}

/// The result of reading sweeps and writing their report.
#[derive(Debug, Clone, Default)]
pub struct ReportOutcome {
    /// A printable sentence about each run, file and figure that could not be read or drawn.
    pub left_out: Vec<String>,
    /// Further printable notices about the sweeps.
    pub notices: Vec<String>,
    /// The tables for a terminal; empty unless they were asked for.
    pub terminal: String,
}

impl ReportOutcome {
    /// Collects the notices of `sweeps`, with their tables if these are asked for.
    fn of(sweeps: &[Sweep], style: Option<TerminalStyle>) -> Self {
        Self {
            left_out: sweeps.iter().flat_map(Sweep::left_out).collect(),
            notices: sweeps.iter().filter_map(|sweep| sweep.unchecked.clone()).collect(),
            terminal: style.map(|style| tables::for_terminal(sweeps, style)).unwrap_or_default(),
        }
    }
}

/// Writes `summary.parquet`, `tables/`, `figures/` and `index.html` into the folder of a sweep. Runs and files that
/// cannot be read are left out and named in the outcome.
///
/// # Errors
/// Returns an error if the folder holds no readable runs, if a file cannot be written, or if the requested figure does
/// not exist or has no data.
///
/// # Examples
/// ```no_run
/// use std::path::Path;
///
/// use lerp_report::{ReportOptions, report};
///
/// let sweep = Path::new("results/quick");
/// let outcome = report(sweep, &ReportOptions::default())?;
/// for sentence in outcome.left_out.iter().chain(&outcome.notices) {
///     println!("{sentence}");
/// }
///
/// // Only Figure 3.
/// report(sweep, &ReportOptions { figure: Some("3".into()), ..ReportOptions::default() })?;
/// # Ok::<(), lerp_report::Error>(())
/// ```
pub fn report(dir: &Path, options: &ReportOptions) -> Result<ReportOutcome> {
    let sweep = Sweep::read(dir)?;
    let analysis = Analysis::new(&sweep, tables::rank_columns(&sweep));
    let mut failed = Vec::new();
    if let Some(name) = &options.figure {
        figures::draw_one(&analysis, name)?;
    } else {
        let figures = figures::draw_all(&analysis, &mut failed)?;
        replace(&dir.join("summary.parquet"), &sweep.parquet()?)?;
        let mut sheets = tables::sheets(&analysis, &mut failed);
        tables::write(&mut sheets, &dir.join("tables"))?;
        let provenance = sweep.provenance(&sweep.groups.iter().collect::<Vec<_>>());
        page::write(&sweep, &sheets, figures, provenance.line(), &mut failed)?;
    }
    let mut outcome = ReportOutcome::of(std::slice::from_ref(&sweep), options.terminal);
    outcome.left_out.extend(failed);
    Ok(outcome)
}

/// Formats the tables of one or more sweeps for a terminal, beside the paper's numbers.
///
/// # Errors
/// Returns an error if a folder holds no readable runs.
///
/// # Examples
/// ```no_run
/// use std::path::PathBuf;
///
/// use lerp_report::{TerminalStyle, compare};
///
/// let sweeps = [PathBuf::from("results/quick"), PathBuf::from("results/evening")];
/// println!("{}", compare(&sweeps, TerminalStyle::Plain)?.terminal);
/// # Ok::<(), lerp_report::Error>(())
/// ```
pub fn compare(dirs: &[PathBuf], style: TerminalStyle) -> Result<ReportOutcome> {
    let sweeps = dirs.iter().map(|dir| Sweep::read(dir)).collect::<Result<Vec<_>>>()?;
    Ok(ReportOutcome::of(&sweeps, Some(style)))
}
