//! Errors of reports.

use std::path::{Path, PathBuf};

/// What can go wrong in a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder that is not there.
    #[error("there is no folder {}; give the folder of a sweep, such as results/quick", .0.display())]
    NoFolder(PathBuf),
    /// A folder that is no sweep's.
    #[error("{} holds no runs; give the folder of a sweep, such as results/quick", .0.display())]
    NoRuns(PathBuf),
    /// A sweep none of whose cells has begun.
    #[error("none of the {cells} cells planned in {} has begun; sweep again to train them", .dir.display())]
    NotBegun {
        /// The sweep.
        dir: PathBuf,
        /// Planned cells.
        cells: usize,
    },
    /// A sweep none of whose runs can be read.
    #[error("no run in {} can be read. {reasons}", .dir.display())]
    NothingReadable {
        /// The sweep.
        dir: PathBuf,
        /// Sentences.
        reasons: String,
    },
    /// A figure that does not exist.
    #[error("there is no figure '{name}'; there are: {known}")]
    UnknownFigure {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Claims of one's own that cannot be tested.
    #[error("{} is left out: {problem}", .path.display())]
    BadClaims {
        /// Their file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A figure for which no run has data.
    #[error("figure '{name}' cannot be drawn: no run in {} {missing}", .dir.display())]
    NoData {
        /// The figure.
        name: String,
        /// The sweep.
        dir: PathBuf,
        /// What no run has, as the end of a sentence.
        missing: String,
    },
    /// A figure or table that could not be made.
    #[error("cannot make {what}: {problem}")]
    Draw {
        /// What.
        what: &'static str,
        /// Why not.
        problem: String,
    },
    /// A run that could not be read, or a file that could not be written.
    #[error(transparent)]
    Run(#[from] lerp_train::Error),
    /// A file that could not be read or written.
    #[error(transparent)]
    File(#[from] lerp_files::Error),
}

impl Error {
    pub(crate) fn bad_file(path: &Path, problem: String) -> Self {
        Self::Run(lerp_train::Error::BadFile { path: path.to_owned(), problem })
    }

    pub(crate) fn draw<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |problem| Self::Draw { what, problem: problem.to_string() }
    }
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
