//! Tests of the files that an evaluation writes into a run's folder, and of `lerp eval`, which writes them again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lerp_train::{POSITIONS, Run, RunLock};

use crate::common::{lerp, parts, run, runs, squares};

/// Trains `variant` briefly and returns the folder of the run.
fn train(variant: &str, dataset: &str, out: &Path) -> PathBuf {
    let line = "train --preset smoke --samples 128 --cluster-restarts 2 --variant";
    let more = [variant, "--datasets", dataset, "--out"];
    let (code, text, errors) = parts(&lerp().args(line.split(' ')).args(more).arg(out).output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
    runs(out).remove(0)
}

#[test]
fn a_run_on_lines_stores_its_interpolations_and_paths() {
    let dir = tempfile::tempdir().unwrap();
    let found = Run::read(&train("acai", "lines", &dir.path().join("acai"))).unwrap();
    let strips = found.strips().unwrap().unwrap();
    assert_eq!(strips.images.dims(), [6, POSITIONS, 32, 32, 1]);
    assert!(strips.ends.is_none());
    assert_eq!(strips.angles.unwrap().len(), 6);
    let values = |tensor: candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(found.interpolation().unwrap().unwrap()), values(strips.images.get(0).unwrap()));

    let paths = found.paths().unwrap().unwrap();
    let (distance, angle, critic) = (paths.distance.unwrap(), paths.angle.unwrap(), paths.critic.unwrap());
    assert!([&paths.norm, &distance, &angle].iter().all(|profile| profile.len() == 256));
    assert_eq!(critic.len(), 64);
    assert!(angle.as_flattened().iter().all(|angle| (0.0..std::f32::consts::TAU).contains(angle)));
    assert!(paths.norm.as_flattened().iter().all(|norm| *norm > 0.0));
    // The metrics of the last evaluation were computed from the stored paths.
    let metrics = found.metrics().unwrap();
    let last = |name: &str| metrics.series(name).last().unwrap().value;
    let mean = |values: &mut dyn Iterator<Item = f32>| {
        let values: Vec<f64> = values.map(f64::from).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let distances = mean(&mut distance.as_flattened().iter().copied());
    assert!((distances - last("eval/mean_distance")).abs() < 1e-6);
    let third = mean(&mut critic.iter().flat_map(|row| [row[3], row[12]]));
    assert!((third - last("eval/critic_alpha_3")).abs() < 1e-9);
    assert!(last("eval/critic_error") > 0.0 && found.samples().unwrap().is_none());
}

#[test]
fn a_finished_run_gets_its_files_again_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    squares(&images, 200);
    let name = format!("idx:{}", images.display());
    // The smoke plan evaluates the VAE with averaged weights.
    for (variant, dataset) in [("aae", "lines"), ("vae", name.as_str())] {
        let folder = train(variant, dataset, &dir.path().join(variant));
        let files =
            ["interpolation.safetensors", "interpolation.png", "paths.safetensors", "samples.safetensors"];
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let before = files.map(read);
        let (metrics, status) = (read("metrics.parquet"), read("status.json"));
        for name in files {
            fs::remove_file(folder.join(name)).unwrap();
        }
        // The error about a missing file says how to write it again.
        let old = Run::read(&folder).unwrap();
        let lost = [old.strips().err(), old.paths().err(), old.samples().err()];
        assert!(lost.iter().all(|e| e.as_ref().unwrap().to_string().contains("makes it again")), "{lost:?}");
        assert!(old.progress().is_none());

        let (code, text, _) = parts(&run("eval", &[&folder]));
        assert!(code == 0 && text.contains("eval/reconstruction_mse"), "{text}");
        assert!(old.paths().is_err(), "written without being asked to");

        let (code, text, errors) = parts(&run("eval --json --write --judge 0", &[&folder]));
        assert_eq!((code, errors.lines().count()), (0, 1), "{errors}");
        assert!(errors.contains(&files.join(", ")), "{errors}");
        serde_json::from_str::<serde_json::Map<_, _>>(&text).unwrap();
        assert!(before == files.map(read), "{variant}: other files");
        assert!(metrics == read("metrics.parquet") && status == read("status.json"));

        let lock = RunLock::take(&folder).unwrap();
        let (code, _, errors) = parts(&run("eval --write", &[&folder]));
        assert!(code == 2 && errors.contains("is being trained by a process on"), "{errors}");
        drop(lock);
    }

    let folder = &runs(&dir.path().join("vae"))[0];
    for restarts in ["0", "99999999999"] {
        let (code, _, errors) = parts(&run(&format!("eval --cluster-restarts {restarts}"), &[folder]));
        assert!(code == 2 && errors.contains("at most 100000"), "{errors}");
    }

    // Writing files computed from other images is refused, because they would be taken for the run's own.
    squares(&images, 100);
    let (code, _, errors) = parts(&run("eval --write", &[folder]));
    assert!(code == 2 && errors.contains("not those that"), "{errors}");
    assert_eq!(parts(&run("eval", &[folder])).0, 0);
}
