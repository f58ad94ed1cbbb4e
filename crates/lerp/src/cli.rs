//! The command line.

mod shares;
mod slurm;
mod sweep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use lerp_core::Schedule;
use lerp_data::{is_own, split_option};

pub use shares::{MergeArgs, Shard};
pub use slurm::{ClusterArgs, Engine, OURS, SbatchOption, TaskArgs, Work};
pub use sweep::{Jobs, SweepArgs};

use crate::{device::Choice, plan::PROTOCOL_BATCH, registry::unknown};

/// How well do autoencoders interpolate?
#[derive(Debug, Parser)]
#[command(name = "lerp", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Train every cell of a plan that is missing, then draw tables and figures
    Sweep(SweepArgs),
    /// Train one cell of a plan: one variant, one seed
    Train(TrainArgs),
    /// Measure the model of a finished run once more, or with more restarts of k-means
    Eval(EvalArgs),
    /// Bring the sweeps of several machines together in one folder, and report; runs that are there twice must be equal
    Merge(MergeArgs),
    /// Watch a sweep on the terminal: its cells, curves and images, from its files alone
    Watch(WatchArgs),
    /// Draw tables, figures and the page from what is in a sweep's folder
    Report(ReportArgs),
    /// One table of one or more sweeps on the terminal, best value bold, the paper's number beside
    Compare(CompareArgs),
    /// Write a sweep for other programs: TensorBoard, CSV, models with cards that load in candle and PyTorch
    Export(ExportArgs),
    /// Score a model that was trained elsewhere, by its answers to a task; `prepare` makes a task
    Score(ScoreArgs),
    /// Import the weights of a variant that were trained elsewhere, and measure them as a run
    Import(ImportArgs),
    /// Compare this build with the golden values; one line a check, exit 1 on a miss
    Verify(VerifyArgs),
    /// Measure speed
    #[command(subcommand)]
    Bench(Bench),
    /// Image sets: which are here, and what is in them
    #[command(subcommand)]
    Data(Data),
    /// Check that every variant satisfies the rules of the trait
    Conformance(ConformanceArgs),
    /// List variants, datasets and presets
    List,
    /// A sweep's worker: trains runs whose records come in on standard input
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// A part of a sweep on a cluster, which its engine starts
    #[command(hide = true)]
    Task(TaskArgs),
}

/// What to train.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// A plan that comes with the program: smoke, quick, evening, mnist-cpu, lines, paper
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub preset: Option<String>,
    /// A plan of your own, a TOML file of the same form
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// These datasets instead of the plan's; give it once or several times. A name with a comma stands in double quotes:
    /// --datasets '"images:cats, dogs",mnist'
    #[arg(long, value_name = "A,B", value_parser = datasets)]
    pub datasets: Option<Vec<Datasets>>,
    /// Samples to train on; evaluations keep their number
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub samples: Option<u64>,
    /// Learning rate for every variant
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// The learning rate over the run: constant, or falling along a cosine from a share of the run on, to a floor that is a share
    /// of the learning rate; either after steps of warm-up [example: cosine,from=0.7,floor=0.1,warmup=100]
    #[arg(long, value_name = "SCHEDULE")]
    pub schedule: Option<Schedule>,
    /// Decay of averaged weights, which are then measured and saved in place of the trained ones; 0 for none [example: 0.999]
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,
    /// Channels of the latent, a number or a list; on MNIST 2 makes 32 dimensions and 16 makes 256
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub latent: Option<Vec<usize>>,
    /// Channels of the encoder's first layer
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// Restarts of k-means at the end of a run on labelled images [the paper's: 1000]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// Samples to train the judge of each dataset on, once a sweep, which then says how real decoded images are; 0 for no judge
    /// [default: 131072]
    #[arg(long, value_name = "N")]
    pub judge: Option<u64>,
    /// Folder of the image sets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A hyperparameter; a list spans a grid [example: acai.advweight=0.3,0.5]
    #[arg(long, value_name = "VARIANT.KEY=VALUE")]
    pub set: Vec<String>,
    /// On a CUDA GPU: convolutions in full f32, instead of TF32; these are other cells, trained beside those
    #[arg(long)]
    pub full_f32: bool,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
    /// Folder of the sweep [default: results/<preset or name of the file>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Names of datasets: one value of `--datasets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasets(pub Vec<String>);

/// Names with commas between them; one that has a comma itself is in double quotes.
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
    /// Checks that what follows a name of one's own images is a name, and not a part of that name behind a comma.
    ///
    /// # Errors
    /// If it is not.
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

