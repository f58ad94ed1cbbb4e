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
//! | [`lerp_kernels`] | the operations of the paper's networks, with fused forms for CPU and CUDA |
//! | [`lerp_nn`] | layers, the paper's encoder and decoder, losses |
//! | [`lerp_baseline`], [`lerp_dropout`], [`lerp_denoising`], [`lerp_vae`] | a variant of the paper each |
//! | [`lerp_aae`], [`lerp_vqvae`], [`lerp_acai`] | a variant of the paper each |
//! | [`lerp_data`] | datasets: drawn lines, image sets in local files, tensors |
//! | [`lerp_eval`] | metrics of interpolations, clusters and classifiers of latents, statistical tests |
//! | [`lerp_train`] | training and evaluation of a run in a folder, checkpoints, the conformance check |
//! | [`lerp_report`] | tables, figures and the web page of a sweep |
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
mod cli;
mod data;
mod device;
mod export;
mod import;
mod merge;
mod plan;
mod provenance;
mod registry;
mod say;
mod score;
mod shelf;
mod slurm;
mod sweep;
pub mod verify;
mod watch;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::AtomicBool,
};

use anyhow::{Context, Result, bail};
use clap::Parser;
use lerp_core::Precision;
use lerp_data::{is_own, split_option};
use lerp_kernels::Kernels;
use lerp_report::{ReportOutcome, TerminalStyle};
use lerp_train::{JUDGE_SAMPLES, Judge, Origin, Run, RunInputs, RunLock, State};

use cli::{Bench, Cli, ConformanceArgs, EvalArgs, Verb, VerifyArgs};
use registry::Registry;
use say::{complain, note, say, say_lines, warn, warn_of_all};
use shelf::Shelf;

pub use app::App;
pub use registry::{Failure, seven};

