//! `summary.parquet`: the final value of every metric of every run.

use polars::prelude::{Column, DataFrame, ParquetWriter, PolarsResult};

use super::{
    group::{FinalValue, LoadedRun},
    sweep::Sweep,
};
use crate::{Error, Result};

/// The number of runs whose rows are in memory at once.
const RUNS_AT_ONCE: usize = 1000;

impl Sweep {
    /// Returns the bytes of `summary.parquet`, which has one row for each run and metric.
    pub fn parquet(&self) -> Result<Vec<u8>> {
        encode(self).map_err(Error::draw("summary.parquet"))
    }
}

/// Encodes the rows of all runs as a parquet file, a thousand runs at a time.
fn encode(sweep: &Sweep) -> PolarsResult<Vec<u8>> {
    let runs: Vec<&LoadedRun> = sweep.runs().collect();
    let mut bytes = Vec::new();
    let mut parts = runs.chunks(RUNS_AT_ONCE);
    let first = rows(parts.next().unwrap_or_default())?;
    let mut file = ParquetWriter::new(&mut bytes).batched(first.schema())?;
    file.write_batch(&first)?;
    drop(first);
    for runs in parts {
        file.write_batch(&rows(runs)?)?;
    }
    file.finish()?;
    Ok(bytes)
}

/// Returns one row for each metric of each run.
fn rows(runs: &[&LoadedRun]) -> PolarsResult<DataFrame> {
    let rows: Vec<(&LoadedRun, &FinalValue)> =
        runs.iter().flat_map(|loaded| loaded.finals.iter().map(move |found| (*loaded, found))).collect();
    let text = |name: &str, of: &dyn Fn(&LoadedRun) -> String| {
        Column::new(name.into(), rows.iter().map(|(l, _)| of(l)).collect::<Vec<_>>())
    };
    let whole = |name: &str, of: &dyn Fn(&LoadedRun) -> i64| {
        Column::new(name.into(), rows.iter().map(|(l, _)| of(l)).collect::<Vec<_>>())
    };
    // Training settings are unknown for models that were trained elsewhere.
    let trained = rows.iter().map(|(l, _)| Some(&l.run.record.cell).filter(|cell| cell.origin.is_trained()));
    let known = |name: &str, of: &dyn Fn(&LoadedRun) -> u64| {
        let known = |l: &LoadedRun| l.run.record.cell.known_samples().map(|_| of(l) as i64);
        Column::new(name.into(), rows.iter().map(|(l, _)| known(l)).collect::<Vec<_>>())
    };
    let columns = vec![
        text("id", &|l| l.run.record.id.clone()),
        text("dataset", &|l| l.run.record.cell.dataset.clone()),
        whole("latent_dims", &|l| l.run.record.latent_dims() as i64),
        text("variant", &|l| l.run.record.cell.variant.clone()),
        text("title", &|l| l.run.record.title.clone()),
        whole("seed", &|l| l.run.record.cell.seed as i64),
        known("samples_planned", &|l| l.run.record.cell.samples),
        known("samples_done", &|l| l.run.status.samples),
        text("state", &|l| format!("{:?}", l.run.status.state).to_lowercase()),
        Column::new(
            "learning_rate".into(),
            trained.clone().map(|cell| Some(cell?.learning_rate)).collect::<Vec<_>>(),
        ),
        Column::new(
            "schedule".into(),
            trained.map(|cell| Some(cell?.schedule.to_string())).collect::<Vec<_>>(),
        ),
        Column::new("ema".into(), rows.iter().map(|(l, _)| l.run.record.cell.ema).collect::<Vec<_>>()),
        text("hyper", &|l| serde_json::to_string(&l.run.record.cell.hyper).unwrap_or_default()),
        text("device", &|l| l.run.record.provenance.device.clone()),
        text("git", &|l| l.run.record.provenance.git.clone()),
        Column::new("wall_s".into(), rows.iter().map(|(l, _)| l.run.status.wall_s).collect::<Vec<_>>()),
        Column::new("metric".into(), rows.iter().map(|(_, found)| &*found.name).collect::<Vec<_>>()),
        Column::new("final".into(), rows.iter().map(|(_, found)| found.value).collect::<Vec<_>>()),
        Column::new(
            "evaluations".into(),
            rows.iter().map(|(_, found)| i64::from(found.evaluations)).collect::<Vec<_>>(),
        ),
    ];
    DataFrame::new(rows.len(), columns)
}
