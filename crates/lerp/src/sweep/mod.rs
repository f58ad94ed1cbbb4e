//! `lerp sweep`: every missing cell of a plan, in worker processes, then the report.

mod display;
mod estimate;
mod host;
mod packing;
mod pixels;
mod queue;
mod steps;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use lerp_train::{Cell, Error, Outcome, Progress, RunLock, RunRecord, State, runs_in};
use serde::Serialize;

use crate::{
    cli::{PlanArgs, SweepArgs, TrainArgs},
    device,
    plan::{Overrides, Plan},
    provenance::{CANDLE, GIT, VERSION, now, provenance},
    registry::Registry,
    say::{say, say_lines, warn},
    shelf::Shelf,
};
use display::Display;
use queue::{Common, Queue};

pub use display::duration;
pub use host::worker;
pub use packing::Jobs;

/// The plan that the arguments describe, and the folder it goes to.
fn plan(args: &PlanArgs, overrides: Overrides, default_name: &str) -> Result<(Plan, PathBuf)> {
    lerp_kernels::set_tf32(!args.full_f32);
    let (mut plan, name) = if let Some(path) = &args.config {
        (Plan::file(path)?, path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
    } else {
        let name = args.preset.as_deref().unwrap_or(default_name);
        (Plan::preset(name)?, name.to_owned())
    };
    plan.apply(&Overrides {
        datasets: args.datasets.clone(),
        samples: args.samples,
        learning_rate: args.learning_rate,
        latent: args.latent.clone(),
        depth: args.depth,
        cluster_restarts: args.cluster_restarts,
        set: args.set.clone(),
        ..overrides
    })?;
    Ok((plan, args.out.clone().unwrap_or_else(|| Path::new("results").join(name))))
}

/// Refuses a folder that holds something else than a sweep; creates nothing.
fn check_folder(out: &Path, config: Option<&Path>) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    if !out.is_dir() {
        bail!("{} is a file; give --out a folder", out.display());
    }
    let entries = fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))?;
    let empty = entries.filter_map(Result::ok).all(|entry| entry.file_name() == ".lock");
    if !empty && !is_record(&out.join(RECORD)) {
        bail!(
            "{} is not empty and not a sweep's (it has no {RECORD} of ours); give --out another folder",
            out.display()
        );
    }
    // A plan that has our record's name and form would be overwritten by it.
    let same = |path: &Path| path.canonicalize().ok() == out.join(RECORD).canonicalize().ok();
    if out.join(RECORD).exists() && config.is_some_and(same) {
        bail!("{} is the record of a sweep, not a plan; give --config a plan", out.join(RECORD).display());
    }
    Ok(())
}

/// The record of a sweep.
pub const RECORD: &str = "sweep.toml";

/// Whether a file is a [`Record`].
fn is_record(path: &Path) -> bool {
    let read = fs::read_to_string(path).ok().and_then(|text| text.parse::<toml::Table>().ok());
    read.is_some_and(|table| table.get("format").and_then(toml::Value::as_str) == Some(FORMAT))
}

/// What a [`Record`] says that it is.
pub const FORMAT: &str = "lerp sweep 1";

/// `sweep.toml`: what is being trained, with what.
#[derive(Serialize)]
struct Record<'a> {
    format: &'a str,
    about: &'a str,
    command: String,
    started: String,
    version: &'a str,
    git: &'a str,
    candle: &'a str,
    devices: &'a [String],
    cells: Vec<String>,
}

