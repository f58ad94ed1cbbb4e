//! A sweep on a real Slurm whose nodes fail.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use common::{
    parts, run, runs,
    slurm::{Cluster, NODES, Process, Task, kill, until},
};
use lerp_train::{Holder, Metrics, Run, State};

/// Six cells that take some seconds, with checkpoints that come often.
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
    fn lerp(&self, line: &str) -> String {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_lerp"));
        command.args(["sweep", "--config"]).arg(&self.plan).arg("--out").arg(&self.out);
        let (code, text, errors) = parts(&command.args(line.split_whitespace()).output().unwrap());
        assert_eq!(code, 0, "{line}: {errors}{text}");
        text + &errors
    }

    fn watched(&self) -> String {
        let mut command = self.cluster.command(env!("CARGO_BIN_EXE_lerp"));
        let (_, text, _) = parts(&command.args(["watch", "--once"]).arg(&self.out).output().unwrap());
        text
    }

    /// The run that the task of this number in the array trains: chunks are single cells in the order of the plan.
    fn run_of(&self, task: &Task) -> PathBuf {
        let list = fs::read_to_string(self.out.join("sweep.toml")).unwrap();
        let record: toml::Table = list.parse().unwrap();
        let name = record["cells"][task.place.unwrap()].as_str().unwrap();
        self.out.join("runs").join(name)
    }

    fn log(&self, task: &Task) -> String {
        let name = format!("{}_{}.txt", task.array, task.place.unwrap());
        fs::read_to_string(self.out.join("cluster/logs").join(name)).unwrap_or_default()
    }

    /// The task as it is now in the queue.
    fn now(&self, task: &Task) -> Option<Task> {
        let is_it = |now: &Task| now.array == task.array && now.place == task.place;
        self.cluster.queue().into_iter().find(is_it)
    }

    /// The processes of a task that train.
    fn workers(&self, task: &Task) -> Vec<Process> {
        let all = self.cluster.processes_of(task);
        all.into_iter().filter(|process| process.line.contains(" worker ")).collect()
    }

    /// Holds a task's training where it is; what held it.
    fn hold(&self, task: &Task) -> Vec<Process> {
        let run = self.run_of(task);
        until("a checkpoint", || run.join("checkpoint.safetensors").exists());
        let workers = self.workers(task);
        assert_eq!(workers.len(), 1, "{task:?}");
        signal("-STOP", &workers);
        workers
    }

    /// Waits until the task has been started again and has the run.
    fn taken_over(&self, task: &Task) {
        let run = self.run_of(task);
        until("the task in its next start", || {
            Holder::of(&run).is_some_and(|holder| holder.restart > task.restarts)
                || Run::read(&run).is_ok_and(|run| run.status.state == State::Done)
        });
    }
}

/// What tasks said, where a test fails.
struct Logs(PathBuf);

impl Drop for Logs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                let said = fs::read_to_string(entry.path()).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "{}:\n{said}", entry.path().display());
            }
        }
    }
}

fn signal(name: &str, processes: &[Process]) {
    for process in processes {
        kill(name, process.id);
    }
}

fn let_go(held: &[Process]) {
    signal("-CONT", held);
}

/// The numbers of a run without its clock's, its model and its pictures.
type Results = (Vec<(u64, String, u64)>, Vec<u8>, Vec<u8>);

