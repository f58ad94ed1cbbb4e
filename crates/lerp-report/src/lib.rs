//! Tables, figures and the web page of a sweep, from what its runs have written so far.
//!
//! A number in a table is the mean over seeds of each finished run's final value ([`lerp_eval::final_value`]). Runs
//! that differ in anything but the seed are separate rows. Notes under a table state which runs are missing from it.

mod aggregate;
mod claims;
mod columns;
mod conditions;
mod cost;
mod error;
mod figures;
mod formats;
mod frame;
mod further;
mod images;
mod judged;
mod page;
mod pairs;
mod pixels;
mod provenance;
mod published;
mod ranks;
mod reading;
mod references;
mod set;
mod sheet;
mod style;
mod summary;
mod table;
mod terminal;
pub mod text;
mod usefulness;
mod verdict;

use std::path::{Path, PathBuf};

use lerp_files::{make_folder, replace};

pub use error::{Error, Result};
use figures::{Drawn, Figure};
pub use pixels::PixelReference;
use provenance::{Provenance, command};
use sheet::Sheet;
use summary::Sweep;

/// The names of all tables' files. Those that a report does not write are deleted, since they stem from an earlier one.
const SHEETS: [&str; 10] =
    ["claims", "table1", "table2", "table3", "table4", "table5", "usefulness", "ranks", "further", "cost"];

/// Options of a report.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Draws only the figure of this name. On lines: `2` (`2a` to `2f`), `3` (`3a` to `3g`), `5`, `curves`, `paths`,
    /// `turns`, `norms`, `critic`, `samples-aae`. On image sets: `4`, `6` to `11`, and names that contain the image set
    /// and the size of its latents, such as `strips-cifar10-256`, `curves-mnist-32`, `norms-mnist-32`,
    /// `critic-mnist-32` and `samples-vae-mnist-32`. On either: `judged`, `judged-mnist-32`, `usefulness`, `ranks`,
    /// `cost`, `cost-mnist-32`, `speed`.
    pub figure: Option<String>,
    /// Also formats the tables for a terminal, as [`compare`] does with this value as `color`. This avoids reading a
    /// large sweep twice.
    pub terminal: Option<bool>,
}

/// The result of reading sweeps and writing their report.
#[derive(Debug, Clone, Default)]
pub struct ReportOutcome {
    /// A printable sentence about each run, file and figure that could not be read or drawn.
    pub left_out: Vec<String>,
    /// Further printable notices about the sweeps.
    pub notices: Vec<String>,
    /// The tables for a terminal; empty unless [`Options::terminal`] asked for them.
    pub terminal: String,
}

