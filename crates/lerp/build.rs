//! Records the git revision and candle's version, for the provenance of results.

use std::{path::Path, process::Command};

fn main() {
    let root = Path::new("../..");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/index");
    for path in ["Cargo.lock", "Cargo.toml", "crates", "xtask"] {
        println!("cargo::rerun-if-changed=../../{path}");
    }
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let mut revision = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    // Does not refresh the index, because the index is watched above and a change would run this script again at the
    // next build.
    if git(&[
        "--no-optional-locks",
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        "crates",
        "xtask",
        "Cargo.toml",
        "Cargo.lock",
    ])
    .is_some_and(|changes| !changes.is_empty())
    {
        revision += "-dirty";
    }
    println!("cargo::rustc-env=LERP_GIT={revision}");

    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let candle = lock
        .split("[[package]]")
        .find(|package| package.contains("name = \"candle-core\""))
        .and_then(|package| package.split("version = \"").nth(1)?.split('"').next())
        .unwrap_or("unknown");
    println!("cargo::rustc-env=LERP_CANDLE={candle}");
}