/// All of the runs that is not of a clock or a machine.
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
fn a_sweep_whose_tasks_are_disturbed_in_every_way_ends_as_on_one_machine() {
    let Some(mut cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    // A name that scripts have to quote.
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
        tasks.retain(|task| task.place.is_some() && task.state == "RUNNING");
        tasks.len() == 6
    });
    let held: Vec<Vec<Process>> = tasks.iter().map(|task| sweep.hold(task)).collect();
    let on = |node: &str| -> Vec<usize> {
        let here = |place: &usize| tasks[*place].node.as_deref() == Some(node);
        (0..tasks.len()).filter(here).collect()
    };
    // The same command submits nothing that is queued.
    let told = sweep.lerp("--on slurm");
    assert!(told.contains("Nothing to submit: 0 of 6"), "{told}");
    let watched = sweep.watched();
    assert!(watched.contains(" on n2") && watched.contains("6 running"), "{watched}");

    // The system would hang up on what is held when its watcher dies.
    let lose_watcher = |place: usize| {
        let_go(&held[place]);
        cluster.lose_watcher(&tasks[place]);
        signal("-STOP", &held[place]);
    };

    // The last task of an array has the array's own number, which must not stand for all of them.
    let limited = tasks.iter().position(|task| task.id == task.array).unwrap();
    let first = tasks[limited].node.clone().unwrap();
    let mut others = NODES.into_iter().filter(|node| *node != first);
    let (second, third) = (others.next().unwrap(), others.next().unwrap());
    let cancelled = on(&first).into_iter().find(|place| *place != limited).unwrap();
    cluster.tell("scontrol", &["update", &format!("JobId={}", tasks[limited].name()), "TimeLimit=1"]);
    cluster.tell("scancel", &[&tasks[cancelled].name()]);
    let_go(&held[cancelled]);
    let stopped = sweep.run_of(&tasks[cancelled]);
    until("the cancelled one's end", || Run::read(&stopped).unwrap().status.state == State::Interrupted);
    // On another node one is preempted, and the other loses what watches over it.
    let nodelist = format!("--nodelist={second}");
    cluster.tell("sbatch", &["--partition=high", &nodelist, "--output=/dev/null", "--wrap=true"]);
    let mut preempted = None;
    until("a preempted task", || {
        let restarted = |place: &usize| sweep.now(&tasks[*place]).is_some_and(|now| now.restarts == 1);
        preempted = on(second).into_iter().find(restarted);
        preempted.is_some()
    });
    let unwatched = on(second).into_iter().find(|place| Some(*place) != preempted).unwrap();
    lose_watcher(unwatched);
    // The third node is lost, with one task's watcher.
    let [lost, both] = on(third)[..] else { panic!("{tasks:?}") };
    lose_watcher(both);
    cluster.lose_node(third);
    let sweep = Sweep { cluster: &cluster, plan: plan.clone(), out: out.clone() };

    // It is told before its time is up, stops with a checkpoint, and goes back into the queue by itself and alone.
    until("the notice of the limit", || sweep.log(&tasks[limited]).contains("Stopping"));
    let_go(&held[limited]);
    until("the limited one's return", || sweep.now(&tasks[limited]).is_some_and(|now| now.restarts == 1));
    assert!(sweep.log(&tasks[limited]).contains("goes back into the queue"));
    assert!(sweep.now(&tasks[cancelled]).is_none_or(|now| now.restarts == 0), "{:?}", cluster.queue());
    let restarts = preempted.and_then(|place| sweep.now(&tasks[place])).map_or(1, |now| now.restarts);
    assert_eq!(restarts, 1, "{:?}", cluster.queue());
    cluster.tell("scontrol", &["update", &format!("JobId={}", tasks[limited].name()), "TimeLimit=60"]);
    until("the loss of the node", || {
        [lost, both].iter().all(|place| sweep.now(&tasks[*place]).is_none_or(|now| now.restarts == 1))
    });
    // The daemon of the node with the other one asks what runs there only now and then.
    cluster.tell("scontrol", &["reconfigure"]);
    // Orphans, which run on while their jobs are started again, lose their runs to these.
    until("the loss of the node", || {
        [lost, both].iter().all(|place| sweep.now(&tasks[*place]).is_none_or(|now| now.restarts == 1))
    });
    // The daemon of the node with the other one asks what runs there only now and then.
    cluster.tell("scontrol", &["reconfigure"]);
    for place in [unwatched, lost, both] {
        let task = &tasks[place];
        let orphans = sweep.workers(task);
        assert!(orphans.iter().any(|worker| held[place].iter().any(|held| held.id == worker.id)), "{task:?}");
        sweep.taken_over(task);
        let_go(&held[place]);
        until("the orphan's end", || {
            sweep.workers(task).iter().all(|worker| held[place].iter().all(|held| held.id != worker.id))
        });
        let log = fs::read_to_string(sweep.run_of(task).join("log.txt")).unwrap();
        assert!(log.contains("was taken over by"), "{log}");
    }
    cluster.node(third);
    let sweep = Sweep { cluster: &cluster, plan, out: out.clone() };
    // What was cancelled is submitted again, and nothing else.
    let told = sweep.lerp("--on slurm");
    assert!(told.contains("Submitted 1 cell as 1 task"), "{told}");
    until("the end of all jobs", || cluster.queue().is_empty());
    assert!(sweep.watched().contains("6 done"), "{}", sweep.watched());
    assert!(out.join("index.html").exists(), "the last job draws the report");

    let line = "sweep --jobs 2 --config";
    let (code, text, errors) = parts(&run(line, &[&dir.path().join("plan.toml"), Path::new("--out"), &one]));
    assert_eq!(code, 0, "{errors}{text}");
    let (ours, theirs) = (results(&out), results(&one));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert!(ours == theirs, "the same bytes");
    for run in runs(&out) {
        assert!(!run.join("lease").exists(), "{}", run.display());
    }

    // A script for GPUs, as far as a cluster without one can say; and cancelling.
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
fn a_dry_run_cuts_arrays_to_what_a_cluster_takes() {
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
    for (line, wanted) in [
        ("sweep --preset smoke --on slurm --slurm array=3 --out", "set by the sweep itself"),
        ("sweep --preset smoke --on slurm --device cuda --out", "no CUDA"),
        ("sweep --preset smoke --slurm time=3 --out", "--on <ENGINE>"),
    ] {
        let (code, _, errors) = parts(&run(line, &[&out]));
        assert!(code == 2 && errors.contains(wanted), "{line}: {errors}");
    }
}
