//! What Slurm's commands are asked, and what they answer. `sacct` is not among them: many clusters keep no accounts.

use std::{
    io::ErrorKind,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

use super::records::Job;
use crate::say::note;

/// The greatest number of an array's task is below this, unless the cluster says otherwise.
pub const MAX_ARRAY_SIZE: usize = 1001;

/// A task in Slurm's queue, or a job that is no array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The number of its job, that of the array if it is one.
    pub job: String,
    /// Its number in the array.
    pub task: Option<usize>,
    /// How often it was started again.
    pub restarts: u32,
    /// Slurm's word: `PENDING`, `RUNNING` and others.
    pub state: String,
    /// Its name.
    pub name: String,
    /// The node that it runs on.
    pub node: Option<String>,
}

impl Queued {
    /// Whether it waits for a node.
    pub fn is_pending(&self) -> bool {
        self.state == "PENDING"
    }

    /// The place of its chunk in the job's submission, if the task is this job's.
    pub fn chunk(&self, job: &Job) -> Option<usize> {
        (self.job == job.id).then_some(job.first + self.task?)
    }

    /// From a line of `squeue` with [`FORMAT`].
    fn read(line: &str) -> Option<Self> {
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

/// Fields of `squeue`, of which the last may be empty.
const FORMAT: &str = "--Format=ArrayJobID:20,ArrayTaskID:12,RestartCnt:12,State:20,Name:120,NodeList:200";

/// Everything of this user that is in the queue.
///
/// # Errors
/// If Slurm cannot be asked.
pub fn queue() -> Result<Vec<Queued>> {
    let mut command = Command::new("squeue");
    forget(&mut command, |name| name.starts_with("SQUEUE_"));
    let text = run(command.args(["--me", "--all", "--array", "--noheader", FORMAT]))?;
    Ok(text.lines().filter_map(Queued::read).collect())
}

/// The tasks that an array can have on this cluster.
///
/// # Errors
/// If Slurm cannot be asked.
pub fn max_array_size() -> Result<usize> {
    match array_limit(&run(Command::new("scontrol").args(["show", "config"]))?) {
        0 => bail!("this cluster has no arrays of jobs (its MaxArraySize or max_array_tasks is 0)"),
        size => Ok(size),
    }
}

/// The tasks that an array can have, from the configuration of a cluster.
fn array_limit(config: &str) -> usize {
    let value = |key: &str| {
        let line = config.lines().find_map(|line| line.trim().strip_prefix(key));
        line.map(|rest| rest.trim_start_matches([' ', '=']).trim())
    };
    let size = value("MaxArraySize").and_then(|size| size.parse().ok()).unwrap_or(MAX_ARRAY_SIZE);
    let parameters = value("SchedulerParameters").unwrap_or_default();
    let tasks = parameters.split(',').find_map(|parameter| parameter.strip_prefix("max_array_tasks="));
    tasks.and_then(|tasks| tasks.parse().ok()).map_or(size, |tasks: usize| size.min(tasks))
}

/// Submits a script that sets these options, of which none from the environment takes the place; the job's number.
///
/// # Errors
/// If Slurm refuses it, with its reason.
pub fn submit<'a>(script: &Path, options: impl Iterator<Item = &'a str>) -> Result<String> {
    let mut command = Command::new("sbatch");
    let set: Vec<String> = options.map(|key| key.replace('-', "_").to_uppercase()).collect();
    forget(&mut command, |name| {
        // What the job of this process, if it is one, was told of itself.
        let own = ["SLURM_RESTART_COUNT", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"].contains(&name)
            || name.starts_with("SLURM_ARRAY_");
        let option = name.strip_prefix("SBATCH_").map(|name| match name {
            "ARRAY_INX" => "ARRAY",
            "TIMELIMIT" => "TIME",
            name => name,
        });
        own || option.is_some_and(|option| set.iter().any(|set| set == option))
    });
    let text = run(command.arg("--parsable").arg(script))?;
    // JOB;CLUSTER, where there are several.
    let id = text.lines().last().and_then(|line| line.split(';').next()).unwrap_or_default().trim();
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
        bail!("sbatch did not say which job it made, but '{}'", text.trim());
    }
    Ok(id.to_owned())
}

/// Cancels jobs.
///
/// # Errors
/// If Slurm refuses that.
pub fn cancel(jobs: &[&str]) -> Result<()> {
    run(Command::new("scancel").args(jobs)).map(drop)
}

/// Queues a task again, which ends it.
///
/// # Errors
/// If Slurm refuses that.
pub fn requeue(job: &str) -> Result<()> {
    run(Command::new("scontrol").args(["requeue", job])).map(drop)
}

/// Takes variables out of the environment of a command.
fn forget(command: &mut Command, unwanted: impl Fn(&str) -> bool) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(&unwanted) {
            command.env_remove(name);
        }
    }
}

/// What a command prints.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = command.output().map_err(|problem| match problem.kind() {
        ErrorKind::NotFound => {
            anyhow::anyhow!("{name} is not here; submit on a machine that has Slurm's commands")
        }
        _ => anyhow::anyhow!("{name} cannot be started: {problem}"),
    })?;
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).with_context(|| format!("{name} does not answer in text"));
    let said = text(stderr).unwrap_or_default();
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if !status.success() {
        bail!("{name} refused: {}", said.join("; "));
    }
    for line in said {
        note(&format!("{name}: {line}"));
    }
    text(stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_squeue() {
        let pending = "7                   12          0           PENDING             lerp-x             ";
        let running =
            "7                   3           2           RUNNING             lerp-x       n1          ";
        let single = "9                   N/A         0           COMPLETING          other    n[1-2]";
        let read = |line| Queued::read(line).unwrap();
        let (job, state, name) = ("7".into(), "PENDING".into(), "lerp-x".into());
        let task = Queued { job, task: Some(12), restarts: 0, state, name, node: None };
        assert_eq!(read(pending), task);
        assert!(task.is_pending() && !read(running).is_pending());
        assert_eq!((read(running).restarts, read(running).node.as_deref()), (2, Some("n1")));
        assert_eq!((read(single).task, read(single).node.as_deref()), (None, Some("n[1-2]")));
        assert_eq!(Queued::read("slurm_load_jobs error"), None);
    }

    #[test]
    fn arrays_are_as_long_as_the_cluster_allows() {
        assert_eq!(array_limit("MaxArraySize            = 4001\nSchedulerParameters     = (null)\n"), 4001);
        let limited = "MaxArraySize = 1001\nSchedulerParameters = bf_interval=3,max_array_tasks=50,x\n";
        assert_eq!((array_limit(limited), array_limit("")), (50, MAX_ARRAY_SIZE));
    }
}
