//! `lerp export`: writes a sweep for other programs, as TensorBoard logs, CSV tables, or models with model cards.

mod card;
mod config;
mod csv;
mod model;
mod tensorboard;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use lerp_files::make_folder;
use lerp_report::text::{count, listed};
use lerp_train::{Metrics, Run, Runs, runs_in};
use serde::Serialize;
use serde_json::{Map, Value};

pub use config::FORMAT as MODEL_FORMAT;

use crate::{
    cli::ExportArgs,
    plan::seeds,
    registry::{Registry, unknown},
    say::{complain, note, say, warn_of_all},
};

/// The export formats.
const KINDS: [&str; 3] = ["tensorboard", "csv", "models"];

/// A run together with its metrics.
struct Loaded {
    run: Run,
    metrics: Metrics,
}

/// Runs `lerp export`. Returns `false` if a run or a model could not be exported.
///
/// # Errors
/// If an argument is invalid, or the folders cannot be read or written.
pub fn export(registry: &Registry, args: &ExportArgs) -> Result<bool> {
    for kind in &args.to {
        if !KINDS.contains(&kind.as_str()) {
            bail!("--to: {}", unknown("kind of export", kind, &KINDS));
        }
    }
    let (runs, mut left_out) = chosen(args)?;
    let out = args.out.clone().unwrap_or_else(|| args.dir.join("export"));
    check_out(&args.dir, &out)?;

    let wanted = |kind: &str| args.to.iter().any(|k| k == kind);
    let (with, without): (Vec<&Loaded>, Vec<&Loaded>) =
        runs.iter().partition(|loaded| model::is_in(&loaded.run));
    if wanted("models") && with.is_empty() {
        warn_of_all(&left_out);
        bail!(
            "no finished run in {} has a model (published results come without them, and so do models that were scored \
             from outside); train them here, or leave models out of --to",
            args.dir.display()
        );
    }
    // An output folder that the user names may be a symbolic link. The default one lies in the sweep's folder, which
    // may come from somebody else, so there links are refused.
    match &args.out {
        Some(out) => fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?,
        None => make_folder(&out)?,
    }
    if wanted("tensorboard") {
        let folder = out.join("tensorboard");
        make_folder(&folder)?;
        for loaded in &runs {
            left_out.extend(tensorboard::write(loaded, &folder)?);
        }
        say(&format!("{}: tensorboard --logdir {}", count(runs.len(), "run"), folder.display()));
    }
    if wanted("csv") {
        let folder = out.join("csv");
        make_folder(&folder)?;
        csv::write(&runs, &folder)?;
        say(&format!("{}: metrics.csv and runs.csv in {}", count(runs.len(), "run"), folder.display()));
    }
    warn_of_all(&left_out);
    if !wanted("models") {
        return Ok(left_out.is_empty());
    }
    make_folder(&out.join("models"))?;
    let mut failed = left_out.len();
    for loaded in &with {
        let folder = out.join("models").join(&loaded.run.record.id);
        let written = make_folder(&folder).map_err(Into::into);
        let written = written.and_then(|()| model::write(registry, loaded, &folder));
        match written.with_context(|| format!("{} is left out", loaded.run.record.id)) {
            Ok(()) => say(&format!("model with its card: {}", folder.display())),
            Err(error) => {
                failed += 1;
                complain(&error);
            }
        }
    }
    if !without.is_empty() {
        let names: Vec<&str> = without.iter().map(|loaded| loaded.run.record.id.as_str()).collect();
        say(&format!("Left out, for they are not finished or came without a model: {}.", names.join(", ")));
    }
    Ok(failed == 0)
}

