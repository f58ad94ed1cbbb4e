//! The `lerp` command as a library: how well do autoencoders interpolate? [`App`] builds a `lerp` command with a user's
//! own variants, datasets and metrics beside the built-in ones.
//!
//! Lerpbench trains seven autoencoders on the same benchmark, decodes latents between those of two images, scores the
//! resulting images, and draws the tables and figures of Berthelot, Raffel, Roy and Goodfellow, "Understanding and
//! Improving Interpolation in Autoencoders via an Adversarial Regularizer" (arXiv 1807.07543).
//!
//! # The crates
//! | crate | what it is for |
//! |---|---|
//! | [`lerp_core`] | the interfaces that all share: autoencoders, parameters, random draws, hyperparameters |
//! | [`lerp_files`] | safe reading and replacing of files, locks, digests |
//! | [`lerp_cluster`] | Slurm: its queue and commands, the records of what was submitted |
//! | [`lerp_kernels`] | the operations of the paper's networks, with fused kernels for CPU and CUDA |
//! | [`lerp_nn`] | layers, the paper's encoder and decoder, losses |
//! | [`lerp_baseline`], [`lerp_dropout`], [`lerp_denoising`], [`lerp_vae`], [`lerp_aae`], [`lerp_vqvae`], [`lerp_acai`] | the paper's variants, one crate each |
//! | [`lerp_data`] | datasets: drawn lines, image sets in local files, tensors |
//! | [`lerp_eval`] | metrics of interpolations, clusters and classifiers of latents, statistical tests |
//! | [`lerp_train`] | training and evaluation of a run in a folder, checkpoints, the conformance check |
//! | [`lerp_report`] | tables, figures and the web page of a sweep |
//! | [`lerp_watch`] | a running sweep in the terminal |
//! | [`lerp_export`] | runs and models for other programs: TensorBoard, CSV, models with cards |
//! | [`lerp_verify`] | the comparison with golden values, which are in its folder `golden` |
//! | [`lerp_bench`] | the times of training steps, operations and evaluations |
//! | `lerp` | this crate: the command, its plans and worker processes |
//!
//! # How a run goes
//! 1. A plan (a preset or a TOML file, changed by options of the command line) lists variants, datasets,
//!    hyperparameters and seeds. Each combination is a cell of the sweep ([`lerp_train::Cell`]), and a worker process
//!    trains it in a folder of its own.
//! 2. The worker builds the variant's model ([`lerp_core::Variant`]). At each training step the model states its losses
//!    on a batch; the trainer computes all gradients at the same parameters, and then updates every group of them.
//! 3. At each evaluation the test images are reconstructed and interpolated, and the metrics are written. A run that
//!    was stopped goes on at its last checkpoint, with the same results bit for bit ([`lerp_train::train()`]).
//! 4. The report takes means over seeds, and writes tables, figures and `index.html` ([`lerp_report::report`]).
//!
//! # Where to start
//! | you have | implement | add it by | example in the repository |
//! |---|---|---|---|
//! | a loss | [`lerp_core::Model`] and [`lerp_core::Autoencoder`] | [`App::model`] | `examples/custom-autoencoder` |
//! | a network | the same, with [`lerp_core::NetworkKind`] | [`App::model`] | `examples/resnet-candle-nn` |
//! | a dataset | [`lerp_data::Dataset`] | [`App::dataset`] | `examples/own-data-and-metric` |
//! | a metric | [`lerp_eval::Metric`] | [`App::metric`] | `examples/own-data-and-metric` |
//!
//! The repository's `docs/extending.md` describes all four. Images in a folder and models that were trained with other
//! software need no Rust: see `data/README.md` and `docs/score.md`.

mod app;
mod bench;
mod checks;
mod cli;
mod data;
mod dataset_cache;
mod device;
mod eval;
mod export;
mod import;
mod list;
mod merge;
mod plan;
mod process;
mod provenance;
mod registry;
mod report;
mod say;
mod score;
mod slurm;
mod sweep;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use cli::{Bench, Cli, LerpCommand};
use registry::Registry;
use say::{complain, note, warn};

pub use app::App;
pub use registry::{Failure, seven};

/// The global allocator. The system's allocator returns the memory of a training step to the kernel, which must clear
/// it again for the next step; mimalloc keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main(registry: &Registry) -> ExitCode {
    lerp_kernels::disable_candle_thread_pool();
    lerp_kernels::on_notice(warn);
    // The warnings of Slurm's commands begin with the name of the command, so they are printed without `warning:`.
    lerp_cluster::on_warning(note);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            complain(&anyhow::anyhow!("{}", cli::one_line(&error)));
            return ExitCode::from(2);
        }
    };
    // Runs on a thread of the pool, so that parallel work need not first wake up another thread.
    match process::start_threads().and_then(|()| rayon::scope(|_| run(registry, cli.command))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Runs a command. Returns `false` if a part of the work failed.
fn run(registry: &Registry, command: LerpCommand) -> Result<bool> {
    match command {
        LerpCommand::Sweep(args) => sweep::sweep(registry, &args),
        LerpCommand::Train(args) => sweep::train(registry, &args),
        LerpCommand::Worker(args) => sweep::worker(registry, &args),
        LerpCommand::Task(args) => slurm::task(registry, &args),
        LerpCommand::Eval(args) => eval::eval(registry, &args),
        LerpCommand::Merge(args) => merge::merge(&args),
        LerpCommand::Watch(args) => watch::watch(&args),
        LerpCommand::Report(args) => report::report(&args),
        LerpCommand::Compare(args) => report::compare(&args),
        LerpCommand::Export(args) => export::export(registry, &args),
        LerpCommand::Score(args) => score::score(registry, &args),
        LerpCommand::Import(args) => import::import(registry, &args),
        LerpCommand::Verify(args) => checks::verify(&args),
        LerpCommand::Bench(Bench::Step(args)) => bench::step(registry, &args),
        LerpCommand::Bench(Bench::Ops(args)) => bench::ops(registry, &args),
        LerpCommand::Bench(Bench::Eval(args)) => bench::eval(registry, &args),
        LerpCommand::Data(command) => data::data(registry, &command),
        LerpCommand::Conformance(args) => checks::conformance(registry, &args),
        LerpCommand::List => list::list(registry),
    }
}
