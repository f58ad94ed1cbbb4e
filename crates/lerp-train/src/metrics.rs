//! The metrics of a run: a table in long format, kept in memory and written as parquet.

use std::{panic::AssertUnwindSafe, path::Path};

use polars::prelude::{Column, DataFrame, ParallelStrategy, ParquetReader, ParquetWriter, SerReader};

use crate::{Error, Result, digests, files::METRICS};

/// One value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRow {
    /// Number of training steps done.
    pub step: u64,
    /// Number of training samples seen.
    pub samples: u64,
    /// Key of the metric, such as `eval/mean_distance`.
    pub metric: String,
    /// Value; NaN if it is undefined.
    pub value: f64,
    /// Time of training and evaluation so far, in seconds; the only column that differs between equal runs.
    pub wall_s: f64,
}

/// All values of a run, in the order in which they were measured.
///
/// ```
/// use lerp_train::{Metrics, MetricRow};
///
/// let row = |step, metric: &str, value| MetricRow { step, samples: 64 * step, metric: metric.into(), value, wall_s: 0.0 };
/// let metrics = Metrics(vec![row(1, "loss/autoencoder", 0.5), row(1, "term/mse", 0.4), row(2, "term/mse", 0.3)]);
/// let values: Vec<f64> = metrics.series("term/mse").map(|row| row.value).collect();
/// assert_eq!(values, [0.4, 0.3]);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(pub Vec<MetricRow>);

impl Metrics {
    /// Returns the values of one metric, in order.
    pub fn series<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = &'a MetricRow> {
        self.0.iter().filter(move |row| row.metric == metric)
    }

    /// Converts the values to a table with columns `step`, `samples`, `metric`, `value`, `wall_s`.
    ///
    /// # Errors
    /// If the table library fails.
    pub fn table(&self) -> polars::prelude::PolarsResult<DataFrame> {
        let rows = &self.0;
        DataFrame::new(
            rows.len(),
            vec![
                Column::new("step".into(), rows.iter().map(|r| r.step as i64).collect::<Vec<_>>()),
                Column::new("samples".into(), rows.iter().map(|r| r.samples as i64).collect::<Vec<_>>()),
                Column::new("metric".into(), rows.iter().map(|r| r.metric.as_str()).collect::<Vec<_>>()),
                Column::new("value".into(), rows.iter().map(|r| r.value).collect::<Vec<_>>()),
                Column::new("wall_s".into(), rows.iter().map(|r| r.wall_s).collect::<Vec<_>>()),
            ],
        )
    }

    /// Returns the bytes of the table as a parquet file.
    ///
    /// # Errors
    /// If the table library fails.
    pub fn parquet(&self) -> Result<Vec<u8>> {
        let write = || {
            let mut bytes = Vec::new();
            let written =
                self.table().and_then(|mut table| ParquetWriter::new(&mut bytes).finish(&mut table));
            written.map(|_| bytes)
        };
        // The table library starts threads, and panics if it cannot.
        let bytes = lerp_files::caught(AssertUnwindSafe(write)).map_err(|e| Error::encoding(METRICS, &e))?;
        bytes.map_err(|e| Error::encoding(METRICS, &e))
    }

    /// Reads the table of a run after checking its digest, because the table library does not validate what it
    /// reads.
    ///
    /// # Errors
    /// If there is no such file, or it is not a table of metrics.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |e: String| {
            Error::bad_file(path, format!("is not a table of metrics ({e}); delete its run to redo it"))
        };
        let (dir, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        let bytes =
            digests::read(dir, &name.to_string_lossy())?.ok_or_else(|| bad("it is missing".into()))?;
        // In a run without digests, a truncated file is recognised by its missing end mark.
        if bytes.len() < 12 || !bytes.ends_with(b"PAR1") {
            return Err(bad("its end is missing".into()));
        }
        // Tables are small and many, so callers parallelise over tables instead.
        let reader =
            || ParquetReader::new(std::io::Cursor::new(bytes)).read_parallel(ParallelStrategy::None).finish();
        let read = || reader().and_then(|table| Self::from_table(&table));
        lerp_files::caught(AssertUnwindSafe(read)).map_err(bad)?.map_err(|e| bad(e.to_string()))
    }

    fn from_table(table: &DataFrame) -> polars::prelude::PolarsResult<Self> {
        let (step, samples) = (table.column("step")?.i64()?, table.column("samples")?.i64()?);
        let (metric, value) = (table.column("metric")?.str()?, table.column("value")?.f64()?);
        let wall_s = table.column("wall_s")?.f64()?;
        let row = |i| {
            Some(MetricRow {
                step: step.get(i)? as u64,
                samples: samples.get(i)? as u64,
                metric: metric.get(i)?.to_owned(),
                value: value.get(i)?,
                wall_s: wall_s.get(i)?,
            })
        };
        Ok(Self((0..table.height()).filter_map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_survive_a_round_trip_and_damage_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.parquet");
        let row =
            |step, value| MetricRow { step, samples: step * 64, metric: "eval/a".into(), value, wall_s: 1.5 };
        let metrics = Metrics(vec![row(1, 0.5), row(2, f64::INFINITY)]);
        std::fs::write(&path, metrics.parquet().unwrap()).unwrap();
        assert_eq!(Metrics::read(&path).unwrap(), metrics);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Metrics::read(&path).unwrap_err().to_string().contains("not a table of metrics"));
    }
}
