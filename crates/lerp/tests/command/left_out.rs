//! Tests of damaged runs and untrusted folders: what is left out is named, and everything else is processed.

use std::{fs, path::Path, process::Stdio};

use crate::common::{lerp, parts, run, runs, squares, succeed};

/// Trains two variants briefly.
fn sweep(out: &Path) {
    succeed("sweep --preset smoke --samples 64 --variants baseline,dropout --out", &[out]);
}

#[test]
fn what_is_left_out_is_named_and_the_exit_code_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    sweep(&out);
    let verbs = ["report", "compare", "export --to csv,tensorboard,models", "watch --once"];
    for verb in verbs {
        let (code, text, errors) = parts(&run(verb, &[&out]));
        assert_eq!((code, errors.as_str()), (0, ""), "{verb}: {text}");
    }
    let damaged = runs(&out)[0].clone();
    let name = damaged.file_name().unwrap().to_str().unwrap().to_owned();
    let record = fs::read(damaged.join("run.toml")).unwrap();
    fs::write(damaged.join("run.toml"), "id = \"\u{1b}[2J\"").unwrap();
    for verb in verbs {
        let (code, text, errors) = parts(&run(verb, &[&out]));
        assert_eq!(code, 1, "{verb}: {text}{errors}");
        assert!((text.clone() + &errors).contains(&name), "{verb}: {text}{errors}");
        assert!(!(text + &errors).contains('\u{1b}'), "{verb}");
    }
    let (_, text, _) = parts(&run("compare", &[&out]));
    assert!(text.contains("Dropout") && text.contains("is left out"), "{text}");
    fs::write(damaged.join("run.toml"), record).unwrap();

    fs::write(out.join("sweep.toml"), "cells = 3\n\u{1b}[2J").unwrap();
    for verb in ["report", "compare", "watch --once"] {
        let (code, text, errors) = parts(&run(verb, &[&out]));
        assert_eq!(code, 1, "{verb}: {text}{errors}");
        assert!((text.clone() + &errors).contains("sweep.toml"), "{verb}: {text}{errors}");
        assert!(!(text + &errors).contains('\u{1b}'), "{verb}");
    }
    fs::remove_file(out.join("sweep.toml")).unwrap();
    for verb in verbs {
        let (code, text, errors) = parts(&run(verb, &[&out]));
        assert_eq!((code, errors.as_str()), (0, ""), "{verb}: {text}");
    }
    // Control characters and line breaks in an argument are escaped when it is printed.
    let (code, _, errors) = parts(&run("report", &[Path::new("no\u{1b}[2J\nwhere")]));
    assert!(code == 2 && errors.lines().count() == 1 && !errors.contains('\u{1b}'), "{errors}");
}

#[test]
fn eight_reports_at_once_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    sweep(dir.path());
    let start = |_| {
        let mut report = lerp();
        report.arg("report").arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        report.spawn().unwrap()
    };
    let reports: Vec<_> = (0..8).map(start).collect();
    for report in reports {
        let (code, text, errors) = parts(&report.wait_with_output().unwrap());
        assert_eq!(code, 0, "{text}{errors}");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

#[test]
#[cfg(unix)]
fn an_export_follows_no_link_of_the_sweep() {
    use std::os::unix::fs::symlink;
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let out = dir.path().join("out");
    sweep(&out);
    let export = "export --to csv,tensorboard,models";
    symlink(elsewhere.path(), out.join("export")).unwrap();
    let (code, _, errors) = parts(&run(export, &[&out]));
    assert!(code == 2 && errors.contains("something else than a folder"), "{errors}");
    fs::remove_file(out.join("export")).unwrap();
    for kind in ["csv", "tensorboard", "models"] {
        fs::create_dir_all(out.join("export")).unwrap();
        symlink(elsewhere.path(), out.join("export").join(kind)).unwrap();
        let (code, _, errors) = parts(&run(&format!("export --to {kind}"), &[&out]));
        assert!(code == 2 && errors.contains("something else than a folder"), "{kind}: {errors}");
        fs::remove_dir_all(out.join("export")).unwrap();
    }
    // A symbolic link in place of a run's file is not followed either.
    let model = runs(&out)[0].join("model.safetensors");
    fs::rename(&model, elsewhere.path().join("model")).unwrap();
    symlink(elsewhere.path().join("model"), &model).unwrap();
    let (code, _, errors) = parts(&run("export --to models", &[&out]));
    assert!(code == 1 && errors.contains("symbolic link"), "{errors}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
    // The output folder that the user names may be a symbolic link.
    symlink(elsewhere.path(), dir.path().join("mine")).unwrap();
    let line = format!("export --to csv --out {}", dir.path().join("mine").display());
    assert_eq!(parts(&run(&line, &[&out])).0, 0);
    assert!(elsewhere.path().join("csv/metrics.csv").exists());
}

#[test]
fn a_card_says_which_images_and_not_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("anns-things/pets");
    squares(&images, 40);
    let out = dir.path().join("out");
    let line = format!(
        "sweep --preset smoke --samples 64 --variants baseline --datasets idx:{} --out",
        images.display()
    );
    succeed(&line, &[&out]);
    succeed("export --to models", &[&out]);
    let folder = fs::read_dir(out.join("export/models")).unwrap().next().unwrap().unwrap().path();
    let folder_name = dir.path().file_name().unwrap().to_str().unwrap();
    for file in ["README.md", "config.json", "model.safetensors", "lerp_torch.py"] {
        let text = String::from_utf8_lossy(&fs::read(folder.join(file)).unwrap()).into_owned();
        for part in ["anns-things", folder_name, "/tmp"] {
            assert!(!text.contains(part), "{file} tells {part}");
        }
    }
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(card.contains("on pets (SHA-256 ") && card.contains("pets-baseline-s"), "{card}");
}
