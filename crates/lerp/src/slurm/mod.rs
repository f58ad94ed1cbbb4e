//! `lerp sweep --on slurm`: trains the cells of a sweep as tasks of Slurm.
//!
//! The machine that submits decides what is to be trained. It writes that into the subfolder `cluster` of the sweep,
//! together with a copy of this program, and submits the jobs. Then the command ends, and no process has to stay alive
//! on that machine. Each [`task`] reads its cells from the subfolder. Slurm restarts tasks that were preempted or whose
//! node was lost, and a task asks for a restart itself when its time is nearly up. The lease in each run's folder keeps
//! two processes from training the same run.

mod submission;
mod task;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lerp_cluster::{
    DEFAULT_MAX_ARRAY_SIZE, JobKind, QueuedTask, Records, Script, SubmittedJob, TaskArray, is_queued,
    max_array_size, queued_cells,
};
use lerp_files::duration;
use lerp_report::text::count;
use lerp_train::{Error, LeftOutFolder, RunLock, State, runs_in};

pub use task::task;

use crate::{
    cli::{Jobs, RESERVED_OPTIONS, SweepArgs},
    plan::Plan,
    provenance::now,
    say::{note, say, warn},
    sweep::{
        PlannedRun, PlannedSweep, RecordContents, Survey, SweepContext, SweepFolder, estimates, lacks_judges,
    },
};
use submission::{PlannedCell, Submission};

/// Default number of cells per task on a GPU: about as many as one GPU trains at once.
const CELLS_PER_GPU_TASK: usize = 8;

/// How cells are divided into tasks, and tasks into arrays.
#[derive(Debug, Clone, Copy)]
struct Division {
    /// Largest number of cells in a task.
    chunk_size: usize,
    /// Largest number of tasks in an array.
    max_array_size: usize,
}

impl Division {
    /// Returns the number of tasks of so many cells.
    fn tasks(self, cells: usize) -> usize {
        cells.div_ceil(self.chunk_size)
    }

    /// Returns the arrays of so many cells.
    fn arrays(self, cells: usize) -> Vec<TaskArray> {
        let tasks = self.tasks(cells);
        (0..tasks)
            .step_by(self.max_array_size)
            .map(|first_chunk| TaskArray { first_chunk, tasks: self.max_array_size.min(tasks - first_chunk) })
            .collect()
    }
}

/// Whether a command may write into the records of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    Write,
}

