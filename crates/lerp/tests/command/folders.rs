//! Tests of sweeps into existing folders: with leftovers of a stopped sweep, with damaged runs, or with other files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use lerp_train::{Run, State};

use crate::common::{lerp, parts, run, runs};

const TINY: &str = "sweep --preset smoke --samples 64 --variants";

fn sweep(variants: &str, out: &Path) -> (i32, String, String) {
    parts(&run(&format!("{TINY} {variants} --out"), &[out]))
}

/// Returns the folder of the run of `variant`.
fn of(variant: &str, out: &Path) -> PathBuf {
    let part = format!("lines-{variant}-s0-");
    let found =
        runs(out).into_iter().find(|dir| dir.file_name().unwrap().to_string_lossy().starts_with(&part));
    found.unwrap()
}

#[test]
fn leftovers_of_a_sweep_that_was_stopped_at_once_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("first");
    assert_eq!(sweep("vae", &out).0, 0);
    let id = runs(&out)[0].file_name().unwrap().to_string_lossy().into_owned();
    let run_log = format!("runs/{id}/log.txt");
    let left: [&[&str]; 5] = [
        &[".lock"],
        // Temporary files of this version and of earlier ones.
        &[".lock", ".lerp-0123456789abcdef.tmp"],
        &[".lock", "sweep.toml.tmp", "runs/"],
        &["sweep.toml", "runs/", "pixels/"],
        &[".lock", "host-cpu.log", &run_log, ".lerp-0123456789abcdef.tmp"],
    ];
    for (index, names) in left.iter().enumerate() {
        let out = dir.path().join(index.to_string());
        fs::create_dir(&out).unwrap();
        for name in *names {
            let path = out.join(name);
            if name.ends_with('/') {
                fs::create_dir(&path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, "").unwrap();
            }
        }
        let (code, text, errors) = sweep("vae", &out);
        assert_eq!((code, errors.as_str()), (0, ""), "{names:?}: {text}");
        assert_eq!(Run::read(&runs(&out)[0]).unwrap().status.state, State::Done);
    }
    // A sweep that was killed at any moment of its first milliseconds can be repeated.
    for index in 0..12 {
        let out = dir.path().join(format!("killed-{index}"));
        let mut command = lerp();
        command.args(format!("{TINY} vae --out").split(' ')).arg(&out);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(index * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        let (code, text, errors) = sweep("vae", &out);
        assert_eq!(code, 0, "{index}: {text} {errors}");
    }
}

#[test]
fn a_strangers_folder_is_refused_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (name, file, text) in [
        ("a", ".lock", "precious"),
        ("b", "runs/mine/results.txt", "precious"),
        ("c", "runs/notes.txt", "precious"),
        ("d", "sweep.toml", "method = \"grid\""),
        ("e", "pixels/mine.toml", "precious"),
        ("f", "runs", "precious"),
        ("g", "tables", "precious"),
        ("h", "notes.tmp", ""),
    ] {
        let out = dir.path().join(name);
        let file = out.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let (code, _, errors) = sweep("vae", &out);
        assert_eq!((code, errors.lines().count()), (2, 1), "{}: {errors}", file.display());
        assert!(errors.contains("--out another folder"), "{errors}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
        let entries = fs::read_dir(&out).unwrap().count();
        assert_eq!(entries, 1, "{}: something was written", file.display());
    }
}

