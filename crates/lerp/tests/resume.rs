//! Tests that runs which are killed and resumed, or use other numbers of threads, give the same results bit for bit.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use common::{lerp, runs, squares};
use lerp_train::{Metrics, Progress, Run, RunRecord, State};

/// Trains `variant` without interruption and returns the folder of the run.
fn train(variant: &str, dataset: &str, out: &Path, threads: &str) -> PathBuf {
    let line =
        ["train", "--preset", "smoke", "--samples", "1024", "--cluster-restarts", "5", "--variant", variant];
    let output = lerp()
        .args(line)
        .args(["--datasets", dataset, "--out"])
        .arg(out)
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    runs(out).remove(0)
}

/// Starts a worker process on the run `record` in `folder` and kills it `delay` after its evaluation at `samples`.
/// Returns `false` if the run was complete before.
fn killed(record: &RunRecord, folder: &Path, samples: u64, delay: Duration) -> bool {
    let mut child = lerp()
        .arg("worker")
        .arg(folder)
        .args(["--device", "cpu"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", serde_json::json!({ "index": 0, "record": record })).unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        match serde_json::from_str(&line.unwrap()) {
            Ok(Progress::Evaluated { samples: at, .. }) if at >= samples => {
                thread::sleep(delay);
                child.kill().unwrap();
                break;
            }
            Ok(Progress::Done) => break,
            Ok(Progress::Failed { reason }) => panic!("{reason}"),
            _ => {}
        }
    }
    drop(stdin);
    child.wait().unwrap();
    Run::read(&folder.join(&record.id)).unwrap().status.state != State::Done
}

/// The files that a run must reproduce beside its metrics. Only some variants write samples.
const FILES: [&str; 5] = [
    "model.safetensors",
    "interpolation.safetensors",
    "interpolation.png",
    "paths.safetensors",
    "samples.safetensors",
];

/// Returns the metrics of a run without times.
fn metrics(dir: &Path) -> Metrics {
    let mut metrics = Metrics::read(&dir.join("metrics.parquet")).unwrap();
    metrics.0.iter_mut().for_each(|row| row.wall_s = 0.0);
    // NaN is replaced, because it does not equal itself.
    metrics.0.iter_mut().filter(|row| row.value.is_nan()).for_each(|row| row.value = f64::MAX);
    metrics
}

fn assert_same(left: &Path, right: &Path) {
    for name in FILES {
        let read = |dir: &Path| fs::read(dir.join(name)).ok();
        assert!(read(left) == read(right), "{name} differs");
        assert!(name.starts_with("samples") || read(left).is_some(), "{name} is missing");
    }
    assert_eq!(metrics(left), metrics(right));
    assert!(!left.join("progress.json").exists() && !right.join("progress.json").exists());
}

/// Kills and resumes a run of `variant` at several steps, and compares it with an uninterrupted run.
fn kill(variant: &str, dataset: &str, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let whole = train(variant, dataset, &dir.path().join("whole"), "2");
    let record = Run::read(&whole).unwrap().record;
    let folder = dir.path().join("broken");
    let broken = folder.join(&record.id);
    let mut kills = 0;
    for (i, samples) in [256, 256, 512, 768, 768].into_iter().enumerate() {
        // The delay hits moments between the writing of the checkpoint and a few steps later.
        let delay = Duration::from_millis((seed * (i as u64 + 3) * 7919) % 120);
        if killed(&record, &folder, samples, delay) {
            kills += 1;
            // The progress file of a killed worker stays until the next one deletes it.
            assert!(Run::read(&broken).unwrap().progress().is_some());
        }
    }
    assert!(kills >= 3, "{variant}: only {kills} kills hit a running worker");
    while killed(&record, &folder, u64::MAX, Duration::ZERO) {}
    assert_same(&whole, &broken);
}

#[test]
fn a_run_killed_at_several_steps_ends_like_an_uninterrupted_one() {
    // The VQ-VAE updates buffers in every step; ACAI has two parameter groups and random draws.
    kill("vqvae", "lines", 7);
    kill("acai", "lines", 11);
    // An image set adds shuffled batches and the final evaluation.
    let dir = tempfile::tempdir().unwrap();
    squares(dir.path(), 400);
    kill("vae", &format!("idx:{}", dir.path().display()), 5);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    // Convolutions sum in a fixed number of parts, and matrix products of dense layers (VQ-VAE, AAE) distribute outputs
    // over threads but never split a sum.
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    squares(&images, 400);
    let images = format!("idx:{}", images.display());
    for (variant, dataset) in [("aae", "lines"), ("vqvae", "lines"), ("acai", "lines"), ("baseline", &images)]
    {
        let one = train(variant, dataset, &dir.path().join(format!("{variant}1")), "1");
        for threads in ["2", "3"] {
            let more = train(variant, dataset, &dir.path().join(format!("{variant}{threads}")), threads);
            assert_same(&one, &more);
        }
    }
}
