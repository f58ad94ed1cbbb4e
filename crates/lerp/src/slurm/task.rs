//! `lerp task`: what Slurm starts.
//!
//! Signals say how a task ends. `USR1` comes some minutes before its time is up: its runs stop with checkpoints, and it asks to
//! be queued again. `TERM` comes when it is preempted or cancelled, which cannot be told apart: its runs stop with checkpoints,
//! and it waits to be ended. Some versions of Slurm queue a preempted job again only if it has not ended by itself.

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
use lerp_train::{Run, State};

use super::{
    command, is_done,
    records::{Planned, Records, Submission},
};
use crate::{
    cli::{TaskArgs, Work},
    device,
    registry::Registry,
    say::{note, say},
    shelf::Shelf,
    sweep::{Beside, Common, Job, Terms, finish, planned, references_of, train_cells, train_judges},
};

/// What signals have said.
struct Signals {
    /// Everything is to stop.
    stop: Arc<AtomicBool>,
    /// The task's time is nearly up.
    late: Arc<AtomicBool>,
    /// The task is preempted or cancelled.
    ended: Arc<AtomicBool>,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> Result<Self> {
        use signal_hook::{
            consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1},
            flag,
        };
        let signals = Self { stop: Arc::default(), late: Arc::default(), ended: Arc::default() };
        let registered = || -> std::io::Result<()> {
            for signal in [SIGUSR1, SIGTERM, SIGINT, SIGHUP] {
                flag::register(signal, signals.stop.clone())?;
            }
            flag::register(SIGTERM, signals.ended.clone())?;
            flag::register(SIGUSR1, signals.late.clone()).map(drop)
        };
        registered().context("cannot listen to signals")?;
        Ok(signals)
    }

    #[cfg(not(unix))]
    fn listen() -> Result<Self> {
        bail!("this system has no signals, by which Slurm speaks to its tasks")
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// `lerp task`. Returns whether everything that it is for is done.
///
/// # Errors
/// If its submission cannot be read, or the node lacks the device or the images.
pub fn task(registry: &Registry, args: &TaskArgs) -> Result<bool> {
    let signals = Signals::listen()?;
    let submission = Records::of(&args.dir).read(args.submission)?;
    let shelf = Shelf::new(registry, submission.data.as_deref());
    let job_id = std::env::var("SLURM_JOB_ID").unwrap_or_default();
    let common = Common {
        registry,
        shelf: &shelf,
        command: submission.command.clone(),
        task: format!("-job-{job_id}"),
    };
    let node = std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| "this node".into());
    let restart = std::env::var("SLURM_RESTART_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    say(&format!("On {node}, job {job_id}, restart {restart}"));
    let done = match args.work {
        Work::Report => {
            let measured = references_of(&shelf, &args.dir, &signals.stop);
            let reported = finish(&args.dir)?;
            measured? && reported
        }
        Work::Judges => {
            let cells: Vec<Job> = submission.chunks.iter().flatten().map(job).collect();
            train_judges(&common, &args.dir, &cells, submission.judge, &signals.stop)
        }
        Work::Chunk(place) => {
            let chunk = submission.chunks.get(place);
            let chunk = chunk.with_context(|| format!("the submission has no chunk {place}"))?;
            train(&common, &args.dir, &submission, chunk, restart, &signals)?
        }
    };
    if done {
        return Ok(true);
    }
    if !signals.has_ended() && signals.late.load(Ordering::Relaxed) {
        match args.work {
            Work::Chunk(_) => again(submission.restarts, restart, &signals)?,
            Work::Judges | Work::Report => {
                say("The time is up, and what was begun is lost; give --slurm a longer time.");
            }
        }
    }
    if signals.has_ended() {
        say("Waiting for the end.");
        wait(KILLED, || false);
    }
    Ok(false)
}

/// Longer than a preempted task is left alone.
const KILLED: Duration = Duration::from_mins(15);

/// Waits so long, or until `over`.
fn wait(time: Duration, over: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < time && !over() {
        thread::sleep(Duration::from_millis(200));
    }
}

/// Asks Slurm to queue this task again, which ends it.
fn again(most: u32, restart: u32, signals: &Signals) -> Result<()> {
    /// Times that Slurm is asked: all tasks of an array may ask at the same moment.
    const TRIES: u32 = 20;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // One task of an array has the number of the array, by which all would be queued again.
    let task = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    let task = task.map(|(array, task)| format!("{array}_{task}")).context("this is no task of an array")?;
    if restart >= most {
        say(&format!(
            "The time is up, and the task was started again {restart} times, which is the most that --restarts allows; the same \
             sweep command submits it anew."
        ));
        return Ok(());
    }
    say("The time is up; the task goes back into the queue.");
    for attempt in 1..=TRIES {
        match command::requeue(&task) {
            Ok(()) => break,
            Err(error) if attempt == TRIES => return Err(error),
            Err(error) => say(&format!("{error:#}; once more")),
        }
        // Not all at the same moment again.
        let apart = u64::from(std::process::id() % 10) + 1;
        wait(Duration::from_secs(apart), || signals.has_ended());
    }
    // Slurm ends it, and would not like it to end before.
    wait(Duration::from_mins(1), || signals.has_ended());
    Ok(())
}

fn job(planned: &Planned) -> Job {
    Job { record: planned.record.clone(), dataset: planned.dataset.clone(), samples: 0 }
}

/// Trains what of a chunk is not done. Returns whether all of it is then.
fn train(
    common: &Common,
    dir: &Path,
    submission: &Submission,
    chunk: &[Planned],
    restart: u32,
    signals: &Signals,
) -> Result<bool> {
    let runs = dir.join("runs");
    let failed = |id: &str| Run::read(&runs.join(id)).is_ok_and(|run| run.status.state == State::Failed);
    if let Some(most) = submission.max_failures {
        let is_new = |id: &&String| !submission.failed.contains(id) && failed(id);
        let failures = planned(dir).iter().filter(is_new).count();
        if failures >= most {
            say(&format!("No more cells begin: {failures} failed, and --max-failures allows {most}."));
            return Ok(false);
        }
    }
    // What failed in an earlier start of the task has been tried often enough.
    let is_open = |planned: &&Planned| {
        let id = &planned.record.id;
        let tried = restart > 0 && failed(id) && !submission.failed.contains(id);
        let is_over = is_done(&runs, id) || tried;
        !is_over
    };
    let open: Vec<Job> = chunk.iter().filter(is_open).map(job).collect();
    if open.is_empty() {
        say("Nothing to do: the cells of this task are done.");
        return Ok(chunk.iter().all(|planned| is_done(&runs, &planned.record.id)));
    }
    for Job { record, dataset, .. } in &open {
        let here = common.shelf.digest(dataset)?;
        if here != record.provenance.data {
            bail!(
                "the images of {dataset} on this node are not those on the machine that submitted {}; put the same ones there, or \
                 give --data a folder that both see",
                record.id
            );
        }
        device::open(&submission.devices[0], record.cell.precision)?;
    }
    let threads = rayon::current_num_threads();
    let devices = &submission.devices;
    let beside = Beside::measured(common, &open, (devices, threads), submission.jobs(), submission.pack)?;
    note(&format!("{} cells, {} at a time, {} threads each", open.len(), beside.at_once, beside.threads));
    let terms = Terms {
        judged: submission.judged,
        time_limit: submission.time_limit.map(Duration::from_secs_f64),
        max_failures: None,
        retry: submission.retry,
    };
    let seconds = vec![1.0; open.len()];
    let (failed, interrupted) =
        train_cells(common, dir, (&open, &seconds), (devices, &beside), terms, &signals.stop);
    for (id, reason) in &failed {
        say(&format!("FAILED {id}: {reason}"));
    }
    Ok(failed.is_empty() && !interrupted && chunk.iter().all(|planned| is_done(&runs, &planned.record.id)))
}
