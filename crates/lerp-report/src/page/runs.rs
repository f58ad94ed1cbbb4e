//! The list of runs, and a page for each run.

use std::{
    collections::BTreeSet,
    io::{Read, Seek, SeekFrom},
};

use lerp_eval::When;
use lerp_train::{ExternalModel, Metrics, Origin, State};
use serde::Serialize;

use super::chart::{Scale, brief, chart};
use crate::{
    reading::{LoadedRun, RunGroup, title_of, title_with_unit},
    text::{count, number, thousands},
};

/// The number of lines of a log that a page shows.
const MAX_LOG_LINES: usize = 40;

/// The number of bytes at the end of a log in which these lines are looked for.
const MAX_LOG_BYTES: u64 = 1 << 16;

/// A run in the list of runs.
#[derive(Debug, Serialize)]
pub struct RunRow {
    id: String,
    /// The address of the run's page.
    href: String,
    /// The image set and latent size; `Lines` for lines.
    dataset: String,
    variant: String,
    seed: u64,
    state: String,
    samples: u64,
    samples_text: String,
    planned: String,
    minutes: String,
    rate: String,
    learning_rate: String,
    /// Whether the model was trained here.
    trained: bool,
    device: String,
    threads: String,
    git: String,
    started: String,
}

/// The content of a run's page.
#[derive(Debug, Serialize)]
pub struct Details {
    #[serde(flatten)]
    row: RunRow,
    /// Why the run failed, as a sentence; empty if it did not.
    reason: String,
    configuration: Vec<(String, String)>,
    provenance: Vec<(String, String)>,
    curves: Vec<RunCurve>,
    /// Whether the metrics cannot be read.
    unread: bool,
    /// The end of the log; empty for a finished run.
    log: String,
}

/// A metric of a run.
#[derive(Debug, Serialize)]
struct RunCurve {
    name: String,
    /// The final value as printed.
    value: String,
    svg: String,
}

impl RunRow {
    /// Returns the row of a run whose page is at `href`.
    pub fn of(group: &RunGroup, loaded: &LoadedRun, href: String) -> Self {
        let (record, status) = (&loaded.run.record, &loaded.run.status);
        let (cell, provenance) = (&record.cell, &record.provenance);
        let rate = loaded.rate().unwrap_or(0.0);
        let here = cell.origin.is_trained();
        let known = status.samples > 0 && cell.known_samples().is_some();
        // These values are unknown for a model that was trained elsewhere.
        let measured = |text: String| if here { text } else { "–".into() };
        Self {
            id: record.id.clone(),
            href,
            dataset: title_of(group.set.as_ref()),
            variant: group.label.clone(),
            seed: cell.seed,
            state: format!("{:?}", status.state).to_lowercase(),
            samples: if known { status.samples } else { 0 },
            samples_text: if known || here { thousands(status.samples) } else { "–".into() },
            planned: thousands(cell.samples),
            minutes: measured(format!("{:.1}", status.wall_s / 60.0)),
            rate: measured(format!("{rate:.0}")),
            learning_rate: measured(number(cell.learning_rate)),
            trained: cell.origin.is_trained(),
            device: measured(provenance.device.clone()),
            threads: measured(provenance.threads.to_string()),
            git: provenance.git.clone(),
            started: provenance.started.clone(),
        }
    }
}

impl Details {
    /// Returns the content of a run's page.
    pub fn of(group: &RunGroup, loaded: &LoadedRun, href: String) -> Self {
        let status = &loaded.run.status;
        let metrics = loaded.read_file(|run| run.metrics().map(Some));
        Self {
            row: RunRow::of(group, loaded, href),
            reason: match (status.state, &status.reason) {
                (State::Failed, Some(reason)) => format!("It failed: {}.", reason.trim_end_matches('.')),
                (State::Failed, None) => "It failed, and no reason is recorded.".into(),
                _ => String::new(),
            },
            configuration: configuration(loaded),
            provenance: made_with(loaded),
            unread: metrics.is_none(),
            curves: curves(group, loaded, &metrics.unwrap_or_default()),
            log: if status.state == State::Done { String::new() } else { end_of_log(loaded) },
        }
    }
}

