//! `cargo xtask ci`: what must hold before anything lands, cheapest first.

use std::{process::Command, time::Instant};

#[cfg(unix)]
use crate::faults;
use crate::{Result, cargo, root, run, say, tidy};

/// Runs every check and says how long each took.
pub fn ci() -> Result<()> {
    let started = Instant::now();
    step("format", || run(cargo().args(["fmt", "--all", "--check"])))?;
    step("tidy", tidy::tidy)?;
    // One profile everywhere, so that dependencies are compiled once.
    step("build", || run(cargo().args(["build", "--release", "--workspace", "--all-targets", "--locked"])))?;
    step("clippy", || {
        let clippy =
            ["clippy", "--release", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        run(cargo().args(clippy))
    })?;
    step("tests", || run(cargo().args(["test", "--release", "--workspace", "--locked"])))?;
    // The feature that downloads: its lints, and its tests against a server on the loopback and candle-datasets' readers.
    step("hub", || {
        let clippy = ["clippy", "--release", "-p", "lerp-data", "-p", "lerp", "--all-targets"];
        let deny = ["--features", "lerp/hub", "--locked", "--", "-D", "warnings"];
        run(cargo().args(clippy).args(deny))?;
        let test =
            ["test", "--release", "-p", "lerp-data", "-p", "lerp", "--features", "lerp/hub", "--locked"];
        run(cargo().args(test).args(["--test", "hub", "--test", "candle", "--test", "fetch"]))
    })?;
    step("documentation", || {
        let mut doc = cargo();
        doc.args(["doc", "--release", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings");
        run(&mut doc)
    })?;
    step("smoke sweep", smoke)?;
    #[cfg(unix)]
    step("faults", || faults::campaign(faults::Extent::Short, 1, &root().join("target/release/lerp")))?;
    say(&format!("ci: everything passed in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// The smoke preset, from nothing.
fn smoke() -> Result<()> {
    let out = root().join("target/ci/smoke");
    if out.exists() {
        std::fs::remove_dir_all(&out).map_err(|e| format!("cannot clear {}: {e}", out.display()))?;
    }
    run(Command::new(root().join("target/release/lerp"))
        .args(["sweep", "--preset", "smoke", "--out"])
        .arg(&out))
}

fn step(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    say(&format!("ci: {name}"));
    check()?;
    say(&format!("ci: {name} passed in {} s", started.elapsed().as_secs()));
    Ok(())
}
