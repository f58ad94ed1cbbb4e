//! Tests of sweeps over image sets, on the command line.

use std::fs;

use candle_core::Tensor;
use lerp_eval::PairEnds;
use lerp_train::Run;

use crate::common::{lerp, parts, run, runs, squares, unfinished};

const TINY: &str = "sweep --preset smoke --samples 512 --cluster-restarts 5";

#[test]
fn ones_own_images_are_trained_on_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("my squares"), dir.path().join("out"));
    squares(&images, 300);
    let name = format!("idx:{}", images.display());
    let absolute = format!("idx:{}", images.canonicalize().unwrap().display());
    let more = ["--variants", "baseline,vae", "--latent", "2,4", "--datasets", &name, "--out"];
    let (code, text, errors) =
        parts(&lerp().args(TINY.split_whitespace()).args(more).arg(&out).output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
    let found = runs(&out);
    assert_eq!(found.len(), 4);
    for dir in found {
        let run = Run::read(&dir).unwrap();
        assert_eq!(
            (run.record.cell.dataset.as_str(), run.record.cell.cluster_restarts),
            (absolute.as_str(), Some(5))
        );
        assert_eq!(run.record.provenance.data.unwrap().len(), 64);
        let metrics = Run::read(&dir).unwrap().metrics().unwrap();
        let last = |name: &str| metrics.series(name).last().map(|row| row.value);
        assert_eq!(metrics.series("eval/classifier_accuracy").count(), 4);
        assert!(last("eval/mean_distance").is_none(), "these are no lines");
        assert_eq!((last("final/train_images"), last("final/test_images")), (Some(300.0), Some(150.0)));
        // The classes are easy to separate even in the latents of a model that has hardly been trained.
        assert!(last("final/probe_accuracy").unwrap() > 0.9, "{:?}", last("final/probe_accuracy"));
        assert!(last("final/cluster_accuracy").unwrap() >= 0.2);
        let strips = Run::read(&dir).unwrap().strips().unwrap().unwrap();
        assert_eq!((strips.images.dims(), &strips.angles), (&[4, 16, 32, 32, 1][..], &None));
        let PairEnds { left, right } = strips.ends.unwrap();
        assert_eq!((left.dims(), right.dims()), (&[4, 32, 32, 1][..], &[4, 32, 32, 1][..]));
        let run = Run::read(&dir).unwrap();
        let paths = run.paths().unwrap().unwrap();
        assert_eq!((paths.norm.len(), paths.distance, paths.angle, paths.critic), (64, None, None, None));
        assert!(paths.norm.as_flattened().iter().all(|v| *v > 0.0 && v.is_finite()));
        let samples = run.samples().unwrap().map(|samples| samples.dims().to_vec());
        let prior = run.record.cell.variant == "vae";
        assert_eq!(samples, prior.then(|| vec![256, 32, 32, 1]));
        // Evaluating the run again gives the same values.
        let (code, text, errors) = parts(&crate::common::run("eval --json", &[&dir]));
        assert_eq!(code, 0, "{errors}");
        let values: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(values.len(), 14);
        for (name, value) in &values {
            assert_eq!(value.as_f64(), last(name), "{name}");
        }
        // The first two pairs have images of the same class each; the position of the first bright pixel tells the
        // classes apart.
        let value = |images: &Tensor, pair: usize| -> Vec<f32> {
            images.get(pair).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let bright = |values: Vec<f32>| values.iter().position(|v| *v > 0.0).unwrap() / 32 > 12;
        assert!((0..2).all(|pair| bright(value(&left, pair)) == bright(value(&right, pair))));
    }
    let files: Vec<_> = fs::read_dir(out.join("pixels")).unwrap().map(|f| f.unwrap().path()).collect();
    let pixels: toml::Table = fs::read_to_string(&files[0]).unwrap().parse().unwrap();
    assert_eq!(pixels["probe_accuracy"].as_float(), Some(1.0));
    assert_eq!(pixels["dataset"].as_str(), Some(absolute.as_str()));

    // If the folder holds other images, a warning says that complete runs are of other images, and a stopped run is not
    // resumed.
    squares(&images, 250);
    let (code, text, errors) =
        parts(&lerp().args(TINY.split_whitespace()).args(more).arg(&out).output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
    assert!(
        text.contains("Nothing to do")
            && errors.contains("were trained on other images than those that are here now"),
        "{errors}"
    );
    unfinished(&runs(&out)[0]);
    let (code, text, _) = parts(&lerp().args(TINY.split_whitespace()).args(more).arg(&out).output().unwrap());
    assert!(code == 1 && text.contains("is the record of a run on other images"), "{text}");
}

#[test]
fn images_without_labels_are_interpolated_and_not_classified() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("squares"), dir.path().join("out"));
    squares(&images, 200);
    for part in ["train", "t10k"] {
        fs::remove_file(images.join(format!("{part}-labels-idx1-ubyte"))).unwrap();
    }
    let name = format!("idx:{}", images.display());
    let more = ["--variants", "acai", "--datasets", &name, "--out"];
    let (code, text, errors) =
        parts(&lerp().args(TINY.split_whitespace()).args(more).arg(&out).output().unwrap());
    assert_eq!(code, 0, "{errors}{text}");
    let run = Run::read(&runs(&out)[0]).unwrap();
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.series("eval/reconstruction_mse").count(), 4);
    assert!(
        metrics.0.iter().all(|row| !row.metric.contains("accuracy") && !row.metric.starts_with("final/"))
    );
    assert_eq!(run.record.cell.cluster_restarts, None);
    assert!(run.dir.join("interpolation.png").exists());
    // The critic is evaluated on test images too: 100 images make 50 pairs.
    let paths = run.paths().unwrap().unwrap();
    assert_eq!((paths.norm.len(), paths.critic.unwrap().len()), (50, 50));
    assert_eq!(metrics.series("eval/critic_error").count(), 4);
    assert!(!out.join("pixels").exists());
}

