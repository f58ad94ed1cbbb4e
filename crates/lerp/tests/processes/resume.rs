//! Tests that runs which are killed and resumed, or use other numbers of threads, give the same results bit for bit.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use lerp_train::{Progress, Run, RunRecord, State};

use crate::common::{assert_same_runs, lerp, runs, squares};

/// A short training of one variant.
#[derive(Clone, Copy)]
struct Training<'a> {
    variant: &'a str,
    dataset: &'a str,
    samples: u64,
    threads: usize,
}

/// Trains without interruption and returns the folder of the run.
fn train(training: Training, out: &Path) -> PathBuf {
    let Training { variant, dataset, samples, threads } = training;
    let samples = samples.to_string();
    let output = lerp()
        .args("train --preset smoke --cluster-restarts 5 --samples".split(' '))
        .args([samples.as_str(), "--variant", variant, "--datasets", dataset, "--out"])
        .arg(out)
        .env("RAYON_NUM_THREADS", threads.to_string())
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

/// Kills and resumes a run of `variant` at several steps, and compares it with an uninterrupted run.
fn kill(variant: &str, dataset: &str, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let training = Training { variant, dataset, samples: 1024, threads: 2 };
    let whole = train(training, &dir.path().join("whole"));
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
    assert_same_runs(&whole, &broken);
}

/// The VQ-VAE updates buffers in every step.
#[test]
fn a_killed_run_with_buffers_ends_like_an_uninterrupted_one() {
    kill("vqvae", "lines", 7);
}

/// ACAI has two parameter groups and random draws.
#[test]
fn a_killed_run_with_two_parameter_groups_ends_like_an_uninterrupted_one() {
    kill("acai", "lines", 11);
}

/// An image set adds shuffled batches and the final evaluation.
#[test]
fn a_killed_run_on_images_ends_like_an_uninterrupted_one() {
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
        let [one, two, three] = [1, 2, 3].map(|threads| {
            let training = Training { variant, dataset, samples: 128, threads };
            train(training, &dir.path().join(format!("{variant}{threads}")))
        });
        assert_same_runs(&one, &two);
        assert_same_runs(&one, &three);
    }
}
