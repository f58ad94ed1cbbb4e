//! `cargo xtask tidy`: the project's rules that no compiler checks.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{Result, cargo, root, say};

/// All crates of this workspace, each with the workspace crates that it may depend on. Tests may use anything.
const ALLOWED_DEPENDENCIES: &[(&str, &[&str])] = &[
    ("lerp-core", &[]),
    ("lerp-files", &[]),
    ("lerp-cluster", &["lerp-files"]),
    ("lerp-kernels", &["lerp-core"]),
    ("lerp-nn", &["lerp-core", "lerp-kernels"]),
    ("lerp-baseline", VARIANT),
    ("lerp-dropout", VARIANT),
    ("lerp-denoising", VARIANT),
    ("lerp-vae", VARIANT),
    ("lerp-aae", VARIANT),
    ("lerp-vqvae", VARIANT),
    ("lerp-acai", VARIANT),
    ("lerp-data", &["lerp-core", "lerp-files", "lerp-kernels"]),
    ("lerp-eval", &["lerp-core", "lerp-data"]),
    (
        "lerp-train",
        &["lerp-core", "lerp-files", "lerp-cluster", "lerp-kernels", "lerp-nn", "lerp-data", "lerp-eval"],
    ),
    ("lerp-report", &["lerp-core", "lerp-files", "lerp-data", "lerp-eval", "lerp-train"]),
    ("lerp-watch", &["lerp-files", "lerp-cluster", "lerp-data", "lerp-eval", "lerp-train"]),
    (
        "lerp-export",
        &[
            "lerp-core",
            "lerp-files",
            "lerp-kernels",
            "lerp-data",
            "lerp-eval",
            "lerp-train",
            "lerp-report",
            "lerp-vae",
            "lerp-aae",
            "lerp-vqvae",
            "lerp-acai",
        ],
    ),
    (
        "lerp-verify",
        &[
            "lerp-core",
            "lerp-kernels",
            "lerp-nn",
            "lerp-data",
            "lerp-eval",
            "lerp-train",
            "lerp-dropout",
            "lerp-denoising",
            "lerp-vae",
            "lerp-aae",
            "lerp-vqvae",
            "lerp-acai",
        ],
    ),
    ("lerp-bench", &["lerp-core", "lerp-kernels", "lerp-nn", "lerp-data", "lerp-eval", "lerp-train"]),
    (PROGRAM, &[]),
    ("custom-autoencoder", EXAMPLE),
    ("resnet-candle-nn", EXAMPLE),
    ("own-data-and-metric", EXAMPLE),
    (FOR_TESTS, &[]),
    ("xtask", &[]),
];
/// The crates that an autoencoder variant may depend on.
const VARIANT: &[&str] = &["lerp-core", "lerp-kernels", "lerp-nn"];
/// The crates that an example, and so a user's own crate, may depend on.
const EXAMPLE: &[&str] = &["lerpbench", "lerp-core", "lerp-kernels", "lerp-nn", "lerp-data", "lerp-eval"];
/// The program, which may depend on all crates but those for tests.
const PROGRAM: &str = "lerpbench";
/// The crate that only tests may depend on.
const FOR_TESTS: &str = "lerp-test";

/// External dependencies that only some crates may have.
const RESTRICTED: &[(&str, &[&str])] = &[
    ("clap", &["lerpbench"]),
    ("polars", &["lerp-data", "lerp-train", "lerp-report"]),
    ("polars-parquet", &["lerp-data"]),
    ("plotters", &["lerp-report"]),
    ("candle-datasets", &["lerp-data"]),
    ("hf-hub", &["lerp-data"]),
    ("ratatui", &["lerp-watch"]),
    ("anyhow", &["lerpbench"]),
];

/// The only crate that may contain `unsafe` code.
const UNSAFE: &str = "lerp-kernels";

/// The only source file that may cast tensors to `f64`: it moves them to the CPU first, because not every device
/// supports `f64`.
const WIDE: &str = "crates/lerp-core/src/host.rs";

/// The largest allowed number of lines of a source file.
const LONGEST_FILE: usize = 600;

/// Checks dependencies and sources, and prints every violation.
pub fn tidy() -> Result<()> {
    let output = cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]).output();
    let output = output.map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let mut faults = forbidden_dependencies(&dependencies(&metadata));
    sources(root(), &mut faults)?;
    if faults.is_empty() {
        say("tidy: all dependencies and sources are in order");
        return Ok(());
    }
    for fault in &faults {
        say(fault);
    }
    Err(format!("tidy: number of violations: {}", faults.len()))
}

/// Returns the dependencies of each package by name, without those that only tests use.
fn dependencies(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let normal = |dependency: &Value| dependency["kind"].as_str() != Some("dev");
    let of = |package: &Value| {
        list(&package["dependencies"]).iter().filter(|d| normal(d)).map(|d| text(&d["name"])).collect()
    };
    list(&metadata["packages"]).iter().map(|package| (text(&package["name"]), of(package))).collect()
}