#[test]
fn absent_images_are_told_and_left_out_of_a_plan_that_has_others() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("nothing");
    fs::create_dir(&absent).unwrap();
    let out = dir.path().join("out");
    let (code, _, errors) =
        parts(&run(&format!("{TINY} --datasets mnist --data"), &[&absent, "--out".as_ref(), &out]));
    assert_eq!(code, 2);
    assert!(
        errors.contains("mnist: found no images in") && errors.contains("train-images-idx3-ubyte"),
        "{errors}"
    );
    assert!(!out.exists());

    let plan = dir.path().join("plan.toml");
    let text = "datasets = ['lines', 'mnist']\nvariants = ['baseline']\nseeds = 0\njudge = 0\nsamples = 128\n\
                test_samples = 64\n[network]\ndepth = 4\n[dataset.mnist.network]\nlatent = [2, 16]\n";
    fs::write(&plan, text).unwrap();
    let words = ["--data".as_ref(), absent.as_path(), "--out".as_ref(), &out];
    let (code, text, errors) = parts(&run("sweep --config", &[&[plan.as_path()], &words[..]].concat()));
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("mnist is left out: mnist: found no images"), "{text}");
    assert_eq!(runs(&out).len(), 1);
}

#[test]
fn a_folder_with_a_comma_in_its_name_is_given_in_quotes() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("cats, dogs"), dir.path().join("out"));
    squares(&images, 100);
    let name = format!("idx:{}", images.display());
    let sweep = |datasets: &[&str]| {
        let mut command = lerp();
        command.args("sweep --preset smoke --samples 64 --cluster-restarts 1 --variants vae".split(' '));
        for names in datasets {
            command.args(["--datasets", names]);
        }
        parts(&command.arg("--out").arg(&out).output().unwrap())
    };
    let (code, _, errors) = sweep(&[&name]);
    assert!(code == 2 && errors.contains("put a name that contains a comma in double quotes"), "{errors}");
    let (code, text, errors) = sweep(&[&format!("\"{name}\""), "lines"]);
    assert_eq!(code, 0, "{text} {errors}");
    let datasets: Vec<String> =
        runs(&out).iter().map(|dir| Run::read(dir).unwrap().record.cell.dataset).collect();
    assert!(datasets[0].ends_with("/cats, dogs") && datasets[1] == "lines", "{datasets:?}");
    let (code, text, _) = sweep(&[&format!("lines,\"{name}\"")]);
    assert!(code == 0 && text.contains("Nothing to do: all 2 runs"), "{text}");
}
