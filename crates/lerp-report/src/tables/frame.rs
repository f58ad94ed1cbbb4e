//! Tables for programs, with the same columns as CSV and as parquet.

use polars::prelude::{AnyValue, DataFrame, DataType, IntoColumn, ParquetWriter, PolarsResult, Series};

use crate::{
    Error, Result,
    provenance::ReportProvenance,
    text::{csv, number},
};

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: empty in CSV, null in parquet.
    None,
    /// Text.
    Text(String),
    /// A real number; NaN if a metric is undefined.
    Real(f64),
    /// A non-negative integer.
    Whole(u64),
    /// A truth value.
    Flag(bool),
}

impl Value {
    /// Formats the value as a field of a CSV file.
    fn field(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => csv(text),
            Self::Real(value) => number(*value),
            Self::Whole(count) => count.to_string(),
            Self::Flag(flag) => flag.to_string(),
        }
    }

    /// Returns the value for a data frame.
    fn any(&self) -> AnyValue<'_> {
        match self {
            Self::None => AnyValue::Null,
            Self::Text(text) => AnyValue::String(text),
            Self::Real(value) => AnyValue::Float64(*value),
            Self::Whole(count) => AnyValue::UInt64(*count),
            Self::Flag(flag) => AnyValue::Boolean(*flag),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Whole(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Whole(count as u64)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

/// The values of a row with the names of their columns.
pub type FrameRow = Vec<(&'static str, Value)>;

/// A table with named columns. Columns that a row does not mention are empty in it.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

/// The columns of [`ReportProvenance`], which follow all others.
const PROVENANCE: [&str; 8] = ["config", "data", "git", "lerp", "candle", "device", "started", "command"];

/// Returns the type of a column. A name has the same type in every file.
fn kind(column: &str) -> DataType {
    match column {
        "latent" | "latent_dims" | "seeds" | "samples" | "test_images" | "common_seeds" | "points"
        | "to_tell" | "seeds_needed" => DataType::Int64,
        "mean"
        | "std"
        | "low"
        | "high"
        | "learning_rate"
        | "ema"
        | "published_mean"
        | "published_std"
        | "minus_best"
        | "minus_best_low"
        | "minus_best_high"
        | "better_share"
        | "average_rank"
        | "rank"
        | "friedman_p"
        | "critical_difference"
        | "rho"
        | "difference"
        | "p"
        | "p_corrected" => DataType::Float64,
        "published_mean_checked" | "papers" => DataType::Boolean,
        _ => DataType::String,
    }
}

impl Frame {
    /// Creates a table without rows. The columns of the provenance are added to `columns`.
    pub fn new(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self { columns: columns.into_iter().chain(PROVENANCE).collect(), rows: Vec::new() }
    }

    /// Adds a row with the given values and those of its provenance.
    pub fn push(&mut self, known: FrameRow, provenance: Option<&ReportProvenance>) {
        let mut row = vec![Value::None; self.columns.len()];
        let pairs = provenance.map(ReportProvenance::pairs).unwrap_or_default();
        let pairs = pairs.into_iter().map(|(name, value)| (name, Value::Text(value)));
        for (name, value) in known.into_iter().chain(pairs) {
            if let Some(index) = self.columns.iter().position(|column| *column == name) {
                row[index] = value;
            }
        }
        self.rows.push(row);
    }

    /// Formats the table as CSV.
    pub fn csv(&self) -> String {
        let names = self.columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let fields = |row: &Vec<Value>| row.iter().map(Value::field).collect::<Vec<_>>();
        let lines = std::iter::once(names).chain(self.rows.iter().map(fields));
        lines.map(|line| line.join(",") + "\n").collect()
    }

    /// Formats the table as parquet. A value that does not have the type of its column is an error.
    pub fn parquet(&self) -> Result<Vec<u8>> {
        self.encode().map_err(Error::draw("a table's parquet file"))
    }

    fn encode(&self) -> PolarsResult<Vec<u8>> {
        let columns = self.columns.iter().enumerate().map(|(index, column)| {
            let values: Vec<AnyValue> = self.rows.iter().map(|row| row[index].any()).collect();
            let series = Series::from_any_values_and_dtype((*column).into(), &values, &kind(column), true)?;
            Ok(series.into_column())
        });
        let mut table = DataFrame::new(self.rows.len(), columns.collect::<PolarsResult<_>>()?)?;
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).finish(&mut table)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_than_its_column_is_an_error() {
        let parquet = |column, value: Value| {
            let mut frame = Frame::new([column]);
            frame.push(vec![(column, value)], None);
            frame.parquet()
        };
        assert!(parquet("mean", 0.5.into()).is_ok() && parquet("seeds", 3_usize.into()).is_ok());
        let error = parquet("a column that kind() does not know", 0.5.into()).unwrap_err();
        assert!(error.to_string().starts_with("cannot make a table's parquet file"), "{error}");
    }
}