/// Submits the cells of the plan that are neither done nor queued. Returns `false` if runs that cannot be read block
/// some of the cells.
///
/// # Errors
/// If the folder, the images or Slurm are unsuitable; nothing is submitted then. If Slurm refuses a job, the jobs
/// before it have been submitted and recorded.
pub fn sweep(context: &SweepContext, plan: &Plan, sweep: &PlannedSweep, args: &SweepArgs) -> Result<bool> {
    let out = absolute(&sweep.out)?;
    let records = Records::of(&out);
    let folder = SweepFolder::check(&sweep.out, args.plan.config.as_deref())?;
    let _locks = if args.dry_run {
        None
    } else {
        folder.create()?;
        let lock = folder.lock()?;
        records.create()?;
        Some((lock, lock_submission(&records)?))
    };
    // The queue is read before the runs. A run that ends between the two is then found as complete in the folder, and
    // not submitted again because it is no longer in the queue.
    let queue = match lerp_cluster::queue() {
        // A dry run also works without Slurm; nothing counts as queued then.
        Err(error) if args.dry_run => {
            warn(&format!("{error}; it is not known which cells are queued"));
            Vec::new()
        }
        queue => queue?,
    };
    let earlier_jobs =
        recorded_jobs(&records, &out, &queue, if args.dry_run { Access::ReadOnly } else { Access::Write })?;
    let found = runs_in(&out)?;
    let Survey { all, missing, blocked, warnings, .. } =
        Survey::new(context, &sweep.cells, &found, &sweep.devices[0], 1)?;
    folder.notice.iter().chain(&warnings).for_each(|sentence| warn(sentence));
    for LeftOutFolder { folder, reason } in &blocked {
        warn(&format!("left out: {folder}: {reason}"));
    }
    let queued = queued_cells(&records, &earlier_jobs, &queue);
    let failed: HashSet<&str> = found
        .runs
        .iter()
        .filter(|run| run.status.state == State::Failed)
        .map(|run| &*run.record.id)
        .collect();
    // The reason why a missing cell is not submitted now, if there is one.
    let reason_to_skip = |run: &PlannedRun| match queued.get(&run.record.id) {
        Some(cell) => Some(format!("is in the queue: {}", cell.described())),
        None if failed.contains(&*run.record.id) && args.retry == 0 => {
            Some("failed before; `--retry 1` submits it again".to_owned())
        }
        None => None,
    };
    let (to_submit, skipped): (Vec<PlannedRun>, Vec<PlannedRun>) =
        missing.into_iter().partition(|run| reason_to_skip(run).is_none());
    let chunk_size = match (args.cluster.chunk, args.jobs) {
        (Some(size), _) => size.get(),
        (None, _) if sweep.devices[0] == "cpu" => 1,
        (None, Jobs::Number(number)) => number,
        (None, Jobs::Auto) => CELLS_PER_GPU_TASK,
    };
    let max_array_size = match max_array_size() {
        Err(_) if args.dry_run => DEFAULT_MAX_ARRAY_SIZE,
        size => size?,
    };
    let division = Division { chunk_size, max_array_size };
    let arrays = division.arrays(to_submit.len());
    if args.dry_run {
        let seconds = estimates(context, plan, sweep, &to_submit);
        let mut not_submitted: HashMap<&str, String> =
            skipped.iter().map(|run| (&*run.record.id, reason_to_skip(run).unwrap_or_default())).collect();
        not_submitted.extend(blocked.iter().map(|out| {
            (&*out.folder, format!("blocked, because its folder cannot be read: {}", out.reason))
        }));
        print_plan(&all, &to_submit, &seconds, division, &not_submitted);
        print_arrays(&arrays, args);
        if lacks_judges(context, &sweep.out, &to_submit, plan.judge()) {
            say("One more job before them trains judges of decoded images.");
        }
        say(
            "A last job draws the report. The times are those of this machine. Nothing was submitted or written.",
        );
        return Ok(blocked.is_empty());
    }
    for run in &skipped {
        note(&format!("{} {}", run.record.id, reason_to_skip(run).unwrap_or_default()));
    }
    if to_submit.is_empty() {
        let done = all.len() - skipped.len() - blocked.len();
        say(&format!(
            "Nothing to submit: {done} of {} are done. `lerp report {}` draws the report of the finished runs.",
            count(all.len(), "run"),
            sweep.out.display()
        ));
        return Ok(blocked.is_empty());
    }
    let ids: Vec<String> = all.iter().map(|run| run.record.id.clone()).collect();
    folder.write_record(&RecordContents {
        about: &plan.about,
        command: &context.command,
        devices: &sweep.devices,
        cells: &ids,
    })?;
    let judges_are_missing = lacks_judges(context, &sweep.out, &to_submit, plan.judge());
    let planned_cell =
        |run: &PlannedRun| PlannedCell { record: run.record.clone(), dataset: run.dataset.clone() };
    let submission = Submission {
        command: context.command.clone(),
        data: data_folder(context)?,
        devices: sweep.devices.clone(),
        jobs: match args.jobs {
            Jobs::Number(number) => Some(number),
            Jobs::Auto => None,
        },
        pack: args.pack,
        judge: plan.judge(),
        judged: plan.is_judged(),
        time_limit: args.time_limit.map(|limit| limit.as_secs_f64()),
        retry: args.retry,
        max_failures: args.max_failures.map(usize::from),
        restarts: args.cluster.restarts,
        failed: failed.iter().map(ToString::to_string).collect(),
        chunks: to_submit.chunks(chunk_size).map(|chunk| chunk.iter().map(planned_cell).collect()).collect(),
    };
    let number = records.next_number();
    records.write(number, &submission)?;
    let submitter =
        Submitter { records: &records, number, args, out: &out, program: copy_program(&records)? };
    // Earlier jobs may train some of the judges, but perhaps not all. The new job trains only those that are missing when
    // it starts.
    let submit_judges =
        || submitter.submit(JobKind::Judges, None, &queued_ids(&earlier_jobs, JobKind::Judges, &queue));
    let judges_job = judges_are_missing.then(submit_judges).transpose()?;
    let mut before_cells: Vec<String> = judges_job.iter().cloned().collect();
    if args.cluster.at_most.is_some() {
        before_cells.extend(queued_ids(&earlier_jobs, JobKind::Cells, &queue));
    }
    let mut array_ids = Vec::new();
    for array in &arrays {
        // Slurm limits the number of running tasks of each array only, so under a limit the arrays run one after
        // another.
        let previous = array_ids.last().filter(|_| args.cluster.at_most.is_some());
        let after = previous.map_or(&before_cells[..], std::slice::from_ref);
        let id = submitter.submit(JobKind::Cells, Some(*array), after)?;
        array_ids.push(id);
    }
    let report = submitter.submit(JobKind::Report, None, &array_ids)?;
    say(&format!(
        "Submitted {} as {} of {} {}, and the report as job {report}, into {}.",
        count(to_submit.len(), "cell"),
        count(division.tasks(to_submit.len()), "task"),
        if array_ids.len() == 1 { "job" } else { "jobs" },
        array_ids.join(", "),
        sweep.out.display()
    ));
    if let Some(judges) = judges_job {
        say(&format!("Before them, job {judges} trains judges of decoded images."));
    }
    say(&format!(
        "This command leaves no process running here. `lerp watch {}` shows the progress. The same command submits the cells \
         that are then neither done nor queued; with --cancel it cancels all jobs. Logs: {}",
        sweep.out.display(),
        records.logs().display()
    ));
    Ok(blocked.is_empty())
}

