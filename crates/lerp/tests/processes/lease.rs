//! Two processes try to write in the folder of the same run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lerp_train::{Holder, Run, State};

use crate::common::{lerp, measurements, parts, runs, succeed};

const TRAIN: &str = "train --preset smoke --variant vae --samples 8192 --out";

/// Waits until `done` returns `true`, for at most a minute.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} takes too long");
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(name: &str, process: &Child) {
    let status = Command::new("kill").args([name, &process.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Returns the command [`TRAIN`] with the output folder `out`, in the environment of a Slurm job after some restarts.
fn job(out: &Path, job: &str, restart: &str) -> Command {
    let mut command = lerp();
    command.args(TRAIN.split(' ')).arg(out).stderr(Stdio::piped()).stdout(Stdio::piped());
    command.env("SLURM_JOB_ID", job).env("SLURM_RESTART_COUNT", restart).env("SLURMD_NODENAME", "node-7");
    command
}

#[test]
fn a_restarted_job_takes_the_run_over_from_its_orphan() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, out) = (dir.path().join("whole"), dir.path().join("out"));
    let orphan = job(&out, "7", "0").spawn().unwrap();
    wait("a checkpoint", || {
        out.join("runs").exists()
            && runs(&out).first().is_some_and(|run| run.join("checkpoint.safetensors").exists())
    });
    // The paused process stands for one on a lost node: it does not know that its job was restarted.
    signal("-STOP", &orphan);
    let run_dir = runs(&out)[0].clone();
    let before = Run::read(&run_dir).unwrap().status;
    assert_eq!(before.state, State::Running);
    assert_eq!(Holder::of(&run_dir).unwrap().host, "node-7");
    // Another job does not get the run, because the first one holds the lock.
    let (code, _, errors) = parts(&job(&out, "8", "3").output().unwrap());
    assert!(code == 2 && errors.contains("is being trained by job 7 on node-7"), "{errors}");
    // A restart of the same job takes the run over without waiting.
    let restarted = job(&out, "7", "1").spawn().unwrap();
    wait("the lease", || Holder::of(&run_dir).is_some_and(|holder| holder.restart == 1));
    signal("-CONT", &orphan);
    let (code, text, errors) = parts(&orphan.wait_with_output().unwrap());
    assert!(code == 1 && format!("{text}{errors}").contains("was taken over by"), "{errors}{text}");
    let (code, text, errors) = parts(&restarted.wait_with_output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
    // The results are the same as those of an undisturbed run.
    succeed(TRAIN, &[&whole]);
    let whole = &runs(&whole)[0];
    assert_eq!(measurements(&run_dir), measurements(whole));
    let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert_eq!(model(&run_dir), model(whole));
    assert!(!run_dir.join("lease").exists() && !run_dir.join("progress.json").exists());
}

/// Compiles a library that is loaded before the system's and answers as a file system without locks does. If there is
/// no C compiler, the test is skipped and the result is `None`.
fn without_locks(dir: &Path) -> Option<PathBuf> {
    let (source, library) = (dir.join("none.c"), dir.join("none.so"));
    fs::write(&source, "#include <errno.h>\nint flock(int f, int o) { errno = ENOSYS; return -1; }\n")
        .unwrap();
    match Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status() {
        Ok(status) => assert!(status.success(), "cc: {status}"),
        Err(error) => {
            lerp_test::skip("cc", &format!("the C compiler `cc` does not run: {error}"));
            return None;
        }
    }
    Some(library)
}

#[test]
fn without_locks_a_lease_keeps_a_second_process_out() {
    let dir = tempfile::tempdir().unwrap();
    let Some(library) = without_locks(dir.path()) else { return };
    let out = dir.path().join("out");
    let command = |samples: &str| {
        let mut command = lerp();
        let line = format!("sweep --preset smoke --variants vae --samples {samples} --jobs 1 --out");
        command.args(line.split(' ')).arg(&out).env("LD_PRELOAD", &library);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut first = command("400000").spawn().unwrap();
    wait("the run", || out.join("runs").exists() && runs(&out).iter().any(|run| run.join("lease").exists()));
    let (code, text, errors) = parts(&command("400000").output().unwrap());
    assert!(code == 1 && text.contains("is being trained by a process on"), "{errors}{text}");
    let log = fs::read_to_string(runs(&out)[0].join("log.txt")).unwrap();
    assert!(log.contains("a file system without locks; a lease keeps other processes out"), "{log}");
    first.kill().unwrap();
    first.wait().unwrap();
    // The worker process of the killed sweep stops by itself and removes its lease.
    wait("the worker's end", || !runs(&out)[0].join("lease").exists());
    let (code, text, errors) = parts(&command("1024").output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
}
