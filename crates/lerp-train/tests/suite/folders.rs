//! Folders of runs that were modified after training: copied, renamed, linked, changed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{OnceLock, atomic::AtomicBool},
};

use candle_core::Device;
use lerp_baseline::Baseline;
use lerp_core::ModelVariant;
use lerp_data::Lines;
use lerp_train::{Cell, Provenance, Run, RunInputs, RunRecord, Runs, TrainOutcome, runs_in, train};

static BASELINE: ModelVariant<Baseline> = ModelVariant::new();

fn cell(seed: u64) -> Cell {
    Cell { seed, samples: 8, ..crate::cell(&BASELINE, &Lines) }
}

/// The files of a finished run, by name.
type Files = Vec<(OsString, Vec<u8>)>;

/// Creates a finished run in a sweep and returns the run's folder. The run of each seed is trained once and then
/// copied.
fn trained(sweep: &Path, seed: u64) -> PathBuf {
    static FILES: [OnceLock<Files>; 2] = [OnceLock::new(), OnceLock::new()];
    let record = RunRecord::new(cell(seed), "Baseline", Provenance::unknown());
    let dir = sweep.join("runs").join(&record.id);
    let files = FILES[seed as usize].get_or_init(|| {
        let runs = tempfile::tempdir().unwrap();
        let dir = runs.path().join(&record.id);
        let inputs = RunInputs {
            variant: &BASELINE,
            dataset: &Lines,
            device: &Device::Cpu,
            metrics: &[],
            judge: None,
        };
        let outcome = train(&record, &inputs, &dir, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert_eq!(outcome, TrainOutcome::Done);
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    });
    fs::create_dir_all(&dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Returns the only folder that is left out, with the reason.
fn left_out(runs: &Runs) -> (&str, &str) {
    let [one] = &runs.left_out[..] else { panic!("{:?}", runs.left_out) };
    (&one.folder, &one.reason)
}

#[test]
fn a_copy_is_reported_and_not_counted() {
    let sweep = tempfile::tempdir().unwrap();
    let run = trained(sweep.path(), 0);
    let copied = run.with_extension("bak");
    copy(&run, &copied);
    let runs = runs_in(sweep.path()).unwrap();
    assert_eq!(runs.runs.len(), 1);
    assert_eq!(runs.runs[0].dir, run);
    let (folder, reason) = left_out(&runs);
    assert!(folder.contains(".bak") && reason.contains("its folder is called"), "{folder} {reason}");
    // A copy with another seed in its record no longer matches its digests.
    let text = fs::read_to_string(copied.join("run.toml")).unwrap();
    fs::write(copied.join("run.toml"), text.replace("seed = 0", "seed = 1")).unwrap();
    let runs = runs_in(sweep.path()).unwrap();
    assert!(left_out(&runs).1.contains("was changed or damaged"), "{:?}", runs.left_out);
}

#[test]
fn the_same_images_under_two_names_are_one_run() {
    let sweep = tempfile::tempdir().unwrap();
    for (location, started) in [("/a/pets", "2026-01-02"), ("/b/pets", "2026-01-01")] {
        let cell = Cell { dataset: format!("images:{location}"), ..cell(0) };
        let provenance =
            Provenance { data: Some("0123".into()), started: started.into(), ..Provenance::unknown() };
        let record = RunRecord { digests: false, ..RunRecord::new(cell, "Baseline", provenance) };
        let dir = sweep.path().join("runs").join(&record.id);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("run.toml"), toml::to_string(&record).unwrap()).unwrap();
        fs::write(dir.join("status.json"), r#"{"state":"interrupted","samples":4,"wall_s":1.0}"#).unwrap();
    }
    let runs = runs_in(sweep.path()).unwrap();
    assert_eq!(runs.runs.len(), 1);
    assert_eq!(runs.runs[0].record.cell.dataset, "images:/b/pets");
    assert!(left_out(&runs).1.contains("is of the same cell and seed as"), "{:?}", runs.left_out);
    assert!(runs.unchecked().unwrap().starts_with("1 run is of an earlier version"));
}

#[test]
#[cfg(unix)]
fn links_are_not_followed() {
    let (sweep, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = trained(other.path(), 0);
    fs::create_dir(sweep.path().join("runs")).unwrap();
    std::os::unix::fs::symlink(&run, sweep.path().join("runs").join(run.file_name().unwrap())).unwrap();
    let runs = runs_in(sweep.path()).unwrap();
    assert!(runs.runs.is_empty() && left_out(&runs).1.contains("symbolic link"), "{:?}", runs.left_out);

    let linked = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(other.path().join("runs"), linked.path().join("runs")).unwrap();
    assert!(runs_in(linked.path()).unwrap_err().to_string().contains("it is not a folder"));

    let secret = other.path().join("secret");
    fs::rename(run.join("metrics.parquet"), &secret).unwrap();
    std::os::unix::fs::symlink(&secret, run.join("metrics.parquet")).unwrap();
    let error = Run::read(&run).unwrap().metrics().unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
}

#[test]
fn invalid_records_are_refused_with_a_reason() {
    let sweep = tempfile::tempdir().unwrap();
    let run = trained(sweep.path(), 0);
    // Without digests, as in a run of an earlier version, files are accepted unchecked, but their content is still
    // validated.
    fs::remove_file(run.join("digests.json")).unwrap();
    let text = fs::read_to_string(run.join("run.toml")).unwrap().replace("digests = true\n", "");
    let id = run.file_name().unwrap().to_string_lossy().into_owned();
    let lie = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} in {text}");
        fs::write(run.join("run.toml"), text.replace(from, to)).unwrap();
        let runs = runs_in(sweep.path()).unwrap();
        assert!(runs.runs.is_empty(), "{to}");
        let (folder, reason) = left_out(&runs);
        assert!(folder == id && reason.contains("run.toml") && !reason.contains('\n'), "{reason}");
        reason.to_owned()
    };
    assert!(lie(&format!("id = \"{id}\""), "id = \"../../x\"").contains("that is not valid"));
    assert!(lie("variant = \"baseline\"", "variant = \"x/../..\"").contains("that is not valid"));
    assert!(lie("seed = 0", "seed = 1").contains("it was changed"));
    assert!(lie("depth = 2", "depth = 9223372036854775807").contains("network"));
    assert!(lie("latent = 2", "latent = 100000000").contains("network"));
    assert!(lie("batch = 4", "batch = 0").contains("batch"));
    assert!(lie("samples = 8", "samples = 9223372036854775807").contains("samples"));
    fs::write(run.join("run.toml"), &text).unwrap();
    assert_eq!(runs_in(sweep.path()).unwrap().runs.len(), 1);
}

#[test]
fn a_damaged_run_is_reported_and_the_others_are_read() {
    let sweep = tempfile::tempdir().unwrap();
    let (good, bad) = (trained(sweep.path(), 0), trained(sweep.path(), 1));
    for name in ["run.toml", "status.json", "digests.json", "metrics.parquet"] {
        let whole = fs::read(bad.join(name)).unwrap();
        let named = || {
            let runs = runs_in(sweep.path()).unwrap();
            assert_eq!(runs.runs.iter().map(|run| &run.dir).collect::<Vec<_>>(), [&good], "{name}");
            let reason = left_out(&runs).1.to_owned();
            assert!(reason.contains(name) && reason.contains("delete"), "{name}: {reason}");
        };
        fs::remove_file(bad.join(name)).unwrap();
        named();
        if name != "metrics.parquet" {
            fs::write(bad.join(name), "").unwrap();
            named();
        }
        fs::write(bad.join(name), &whole).unwrap();
    }
    assert_eq!(runs_in(sweep.path()).unwrap().runs.len(), 2);
    // The files of a worker that was killed before it wrote a record are not a run.
    fs::create_dir(sweep.path().join("runs/begun")).unwrap();
    fs::write(sweep.path().join("runs/begun/status.json"), "{}").unwrap();
    assert!(runs_in(sweep.path()).unwrap().left_out.is_empty());
}

/// Every file of a run that was changed by one bit, truncated, or replaced by another run's file is refused when it
/// is read.
#[test]
fn files_that_differ_from_the_runs_digests_are_refused() {
    let sweep = tempfile::tempdir().unwrap();
    let (run, other) = (trained(sweep.path(), 0), trained(sweep.path(), 1));
    let read = || -> Result<(), lerp_train::Error> {
        let run = Run::read(&run)?;
        run.metrics()?;
        run.strips()?;
        run.paths()?;
        run.preview()?;
        run.model()?;
        Ok(())
    };
    read().unwrap();
    let listed = fs::read_to_string(run.join("digests.json")).unwrap();
    let mut tried = 0;
    for entry in fs::read_dir(&run).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if matches!(&*name, ".lock" | "digests.json") {
            continue;
        }
        assert!(listed.contains(&name), "{name} has no digest");
        if matches!(&*name, "checkpoint.safetensors" | "events.out.tfevents.0.lerp") {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for bytes in [flipped, fs::read(other.join(&name)).unwrap(), whole[..whole.len() - 1].to_vec()] {
            if bytes == whole {
                continue;
            }
            fs::write(&path, bytes).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains("was changed or damaged"), "{name}: {error}");
            tried += 1;
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(tried >= 15, "{tried}");
    read().unwrap();
}