impl ReportOutcome {
    /// Collects the notices of `sweeps`, without tables.
    fn of(sweeps: &[Sweep]) -> Self {
        Self {
            left_out: sweeps.iter().flat_map(Sweep::left_out).collect(),
            notices: sweeps.iter().filter_map(|sweep| sweep.unchecked.clone()).collect(),
            terminal: String::new(),
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
/// use lerp_report::{Options, report};
///
/// let sweep = Path::new("results/quick");
/// let outcome = report(sweep, &Options::default())?;
/// for sentence in outcome.left_out.iter().chain(&outcome.notices) {
///     println!("{sentence}");
/// }
///
/// // Only Figure 3.
/// report(sweep, &Options { figure: Some("3".into()), ..Options::default() })?;
/// # Ok::<(), lerp_report::Error>(())
/// ```
pub fn report(dir: &Path, options: &Options) -> Result<ReportOutcome> {
    let sweep = Sweep::read(dir)?;
    let mut figures = Figure::all(&sweep);
    if let Some(name) = &options.figure {
        figures.retain(|figure| figure.name == *name);
        if figures.is_empty() {
            let known: Vec<String> = Figure::all(&sweep).into_iter().map(|figure| figure.name).collect();
            return Err(Error::UnknownFigure { name: name.clone(), known: known.join(", ") });
        }
    } else {
        figures.retain(|figure| !figure.part);
    }
    let (mut drawn, mut missing, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for figure in figures {
        let drawing = match figure.draw(&sweep) {
            Err(error) if options.figure.is_none() => {
                failed.push(format!("Figure {} is left out: {error}.", figure.name));
                continue;
            }
            drawing => drawing?,
        };
        match drawing {
            Some(shown) => {
                let whole = shown.whole_caption();
                let Drawn { caption, mut drawing, shows } = shown;
                let made = Provenance::of(&shows, &command(dir, Some(&figure.name)));
                drawing.stamp(&whole, &made)?;
                let (folder, file) = (dir.join("figures"), figure.file());
                make_folder(&folder)?;
                // `with_extension` would cut a name at a dot, which is no file ending here.
                replace(&folder.join(format!("{file}.svg")), drawing.svg.as_bytes())?;
                replace(&folder.join(format!("{file}.png")), &drawing.png)?;
                drawn.push(page::PageFigure { file, caption, provenance: made.line(), svg: drawing.svg });
            }
            None if options.figure.is_some() => {
                let unread = sweep.left_out();
                let why = if unread.is_empty() { "" } else { ". " };
                return Err(Error::NoData {
                    missing: figure.missing() + why + text::listed(&unread, 3, " ").trim_end_matches('.'),
                    name: figure.name,
                    dir: dir.to_owned(),
                });
            }
            None => missing.push((figure.name.clone(), figure.missing())),
        }
    }
    if options.figure.is_none() {
        replace(&dir.join("summary.parquet"), &sweep.parquet()?)?;
        let folder = dir.join("tables");
        make_folder(&folder)?;
        let mut sheets: Vec<Sheet> = Vec::new();
        let (claims, problem) = claims::sheet(&sweep);
        sheets.extend(claims);
        failed.extend(problem.map(|problem| format!("{problem}.")));
        sheets.extend(table::sheet(&sweep));
        sheets.extend(images::sheets(&sweep));
        sheets.extend(judged::sheet(&sweep));
        sheets.extend(usefulness::sheet(&sweep));
        sheets.extend(ranks::Ranks::new(&sweep).map(|ranks| ranks.sheet(&sweep)));
        sheets.extend(further::sheet(&sweep));
        sheets.extend(cost::sheet(&sweep));
        // Files of tables that an earlier report wrote and this one does not would be mistaken for current ones.
        for id in SHEETS.iter().filter(|id| !sheets.iter().any(|sheet| sheet.id == **id)) {
            for ending in ["md", "tex", "csv", "parquet"] {
                let _ = std::fs::remove_file(folder.join(id).with_extension(ending));
            }
        }
        for sheet in &mut sheets {
            let file = folder.join(sheet.id);
            let (markdown, latex) = (formats::markdown(sheet), formats::latex(sheet));
            for (ending, text) in [("md", markdown), ("tex", latex), ("csv", sheet.data.csv())] {
                replace(&file.with_extension(ending), text.as_bytes())?;
            }
            replace(&file.with_extension("parquet"), &sheet.data.parquet()?)?;
            // The page needs only the formatted text, so the memory of the numbers is released here.
            sheet.data = frame::Frame::default();
        }
        let made = Provenance::of(&sweep.groups.iter().collect::<Vec<_>>(), &command(dir, None));
        let figures = page::Figures { drawn, missing };
        page::write(&sweep, &sheets, figures, made.line(), &mut failed)?;
    }
    let sweeps = [sweep];
    let mut outcome = ReportOutcome::of(&sweeps);
    outcome.left_out.extend(failed);
    if let Some(color) = options.terminal {
        outcome.terminal = terminal::terminal(&sweeps, color);
    }
    Ok(outcome)
}

/// Formats the tables of one or more sweeps for a terminal, beside the paper's numbers. `color` allows bold type and
/// colours; the text contains no other control sequences.
///
/// # Errors
/// Returns an error if a folder holds no readable runs.
///
/// # Examples
/// ```no_run
/// use std::path::PathBuf;
///
/// let sweeps = [PathBuf::from("results/quick"), PathBuf::from("results/evening")];
/// let (tables, _outcome) = lerp_report::compare(&sweeps, false)?;
/// println!("{tables}");
/// # Ok::<(), lerp_report::Error>(())
/// ```
pub fn compare(dirs: &[PathBuf], color: bool) -> Result<(String, ReportOutcome)> {
    let sweeps = dirs.iter().map(|dir| Sweep::read(dir)).collect::<Result<Vec<_>>>()?;
    Ok((terminal::terminal(&sweeps, color), ReportOutcome::of(&sweeps)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{figures, images::ImageTable, table::METRICS};

    #[test]
    fn every_shown_metric_is_measured() {
        let measured: HashSet<&str> = lerp_eval::quantities().map(|quantity| &*quantity.key).collect();
        let tables = METRICS
            .iter()
            .map(|metric| metric.of)
            .chain(ImageTable::ALL.into_iter().flat_map(ImageTable::metrics));
        let shown: Vec<&str> = tables.chain(figures::drawn()).map(|quantity| &*quantity.key).collect();
        assert!(shown.len() > 20, "{shown:?}");
        for key in shown {
            assert!(measured.contains(key), "nobody measures {key}");
        }
    }
}
