//! Tests of models that were trained in other software: tasks, their answers, and imported weights.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use candle_core::{
    Device, Tensor,
    safetensors::{load, save},
};
use lerp_core::{Autoencoder, Draws};
use lerp_data::{Dataset, Lines};
use lerp_train::{Cell, Origin, Run};
use serde_json::json;

use crate::{
    common::{
        lerp,
        outside::{assert_same_values, blend, evaluated, foreign, values, write},
        parts, python, runs, squares, succeed,
    },
    load_model,
};

/// Writes the answers of a model to a task, computed with the random draws of the last evaluation of `cell`, which some
/// variants need to encode.
fn answer(task: &Path, model: &dyn Autoencoder, cell: &Cell) {
    let images = load(task.join("images.safetensors"), &Device::Cpu).unwrap();
    let draws = Draws::new(cell.seed, &Device::Cpu).scope("eval").at(cell.steps());
    let between = |left: &Tensor, right: &Tensor| {
        let mixed = |i: usize| model.mix(left, right, i as f64 / 15.0).unwrap();
        let latents: Vec<Tensor> = (0..16).map(mixed).collect();
        let images: Vec<Tensor> = latents.iter().map(|z| model.decode(z).unwrap().detach()).collect();
        [latents, images].map(|all| Tensor::stack(&all, 1).unwrap())
    };
    // Left and right images are encoded in one batch, as in an evaluation, so that they get the same draws.
    let lines = Tensor::cat(&[&images["left"], &images["right"]], 0).unwrap();
    let z = model.encode(&lines, &draws).unwrap().detach();
    let [latents, decoded] = between(&z.narrow(0, 0, 256).unwrap(), &z.narrow(0, 256, 256).unwrap());
    let figure = draws.scope("figure");
    let ends = ["figure_left", "figure_right"].map(|name| model.encode(&images[name], &figure).unwrap());
    let test = &images["test"];
    let chunks = (0..test.dim(0).unwrap()).step_by(256).enumerate().map(|(chunk, first)| {
        let size = 256.min(test.dim(0).unwrap() - first);
        let draws = draws.scope("test").scope(&chunk.to_string());
        model.reconstruct(&test.narrow(0, first, size).unwrap(), &draws).unwrap().detach()
    });
    let test = Tensor::cat(&chunks.collect::<Vec<_>>(), 0).unwrap();
    let [_, figure] = between(&ends[0].detach(), &ends[1].detach());
    let named = |pairs: Vec<(&str, Tensor)>| pairs.into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
    let decoded = named(vec![("between", decoded), ("figure", figure), ("test", test)]);
    write(task, &decoded, &named(vec![("between", latents)]), &json!({ "framework": "candle" }));
}

#[test]
fn answers_of_our_own_models_give_the_numbers_of_their_runs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed("sweep --preset smoke --samples 128 --out", &[&out]);
    succeed("export --to models", &[&out]);
    let found = runs(&out);
    assert_eq!(found.len(), 7);
    for (i, run) in found.iter().enumerate() {
        let id = run.file_name().unwrap();
        let (task, scored) = (dir.path().join(format!("task{i}")), dir.path().join(format!("scored{i}")));
        succeed("score prepare --out", &[&task, Path::new("--like"), run]);
        let model = load_model::load(&out.join("export/models").join(id), &Device::Cpu).unwrap();
        let cell = Run::read(run).unwrap().record.cell;
        answer(&task, &*model, &cell);
        succeed("score --name again --out", &[&scored, &task]);
        let (theirs, ours) = (evaluated(run), values(&foreign(&scored)));
        for (name, value) in &ours {
            let wanted = theirs[name];
            let near = (value - wanted).abs() <= 1e-6 || value.is_nan() && wanted.is_nan();
            assert!(near, "{}: {name} is {value}, wanted {wanted}", cell.variant);
        }
        assert_eq!(ours.len(), 6, "{ours:?}");
        let [a, b] = [Run::read(run).unwrap(), foreign(&scored)].map(|run| run.paths().unwrap().unwrap());
        assert_eq!((a.norm, a.angle), (b.norm, b.angle));
    }
}

