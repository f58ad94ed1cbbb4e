//! Runs that are resumed on another machine, or whose folder has the record of another run.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use candle_core::Device;
use lerp_baseline::Baseline;
use lerp_core::{ModelVariant, Precision};
use lerp_data::Lines;
use lerp_train::{Cell, Progress, Provenance, Result, Run, RunInputs, RunRecord, State, TrainOutcome, train};

static BASELINE: ModelVariant<Baseline> = ModelVariant::new();

/// Trains a run, or resumes it, until its next evaluation if it is to `stop` there.
fn go(record: &RunRecord, dir: &Path, stop: bool) -> Result<TrainOutcome> {
    let inputs =
        RunInputs { variant: &BASELINE, dataset: &Lines, device: &Device::Cpu, metrics: &[], judge: None };
    let stopped = AtomicBool::new(false);
    train(record, &inputs, dir, &stopped, &mut |progress| {
        if stop && matches!(progress, Progress::Evaluated { .. }) {
            stopped.store(true, Ordering::Relaxed);
        }
    })
}

/// Returns the notices of this process that mention `text`.
fn notices(text: &str) -> usize {
    lerp_kernels::noticed().iter().filter(|notice| notice.contains(text)).count()
}

/// Returns the record of a run on the given device, and on a processor with the given instruction set.
fn record(cell: &Cell, device: &str, instructions: &str) -> RunRecord {
    let provenance =
        Provenance { device: device.into(), instructions: instructions.into(), ..Provenance::unknown() };
    RunRecord::new(cell.clone(), "Baseline", provenance)
}

#[test]
fn a_run_that_is_resumed_on_another_machine_says_so() {
    let cell = crate::cell(&BASELINE, &Lines);
    for (device, instructions, wanted) in [
        (
            "cpu",
            "avx512",
            "was started with avx2 and is resumed with avx512, so its results are not those of one processor",
        ),
        (
            "cuda:0",
            "",
            "was started on cpu and is resumed on cuda:0, so its results are not those of one device",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let first = record(&cell, "cpu", "avx2");
        let dir = folder.path().join(&first.id);
        assert_eq!(go(&first, &dir, true).unwrap(), TrainOutcome::Interrupted);
        // On the same kind of machine nothing is said.
        assert_eq!(go(&first, &dir, true).unwrap(), TrainOutcome::Interrupted);
        assert_eq!(notices(wanted), 0);
        assert_eq!(go(&record(&cell, device, instructions), &dir, false).unwrap(), TrainOutcome::Done);
        assert_eq!(notices(wanted), 1, "{:?}", lerp_kernels::noticed());
        // The record keeps both machines.
        let run = Run::read(&dir).unwrap();
        assert_eq!(run.status.state, State::Done);
        assert_eq!(
            (run.record.provenance.device.as_str(), run.record.later.last().unwrap().device.as_str()),
            ("cpu", device)
        );
    }
}

#[test]
fn the_folder_of_another_run_is_refused() {
    let cell = crate::cell(&BASELINE, &Lines);
    let folder = tempfile::tempdir().unwrap();
    let first = record(&cell, "cpu", "avx2");
    let dir = folder.path().join(&first.id);
    assert_eq!(go(&first, &dir, true).unwrap(), TrainOutcome::Interrupted);
    let refused = |record: &RunRecord| go(record, &dir, false).unwrap_err().to_string();
    let other = record(&Cell { seed: 1, ..cell.clone() }, "cpu", "avx2");
    let wanted = format!("is the record of {}, and its folder is called {}", other.id, first.id);
    assert!(refused(&other).contains(&wanted), "{}", refused(&other));
    let precise = record(&Cell { precision: Precision::Tf32, ..cell.clone() }, "cpu", "avx2");
    let same_name = RunRecord { id: first.id.clone(), ..precise };
    assert!(refused(&same_name).contains("is the record of a run in "), "{}", refused(&same_name));
    let changed = RunRecord { id: first.id.clone(), ..record(&Cell { samples: 64, ..cell }, "cpu", "avx2") };
    assert!(
        refused(&changed).contains("it was changed, or is another version's; delete the folder"),
        "{}",
        refused(&changed)
    );
    // The run itself goes on.
    assert_eq!(go(&first, &dir, false).unwrap(), TrainOutcome::Done);
}
