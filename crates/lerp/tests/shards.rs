//! A sweep in shares, their merging, and when a sweep gives up.

#![allow(clippy::unwrap_used)]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use common::{parts, rewrite, run, runs, unfinished};
use lerp_train::{Metrics, Run, State};

const SWEEP: &str = "sweep --preset smoke --samples 128 --seeds 0..2 --variants baseline,vae,aae";

fn succeed(line: &str, paths: &[&Path]) -> String {
    let (code, text, errors) = parts(&run(line, paths));
    assert_eq!(code, 0, "{line}: {errors}{text}");
    text
}

/// The lines of a table, without captions.
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
        // The same share once more is done.
        let text = succeed(&format!("{SWEEP} --shard {}/2 --out", i + 1), &[share]);
        assert!(text.contains("Nothing to do"), "{text}");
    }
    let merge = format!("merge {} {} --out", shares[0].display(), shares[1].display());
    let text = succeed(&merge, &[&at("both")]);
    assert!(text.contains("6 of 6 runs were copied"), "{text}");
    assert_eq!(names(&runs(&at("both"))), names(&runs(&at("one"))));
    assert_eq!(table(&at("both")), table(&at("one")));
    for (ours, theirs) in runs(&at("both")).iter().zip(runs(&at("one"))) {
        let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
        assert_eq!(model(ours), model(&theirs));
        assert!(!ours.join(".lock").exists());
    }
    // The plan's own sweep has nothing to do there, and neither has the same merge.
    assert!(succeed(&format!("{SWEEP} --out"), &[&at("both")]).contains("Nothing to do"));
    assert!(succeed(&merge, &[&at("both")]).contains("0 of 6 runs were copied"));

    // One that was interrupted in one place and is complete in another is complete.
    let half = &runs(&shares[0])[0];
    let whole = at("both").join("runs").join(half.file_name().unwrap());
    unfinished(&whole);
    assert!(succeed(&merge, &[&at("both")]).contains("1 of 6 runs were copied"));
    assert_eq!(Run::read(&whole).unwrap().status.state, State::Done);
    assert!(!at("both").join("merging").exists());

    // Two that are not equal are named, and nothing is written.
    let mut metrics = Metrics::read(&half.join("metrics.parquet")).unwrap();
    metrics.0[0].value += 1e-9;
    rewrite(half, "metrics.parquet", &metrics.parquet().unwrap());
    let before = fs::read(whole.join("metrics.parquet")).unwrap();
    let (code, _, errors) = parts(&run(&merge, &[&at("both")]));
    assert!(code == 2 && errors.contains("differ in their metrics"), "{errors}");
    assert!(errors.contains(&*half.file_name().unwrap().to_string_lossy()), "{errors}");
    assert_eq!(fs::read(whole.join("metrics.parquet")).unwrap(), before);
    // Clocks may differ.
    metrics.0[0].value -= 1e-9;
    let equal = Metrics::read(&whole.join("metrics.parquet")).unwrap().0;
    metrics.0 = equal.into_iter().map(|row| lerp_train::Row { wall_s: row.wall_s + 1.0, ..row }).collect();
    rewrite(half, "metrics.parquet", &metrics.parquet().unwrap());
    succeed(&merge, &[&at("both")]);

    for (line, wanted) in [
        (
            format!("merge {} --out {}", at("both").display(), at("both").display()),
            "name it with --out alone",
        ),
        (format!("merge {} --out {}", at("nothing").display(), at("new").display()), "cannot read"),
        (format!("merge {} --out {}", dir.path().display(), at("new").display()), "holds no runs of a sweep"),
        (format!("{SWEEP} --shard 3/2 --out {}", at("new").display()), "I from 1 to N"),
        (format!("{SWEEP} --shard 9/9 --out {}", at("new").display()), "the plan has only 6 cells"),
    ] {
        let (code, _, errors) = parts(&run(&line, &[]));
        assert!(code == 2 && errors.contains(wanted), "{line}: {errors}");
        assert!(!at("new").exists(), "{line}");
    }
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
        assert!(
            code == 1 && text.contains("stopped") && text.contains("goes on from here"),
            "{errors}{text}"
        );
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
    // At this rate a loss is no number soon.
    let line =
        "sweep --preset smoke --variants baseline --seeds 0..4 --samples 512 --learning-rate 1e30 --jobs 1";
    let out = dir.path().join("again");
    let (code, text, _) = parts(&run(&format!("{line} --retry 1 --max-failures 2 --out"), &[&out]));
    assert_eq!(code, 1, "{text}");
    let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("again     lines-baseline"), count("No more cells begin: 2 failed")), (4, 1), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("FAILED lines-baseline")).count(), 2, "{text}");
}
