//! The `lerp` command as a library: [`App`] is the command with variants, datasets and metrics of one's own beside those
//! that it brings.

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
use lerp_kernels::Form;
use lerp_report::Outcome;
use lerp_train::{JUDGE_SAMPLES, Judge, Origin, Parts, Run, RunLock, State};

use cli::{Bench, Cli, ConformanceArgs, EvalArgs, Verb, VerifyArgs};
use registry::Registry;
use say::{complain, note, say, say_lines, warn, warn_of_all};
use shelf::Shelf;

pub use app::App;
pub use registry::{Failure, seven};

/// The system's allocator gives a step's memory back and clears it anew for the next step.
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
    // On a thread of the pool, so that work shared out in it need not wake another one first.
    match start_threads().and_then(|()| rayon::scope(|_| run(registry, cli.verb))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Starts the pool of threads that everything shares, as many as the environment says or the machine has cores.
fn start_threads() -> Result<()> {
    /// Threads of which more are a slip of the keyboard.
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

/// One line of clap's several: the mistake and its tip, without the usage.
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
            let (tables, outcome) = compare(&args.dirs)?;
            say_lines(tables.trim_end());
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
    // As runs are by default.
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
    let parts = Parts {
        variant: registry.find(cell.builder())?,
        dataset: &*shelf.get(&dataset)?,
        device: &device::open(&args.device.names()?.remove(0), cell.precision)?,
        metrics: registry.metrics(),
        judge: judge.as_ref(),
    };
    let evaluation = lerp_train::measure(&run, &parts, args.cluster_restarts, &AtomicBool::new(false))?;
    if let Some(lock) = &lock {
        let files = evaluation.write(&run, lock)?;
        // Not on standard output, which a program may read.
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

/// The judge for a run to be measured with: that of its sweep, or one that is trained for it.
fn judge(
    args: &EvalArgs,
    shelf: &Shelf,
    (name, recorded): (&str, &str),
    data: Option<&str>,
) -> Result<Option<Judge>> {
    let dataset = shelf.get(name)?;
    let none = args.judge == Some(0) || (args.judge.is_none() && !args.write);
    let run = args.dir.canonicalize().with_context(|| format!("cannot read {}", args.dir.display()))?;
    // A run stands in results/SWEEP/runs.
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

/// The images of a run, `then`, in the place where they are `now`; how they are split is as it was, unless that is said, too.
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
        // The golden values are of full f32.
        device: device::open(&name, Precision::F32)?,
        form: if args.composed { Form::Composed } else { Form::Fused },
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

/// Tables, figures and the page of a sweep. What is left out is said; returns whether nothing is.
pub(crate) fn report(dir: &Path, figure: Option<String>) -> Result<bool> {
    Ok(tell(&lerp_report::report(dir, &lerp_report::Options { figure, terminal: None })?))
}

/// All of [`report`], and the tables on the terminal. What is left out is said; returns whether nothing is.
pub(crate) fn report_and_show(dir: &Path) -> Result<bool> {
    let options = lerp_report::Options { figure: None, terminal: Some(shows_bold()) };
    let outcome = lerp_report::report(dir, &options)?;
    let whole = tell(&outcome);
    say_lines(outcome.terminal.trim_end());
    Ok(whole)
}

/// Says what is left out; returns whether nothing is.
fn tell(outcome: &Outcome) -> bool {
    outcome.notices.iter().for_each(|notice| note(&format!("{notice}.")));
    warn_of_all(&outcome.left_out);
    outcome.left_out.is_empty()
}

/// One table of several sweeps, for a terminal, and what is left out of it.
pub(crate) fn compare(dirs: &[PathBuf]) -> Result<(String, Outcome)> {
    Ok(lerp_report::compare(dirs, shows_bold())?)
}

/// Whether standard output is a terminal that shows bold type, and may (<https://no-color.org>).
fn shows_bold() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
    std::io::stdout().is_terminal() && !plain
}

/// Whether a terminal, if there is one, only prints lines, as that of an editor does: it cannot move its cursor, or does not
/// say that it can.
pub(crate) fn is_dumb() -> bool {
    std::env::var_os("TERM").map_or(cfg!(unix), |term| term == "dumb")
}
