//! Writes a sweep for other programs: as TensorBoard logs, as CSV tables, or as models with model cards. The command
//! `lerp export` calls [`export`].

mod card;
mod config;
mod csv;
mod error;
mod model;
mod tensorboard;

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use lerp_core::Variant;
use lerp_files::make_folder;
use lerp_report::text::{count, listed, names};
use lerp_train::{Metrics, Run, Runs, runs_in};
use serde::Serialize;
use serde_json::{Map, Value};

pub use config::FORMAT as MODEL_FORMAT;
pub use error::{Error, Result};
pub use model::IN_TORCH;

/// An export format.
///
/// ```
/// use lerp_export::Format;
///
/// assert!(matches!("csv".parse(), Ok(Format::Csv)));
/// let error = "model".parse::<Format>().unwrap_err().to_string();
/// assert!(error.starts_with("there is no export format 'model' (did you mean 'models'?)"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Log folders of TensorBoard.
    TensorBoard,
    /// Tables of all runs and of all values.
    Csv,
    /// Folders with a model, its description and a model card.
    Models,
}

impl Format {
    /// The names of all formats.
    pub const NAMES: [&str; 3] = ["tensorboard", "csv", "models"];
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "tensorboard" => Ok(Self::TensorBoard),
            "csv" => Ok(Self::Csv),
            "models" => Ok(Self::Models),
            _ => Err(Error::UnknownFormat(name.into())),
        }
    }
}

/// Options of [`export`].
#[derive(Clone)]
pub struct ExportOptions<'a> {
    /// Folder of a sweep, or of one of its runs.
    pub dir: PathBuf,
    /// Formats to write.
    pub formats: Vec<Format>,
    /// Folder of the export; `None` for the folder `export` in that of the sweep.
    pub out: Option<PathBuf>,
    /// Export only runs of the variants with these names.
    pub only_variants: Option<Vec<String>>,
    /// Export only runs of these seeds.
    pub only_seeds: Option<Vec<u64>>,
    /// All variants that models can be of.
    pub variants: &'a [&'static dyn Variant],
    /// Source of a Rust program that loads an exported model; every model card repeats it.
    pub loading_example: &'a str,
}

/// What [`export`] has to say while it works.
#[derive(Debug)]
pub enum Message {
    /// A remark about runs that are exported all the same.
    Notice(String),
    /// What was written, or which runs have no model to write.
    Progress(String),
    /// Sentences about what is left out because it cannot be read.
    LeftOut(Vec<String>),
    /// The model of a run could not be exported.
    ModelFailed {
        /// Identifier of the run.
        run: String,
        /// The reason.
        error: Error,
    },
}

/// A run together with its metrics.
struct Loaded {
    run: Run,
    metrics: Metrics,
}

/// Exports a sweep, and calls `tell` with each message as soon as it is known. Returns `false` if a run or a model could
/// not be exported.
///
/// # Errors
/// If no run is as the options ask for, or the folders cannot be read or written.
pub fn export(options: &ExportOptions, tell: &mut dyn FnMut(Message)) -> Result<bool> {
    let (runs, mut left_out) = chosen(options, tell)?;
    let out = options.out.clone().unwrap_or_else(|| options.dir.join("export"));
    check_out(&options.dir, &out)?;

    let (with, without): (Vec<&Loaded>, Vec<&Loaded>) =
        runs.iter().partition(|loaded| model::has_model(&loaded.run));
    let wanted = |format: Format| options.formats.contains(&format);
    if wanted(Format::Models) && with.is_empty() {
        tell(Message::LeftOut(left_out));
        return Err(Error::NoModels(options.dir.clone()));
    }
    // An output folder that the user names may be a symbolic link. The default one lies in the sweep's folder, which
    // may come from somebody else, so there links are refused.
    match &options.out {
        Some(out) => fs::create_dir_all(out).map_err(lerp_files::Error::at("create", out))?,
        None => make_folder(&out)?,
    }
    if wanted(Format::TensorBoard) {
        let folder = out.join("tensorboard");
        make_folder(&folder)?;
        for loaded in &runs {
            left_out.extend(tensorboard::write(loaded, &folder)?);
        }
        let runs = count(runs.len(), "run");
        tell(Message::Progress(format!("{runs}: tensorboard --logdir {}", folder.display())));
    }
    if wanted(Format::Csv) {
        let folder = out.join("csv");
        make_folder(&folder)?;
        csv::write(&runs, &folder)?;
        let runs = count(runs.len(), "run");
        tell(Message::Progress(format!("{runs}: metrics.csv and runs.csv in {}", folder.display())));
    }
    let mut whole = left_out.is_empty();
    tell(Message::LeftOut(left_out));
    if !wanted(Format::Models) {
        return Ok(whole);
    }
    make_folder(&out.join("models"))?;
    for loaded in &with {
        let id = &loaded.run.record.id;
        let folder = out.join("models").join(id);
        let written = make_folder(&folder).map_err(Error::from);
        match written.and_then(|()| model::write(options, loaded, &folder)) {
            Ok(()) => tell(Message::Progress(format!("model with its card: {}", folder.display()))),
            Err(error) => {
                whole = false;
                tell(Message::ModelFailed { run: id.clone(), error });
            }
        }
    }
    if !without.is_empty() {
        let without: Vec<&str> = without.iter().map(|loaded| loaded.run.record.id.as_str()).collect();
        tell(Message::Progress(format!(
            "These runs were left out, because they are not finished or have no model: {}.",
            without.join(", ")
        )));
    }
    Ok(whole)
}

/// Returns the runs that the options select, and a sentence about each run that cannot be read.
fn chosen(options: &ExportOptions, tell: &mut dyn FnMut(Message)) -> Result<(Vec<Loaded>, Vec<String>)> {
    let dir = &options.dir;
    if !dir.is_dir() {
        return Err(Error::NoFolder(dir.clone()));
    }
    let found = if dir.join("run.toml").exists() {
        Runs { runs: vec![Run::read(dir)?], ..Runs::default() }
    } else {
        runs_in(dir)?
    };
    found.unchecked().iter().for_each(|notice| tell(Message::Notice(format!("{notice}."))));
    let mut left_out: Vec<String> = found.left_out.iter().map(ToString::to_string).collect();
    let mut runs = found.runs;
    if runs.is_empty() && !left_out.is_empty() {
        return Err(Error::NothingReadable { dir: dir.clone(), reasons: listed(&left_out, 3, " ") });
    }
    if runs.is_empty() {
        return Err(Error::NoRuns(dir.clone()));
    }
    if let Some(variants) = &options.only_variants {
        let mut known: Vec<&str> = runs.iter().map(|run| run.record.cell.variant.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        if let Some(name) = variants.iter().find(|name| !known.contains(&name.as_str())) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(Error::NoVariant { name: name.clone(), known, dir: dir.clone() });
        }
        runs.retain(|run| variants.contains(&run.record.cell.variant));
    }
    if let Some(seeds) = &options.only_seeds {
        runs.retain(|run| seeds.contains(&run.record.cell.seed));
        if runs.is_empty() {
            let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
            return Err(Error::NoSeed { dir: dir.clone(), seeds: names(&seeds) });
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
        return Err(Error::OutputIsFile(out.to_owned()));
    }
    let runs = resolved(&dir.join("runs"));
    if resolved(out).starts_with(&runs) {
        return Err(Error::OutputAmongRuns(out.to_owned()));
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
