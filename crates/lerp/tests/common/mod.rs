//! The `lerp` command under test.

// Every test binary uses a part of this.
#![allow(dead_code)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub fn lerp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lerp"))
}

/// Runs `lerp` with the words of `line` and then `paths`.
pub fn run(line: &str, paths: &[&Path]) -> Output {
    lerp().args(line.split_whitespace()).args(paths).output().unwrap()
}

/// Exit code, standard output and standard error.
pub fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The folders of the runs of a sweep.
pub fn runs(sweep: &Path) -> Vec<PathBuf> {
    let mut runs: Vec<_> =
        std::fs::read_dir(sweep.join("runs")).unwrap().map(|e| e.unwrap().path()).collect();
    runs.sort();
    runs
}
