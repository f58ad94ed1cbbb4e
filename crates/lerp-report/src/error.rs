//! The errors of reports.

use std::path::{Path, PathBuf};

/// An error while reading a sweep or writing its report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder does not exist.
    #[error("there is no folder {}; give the folder of a sweep, such as results/quick", .0.display())]
    NoFolder(PathBuf),
    /// The folder does not belong to a sweep.
    #[error("{} holds no runs; give the folder of a sweep, such as results/quick", .0.display())]
    NoRuns(PathBuf),
    /// None of the sweep's planned cells has begun.
    #[error("none of the {cells} cells planned in {} has begun; sweep again to train them", .dir.display())]
    NotBegun {
        /// The folder of the sweep.
        dir: PathBuf,
        /// The number of planned cells.
        cells: usize,
    },
    /// No run of the sweep can be read.
    #[error("no run in {} can be read. {reasons}", .dir.display())]
    NothingReadable {
        /// The folder of the sweep.
        dir: PathBuf,
        /// The reasons, as sentences.
        reasons: String,
    },
    /// The requested figure does not exist.
    #[error("there is no figure '{name}'; there are: {known}")]
    UnknownFigure {
        /// The requested name.
        name: String,
        /// The names of all figures, separated by commas.
        known: String,
    },
    /// The user's file of claims cannot be read or tested.
    #[error("{} is left out: {problem}", .path.display())]
    BadClaims {
        /// The file of claims.
        path: PathBuf,
        /// The problem, as part of a sentence.
        problem: String,
    },
    /// The requested figure exists, but no run has data for it.
    #[error("figure '{name}' cannot be drawn: no run in {} {missing}", .dir.display())]
    NoData {
        /// The name of the figure.
        name: String,
        /// The folder of the sweep.
        dir: PathBuf,
        /// What no run has, as the end of a sentence.
        missing: String,
    },
    /// A figure or table could not be made.
    #[error("cannot make {what}: {problem}")]
    Draw {
        /// The figure or table.
        what: &'static str,
        /// The problem, as part of a sentence.
        problem: String,
    },
    /// A run could not be read, or a file could not be written.
    #[error(transparent)]
    Run(#[from] lerp_train::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] lerp_files::Error),
}

impl Error {
    /// Returns the error of a file whose content is not as expected.
    pub(crate) fn bad_file(path: &Path, problem: String) -> Self {
        Self::Run(lerp_train::Error::BadFile { path: path.to_owned(), problem })
    }

    /// Returns a function that wraps an underlying error as [`Error::Draw`], for use with `map_err`.
    pub(crate) fn draw<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |problem| Self::Draw { what, problem: problem.to_string() }
    }
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;