/// Trains what is missing and reports. Returns whether every cell is done.
///
/// # Errors
/// Before anything is written, if the arguments, the plan, the device or the folder will not do.
pub fn sweep(registry: &Registry, args: &SweepArgs) -> Result<bool> {
    let overrides =
        Overrides { variants: args.variants.clone(), seeds: args.seeds.clone(), ..Overrides::default() };
    let (mut plan, out) = plan(&args.plan, overrides, "quick")?;
    let shelf = Shelf::new(args.plan.data.as_deref());
    if args.plan.datasets.is_none() {
        plan.leave_out_absent(&shelf).iter().for_each(|sentence| say(sentence));
    }
    let cells = plan.cells(registry, &shelf)?;
    let devices = args.plan.device.names()?;
    // Images that cannot be read are told before anything is written.
    for cell in &cells {
        shelf.images(&cell.dataset)?;
    }
    check_folder(&out, args.plan.config.as_deref())?;
    let _lock = RunLock::take(&out).map_err(|error| match error {
        Error::Busy(dir) => {
            anyhow::anyhow!(
                "another sweep is writing to {}; wait for it, or give --out another folder",
                dir.display()
            )
        }
        other => other.into(),
    })?;

    let done: Vec<RunRecord> = runs_in(&out)?
        .runs
        .into_iter()
        .filter(|run| run.status.state == State::Done)
        .map(|run| run.record)
        .collect();
    for name in other_images(&done, &cells, &shelf)? {
        warn(&format!(
            "complete runs in {} are of other images than those of {name} here; delete them to redo them",
            out.display()
        ));
    }
    let done: Vec<String> = done.into_iter().map(|record| record.id).collect();
    let missing: Vec<Cell> = cells.iter().filter(|cell| !done.contains(&cell.id())).cloned().collect();
    let record = Record {
        format: FORMAT,
        about: &plan.about,
        command: command_line(),
        started: now(),
        version: VERSION,
        git: GIT,
        candle: CANDLE,
        devices: &devices,
        cells: cells.iter().map(Cell::id).collect(),
    };
    if missing.is_empty() {
        say(&format!("Nothing to do: all {} runs in {} are complete.", cells.len(), out.display()));
    } else {
        lerp_files::replace(&out.join(RECORD), toml::to_string(&record)?.as_bytes())?;
    }
    let stop = stop_flag()?;
    let mut failed = Vec::new();
    let mut interrupted = false;
    if !missing.is_empty() {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let gpu = devices[0].starts_with("cuda");
        let packed = args.pack || gpu;
        // On a GPU one thread gives it work while another reads the next batch, and both wait most of the time.
        let share = |jobs: usize| (threads / jobs).max(if gpu { 2 } else { 1 });
        let jobs = match args.jobs {
            Jobs::Number(jobs) => jobs,
            Jobs::Auto if packed => pack(registry, &shelf, &missing, &devices, share)?,
            Jobs::Auto => default_jobs(&devices, threads),
        };
        let jobs = jobs.min(missing.len());
        let share = share(jobs);
        say(&format!(
            "{} of {} runs to train on {}, {jobs} at a time, {share} thread{} each, into {}",
            missing.len(),
            cells.len(),
            devices.join(" and "),
            if share == 1 { "" } else { "s" },
            out.display()
        ));
        say("Timing a few steps of each kind of run");
        let at_once = (jobs.div_ceil(devices.len()), share);
        let seconds = estimate::estimate(registry, &shelf, &out, &missing, &devices[0], at_once);
        tell_estimate(&missing, &seconds, jobs, &devices);
        let mut pixels = 0.0;
        for (name, restarts) in pixels::wanted(&shelf, &out, &cells)? {
            pixels += estimate::pixels(&*shelf.get(&name)?, restarts, threads);
        }
        if pixels > 0.0 {
            say(&format!("  and {} for raw pixels, at the end", display::duration(pixels)));
        }
        shelf.clear();
        let command = command_line();
        let common = Common { registry, shelf: &shelf, out: &out, threads: share, command };
        let seats = packing::seats(&devices, jobs, packed);
        (failed, interrupted) = Queue::new(common, &missing, &seconds, seats).run(&stop);
    }
    // Nothing that was trained is lost for it.
    let pixels = pixels::references(&shelf, &out, &cells, &stop);
    finish(&out)?;
    for (id, reason) in &failed {
        say(&format!("FAILED {id}: {reason} (log: {})", out.join("runs").join(id).join("log.txt").display()));
    }
    if let Err(error) = &pixels {
        say(&format!("FAILED raw pixels: {error:#}"));
    }
    interrupted |= matches!(pixels, Ok(false));
    if interrupted {
        say("Stopped. The same command goes on from here.");
    }
    Ok(failed.is_empty() && pixels.is_ok() && !interrupted)
}

/// The datasets of which complete runs among `cells` are of other images than are here.
fn other_images(done: &[RunRecord], cells: &[Cell], shelf: &Shelf) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for record in done.iter().filter(|record| cells.contains(&record.cell)) {
        let then = &record.provenance.data;
        if then.is_some() && *then != shelf.digest(&record.cell.dataset)? {
            names.insert(record.cell.dataset.clone());
        }
    }
    Ok(names)
}

/// Says how long the cells will take, and how much of it each dataset.
fn tell_estimate(cells: &[Cell], seconds: &[f64], jobs: usize, devices: &[String]) {
    // The longest run may outlast an even share of the work.
    let even = seconds.iter().sum::<f64>() / jobs as f64;
    let work = seconds.iter().copied().fold(even, f64::max);
    say(&format!(
        "Estimate: {} on {} (from a few steps of each; a run stopped with Ctrl-C goes on where it was)",
        display::duration(work),
        devices.join(" and ")
    ));
    let mut by_dataset: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (cell, seconds) in cells.iter().zip(seconds) {
        let (runs, sum) = by_dataset.entry(&cell.dataset).or_default();
        *runs += 1;
        *sum += seconds / jobs as f64;
    }
    if by_dataset.len() > 1 {
        for (dataset, (runs, seconds)) in by_dataset {
            let plural = if runs == 1 { "" } else { "s" };
            say(&format!("  {dataset}: {runs} run{plural}, {}", display::duration(seconds)));
        }
    }
}

