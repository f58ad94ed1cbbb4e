//! `lerp task`: the command that Slurm runs in a job.
//!
//! Signals tell a task that it must end. `USR1` arrives up to two minutes before its time limit: its runs stop with
//! checkpoints, and it asks Slurm to queue it again. `TERM` arrives when it is preempted or cancelled; the task cannot
//! tell which. Its runs stop with checkpoints, and it waits until Slurm ends it, because some versions of Slurm queue a
//! preempted job again only if it has not ended by itself.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use lerp_cluster::{Records, requeue};
use lerp_report::text::count;
use lerp_train::{Run, State};

use super::submission::{PlannedCell, Submission};
use crate::{
    cli::{TaskArgs, Work},
    dataset_cache::DatasetCache,
    device,
    registry::Registry,
    say::{note, say},
    sweep::{
        FailedRun, Machine, Packing, PackingOptions, PlannedRun, SweepContext, SweepLimits, TrainingJob,
        TrainingResult, draw_report, measure_pixels, recorded_cells, train_judges, train_runs,
    },
};

/// Flags that are set when signals arrive.
struct Signals {
    /// The task must stop, for any reason.
    stop: Arc<AtomicBool>,
    /// The time limit of the task is near.
    limit_is_near: Arc<AtomicBool>,
    /// The task was preempted or cancelled, or Slurm is ending it for another reason.
    is_being_ended: Arc<AtomicBool>,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> Result<Self> {
        use signal_hook::{
            consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
            flag,
        };
        let signals =
            Self { stop: Arc::default(), limit_is_near: Arc::default(), is_being_ended: Arc::default() };
        let registered = || -> std::io::Result<()> {
            for signal in [SIGUSR1, SIGTERM, SIGINT, SIGHUP] {
                flag::register(signal, signals.stop.clone())?;
            }
            flag::register(SIGTERM, signals.is_being_ended.clone())?;
            flag::register(SIGUSR1, signals.limit_is_near.clone()).map(drop)
        };
        registered().context("cannot install the handlers of signals")?;
        Ok(signals)
    }

    #[cfg(not(unix))]
    fn listen() -> Result<Self> {
        bail!("this system has no signals, which a task of Slurm needs; run it on Linux")
    }

    fn is_being_ended(&self) -> bool {
        self.is_being_ended.load(Ordering::Relaxed)
    }
}

/// Runs `lerp task`. Returns whether all of its work is done.
///
/// # Errors
/// If the submission cannot be read, or this node lacks the device or the images.
pub fn task(registry: &Registry, args: &TaskArgs) -> Result<bool> {
    let signals = Signals::listen()?;
    let submission: Submission = Records::of(&args.dir).read(args.submission)?;
    let datasets = DatasetCache::new(registry, submission.data.as_deref());
    let job_id = std::env::var("SLURM_JOB_ID").unwrap_or_default();
    let context = SweepContext {
        registry,
        datasets: &datasets,
        command: submission.command.clone(),
        log_suffix: format!("-job-{job_id}"),
    };
    let node = std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| "this node".into());
    let restart = std::env::var("SLURM_RESTART_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    say(&format!("On {node}, job {job_id}, restart {restart}"));
    let done = match args.work {
        Work::Report => {
            let measured = measure_pixels(&datasets, &args.dir, &signals.stop);
            let reported = draw_report(&args.dir)?;
            measured? && reported
        }
        Work::Judges => {
            let runs: Vec<PlannedRun> = submission.chunks.iter().flatten().map(planned_run).collect();
            train_judges(&context, &args.dir, &runs, submission.judge, &signals.stop)
        }
        Work::Chunk(index) => {
            let chunk = submission.chunks.get(index);
            let chunk = chunk.with_context(|| format!("the submission has no chunk {index}"))?;
            train_chunk(&context, &args.dir, &submission, chunk, restart, &signals)?
        }
    };
    if done {
        return Ok(true);
    }
    if !signals.is_being_ended() && signals.limit_is_near.load(Ordering::Relaxed) {
        match args.work {
            Work::Chunk(_) => requeue_this_task(submission.restarts, restart, &signals)?,
            Work::Judges | Work::Report => {
                say(
                    "The time is up, and this task has no checkpoints; submit it again with a longer time in --slurm.",
                );
            }
        }
    }
    if signals.is_being_ended() {
        say("Waiting until Slurm ends this task.");
        wait(MAX_GRACE, || false);
    }
    Ok(false)
}

/// How long a task that was preempted or cancelled waits until Slurm ends it, longer than Slurm takes.
const MAX_GRACE: Duration = Duration::from_mins(15);

/// Waits for the given time, or until `over` returns `true`.
fn wait(time: Duration, over: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < time && !over() {
        thread::sleep(Duration::from_millis(200));
    }
}

