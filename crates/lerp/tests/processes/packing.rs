//! Tests that several runs in one worker process, as on a GPU, give the same results as one worker process per run. The
//! option `--pack` packs runs on a CPU too.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use lerp_train::{Run, State};

use crate::common::{assert_same_runs, lerp, parts, run, runs, squares};

/// Returns the command of a sweep that trains three runs at a time in one worker process.
fn three(seeds: &str, out: &Path) -> Command {
    let mut command = lerp();
    let line =
        "sweep --preset smoke --samples 3072 --variants dropout,denoising,acai --pack --jobs 3 --seeds";
    command.args(line.split_whitespace()).args([seeds, "--out"]).arg(out);
    command
}

/// Starts the command and waits until three of its runs are training. Returns the process and the rest of its output.
fn training(mut command: Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut train = BTreeSet::new();
    while train.len() < 3 {
        let line = lines.next().unwrap().unwrap();
        train.extend(
            line.split_once("] train ").map(|(_, run)| run.split_whitespace().next().map(str::to_owned)),
        );
    }
    (child, lines)
}

fn states(out: &Path) -> Vec<State> {
    runs(out).iter().map(|dir| Run::read(dir).unwrap().status.state).collect()
}

#[test]
fn packed_runs_have_the_same_numbers_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    // The runs of a worker process share the dataset, so a labelled image set is tested as well.
    let images = dir.path().join("images");
    squares(&images, 300);
    let line = format!(
        "sweep --preset smoke --samples 128 --cluster-restarts 3 --variants vqvae,acai --datasets \
         lines,idx:{}",
        images.display()
    );
    let (alone, packed) = (dir.path().join("alone"), dir.path().join("packed"));
    let (code, text, errors) = parts(&run(&format!("{line} --out"), &[&alone]));
    assert_eq!(code, 0, "{text} {errors}");
    assert!(!alone.join("host-cpu.log").exists());
    let (code, text, errors) = parts(&run(&format!("{line} --pack --jobs 3 --out"), &[&packed]));
    assert_eq!(code, 0, "{text} {errors}");
    assert!(text.contains("4 of 4 runs to train on cpu, 3 at a time, "), "{text}");
    assert_eq!(fs::read_to_string(packed.join("host-cpu.log")).unwrap(), "");
    let (alone, packed) = (runs(&alone), runs(&packed));
    assert_eq!(alone.len(), packed.len());
    for (alone, packed) in alone.iter().zip(&packed) {
        assert_eq!(alone.file_name(), packed.file_name());
        assert_same_runs(alone, packed);
    }
}

#[test]
fn a_run_that_fails_leaves_those_beside_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.toml");
    let text = "datasets = [\"lines\"]\nvariants = [\"baseline\", \"dropout\", \"vae\"]\nseeds = \"0..2\"\njudge = 0\n\
                samples = 256\neval_every = 128\ntest_samples = 64\n[network]\ndepth = 4\nlatent = 4\n\
                [variant.baseline]\nlearning_rate = 1e30\n";
    fs::write(&plan, text).unwrap();
    let out = dir.path().join("out");
    let (code, text, _) = parts(&run("sweep --pack --jobs 3 --config", &[&plan, "--out".as_ref(), &out]));
    assert_eq!(code, 1, "{text}");
    assert_eq!(states(&out), [[State::Failed; 2], [State::Done; 2], [State::Done; 2]].concat());
    assert!(text.contains("FAILED lines-baseline-s1") && text.contains("lower the learning rate"), "{text}");
    let log = |run: &Path| fs::read_to_string(run.join("log.txt")).unwrap();
    let logs: Vec<String> = runs(&out).iter().map(|run| log(run)).collect();
    assert!(logs[..2].iter().all(|log| log.starts_with("error: loss/autoencoder became")), "{logs:?}");
    assert!(logs[2..].iter().all(String::is_empty), "{logs:?}");
}

#[test]
fn auto_measures_how_many_runs_are_worthwhile() {
    let dir = tempfile::tempdir().unwrap();
    let line = "sweep --preset smoke --samples 64 --variants baseline,dropout,vae --pack --jobs auto --out";
    let (code, text, errors) = parts(&run(line, &[dir.path()]));
    assert_eq!(code, 0, "{text} {errors}");
    let packing = text.lines().next().unwrap();
    let told = packing.starts_with("Packing on cpu: 1 run ") && packing.contains(" steps/s, 2 runs ");
    assert!(told && packing.ends_with(" at a time"), "{text}");
    assert_eq!(states(dir.path()), [State::Done; 3]);
}

#[cfg(unix)]
#[test]
fn interrupt_writes_a_checkpoint_of_every_run_and_the_next_sweep_goes_on_from_these() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, lines) = training(three("0", dir.path()));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("to resume.")), "{rest:?}");
    assert_eq!(states(dir.path()), [State::Interrupted; 3], "{rest:?}");
    let stopped: Vec<Run> = runs(dir.path()).iter().map(|dir| Run::read(dir).unwrap()).collect();
    assert!(stopped.iter().all(|run| run.dir.join("checkpoint.safetensors").exists()));

    let (code, text, errors) = parts(&three("0", dir.path()).output().unwrap());
    assert_eq!(code, 0, "{text} {errors}");
    for run in stopped {
        let line = format!("resume    {} at {} samples", run.record.id, run.status.samples);
        assert!(run.status.samples > 0 && text.contains(&line), "{text}");
    }
    assert_eq!(states(dir.path()), [State::Done; 3]);
}

/// Returns the identifiers of the child processes of `parent`.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<String> {
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let of_parent = |process: &String| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent.to_string()))
    };
    processes.filter(of_parent).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_is_killed_loses_its_runs_and_another_takes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, lines) = training(three("0..2", dir.path()));
    let workers = children(child.id());
    assert_eq!(workers.len(), 1, "one worker has all runs");
    assert!(Command::new("kill").args(["-KILL", &workers[0]]).status().unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    let died = |line: &&String| line.starts_with("FAILED") && line.contains("the worker died (signal: 9");
    assert_eq!(rest.iter().filter(died).count(), 3, "{rest:?}");
    let done = states(dir.path()).into_iter().filter(|state| *state == State::Done).count();
    assert_eq!(done, 3, "a new worker trains the rest: {rest:?}");
    let logs: Vec<String> =
        runs(dir.path()).iter().map(|run| fs::read_to_string(run.join("log.txt")).unwrap()).collect();
    assert_eq!(logs.iter().filter(|log| log.contains("host-cpu.log")).count(), 3, "{logs:?}");

    let (code, text, errors) = parts(&three("0..2", dir.path()).output().unwrap());
    assert_eq!(code, 0, "{text} {errors}");
    assert!(text.contains("3 of 6 runs to train"), "{text}");
    assert_eq!(states(dir.path()), [State::Done; 6]);
}
