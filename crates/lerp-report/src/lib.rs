//! Tables, figures and the page of a sweep, from what its runs have written so far.
//!
//! A number in a table is the mean over seeds of each finished run's final value
//! ([`lerp_eval::final_value`]); runs that differ in anything but the seed are separate rows. What is missing is said
//! under the table.

mod conditions;
mod curves;
mod error;
mod figure3;
mod formats;
mod images;
mod page;
mod picture;
mod pixels;
mod published;
mod set;
mod sheet;
mod strips;
mod style;
mod summary;
mod table;
mod terminal;
pub mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lerp_train::write_atomic;

pub use error::{Error, Result};
pub use pixels::PixelReference;
use set::Set;
use sheet::Sheet;
use strips::Form;
use style::Drawing;
use summary::Sweep;

/// What to draw.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// This figure only: `3` or `curves` on lines; on image sets `4`, `6` to `11`, `strips-cifar10-256`,
    /// `curves-mnist-32` and the like.
    pub figure: Option<String>,
}

/// What a figure shows.
enum Shows {
    /// Figure 3.
    Lines,
    /// Learning curves on lines.
    LinesCurves,
    /// Interpolations between images.
    Strips(Set, Form),
    /// Learning curves on an image set.
    Curves(Set),
}

/// A figure of a sweep, if it has the data.
struct Figure {
    name: String,
    shows: Shows,
}

impl Figure {
    /// All that a sweep may have.
    fn all(sweep: &Sweep) -> Vec<Self> {
        let on_lines = sweep.on_lines().next().is_some();
        let (mut strips, mut curves) = (Vec::new(), Vec::new());
        for set in sweep.sets() {
            let number = set.figure();
            if (set.dataset.as_str(), set.dims) == ("celeba", 32) {
                let form = Form { number: Some("4"), pairs: Some(1) };
                strips.push(Self { name: "4".into(), shows: Shows::Strips(set.clone(), form) });
            }
            let name = number.map_or_else(|| format!("strips-{}", set.slug()), String::from);
            strips.push(Self { name, shows: Shows::Strips(set.clone(), Form { number, pairs: None }) });
            curves.push(Self { name: format!("curves-{}", set.slug()), shows: Shows::Curves(set.clone()) });
        }
        // By number, then those without one.
        strips.sort_by_key(|figure| figure.name.parse::<usize>().unwrap_or(usize::MAX));
        let lines = |name: &str, shows| on_lines.then(|| Self { name: name.into(), shows });
        let (figure3, on_lines) = (lines("3", Shows::Lines), lines("curves", Shows::LinesCurves));
        figure3.into_iter().chain(strips).chain(on_lines).chain(curves).collect()
    }

    /// The name of its files.
    fn file(&self) -> String {
        let numbered = self.name.chars().all(|c| c.is_ascii_digit());
        if numbered { format!("figure{}", self.name) } else { self.name.clone() }
    }

    fn draw(&self, sweep: &Sweep) -> Result<Option<(String, Drawing)>> {
        match &self.shows {
            Shows::Lines => figure3::draw(sweep),
            Shows::LinesCurves => curves::lines(sweep),
            Shows::Strips(set, form) => strips::draw(sweep, set, *form),
            Shows::Curves(set) => curves::images(sweep, set),
        }
    }
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
    }
    let mut drawn = Vec::new();
    for figure in figures {
        match figure.draw(&sweep)? {
            Some((caption, drawing)) => {
                let (folder, file) = (dir.join("figures"), figure.file());
                make_folder(&folder)?;
                // Names may have dots, which are no endings.
                write_atomic(&folder.join(format!("{file}.svg")), drawing.svg.as_bytes())?;
                write_atomic(&folder.join(format!("{file}.png")), &drawing.png)?;
                drawn.push(page::Figure { file, caption, svg: drawing.svg });
            }
            None if options.figure.is_some() => {
                return Err(Error::NoData { name: figure.name, dir: dir.to_owned() });
            }
            None => {}
        }
    }
    if options.figure.is_none() {
        write_atomic(&dir.join("summary.parquet"), &sweep.parquet()?)?;
        let folder = dir.join("tables");
        make_folder(&folder)?;
        let mut sheets: Vec<Sheet> = table::sheet(&sweep).into_iter().collect();
        sheets.extend(images::sheets(&sweep));
        for sheet in &sheets {
            let (markdown, latex) = (formats::markdown(sheet), formats::latex(sheet));
            for (ending, text) in [("md", &markdown), ("tex", &latex), ("csv", &sheet.csv)] {
                write_atomic(&folder.join(sheet.id).with_extension(ending), text.as_bytes())?;
            }
        }
        write_atomic(&dir.join("index.html"), page::page(&sweep, &sheets, &drawn)?.as_bytes())?;
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

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|problem| {
        lerp_train::Error::File { action: "create", path: path.to_owned(), problem }.into()
    })
}
