//! TensorBoard events: the metrics in TensorBoard's file format, and, for exports, text, images and
//! hyperparameters.
//!
//! A file is a sequence of records (length, masked CRC-32C of the length, data, masked CRC-32C of the data). The
//! data of each is an `Event` in protocol-buffer encoding, of which only a few fields are needed here.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};

use crate::{MetricRow, Result, digests::RunFiles, files::EVENTS};

/// An events file that is being written.
#[derive(Debug)]
pub(crate) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Creates the file of a run with the rows that exist already.
    pub fn create(files: &RunFiles, rows: &[MetricRow]) -> Result<Self> {
        let path = files.dir().join(EVENTS);
        let mut bytes = version(now());
        bytes.extend(rows.iter().flat_map(row_record));
        files.replace(EVENTS, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(lerp_files::Error::at("write", &path))?;
        Ok(Self { path, file })
    }

    /// Appends rows.
    pub fn append(&mut self, rows: &[MetricRow]) -> Result<()> {
        let bytes: Vec<u8> = rows.iter().flat_map(row_record).collect();
        Ok(self.file.write_all(&bytes).map_err(lerp_files::Error::at("write", &self.path))?)
    }
}

/// The content of an [`Entry`].
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// A number, stored as `f32`.
    Scalar(f64),
    /// Markdown.
    Text(&'a str),
    /// A picture.
    Image {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Number of channels: 1 for grayscale, 3 for colour.
        channels: u32,
        /// The bytes of the PNG file.
        png: &'a [u8],
    },
    /// The start of a run with its settings (numbers, texts or booleans), for the hyperparameter tab.
    Begin {
        /// The name of the run's group; runs of one group differ in the seed alone.
        group: &'a str,
        /// Settings by name.
        settings: &'a Map<String, Value>,
    },
    /// The end of a run.
    End {
        /// Whether it is complete.
        done: bool,
    },
}

/// One event for TensorBoard.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The tag under which it is shown; ignored for the start and the end of a run, which have fixed tags.
    pub tag: &'a str,
    /// The position on the step axis: the number of training samples.
    pub step: u64,
    /// The time of the event, in seconds since 1970.
    pub time: f64,
    /// The content.
    pub content: Content<'a>,
}

/// Returns the bytes of a whole file of events.
pub fn file(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = version(entries.first().map_or(0.0, |entry| entry.time));
    bytes.extend(entries.iter().flat_map(Entry::record));
    bytes
}

impl Entry<'_> {
    fn record(&self) -> Vec<u8> {
        let mut value = Vec::new();
        let tag = match self.content {
            Content::Begin { .. } => "_hparams_/session_start_info",
            Content::End { .. } => "_hparams_/session_end_info",
            _ => self.tag,
        };
        field(&mut value, 1, tag.as_bytes());
        match self.content {
            Content::Scalar(number) => {
                value.push(2 << 3 | 5);
                value.extend((number as f32).to_le_bytes());
            }
            Content::Text(text) => {
                let mut tensor = tensor(STRINGS, 1);
                field(&mut tensor, 8, text.as_bytes());
                field(&mut value, 8, &tensor);
                field(&mut value, 9, &metadata("text", &[]));
            }
            Content::Image { width, height, channels, png } => {
                let mut image = Vec::new();
                for (number, size) in [(1, height), (2, width), (3, channels)] {
                    whole(&mut image, number, size.into());
                }
                field(&mut image, 4, png);
                field(&mut value, 4, &image);
            }
            Content::Begin { group, settings } => {
                let mut start = Vec::new();
                for (key, setting) in settings {
                    let mut pair = Vec::new();
                    field(&mut pair, 1, key.as_bytes());
                    field(&mut pair, 2, &json(setting));
                    field(&mut start, 1, &pair);
                }
                field(&mut start, 4, group.as_bytes());
                real(&mut start, 5, self.time);
                session(&mut value, 3, &start);
            }
            Content::End { done } => {
                const SUCCESS: u64 = 1;
                const FAILURE: u64 = 2;
                let mut end = Vec::new();
                whole(&mut end, 1, if done { SUCCESS } else { FAILURE });
                real(&mut end, 2, self.time);
                session(&mut value, 4, &end);
            }
        }
        let (mut summary, mut rest) = (Vec::new(), Vec::new());
        field(&mut summary, 1, &value);
        field(&mut rest, 5, &summary);
        record(&event(self.time, self.step, &rest))
    }
}

