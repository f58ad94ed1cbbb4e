//! Runs a sweep on a real Slurm cluster whose nodes fail.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use common::{
    parts, run, runs,
    slurm::{Cluster, NODES, Process, Task, kill, until},
};
use lerp_train::{Holder, Metrics, Run, State};

/// A plan of six cells that take some seconds each and write checkpoints often.
const PLAN: &str = r#"
datasets = ["lines"]
variants = ["baseline", "vae", "aae"]
seeds = [0, 1]
samples = 12288
eval_every = 4096
checkpoint_every = 1024
test_samples = 64
judge = 0
learning_rate = 1e-3
[network]
depth = 4
latent = 4
"#;

/// A sweep of the plan on the cluster.
struct Sweep<'a> {
    cluster: &'a Cluster,
    plan: PathBuf,
    out: PathBuf,
}

impl Sweep<'_> {
    /// Runs `lerp sweep` with these further arguments. Returns its output and its messages.
    fn lerp(&self, line: &str) -> String {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_lerp"));
        command.args(["sweep", "--config"]).arg(&self.plan).arg("--out").arg(&self.out);
        let (code, text, errors) = parts(&command.args(line.split_whitespace()).output().unwrap());
        assert_eq!(code, 0, "{line}: {errors}{text}");
        text + &errors
    }

    /// Returns what `lerp watch` shows.
    fn watched(&self) -> String {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_lerp"));
        let (_, text, _) = parts(&command.args(["watch", "--once"]).arg(&self.out).output().unwrap());
        text
    }

    /// Returns the folder of the run that a task trains. Each chunk is a single cell, and chunks are in the order of
    /// the plan.
    fn run_of(&self, task: &Task) -> PathBuf {
        let list = fs::read_to_string(self.out.join("sweep.toml")).unwrap();
        let record: toml::Table = list.parse().unwrap();
        let name = record["cells"][task.index.unwrap()].as_str().unwrap();
        self.out.join("runs").join(name)
    }

    /// Returns the output of a task.
    fn log(&self, task: &Task) -> String {
        let name = format!("{}_{}.txt", task.array, task.index.unwrap());
        fs::read_to_string(self.out.join("cluster/logs").join(name)).unwrap_or_default()
    }

    /// Returns the task as it is in the queue now.
    fn now(&self, task: &Task) -> Option<Task> {
        let is_it = |now: &Task| now.array == task.array && now.index == task.index;
        self.cluster.queue().into_iter().find(is_it)
    }

    /// Returns the worker processes of a task.
    fn workers(&self, task: &Task) -> Vec<Process> {
        let all = self.cluster.processes_of(task);
        all.into_iter().filter(|process| process.line.contains(" worker ")).collect()
    }

    /// Waits for a task's first checkpoint and then pauses its training. Returns the paused processes.
    fn pause(&self, task: &Task) -> Vec<Process> {
        let run = self.run_of(task);
        until("a checkpoint", || run.join("checkpoint.safetensors").exists());
        let workers = self.workers(task);
        assert_eq!(workers.len(), 1, "{task:?}");
        signal("-STOP", &workers);
        workers
    }

    /// Waits until a later start of the task has the lease of the run, or has completed the run.
    fn wait_for_takeover(&self, task: &Task) {
        let run = self.run_of(task);
        until("the restart of the task", || {
            Holder::of(&run).is_some_and(|holder| holder.restart > task.restarts)
                || Run::read(&run).is_ok_and(|run| run.status.state == State::Done)
        });
    }
}

/// Prints the output of all tasks if the test fails.
struct Logs(PathBuf);

impl Drop for Logs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "{}:\n{text}", entry.path().display());
            }
        }
    }
}

fn signal(name: &str, processes: &[Process]) {
    for process in processes {
        kill(name, process.id);
    }
}

fn resume(paused: &[Process]) {
    signal("-CONT", paused);
}

/// The metrics of a run, its model and its interpolations.
type Results = (Vec<(u64, String, u64)>, Vec<u8>, Vec<u8>);

/// Returns the results of every run by its name. They depend neither on time nor on the machine.
fn results(sweep: &Path) -> BTreeMap<String, Results> {
    let result = |run: &PathBuf| {
        let Metrics(rows) = Run::read(run).unwrap().metrics().unwrap();
        let numbers = rows.into_iter().map(|row| (row.step, row.metric, row.value.to_bits())).collect();
        let file = |name: &str| fs::read(run.join(name)).unwrap();
        let name = run.file_name().unwrap().to_string_lossy().into_owned();
        (name, (numbers, file("model.safetensors"), file("interpolation.safetensors")))
    };
    runs(sweep).iter().map(result).collect()
}

