//! `lerp sweep`: trains every missing cell of a plan in worker processes, then draws the report. Also `lerp train`,
//! which trains one cell in this process.

mod display;
mod dry;
mod estimate;
mod folder;
mod judges;
mod packing;
mod pixels;
mod queue;
mod steps;
mod survey;
mod train;
mod worker;
mod worker_process;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    thread,
};

use anyhow::{Result, bail};
use lerp_cluster::SbatchOption;
use lerp_files::duration;
use lerp_report::text::count;
use lerp_train::{Cell, LeftOutFolder, Run, State, runs_in};

use crate::{
    cli::{Engine, PlanArgs, Shard, SweepArgs},
    dataset_cache::DatasetCache,
    device,
    plan::{Overrides, Plan},
    process::{command_line, stop_flag},
    registry::Registry,
    report,
    say::{say, warn},
    slurm,
};
use estimate::TrainingConditions;
use queue::Queue;
use steps::Concurrency;

pub use folder::{RecordContents, SweepFolder, recorded_cells};
pub use judges::{DatasetNames, find as judge_of, train as train_judge};
pub use packing::{Machine, Packing, PackingOptions};
pub use queue::{FailedRun, SweepLimits, TrainingJob, TrainingResult};
pub use survey::{PlannedRun, Survey, SweepContext};
pub use train::train;
pub use worker_process::worker;

/// What is printed when a sweep stops before its end.
const STOPPED: &str = "Stopped. Run the same command again to resume.";

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
pub struct PlannedSweep {
    /// The cells of the plan, or of the share of it that this machine trains.
    pub cells: Vec<Cell>,
    /// Folder of the sweep.
    pub out: PathBuf,
    /// Names of the devices.
    pub devices: Vec<String>,
}