#[test]
fn runs_that_cannot_be_read_are_named_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    assert_eq!(sweep("baseline,dropout,denoising,vae", &out).0, 0);
    let [baseline, dropout, denoising, vae] =
        ["baseline", "dropout", "denoising", "vae"].map(|variant| of(variant, &out));
    fs::write(baseline.join("status.json"), "").unwrap();
    fs::write(dropout.join("run.toml"), "id = ").unwrap();
    fs::remove_file(denoising.join("status.json")).unwrap();
    fs::remove_file(vae.join("model.safetensors")).unwrap();
    // A copy of a run must not count as another run.
    let copy = out.join("runs/copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&vae).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let models =
        [&baseline, &dropout, &denoising].map(|run| fs::read(run.join("model.safetensors")).unwrap());
    for record in [None, Some("format = \"lerp swe"), Some("")] {
        match record {
            None => fs::remove_file(out.join("sweep.toml")).unwrap(),
            Some(text) => fs::write(out.join("sweep.toml"), text).unwrap(),
        }
        let (code, text, errors) = sweep("baseline,dropout,denoising,vae,acai", &out);
        assert_eq!(code, 1, "{text} {errors}");
        for run in [&baseline, &dropout, &denoising] {
            let id = run.file_name().unwrap().to_string_lossy();
            let line = text.lines().find(|line| line.starts_with(&format!("FAILED {id}: "))).unwrap();
            assert!(line.contains("delete the run's folder to redo it"), "{line}");
            assert!(errors.contains(&format!("left out: {id}: ")), "{errors}");
        }
        assert!(text.contains("LEFT OUT copy: "), "{text}");
        let id = vae.file_name().unwrap().to_string_lossy();
        assert!(text.contains(&format!("LEFT OUT {id}: model.safetensors is lost; delete")), "{text}");
        assert!(errors.contains("sweep.toml is "), "{errors}");
        let states = ["vae", "acai"].map(|variant| Run::read(&of(variant, &out)).unwrap().status.state);
        assert_eq!(states, [State::Done; 2]);
        let written = fs::read_to_string(out.join("sweep.toml")).unwrap();
        assert!(written.starts_with("format = \"lerp sweep 1\""), "{written}");
    }
    let after = [&baseline, &dropout, &denoising].map(|run| fs::read(run.join("model.safetensors")).unwrap());
    assert!(models == after && fs::read_to_string(baseline.join("status.json")).unwrap().is_empty());
    // Deleting the folders, as the messages suggest, solves the problem.
    for run in [&baseline, &dropout, &denoising, &vae, &copy] {
        fs::remove_dir_all(run).unwrap();
    }
    let (code, text, errors) = sweep("baseline,dropout,denoising,vae,acai", &out);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert!(text.contains("4 of 5 runs to train"), "{text}");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let (victim, precious) = (dir.path().join("victim"), dir.path().join("victim/precious.txt"));
    fs::create_dir(&victim).unwrap();
    fs::write(&precious, "precious").unwrap();
    let out = dir.path().join("out");
    assert_eq!(sweep("vae", &out).0, 0);
    let (id, record) = (runs(&out)[0].file_name().unwrap().to_owned(), out.join("sweep.toml"));
    let fresh = |name: &str| {
        let out = dir.path().join(name);
        fs::create_dir_all(out.join("runs")).unwrap();
        fs::copy(&record, out.join("sweep.toml")).unwrap();
        out
    };
    let untouched = || {
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1, "something was written through a link");
    };

    for name in ["runs", "pixels", "tables", "figures"] {
        let out = fresh(&format!("folder-{name}"));
        let _ = fs::remove_dir(out.join(name));
        symlink(&victim, out.join(name)).unwrap();
        let (code, _, errors) = sweep("vae", &out);
        assert!(code == 2 && errors.contains("is a link or a file"), "{errors}");
        untouched();
    }
    for name in [".lock", "sweep.toml"] {
        let out = fresh(&format!("file-{name}"));
        let _ = fs::remove_file(out.join(name));
        symlink(&precious, out.join(name)).unwrap();
        let (code, _, errors) = sweep("vae", &out);
        assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");
        untouched();
    }
    let out = fresh("run");
    symlink(&victim, out.join("runs").join(&id)).unwrap();
    let (code, text, _) = sweep("vae", &out);
    assert!(code == 1 && text.contains("is a symbolic link, which is not followed"), "{text}");
    untouched();
    // Logs are created anew each time, which replaces symbolic links in their place.
    for pack in ["", "--pack"] {
        let out = fresh(&format!("logs{pack}"));
        let own = out.join("runs").join(&id);
        fs::create_dir(&own).unwrap();
        for log in [own.join("log.txt"), own.join("progress.json"), out.join("host-cpu.log")] {
            symlink(&precious, log).unwrap();
        }
        let (code, text, errors) = parts(&run(&format!("{TINY} vae {pack} --out"), &[&out]));
        assert_eq!(code, 0, "{text} {errors}");
        assert!(!own.join("log.txt").is_symlink());
        untouched();
    }
}