/// Values of the `dtype` field of a `TensorProto`: `DT_FLOAT` and `DT_STRING`.
const FLOATS: u64 = 1;
const STRINGS: u64 = 7;

/// Returns a `TensorProto` of shape `[size]` without its elements.
fn tensor(kind: u64, size: u64) -> Vec<u8> {
    let (mut dimension, mut shape, mut tensor) = (Vec::new(), Vec::new(), Vec::new());
    whole(&mut dimension, 1, size);
    field(&mut shape, 2, &dimension);
    whole(&mut tensor, 1, kind);
    field(&mut tensor, 2, &shape);
    tensor
}

/// Returns a `SummaryMetadata` that names the plugin that shows a value.
fn metadata(plugin: &str, content: &[u8]) -> Vec<u8> {
    let (mut data, mut metadata) = (Vec::new(), Vec::new());
    field(&mut data, 1, plugin.as_bytes());
    if !content.is_empty() {
        field(&mut data, 2, content);
    }
    field(&mut metadata, 1, &data);
    metadata
}

/// Adds a record of the hyperparameter plugin to `value`; all of its content is metadata, and the tensor itself is
/// empty.
fn session(value: &mut Vec<u8>, number: u8, info: &[u8]) {
    let mut content = Vec::new();
    field(&mut content, number, info);
    field(value, 8, &tensor(FLOATS, 0));
    field(value, 9, &metadata("hparams", &content));
}

/// Returns a `google.protobuf.Value`; whatever is neither a number nor a boolean is written as text.
fn json(setting: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match (setting, setting.as_f64()) {
        (_, Some(number)) => real(&mut out, 2, number),
        (Value::Bool(truth), _) => whole(&mut out, 4, u64::from(*truth)),
        (Value::String(text), _) => field(&mut out, 3, text.as_bytes()),
        (other, _) => field(&mut out, 3, other.to_string().as_bytes()),
    }
    out
}

fn row_record(row: &MetricRow) -> Vec<u8> {
    let content = Content::Scalar(row.value);
    Entry { tag: &row.metric, step: row.samples, time: now(), content }.record()
}

/// Returns the first record of a file, which states the format version.
fn version(time: f64) -> Vec<u8> {
    let mut version = Vec::new();
    field(&mut version, 3, b"brain.Event:2");
    record(&event(time, 0, &version))
}

/// Returns an `Event`: wall time (field 1), step (field 2, here the number of samples), then `rest`.
fn event(time: f64, step: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    real(&mut bytes, 1, time);
    whole(&mut bytes, 2, step);
    bytes.extend(rest);
    bytes
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Appends an integer field (a varint).
fn whole(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3);
    varint(out, value);
}

/// Appends a 64-bit floating-point field.
fn real(out: &mut Vec<u8>, number: u8, value: f64) {
    out.push(number << 3 | 1);
    out.extend(value.to_le_bytes());
}

/// Appends a length-delimited field.
fn field(out: &mut Vec<u8>, number: u8, data: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, data.len() as u64);
    out.extend(data);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn record(data: &[u8]) -> Vec<u8> {
    let masked =
        |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunLock;

    #[test]
    fn records_are_framed_as_tensorboard_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let row = |samples| MetricRow { step: 1, samples, metric: "m".into(), value: 1.5, wall_s: 0.0 };
        let lock = RunLock::take(dir.path()).unwrap();
        let files = RunFiles::open(&lock, "x").unwrap();
        let mut events = Events::create(&files, &[row(64)]).unwrap();
        events.append(&[row(300)]).unwrap();
        let bytes = std::fs::read(dir.path().join("events.out.tfevents.0.lerp")).unwrap();
        let mut records = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[..16 + n], record(&rest[12..12 + n])[..]);
            records.push(&rest[12..12 + n]);
            rest = &rest[16 + n..];
        }
        assert_eq!(records.len(), 3);
        assert!(records[0].ends_with(b"brain.Event:2"));
        // The tail is step 300 as a varint, then `summary { value { tag: "m", simple_value: 1.5 } }`.
        let tail = [&[0x10, 0xac, 0x02, 0x2a, 10, 0x0a, 8, 0x0a, 1, b'm', 0x15][..], &1.5_f32.to_le_bytes()]
            .concat();
        assert!(records[2].ends_with(&tail), "{:?}", records[2]);
    }
}