#[test]
fn a_sweep_whose_tasks_are_disturbed_has_the_same_results_as_on_one_machine() {
    let Some(mut cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    // The folder of the sweep has a name that scripts must quote.
    let (plan, out, one) =
        (dir.path().join("plan.toml"), dir.path().join("the sweep's"), dir.path().join("one"));
    fs::write(&plan, PLAN).unwrap();
    let sweep = Sweep { cluster: &cluster, plan: plan.clone(), out: out.clone() };
    let _logs = Logs(out.join("cluster/logs"));
    let told = sweep.lerp("--on slurm");
    assert!(told.contains("Submitted 6 cells as 6 tasks"), "{told}");
    let mut tasks = Vec::new();
    until("six running tasks", || {
        tasks = cluster.queue();
        tasks.retain(|task| task.index.is_some() && task.state == "RUNNING");
        tasks.len() == 6
    });
    let paused: Vec<Vec<Process>> = tasks.iter().map(|task| sweep.pause(task)).collect();
    let tasks_on = |node: &str| -> Vec<usize> {
        let is_here = |index: &usize| tasks[*index].node.as_deref() == Some(node);
        (0..tasks.len()).filter(is_here).collect()
    };
    // The same command submits no cell that is already queued.
    let told = sweep.lerp("--on slurm");
    assert!(told.contains("Nothing to submit: 0 of 6"), "{told}");
    let watched = sweep.watched();
    assert!(watched.contains(" on n2") && watched.contains("6 running"), "{watched}");

    // The processes must not be paused when their watcher dies, because the system would send them a hangup signal.
    let kill_watcher = |index: usize| {
        resume(&paused[index]);
        cluster.kill_watcher(&tasks[index]);
        signal("-STOP", &paused[index]);
    };

    // The last task of an array has the array's own number as its job number. A command for this task must not affect
    // the whole array.
    let limited = tasks.iter().position(|task| task.id == task.array).unwrap();
    let first = tasks[limited].node.clone().unwrap();
    let mut others = NODES.into_iter().filter(|node| *node != first);
    let (second, third) = (others.next().unwrap(), others.next().unwrap());
    let cancelled = tasks_on(&first).into_iter().find(|index| *index != limited).unwrap();
    cluster.run("scontrol", &["update", &format!("JobId={}", tasks[limited].name()), "TimeLimit=1"]);
    cluster.run("scancel", &[&tasks[cancelled].name()]);
    resume(&paused[cancelled]);
    let stopped = sweep.run_of(&tasks[cancelled]);
    until("the end of the cancelled task", || {
        Run::read(&stopped).unwrap().status.state == State::Interrupted
    });
    // On the second node, one task is preempted, and the other one loses the process that watches over it.
    let nodelist = format!("--nodelist={second}");
    cluster.run("sbatch", &["--partition=high", &nodelist, "--output=/dev/null", "--wrap=true"]);
    let mut preempted = None;
    until("a preempted task", || {
        let restarted = |index: &usize| sweep.now(&tasks[*index]).is_some_and(|now| now.restarts == 1);
        preempted = tasks_on(second).into_iter().find(restarted);
        preempted.is_some()
    });
    let unwatched = tasks_on(second).into_iter().find(|index| Some(*index) != preempted).unwrap();
    kill_watcher(unwatched);
    // The third node is lost, and one of its two tasks also loses its watcher.
    let [lost, both] = tasks_on(third)[..] else { panic!("{tasks:?}") };
    kill_watcher(both);
    cluster.kill_node(third);
    let sweep = Sweep { cluster: &cluster, plan: plan.clone(), out: out.clone() };

    // The task with the short limit is warned before its time is up, stops with a checkpoint, and goes back into the
    // queue. It does so by itself, and without affecting other tasks.
    until("the notice of the limit", || sweep.log(&tasks[limited]).contains("Stopping"));
    resume(&paused[limited]);
    until("the return of the task with the short limit", || {
        sweep.now(&tasks[limited]).is_some_and(|now| now.restarts == 1)
    });
    assert!(sweep.log(&tasks[limited]).contains("goes back into the queue"));
    assert!(sweep.now(&tasks[cancelled]).is_none_or(|now| now.restarts == 0), "{:?}", cluster.queue());
    let restarts = preempted.and_then(|index| sweep.now(&tasks[index])).map_or(1, |now| now.restarts);
    assert_eq!(restarts, 1, "{:?}", cluster.queue());
    cluster.run("scontrol", &["update", &format!("JobId={}", tasks[limited].name()), "TimeLimit=60"]);
    until("the loss of the node", || {
        [lost, both].iter().all(|index| sweep.now(&tasks[*index]).is_none_or(|now| now.restarts == 1))
    });
    // The daemon of the second node checks only now and then which processes run there. This makes it check now.
    cluster.run("scontrol", &["reconfigure"]);
    // The workers of these three tasks keep running while Slurm restarts their tasks. They lose their runs to the new
    // starts.
    for index in [unwatched, lost, both] {
        let task = &tasks[index];
        let is_orphan = |worker: &Process| paused[index].iter().any(|orphan| orphan.id == worker.id);
        assert!(sweep.workers(task).iter().any(is_orphan), "{task:?}");
        sweep.wait_for_takeover(task);
        resume(&paused[index]);
        until("the orphan's end", || !sweep.workers(task).iter().any(is_orphan));
        let log = fs::read_to_string(sweep.run_of(task).join("log.txt")).unwrap();
        assert!(log.contains("was taken over by"), "{log}");
    }
    cluster.start_node(third);
    let sweep = Sweep { cluster: &cluster, plan, out: out.clone() };
    // The cancelled cell is submitted again, and no other cell.
    let told = sweep.lerp("--on slurm");
    assert!(told.contains("Submitted 1 cell as 1 task"), "{told}");
    until("the end of all jobs", || cluster.queue().is_empty());
    assert!(sweep.watched().contains("6 done"), "{}", sweep.watched());
    assert!(out.join("index.html").exists(), "the last job draws the report");

    let line = "sweep --jobs 2 --config";
    let (code, text, errors) = parts(&run(line, &[&dir.path().join("plan.toml"), Path::new("--out"), &one]));
    assert_eq!(code, 0, "{errors}{text}");
    let (on_cluster, on_one_machine) = (results(&out), results(&one));
    assert_eq!(on_cluster.keys().collect::<Vec<_>>(), on_one_machine.keys().collect::<Vec<_>>());
    assert!(on_cluster == on_one_machine, "the same bytes");
    for run in runs(&out) {
        assert!(!run.join("lease").exists(), "{}", run.display());
    }

    // A script for GPUs, as far as a cluster without real GPUs can check it. Then the jobs are cancelled.
    let line = "--seeds 2..5 --on slurm --at-most 1 --chunk 2 --slurm partition=gpu,gres=gpu:1,time=1:00:00 --device cpu";
    let told = sweep.lerp(line);
    assert!(told.contains("Submitted 9 cells as 5 tasks"), "{told}");
    let script = out.join("cluster/3-cells.sh");
    let checked = cluster.command("sbatch").arg("--test-only").arg(&script).output().unwrap();
    assert!(String::from_utf8_lossy(&checked.stderr).contains("to start at"), "{checked:?}");
    assert!(sweep.lerp(&format!("{line} --cancel")).contains("Cancelled jobs"));
    until("the cancelled jobs' end", || cluster.queue().is_empty());
    let mut command = cluster.command(env!("CARGO_BIN_EXE_lerp"));
    command.args(["sweep", "--preset", "smoke", "--on", "slurm", "--slurm", "partition=nowhere", "--out"]);
    let (code, _, errors) = parts(&command.arg(dir.path().join("refused")).output().unwrap());
    assert!(code == 2 && errors.contains("invalid partition"), "{errors}");
}

#[test]
fn a_dry_run_splits_tasks_into_arrays_of_the_allowed_size() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = "sweep --preset smoke --seeds 0..215 --on slurm --dry-run --at-most 64 --out";
    let (code, text, errors) = parts(&run(line, &[&out]));
    assert_eq!(code, 0, "{errors}");
    for wanted in [
        "array 1: 1001 tasks, 64 at a time at most",
        "array 2: 504 tasks, 64 at a time at most, after the one before",
        "in task 1000 of array 1",
        "in task 503 of array 2",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("task 1001 of") && !out.exists());
    // A submission that cannot ask Slurm leaves a folder that a sweep still takes.
    for _ in 0..2 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lerp"));
        command.args(["sweep", "--preset", "smoke", "--on", "slurm", "--out"]).arg(&out).env("PATH", "");
        let (code, _, errors) = parts(&command.output().unwrap());
        assert!(code == 2 && errors.contains("squeue"), "{errors}");
    }
    for (line, wanted) in [
        ("sweep --preset smoke --on slurm --slurm array=3 --out", "set by the sweep itself"),
        ("sweep --preset smoke --on slurm --device cuda --out", "no CUDA"),
        ("sweep --preset smoke --slurm time=3 --out", "--on <ENGINE>"),
    ] {
        let (code, _, errors) = parts(&run(line, &[&out]));
        assert!(code == 2 && errors.contains(wanted), "{line}: {errors}");
    }
}
