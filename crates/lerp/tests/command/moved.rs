//! Tests of image sets whose folder has moved: runs are identified by their images, not by the folder.

use std::{collections::BTreeSet, fs, path::Path};

use lerp_train::{Run, State};

use crate::common::{lerp, parts, run, runs, squares, unfinished};

/// Runs a sweep on `images` and returns exit code, standard output and standard error.
fn sweep(images: &[&Path], seeds: &str, out: &Path) -> (i32, String, String) {
    let line = "sweep --preset smoke --samples 128 --cluster-restarts 2 --variants baseline,vae --seeds";
    let mut command = lerp();
    command.args(line.split(' ')).args([seeds, "--out"]).arg(out);
    for images in images {
        command.args(["--datasets", &format!("idx:{}", images.display())]);
    }
    parts(&command.output().unwrap())
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn runs_on_images_that_moved_are_found_and_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after, out) = (dir.path().join("before"), dir.path().join("after"), dir.path().join("out"));
    squares(&before.join("pets"), 200);
    let (code, text, errors) = sweep(&[&before.join("pets")], "0", &out);
    assert_eq!(code, 0, "{text} {errors}");
    let (found, model) = (names(&out.join("runs")), runs(&out)[1].join("model.safetensors"));
    let trained = fs::read(&model).unwrap();
    fs::rename(&before, &after).unwrap();

    let (code, text, errors) = sweep(&[&after.join("pets")], "0", &out);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert!(text.contains("Nothing to do: all 2 runs"), "{text}");
    assert_eq!(names(&out.join("runs")), found);

    // A stopped run is resumed, and the record of the sweep names the existing folders of runs.
    unfinished(&runs(&out)[1]);
    fs::remove_file(&model).unwrap();
    let (code, text, errors) = sweep(&[&after.join("pets")], "0..2", &out);
    assert_eq!(code, 0, "{text} {errors}");
    assert!(text.contains("3 of 4 runs to train") && text.contains("resume "), "{text}");
    assert!(fs::read(&model).unwrap() == trained, "other numbers");
    let all = names(&out.join("runs"));
    assert!(all.len() == 4 && all.is_superset(&found), "{all:?}");
    let record: toml::Table = fs::read_to_string(out.join("sweep.toml")).unwrap().parse().unwrap();
    let planned: BTreeSet<String> =
        record["cells"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert_eq!(planned, all);
    // The raw pixels are not evaluated again.
    assert!(!text.contains("Raw pixels of"), "{text}");

    // A finished run is evaluated with the images in their new folder.
    let folder = &out.join("runs").join(found.first().unwrap());
    let moved = format!("idx:{}", after.join("pets").display());
    let (code, _, errors) = parts(&run("eval", &[folder]));
    assert!(code == 2 && errors.contains("give their path with --dataset"), "{errors}");
    let (code, text, errors) = parts(&run(&format!("eval --dataset {moved}"), &[folder]));
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    let last = Run::read(folder).unwrap().metrics().unwrap();
    let error = last.series("eval/reconstruction_mse").last().unwrap().value;
    assert!(text.contains(&format!(" {error}\n")), "{error}: {text}");
}

#[test]
fn the_same_images_under_two_names_are_trained_on_once() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b, out] = ["a", "b", "out"].map(|name| dir.path().join(name));
    squares(&a, 100);
    squares(&b, 100);
    let (code, text, errors) = sweep(&[&a, &b], "0", &out);
    assert_eq!(code, 0, "{text} {errors}");
    assert!(errors.contains("are the same images; they are trained on only once"), "{errors}");
    assert_eq!(runs(&out).len(), 2);

    // If two folders exchange their names, each run still belongs to its images.
    squares(&b, 150);
    assert_eq!(sweep(&[&b], "0", &out).0, 0);
    let states = || -> Vec<State> { runs(&out).iter().map(|d| Run::read(d).unwrap().status.state).collect() };
    assert_eq!(states(), [State::Done; 4]);
    fs::rename(&a, dir.path().join("c")).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(dir.path().join("c"), &b).unwrap();
    let (code, text, errors) = sweep(&[&a, &b], "0", &out);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert!(text.contains("Nothing to do: all 4 runs"), "{text}");
}