/// Returns the dependencies that are not allowed.
fn forbidden_dependencies(packages: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    for (package, dependencies) in packages {
        let Some((_, allowed)) = ALLOWED_DEPENDENCIES.iter().find(|(name, _)| name == package) else {
            faults.push(format!("{package} is not in the list of allowed dependencies (xtask/src/tidy.rs)"));
            continue;
        };
        for dependency in dependencies {
            let allowed = match package.as_str() {
                PROGRAM => dependency != FOR_TESTS,
                _ => allowed.contains(&dependency.as_str()),
            };
            if packages.contains_key(dependency) && !allowed {
                faults.push(format!(
                    "{package} may not depend on {dependency}; ARCHITECTURE.md says which crates it may depend on"
                ));
            }
            if let Some((_, users)) = RESTRICTED.iter().find(|(name, _)| name == dependency)
                && !users.contains(&package.as_str())
            {
                faults
                    .push(format!("{package} may not depend on {dependency}: only {} may", users.join(", ")));
            }
        }
    }
    faults
}

/// Checks the Rust sources in a folder and its subfolders.
fn sources(folder: &Path, faults: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    for entry in entries.filter_map(std::result::Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                sources(&path, faults)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text =
                fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            let inside = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            faults.extend(source(&inside, &text));
        }
    }
    Ok(())
}

/// Returns what is not allowed in one source file; `path` is its path in the workspace.
fn source(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("{path} has {lines} lines; split it ({LONGEST_FILE} at most)"));
    }
    // The words are written in two parts, so that this file does not contain them.
    for word in
        [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore"), concat!("FIX", "ME")]
    {
        if text.contains(word) {
            faults.push(format!("{path} contains {word}"));
        }
    }
    if !path.starts_with(&format!("crates/{UNSAFE}/")) && text.contains(concat!("allow(uns", "afe_code")) {
        faults.push(format!("{path} allows unsafe code, which only {UNSAFE} may"));
    }
    if path != WIDE && !of_tests(path) && casts_to_f64(text.split("#[cfg(test)]").next().unwrap_or(text)) {
        faults.push(format!(
            "{path} casts to f64, which not every device can; use lerp_core::scalar or on_host ({WIDE})"
        ));
    }
    faults
}

/// Whether a source file belongs to tests only.
fn of_tests(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// Whether a source casts a tensor to `f64` by name, however the call is formatted.
fn casts_to_f64(text: &str) -> bool {
    let text: String = text.split_whitespace().collect();
    let mut casts = text.split("to_dtype(").skip(1).filter_map(|rest| rest.split([')', '(']).next());
    casts.any(|dtype| dtype.trim_end_matches(',').rsplit("::").next() == Some("F64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_dependency_is_named() {
        let faults = |package: &str, dependency: &str| {
            forbidden_dependencies(&BTreeMap::from([
                (package.to_owned(), vec![dependency.to_owned()]),
                ("lerp-core".to_owned(), Vec::new()),
                ("lerp-train".to_owned(), Vec::new()),
            ]))
        };
        assert!(faults("lerp-acai", "lerp-core").is_empty());
        assert!(faults("lerp-acai", "lerp-train")[0].contains("lerp-acai may not depend on lerp-train"));
        assert!(faults("lerp-vae", "polars")[0].contains("lerp-vae may not depend on polars"));
        assert!(faults(PROGRAM, "lerp-train").is_empty());
        assert!(faults("lerp-gan", "lerp-core")[0].contains("lerp-gan is not in the list"));
    }

    #[test]
    fn forbidden_words_unsafe_code_and_long_files_are_found() {
        assert!(source("crates/lerp-nn/src/lib.rs", "fn main() {}\n").is_empty());
        let word = concat!("todo", "!()");
        assert_eq!(source("a.rs", word).len(), 1);
        let word = concat!("#![allow(uns", "afe_code)]");
        assert_eq!(source("crates/lerp-nn/src/a.rs", word).len(), 1);
        assert!(source("crates/lerp-kernels/src/a.rs", word).is_empty());
        assert_eq!(source("a.rs", &"\n".repeat(601)).len(), 1);
    }

    #[test]
    fn casts_to_f64_are_only_allowed_in_the_host_module_and_tests() {
        for cast in [
            "x.to_dtype(DType::F64)?",
            "x.to_dtype(candle_core::DType::F64)",
            "x.to_dtype(\n    DType::F64,\n)",
            "x.to_dtype(F64)",
            "x.to_dtype(DType::F32)?.to_dtype( DType :: F64 )",
        ] {
            assert_eq!(source("crates/lerp-train/src/a.rs", cast).len(), 1, "{cast}");
            assert!(source(WIDE, cast).is_empty());
            assert!(source("crates/lerp-train/tests/a.rs", cast).is_empty());
            assert!(
                source("crates/lerp-train/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {cast} }}"))
                    .is_empty()
            );
        }
        for other in
            ["x.to_dtype(DType::F32)?; Tensor::zeros(3, DType::F64, &Device::Cpu)", "x.to_dtype(dtype)"]
        {
            assert!(source("crates/lerp-train/src/a.rs", other).is_empty(), "{other}");
        }
    }
}