/// `train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// What to train.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// The variant
    #[arg(long, value_name = "NAME")]
    pub variant: String,
    /// The seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

/// `eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Folder of the run: results/SWEEP/runs/CELL
    pub dir: PathBuf,
    /// Also write its interpolations, paths and samples again, as for a run that an older version made; of its metrics only those
    /// of a judge are written
    #[arg(long)]
    pub write: bool,
    /// Restarts of k-means on labelled images [default: the run's own]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// Samples to train the dataset's judge on, if the run's sweep has none of this kind; 0 to ask no judge [default: that of the
    /// sweep; with --write, if it has none, one of 131072]
    #[arg(long, value_name = "N")]
    pub judge: Option<u64>,
    /// Folder of the image sets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The run's own images, where they have moved [example: images:NEW/PLACE]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Folder of the sweep
    pub dir: PathBuf,
    /// Print one table and end, as where there is no terminal
    #[arg(long)]
    pub once: bool,
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of the sweep
    pub dir: PathBuf,
    /// Only this figure: 2 to 11, 2a, 3g, curves, paths, turns, norms, critic, ranks, cost, speed; curves-mnist-32 and the like
    #[arg(long, value_name = "NAME")]
    pub figure: Option<String>,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Folders of sweeps
    #[arg(required = true)]
    pub dirs: Vec<PathBuf>,
}

/// `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder of the sweep, or of one run
    pub dir: PathBuf,
    /// tensorboard, csv or models; several with commas
    #[arg(long, value_name = "KIND,KIND", value_delimiter = ',', required = true)]
    pub to: Vec<String>,
    /// Folder of the export [default: DIR/export]
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Only these variants
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub variants: Option<Vec<String>>,
    /// Only these seeds: 0..5 (0 to 4), 3 or 0,2,7
    #[arg(long, value_name = "SEEDS", allow_hyphen_values = true)]
    pub seeds: Option<String>,
}

/// `score`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ScoreArgs {
    /// Instead of scoring.
    #[command(subcommand)]
    pub verb: Option<ScoreVerb>,
    /// What to score.
    #[command(flatten)]
    pub scored: Option<ScoredArgs>,
}

/// What `score` does besides.
#[derive(Debug, Subcommand)]
pub enum ScoreVerb {
    /// Write the folder of a task: images, what is wanted of them, and a Python file that answers it
    Prepare(PrepareArgs),
}

/// `score`, of answers.
#[derive(Debug, Args)]
pub struct ScoredArgs {
    /// Folders of answered tasks, one for each seed
    #[arg(required = true, value_name = "TASK")]
    pub tasks: Vec<PathBuf>,
    /// The model's name in tables
    #[arg(long)]
    pub name: String,
    /// Folder of the sweep that it is to stand in
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder of the image sets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The task's own images, where they are in another place here [example: images:NEW/PLACE]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
}

/// `score prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// lines, mnist, svhn, cifar10, celeba, or your own images
    #[arg(long, value_name = "NAME", required_unless_present = "like")]
    pub dataset: Option<String>,
    /// Folder of the task, a new one
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Seed of the lines and of the clusters; each seed of a model has a task of its own [default: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The task of a run's own last evaluation, for its exported model: results/SWEEP/runs/CELL
    #[arg(long, value_name = "RUN", conflicts_with_all = ["dataset", "seed"])]
    pub like: Option<PathBuf>,
    /// Also write this many images to train on, as a run of this seed sees them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub training: usize,
    /// Images a step of that run
    #[arg(long, value_name = "N", default_value_t = PROTOCOL_BATCH)]
    pub batch: usize,
    /// Restarts of k-means on labelled images [default: the paper's 1000, or the run's]
    #[arg(long, value_name = "N")]
    pub cluster_restarts: Option<usize>,
    /// Of arrays: npy, safetensors or both
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "npy,safetensors")]
    pub format: Vec<String>,
    /// Folder of the image sets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// model.safetensors as `export --to models` writes it, or its folder
    pub model: PathBuf,
    /// Folder of the sweep that it is to stand in
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The model's name in tables [default: the variant's]
    #[arg(long)]
    pub name: Option<String>,
    /// The variant, where there is no config.json beside the model; then with --dataset, and whatever is not the protocol's of
    /// --latent, --depth and --set
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// The dataset, if it is not that of config.json
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// The seed of the training, if it is not that of config.json [default without one: 0]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Channels of the latent
    #[arg(long, value_name = "N")]
    pub latent: Option<usize>,
    /// Channels of the encoder's first layer
    #[arg(long, value_name = "N")]
    pub depth: Option<usize>,
    /// A hyperparameter [example: vqvae.codes=1024]
    #[arg(long, value_name = "VARIANT.KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of the image sets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Golden values of the same layout, instead of the program's own copy
    #[arg(long, value_name = "DIR")]
    pub golden: Option<PathBuf>,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
    /// Use candle's own operations instead of the fused ones
    #[arg(long)]
    pub composed: bool,
    /// Only checks whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Print misses and the summary only
    #[arg(long)]
    pub quiet: bool,
}

