//! The seeds of a plan.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Seeds: in the file a number, a list of numbers, or a text that [`seeds`] parses.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "toml::Value")]
pub struct Seeds(pub Vec<u64>);

impl TryFrom<toml::Value> for Seeds {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let text = match &value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Array(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        seeds(&text).map(Self).map_err(|e| e.to_string())
    }
}

/// Parses seeds written as `3`, `0..5` (0 to 4) or `0,2,7`.
///
/// # Errors
/// If the text has none of these forms, or a range is empty or too long.
pub fn seeds(text: &str) -> Result<Vec<u64>> {
    let number = |part: &str| part.trim().parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
    let parsed: Option<Vec<u64>> = if let Some((first, end)) = text.split_once("..") {
        let ends = number(first).zip(number(end)).filter(|(first, end)| first < end);
        if let Some((first, end)) = ends.filter(|(first, end)| end - first > MAX_SEEDS) {
            bail!("'{text}' is {} seeds; a sweep takes up to {MAX_SEEDS}", end - first);
        }
        ends.map(|(first, end)| (first..end).collect())
    } else {
        text.split(',').map(number).collect()
    };
    parsed.with_context(|| format!("'{text}' is not a range of seeds; write 0..5 (0 to 4), 3 or 0,2,7"))
}

/// Largest number of seeds in a range, so that a typing error does not plan a year of training.
const MAX_SEEDS: u64 = 10_000;
