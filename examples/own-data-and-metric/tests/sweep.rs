//! Tests that the seven variants are swept on a user-defined dataset, that a user-defined metric appears in the tables,
//! and that runs resume bit for bit.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_own-data-and-metric");

fn run(words: &[&str], out: &Path) -> Output {
    let output = Command::new(PROGRAM).args(words).arg(out).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Returns the folder of the only run in a sweep's folder.
fn only_run(out: &Path) -> PathBuf {
    let mut runs = fs::read_dir(out.join("runs")).unwrap().map(|run| run.unwrap().path());
    let first = runs.next().unwrap();
    assert!(runs.next().is_none());
    first
}

#[test]
fn the_seven_are_swept_and_the_metric_is_in_tables_and_figures() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = ["sweep", "--preset", "smoke", "--datasets", "discs", "--samples", "256", "--out"];
    run(&sweep, dir.path());
    let tables = fs::read_dir(dir.path().join("tables")).unwrap().map(|table| table.unwrap().path());
    let markdown = tables.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let all: Vec<String> = markdown.map(|path| fs::read_to_string(path).unwrap()).collect();
    let with = all.iter().find(|table| table.contains("Dimming")).unwrap_or_else(|| panic!("{all:?}"));
    for title in ["Baseline", "Dropout", "Denoising", "VAE", "AAE", "VQ-VAE", "ACAI"] {
        assert!(with.contains(title), "{title}: {with}");
    }
    assert!(with.contains("Area error") && with.contains("cross-fade between discs"), "{with}");
    assert!(with.contains("| Discs 16"), "{with}");
    let page = fs::read_to_string(dir.path().join("index.html")).unwrap();
    assert!(page.contains("Dimming") && page.contains("discs"));
    let summary = String::from_utf8(run(&["compare"], dir.path()).stdout).unwrap();
    assert!(summary.contains("Dimming"), "{summary}");
    run(&["export", "--to", "csv"], dir.path());
    let csv = fs::read_to_string(dir.path().join("export/csv/metrics.csv")).unwrap();
    assert!(csv.contains("eval/dimming") && csv.contains("eval/area_error"));
    let again = run(&sweep, dir.path());
    assert!(String::from_utf8_lossy(&again.stdout).contains("Nothing to do"));
}

#[test]
fn a_run_that_is_killed_goes_on_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    let sweep =
        ["sweep", "--preset", "smoke", "--variants", "acai", "--datasets", "discs", "--jobs", "1", "--out"];
    run(&sweep, &whole);
    let mut child = Command::new(PROGRAM)
        .args(sweep)
        .arg(&broken)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The process is killed after the first checkpoint and before the end of the run.
    let started = Instant::now();
    let saved = || {
        let runs = fs::read_dir(broken.join("runs")).ok()?;
        let mut paths = runs.filter_map(|run| Some(run.ok()?.path().join("checkpoint.safetensors")));
        paths.any(|path| path.exists()).then_some(())
    };
    while saved().is_none() {
        assert!(started.elapsed() < Duration::from_mins(2), "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    run(&sweep, &broken);
    let (whole, broken) = (only_run(&whole), only_run(&broken));
    for name in ["model.safetensors", "interpolation.safetensors", "paths.safetensors"] {
        assert!(
            fs::read(whole.join(name)).unwrap() == fs::read(broken.join(name)).unwrap(),
            "{name} differs"
        );
    }
    let values = |run: &Path| {
        let json = Command::new(PROGRAM).args(["eval", "--json"]).arg(run).output().unwrap();
        String::from_utf8(json.stdout).unwrap()
    };
    assert!(values(&whole).contains("eval/dimming"), "{}", values(&whole));
    assert_eq!(values(&whole), values(&broken));
}

#[test]
fn every_verb_knows_the_dataset() {
    let dir = tempfile::tempdir().unwrap();
    let told = |words: &[&str]| {
        let output = Command::new(PROGRAM).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(told(&["list"]).contains("discs"));
    assert!(told(&["data", "list"]).contains("32x32x1, from code"), "{}", told(&["data", "list"]));
    let check = told(&["data", "check", "discs"]);
    assert!(check.contains("drawn without end") && check.contains("depend on their draws alone"), "{check}");
    let out = dir.path().to_string_lossy().into_owned();
    let unknown = told(&["sweep", "--datasets", "disc", "--out", &out]);
    assert!(unknown.contains("(did you mean 'discs'?)"), "{unknown}");
}
