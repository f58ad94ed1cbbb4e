//! Arguments of the commands for models that were trained in other software: `lerp score` and `lerp import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lerp_train::PROTOCOL_BATCH;

use crate::device::DeviceChoice;

/// Arguments of `lerp score`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ScoreArgs {
    /// Subcommand that is run instead of scoring.
    #[command(subcommand)]
    pub command: Option<ScoreCommand>,
    /// Options of scoring.
    #[command(flatten)]
    pub answers: Option<ScoreAnswersArgs>,
}

/// Subcommands of `lerp score`.
#[derive(Debug, Subcommand)]
pub enum ScoreCommand {
    /// Create a task folder: images, a description of the answers wanted, and a Python script that computes them with
    /// your model
    Prepare(PrepareArgs),
}

/// Arguments of `lerp score` when it scores answered tasks.
#[derive(Debug, Args)]
pub struct ScoreAnswersArgs {
    /// Folders of answered tasks, one per seed of the model
    #[arg(required = true, value_name = "TASK")]
    pub tasks: Vec<PathBuf>,
    /// Name of the model in tables
    #[arg(long)]
    pub name: String,
    /// Folder of the sweep that the model is added to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Location of the task's image set on this machine, if it differs [example: images:NEW/PLACE]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
}

/// Arguments of `lerp score prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Dataset: lines, mnist, svhn, cifar10, celeba, or your own images
    #[arg(long, value_name = "NAME", required_unless_present = "like")]
    pub dataset: Option<String>,
    /// New folder for the task
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the drawn lines and of k-means; prepare one task for each seed of your model [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Create the task of the last evaluation of this run, to be answered with its exported model:
    /// results/SWEEP/runs/CELL
    #[arg(long, value_name = "RUN", conflicts_with_all = ["dataset", "seed"])]
    pub like: Option<PathBuf>,
    /// Also write this many training images, in the order in which a run of this seed sees them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub training: usize,
    /// Batch size of that run
    #[arg(long, value_name = "N", default_value_t = PROTOCOL_BATCH)]
    pub batch: usize,
    /// K-means restarts on labelled images [default: the paper's 1000, or the run's]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// File formats of the arrays: npy, safetensors or both
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "npy,safetensors")]
    pub format: Vec<String>,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Arguments of `lerp import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A model.safetensors file as `lerp export --to models` writes it, or the folder that contains it
    pub model: PathBuf,
    /// Folder of the sweep that the model is added to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Name of the model in tables [default: the variant's]
    #[arg(long)]
    pub name: Option<String>,
    /// Variant, if there is no config.json beside the model; then --dataset is required too, and those of --latent,
    /// --depth and --set that differ from the paper's protocol
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Dataset, if it differs from the one in config.json
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Seed of the training, if it differs from the one in config.json [default without config.json: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Latent channels
    #[arg(long, value_name = "N")]
    pub latent: Option<usize>,
    /// Output channels of the encoder's first layer
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// Hyperparameter of the variant [example: vqvae.codes=1024]
    #[arg(long, value_name = "VARIANT.KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}