#[test]
fn exported_models_in_torch_give_the_numbers_of_their_runs() {
    const MODEL: &str = "import sys, torch\nFOLDER = sys.argv[1].rsplit('/', 1)[0]\nsys.path.insert(0, FOLDER)\n\
                         from lerp_torch import load, save\nmodel, CHANNELS_FIRST = load(FOLDER), True\n\
                         RECORD = {'framework': 'PyTorch', 'version': torch.__version__}\n\
                         @torch.no_grad()\ndef encode(x): return model.encode(torch.from_numpy(x))\n\
                         @torch.no_grad()\ndef decode(z): return model.decode(torch.from_numpy(z))\n\
                         @torch.no_grad()\ndef features(x): return model.features(torch.from_numpy(x))\n";
    let Some(python) = python("torch", "import numpy, torch, safetensors.torch") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("squares"), dir.path().join("out"));
    squares(&images, 500);
    let name = format!("idx:{}", images.display());
    // The VAE is left out, because the benchmark samples its latents and the PyTorch module returns their mean.
    let line = "sweep --preset smoke --variants baseline,aae,vqvae,acai --cluster-restarts 3 --datasets";
    succeed(line, &[Path::new(&format!("lines,{name}")), Path::new("--out"), &out]);
    succeed("export --to models", &[&out]);
    for (i, run) in runs(&out).iter().enumerate() {
        let record = Run::read(run).unwrap().record;
        let (task, scored) = (dir.path().join(format!("task{i}")), dir.path().join(format!("scored{i}")));
        succeed("score prepare --out", &[&task, Path::new("--like"), run]);
        let models: Vec<PathBuf> =
            fs::read_dir(out.join("export/models")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let hash = record.id.rsplit('-').next().unwrap();
        let model = models.iter().find(|folder| folder.to_string_lossy().ends_with(hash)).unwrap();
        fs::write(model.join("answers.py"), MODEL).unwrap();
        let answered =
            Command::new(&python).arg(task.join("lerp_task.py")).arg(model.join("answers.py")).output();
        let (code, text, errors) = parts(&answered.unwrap());
        assert_eq!(code, 0, "{errors}{text}");
        succeed("score --name again --out", &[&scored, &task]);
        let (theirs, ours) = (evaluated(run), values(&foreign(&scored)));
        let near = |name: &str, tolerance: f64| {
            let (ours, theirs) = (ours[name], theirs[name]);
            assert!((ours - theirs).abs() <= tolerance, "{}: {name} is {ours}, wanted {theirs}", record.id);
        };
        near("eval/reconstruction_mse", 1e-5);
        if record.cell.dataset == Lines::NAME {
            near("eval/mean_distance", 1e-6);
        } else if record.cell.variant != "vqvae" {
            // Codes of a codebook that has learned so little are nearly equal, so that rounding decides which is nearest.
            near("final/probe_accuracy", 1e-3);
        }
        // A model that was saved from PyTorch and imported has the same metrics.
        if i == 0 {
            let saved = dir.path().join("saved");
            let script =
                format!("import answers; answers.save(answers.model, {:?})", saved.display().to_string());
            let mut command = Command::new(&python);
            command
                .arg("-c")
                .arg(format!("import sys; sys.argv[1:] = [{:?}]\n{script}", model.join("answers.py")));
            let (code, text, errors) = parts(&command.current_dir(model).output().unwrap());
            assert_eq!(code, 0, "{errors}{text}");
            let dataset = format!("--dataset={}", record.cell.dataset);
            succeed(
                "import",
                &[&saved, Path::new(&dataset), Path::new("--out"), &dir.path().join("imported")],
            );
            assert_same_values(&values(&foreign(&dir.path().join("imported"))), &theirs);
        }
    }
}

#[test]
fn a_numpy_model_answers_a_task_and_appears_in_the_report() {
    let Some(python) = python("numpy", "import numpy") else { return };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed("sweep --preset smoke --samples 64 --variants baseline --out", &[&out]);
    let tasks = [0, 1].map(|seed| dir.path().join(format!("task{seed}")));
    for (seed, task) in tasks.iter().enumerate() {
        succeed(&format!("score prepare --dataset lines --training 512 --seed {seed} --out"), &[task]);
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/numpy/pca.py");
        let answered = Command::new(&python).arg(task.join("lerp_task.py")).arg(example).output().unwrap();
        assert_eq!(parts(&answered).0, 0, "{}", parts(&answered).2);
        assert!(parts(&answered).1.starts_with("answered; now: cargo xtask score"));
    }
    let text = succeed("score --name P~C~A --out", &[&out, &tasks[0], &tasks[1]]);
    assert!(text.contains("P~C~A (outside)") && text.contains("with NumPy"), "{text}");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let table = read("tables/table1.md");
    let row = table.lines().find(|line| line.starts_with("| P~C~A")).unwrap();
    assert!(row.contains("n=2") && row.contains("512") && row.contains("±"), "{row}");
    let csv = read("tables/table1.csv");
    assert!(csv.lines().any(|line| line.contains("P~C~A (outside)")), "{csv}");
    let page = read("index.html");
    for part in ["P~C~A (outside)", "Trained elsewhere", "NumPy"] {
        assert!(page.contains(part), "{part} is not on the page");
    }
    assert!(read("figures/figure3.svg").contains("(outside)"));
    assert!(!read("figures/curves.svg").contains(">P~C~A"));
    assert!(succeed("compare", &[&out]).contains("P~C~A (outside)"));
    assert!(succeed("watch --once", &[&out]).contains("outside-p-c-a"));
    succeed("export --to csv,tensorboard", &[&out]);
    assert!(read("export/csv/runs.csv").contains("outside-p-c-a"));
    // A linear decoder only cross-fades, so interpolations are not smooth.
    let run = Run::read(&runs(&out)[1]).unwrap();
    assert_eq!((run.record.cell.origin.clone(), run.record.cell.samples), (Origin::Scored, 512));
    let found = values(&run);
    assert!(found["eval/mean_distance"] < 0.02 && found["eval/mean_smoothness"] > 0.5, "{found:?}");
    assert!(
        succeed("score --name P~C~A --out", &[&out, &tasks[0]]).contains("are already in"),
        "the same once more is nothing new"
    );
    let (code, _, errors) = parts(&crate::common::run("eval", &[&run.dir]));
    assert!(code == 2 && errors.contains("has no model: it was scored"), "{errors}");
    // The scored model does not affect later sweeps into the folder.
    let again = succeed("sweep --preset smoke --samples 64 --variants baseline --out", &[&out]);
    assert!(again.contains("Nothing to do: the run in"), "{again}");
}

