//! Tests of exports: their files are read as other programs read them.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use candle_core::{Device, Tensor, safetensors::load};
use lerp_train::{MetricRow, Run};
use serde_json::Value;

use crate::{
    common::{parts, python, run, runs, squares, succeed},
    load_model,
};

const SEVEN: [&str; 7] = ["aae", "acai", "baseline", "denoising", "dropout", "vae", "vqvae"];

/// Trains all variants briefly.
fn sweep(out: &Path) {
    succeed("sweep --preset smoke --samples 128 --out", &[out]);
}

#[test]
fn every_export_format_contains_the_measured_values() {
    let dir = tempfile::tempdir().unwrap();
    sweep(dir.path());
    succeed("export --to tensorboard,csv,models", &[dir.path()]);
    let (out, found) = (dir.path().join("export"), runs(dir.path()));
    assert_eq!(found.len(), 7);
    tables(&out.join("csv"), &found.iter().map(|dir| Run::read(dir).unwrap()).collect::<Vec<_>>());
    for dir in &found {
        let run = Run::read(dir).unwrap();
        logs(&out.join("tensorboard"), &run);
        model(&out.join("models").join(&run.record.id), &run);
    }
    // Exporting again gives the same files.
    let before = contents(&out);
    succeed("export --to models,csv,tensorboard", &[dir.path()]);
    assert!(before == contents(&out), "an export must not depend on when it is made");
    in_torch(&out.join("models"));
}

/// Returns the contents of all files in a folder and its subfolders.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

fn tables(folder: &Path, runs: &[Run]) {
    let text = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("id,dataset,variant,title,seed,step,samples,metric,value,wall_s"));
    for run in runs {
        for row in run.metrics().unwrap().0 {
            let fields: Vec<&str> = lines.next().unwrap().split(',').collect();
            let record = &run.record;
            assert_eq!(fields[..5], [&record.id, "lines", &record.cell.variant, &record.title, "0"]);
            assert_eq!(fields[5..8], [row.step.to_string(), row.samples.to_string(), row.metric]);
            let value: f64 = fields[8].parse().unwrap();
            assert!(value == row.value || fields[8] == "NaN" && row.value.is_nan());
            assert_eq!(fields[9].parse::<f64>().unwrap(), row.wall_s);
        }
    }
    assert_eq!(lines.next(), None);
    let text = fs::read_to_string(folder.join("runs.csv")).unwrap();
    assert_eq!(text.lines().count(), 1 + runs.len());
    let heads: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let wanted = [
        "id",
        "variant",
        "learning_rate",
        "schedule.decay",
        "ema",
        "network.depth",
        "hyper.advweight",
        "provenance.git",
        "status.state",
    ];
    assert!(wanted.iter().all(|name| heads.contains(name)), "{heads:?}");
}

/// Checks the TensorBoard event file of a run.
fn logs(folder: &Path, run: &Run) {
    let (dataset, name) = run.record.id.split_once('-').unwrap();
    let bytes = fs::read(folder.join(dataset).join(name).join("events.out.tfevents.0.lerp")).unwrap();
    let (mut rest, mut records) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        records.push(&rest[12..12 + n]);
        rest = &rest[16 + n..];
    }
    let metrics = run.metrics().unwrap();
    // Beside the metrics there are the version, two records of settings, the picture and the end.
    assert_eq!(records.len(), metrics.0.len() + 5);
    let holds = |record: &[u8], part: &[u8]| record.windows(part.len()).any(|window| window == part);
    for (row, record) in metrics.0.iter().zip(&records[3..]) {
        let value = (row.value as f32).to_le_bytes();
        assert!(holds(record, row.metric.as_bytes()) && record.ends_with(&value), "{row:?}");
    }
    assert!(holds(records[1], b"_hparams_/session_start_info") && holds(records[1], b"network.depth"));
    assert!(holds(records[2], run.record.provenance.git.as_bytes()));
    let picture = fs::read(run.dir.join("interpolation.png")).unwrap();
    assert!(holds(records[records.len() - 2], &picture));
    assert!(holds(records[records.len() - 1], b"_hparams_/session_end_info"));
}

