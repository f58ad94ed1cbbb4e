//! Helpers that run the `lerp` command under test and prepare its inputs.

// Every test binary uses only some of these functions.
#![allow(dead_code)]

pub mod outside;
#[cfg(target_os = "linux")]
pub mod slurm;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lerp_train::{MetricRow, Metrics, Run};

/// Returns the `lerp` command.
pub fn lerp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lerp"))
}

/// Runs `lerp` with the words of `line` as arguments, followed by `paths`.
pub fn run(line: &str, paths: &[&Path]) -> Output {
    lerp().args(line.split_whitespace()).args(paths).output().unwrap()
}

/// Runs `lerp` as [`run`] does, asserts that it succeeds, and returns its standard output.
pub fn succeed(line: &str, paths: &[&Path]) -> String {
    let (code, text, errors) = parts(&run(line, paths));
    assert_eq!(code, 0, "{line}: {errors}{text}");
    text
}

/// Returns exit code, standard output and standard error.
pub fn parts(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Returns the folders of the runs of a sweep, sorted by name.
pub fn runs(sweep: &Path) -> Vec<PathBuf> {
    let mut runs: Vec<_> = fs::read_dir(sweep.join("runs")).unwrap().map(|e| e.unwrap().path()).collect();
    runs.sort();
    runs
}

/// A value of a metric as bits, which are equal only for the same number; all NaN are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    pub metric: String,
    pub step: u64,
    pub samples: u64,
    pub bits: u64,
}

/// Returns the metrics of a run without times.
pub fn measurements(run: &Path) -> Vec<Measurement> {
    let Metrics(rows) = Run::read(run).unwrap().metrics().unwrap();
    let measurement = |row: MetricRow| {
        let value = if row.value.is_nan() { f64::NAN } else { row.value };
        Measurement { metric: row.metric, step: row.step, samples: row.samples, bits: value.to_bits() }
    };
    rows.into_iter().map(measurement).collect()
}

/// The files that a run must reproduce beside its metrics. Only some variants write samples.
const FILES: [&str; 5] = [
    "model.safetensors",
    "interpolation.safetensors",
    "interpolation.png",
    "paths.safetensors",
    "samples.safetensors",
];

/// Asserts that two complete runs have the same metrics, model and images bit for bit.
pub fn assert_same_runs(left: &Path, right: &Path) {
    for name in FILES {
        let read = |dir: &Path| fs::read(dir.join(name)).ok();
        assert!(read(left) == read(right), "{}: {name} differs", left.display());
        assert!(name.starts_with("samples") || read(left).is_some(), "{}: no {name}", left.display());
    }
    assert_eq!(measurements(left), measurements(right));
    assert!(!left.join("progress.json").exists() && !right.join("progress.json").exists());
}

/// Replaces a file of a run and its recorded digest, as if the run had written it.
pub fn rewrite(run: &Path, name: &str, bytes: &[u8]) {
    let list = run.join("digests.json");
    let mut digests: serde_json::Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    digests["files"][name] = serde_json::json!([lerp_files::digest(bytes)]);
    fs::write(list, digests.to_string()).unwrap();
    fs::write(run.join(name), bytes).unwrap();
}

/// Changes the status of a complete run to interrupted, so that it resumes from its last checkpoint.
pub fn unfinished(run: &Path) {
    let status = fs::read_to_string(run.join("status.json")).unwrap();
    rewrite(run, "status.json", status.replace("\"done\"", "\"interrupted\"").as_bytes());
}

/// Runs `lerp` in a shell after the commands `limits`, which restrict the resources that the system grants.
#[cfg(unix)]
pub fn limited(limits: &str, line: &str, paths: &[&Path]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{limits}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_lerp")]);
    shell.args(line.split_whitespace()).args(paths).output().unwrap()
}

/// Writes a file in the IDX format of MNIST.
pub fn idx(path: &Path, sizes: &[u32], values: impl IntoIterator<Item = u8>) {
    let mut bytes = (0x0800 + sizes.len() as u32).to_be_bytes().to_vec();
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    fs::write(path, bytes).unwrap();
}

/// Writes an image set in the files of MNIST into `folder`: `n` training images and half as many test images, grey,
/// 28x28 pixels, in five classes that differ in the position of a square.
pub fn squares(folder: &Path, n: u32) {
    fs::create_dir_all(folder).unwrap();
    let pixel = |image: u32, position: u32| {
        let (class, shift) = (image % 5, image / 5 % 3);
        let (y, x) = (position / 28, position % 28);
        let (top, left) = (4 + 10 * (class / 3) + shift, 1 + 8 * (class % 3) + shift);
        let inside = (top..top + 7).contains(&y) && (left..left + 7).contains(&x);
        if inside { 250 - 10 * shift as u8 } else { 0 }
    };
    for (part, n) in [("train", n), ("t10k", n / 2)] {
        let pixels = (0..n).flat_map(|image| (0..28 * 28).map(move |position| pixel(image, position)));
        idx(&folder.join(format!("{part}-images-idx3-ubyte")), &[n, 28, 28], pixels);
        let labels = (0..n).map(|image| (image % 5) as u8);
        idx(&folder.join(format!("{part}-labels-idx1-ubyte")), &[n], labels);
    }
}

/// Returns a Python interpreter that can run `imports`. If there is none, the test is skipped for want of `what`, and
/// the result is `None`.
pub fn python(what: &str, imports: &str) -> Option<std::ffi::OsString> {
    let python = env::var_os("LERP_PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&python).args(["-c", imports]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    lerp_test::skip(
        what,
        &format!("{} cannot `{imports}`; set LERP_PYTHON to a Python that can", python.display()),
    );
    None
}