/// Asks Slurm to put this task back into the queue, which also ends it. Does not ask if the task was restarted `most`
/// times already.
fn requeue_this_task(most: u32, restart: u32, signals: &Signals) -> Result<()> {
    /// The largest number of attempts. Slurm may be overloaded, because all tasks of an array may ask at the same
    /// moment.
    const TRIES: u32 = 20;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The task is named ARRAY_TASK, because its own job number may be the number of the array, which means all tasks.
    let task = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    let task = task
        .map(|(array, task)| format!("{array}_{task}"))
        .context("this job is not a task of an array, so it cannot be queued again")?;
    if restart >= most {
        say(&format!(
            "The time is up. The task was restarted {restart} times already, and --restarts allows {most}. Run the same sweep \
             command to submit its cells again."
        ));
        return Ok(());
    }
    say("The time is up; the task goes back into the queue.");
    for attempt in 1..=TRIES {
        // A task that is cancelled meanwhile must not come back.
        if signals.is_being_ended() {
            return Ok(());
        }
        match requeue(&task) {
            Ok(()) => break,
            Err(error) if attempt == TRIES => return Err(error.into()),
            Err(error) => say(&format!("{error}; trying again")),
        }
        // The pauses differ between tasks, so that they do not all ask at the same moment again.
        let pause = u64::from(std::process::id() % 10) + 1;
        wait(Duration::from_secs(pause), || signals.is_being_ended());
    }
    // Slurm ends the task now. The task must not end by itself before that.
    wait(Duration::from_mins(1), || signals.is_being_ended());
    Ok(())
}

fn planned_run(cell: &PlannedCell) -> PlannedRun {
    PlannedRun { record: cell.record.clone(), dataset: cell.dataset.clone(), samples: 0 }
}

/// Trains the cells of a chunk that are not done. Returns whether all of them are done then.
fn train_chunk(
    context: &SweepContext,
    dir: &Path,
    submission: &Submission,
    chunk: &[PlannedCell],
    restart: u32,
    signals: &Signals,
) -> Result<bool> {
    let runs = dir.join("runs");
    let state = |id: &str| Run::read(&runs.join(id)).ok().map(|run| run.status.state);
    let are_done = || chunk.iter().all(|cell| state(&cell.record.id) == Some(State::Done));
    if let Some(most) = submission.max_failures {
        let is_new = |id: &&String| !submission.failed.contains(id) && state(id) == Some(State::Failed);
        let failures = recorded_cells(dir).iter().filter(is_new).count();
        if failures >= most {
            say(&format!("No more cells are started: {failures} failed, and --max-failures is {most}."));
            return Ok(false);
        }
    }
    // A cell that failed in an earlier start of this task was already tried as often as --retry allows.
    let is_open = |cell: &&PlannedCell| {
        let id = &cell.record.id;
        match state(id) {
            Some(State::Done) => false,
            Some(State::Failed) => restart == 0 || submission.failed.contains(id),
            _ => true,
        }
    };
    let open: Vec<PlannedRun> = chunk.iter().filter(is_open).map(planned_run).collect();
    if open.is_empty() {
        say("Nothing to do: the cells of this task are done or have failed.");
        return Ok(are_done());
    }
    for PlannedRun { record, dataset, .. } in &open {
        let here = context.datasets.digest(dataset)?;
        if here != record.provenance.data {
            bail!(
                "the images of {dataset} on this node differ from those on the machine that submitted {}; copy the same images to \
                 both, or give --data a folder that both can read",
                record.id
            );
        }
        device::open(&submission.devices[0], record.cell.precision)?;
    }
    let machine = Machine { devices: &submission.devices, threads: rayon::current_num_threads() };
    let options = PackingOptions { jobs: submission.jobs(), pack: submission.pack };
    let packing = Packing::measured(context, &open, machine, options)?;
    note(&format!(
        "{} to train, {} at a time, {} each",
        count(open.len(), "cell"),
        packing.at_once,
        count(packing.threads, "thread")
    ));
    let training = TrainingJob {
        out: dir,
        runs: &open,
        seconds: &vec![1.0; open.len()],
        devices: &submission.devices,
        packing: &packing,
        judged: submission.judged,
        limits: SweepLimits {
            time_limit: submission.time_limit.map(Duration::from_secs_f64),
            max_failures: None,
            retry: submission.retry,
        },
    };
    let TrainingResult { failed, stopped } = train_runs(context, training, &signals.stop);
    for FailedRun { id, reason } in &failed {
        say(&format!("FAILED {id}: {reason}"));
    }
    Ok(failed.is_empty() && !stopped && are_done())
}
