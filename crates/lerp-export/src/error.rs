//! The errors of this crate.

use std::path::PathBuf;

use lerp_core::unknown_name_message;

use crate::Format;

/// An error while a sweep is exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no export format of this name.
    #[error("{}", unknown_name_message("export format", .0, &Format::NAMES))]
    UnknownFormat(String),
    /// The folder of the sweep does not exist.
    #[error("there is no folder {}", .0.display())]
    NoFolder(PathBuf),
    /// The folder has no runs.
    #[error("{} has no runs; give the folder of a sweep, or of one of its runs", .0.display())]
    NoRuns(PathBuf),
    /// No run in the folder can be read.
    #[error("no run in {} can be read. {reasons}", .dir.display())]
    NothingReadable {
        /// Folder of the sweep.
        dir: PathBuf,
        /// The reasons, as sentences.
        reasons: String,
    },
    /// No run in the folder is of a variant that is asked for.
    #[error("{} in {}", unknown_name_message("variant", .name, &.known.iter().map(String::as_str).collect::<Vec<_>>()), .dir.display())]
    NoVariant {
        /// Name of the variant.
        name: String,
        /// Names of the variants that the folder has.
        known: Vec<String>,
        /// Folder of the sweep.
        dir: PathBuf,
    },
    /// No run in the folder has a seed that is asked for.
    #[error("no run in {} has a seed among {seeds}", .dir.display())]
    NoSeed {
        /// Folder of the sweep.
        dir: PathBuf,
        /// The seeds, separated by commas.
        seeds: String,
    },
    /// No run in the folder has a model.
    #[error(
        "no finished run in {} has a model (published results come without them, and so do models that were scored from \
         outside); train them here, or leave out the export of models", .0.display()
    )]
    NoModels(PathBuf),
    /// The output folder is a file.
    #[error("the output folder {} is a file; give a folder", .0.display())]
    OutputIsFile(PathBuf),
    /// The output folder is where the runs of the sweep are.
    #[error("the output folder {} is among the runs of the sweep; choose another folder", .0.display())]
    OutputAmongRuns(PathBuf),
    /// A run lacks something that its export contains, or has a damaged file. The string is the message.
    #[error("{0}")]
    BadRun(String),
    /// A record cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Tensors cannot be written.
    #[error(transparent)]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] lerp_files::Error),
    /// An error of [`lerp_core`].
    #[error(transparent)]
    Core(#[from] lerp_core::Error),
    /// An error of a dataset.
    #[error(transparent)]
    Data(#[from] lerp_data::Error),
    /// A run could not be read.
    #[error(transparent)]
    Run(#[from] lerp_train::Error),
    /// An error of the tensor library.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
