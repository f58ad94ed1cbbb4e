//! Tests of sweeps in shares, of merging, and of the limits at which a sweep stops.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use lerp_train::{MetricRow, Metrics, Run, RunLock, State};

use crate::common::{parts, rewrite, run, runs, succeed, unfinished};

const SWEEP: &str = "sweep --preset smoke --samples 64 --seeds 0..2 --variants baseline,vae,aae";

/// Returns the rows of table 1 of a sweep, without its caption.
fn table(sweep: &Path) -> Vec<String> {
    let text = fs::read_to_string(sweep.join("tables/table1.md")).unwrap();
    text.lines().filter(|line| line.starts_with('|')).map(String::from).collect()
}

fn names(runs: &[PathBuf]) -> BTreeSet<String> {
    runs.iter().map(|run| run.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn shares_of_two_machines_make_the_tables_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    succeed(&format!("{SWEEP} --out"), &[&at("one")]);
    let shares = [at("first"), at("second")];
    for (i, share) in shares.iter().enumerate() {
        succeed(&format!("{SWEEP} --shard {}/2 --out", i + 1), &[share]);
        assert_eq!(runs(share).len(), 3);
        // A second sweep of the same share has nothing to do.
        let text = succeed(&format!("{SWEEP} --shard {}/2 --out", i + 1), &[share]);
        assert!(text.contains("Nothing to do"), "{text}");
    }
    let both = format!("merge {} {} --out", shares[0].display(), shares[1].display());
    let text = succeed(&both, &[&at("both")]);
    assert!(text.contains("6 of 6 runs were copied"), "{text}");
    assert_eq!(names(&runs(&at("both"))), names(&runs(&at("one"))));
    assert_eq!(table(&at("both")), table(&at("one")));
    for (ours, theirs) in runs(&at("both")).iter().zip(runs(&at("one"))) {
        let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
        assert_eq!(model(ours), model(&theirs));
        assert!(!ours.join(".lock").exists());
    }
    // A sweep of the whole plan into the merged folder has nothing to do.
    assert!(succeed(&format!("{SWEEP} --out"), &[&at("both")]).contains("Nothing to do"));

    // A run that is interrupted in one folder and complete in another is complete in the merged folder; the source
    // folders stay unchanged.
    let half = &runs(&shares[0])[0];
    let name = half.file_name().unwrap().to_owned();
    let whole = at("both").join("runs").join(&name);
    unfinished(&whole);
    let merge = |out: &str| {
        let line =
            format!("merge {} {} {} --out", at("both").display(), shares[0].display(), shares[1].display());
        parts(&run(&line, &[&at(out)]))
    };
    let (code, text, errors) = merge("again");
    assert!(code == 0 && text.contains("6 of 6 runs were copied"), "{errors}{text}");
    let state = |sweep: &str| Run::read(&at(sweep).join("runs").join(&name)).unwrap().status.state;
    assert_eq!([state("again"), state("both")], [State::Done, State::Interrupted]);
    // A run that is being trained is left out.
    let lock = RunLock::take(half).unwrap();
    let (code, text, errors) = merge("busy");
    assert!(code == 1 && text.contains("5 of 6 runs") && errors.contains("being trained"), "{errors}{text}");
    drop(lock);

    // Two unequal runs of one cell are named, and nothing is written.
    succeed(&format!("{SWEEP} --out"), &[&at("both")]);
    let mut metrics = Metrics::read(&half.join("metrics.parquet")).unwrap();
    let before = metrics.clone();
    metrics.0[0].value += 1e-3;
    rewrite(half, "metrics.parquet", &metrics.parquet().unwrap());
    let (code, _, errors) = merge("unlike");
    assert!(code == 2 && errors.contains("differ in their metrics"), "{errors}");
    assert!(errors.contains(&*name.to_string_lossy()) && !at("unlike").exists(), "{errors}");
    // Runs that differ in times only are equal.
    metrics.0 = before.0.into_iter().map(|row| MetricRow { wall_s: row.wall_s + 1.0, ..row }).collect();
    rewrite(half, "metrics.parquet", &metrics.parquet().unwrap());
    assert_eq!(merge("clocks").0, 0);
    // A damaged run is left out.
    fs::write(half.join("paths.safetensors"), "nothing of the kind").unwrap();
    let line = format!("merge {} --out", shares[0].display());
    let (code, text, errors) = parts(&run(&line, &[&at("damaged")]));
    assert!(code == 1 && text.contains("2 of 3 runs") && errors.contains("is left out"), "{errors}{text}");
    assert_eq!(runs(&at("damaged")).len(), 2);

    for (line, wanted) in [
        (
            format!("merge {} --out {}", at("nothing").display(), at("new").display()),
            "holds no runs of a sweep",
        ),
        (format!("merge {} --out {}", dir.path().display(), at("new").display()), "holds no runs of a sweep"),
        (format!("{SWEEP} --shard 3/2 --out {}", at("new").display()), "I from 1 to N"),
        (format!("{SWEEP} --shard 9/9 --out {}", at("new").display()), "the plan has only 6 cells"),
    ] {
        let (code, _, errors) = parts(&run(&line, &[]));
        assert!(code == 2 && errors.contains(wanted), "{line}: {errors}");
        assert!(!at("new").exists(), "{line}");
    }
    let (code, _, errors) = parts(&run(&format!("merge {} --out", shares[1].display()), &[&at("both")]));
    assert!(code == 2 && errors.contains("already exists; give --out a new folder"), "{errors}");
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let text = succeed(&format!("{SWEEP} --dry-run --judge 4096 --out"), &[&out]);
    assert!(!out.exists());
    assert_eq!(
        text.lines().filter(|line| line.starts_with("lines-") && line.ends_with("on cpu")).count(),
        6,
        "{text}"
    );
    assert!(text.contains("judge of lines: ") && text.contains("6 of 6 runs to train"), "{text}");
    succeed(&format!("{SWEEP} --shard 1/6 --out"), &[&out]);
    let files = |dir: &Path| fs::read_dir(dir).unwrap().count();
    let before = files(&out);
    let text = succeed(&format!("{SWEEP} --dry-run --out"), &[&out]);
    assert!(
        text.lines().any(|line| line.ends_with("  done")) && text.contains("5 of 6 runs to train"),
        "{text}"
    );
    assert_eq!((files(&out), runs(&out).len()), (before, 1));
}

#[test]
fn a_cell_stops_at_its_time_limit_and_the_next_sweep_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let line = "sweep --preset smoke --variants vae --samples 6000 --jobs 1";
    for pack in ["", " --pack"] {
        let out = dir.path().join(format!("out{}", pack.trim()));
        let (code, text, errors) = parts(&run(&format!("{line}{pack} --time-limit 0.3s --out"), &[&out]));
        assert!(code == 1 && text.contains("stopped") && text.contains("to resume."), "{errors}{text}");
        let stopped = Run::read(&runs(&out)[0]).unwrap();
        assert_eq!(stopped.status.state, State::Interrupted);
        assert!(stopped.dir.join("checkpoint.safetensors").exists());
        succeed(&format!("{line}{pack} --out"), &[&out]);
        assert_eq!(Run::read(&runs(&out)[0]).unwrap().status.state, State::Done);
    }
    let (code, _, errors) = parts(&run(&format!("{line} --time-limit soon --out"), &[dir.path()]));
    assert!(code == 2 && errors.contains("such as 90min"), "{errors}");
}