impl PlannedSweep {
    /// Expands the plan to its cells, or to those of the share that the arguments select. All images are read here, so
    /// that an unreadable dataset is an error before anything is written.
    fn new(
        plan: &mut Plan,
        out: PathBuf,
        args: &SweepArgs,
        datasets: &DatasetCache,
        registry: &Registry,
    ) -> Result<Self> {
        if args.plan.datasets.is_none() {
            let absent = plan.leave_out_absent(datasets);
            if let Some(sentence) = absent.first().filter(|_| args.shard.is_some()) {
                bail!(
                    "{sentence}; with --shard every machine must have the same datasets, so name them with --datasets"
                );
            }
            for sentence in absent {
                say(&sentence);
            }
        }
        let mut cells = plan.cells(registry, datasets)?;
        let out = match (args.shard, &args.plan.out) {
            (Some(Shard { index, shares }), None) => {
                let name = out.file_name().unwrap_or_default().to_string_lossy();
                out.with_file_name(format!("{name}-{}-of-{shares}", index + 1))
            }
            _ => out,
        };
        if let Some(shard) = args.shard {
            let total = cells.len();
            cells = shard.select(cells);
            if cells.is_empty() {
                bail!(
                    "--shard {}/{}: the plan has only {}",
                    shard.index + 1,
                    shard.shares,
                    count(total, "cell")
                );
            }
        }
        let devices = match args.cluster.on {
            Some(_) => args.plan.device.names_elsewhere()?,
            None => args.plan.device.names()?,
        };
        for cell in &cells {
            datasets.images(&cell.dataset)?;
        }
        Ok(Self { cells, out, devices })
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
    let datasets = DatasetCache::new(registry, args.plan.data.as_deref());
    let sweep = PlannedSweep::new(&mut plan, out, args, &datasets, registry)?;
    let context =
        SweepContext { registry, datasets: &datasets, command: command_line(), log_suffix: String::new() };
    if let Some(Engine::Slurm) = args.cluster.on {
        return slurm::sweep(&context, &plan, &sweep, args);
    }
    let PlannedSweep { cells, out, devices } = &sweep;
    let folder = SweepFolder::check(out, args.plan.config.as_deref())?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let machine = Machine { devices, threads };
    if args.dry_run {
        return dry::run(&context, &plan, &sweep, machine, args);
    }
    folder.create()?;
    let _lock = folder.lock()?;

    let found = runs_in(out)?;
    found.runs.iter().filter(|run| run.status.state == State::Done).for_each(Run::remove_leftovers);
    let survey = Survey::new(&context, cells, &found, &devices[0], threads)?;
    let Survey { all, missing, blocked, left_out, warnings } = &survey;
    folder.notice.iter().chain(warnings).for_each(|sentence| warn(sentence));
    for LeftOutFolder { folder, reason } in blocked.iter().chain(left_out) {
        warn(&format!("left out: {folder}: {reason}"));
    }
    let ids: Vec<String> = all.iter().map(|run| run.record.id.clone()).collect();
    let record = RecordContents { about: &plan.about, command: &context.command, devices, cells: &ids };
    if missing.is_empty() {
        folder.write_record_if_missing(&record)?;
    } else {
        folder.write_record(&record)?;
    }
    if missing.is_empty() && blocked.is_empty() {
        let runs = if all.len() == 1 { "the run".into() } else { format!("all {} runs", all.len()) };
        let verb = if all.len() == 1 { "is" } else { "are" };
        say(&format!("Nothing to do: {runs} in {} {verb} complete.", out.display()));
    }
    let stop = stop_flag()?;
    let result = if missing.is_empty() {
        TrainingResult::default()
    } else {
        train_missing(&context, &plan, &sweep, machine, args, &survey, &stop)?
    };
    // All trained runs are saved by now, so errors below are reported together at the end.
    let pixels = pixels::measure_missing(&datasets, out, all, &stop);
    let reported = draw_report(out);
    let blocked_runs = blocked
        .iter()
        .map(|LeftOutFolder { folder, reason }| FailedRun { id: folder.clone(), reason: reason.clone() });
    for FailedRun { id, reason } in result.failed.iter().cloned().chain(blocked_runs) {
        let log = folder.runs().join(&id).join(worker::LOG);
        let log = if log.exists() { format!(" (log: {})", log.display()) } else { String::new() };
        say(&format!("FAILED {id}: {reason}{log}"));
    }
    for LeftOutFolder { folder, reason } in left_out {
        say(&format!("LEFT OUT {folder}: {reason}"));
    }
    if let Err(error) = &pixels {
        say(&format!("FAILED raw pixels: {error:#}"));
    }
    if let Err(error) = &reported {
        say(&format!("FAILED report: {error:#}"));
        say(&format!("`lerp report {}` draws it again.", out.display()));
    }
    let stopped = result.stopped || matches!(pixels, Ok(false));
    if stopped {
        say(STOPPED);
    }
    let complete = result.failed.is_empty() && blocked.is_empty() && left_out.is_empty();
    Ok(complete && pixels.is_ok() && matches!(reported, Ok(true)) && !stopped)
}

/// Prints how long the missing runs will take, and trains the missing judges and then the runs.
///
/// # Errors
/// If a dataset or the folder cannot be read.
fn train_missing(
    context: &SweepContext,
    plan: &Plan,
    sweep: &PlannedSweep,
    machine: Machine,
    args: &SweepArgs,
    survey: &Survey,
    stop: &AtomicBool,
) -> Result<TrainingResult> {
    let PlannedSweep { out, devices, .. } = sweep;
    let Survey { all, missing, .. } = survey;
    let datasets = context.datasets;
    let options = PackingOptions { jobs: args.jobs, pack: args.pack };
    let packing = Packing::measured(context, missing, machine, options)?;
    say(&format!(
        "{} of {} to train on {}, {} at a time, {} each, into {}",
        missing.len(),
        count(all.len(), "run"),
        devices.join(" and "),
        packing.at_once,
        count(packing.threads, "thread"),
        out.display()
    ));
    say("Timing a few steps of each kind of run");
    let conditions = TrainingConditions {
        device: &devices[0],
        concurrency: packing.on_each(devices),
        judged: plan.is_judged(),
    };
    let estimate = estimate::estimate(context.registry, datasets, missing, conditions);
    estimate.failures.iter().for_each(|sentence| warn(sentence));
    estimate.tell(missing, packing.at_once, devices);
    let mut seconds_of_pixels = 0.0;
    for set in pixels::missing(datasets, out, all)?.iter().filter(|set| set.is_to_measure()) {
        seconds_of_pixels += estimate::pixels(&*datasets.get(&set.dataset)?, set.restarts, machine.threads);
    }
    if seconds_of_pixels > 0.0 {
        say(&format!("  and {} for raw pixels, at the end", duration(seconds_of_pixels)));
    }
    let judges = judges::missing(datasets, out, missing, plan.judge());
    let mut seconds_of_judges = 0.0;
    for judge in &judges {
        seconds_of_judges += estimate::judge(&*datasets.get(judge.dataset.present)?, judge.samples);
    }
    if seconds_of_judges > 0.0 {
        say(&format!("  and {} for judges of decoded images, before", duration(seconds_of_judges)));
    }
    if !judges::train_all(datasets, out, &judges, stop) {
        return Ok(TrainingResult { failed: Vec::new(), stopped: true });
    }
    // Cells that could not be timed start last.
    let seconds: Vec<f64> = estimate.seconds.into_iter().map(Option::unwrap_or_default).collect();
    let training = TrainingJob {
        out,
        runs: missing,
        seconds: &seconds,
        devices,
        packing: &packing,
        judged: plan.is_judged(),
        limits: SweepLimits {
            time_limit: args.time_limit,
            max_failures: args.max_failures,
            retry: args.retry,
        },
    };
    Ok(train_runs(context, training, stop))
}

/// Trains runs in worker processes, or until `stop` is set.
pub fn train_runs(context: &SweepContext, training: TrainingJob, stop: &AtomicBool) -> TrainingResult {
    // The worker processes open the datasets themselves, so this process frees its memory.
    context.datasets.clear();
    Queue::new(context, training).run(stop)
}

/// Returns the expected seconds of each of `runs` on a device of this machine, one run at a time. An entry is `None` if
/// the time cannot be measured.
pub fn estimates(
    context: &SweepContext,
    plan: &Plan,
    sweep: &PlannedSweep,
    runs: &[PlannedRun],
) -> Vec<Option<f64>> {
    let device = &sweep.devices[0];
    // The machine that submits a sweep to a cluster may have no GPU.
    if device::open(device, runs.first().map(|run| run.record.cell.precision).unwrap_or_default()).is_err() {
        return vec![None; runs.len()];
    }
    let conditions =
        TrainingConditions { device, concurrency: Concurrency::SINGLE, judged: plan.is_judged() };
    let estimate = estimate::estimate(context.registry, context.datasets, runs, conditions);
    estimate.failures.iter().for_each(|sentence| warn(sentence));
    estimate.seconds
}

/// Whether a dataset of `runs` has no suitable judge in the sweep `out`.
pub fn lacks_judges(context: &SweepContext, out: &Path, runs: &[PlannedRun], samples: Option<u64>) -> bool {
    !judges::missing(context.datasets, out, runs, samples).is_empty()
}

/// Trains the missing judges. Returns `false` if it was stopped.
pub fn train_judges(
    context: &SweepContext,
    out: &Path,
    runs: &[PlannedRun],
    samples: Option<u64>,
    stop: &AtomicBool,
) -> bool {
    let missing = judges::missing(context.datasets, out, runs, samples);
    judges::train_all(context.datasets, out, &missing, stop)
}

/// Evaluates the raw pixels of the image sets of a sweep from the runs in its folder. Returns `false` if it was
/// stopped.
///
/// # Errors
/// If the folder or a dataset cannot be read, or a record not written.
pub fn measure_pixels(datasets: &DatasetCache, out: &Path, stop: &AtomicBool) -> Result<bool> {
    let planned =
        |run: Run| PlannedRun { dataset: run.record.cell.dataset.clone(), record: run.record, samples: 0 };
    let runs: Vec<PlannedRun> = runs_in(out)?.runs.into_iter().map(planned).collect();
    pixels::measure_missing(datasets, out, &runs, stop)
}

/// Draws the report of a sweep's runs so far and prints its tables. Returns whether the report is complete; without any
/// metrics there is no report, which counts as complete.
///
/// # Errors
/// If the folder cannot be read or written.
pub fn draw_report(out: &Path) -> Result<bool> {
    let Ok(mut runs) = fs::read_dir(out.join("runs")) else { return Ok(true) };
    if !runs.any(|run| run.is_ok_and(|run| run.path().join("metrics.parquet").exists())) {
        return Ok(true);
    }
    report::draw_and_print(out)
}
