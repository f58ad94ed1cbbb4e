//! The command line, as clap structures whose doc comments are the `--help` text.

mod data;
mod models;
mod plan;
mod shares;
mod slurm;
mod sweep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use data::{Data, DataCheckArgs, DataFetchArgs, DataListArgs};
pub use models::{ImportArgs, PrepareArgs, ScoreAnswersArgs, ScoreArgs, ScoreCommand};
pub use plan::{PlanArgs, TrainArgs};
pub use shares::{MergeArgs, Shard};
pub use slurm::{ClusterArgs, Engine, RESERVED_OPTIONS, TaskArgs, Work};
pub use sweep::{Jobs, SweepArgs};

use crate::device::DeviceChoice;

/// Train autoencoders and measure how well they interpolate
#[derive(Debug, Parser)]
#[command(name = "lerp", version, about, max_term_width = 100)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: LerpCommand,
}

/// The commands of `lerp`.
#[derive(Debug, Subcommand)]
pub enum LerpCommand {
    /// Train all cells of a plan that are not trained yet, then draw tables and figures
    Sweep(SweepArgs),
    /// Train one cell of a plan: one variant, one seed
    Train(TrainArgs),
    /// Evaluate the model of a finished run again, optionally with another number of k-means restarts
    Eval(EvalArgs),
    /// Merge the sweeps of several machines into one new folder and draw the report; runs of the same cell must be
    /// equal
    Merge(MergeArgs),
    /// Watch a sweep in the terminal: its cells, curves and images, read from the files in its folder
    Watch(WatchArgs),
    /// Draw the tables, figures and HTML page of a sweep from the files in its folder
    Report(ReportArgs),
    /// Print the tables of one or more sweeps beside each other, with the best values in bold and the paper's numbers
    Compare(CompareArgs),
    /// Export a sweep to TensorBoard logs, CSV tables, or models with model cards that load in candle and PyTorch
    Export(ExportArgs),
    /// Score a model trained in other software by its answers to a task; `prepare` creates a task
    Score(ScoreArgs),
    /// Import weights of a variant that were trained in other software, and evaluate them as a run
    Import(ImportArgs),
    /// Compare this build with the golden values: one line per check, exit code 1 if any check fails
    Verify(VerifyArgs),
    /// Measure the speed of training steps, operations or evaluations
    #[command(subcommand)]
    Bench(Bench),
    /// List, download or check image sets
    #[command(subcommand)]
    Data(Data),
    /// Check that every variant keeps the contract of the `Autoencoder` trait
    Conformance(ConformanceArgs),
    /// List variants, datasets, metrics and presets
    List,
    /// Worker process of a sweep: trains the runs whose records arrive on standard input
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// One task of a sweep on a cluster, started by the cluster's workload manager
    #[command(hide = true)]
    Task(TaskArgs),
}

/// Arguments of `lerp eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Folder of the run: results/SWEEP/runs/CELL
    pub dir: PathBuf,
    /// Also write the run's interpolations, paths and samples again, for example for a run of an older version; of its
    /// metrics, only those of a judge are written
    #[arg(long)]
    pub write: bool,
    /// K-means restarts on labelled images [default: those of the run]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// Use a judge trained on N samples: the sweep's if it has one, else a newly trained one; 0 for no judge [default:
    /// the sweep's judge; with --write, if the sweep has none, a new one of 131072 samples]
    #[arg(long, value_name = "N")]
    pub judge: Option<u64>,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// New location of the run's image set, if it was moved [example: images:NEW/PLACE]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lerp watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Folder of the sweep
    pub dir: PathBuf,
    /// Print one table and exit, as when standard output is not a terminal
    #[arg(long)]
    pub once: bool,
}

/// Arguments of `lerp report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of the sweep
    pub dir: PathBuf,
    /// Draw only this figure: 2 to 11, 2a, 3g, curves, paths, turns, norms, critic, judged, usefulness, ranks, cost,
    /// speed or samples-aae; a name such as curves-mnist-32 or strips-cifar10-256 selects one dataset and latent size
    #[arg(long, value_name = "NAME")]
    pub figure: Option<String>,
}