#[test]
fn failed_cells_are_tried_again_and_many_end_the_sweep() {
    let dir = tempfile::tempdir().unwrap();
    // With this learning rate the loss soon becomes NaN.
    let line =
        "sweep --preset smoke --variants baseline --seeds 0..4 --samples 512 --learning-rate 1e30 --jobs 1";
    let out = dir.path().join("again");
    let (code, text, _) = parts(&run(&format!("{line} --retry 1 --max-failures 2 --out"), &[&out]));
    assert_eq!(code, 1, "{text}");
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(
        (count("again     lines-baseline"), count("No more cells are started: 2 failed")),
        (4, 1),
        "{text}"
    );
    // Two cells failed twice; the other two had failed once when the sweep stopped.
    assert_eq!(text.lines().filter(|line| line.starts_with("FAILED lines-baseline")).count(), 4, "{text}");
    assert_eq!(count("was not tried again"), 2, "{text}");
}

#[test]
fn of_two_judges_a_merged_sweep_keeps_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (folder, variant, samples) in
        [("first", "baseline", 2048), ("equal", "vae", 2048), ("other", "acai", 1024)]
    {
        let line = format!("sweep --preset smoke --samples 64 --variants {variant} --judge {samples} --out");
        succeed(&line, &[&at(folder)]);
    }
    let judge = |folder: &str| fs::read_to_string(at(folder).join("judges/lines.toml")).unwrap();
    let merge = |second: &str, out: &str| {
        let line = format!("merge {} {} --out", at("first").display(), at(second).display());
        parts(&run(&line, &[&at(out)]))
    };
    // Judges of the same training on one kind of processor are equal.
    let (code, text, errors) = merge("equal", "one-judge");
    assert_eq!((code, errors.as_str(), judge("equal")), (0, "", judge("first")), "{text}");
    let table = fs::read_to_string(at("one-judge").join("tables/table5.md")).unwrap();
    assert!(table.contains("Baseline") && table.contains("VAE"), "{table}");

    let (code, text, errors) = merge("other", "two-judges");
    assert_eq!(code, 1, "{errors}{text}");
    assert!(
        errors.contains("lines.toml differs from the judge ") && errors.contains("`lerp eval RUN --write`"),
        "{errors}"
    );
    assert_eq!((judge("two-judges"), runs(&at("two-judges")).len()), (judge("first"), 2));
    let table = fs::read_to_string(at("two-judges").join("tables/table5.md")).unwrap();
    assert!(table.contains("Baseline") && !table.contains("| ACAI |"), "{table}");
}
