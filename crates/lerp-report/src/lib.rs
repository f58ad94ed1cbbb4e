//! Tables, figures and the page of a sweep, from what its runs have written so far.
//!
//! A number in a table is the mean over seeds of each finished run's final value
//! ([`lerp_eval::final_value`]); runs that differ in anything but the seed are separate rows. What is missing is said
//! under the table.

mod columns;
mod conditions;
mod error;
mod figures;
mod formats;
mod frame;
mod images;
mod page;
mod pairs;
mod pixels;
mod provenance;
mod published;
mod set;
mod sheet;
mod style;
mod summary;
mod table;
mod terminal;
pub mod text;
mod verdict;

use std::path::{Path, PathBuf};

use lerp_files::{make_folder, replace};

pub use error::{Error, Result};
use figures::{Drawn, Figure};
pub use pixels::PixelReference;
use provenance::{Provenance, command};
use sheet::Sheet;
use summary::Sweep;

/// What to draw.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// This figure only. On lines `2` (`2a` to `2f`), `3` (`3a` to `3g`), `5`, `curves`, `paths`, `turns`, `norms`,
    /// `critic`, `samples-aae`; on image sets `4`, `6` to `11`, `strips-cifar10-256`, `curves-mnist-32`,
    /// `norms-mnist-32`, `critic-mnist-32`, `samples-vae-mnist-32` and the like; `speed`.
    pub figure: Option<String>,
}

/// Writes `summary.parquet`, `tables/`, `figures/` and `index.html` into the folder of a sweep.
///
/// # Errors
/// If the folder holds no runs, a run's files are damaged, a file cannot be written, or a figure was asked for that does
/// not exist or has no data.
pub fn report(dir: &Path, options: &Options) -> Result<()> {
    let sweep = Sweep::read(dir)?;
    let mut figures = Figure::all(&sweep);
    if let Some(name) = &options.figure {
        let known = figures.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>().join(", ");
        figures.retain(|figure| figure.name == *name);
        if figures.is_empty() {
            return Err(Error::UnknownFigure { name: name.clone(), known });
        }
    } else {
        figures.retain(|figure| !figure.part);
    }
    let (mut drawn, mut missing) = (Vec::new(), Vec::new());
    for figure in figures {
        match figure.draw(&sweep)? {
            Some(Drawn { caption, mut drawing, shows }) => {
                let made = Provenance::of(&shows, command(dir, Some(&figure.name)));
                drawing.stamp(&made)?;
                let (folder, file) = (dir.join("figures"), figure.file());
                make_folder(&folder)?;
                // Names may have dots, which are no endings.
                replace(&folder.join(format!("{file}.svg")), drawing.svg.as_bytes())?;
                replace(&folder.join(format!("{file}.png")), &drawing.png)?;
                drawn.push(page::Figure { file, caption, provenance: made.line(), svg: drawing.svg });
            }
            None if options.figure.is_some() => {
                return Err(Error::NoData {
                    missing: figure.missing(),
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
        let mut sheets: Vec<Sheet> = table::sheet(&sweep).into_iter().collect();
        sheets.extend(images::sheets(&sweep));
        for sheet in &sheets {
            let file = folder.join(sheet.id);
            let (markdown, latex) = (formats::markdown(sheet), formats::latex(sheet));
            for (ending, text) in [("md", markdown), ("tex", latex), ("csv", sheet.data.csv())] {
                replace(&file.with_extension(ending), text.as_bytes())?;
            }
            replace(&file.with_extension("parquet"), &sheet.data.parquet()?)?;
        }
        let made = Provenance::of(&sweep.groups.iter().collect::<Vec<_>>(), command(dir, None));
        replace(
            &dir.join("index.html"),
            page::page(&sweep, &sheets, page::Figures { drawn, missing }, made.line())?.as_bytes(),
        )?;
    }
    Ok(())
}

/// The tables of one or more sweeps for a terminal, with the paper's numbers beside; `color` allows bold type.
///
/// # Errors
/// If a folder holds no runs or a run's files are damaged.
pub fn compare(dirs: &[PathBuf], color: bool) -> Result<String> {
    let sweeps = dirs.iter().map(|dir| Sweep::read(dir)).collect::<Result<Vec<_>>>()?;
    Ok(terminal::terminal(&sweeps, color))
}
