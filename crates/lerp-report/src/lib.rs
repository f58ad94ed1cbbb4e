//! Tables, figures and the page of a sweep, from what its runs have written so far.
//!
//! A number in a table is the mean over seeds of each finished run's final value
//! ([`lerp_eval::final_value`]); runs that differ in anything but the seed are separate rows. What is missing is said
//! under the table.

mod curves;
mod error;
mod figure3;
mod formats;
mod page;
mod published;
mod style;
mod summary;
mod table;
mod terminal;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lerp_train::write_atomic;

pub use error::{Error, Result};
use style::Drawing;
use summary::Sweep;

/// What to draw.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// This figure only: `3` or `curves`.
    pub figure: Option<String>,
}

/// A figure: its names, and what draws it, if the sweep has the data.
struct Figure {
    name: &'static str,
    file: &'static str,
    caption: fn(&Sweep) -> String,
    draw: fn(&Sweep) -> Result<Option<Drawing>>,
}

const FIGURES: [Figure; 2] = [
    Figure { name: "3", file: "figure3", caption: figure3::caption, draw: figure3::draw },
    Figure { name: "curves", file: "curves", caption: curves::caption, draw: curves::draw },
];

/// Writes `summary.parquet`, `tables/`, `figures/` and `index.html` into the folder of a sweep.
///
/// # Errors
/// If the folder holds no runs, a run's files are damaged, a file cannot be written, or a figure was asked for that does
/// not exist or has no data.
pub fn report(dir: &Path, options: &Options) -> Result<()> {
    if let Some(name) = &options.figure
        && !FIGURES.iter().any(|f| f.name == name)
    {
        let known = FIGURES.map(|f| f.name).join(", ");
        return Err(Error::UnknownFigure { name: name.clone(), known });
    }
    let sweep = Sweep::read(dir)?;
    let mut drawn = Vec::new();
    for figure in FIGURES.iter().filter(|f| options.figure.as_ref().is_none_or(|name| f.name == name)) {
        match (figure.draw)(&sweep)? {
            Some(drawing) => {
                let folder = dir.join("figures");
                make_folder(&folder)?;
                write_atomic(&folder.join(figure.file).with_extension("svg"), drawing.svg.as_bytes())?;
                write_atomic(&folder.join(figure.file).with_extension("png"), &drawing.png)?;
                drawn.push(page::Figure { caption: (figure.caption)(&sweep), svg: drawing.svg });
            }
            None if options.figure.is_some() => {
                return Err(Error::NoData { name: figure.name.into(), dir: dir.to_owned() });
            }
            None => {}
        }
    }
    if options.figure.is_none() {
        write_atomic(&dir.join("summary.parquet"), &sweep.parquet()?)?;
        let folder = dir.join("tables");
        make_folder(&folder)?;
        let tables = [
            ("md", formats::markdown(&sweep)),
            ("tex", formats::latex(&sweep)),
            ("csv", formats::csv(&sweep)),
        ];
        for (ending, text) in tables {
            write_atomic(&folder.join("table1").with_extension(ending), text.as_bytes())?;
        }
        write_atomic(&dir.join("index.html"), page::page(&sweep, &drawn)?.as_bytes())?;
    }
    Ok(())
}

/// One table of one or more sweeps for a terminal, with the paper's numbers beside; `color` allows bold type.
///
/// # Errors
/// If a folder holds no runs or a run's files are damaged.
pub fn compare(dirs: &[PathBuf], color: bool) -> Result<String> {
    let sweeps = dirs.iter().map(|dir| Sweep::read(dir)).collect::<Result<Vec<_>>>()?;
    Ok(terminal::terminal(&sweeps, color))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|problem| {
        lerp_train::Error::File { action: "create", path: path.to_owned(), problem }.into()
    })
}
