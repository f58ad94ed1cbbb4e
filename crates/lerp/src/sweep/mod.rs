//! `lerp sweep`: trains every missing cell of a plan in worker processes, then draws the report. Also `lerp train`,
//! which trains one cell in this process.

mod display;
mod dry;
mod estimate;
mod folder;
mod host;
mod judges;
mod packing;
mod pixels;
mod queue;
mod steps;
mod survey;
mod worker;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use lerp_cluster::SbatchOption;
use lerp_train::{Cell, Error, Progress, Run, RunInputs, State, TrainOutcome, runs_in, text::duration};

use crate::{
    cli::{Engine, PlanArgs, Shard, SweepArgs, TrainArgs},
    device,
    plan::{Overrides, Plan},
    registry::Registry,
    say::{say, warn},
    shelf::Shelf,
    slurm,
};
use display::Display;
use queue::Queue;

pub use folder::{Folder, planned};
pub use host::worker;
pub use judges::{find as judges_of, train as train_judge};
pub use packing::Beside;
pub use queue::Terms;
pub use survey::{Common, Job, Survey};

/// Returns the plan that the arguments describe, and the folder of its sweep.
fn plan(
    registry: &Registry,
    args: &PlanArgs,
    overrides: Overrides,
    default_name: &str,
) -> Result<(Plan, PathBuf)> {
    let known: Vec<&str> = registry.dataset_names().collect();
    args.datasets.iter().flatten().try_for_each(|names| names.check(&known))?;
    let (mut plan, name) = if let Some(path) = &args.config {
        (Plan::file(path)?, path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
    } else {
        let name = args.preset.as_deref().unwrap_or(default_name);
        (Plan::preset(name)?, name.to_owned())
    };
    plan.apply(&Overrides {
        datasets: args
            .datasets
            .as_ref()
            .map(|given| given.iter().flat_map(|names| names.0.clone()).collect()),
        samples: args.samples,
        learning_rate: args.learning_rate,
        schedule: args.schedule,
        ema: args.ema,
        latent: args.latent.clone(),
        depth: args.depth,
        judge: args.judge,
        cluster_restarts: args.cluster_restarts,
        set: args.set.clone(),
        precision: args.device.precision(args.full_f32)?,
        ..overrides
    })?;
    Ok((plan, args.out.clone().unwrap_or_else(|| Path::new("results").join(name))))
}

/// The cells of a sweep, its folder and its devices.
pub struct Cells {
    /// The cells of the plan, or of the share of it that this machine trains.
    pub all: Vec<Cell>,
    /// Folder of the sweep.
    pub out: PathBuf,
    /// Names of the devices.
    pub devices: Vec<String>,
}

impl Cells {
    /// Expands the plan to its cells, or to those of the share that the arguments select. All images are read here, so
    /// that an unreadable dataset is an error before anything is written.
    fn new(
        plan: &mut Plan,
        out: PathBuf,
        args: &SweepArgs,
        shelf: &Shelf,
        registry: &Registry,
    ) -> Result<Self> {
        if args.plan.datasets.is_none() {
            let absent = plan.leave_out_absent(shelf);
            if let Some(sentence) = absent.first().filter(|_| args.shard.is_some()) {
                bail!(
                    "{sentence}; a share is cut from the same cells on every machine, so name the datasets with --datasets"
                );
            }
            for sentence in absent {
                say(&sentence);
            }
        }
        let mut all = plan.cells(registry, shelf)?;
        let out = match (args.shard, &args.plan.out) {
            (Some(Shard { index, of }), None) => {
                let name = out.file_name().unwrap_or_default().to_string_lossy();
                out.with_file_name(format!("{name}-{}-of-{of}", index + 1))
            }
            _ => out,
        };
        if let Some(shard) = args.shard {
            let cells = all.len();
            all = shard.of(all);
            if all.is_empty() {
                bail!("--shard {}/{}: the plan has only {}", shard.index + 1, shard.of, count(cells, "cell"));
            }
        }
        let devices = match args.cluster.on {
            Some(_) => args.plan.device.names_elsewhere()?,
            None => args.plan.device.names()?,
        };
        for cell in &all {
            shelf.images(&cell.dataset)?;
        }
        Ok(Self { all, out, devices })
    }
}

/// Trains the missing cells and draws the report. Returns whether every cell is done.
///
/// # Errors
/// If the arguments, the plan, the device or the folder are unsuitable; nothing is written in these cases.
pub fn sweep(registry: &Registry, args: &SweepArgs) -> Result<bool> {
    let mut args = args.clone();
    if args.cluster.on.is_some() {
        args.plan.device =
            args.plan.device.elsewhere(args.cluster.options().filter_map(SbatchOption::gpus).last());
    }
    let args = &args;
    let overrides =
        Overrides { variants: args.variants.clone(), seeds: args.seeds.clone(), ..Overrides::default() };
    let (mut plan, out) = plan(registry, &args.plan, overrides, "quick")?;
    if args.cluster.cancel {
        return slurm::cancel(&out);
    }
    let shelf = Shelf::new(registry, args.plan.data.as_deref());
    let cells = Cells::new(&mut plan, out, args, &shelf, registry)?;
    let common = Common { registry, shelf: &shelf, command: command_line(), task: String::new() };
    if let Some(Engine::Slurm) = args.cluster.on {
        return slurm::sweep(&common, &plan, &cells, args);
    }
    let Cells { all: cells, out, devices } = cells;
    let folder = Folder::check(&out, args.plan.config.as_deref())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if args.dry_run {
        return dry::run(&common, &plan, &cells, (&out, &devices, threads), args);
    }
    folder.create()?;
    let _lock = folder.lock()?;

    let found = runs_in(&out)?;
    found.runs.iter().filter(|run| run.status.state == State::Done).for_each(Run::remove_leftovers);
    let Survey { jobs, missing, blocked, left_out, warnings } =
        Survey::new(&common, &cells, &found, &devices[0], threads)?;
    folder.notice.iter().chain(&warnings).for_each(|sentence| warn(sentence));
    let unreadable = blocked.iter().map(|(id, reason)| (id, reason));
    for (name, reason) in unreadable.chain(left_out.iter().map(|out| (&out.folder, &out.reason))) {
        warn(&format!("left out: {name}: {reason}"));
    }
    let ids: Vec<String> = jobs.iter().map(|job| job.record.id.clone()).collect();
    folder.record(!missing.is_empty(), &plan.about, &common.command, &devices, &ids)?;
    if missing.is_empty() && blocked.is_empty() {
        let all = if jobs.len() == 1 { "the run".into() } else { format!("all {} runs", jobs.len()) };
        let verb = if jobs.len() == 1 { "is" } else { "are" };
        say(&format!("Nothing to do: {all} in {} {verb} complete.", out.display()));
    }
    let stop = stop_flag()?;
    let mut failed = Vec::new();
    let mut interrupted = false;
    if !missing.is_empty() {
        let beside = Beside::measured(&common, &missing, (&devices, threads), args.jobs, args.pack)?;
        say(&format!(
            "{} of {} to train on {}, {} at a time, {} each, into {}",
            missing.len(),
            count(jobs.len(), "run"),
            devices.join(" and "),
            beside.at_once,
            count(beside.threads, "thread"),
            out.display()
        ));
        say("Timing a few steps of each kind of run");
        let (seconds, failures) = estimate::estimate(
            registry,
            &shelf,
            &missing,
            &devices[0],
            beside.on_each(&devices),
            plan.is_judged(),
        );
        for sentence in &failures {
            warn(sentence);
        }
        tell_estimate(&missing, &seconds, beside.at_once, &devices);
        let mut pixels = 0.0;
        for set in pixels::wanted(&shelf, &out, &jobs)?.iter().filter(|set| set.is_to_measure()) {
            pixels += estimate::pixels(&*shelf.get(&set.dataset)?, set.restarts, threads);
        }
        if pixels > 0.0 {
            say(&format!("  and {} for raw pixels, at the end", duration(pixels)));
        }
        let wanted = judges::missing(&shelf, &out, &missing, plan.judge());
        let mut judging = 0.0;
        for wanted in &wanted {
            judging += estimate::judge(&*shelf.get(&wanted.dataset)?, wanted.samples);
        }
        if judging > 0.0 {
            say(&format!("  and {} for judges of decoded images, before", duration(judging)));
        }
        let judged = judges::provide(&shelf, &out, &wanted, &stop);
        // Cells that could not be timed start last.
        let seconds: Vec<f64> = seconds.into_iter().map(Option::unwrap_or_default).collect();
        if judged {
            let terms = Terms {
                judged: plan.is_judged(),
                time_limit: args.time_limit,
                max_failures: args.max_failures,
                retry: args.retry,
            };
            let runs = (&missing[..], &seconds[..]);
            (failed, interrupted) = train_cells(&common, &out, runs, (&devices, &beside), terms, &stop);
        } else {
            interrupted = true;
        }
    }
    // All trained runs are saved by now, so errors below are reported together at the end.
    let pixels = pixels::references(&shelf, &out, &jobs, &stop);
    let reported = finish(&out);
    for (id, reason) in failed.iter().chain(&blocked) {
        let log = folder.runs().join(id).join(worker::LOG);
        let log = if log.exists() { format!(" (log: {})", log.display()) } else { String::new() };
        say(&format!("FAILED {id}: {reason}{log}"));
    }
    for out in &left_out {
        say(&format!("LEFT OUT {}: {}", out.folder, out.reason));
    }
    if let Err(error) = &pixels {
        say(&format!("FAILED raw pixels: {error:#}"));
    }
    if let Err(error) = &reported {
        say(&format!("FAILED report: {error:#}"));
        say(&format!("`lerp report {}` draws it again.", out.display()));
    }
    interrupted |= matches!(pixels, Ok(false));
    if interrupted {
        say("Stopped. The same command goes on from here.");
    }
    let whole = failed.is_empty() && blocked.is_empty() && left_out.is_empty();
    Ok(whole && pixels.is_ok() && matches!(reported, Ok(true)) && !interrupted)
}

/// Trains runs with their expected seconds in worker processes. Returns the names of the failed runs with the reasons,
/// and whether any run was stopped.
pub fn train_cells(
    common: &Common,
    out: &Path,
    (runs, seconds): (&[Job], &[f64]),
    (devices, beside): (&[String], &Beside),
    terms: Terms,
    stop: &AtomicBool,
) -> (Vec<(String, String)>, bool) {
    // The worker processes open the datasets themselves, so this process frees its memory.
    common.shelf.clear();
    let seats = packing::seats(devices, beside.at_once, beside.packed);
    Queue::new(common, (out, beside.threads), runs, seconds, seats, terms).run(stop)
}

/// Returns the expected seconds of each of `runs` on a device of this machine. An entry is `None` if the time cannot be
/// measured.
pub fn estimates(common: &Common, cells: &Cells, runs: &[Job], judged: bool) -> Vec<Option<f64>> {
    let device = &cells.devices[0];
    // The machine that submits a sweep to a cluster may have no GPU.
    if device::open(device, runs.first().map(|job| job.record.cell.precision).unwrap_or_default()).is_err() {
        return vec![None; runs.len()];
    }
    let (seconds, failures) = estimate::estimate(common.registry, common.shelf, runs, device, (1, 1), judged);
    for sentence in &failures {
        warn(sentence);
    }
    seconds
}

/// Whether a dataset of `runs` has no suitable judge in the sweep `out`.
pub fn lacks_judges(common: &Common, out: &Path, runs: &[Job], samples: Option<u64>) -> bool {
    !judges::missing(common.shelf, out, runs, samples).is_empty()
}

/// Trains the missing judges. Returns `false` if it was stopped.
pub fn train_judges(
    common: &Common,
    out: &Path,
    runs: &[Job],
    samples: Option<u64>,
    stop: &AtomicBool,
) -> bool {
    judges::provide(common.shelf, out, &judges::missing(common.shelf, out, runs, samples), stop)
}

/// Evaluates the raw pixels of the image sets of a sweep from the runs in its folder. Returns `false` if it was
/// stopped.
///
/// # Errors
/// If the folder or a dataset cannot be read, or a record not written.
pub fn references_of(shelf: &Shelf, out: &Path, stop: &AtomicBool) -> Result<bool> {
    let job = |run: Run| Job { dataset: run.record.cell.dataset.clone(), record: run.record, samples: 0 };
    let jobs: Vec<Job> = runs_in(out)?.runs.into_iter().map(job).collect();
    pixels::references(shelf, out, &jobs, stop)
}

/// Formats a count with a singular or plural noun, such as `1 run` or `2 runs`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Prints the expected duration of the runs, in total and by dataset, without the runs whose time is unknown.
fn tell_estimate(jobs: &[Job], seconds: &[Option<f64>], at_once: usize, devices: &[String]) {
    let known = jobs.iter().zip(seconds).filter_map(|(job, seconds)| seconds.map(|s| (job, s)));
    let known: Vec<(&Job, f64)> = known.collect();
    if known.is_empty() {
        return;
    }
    // The sweep takes at least as long as its longest run, even if an equal share of the work is shorter.
    let even = known.iter().map(|(_, seconds)| seconds).sum::<f64>() / at_once as f64;
    let work = known.iter().map(|(_, seconds)| *seconds).fold(even, f64::max);
    let unknown = match jobs.len() - known.len() {
        0 => String::new(),
        unknown => format!(", without {unknown} of unknown length"),
    };
    say(&format!(
        "Estimate: {}{unknown} on {} (from a few steps of each; a run stopped with Ctrl-C goes on where it was)",
        duration(work),
        devices.join(" and ")
    ));
    let mut by_dataset: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (job, seconds) in known {
        let (runs, sum) = by_dataset.entry(&job.dataset).or_default();
        *runs += 1;
        *sum += seconds / at_once as f64;
    }
    if by_dataset.len() > 1 {
        for (dataset, (runs, seconds)) in by_dataset {
            say(&format!("  {dataset}: {}, {}", count(runs, "run"), duration(seconds)));
        }
    }
}

/// Draws the report of a sweep's runs so far and prints its tables. Returns whether the report is complete; without any
/// metrics there is no report, which counts as complete.
///
/// # Errors
/// If the folder cannot be read or written.
pub fn finish(out: &Path) -> Result<bool> {
    let Ok(mut runs) = fs::read_dir(out.join("runs")) else { return Ok(true) };
    if !runs.any(|run| run.is_ok_and(|run| run.path().join("metrics.parquet").exists())) {
        return Ok(true);
    }
    let whole = crate::report_and_show(out)?;
    say(&format!("Tables, figures and the page: {}", out.join("index.html").display()));
    Ok(whole)
}

/// Runs `lerp train`: trains one cell in this process. Returns whether the cell is done.
///
/// # Errors
/// The errors of [`sweep`], or if the plan has several cells or the run cannot begin.
pub fn train(registry: &Registry, args: &TrainArgs) -> Result<bool> {
    let overrides = Overrides {
        variants: Some(vec![args.variant.clone()]),
        seeds: Some(args.seed.to_string()),
        ..Overrides::default()
    };
    let (plan, out) = plan(registry, &args.plan, overrides, "quick")?;
    let shelf = Shelf::new(registry, args.plan.data.as_deref());
    let cells = plan.cells(registry, &shelf)?;
    if cells.len() != 1 {
        bail!("that is {} cells; `lerp sweep` trains several", cells.len());
    }
    let device_name = args.plan.device.names()?.remove(0);
    let folder = Folder::check(&out, args.plan.config.as_deref())?;
    folder.create()?;
    let common = Common { registry, shelf: &shelf, command: command_line(), task: String::new() };
    let threads = rayon::current_num_threads();
    let survey = Survey::new(&common, &cells, &runs_in(&out)?, &device_name, threads)?;
    if let Some((_, reason)) = survey.blocked.first() {
        bail!("{reason}");
    }
    folder.notice.iter().for_each(|sentence| warn(sentence));
    let Job { record, dataset, .. } = &survey.jobs[0];
    let (id, dir) = (&record.id, folder.runs().join(&record.id));
    let devices = std::slice::from_ref(&device_name);
    folder.record(false, &plan.about, &common.command, devices, std::slice::from_ref(id))?;
    let stop = stop_flag()?;
    let wanted = judges::missing(&shelf, &out, &survey.missing, plan.judge());
    if !judges::provide(&shelf, &out, &wanted, &stop) {
        say("Stopped. The same command goes on from here.");
        return Ok(false);
    }
    let judged = !survey.missing.is_empty() && plan.is_judged();
    let judge = if judged { judges::find(&out, &*shelf.get(dataset)?, record) } else { None };
    let mut display = Display::new(std::iter::once((id.clone(), record.cell.samples)), &[1.0]);
    display.started(0);
    let mut begun = false;
    let parts = RunInputs {
        variant: registry.find(&record.cell.variant)?,
        dataset: &*shelf.get(dataset)?,
        device: &device::open(&device_name, record.cell.precision)?,
        metrics: registry.metrics(),
        judge: judge.as_ref(),
    };
    let outcome = lerp_train::train(record, &parts, &dir, &stop, &mut |progress: &Progress| {
        begun = true;
        display.progress(0, progress);
    });
    match &outcome {
        Ok(TrainOutcome::Done) => display.done(0),
        Ok(TrainOutcome::Interrupted) => display.interrupted(0),
        // An error before the run began is bad input, not a failure of the run.
        Err(error @ (Error::Busy { .. } | Error::BadFile { .. } | Error::File(_))) if !begun => {
            display.finish();
            bail!("{error}");
        }
        Err(error) => display.failed(0, &error.to_string()),
    }
    display.finish();
    say(&format!("Run: {}", dir.display()));
    Ok(matches!(outcome, Ok(TrainOutcome::Done)))
}

/// Returns a flag that the first Ctrl-C or termination signal sets; a second signal ends the process.
///
/// # Errors
/// If the signal handler cannot be installed.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
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

/// Returns this process's command line as a user would type it, with quotes where necessary.
pub fn command_line() -> String {
    let mut arguments = std::env::args_os().map(|argument| {
        let text = argument.to_string_lossy().into_owned();
        let plain = |c: char| c.is_alphanumeric() || "-_./=:,".contains(c);
        let quoted = || format!("'{}'", text.replace('\'', r"'\''"));
        if !text.is_empty() && text.chars().all(plain) { text } else { quoted() }
    });
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let program = if program == "lerp" { "cargo xtask".into() } else { program };
    arguments.fold(program, |line, argument| line + " " + &argument)
}
