//! The export format `tensorboard`: a log folder in which TensorBoard shows all runs of a sweep.

use std::path::Path;

use chrono::DateTime;
use lerp_files::make_folder;
use lerp_report::text::markdown;
use lerp_train::{
    Cell, Run, RunRecord, State,
    events::{Content, Entry, file},
};
use serde_json::Value;

use crate::{Error, Loaded, Result, flat, plain};

/// Writes a run's event file: its scalars, its settings as hyperparameters and as text, and its last interpolations.
///
/// Every event has the time of the original measurement, so the same run always gives the same file.
///
/// Returns a sentence about the picture of the interpolations if it cannot be read and is left out.
///
/// # Errors
/// If the event file cannot be written.
pub fn write(loaded: &Loaded, logs: &Path) -> Result<Option<String>> {
    let Loaded { run, metrics } = loaded;
    let (record, cell) = (&run.record, &run.record.cell);
    // Times are the start time plus the seconds of training. Pauses of an interrupted run are not recorded, so they do
    // not appear.
    let start = seconds(&record.provenance.started).unwrap_or(0.0);
    let (samples, end) = (run.status.samples, start + run.status.wall_s);
    let (settings, text) = (flat(cell)?, settings(record)?);
    let group = Cell { seed: 0, ..cell.clone() }.id();
    let (preview, problem) = match run.preview().map_err(Error::from).and_then(|bytes| preview(run, bytes)) {
        Ok(preview) => (preview, None),
        Err(error) => (None, Some(format!("The picture of {} is left out: {error}.", record.id))),
    };

    let at = |tag, step, time, content| Entry { tag, step, time, content };
    let mut entries = vec![
        at("", 0, start, Content::Begin { group: &group, settings: &settings }),
        at("settings", 0, start, Content::Text(&text)),
    ];
    for row in &metrics.0 {
        entries.push(at(&row.metric, row.samples, start + row.wall_s, Content::Scalar(row.value)));
    }
    if let Some(preview) = &preview {
        let (step, time) = metrics.0.last().map_or((samples, end), |row| (row.samples, start + row.wall_s));
        entries.push(at("interpolation", step, time, preview.content()));
    }
    if let State::Done | State::Failed = run.status.state {
        entries.push(at("", samples, end, Content::End { done: run.status.state == State::Done }));
    }
    let (dataset, name) = names(record);
    let folder = logs.join(dataset);
    make_folder(&folder)?;
    let folder = folder.join(name);
    make_folder(&folder)?;
    crate::write(&folder, "events.out.tfevents.0.lerp", &file(&entries))?;
    Ok(problem)
}

/// Returns the names of a run's folders: the dataset's, and within it one named by variant, seed and hash.
fn names(record: &RunRecord) -> (String, String) {
    let cell = &record.cell;
    let (rest, hash) = record.id.rsplit_once('-').unwrap_or((&record.id, ""));
    let name = format!("{}-s{}", cell.variant, cell.seed);
    let dataset = rest.strip_suffix(&format!("-{name}")).unwrap_or("runs");
    (dataset.to_owned(), format!("{name}-{hash}"))
}

/// Returns the configuration and provenance of a run as a Markdown table.
fn settings(record: &RunRecord) -> Result<String> {
    let row = |(name, value): (String, Value)| format!("| {name} | {} |\n", markdown(&plain(&value)));
    let rows: String = flat(record)?.into_iter().map(row).collect();
    Ok(format!("| setting | value |\n|---|---|\n{rows}"))
}

/// A PNG file and the image size from its header, in pixels.
struct Preview {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
    channels: u32,
}

impl Preview {
    fn content(&self) -> Content<'_> {
        let &Self { ref bytes, width, height, channels } = self;
        Content::Image { width, height, channels, png: bytes }
    }
}

/// Reads the header of the run's picture of its last interpolations. Returns `None` if the run has no picture yet.
fn preview(run: &Run, bytes: Option<Vec<u8>>) -> Result<Option<Preview>> {
    /// Byte offset of the colour type in a PNG file.
    const COLOR: usize = 25;
    const RGB: u8 = 2;
    let Some(bytes) = bytes else { return Ok(None) };
    let number = |first: usize| Some(u32::from_be_bytes(bytes.get(first..first + 4)?.try_into().ok()?));
    let sizes = number(16).zip(number(20)).zip(bytes.get(COLOR));
    let ((width, height), color) =
        sizes.filter(|_| bytes.starts_with(b"\x89PNG\r\n\x1a\n")).ok_or_else(|| {
            let path = run.dir.join("interpolation.png");
            Error::BadRun(format!("{} is no PNG; delete it", path.display()))
        })?;
    let channels = if *color == RGB { 3 } else { 1 };
    Ok(Some(Preview { bytes, width, height, channels }))
}

/// Converts a time in the format of RFC 3339 to seconds since 1970. Returns `None` for any other text.
fn seconds(time: &str) -> Option<f64> {
    Some(DateTime::parse_from_rfc3339(time).ok()?.timestamp() as f64)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_read_from_rfc_3339() {
        assert_eq!(seconds("2024-12-31T23:59:59Z"), Some(1_735_689_599.0));
        assert_eq!((seconds("yesterday"), seconds("")), (None, None));
    }
}
