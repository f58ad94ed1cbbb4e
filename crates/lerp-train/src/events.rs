//! TensorBoard events: the metrics once more, in the file format that TensorBoard reads.
//!
//! A file is a sequence of records (length, masked CRC-32C of the length, data, masked CRC-32C of the data); each holds
//! an `Event` in protocol-buffer encoding, of which only four fields are needed here.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Error, Result, Row};

/// An events file that is being written.
#[derive(Debug)]
pub(crate) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Starts the file of the run in `dir` with the rows that are already known.
    pub fn create(dir: &Path, rows: &[Row]) -> Result<Self> {
        let path = dir.join("events.out.tfevents.0.lerp");
        let mut version = Vec::new();
        field(&mut version, 3, b"brain.Event:2");
        let mut bytes = record(&event(0, &version));
        bytes.extend(rows.iter().flat_map(row_record));
        crate::write_atomic(&path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::file("write", &path))?;
        Ok(Self { path, file })
    }

    /// Appends rows.
    pub fn append(&mut self, rows: &[Row]) -> Result<()> {
        let bytes: Vec<u8> = rows.iter().flat_map(row_record).collect();
        self.file.write_all(&bytes).map_err(Error::file("write", &self.path))
    }
}

fn row_record(row: &Row) -> Vec<u8> {
    let mut value = Vec::new();
    field(&mut value, 1, row.metric.as_bytes());
    value.push(2 << 3 | 5);
    value.extend((row.value as f32).to_le_bytes());
    let mut summary = Vec::new();
    field(&mut summary, 1, &value);
    let mut rest = Vec::new();
    field(&mut rest, 5, &summary);
    record(&event(row.samples, &rest))
}

/// An `Event`: wall time (field 1), step (field 2; we count samples), then `rest`.
fn event(step: u64, rest: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    let mut bytes = vec![1 << 3 | 1];
    bytes.extend(now.to_le_bytes());
    bytes.push(2 << 3);
    varint(&mut bytes, step);
    bytes.extend(rest);
    bytes
}

/// A length-delimited field.
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

    #[test]
    fn records_are_framed_as_tensorboard_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let row = |samples| Row { step: 1, samples, metric: "m".into(), value: 1.5, wall_s: 0.0 };
        let mut events = Events::create(dir.path(), &[row(64)]).unwrap();
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
        // step 300 as a varint, then summary { value { tag: "m", simple_value: 1.5 } }
        let tail = [&[0x10, 0xac, 0x02, 0x2a, 10, 0x0a, 8, 0x0a, 1, b'm', 0x15][..], &1.5_f32.to_le_bytes()]
            .concat();
        assert!(records[2].ends_with(&tail), "{:?}", records[2]);
    }
}