/// `conformance`.
#[derive(Debug, Args)]
pub struct ConformanceArgs {
    /// These variants instead of all
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub variants: Option<Vec<String>>,
    /// auto, cpu, cuda, cuda:0,1 or metal; on a CUDA GPU recorded steps are compared with launched ones, too
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: Choice,
}

/// `bench`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Time of one training step, the joint classifier included
    Step(BenchStepArgs),
    /// Every operation of a network, on the CPU: against its composed form and the machine's matrix rate
    Ops(BenchOpsArgs),
    /// Time of an evaluation on lines, and its share of training at the paper's cadence
    Eval(BenchEvalArgs),
}

/// `bench ops`.
#[derive(Debug, Args)]
pub struct BenchOpsArgs {
    /// The dataset's network and image size
    #[arg(long, value_name = "NAME", default_value = "lines")]
    pub dataset: String,
    /// Images
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch: usize,
}

/// `bench eval`.
#[derive(Debug, Args)]
pub struct BenchEvalArgs {
    /// The variant
    #[arg(long, value_name = "NAME", default_value = "baseline")]
    pub variant: String,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `bench step`.
#[derive(Debug, Args)]
// Flags of a command line.
#[allow(clippy::struct_excessive_bools)]
pub struct BenchStepArgs {
    /// The variant
    #[arg(long, value_name = "NAME", default_value = "baseline")]
    pub variant: String,
    /// The dataset's network and image size
    #[arg(long, value_name = "NAME", default_value = "lines")]
    pub dataset: String,
    /// Images a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub batch: usize,
    /// Steps timed, after three that are not
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub steps: usize,
    /// auto, cpu, cuda, cuda:0,1 or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Choice,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// On a GPU: launch by launch, instead of a recorded step
    #[arg(long)]
    pub launches: bool,
    /// On a GPU: convolutions in full f32, instead of TF32
    #[arg(long)]
    pub full_f32: bool,
    /// Use candle's own operations instead of the fused ones
    #[arg(long)]
    pub composed: bool,
    /// On a CPU: the instruction set of the fused ones, avx512, avx2, neon or portable [default: the best that is here]
    #[arg(long, value_name = "NAME", conflicts_with = "composed")]
    pub isa: Option<String>,
}

/// `data`.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// List the datasets and say which are here
    List(DataListArgs),
    /// Download an image set into the cache of the Hugging Face hub, or go on with that
    Fetch(DataFetchArgs),
    /// Read an image set whole: sizes, classes, digests of the files, pixel means
    Check(DataCheckArgs),
}

/// `data list`.
#[derive(Debug, Args)]
pub struct DataListArgs {
    /// Folder of the datasets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// `data fetch`.
#[derive(Debug, Args)]
pub struct DataFetchArgs {
    /// mnist (18 MB), svhn, cifar10 or celeba (11 GB)
    pub name: String,
}

/// `data check`.
#[derive(Debug, Args)]
pub struct DataCheckArgs {
    /// mnist, svhn, cifar10, celeba, idx:DIR, images:DIR or parquet:PATH
    pub name: String,
    /// Folder of the datasets, one sub-folder each [default: the environment variable LERP_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write a PNG of the first images of each class, to look at
    #[arg(long, value_name = "FILE.png")]
    pub sheet: Option<PathBuf>,
}

/// `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Folder of the runs
    pub dir: PathBuf,
    /// The device's name
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
    fn jobs() {
        assert_eq!("auto".parse(), Ok(Jobs::Auto));
        assert_eq!("3".parse(), Ok(Jobs::Number(3)));
        for text in ["0", "-1", "many", ""] {
            assert!(text.parse::<Jobs>().is_err(), "{text}");
        }
    }
}
