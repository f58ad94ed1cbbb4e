//! Arguments of `lerp data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Subcommands of `lerp data`.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// List the datasets and whether their files are on this machine
    List(DataListArgs),
    /// Download an image set into the Hugging Face hub's cache, or resume an interrupted download
    Fetch(DataFetchArgs),
    /// Read a whole image set and print its sizes, classes, file digests and pixel means
    Check(DataCheckArgs),
}

/// Arguments of `lerp data list`.
#[derive(Debug, Args)]
pub struct DataListArgs {
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Arguments of `lerp data fetch`.
#[derive(Debug, Args)]
pub struct DataFetchArgs {
    /// Image set: mnist (18 MB), svhn, cifar10 or celeba (11 GB)
    pub name: String,
}

/// Arguments of `lerp data check`.
#[derive(Debug, Args)]
pub struct DataCheckArgs {
    /// Image set: mnist, svhn, cifar10, celeba, idx:DIR, images:DIR or parquet:PATH, or a dataset of this program
    pub name: String,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write a PNG sheet with the first images of each class
    #[arg(long, value_name = "FILE.png")]
    pub sheet: Option<PathBuf>,
}