fn model(folder: &Path, run: &Run) {
    let cell = &run.record.cell;
    let (ours, theirs) = (folder.join("model.safetensors"), run.dir.join("model.safetensors"));
    let [ours, theirs] = [ours, theirs].map(|path| load(path, &Device::Cpu).unwrap());
    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(ours.len(), theirs.len());
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    for (name, tensor) in &ours {
        assert_eq!((tensor.dims(), numbers(tensor)), (theirs[name].dims(), numbers(&theirs[name])));
        assert!(card.contains(&format!("| `{name}` | {:?} |", tensor.dims())), "{name} is not in the card");
    }
    // The card lists the differences of the smoke plan from the paper.
    assert_eq!(card.contains("These are averaged weights (decay "), cell.ema.is_some());
    assert_eq!(card.contains("Course of the learning rate: cosine"), !cell.schedule.is_constant());
    assert_eq!(card.contains("Codes whose moving count fell below 0.01"), cell.variant == "vqvae");
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["cell"], serde_json::to_value(cell).unwrap());
    assert_eq!(config["latent"][2], 4);
    // The output folder in the command is private and replaced by an ellipsis.
    let command = "lerp sweep --preset smoke --samples 128 --out …";
    for part in [&run.record.provenance.git, command, "1807.07543", "A short run"] {
        assert!(card.contains(part), "{part} is not in the card");
    }
    assert!(folder.join("lerp_torch.py").exists());
    // The card's example program loads the model.
    assert_eq!(load_model::check(folder).unwrap(), 0.0);
}

/// Loads the models in PyTorch, if it is installed.
fn in_torch(models: &Path) {
    let Some(python) = python("torch", "import torch, safetensors.torch") else { return };
    let check = |folder: &Path| {
        parts(&Command::new(&python).arg("lerp_torch.py").current_dir(folder).output().unwrap())
    };
    let mut variants = Vec::new();
    for entry in fs::read_dir(models).unwrap() {
        let folder = entry.unwrap().path();
        let (code, text, errors) = check(&folder);
        assert_eq!(code, 0, "{}: {text}{errors}", folder.display());
        let wanted = ["latents", "features", "reconstructions", "decoded", "logits", "ok: largest deviation"];
        assert!(wanted.iter().all(|line| text.contains(line)), "{text}");
        variants.push(folder.file_name().unwrap().to_string_lossy().split('-').nth(1).unwrap().to_owned());
    }
    variants.sort();
    assert_eq!(variants, SEVEN);
    // The check detects outputs of another model.
    let of = |variant: &str| {
        let folders = fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
        folders.into_iter().find(|f| f.to_string_lossy().contains(&format!("lines-{variant}-"))).unwrap()
    };
    fs::copy(of("dropout").join("check.safetensors"), of("baseline").join("check.safetensors")).unwrap();
    let (code, text, _) = check(&of("baseline"));
    assert!(code == 1 && text.contains("DIFFERENT"), "{text}");
}

#[test]
fn models_of_image_sets_need_no_images() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("squares"), dir.path().join("out"));
    squares(&images, 60);
    let name = format!("idx:{}", images.display());
    let line = format!(
        "sweep --preset smoke --samples 64 --cluster-restarts 1 --variants vae --datasets {name} --out"
    );
    succeed(&line, &[&out]);
    fs::remove_dir_all(&images).unwrap();
    let run_dir = &runs(&out)[0];
    succeed("export --to models,csv", &[run_dir]);
    let folder = run_dir.join("export/models").join(run_dir.file_name().unwrap());
    let check = load(folder.join("check.safetensors"), &Device::Cpu).unwrap();
    assert_eq!((check["images"].dims(), check["latents"].dims()), (&[8, 32, 32, 1][..], &[8, 4, 4, 4][..]));
    assert_eq!((check["log_variance"].dims(), check["logits"].dims()), (&[8, 64][..], &[8, 5][..]));
    assert_eq!(load_model::check(&folder).unwrap(), 0.0);
}

