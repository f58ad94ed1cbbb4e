//! The export format `tensorboard`: a log folder in which TensorBoard shows all runs of a sweep.

use std::{fmt::Write, path::Path};

use anyhow::{Context, Result};
use lerp_files::make_folder;
use lerp_train::{
    Cell, Run, RunRecord, State,
    events::{Content, Entry, file},
};

use super::{Loaded, flat, plain};
use crate::provenance::unix;

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
    let start = unix(&record.provenance.started).unwrap_or(0.0);
    let (samples, end) = (run.status.samples, start + run.status.wall_s);
    let (settings, text) = (flat(cell)?, settings(record)?);
    let group = Cell { seed: 0, ..cell.clone() }.id();
    let (preview, problem) = match run.preview().map_err(Into::into).and_then(|bytes| preview(run, bytes)) {
        Ok(preview) => (preview, None),
        Err(error) => (None, Some(format!("The picture of {} is left out: {error:#}.", record.id))),
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
    super::write(&folder, "events.out.tfevents.0.lerp", &file(&entries))?;
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
    let mut text = String::from("| setting | value |\n|---|---|\n");
    for (name, value) in flat(record)? {
        writeln!(text, "| {name} | {} |", lerp_report::text::markdown(&plain(&value)))?;
    }
    Ok(text)
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
    let ((width, height), color) = sizes
        .filter(|_| bytes.starts_with(b"\x89PNG\r\n\x1a\n"))
        .with_context(|| format!("{} is no PNG; delete it", run.dir.join("interpolation.png").display()))?;
    let channels = if *color == RGB { 3 } else { 1 };
    Ok(Some(Preview { bytes, width, height, channels }))
}
