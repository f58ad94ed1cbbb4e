//! The export format `csv`: one table of all metric values and one of all runs.

use std::path::Path;

use lerp_report::text::csv as quoted;

use crate::{Loaded, Result, flat, plain};

/// Writes `metrics.csv`, with one row per metric value, and `runs.csv`, with one row per run, into `folder`.
pub fn write(runs: &[Loaded], folder: &Path) -> Result<()> {
    crate::write(folder, "metrics.csv", table_of_values(runs).as_bytes())?;
    crate::write(folder, "runs.csv", table_of_runs(runs)?.as_bytes())
}

fn table_of_values(runs: &[Loaded]) -> String {
    let mut metrics = String::from("id,dataset,variant,title,seed,step,samples,metric,value,wall_s\n");
    for Loaded { run, metrics: measured } in runs {
        let (record, cell) = (&run.record, &run.record.cell);
        let names = [&record.id, &cell.dataset, &cell.variant, &record.title].map(|name| quoted(name));
        let names = names.join(",");
        for row in &measured.0 {
            let line = format!(
                "{names},{},{},{},{},{},{}\n",
                cell.seed,
                row.step,
                row.samples,
                quoted(&row.metric),
                row.value,
                row.wall_s
            );
            metrics += &line;
        }
    }
    metrics
}

/// Returns `runs.csv`. It has a column for every field that the record or status of any run has; fields that a run
/// lacks are empty.
fn table_of_runs(runs: &[Loaded]) -> Result<String> {
    let mut columns: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for Loaded { run, .. } in runs {
        let mut row = flat(&run.record)?;
        row.extend(flat(&run.status)?.into_iter().map(|(name, value)| (format!("status.{name}"), value)));
        columns.extend(row.keys().filter(|name| !columns.contains(name)).cloned().collect::<Vec<_>>());
        rows.push(row);
    }
    // Groups the columns by kind, so that for example the hyperparameters of all variants are adjacent.
    let part = |name: &String| {
        let parts = ["cell.network.", "cell.hyper.", "provenance.", "status."];
        parts.iter().position(|part| name.starts_with(part)).map_or(0, |i| i + 1)
    };
    columns.sort_by_key(part);
    let heads = columns.iter().map(|name| quoted(name.strip_prefix("cell.").unwrap_or(name)));
    let mut table = heads.collect::<Vec<_>>().join(",") + "\n";
    for row in rows {
        let fields = columns.iter().map(|name| row.get(name).map_or_else(String::new, |v| quoted(&plain(v))));
        table += &(fields.collect::<Vec<_>>().join(",") + "\n");
    }
    Ok(table)
}