/// Prints for each run of the plan its expected time and its task, or the reason why it would not be submitted.
fn print_plan(
    runs: &[PlannedRun],
    to_submit: &[PlannedRun],
    seconds: &[Option<f64>],
    division: Division,
    not_submitted: &HashMap<&str, String>,
) {
    let Division { chunk_size, max_array_size } = division;
    let width = runs.iter().map(|run| run.record.id.len()).max().unwrap_or(0);
    let indices: HashMap<&str, usize> =
        to_submit.iter().enumerate().map(|(index, run)| (&*run.record.id, index)).collect();
    for run in runs {
        let id = &*run.record.id;
        let state = match (indices.get(id), not_submitted.get(id)) {
            (Some(index), _) => {
                let takes = seconds.get(*index).copied().flatten().map_or("unknown".into(), duration);
                let chunk = index / chunk_size;
                let (task, array) = (chunk % max_array_size, chunk / max_array_size + 1);
                format!("{takes} in task {task} of array {array}")
            }
            (None, Some(reason)) => reason.clone(),
            (None, None) => "done".to_owned(),
        };
        say(&format!("{id:<width$}  {state}"));
    }
}

/// Prints the number of tasks of each array.
fn print_arrays(arrays: &[TaskArray], args: &SweepArgs) {
    for (index, array) in arrays.iter().enumerate() {
        let limit = args.cluster.at_most.map_or(String::new(), |most| format!(", {most} at a time at most"));
        let order = if index > 0 && args.cluster.at_most.is_some() { ", after the one before" } else { "" };
        say(&format!("array {}: {}{limit}{order}", index + 1, count(array.tasks, "task")));
    }
}

/// Submits the jobs of one submission.
struct Submitter<'a> {
    records: &'a Records,
    /// Number of the submission.
    number: usize,
    args: &'a SweepArgs,
    /// Folder of the sweep, as an absolute path.
    out: &'a Path,
    /// The copy of this program that the tasks run.
    program: PathBuf,
}

impl Submitter<'_> {
    /// Writes the script of a job, submits it and records it. The job starts when the jobs `after` have ended. Returns
    /// the number of the job.
    fn submit(&self, kind: JobKind, array: Option<TaskArray>, after: &[String]) -> Result<String> {
        let about = match kind {
            JobKind::Cells => "Trains a chunk of cells.",
            JobKind::Judges => "Trains judges of decoded images.",
            JobKind::Report => "Evaluates raw pixels and draws the report.",
        };
        let first_chunk = array.map_or(0, |array| array.first_chunk);
        let name = SubmittedJob::name(self.out, self.number, kind, first_chunk);
        let text = |path: &Path| -> Result<String> {
            let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
            text.map(String::from).with_context(|| {
                format!(
                    "the name of {} cannot be written in a script; give --out another folder",
                    path.display()
                )
            })
        };
        let mut command =
            vec![text(&self.program)?, "task".to_owned(), text(self.out)?, self.number.to_string()];
        // In an array, the script adds the index of the chunk.
        command.extend((kind != JobKind::Cells).then(|| kind.name().to_owned()));
        let script = Script {
            name: &name,
            about,
            options: self.args.cluster.options().collect(),
            array,
            at_most: self.args.cluster.at_most.map(usize::from),
            after,
            logs: &self.records.logs(),
            command: &command,
        };
        let from = if first_chunk == 0 { String::new() } else { format!("-from-{first_chunk}") };
        let path = self.records.dir().join(format!("{}-{}{from}.sh", self.number, kind.name()));
        lerp_files::replace(&path, script.text().as_bytes())?;
        let given = self.args.cluster.options().map(|option| &*option.key);
        let options = RESERVED_OPTIONS.into_iter().chain(given);
        let id = lerp_cluster::submit(&path, options).with_context(|| {
            format!(
                "{} was not submitted (the jobs before it were, and --cancel cancels them; a larger --chunk makes fewer tasks)",
                path.display()
            )
        })?;
        self.records.add([SubmittedJob {
            id: id.clone(),
            submission: self.number,
            kind,
            first_chunk,
            submitted: now(),
        }])?;
        Ok(id)
    }
}

