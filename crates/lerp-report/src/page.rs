//! The page of a sweep: one file that needs nothing else.

use lerp_data::{Dataset, Lines};
use minijinja::{Environment, Value, value::Serde};
use serde::Serialize;

use crate::{
    Error, Result,
    set::Set,
    sheet::Sheet,
    summary::{Group, Loaded, Sweep},
    text::{number, thousands},
};

/// A figure on the page.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// Name of its files and anchor on the page.
    pub file: String,
    /// What it shows.
    pub caption: String,
    /// The drawing.
    pub svg: String,
}

/// A line of the list of runs.
#[derive(Debug, Serialize)]
struct Row {
    /// The image set and size of latents; `Lines` on lines.
    dataset: String,
    variant: String,
    seed: u64,
    state: String,
    samples: String,
    minutes: String,
    rate: String,
    learning_rate: String,
    hyper: String,
    device: String,
    threads: usize,
    git: String,
    started: String,
    command: String,
    id: String,
}

impl Row {
    fn of(group: &Group, loaded: &Loaded) -> Self {
        let (record, status) = (&loaded.run.record, &loaded.run.status);
        let (cell, provenance) = (&record.cell, &record.provenance);
        let rate = if status.wall_s > 0.0 { status.samples as f64 / status.wall_s } else { 0.0 };
        let hyper: Vec<String> = match serde_json::to_value(&cell.hyper) {
            Ok(serde_json::Value::Object(table)) => table.iter().map(|(k, v)| format!("{k}={v}")).collect(),
            _ => Vec::new(),
        };
        Self {
            dataset: group.set.as_ref().map_or_else(|| Lines.title().to_owned(), Set::name),
            variant: group.label.clone(),
            seed: cell.seed,
            state: format!("{:?}", status.state).to_lowercase(),
            samples: thousands(status.samples),
            minutes: format!("{:.1}", status.wall_s / 60.0),
            rate: format!("{rate:.0}"),
            learning_rate: number(cell.learning_rate),
            hyper: hyper.join(", "),
            device: provenance.device.clone(),
            threads: provenance.threads,
            git: provenance.git.clone(),
            started: provenance.started.clone(),
            command: provenance.command.clone(),
            id: record.id.clone(),
        }
    }
}

/// All that the page says.
#[derive(Serialize)]
struct Page<'a> {
    name: String,
    states: String,
    sheets: &'a [Sheet],
    /// Whether runs are on anything but lines.
    datasets: bool,
    figures: &'a [Figure],
    runs: Vec<Row>,
    version: &'static str,
}

/// The page.
///
/// # Errors
/// If it cannot be made.
pub fn page(sweep: &Sweep, sheets: &[Sheet], figures: &[Figure]) -> Result<String> {
    let runs = |group: &Group| group.runs.iter().map(|l| Row::of(group, l)).collect::<Vec<_>>();
    let page = Page {
        name: sweep.name(),
        states: sweep.states(),
        sheets,
        datasets: !sweep.sets().is_empty(),
        figures,
        runs: sweep.groups.iter().flat_map(runs).collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut environment = Environment::new();
    // The name's ending turns on the escaping of text.
    environment.add_template("page.html", include_str!("page.html")).map_err(Error::draw("index.html"))?;
    let template = environment.get_template("page.html").map_err(Error::draw("index.html"))?;
    template.render(Value::from(Serde(&page))).map_err(Error::draw("index.html"))
}