/// Returns the settings of a run, by name.
fn configuration(loaded: &LoadedRun) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(table)) = serde_json::to_value(&loaded.run.record.cell) else {
        return Vec::new();
    };
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(n) if n.is_f64() => number(n.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::Number(n) => n.as_u64().map_or_else(|| n.to_string(), thousands),
        other => other.to_string(),
    };
    let cell = &loaded.run.record.cell;
    let mut all = Vec::new();
    for (key, value) in table {
        let name = key.replace('_', " ");
        match value {
            // For a model that was trained elsewhere, 0 stands for an unknown setting, and a scored model has no
            // network here.
            value if !cell.origin.is_trained() && key != "seed" && value.as_f64() == Some(0.0) => {}
            _ if cell.origin == Origin::Scored && key == "network" => {}
            _ if key == "origin" => {
                let origin = match &cell.origin {
                    Origin::Imported { variant } => format!("a model of {variant}, imported"),
                    Origin::Scored | Origin::Trained => "answers to a task".into(),
                };
                all.push((name, origin));
            }
            _ if key == "schedule" => all.push((name, cell.schedule.to_string())),
            serde_json::Value::Object(inner) => {
                let of = if key == "hyper" { String::new() } else { format!("{name}: ") };
                all.extend(inner.iter().map(|(key, value)| (format!("{of}{key}"), text(value))));
            }
            value => all.push((name, text(&value))),
        }
    }
    all
}

/// Returns the provenance of a run, by name.
fn made_with(loaded: &LoadedRun) -> Vec<(String, String)> {
    let (record, made) = (&loaded.run.record, &loaded.run.record.provenance);
    let images = made.images.map(|[train, test]| {
        format!("{} for training, {} for tests", thousands(train as u64), thousands(test as u64))
    });
    let data = made.data.clone().unwrap_or_else(|| "drawn anew from the seed".into());
    let elsewhere = record.elsewhere.as_ref();
    let device = if elsewhere.is_some() { "measured on" } else { "device" };
    let all = [
        ("run", Some(record.id.clone())),
        ("trained with", elsewhere.and_then(ExternalModel::trained_with)),
        ("task", elsewhere.and_then(|known| known.task.clone())),
        ("answers or weights, SHA-256", elsewhere.map(|known| known.digest.clone())),
        ("notes", elsewhere.and_then(|known| known.notes.clone())),
        ("software", Some(format!("Lerpbench {}, candle {}", made.version, made.candle))),
        ("revision", Some(made.git.clone())),
        ("trained on", elsewhere.and_then(|known| known.device.clone())),
        (device, Some(format!("{}, {}", made.device, count(made.threads, "thread")))),
        ("data, SHA-256", Some(data)),
        ("images", images),
        ("started (UTC)", Some(made.started.clone())),
        ("command", Some(made.command.clone())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Returns the metrics of a run: those measured at every evaluation as curves, then those measured at the end as
/// values, then the losses.
fn curves(group: &RunGroup, loaded: &LoadedRun, metrics: &Metrics) -> Vec<RunCurve> {
    let names: BTreeSet<&str> = metrics.0.iter().map(|row| row.metric.as_str()).collect();
    let rank = |name: &str| match When::of(name) {
        Some(When::EachEvaluation) => 0,
        Some(When::AtTheEnd) => 1,
        None => 2,
    };
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| rank(name));
    let curve = |name: &str| {
        let points: Vec<(u64, f64)> = metrics.series(name).map(|row| (row.samples, row.value)).collect();
        let value = match loaded.final_value(name) {
            Some(value) if value.is_finite() => brief(value),
            _ => "undefined".into(),
        };
        let svg = if When::of(name) == Some(When::AtTheEnd) {
            String::new()
        } else {
            chart(&points, scale(name)).unwrap_or_default()
        };
        let own = group.user_metrics.iter().find(|quantity| quantity.key == name);
        let short = own.map_or_else(
            || name.trim_start_matches(When::EachEvaluation.prefix()).replace('_', " "),
            title_with_unit,
        );
        RunCurve { name: short, value, svg }
    };
    names.into_iter().map(curve).collect()
}

/// Returns the scale of a metric's axis: distances, errors and losses fall over orders of magnitude, so theirs is logarithmic.
fn scale(name: &str) -> Scale {
    let is_logarithmic = name.contains("distance") || name.contains("mse") || name.starts_with("loss/");
    if is_logarithmic { Scale::Logarithmic } else { Scale::Linear }
}

/// Returns the last lines of a run's log.
fn end_of_log(loaded: &LoadedRun) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = lerp_files::open(&loaded.run.dir.join("log.txt")).map_err(|e| e.problem)?;
        let skipped = file.metadata()?.len().saturating_sub(MAX_LOG_BYTES);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(MAX_LOG_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // A log that is missing or unreadable is treated as empty.
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(MAX_LOG_LINES)..].join("\n")
}