/// Tables, figures and the table on the terminal, from what there is by now.
fn finish(out: &Path) -> Result<()> {
    let trained = runs_in(out)?.runs.iter().any(|run| run.dir.join("metrics.parquet").exists());
    if !trained {
        return Ok(());
    }
    crate::report(out, None)?;
    say_lines(&crate::compare(&[out.to_owned()])?.0);
    say(&format!("Tables, figures and the page: {}", out.join("index.html").display()));
    Ok(())
}

/// Cells at once where that is not measured: on a CPU one a thread, since one thread a cell wastes the least; else one a
/// device.
fn default_jobs(devices: &[String], threads: usize) -> usize {
    if devices[0] == "cpu" { threads } else { devices.len() }
}

/// Cells at once on all of `devices`, from steps of the first cell on the first device; says what was measured. `share` are
/// the threads of each of so many.
fn pack(
    registry: &Registry,
    shelf: &Shelf,
    cells: &[Cell],
    devices: &[String],
    share: impl Fn(usize) -> usize,
) -> Result<usize> {
    let (cell, device) = (&cells[0], &devices[0]);
    let dataset = shelf.get(&cell.dataset)?;
    let most = cells.len().div_ceil(devices.len());
    let (runs, told) = packing::measure(device, most, |runs| {
        let threads = share(runs * devices.len());
        let seconds = steps::at_once(registry, &*dataset, cell, device, (runs, threads), packing::TIME)?;
        Ok(seconds.iter().map(|seconds| 1.0 / seconds).sum())
    });
    say(&told);
    Ok(runs * devices.len())
}

/// `lerp train`: one cell in this process.
///
/// # Errors
/// As [`sweep`], and if the run fails.
pub fn train(registry: &Registry, args: &TrainArgs) -> Result<bool> {
    let overrides = Overrides {
        variants: Some(vec![args.variant.clone()]),
        seeds: Some(args.seed.to_string()),
        ..Overrides::default()
    };
    let (plan, out) = plan(&args.plan, overrides, "quick")?;
    let shelf = Shelf::new(args.plan.data.as_deref());
    let cells = plan.cells(registry, &shelf)?;
    let [cell] = &cells[..] else { bail!("that is {} cells; `lerp sweep` trains several", cells.len()) };
    let device_name = args.plan.device.names()?.remove(0);
    check_folder(&out, args.plan.config.as_deref())?;
    let threads = rayon::current_num_threads();
    let variant = registry.find(&cell.variant)?;
    let provenance = provenance(&device_name, threads, shelf.images(&cell.dataset)?, command_line());
    let record = RunRecord::new(cell.clone(), variant.title(), provenance);
    let dir = out.join("runs").join(cell.id());
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    if !out.join(RECORD).exists() {
        let devices = [device_name.clone()];
        let sweep = Record {
            format: FORMAT,
            about: &plan.about,
            command: command_line(),
            started: now(),
            version: VERSION,
            git: GIT,
            candle: CANDLE,
            devices: &devices,
            cells: vec![cell.id()],
        };
        lerp_files::replace(&out.join(RECORD), toml::to_string(&sweep)?.as_bytes())?;
    }
    let mut display = Display::new(&cells, &[1.0], std::io::stderr().is_terminal());
    display.started(0);
    let stop = stop_flag()?;
    let dataset = shelf.get(&cell.dataset)?;
    let outcome = lerp_train::train(
        &record,
        variant,
        &*dataset,
        &device::open(&device_name)?,
        &dir,
        &stop,
        &mut |progress: &Progress| display.progress(0, progress),
    );
    match &outcome {
        Ok(Outcome::Done) => display.done(0),
        Ok(Outcome::Interrupted) => display.interrupted(0),
        // A run that never began is bad input, not a failure of the run.
        Err(error @ (Error::Busy(_) | Error::BadFile { .. } | Error::File(_))) => {
            display.finish();
            bail!("{error}");
        }
        Err(error) => display.failed(0, &error.to_string()),
    }
    display.finish();
    say(&format!("Run: {}", dir.display()));
    Ok(matches!(outcome, Ok(Outcome::Done)))
}

/// A flag that the first Ctrl-C (or termination signal) raises; the second ends the process.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot catch Ctrl-C")?;
    Ok(stop)
}

/// This process's arguments as a command that a user types.
fn command_line() -> String {
    let mut arguments = std::env::args_os().map(|argument| {
        let text = argument.to_string_lossy().into_owned();
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,".contains(c);
        if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{text}'") }
    });
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let program = if program == "lerp" { "cargo xtask".into() } else { program };
    arguments.fold(program, |line, argument| line + " " + &argument)
}
