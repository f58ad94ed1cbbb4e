//! `cargo xtask ci`: all checks that a change must pass, cheapest first.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path, process::Command, time::Instant};

#[cfg(unix)]
use crate::faults;
use crate::{Result, cargo, root, run, say, tidy};

/// The file to which each skipped test appends a line.
const SKIPPED: &str = "target/ci/skipped.txt";

/// Runs every check, or of `checks` and `tests` the half that the arguments name, and prints how long each took and
/// which tests were skipped.
pub fn ci(arguments: &[String]) -> Result<()> {
    let started = Instant::now();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match words[..] {
        [] => checks().and_then(|()| tests()).map(|()| "everything")?,
        ["checks"] => checks().map(|()| "checks")?,
        ["tests"] => tests().map(|()| "tests")?,
        _ => {
            return Err(format!(
                "ci has no argument '{}'; there are `checks`, which need nothing but Rust and a C compiler, and `tests`",
                words.join(" ")
            ));
        }
    };
    say(&format!("ci: {passed} passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// The options of all cargo commands here. One profile and one set of features, so that dependencies are compiled once.
/// The features include downloads, whose tests use a simulated hub on the loopback interface.
const ALL: [&str; 5] = ["--release", "--workspace", "--features", "lerpbench/hub", "--locked"];

/// Checks what the compiler and its tools can check, and builds everything.
fn checks() -> Result<()> {
    step("format", || run(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", tidy::tidy)?;
    step("build", || run(cargo().arg("build").args(ALL).arg("--all-targets")))?;
    step("clippy", || run(cargo().arg("clippy").args(ALL).args(["--all-targets", "--", "-D", "warnings"])))?;
    step("documentation", || {
        run(cargo().arg("doc").args(ALL).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    // The default build, without the feature for downloads, is checked as well.
    step("without downloads", || {
        run(cargo().args(["clippy", "--release", "-p", "lerpbench", "--locked", "--", "-D", "warnings"]))
    })
}

/// Runs the tests, a small sweep, and a short campaign of faults.
fn tests() -> Result<()> {
    let skipped = root().join(SKIPPED);
    clear(&skipped)?;
    step("cargo test", || run(cargo().arg("test").args(ALL).env("LERP_SKIPPED", &skipped)))?;
    step("smoke sweep", smoke)?;
    #[cfg(unix)]
    step("faults", || faults::campaign(faults::Extent::Short, 1, &root().join("target/release/lerp")))?;
    tell_skipped(&skipped)
}

/// Removes the list of skipped tests of an earlier run, and creates its folder.
fn clear(skipped: &Path) -> Result<()> {
    if let Err(error) = fs::remove_file(skipped)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(format!("cannot remove {}: {error}", skipped.display()));
    }
    let folder = root().join("target/ci");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))
}

/// Prints how many tests were skipped, and why each was.
fn tell_skipped(skipped: &Path) -> Result<()> {
    let text = match fs::read_to_string(skipped) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", skipped.display())),
    };
    let lines: BTreeSet<&str> = text.lines().collect();
    match lines.len() {
        0 => say("ci: no test was skipped"),
        1 => say("ci: 1 test was skipped"),
        number => say(&format!("ci: {number} tests were skipped")),
    }
    for line in lines {
        say(line);
    }
    Ok(())
}

/// Runs the smoke preset in an empty folder.
fn smoke() -> Result<()> {
    let out = root().join("target/ci/smoke");
    if out.exists() {
        fs::remove_dir_all(&out).map_err(|e| format!("cannot clear {}: {e}", out.display()))?;
    }
    run(Command::new(root().join("target/release/lerp"))
        .args(["sweep", "--preset", "smoke", "--out"])
        .arg(&out))
}

/// Runs one check and prints its name and duration.
fn step(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    say(&format!("ci: {name}"));
    check()?;
    say(&format!("ci: {name} passed in {} s", started.elapsed().as_secs()));
    Ok(())
}
