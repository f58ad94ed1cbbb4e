//! Calls of Slurm's commands. `sacct` is not among them, because many clusters keep no accounts.

use std::{
    io::ErrorKind,
    path::Path,
    process::{Command, Output},
};

use crate::{Error, Result, SubmittedJob, warning::warn};

/// Slurm's default of `MaxArraySize`: the numbers of an array's tasks are below this.
pub const DEFAULT_MAX_ARRAY_SIZE: usize = 1001;

/// A task of an array in Slurm's queue, or a job that is not an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedTask {
    /// Number of the job; for a task of an array, the number of the array.
    pub job: String,
    /// Number of the task in the array; `None` if the job is not an array.
    pub task: Option<usize>,
    /// Number of restarts.
    pub restarts: u32,
    /// Slurm's name of the state, such as `PENDING` or `RUNNING`.
    pub state: String,
    /// Name of the job.
    pub name: String,
    /// The node or nodes that it runs on; `None` if it is not running.
    pub node: Option<String>,
}

/// Whether the job, or a task of it, is in the queue.
pub fn is_queued(job: &SubmittedJob, queue: &[QueuedTask]) -> bool {
    queue.iter().any(|queued| queued.is_of(job))
}

impl QueuedTask {
    /// Whether it is waiting for a node.
    pub fn is_pending(&self) -> bool {
        self.state == "PENDING"
    }

    /// Whether it is a task of `job`, or that job itself. Another cluster may have given the number to a job that is not a
    /// sweep's.
    pub fn is_of(&self, job: &SubmittedJob) -> bool {
        self.job == job.id && self.name.starts_with(NAME_PREFIX)
    }

    /// Returns the index of the task's chunk in its submission, if it is a task of `job`.
    pub fn chunk(&self, job: &SubmittedJob) -> Option<usize> {
        self.is_of(job).then_some(job.first_chunk + self.task?)
    }

    /// Parses a line that `squeue` prints with [`QUEUE_FIELDS`].
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (job, task, restarts, state) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let name = words.next()?.to_owned();
        Some(Self {
            job: job.to_owned(),
            task: task.parse().ok(),
            restarts: restarts.parse().ok()?,
            state: state.to_owned(),
            name,
            node: words.next().map(String::from),
        })
    }
}

/// The beginning of the names of all jobs of sweeps.
pub(crate) const NAME_PREFIX: &str = "lerp-";

/// The fields of the queue that `squeue` prints. The last one may be empty.
const QUEUE_FIELDS: &str =
    "--Format=ArrayJobID:20,ArrayTaskID:12,RestartCnt:12,State:20,Name:120,NodeList:200";

/// Returns all jobs and tasks of this user that are in the queue.
///
/// # Errors
/// If Slurm cannot be asked.
pub fn queue() -> Result<Vec<QueuedTask>> {
    let text = run(squeue().args(["--me", "--all", "--array", "--noheader", QUEUE_FIELDS]))?;
    Ok(text.lines().filter_map(QueuedTask::parse).collect())
}

/// Asks Slurm whether it is running the job in this restart now. A job that waits in the queue is not running. Returns
/// `None` if Slurm cannot be asked.
pub fn is_running(job: &str, restart: u32) -> Option<bool> {
    let mut command = squeue();
    let fields = "--Format=JobID:20,RestartCnt:12,State:20";
    let output = command.args(["--noheader", "--all", "--jobs", job, fields]).output().ok()?;
    if !output.status.success() {
        // Slurm forgets a job some minutes after its end.
        return String::from_utf8_lossy(&output.stderr).contains("Invalid job id").then_some(false);
    }
    Some(lists_as_running(&String::from_utf8_lossy(&output.stdout), job, restart))
}

/// Whether a list of jobs with number, restarts and state has this job in this restart, and not as waiting.
fn lists_as_running(list: &str, job: &str, restart: u32) -> bool {
    list.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(job)
            && words.next().and_then(|count| count.parse().ok()) == Some(restart)
            && words.next().is_some_and(|state| state != "PENDING")
    })
}

/// Returns the command `squeue` without the user's own defaults, which could hide jobs.
fn squeue() -> Command {
    let mut command = on_this_cluster("squeue");
    remove_variables(&mut command, |name| name.starts_with("SQUEUE_"));
    command
}

/// Returns the largest number of tasks that an array may have on this cluster.
///
/// # Errors
/// If Slurm cannot be asked, or the cluster allows no arrays.
pub fn max_array_size() -> Result<usize> {
    match array_limit(&run(on_this_cluster("scontrol").args(["show", "config"]))?) {
        0 => Err(Error::NoArrays),
        size => Ok(size),
    }
}

/// Returns the largest number of tasks of an array, given the output of `scontrol show config`.
fn array_limit(config: &str) -> usize {
    let value = |key: &str| {
        let line = config.lines().find_map(|line| line.trim().strip_prefix(key));
        line.map(|rest| rest.trim_start_matches([' ', '=']).trim())
    };
    let size = value("MaxArraySize").and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_MAX_ARRAY_SIZE);
    let parameters = value("SchedulerParameters").unwrap_or_default();
    let tasks = parameters.split(',').find_map(|parameter| parameter.strip_prefix("max_array_tasks="));
    tasks.and_then(|tasks| tasks.parse().ok()).map_or(size, |tasks: usize| size.min(tasks))
}

