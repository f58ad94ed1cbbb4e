//! `cargo xtask ci`: all checks that a change must pass, cheapest first.

use std::{process::Command, time::Instant};

#[cfg(unix)]
use crate::faults;
use crate::{Result, cargo, root, run, say, tidy};

/// Runs every check and prints how long each took.
pub fn ci() -> Result<()> {
    let started = Instant::now();
    step("format", || run(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", tidy::tidy)?;
    // All steps use one profile and one set of features, so that dependencies are compiled once. The features include
    // downloads, whose tests use a simulated hub on the loopback interface.
    let all = ["--release", "--workspace", "--features", "lerp/hub", "--locked"];
    step("build", || run(cargo().arg("build").args(all).arg("--all-targets")))?;
    step("clippy", || run(cargo().arg("clippy").args(all).args(["--all-targets", "--", "-D", "warnings"])))?;
    step("tests", || run(cargo().arg("test").args(all)))?;
    step("documentation", || {
        run(cargo().arg("doc").args(all).arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    // The default build, without the feature for downloads, is checked as well.
    step("without downloads", || {
        run(cargo().args(["clippy", "--release", "-p", "lerp", "--locked", "--", "-D", "warnings"]))
    })?;
    step("smoke sweep", smoke)?;
    #[cfg(unix)]
    step("faults", || faults::campaign(faults::Extent::Short, 1, &root().join("target/release/lerp")))?;
    say(&format!("ci: everything passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Runs the smoke preset in an empty folder.
fn smoke() -> Result<()> {
    let out = root().join("target/ci/smoke");
    if out.exists() {
        std::fs::remove_dir_all(&out).map_err(|e| format!("cannot clear {}: {e}", out.display()))?;
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
