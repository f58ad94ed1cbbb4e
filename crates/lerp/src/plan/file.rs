//! Reads plans: presets, and users' files in TOML.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, bail};
use lerp_core::{Schedule, unknown_name_message};
use serde::Deserialize;

use super::Plan;

/// Presets by name.
pub const PRESETS: [(&str, &str); 6] = [
    ("smoke", include_str!("../../presets/smoke.toml")),
    ("quick", include_str!("../../presets/quick.toml")),
    ("evening", include_str!("../../presets/evening.toml")),
    ("mnist-cpu", include_str!("../../presets/mnist-cpu.toml")),
    ("lines", include_str!("../../presets/lines.toml")),
    ("paper", include_str!("../../presets/paper.toml")),
];

/// Keys of settings of runs, which sections of variants and datasets may have too.
const RUN_KEYS: [&str; 10] = [
    "samples",
    "batch",
    "learning_rate",
    "eval_every",
    "checkpoint_every",
    "test_samples",
    "cluster_restarts",
    "schedule",
    "ema",
    "network",
];

impl Plan {
    /// Returns the preset called `name`.
    ///
    /// # Errors
    /// If there is none; the message suggests the nearest name.
    pub fn preset(name: &str) -> Result<Self> {
        let Some((_, text)) = PRESETS.iter().find(|(n, _)| *n == name) else {
            bail!("{}", unknown_name_message("preset", name, &PRESETS.map(|(n, _)| n)));
        };
        Self::parse(text).with_context(|| format!("preset {name}"))
    }

    /// Reads a user's file, which has the format of the presets.
    ///
    /// # Errors
    /// If it cannot be read or is not a plan; the message names the wrong key.
    pub fn file(path: &Path) -> Result<Self> {
        /// Size limit of a plan's file, bytes.
        const MAX_BYTES: u64 = 1 << 20;
        let mut text = String::new();
        // The size is limited while reading, because a pipe or device has no size and may never end.
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        if read.with_context(|| format!("cannot read {}", path.display()))? as u64 == MAX_BYTES {
            bail!("{} has more than {MAX_BYTES} bytes, which no plan has", path.display());
        }
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Parses the text of a plan.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = toml::from_str(text).map_err(|e: toml::de::Error| {
            anyhow::anyhow!("not TOML{}: {}", line_of(text, &e), one_line(&e))
        })?;
        let own = ["about", "datasets", "variants", "seeds", "judge", "variant", "dataset"];
        check_keys(&table, "", &[&own[..], &RUN_KEYS].concat())?;
        for kind in ["variant", "dataset"] {
            for (name, value) in table.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                let Some(own) = value.as_table() else { bail!("{kind}.{name} must be a table") };
                check_keys(own, &format!("{kind}.{name}."), &[&RUN_KEYS[..], &["hyper"]].concat())?;
            }
        }
        for key in ["datasets", "variants", "seeds"] {
            if !table.contains_key(key) {
                bail!(
                    "'{key}' is missing, for example {key} = {}",
                    if key == "seeds" { "\"0..5\"" } else { "[\"...\"]" }
                );
            }
        }
        toml::from_str(text)
            .map_err(|e| anyhow::anyhow!("wrong value{}: {}", line_of(text, &e), one_line(&e)))
    }
}

/// Deserialises a schedule from the text form of the command line or from a table.
pub(super) fn schedule<'de, D: serde::Deserializer<'de>>(given: D) -> Result<Option<Schedule>, D::Error> {
    let schedule = match toml::Value::deserialize(given)? {
        toml::Value::String(text) => text.parse(),
        toml::Value::Table(table) => table
            .try_into::<Schedule>()
            .map_err(|error| one_line(&error))
            .and_then(|schedule| schedule.check().map(|()| schedule)),
        other => Err(format!("give a text such as \"cosine,from=0.7\" or a table instead of {other}")),
    };
    schedule.map(Some).map_err(|problem| serde::de::Error::custom(format!("schedule: {problem}")))
}

/// Checks that a table of a plan has no unknown keys. The `prefix` is the path of the table, with a dot at its end.
fn check_keys(table: &toml::Table, prefix: &str, known: &[&str]) -> Result<()> {
    for key in table.keys() {
        if !known.contains(&key.as_str()) {
            let table = prefix.trim_end_matches('.');
            let table = if table.is_empty() { String::new() } else { format!("in [{table}]: ") };
            bail!("{table}{}", unknown_name_message("key", key, known));
        }
    }
    Ok(())
}

/// Returns where in a file a parse error is, such as ` in line 3`.
fn line_of(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
    line.map_or_else(String::new, |line| format!(" in line {line}"))
}

/// Returns the message of a parse error as one line.
fn one_line(error: &toml::de::Error) -> String {
    error.message().trim().replace('\n', "; ")
}