/// Submits a script whose directives set these options, and returns the number of the job. `sbatch` would prefer values
/// from its environment to the script's directives, so the variables of these options are removed.
///
/// # Errors
/// If Slurm refuses the job; the message has its reason.
pub fn submit<'a>(script: &Path, options: impl Iterator<Item = &'a str>) -> Result<String> {
    let mut command = on_this_cluster("sbatch");
    let set: Vec<String> = options.map(|key| key.replace('-', "_").to_uppercase()).collect();
    remove_variables(&mut command, |name| {
        // If this process is itself part of a job, the new job must not inherit what Slurm says about that one.
        let own = ["SLURM_RESTART_COUNT", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"].contains(&name)
            || name.starts_with("SLURM_ARRAY_");
        let option = name.strip_prefix("SBATCH_").or((name == "SLURM_HINT").then_some("HINT"));
        let option = option.map(|option| match option {
            "ARRAY_INX" => "ARRAY",
            "TIMELIMIT" => "TIME",
            "MEM_PER_NODE" => "MEM",
            "REQ_SWITCH" | "WAIT4SWITCH" => "SWITCHES",
            "CPU_FREQ_REQ" => "CPU_FREQ",
            "BURST_BUFFER" => "BB",
            option => option,
        });
        own || option.is_some_and(|option| set.iter().any(|set| set == option))
    });
    let text = run(command.arg("--parsable").arg(script))?;
    // Where there are several clusters, the answer is JOB;CLUSTER.
    let id = text.lines().last().and_then(|line| line.split(';').next()).unwrap_or_default().trim();
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        let problem = format!("sbatch printed '{}' instead of the number of a job", text.trim());
        return Err(Error::BadOutput { problem });
    }
    Ok(id.to_owned())
}

/// Cancels jobs.
///
/// # Errors
/// If Slurm refuses to cancel them.
pub fn cancel(jobs: &[&str]) -> Result<()> {
    let mut command = on_this_cluster("scancel");
    remove_variables(&mut command, |name| name.starts_with("SCANCEL_"));
    run(command.args(jobs)).map(drop)
}

/// Puts a running task back into the queue. Slurm ends the running task first.
///
/// # Errors
/// If Slurm refuses to do so.
pub fn requeue(job: &str) -> Result<()> {
    run(on_this_cluster("scontrol").args(["requeue", job])).map(drop)
}

/// A command of Slurm without the variable by which it turns to other clusters, whose jobs this program does not follow.
fn on_this_cluster(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("SLURM_CLUSTERS");
    command
}

/// Removes the unwanted variables from the environment of a command. Slurm's tools compare the beginnings of names only,
/// so a name is unwanted also if some of its bytes are not UTF-8.
fn remove_variables(command: &mut Command, unwanted: impl Fn(&str) -> bool) {
    for (name, _) in std::env::vars_os() {
        if unwanted(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
}

/// Runs a command and returns its output. Warnings that the command prints are passed on to the listener.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = command.output().map_err(|problem| match problem.kind() {
        ErrorKind::NotFound => Error::NotFound { command: name.clone() },
        _ => Error::NotStarted { command: name.clone(), problem },
    })?;
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|error| Error::BadOutput {
            problem: format!("the output of {name} is not text: {error}"),
        })
    };
    let errors = text(stderr).unwrap_or_default();
    let errors: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if !status.success() {
        return Err(Error::Refused { reason: errors.join("; "), command: name });
    }
    for line in errors {
        warn(&format!("{name}: {line}"));
    }
    text(stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_squeue_are_parsed() {
        let pending = "7                   12          0           PENDING             lerp-x             ";
        let running =
            "7                   3           2           RUNNING             lerp-x       n1          ";
        let single = "9                   N/A         0           COMPLETING          other    n[1-2]";
        let read = |line| QueuedTask::parse(line).unwrap();
        let (job, state, name) = ("7".into(), "PENDING".into(), "lerp-x".into());
        let task = QueuedTask { job, task: Some(12), restarts: 0, state, name, node: None };
        assert_eq!(read(pending), task);
        assert!(task.is_pending() && !read(running).is_pending());
        assert_eq!((read(running).restarts, read(running).node.as_deref()), (2, Some("n1")));
        assert_eq!((read(single).task, read(single).node.as_deref()), (None, Some("n[1-2]")));
        assert_eq!(QueuedTask::parse("slurm_load_jobs error"), None);
    }

    #[test]
    fn a_job_is_running_only_in_the_restart_that_is_listed_and_not_pending() {
        let list =
            "7                   2           RUNNING             \n8                   0           PENDING\n";
        let is_running = |job, restart| lists_as_running(list, job, restart);
        assert!(is_running("7", 2) && !is_running("7", 1) && !is_running("8", 0) && !is_running("9", 0));
    }

    #[test]
    fn arrays_are_as_long_as_the_cluster_allows() {
        assert_eq!(array_limit("MaxArraySize            = 4001\nSchedulerParameters     = (null)\n"), 4001);
        let limited = "MaxArraySize = 1001\nSchedulerParameters = bf_interval=3,max_array_tasks=50,x\n";
        assert_eq!((array_limit(limited), array_limit("")), (50, DEFAULT_MAX_ARRAY_SIZE));
    }
}