#[test]
fn training_images_are_those_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let task = dir.path().join("task");
    succeed("score prepare --dataset lines --seed 3 --training 100 --batch 32 --out", &[&task]);
    let arrays = load(task.join("training.safetensors"), &Device::Cpu).unwrap();
    let draws = Draws::new(3, &Device::Cpu).scope("data");
    let bits = |x: &Tensor| -> Vec<u32> {
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    for (step, size) in [(0, 32), (1, 32), (2, 32), (3, 4)] {
        let batch = Lines.train_batch(32, &draws.at(step)).unwrap();
        let first = 32 * step as usize;
        let written = arrays["training"].narrow(0, first, size).unwrap();
        assert_eq!(bits(&written), bits(&batch.images.narrow(0, 0, size).unwrap()));
        let labels = batch.labels.unwrap().to_vec1::<u32>().unwrap();
        let written = arrays["training_labels"].narrow(0, first, size).unwrap().to_vec1::<i64>().unwrap();
        assert!(written.iter().zip(&labels).all(|(a, b)| *a == i64::from(*b)));
    }
    let npy = fs::read(task.join("training/training.npy")).unwrap();
    let header = npy.len() - 100 * 32 * 32 * 4;
    let numbers: Vec<u32> =
        npy[header..].chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(numbers, bits(&arrays["training"]));
}

#[test]
fn images_are_classified_and_clustered_from_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out, task) = (dir.path().join("squares"), dir.path().join("out"), dir.path().join("task"));
    squares(&images, 300);
    let name = format!("idx:{}", images.display());
    let prepare = format!("score prepare --cluster-restarts 3 --dataset {name} --out");
    succeed(&prepare, &[&task]);
    let arrays = load(task.join("images.safetensors"), &Device::Cpu).unwrap();
    let (mut decoded, mut latents) = blend(&task);
    decoded.insert("figure_again".into(), decoded["figure"].clone());
    for part in ["train", "test"] {
        latents.insert(part.into(), arrays[part].flatten_from(1).unwrap());
    }
    write(&task, &decoded, &latents, &json!({}));
    succeed("score --name pixels --out", &[&out, &task]);
    let run = foreign(&out);
    let found = values(&run);
    // Pixels as latents give the same values as a sweep's evaluation of raw pixels.
    assert_eq!(found["final/probe_accuracy"], 1.0);
    assert_eq!((found["final/train_images"], found["final/test_images"]), (300.0, 150.0));
    assert!(found["final/cluster_accuracy"] >= 0.2 && !found.contains_key("eval/mean_distance"));
    let strips = run.strips().unwrap().unwrap();
    assert_eq!((strips.images.dims(), strips.classes.unwrap().len()), (&[4, 16, 32, 32, 1][..], 4));
    assert_eq!(strips.errors.unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    let read = |name: &str| fs::read_to_string(out.join("tables").join(name)).unwrap();
    let classified = read("table2.md");
    assert!(classified.contains("no classifier was trained beside it (–)"), "{classified}");
    assert!(read("table3.md").contains("pixels (outside)") && read("table4.md").contains("pixels (outside)"));
    // The task is refused if the folder holds other images.
    squares(&images, 250);
    let (code, _, errors) =
        parts(&crate::common::run("score --name more --out", &[&dir.path().join("no"), &task]));
    assert!(code == 2 && errors.contains("is about other images than those of"), "{errors}");
    // The same images in another folder are accepted with --dataset.
    let moved = dir.path().join("moved");
    squares(&moved, 300);
    let dataset = format!("--dataset=idx:{}", moved.display());
    succeed("score --name moved --out", &[&out, &task, Path::new(&dataset)]);
}