/// Returns the runs that the arguments select, and a sentence about each run that cannot be read.
fn chosen(args: &ExportArgs) -> Result<(Vec<Loaded>, Vec<String>)> {
    let dir = &args.dir;
    if !dir.is_dir() {
        bail!("there is no folder {}", dir.display());
    }
    let found = if dir.join("run.toml").exists() {
        Runs { runs: vec![Run::read(dir)?], ..Runs::default() }
    } else {
        runs_in(dir)?
    };
    found.unchecked().iter().for_each(|notice| note(&format!("{notice}.")));
    let mut left_out: Vec<String> = found.left_out.iter().map(ToString::to_string).collect();
    let mut runs = found.runs;
    if runs.is_empty() && !left_out.is_empty() {
        bail!("no run in {} can be read. {}", dir.display(), listed(&left_out, 3, " "));
    }
    if runs.is_empty() {
        bail!("{} has no runs; give the folder of a sweep, or of one of its runs", dir.display());
    }
    if let Some(variants) = &args.variants {
        let mut known: Vec<&str> = runs.iter().map(|run| run.record.cell.variant.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        if let Some(name) = variants.iter().find(|name| !known.contains(&name.as_str())) {
            bail!("{} in {}", unknown("variant", name, &known), dir.display());
        }
        runs.retain(|run| variants.contains(&run.record.cell.variant));
    }
    if let Some(text) = &args.seeds {
        let seeds = seeds(text)?;
        runs.retain(|run| seeds.contains(&run.record.cell.seed));
        if runs.is_empty() {
            bail!("no run in {} has a seed among {text}", dir.display());
        }
    }
    let mut loaded = Vec::new();
    for run in runs {
        match run.metrics() {
            Ok(metrics) => loaded.push(Loaded { run, metrics }),
            Err(error) => left_out.push(format!("{} is left out: {error}.", run.record.id)),
        }
    }
    Ok((loaded, left_out))
}

/// Checks that the output folder is not inside the sweep's `runs` folder, where it would be taken for a run.
fn check_out(dir: &Path, out: &Path) -> Result<()> {
    if out.exists() && !out.is_dir() {
        bail!("--out {} is a file; give a folder", out.display());
    }
    let runs = resolved(&dir.join("runs"));
    if resolved(out).starts_with(&runs) {
        bail!("--out {} is among the runs of the sweep; choose another folder", out.display());
    }
    Ok(())
}

/// Resolves symbolic links and `..` in the part of a path that exists.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => resolved(parent).join(name),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

/// Writes a file atomically into an existing folder.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    Ok(lerp_files::replace(&folder.join(name), bytes)?)
}

/// Flattens a record to its values by name; values of nested tables have dotted names such as `network.depth`.
fn flat(record: &impl Serialize) -> Result<Map<String, Value>> {
    fn collect(prefix: &str, value: Value, into: &mut Map<String, Value>) {
        match value {
            Value::Object(table) => {
                for (key, value) in table {
                    let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                    collect(&name, value, into);
                }
            }
            value => {
                into.insert(prefix.to_owned(), value);
            }
        }
    }
    let mut all = Map::new();
    collect("", serde_json::to_value(record)?, &mut all);
    Ok(all)
}

/// Formats a value of a record as plain text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_may_not_lie_among_the_runs() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("runs/one")).unwrap();
        fs::write(at("file"), "").unwrap();
        let check = |out: &str| check_out(dir.path(), &at(out)).map_err(|e| e.to_string());
        assert!(check("export").is_ok() && check("deep/new/folder").is_ok());
        assert!(check("file").unwrap_err().contains("is a file"));
        for out in ["runs", "runs/one/export", "export/../runs/new"] {
            fs::create_dir_all(at("export")).unwrap();
            assert!(check(out).unwrap_err().contains("among the runs"), "{out}");
        }
    }

    #[test]
    fn records_are_flattened_in_order() {
        let record = serde_json::json!({"b": 1, "a": {"y": [1, 2], "x": {"z": "t"}}, "n": null});
        let flat = flat(&record).unwrap();
        let pairs: Vec<String> = flat.iter().map(|(k, v)| format!("{k}={}", plain(v))).collect();
        assert_eq!(pairs, ["b=1", "a.y=[1,2]", "a.x.z=t", "n="]);
    }
}