/// The global allocator. The system's allocator returns the memory of a training step to the kernel, which must clear
/// it again for the next step; mimalloc keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main(registry: &Registry) -> ExitCode {
    lerp_kernels::keep_to_one_pool();
    lerp_kernels::on_notice(warn);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            complain(&anyhow::anyhow!("{}", sentence(&error.to_string())));
            return ExitCode::from(2);
        }
    };
    // Runs on a thread of the pool, so that parallel work need not first wake up another thread.
    match start_threads().and_then(|()| rayon::scope(|_| run(registry, cli.verb))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Starts the global thread pool with the number of threads in `RAYON_NUM_THREADS`, or one per core.
fn start_threads() -> Result<()> {
    /// The largest accepted number of threads; larger numbers are taken for typing errors.
    const MOST: usize = 1024;
    const NAME: &str = "RAYON_NUM_THREADS";
    let asked = std::env::var(NAME).ok().and_then(|number| number.parse::<usize>().ok());
    if let Some(asked) = asked.filter(|asked| *asked > MOST) {
        bail!("{NAME} is {asked}; give at most {MOST}");
    }
    let started = rayon::ThreadPoolBuilder::new().build_global();
    started.map_err(|error| {
        anyhow::anyhow!(
            "cannot start threads ({error}); raise the limit of threads (ulimit -u) or of memory, or set {NAME} to a \
             smaller number"
        )
    })
}

/// Shortens one of clap's multi-line error messages to one line: the mistake and its tip, without the usage.
fn sentence(text: &str) -> String {
    let text = text.split("\nUsage:").next().unwrap_or(text).split("\nFor more").next().unwrap_or(text);
    let parts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    parts.join("; ").trim_start_matches("error: ").replace(":;", ":")
}

fn run(registry: &Registry, verb: Verb) -> Result<bool> {
    match verb {
        Verb::Sweep(args) => sweep::sweep(registry, &args),
        Verb::Train(args) => sweep::train(registry, &args),
        Verb::Worker(args) => sweep::worker(registry, &args),
        Verb::Task(args) => slurm::task(registry, &args),
        Verb::Eval(args) => eval(registry, &args),
        Verb::Merge(args) => merge::merge(&args),
        Verb::Watch(args) => watch::watch(&args),
        Verb::Report(args) => {
            let whole = report(&args.dir, args.figure.clone())?;
            match args.figure {
                Some(figure) => say(&format!("Figure {figure}: {}", args.dir.join("figures").display())),
                None => {
                    say(&format!("Tables, figures and the page: {}", args.dir.join("index.html").display()));
                }
            }
            Ok(whole)
        }
        Verb::Compare(args) => {
            let outcome = compare(&args.dirs)?;
            say_lines(outcome.terminal.trim_end());
            Ok(tell(&outcome))
        }
        Verb::Export(args) => export::export(registry, &args),
        Verb::Score(args) => score::score(registry, &args),
        Verb::Import(args) => import::import(registry, &args),
        Verb::Verify(args) => verify(&args),
        Verb::Bench(Bench::Step(args)) => bench::step(registry, &args),
        Verb::Bench(Bench::Ops(args)) => bench::ops(registry, &args),
        Verb::Bench(Bench::Eval(args)) => bench::eval(registry, &args),
        Verb::Data(verb) => data::data(registry, &verb),
        Verb::Conformance(args) => conformance(registry, &args),
        Verb::List => {
            say("variants:");
            registry.all().iter().for_each(|v| say(&format!("  {:<10} {}", v.name(), v.title())));
            say("datasets:");
            registry.dataset_names().for_each(|name| say(&format!("  {name}")));
            say("  and your own: images:DIR, idx:DIR, parquet:PATH");
            say("metrics:");
            let own = registry.metrics().iter().flat_map(|metric| lerp_eval::recorded(*metric));
            for quantity in lerp_eval::quantities().cloned().chain(own) {
                let better = match quantity.better.words() {
                    "" => String::new(),
                    words => format!(" ({words})"),
                };
                say(&format!("  {:<29} {}{better}", quantity.key, quantity.title));
            }
            say("presets:");
            for (name, _) in plan::PRESETS {
                say(&format!("  {name:<10} {}", plan::Plan::preset(name)?.about));
            }
            Ok(true)
        }
    }
}

fn conformance(registry: &Registry, args: &ConformanceArgs) -> Result<bool> {
    // The default precision of runs on the device.
    let device = device::open(&args.device.names()?.remove(0), args.device.precision(false)?)?;
    let mut passed = true;
    let variants = match &args.variants {
        Some(names) => names.iter().map(|name| registry.find(name)).collect::<Result<Vec<_>>>()?,
        None => registry.all().to_vec(),
    };
    for variant in variants {
        match lerp_train::conformance::check(variant, &device) {
            Ok(rules) => {
                for rule in rules {
                    say(&format!("ok  {:<10} {rule}", variant.name()));
                }
            }
            Err(error) => {
                passed = false;
                say(&format!("MISS {error}"));
            }
        }
    }
    lerp_kernels::release(device);
    Ok(passed)
}

fn eval(registry: &Registry, args: &EvalArgs) -> Result<bool> {
    if args.dir.join("sweep.toml").exists() {
        bail!("{} is a sweep; give one of the folders in its runs", args.dir.display());
    }
    let run = Run::read(&args.dir)?;
    let cell = &run.record.cell;
    if run.status.state != State::Done {
        bail!("{} is not finished; train it first", args.dir.display());
    }
    if cell.origin == Origin::Scored {
        bail!(
            "{} has no model: it was scored by its answers to a task; score these again",
            args.dir.display()
        );
    }
    plan::check_restarts(args.cluster_restarts)?;
    plan::check_judge(args.judge)?;
    let lock = args.write.then(|| RunLock::take(&args.dir)).transpose()?;
    let shelf = Shelf::new(registry, args.data.as_deref());
    let dataset =
        args.dataset.as_deref().map_or_else(|| cell.dataset.clone(), |now| moved(&cell.dataset, now));
    let trained_on = &run.record.provenance.data;
    let here = shelf.digest(&dataset).map_err(|error| match args.dataset {
        None if is_own(&cell.dataset) => {
            anyhow::anyhow!("{error:#}; if they are in another place now, say where with --dataset")
        }
        _ => error,
    })?;
    if *trained_on != here {
        if args.write {
            bail!(
                "the images of {dataset} here are not those that {} was trained on; leave out --write, or say with \
                 --data or --dataset where these are",
                args.dir.display()
            );
        }
        warn(&format!("the images of {dataset} here are not those that it was trained on"));
    }
    let judge = judge(args, &shelf, (&dataset, &cell.dataset), here.as_deref())?;
    let parts = RunInputs {
        variant: registry.find(cell.builder())?,
        dataset: &*shelf.get(&dataset)?,
        device: &device::open(&args.device.names()?.remove(0), cell.precision)?,
        metrics: registry.metrics(),
        judge: judge.as_ref(),
    };
    let evaluation = lerp_train::measure(&run, &parts, args.cluster_restarts, &AtomicBool::new(false))?;
    if let Some(lock) = &lock {
        let files = evaluation.write(&run, lock)?;
        // On standard error, because a program may read standard output.
        note(&format!("written again in {}: {}", args.dir.display(), files.join(", ")));
    }
    let values = evaluation.metrics;
    if args.json {
        say(&serde_json::to_string(
            &values.into_iter().map(|(name, value)| (name, value.into())).collect::<serde_json::Map<_, _>>(),
        )?);
    } else {
        for (name, value) in &values {
            say(&format!("{name:<30} {value}"));
        }
    }
    Ok(true)
}

/// Returns the judge that measures the run: the judge of its sweep, or a newly trained one. Returns `None` if no judge
/// is asked for or the dataset has too few images for one.
fn judge(
    args: &EvalArgs,
    shelf: &Shelf,
    (name, recorded): (&str, &str),
    data: Option<&str>,
) -> Result<Option<Judge>> {
    let dataset = shelf.get(name)?;
    let none = args.judge == Some(0) || (args.judge.is_none() && !args.write);
    let run = args.dir.canonicalize().with_context(|| format!("cannot read {}", args.dir.display()))?;
    // A run's folder is SWEEP/runs/CELL.
    let runs = run.parent().filter(|runs| runs.file_name().is_some_and(|name| name == "runs"));
    let sweep = runs.and_then(Path::parent).filter(|sweep| sweep.join("sweep.toml").exists());
    if args.judge != Some(0)
        && let Some(sweep) = sweep
        && let Some(judge) = Judge::find(sweep, &*dataset, (recorded, data), args.judge)?
    {
        return Ok(Some(judge));
    }
    if none || !Judge::fits(&*dataset)? {
        return Ok(None);
    }
    let samples = args.judge.unwrap_or(JUDGE_SAMPLES);
    let judge = sweep::train_judge(shelf, (name, recorded), samples, &AtomicBool::new(false))?;
    if let (Some(judge), Some(sweep), true) = (&judge, sweep, args.write) {
        judge.keep(sweep)?;
    }
    Ok(judge)
}

/// Returns the dataset name `now`, the present location of a run's images, with the split option of the recorded name
/// `then` unless `now` has an option of its own.
pub(crate) fn moved(then: &str, now: &str) -> String {
    match (split_option(then).1, split_option(now).1) {
        (Some(option), None) => format!("{now}?{option}"),
        _ => now.to_owned(),
    }
}

fn verify(args: &VerifyArgs) -> Result<bool> {
    let name = args.device.names()?.remove(0);
    let options = verify::Options {
        golden: args.golden.clone(),
        // The golden values were computed in full f32.
        device: device::open(&name, Precision::F32)?,
        form: if args.composed { Kernels::Composed } else { Kernels::Fused },
        filter: args.filter.clone(),
    };
    let summary = verify::verify(&options, &mut |check| {
        if !args.quiet || !check.passed {
            let word = if check.passed { "ok  " } else { "MISS" };
            say(&format!(
                "{word} {:<60} {:>9.2e} <= {:.0e} {}",
                check.name, check.error, check.tolerance, check.note
            ));
        }
    })?;
    say(&format!("{} passed, {} failed, on {name}", summary.passed, summary.failed));
    Ok(summary.failed == 0)
}

/// Draws the tables, figures and HTML page of a sweep, and prints what is left out of them. Returns whether the report
/// is complete.
pub(crate) fn report(dir: &Path, figure: Option<String>) -> Result<bool> {
    Ok(tell(&lerp_report::report(dir, &lerp_report::Options { figure, terminal: None })?))
}

/// Does the same as [`report`], and also prints the tables. Returns whether the report is complete.
pub(crate) fn report_and_show(dir: &Path) -> Result<bool> {
    let options = lerp_report::Options { figure: None, terminal: Some(terminal_style()) };
    let outcome = lerp_report::report(dir, &options)?;
    let whole = tell(&outcome);
    say_lines(outcome.terminal.trim_end());
    Ok(whole)
}

/// Prints notices and what is left out of a report. Returns whether nothing is left out.
fn tell(outcome: &ReportOutcome) -> bool {
    outcome.notices.iter().for_each(|notice| note(&format!("{notice}.")));
    warn_of_all(&outcome.left_out);
    outcome.left_out.is_empty()
}

/// Returns one table of several sweeps as text, and what is left out of it.
pub(crate) fn compare(dirs: &[PathBuf]) -> Result<ReportOutcome> {
    Ok(lerp_report::compare(dirs, terminal_style())?)
}

/// Returns how tables are set on standard output.
fn terminal_style() -> TerminalStyle {
    if shows_bold() { TerminalStyle::Colored } else { TerminalStyle::Plain }
}

/// Whether bold type can be printed: standard output is a terminal that supports it, and `NO_COLOR` does not forbid it
/// (<https://no-color.org>).
fn shows_bold() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
    std::io::stdout().is_terminal() && !plain
}

/// Whether the terminal, if there is one, can only print lines and not move its cursor: `TERM` is `dumb`, or is not set
/// on Unix.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").map_or(cfg!(unix), |term| term == "dumb")
}