/// Arguments of `lerp compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Folders of the sweeps to compare
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
}

/// Arguments of `lerp export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder of a sweep or of one run
    pub dir: PathBuf,
    /// Formats to export to: tensorboard, csv or models; separate several with commas
    #[arg(long, value_name = "KIND,KIND", value_delimiter = ',', required = true)]
    pub to: Vec<String>,
    /// Folder of the export [default: DIR/export]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Export only these variants
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub variants: Option<Vec<String>>,
    /// Export only these seeds: 0..5 (0 to 4), 3 or 0,2,7
    #[arg(long, value_name = "SEEDS", allow_hyphen_values = true)]
    pub seeds: Option<String>,
}

/// Arguments of `lerp verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder of golden values in the same layout, instead of the copy built into the program
    #[arg(long, value_name = "DIR")]
    pub golden: Option<PathBuf>,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Use candle's own operations instead of the fused kernels
    #[arg(long)]
    pub composed: bool,
    /// Print and count only the checks whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Print only the failed checks and the summary
    #[arg(long)]
    pub quiet: bool,
}

/// Arguments of `lerp conformance`.
#[derive(Debug, Args)]
pub struct ConformanceArgs {
    /// Check only these variants
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub variants: Option<Vec<String>>,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal; on a CUDA GPU, captured steps are also compared with steps launched
    /// kernel by kernel
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
}

/// Subcommands of `lerp bench`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Time one training step, including the update of the jointly trained classifier
    Step(BenchStepArgs),
    /// Time every operation of a network on the CPU, compared with candle's own operations and with the machine's
    /// matrix-multiplication rate
    Ops(BenchOpsArgs),
    /// Time an evaluation on lines, and compute its share of the training time at the paper's evaluation interval
    Eval(BenchEvalArgs),
}

/// Arguments of `lerp bench ops`.
#[derive(Debug, Args)]
pub struct BenchOpsArgs {
    /// Dataset whose network and image size are used
    #[arg(long, value_name = "NAME", default_value = "lines")]
    pub dataset: String,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch: usize,
}

/// Arguments of `lerp bench eval`.
#[derive(Debug, Args)]
pub struct BenchEvalArgs {
    /// Variant to time
    #[arg(long, value_name = "NAME", default_value = "baseline")]
    pub variant: String,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `lerp bench step`.
#[derive(Debug, Args)]
// Each flag of the command line is one bool.
#[allow(clippy::struct_excessive_bools)]
pub struct BenchStepArgs {
    /// Variant to time
    #[arg(long, value_name = "NAME", default_value = "baseline")]
    pub variant: String,
    /// Dataset whose network and image size are used
    #[arg(long, value_name = "NAME", default_value = "lines")]
    pub dataset: String,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch: usize,
    /// Number of timed steps, after a few untimed warm-up steps
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub steps: usize,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Print the result as one line of JSON
    #[arg(long)]
    pub json: bool,
    /// On a CUDA GPU, launch every kernel of a step separately instead of replaying a captured step
    #[arg(long)]
    pub launches: bool,
    /// On a CUDA GPU, compute convolutions in full f32 instead of TF32
    #[arg(long)]
    pub full_f32: bool,
    /// Use candle's own operations instead of the fused kernels
    #[arg(long)]
    pub composed: bool,
    /// On a CPU, the instruction set of the fused kernels: avx512, avx2, neon or portable [default: the best of this
    /// machine]
    #[arg(long, value_name = "NAME", conflicts_with = "composed")]
    pub isa: Option<String>,
}

/// Arguments of `lerp worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Folder of the runs
    pub dir: PathBuf,
    /// Name of the device
    #[arg(long)]
    pub device: String,
}

/// Shortens one of clap's multi-line error messages to one line: the mistake and its tip, without the usage.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\nUsage:").next().unwrap_or(&text);
    let text = text.split("\nFor more").next().unwrap_or(text);
    let parts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    parts.join("; ").trim_start_matches("error: ").replace(":;", ":")
}