#[test]
fn exported_weights_come_back_as_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed("sweep --preset smoke --samples 128 --variants acai,vae --out", &[&out]);
    succeed("export --to models", &[&out]);
    let trained = runs(&out);
    for run in &trained {
        let model = out.join("export/models").join(run.file_name().unwrap());
        let text = succeed("import", &[&model, Path::new("--out"), &out]);
        assert!(text.contains("(imported)"), "{text}");
    }
    for run in &trained {
        let variant = Run::read(run).unwrap().record.cell.variant;
        let all = runs(&out).into_iter().map(|dir| Run::read(&dir).unwrap());
        let mut imported =
            all.filter(|run| run.record.cell.origin == Origin::Imported { variant: variant.clone() });
        let imported = imported.next().unwrap();
        assert_same_values(&values(&imported), &evaluated(run));
        assert_same_values(&evaluated(&imported.dir), &evaluated(run));
    }
    let model = out.join("export/models").join(trained[0].file_name().unwrap());
    let again = succeed("import", &[&model, Path::new("--out"), &out]);
    assert!(again.contains("Nothing to do"), "{again}");
    // Without config.json, the arguments describe the model.
    let bare = dir.path().join("bare.safetensors");
    fs::copy(model.join("model.safetensors"), &bare).unwrap();
    let new = dir.path().join("new");
    let line = "import --variant acai --dataset lines --latent 4 --depth 4 --name Mine --out";
    succeed(line, &[&new, &bare]);
    let run = foreign(&new);
    assert_eq!((run.record.title.as_str(), run.record.cell.samples), ("Mine (imported)", 0));
    assert!(run.has_model());
    succeed("export --to models", &[&new]);
    let exported = new.join("export/models").join(&run.record.id);
    assert!(exported.join("lerp_torch.py").exists());
    let card = fs::read_to_string(exported.join("README.md")).unwrap();
    assert!(
        card.contains("Trained elsewhere, and measured with [Lerpbench]")
            && !card.contains("averaged weights"),
        "{card}"
    );
    // The model can be exported and imported once more.
    assert!(
        succeed("import --name Mine", &[&exported, Path::new("--out"), &dir.path().join("newer")])
            .contains("Mine (imported)")
    );
    let fails = |line: &str, path: &Path, wanted: &str| {
        let (code, text, errors) = parts(&crate::common::run(line, &[&dir.path().join("no"), path]));
        assert!(code == 2 && errors.lines().count() == 1 && errors.contains(wanted), "{errors}{text}");
        assert!(!dir.path().join("no").exists());
    };
    fails("import --out", &bare, "describe the model with --variant and --dataset");
    fails(
        "import --variant baseline --dataset lines --latent 8 --depth 4 --out",
        &bare,
        "is not a model of baseline on lines",
    );
    fails("import --variant vae --out", &model, "says that the variant is acai");
    fails("import --depth 3 --out", &model, "describes the model");
    let mut tensors = load(&bare, &Device::Cpu).unwrap();
    let name = "enc.conv0.weight".to_owned();
    tensors.insert(name.clone(), (&tensors[&name] * f64::INFINITY).unwrap());
    save(&tensors, &bare).unwrap();
    fails(
        "import --variant acai --dataset lines --latent 4 --depth 4 --out",
        &bare,
        "not finite, in enc.conv0.weight",
    );
    tensors.insert(name.clone(), Tensor::full(3e38_f32, tensors[&name].dims(), &Device::Cpu).unwrap());
    save(&tensors, &bare).unwrap();
    let line = "import --variant acai --dataset lines --latent 4 --depth 4 --out";
    fails(line, &bare, "decodes images that are not finite");
    fails("import --out", &trained[0], "is a run; export its model first");
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    let other = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        fs::write(model.join("config.json"), config.replace(from, to)).unwrap();
    };
    other("\"test_samples\": 256", "\"cluster_restarts\": 5, \"test_samples\": 256");
    fails("import --out", &model, "asks for clusters of lines");
    other("lerp model 2", "lerp model 9");
    fails("import --out", &model, "was not written by `lerp export`");
    fs::write(&bare, "no tensors").unwrap();
    fails(line, &bare, "is no safetensors file, or cut short or damaged");
    let (code, _, errors) =
        parts(&lerp().args(["import", "nowhere.safetensors", "--out", "no"]).output().unwrap());
    assert!(code == 2 && errors.contains("cannot read nowhere.safetensors"), "{errors}");
}
