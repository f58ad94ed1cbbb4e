//! The command line, as clap structures whose doc comments are the `--help` text.

mod shares;
mod slurm;
mod sweep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lerp_core::{Schedule, unknown};
use lerp_data::{is_own, split_option};
use lerp_train::PROTOCOL_BATCH;

pub use shares::{MergeArgs, Shard};
pub use slurm::{ClusterArgs, Engine, RESERVED_OPTIONS, TaskArgs, Work};
pub use sweep::{Jobs, SweepArgs};

use crate::device::Choice;

/// Train autoencoders and measure how well they interpolate
#[derive(Debug, Parser)]
#[command(name = "lerp", version, about, max_term_width = 100)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The commands of `lerp`.
#[derive(Debug, Subcommand)]
pub enum Verb {
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
    /// Print one table of one or more sweeps, with the best values in bold and the paper's numbers beside them
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

/// Options that describe a plan: what to train, on which device and into which folder.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Built-in plan: smoke, quick, evening, mnist-cpu, lines or paper
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub preset: Option<String>,
    /// Your own plan: a TOML file in the format of the presets
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Datasets to use instead of the plan's, in one or several such options. Put a name that contains a comma in
    /// double quotes: --datasets '"images:cats, dogs",mnist'
    #[arg(long, value_name = "A,B", value_parser = datasets)]
    pub datasets: Option<Vec<Datasets>>,
    /// Training samples per run; the number of evaluations stays the same
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub samples: Option<u64>,
    /// Learning rate of every variant
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Learning-rate schedule: constant, or a cosine decay that starts at the fraction `from` of the run and ends at
    /// the fraction `floor` of the learning rate, both optionally after `warmup` steps of linear warm-up [example:
    /// cosine,from=0.7,floor=0.1,warmup=100]
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<Schedule>,
    /// Decay of an exponential moving average of the weights, which is evaluated and saved in place of the trained
    /// weights; 0 for no average [example: 0.999]
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,
    /// Latent channels, a number or a list; on MNIST 2 channels are 32 latent dimensions and 16 are 256
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub latent: Option<Vec<usize>>,
    /// Output channels of the encoder's first layer
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// K-means restarts in the final evaluation of a run on labelled images [the paper's: 1000]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// Training samples of each dataset's judge, a classifier trained once per sweep that measures how realistic
    /// decoded images are; 0 for no judge [default: 131072]
    #[arg(long, value_name = "N")]
    pub judge: Option<u64>,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Hyperparameter of a variant; a list of values spans a grid [example: acai.advweight=0.3,0.5]
    #[arg(long, value_name = "VARIANT.KEY=VALUE")]
    pub set: Vec<String>,
    /// On a CUDA GPU, compute convolutions in full f32 instead of TF32; runs of the two precisions are different cells
    /// and may share a folder
    #[arg(long)]
    pub full_f32: bool,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
    /// Folder of the sweep [default: results/<name of the preset or of the plan's file>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// The dataset names in one value of `--datasets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasets(pub Vec<String>);

/// Splits a value of `--datasets` at its commas; a name that contains a comma is in double quotes.
fn datasets(text: &str) -> Result<Datasets, String> {
    let (mut names, mut rest) = (Vec::new(), text);
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted.split_once('"').ok_or("a double quote has no second one")?
        } else {
            rest.split_at(rest.find(',').unwrap_or(rest.len()))
        };
        names.push(name.to_owned());
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => break,
            None => return Err("a comma must stand between two names".into()),
        }
    }
    Ok(Datasets(names))
}

impl Datasets {
    /// Checks that every name after a user's own image set is itself a dataset name, and not the rest of a folder name
    /// that contains a comma.
    ///
    /// # Errors
    /// If a name is not one of a dataset; the message shows how to quote it.
    pub fn check(&self, known: &[&str]) -> anyhow::Result<()> {
        let is_name = |name: &str| is_own(name) || known.contains(&split_option(name).0);
        match self.0.windows(2).find(|pair| is_own(&pair[0]) && !is_name(&pair[1])) {
            Some(pair) => anyhow::bail!(
                "{}; a name with a comma stands in double quotes: '\"{}\"'",
                unknown("dataset", &pair[1], known),
                pair.join(",")
            ),
            None => Ok(()),
        }
    }
}

/// Arguments of `lerp train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Options that describe the plan.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Variant to train
    #[arg(long, value_name = "NAME")]
    pub variant: String,
    /// Random seed of the run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
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
    pub device: Choice,
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
    /// Draw only this figure: 2 to 11, 2a, 3g, curves, paths, turns, norms, critic, ranks, cost or speed; a name such
    /// as curves-mnist-32 selects one dataset and latent size
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

/// Arguments of `lerp score`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ScoreArgs {
    /// Subcommand that is run instead of scoring.
    #[command(subcommand)]
    pub verb: Option<ScoreVerb>,
    /// Options of scoring.
    #[command(flatten)]
    pub scored: Option<ScoredArgs>,
}

/// Subcommands of `lerp score`.
#[derive(Debug, Subcommand)]
pub enum ScoreVerb {
    /// Create a task folder: images, a description of the answers wanted, and a Python script that computes them with
    /// your model
    Prepare(PrepareArgs),
}

/// Arguments of `lerp score` when it scores answered tasks.
#[derive(Debug, Args)]
pub struct ScoredArgs {
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
    pub device: Choice,
}

/// Arguments of `lerp verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder of golden values in the same layout, instead of the copy built into the program
    #[arg(long, value_name = "DIR")]
    pub golden: Option<PathBuf>,
    /// Device: auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
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
    pub device: Choice,
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
    pub device: Choice,
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
    pub device: Choice,
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
    /// Image set: mnist, svhn, cifar10, celeba, idx:DIR, images:DIR or parquet:PATH
    pub name: String,
    /// Folder that contains the image sets, one subfolder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write a PNG sheet with the first images of each class
    #[arg(long, value_name = "FILE.png")]
    pub sheet: Option<PathBuf>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_comma_is_quoted() {
        let names = |text: &str| datasets(text).map(|names| names.0.join("|"));
        assert_eq!(names("lines"), Ok("lines".into()));
        assert_eq!(names("lines,images:a b"), Ok("lines|images:a b".into()));
        assert_eq!(names(r#""images:a, b?test-every=5",lines"#), Ok("images:a, b?test-every=5|lines".into()));
        assert_eq!(names(r#"images:a "x""#), Ok(r#"images:a "x""#.into()));
        assert!(names(r#""images:a, b"#).is_err() && names(r#""images:a"b"#).is_err());
        let cut = datasets("images:a, b").unwrap().check(&["lines"]).unwrap_err().to_string();
        assert!(cut.ends_with(r#"stands in double quotes: '"images:a, b"'"#), "{cut}");
    }

    #[test]
    fn jobs_is_auto_or_a_positive_number() {
        assert_eq!("auto".parse(), Ok(Jobs::Auto));
        assert_eq!("3".parse(), Ok(Jobs::Number(3)));
        for text in ["0", "-1", "many", ""] {
            assert!(text.parse::<Jobs>().is_err(), "{text}");
        }
    }
}