#[test]
fn tables_keep_what_is_undefined_and_quote_what_has_commas() {
    let dir = tempfile::tempdir().unwrap();
    let line = "sweep --preset smoke --samples 128 --variants baseline,vae --out";
    succeed(line, &[dir.path()]);
    let found = runs(dir.path());
    let mut metrics = Run::read(&found[0]).unwrap().metrics().unwrap();
    let row = |value| MetricRow { step: 2, samples: 128, metric: "eval/a, \"b\"".into(), value, wall_s: 1.5 };
    metrics.0.extend([row(f64::NAN), row(f64::NEG_INFINITY), row(1e-300)]);
    std::fs::write(found[0].join("metrics.parquet"), metrics.parquet().unwrap()).unwrap();
    // Makes the run look like one of a version without digests.
    fs::remove_file(found[0].join("digests.json")).unwrap();
    let record = fs::read_to_string(found[0].join("run.toml")).unwrap();
    fs::write(found[0].join("run.toml"), record.replace("digests = true\n", "")).unwrap();
    succeed("export --variants baseline --seeds 0..2 --to csv", &[dir.path()]);
    let read = |name: &str| fs::read_to_string(dir.path().join("export/csv").join(name)).unwrap();
    let (values, table) = (read("metrics.csv"), read("runs.csv"));
    for value in ["NaN", "-inf", &format!("{}", 1e-300)] {
        assert!(values.contains(&format!(",2,128,\"eval/a, \"\"b\"\"\",{value},1.5\n")), "{values}");
    }
    let command = Run::read(&found[0]).unwrap().record.provenance.command;
    assert!(command.contains("baseline,vae") && table.contains(&format!(",\"{command}\",")), "{table}");
    assert!(!table.contains("lines-vae"), "only what was asked for");
}

#[test]
fn mistakes_are_one_sentence_and_what_has_no_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let line = "sweep --preset smoke --samples 64 --variants baseline,dropout --out";
    succeed(line, &[&out]);
    let fails = |line: &str, part: &str| {
        let (code, text, errors) = parts(&run(line, &[&out]));
        assert_eq!((code, errors.lines().count()), (2, 1), "{errors}{text}");
        assert!(errors.contains(part), "{errors}");
    };
    fails("export --to tensorbord", "no export format 'tensorbord' (did you mean 'tensorboard'?)");
    fails("export --to csv --variants acai", "no variant 'acai'");
    fails("export --to csv --seeds 7", "seed among 7");
    fails("export --to csv --seeds x", "'x' is not a range of seeds");
    fails(&format!("export --to csv --out {}", out.join("runs/new").display()), "among the runs");
    fails("export", "--to");
    let (code, _, errors) = parts(&run("export --to csv", &[dir.path()]));
    assert!(code == 2 && errors.contains("has no runs"), "{errors}");
    let (code, _, errors) = parts(&run("export --to csv", &[&dir.path().join("none")]));
    assert!(code == 2 && errors.contains("there is no folder"), "{errors}");
    assert!(!out.join("export").exists(), "nothing may be written");

    let [baseline, dropout] = [0, 1].map(|i| runs(&out)[i].join("model.safetensors"));
    fs::remove_file(&baseline).unwrap();
    let (code, text, _) = parts(&run("export --to models", &[&out]));
    assert!(code == 0 && text.contains("were left out") && text.contains("lines-baseline-s0"), "{text}");
    // A damaged model does not affect the export of other runs.
    let bytes = fs::read(&dropout).unwrap();
    lerp_files::replace(&dropout, &bytes[..bytes.len() / 2]).unwrap();
    let (code, text, errors) = parts(&run("export --to csv,models", &[&out]));
    assert!(code == 1 && text.contains("metrics.csv"), "{text}");
    assert!(errors.contains("was changed or damaged") && errors.lines().count() == 1, "{errors}");
    fs::remove_file(&dropout).unwrap();
    fails("export --to csv,models", "has a model");
}
