//! Tests of runs of two precisions in one folder, one of which was made by an earlier version.

use std::{fs, path::Path};

use crate::common::{parts, run, runs};

const SWEEP: &str = "sweep --preset smoke --variants baseline --samples 64 --device cpu --full-f32 --out";

/// Changes a run to look as if an earlier version had made it on a GPU in TF32, without digests and without a recorded
/// precision.
fn of_an_earlier_version(run: &Path) {
    fs::remove_file(run.join("digests.json")).unwrap();
    let record = fs::read_to_string(run.join("run.toml")).unwrap();
    let record = record.replace("digests = true\n", "");
    let record = record.replace("device = \"cpu\"", "device = \"cuda:0 (NVIDIA H200, TF32)\"");
    assert!(record.contains("TF32") && !record.contains("digests") && !record.contains("precision"));
    fs::write(run.join("run.toml"), record).unwrap();
}

#[test]
fn a_sweep_in_full_f32_trains_beside_runs_in_tf32_and_no_table_averages_them() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = || parts(&run(SWEEP, &[dir.path()]));
    let (code, _, errors) = sweep();
    assert_eq!(code, 0, "{errors}");
    let [then] = &runs(dir.path())[..] else { panic!("one run") };
    of_an_earlier_version(then);
    let kept = fs::read(then.join("model.safetensors")).unwrap();

    let (code, text, errors) = sweep();
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("1 of 1 run to train"), "{text}");
    let both = runs(dir.path());
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both.contains(then) && fs::read(then.join("model.safetensors")).unwrap() == kept);
    let table = fs::read_to_string(dir.path().join("tables/table1.md")).unwrap();
    for row in ["| Baseline (precision=f32) |", "| Baseline (precision=tf32) |"] {
        assert!(table.contains(row), "{table}");
    }

    let (code, text, errors) = sweep();
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("Nothing to do"), "{text}");
    assert_eq!(runs(dir.path()), both);
}
