//! Skipping of tests whose requirement this machine does not meet, such as PyTorch, Slurm or a GPU.

use std::{env, fs, io::Write, thread};

/// Reports that the running test is skipped because `what` is missing. The line goes to standard error, and to the end of
/// the file that the environment variable `LERP_SKIPPED` names.
///
/// # Panics
/// If `what` is required, that is in the environment variable `LERP_REQUIRE`, a list with commas; or if the file cannot be
/// written.
pub fn skip(what: &str, why: &str) {
    let thread = thread::current();
    // The test harness names the thread of a test after it, and cargo sets the name of the package.
    let test = thread.name().unwrap_or("a test");
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let required = env::var("LERP_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == what),
        "{test} needs {what}, which LERP_REQUIRE lists: {why}"
    );
    let line = format!("skipped: {package}::{test} needs {what}: {why}\n");
    // Written directly to standard error, because the output of a passing test is captured otherwise.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = env::var_os("LERP_SKIPPED") {
        let file = fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "cannot write the file {} that LERP_SKIPPED names", path.display());
    }
}