/// Copies this program into the records, so that no later build changes it while tasks are queued. Returns the path of
/// the copy.
fn copy_program(records: &Records) -> Result<PathBuf> {
    let here = std::env::current_exe().context("cannot find the file of this program")?;
    let linux = Path::new("/proc/self/exe");
    let bytes = std::fs::read(if linux.exists() { linux } else { &here })
        .with_context(|| format!("cannot read {}", here.display()))?;
    let copy = records.dir().join(format!("program-{}", &lerp_files::digest(&bytes)[..12]));
    if !copy.exists() {
        lerp_files::replace(&copy, &bytes)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(copy)
}

/// Returns the absolute path of the folder of the image sets, because a task may have another working directory and
/// environment. Returns `None` if no folder is set.
fn data_folder(context: &SweepContext) -> Result<Option<PathBuf>> {
    let given = context.datasets.data().map(PathBuf::from);
    let data = given.or_else(|| std::env::var_os(lerp_data::FOLDER_VARIABLE).map(PathBuf::from));
    Ok(data.filter(|data| !data.as_os_str().is_empty()).map(std::path::absolute).transpose()?)
}

fn absolute(sweep: &Path) -> Result<PathBuf> {
    std::path::absolute(sweep).context("cannot find the working directory")
}

/// Locks the records, so that no other process on any machine submits jobs for this sweep at the same time.
fn lock_submission(records: &Records) -> Result<RunLock> {
    RunLock::take(records.dir()).map_err(|error| match error {
        Error::Busy { by, .. } => {
            anyhow::anyhow!("{by} is submitting cells of this sweep; wait until it has ended")
        }
        error => error.into(),
    })
}

/// Returns the jobs that were submitted for the sweep. The queue may have jobs of the sweep that are not recorded,
/// because the command that submitted them was killed or did not get Slurm's answer. They are recognised by their
/// names, and recorded if `access` allows it.
fn recorded_jobs(
    records: &Records,
    out: &Path,
    queue: &[QueuedTask],
    access: Access,
) -> Result<Vec<SubmittedJob>> {
    let mut jobs = records.jobs()?;
    let mut unrecorded: Vec<SubmittedJob> = Vec::new();
    for queued in queue {
        let is_known = jobs.iter().chain(&unrecorded).any(|job| job.id == queued.job);
        unrecorded.extend(SubmittedJob::of_task(out, queued, &now()).filter(|_| !is_known));
    }
    if !unrecorded.is_empty() && access == Access::Write {
        records.add(unrecorded.clone())?;
    }
    jobs.extend(unrecorded);
    Ok(jobs)
}

/// Returns the numbers of the jobs of a kind that are in the queue.
fn queued_ids(jobs: &[SubmittedJob], kind: JobKind, queue: &[QueuedTask]) -> Vec<String> {
    jobs.iter().filter(|job| job.kind == kind && is_queued(job, queue)).map(|job| job.id.clone()).collect()
}

/// Cancels the jobs of the sweep in `out` that have not ended.
///
/// # Errors
/// If Slurm cannot be asked or refuses to cancel them, or the records are damaged.
pub fn cancel(out: &Path) -> Result<bool> {
    let out = absolute(out)?;
    let records = Records::of(&out);
    let queue = lerp_cluster::queue()?;
    let jobs = recorded_jobs(&records, &out, &queue, Access::ReadOnly)?;
    let active: Vec<&str> = jobs.iter().filter(|job| is_queued(job, &queue)).map(|job| &*job.id).collect();
    if active.is_empty() {
        say("Nothing to cancel: no job of this folder is queued.");
        return Ok(true);
    }
    lerp_cluster::cancel(&active)?;
    say(&format!(
        "Cancelled {} {}. Running cells stop with a checkpoint, and the same command without --cancel resumes them.",
        if active.len() == 1 { "job" } else { "jobs" },
        active.join(", ")
    ));
    Ok(true)
}
