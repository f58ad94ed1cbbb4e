//! The pages of a column chunk, unpacked.

use std::io::{self, Read};

use super::{
    footer::{Chunk, Leaf},
    thrift::Thrift,
};
use crate::error::Fault;

type Result<T> = std::result::Result<T, Fault>;

/// Beyond this many times its packed size (and [`SLACK`]) a page is not believed.
const RATIO: usize = 64;
/// The same for a whole chunk.
const CHUNK_RATIO: usize = 8;
/// Bytes that small things may unpack to in any case.
const SLACK: usize = 4 << 20;

/// One value: a place in the column's bytes, or a label.
pub(super) trait Value: Copy {
    /// The value at `at` of `bytes`, and where the next one starts.
    fn plain(bytes: &[u8], at: usize, kind: i64) -> Option<(Self, usize)>;

    /// A truth, if these values can be one.
    fn truth(truth: bool) -> Option<Self>;
}

/// A byte array, as its place in [`Column::bytes`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Value for Span {
    fn plain(bytes: &[u8], at: usize, _: i64) -> Option<(Self, usize)> {
        let start = at.checked_add(4)?;
        let length = u32::from_le_bytes(bytes.get(at..start)?.try_into().ok()?) as usize;
        let end = start.checked_add(length).filter(|end| *end <= bytes.len())?;
        Some((Self { start, end }, end))
    }

    fn truth(_: bool) -> Option<Self> {
        None
    }
}

/// What a column of labels may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell {
    Whole(i64),
    Real(f64),
    Truth(bool),
    Text(Span),
}

impl Value for Cell {
    fn plain(bytes: &[u8], at: usize, kind: i64) -> Option<(Self, usize)> {
        let four = || bytes.get(at..at.checked_add(4)?)?.try_into().ok();
        let eight = || bytes.get(at..at.checked_add(8)?)?.try_into().ok();
        Some(match kind {
            super::INT32 => (Self::Whole(i32::from_le_bytes(four()?).into()), at + 4),
            super::FLOAT => (Self::Real(f32::from_le_bytes(four()?).into()), at + 4),
            super::INT64 => (Self::Whole(i64::from_le_bytes(eight()?)), at + 8),
            super::DOUBLE => (Self::Real(f64::from_le_bytes(eight()?)), at + 8),
            _ => {
                let (span, next) = Span::plain(bytes, at, kind)?;
                (Self::Text(span), next)
            }
        })
    }

    fn truth(truth: bool) -> Option<Self> {
        Some(Self::Truth(truth))
    }
}

/// The values of a leaf in one row group, one a row.
pub(super) struct Column<T> {
    /// All pages, unpacked.
    pub bytes: Vec<u8>,
    /// What each row holds; `None` is a null.
    pub cells: Vec<Option<T>>,
}

#[derive(Default, Debug)]
struct Header {
    kind: i64,
    unpacked: usize,
    packed: usize,
    values: usize,
    encoding: i64,
    defined_bytes: usize,
    repeated_bytes: usize,
    is_plain: bool,
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

impl<T: Value> Column<T> {
    /// Unpacks the chunk in `raw`, which has `rows` rows.
    pub fn read(raw: &[u8], leaf: &Leaf, chunk: Chunk, rows: usize) -> Result<Self> {
        let (mut column, mut dictionary) = (Self { bytes: Vec::new(), cells: Vec::new() }, Vec::new());
        let mut at = 0;
        while column.cells.len() < rows {
            let mut thrift = Thrift::new(&raw[at..]);
            let header = header(&mut thrift)?;
            at += thrift.position();
            let end = at.checked_add(header.packed).filter(|end| *end <= raw.len());
            let end = end.ok_or_else(|| {
                Fault::new("pages within their column chunk", format!("a page of {} bytes", header.packed))
            })?;
            let packed = &raw[at..end];
            at = end;
            if header.unpacked
                > SLACK + CHUNK_RATIO * raw.len() - column.bytes.len().min(CHUNK_RATIO * raw.len())
            {
                return Err(Fault::new(
                    "a plausible amount of data",
                    format!("{} bytes more", header.unpacked),
                ));
            }
            match header.kind {
                DICTIONARY => dictionary = column.dictionary(packed, leaf, chunk, &header)?,
                DATA | DATA_V2 => column.data(packed, leaf, chunk, &header, &dictionary, rows)?,
                _ => {}
            }
        }
        Ok(column)
    }

    /// Unpacks a page behind the others; where it starts.
    fn append(&mut self, packed: &[u8], codec: i64, unpacked: usize) -> Result<usize> {
        let start = self.bytes.len();
        unpack(packed, codec, unpacked, &mut self.bytes)?;
        Ok(start)
    }

    fn dictionary(&mut self, packed: &[u8], leaf: &Leaf, chunk: Chunk, header: &Header) -> Result<Vec<T>> {
        let mut at = self.append(packed, chunk.codec, header.unpacked)?;
        let mut values = Vec::new();
        for _ in 0..header.values {
            let (value, next) = T::plain(&self.bytes, at, leaf.kind).ok_or_else(short)?;
            values.push(value);
            at = next;
        }
        Ok(values)
    }

    fn data(
        &mut self,
        packed: &[u8],
        leaf: &Leaf,
        chunk: Chunk,
        header: &Header,
        dictionary: &[T],
        rows: usize,
    ) -> Result<()> {
        let count = header.values;
        if count > rows - self.cells.len() {
            return Err(Fault::new(format!("{rows} rows in column {}", leaf.path), "more"));
        }
        let width = u32::BITS - leaf.defined.leading_zeros();
        let all = |width| if width == 0 { Some(vec![0; count]) } else { None };
        let (levels, mut at) = if header.kind == DATA_V2 {
            // Levels first, never packed.
            let (skip, size) = (header.repeated_bytes, header.defined_bytes);
            let values = skip.checked_add(size).filter(|end| *end <= packed.len()).ok_or_else(short)?;
            let levels = match all(width) {
                Some(levels) => levels,
                None => hybrid(&packed[skip..values], width, count)?,
            };
            let unpacked = header.unpacked.checked_sub(values).ok_or_else(short)?;
            let codec = if header.is_plain { 0 } else { chunk.codec };
            (levels, self.append(&packed[values..], codec, unpacked)?)
        } else {
            let start = self.append(packed, chunk.codec, header.unpacked)?;
            if let Some(levels) = all(width) {
                (levels, start)
            } else {
                let (span, next) = Span::plain(&self.bytes, start, 0).ok_or_else(short)?;
                (hybrid(&self.bytes[span.start..span.end], width, count)?, next)
            }
        };
        let present = levels.iter().filter(|level| **level == leaf.defined).count();
        let mut indices = Vec::new().into_iter();
        let truths = leaf.kind == super::BOOLEAN;
        let from_dictionary = match header.encoding {
            // A bit each.
            0 if truths => {
                let bits = self.bytes.get(at..).unwrap_or_default();
                if bits.len() < present.div_ceil(8) {
                    return Err(short());
                }
                let bits: Vec<u32> = (0..present).map(|i| u32::from(bits[i / 8] >> (i % 8) & 1)).collect();
                indices = bits.into_iter();
                false
            }
            // Runs of one bit behind their length.
            3 if truths => {
                let (span, _) = Span::plain(&self.bytes, at, 0).ok_or_else(short)?;
                indices = hybrid(&self.bytes[span.start..span.end], 1, present)?.into_iter();
                false
            }
            0 => false,
            2 | 8 => {
                if present > 0 {
                    let width = u32::from(*self.bytes.get(at).ok_or_else(short)?);
                    indices = hybrid(&self.bytes[at + 1..], width, present)?.into_iter();
                }
                true
            }
            other => {
                let name = encoding(other);
                return Err(Fault::new(
                    format!("plain or dictionary values in column {}", leaf.path),
                    format!("{name}: write the file with another setting"),
                ));
            }
        };
        for level in levels {
            if level != leaf.defined {
                self.cells.push(None);
                continue;
            }
            let value = if truths && !from_dictionary {
                let truth = indices.next().ok_or_else(short)? == 1;
                T::truth(truth).ok_or_else(|| Fault::new("bytes", "truths"))?
            } else if from_dictionary {
                let index = indices.next().ok_or_else(short)?;
                *dictionary.get(index as usize).ok_or_else(|| {
                    Fault::new(
                        format!("a dictionary of more than {index} values"),
                        dictionary.len().to_string(),
                    )
                })?
            } else {
                let (value, next) = T::plain(&self.bytes, at, leaf.kind).ok_or_else(short)?;
                at = next;
                value
            };
            self.cells.push(Some(value));
        }
        Ok(())
    }
}

fn short() -> Fault {
    Fault::new("a whole page", "one that ends early")
}

fn encoding(number: i64) -> String {
    match number {
        5 => "DELTA_BINARY_PACKED".into(),
        6 => "DELTA_LENGTH_BYTE_ARRAY".into(),
        7 => "DELTA_BYTE_ARRAY".into(),
        9 => "BYTE_STREAM_SPLIT".into(),
        other => format!("encoding {other}"),
    }
}

fn header(thrift: &mut Thrift<'_>) -> Result<Header> {
    let mut header = Header::default();
    thrift.structure(&mut |thrift, id, _| {
        match id {
            1 => header.kind = thrift.int()?,
            2 => header.unpacked = thrift.size()?,
            3 => header.packed = thrift.size()?,
            5 | 7 => thrift.structure(&mut |thrift, id, _| {
                match id {
                    1 => header.values = thrift.size()?,
                    2 => header.encoding = thrift.int()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            8 => thrift.structure(&mut |thrift, id, kind| {
                match id {
                    1 => header.values = thrift.size()?,
                    4 => header.encoding = thrift.int()?,
                    5 => header.defined_bytes = thrift.size()?,
                    6 => header.repeated_bytes = thrift.size()?,
                    7 => header.is_plain = kind == super::thrift::kind::FALSE,
                    _ => return Ok(false),
                }
                // The flag is its kind and has no bytes.
                Ok(true)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(header)
}

/// Unpacks `packed` behind `out`: exactly `size` bytes, whatever the stream claims.
fn unpack(packed: &[u8], codec: i64, size: usize, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    if size > packed.len().saturating_mul(RATIO).saturating_add(SLACK) {
        return Err(Fault::new("a plausible size of a page", format!("{size} bytes from {}", packed.len())));
    }
    let limit = size as u64 + 1;
    match codec {
        0 => out.extend_from_slice(packed),
        1 => {
            let claimed = snap::raw::decompress_len(packed).map_err(|e| sound(&e))?;
            if claimed != size {
                return Err(Fault::new(format!("a page of {size} bytes"), format!("{claimed}")));
            }
            out.resize(start + size, 0);
            snap::raw::Decoder::new().decompress(packed, &mut out[start..]).map_err(|e| sound(&e))?;
        }
        2 => pull(flate2::read::MultiGzDecoder::new(packed).take(limit), out)?,
        6 => {
            let mut decoder = zstd::stream::read::Decoder::new(packed)?;
            decoder.window_log_max(24)?;
            pull(decoder.take(limit), out)?;
        }
        other => {
            let name = match other {
                3 => "lzo",
                4 => "brotli",
                5 | 7 => "lz4",
                _ => "an unknown code",
            };
            return Err(Fault::new(
                "a file packed with snappy, gzip, zstd or nothing",
                format!("{name} (write it with one of those)"),
            ));
        }
    }
    if out.len() - start != size {
        return Err(Fault::new(format!("a page of {size} bytes"), format!("{}", out.len() - start)));
    }
    Ok(())
}

/// Appends what a stream delivers; its size is compared afterwards, so that the end of a cut one is no error of its own.
fn pull(mut stream: impl Read, out: &mut Vec<u8>) -> Result<()> {
    match stream.read_to_end(out) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
        _ => Ok(()),
    }
}

fn sound(error: &snap::Error) -> Fault {
    Fault::new("a sound snappy page", format!("'{error}'"))
}

/// `count` numbers of `width` bits in parquet's mixture of runs and packed groups of eight.
fn hybrid(bytes: &[u8], width: u32, count: usize) -> Result<Vec<u32>> {
    if width > 32 {
        return Err(Fault::new("numbers of at most 32 bits", format!("{width} bits")));
    }
    let (mut at, mut values) = (0, Vec::new());
    while values.len() < count {
        let mut head = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = *bytes.get(at).ok_or_else(short)?;
            at += 1;
            head |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        let left = count - values.len();
        if head & 1 == 0 {
            let size = width.div_ceil(8) as usize;
            let run = bytes.get(at..at + size).ok_or_else(short)?;
            at += size;
            let value = run.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
            let length = (head >> 1).min(left as u64) as usize;
            if length == 0 {
                return Err(Fault::new("a run of at least one value", "an empty one"));
            }
            values.resize(values.len() + length, value);
        } else {
            let groups = (head >> 1) as usize;
            if groups == 0 {
                return Err(Fault::new("a run of at least one value", "an empty one"));
            }
            let numbers = groups.saturating_mul(8).min(left);
            let packed = bytes.get(at..).unwrap_or_default();
            // The last group may be cut off after its last number.
            if packed.len() < (numbers * width as usize).div_ceil(8) {
                return Err(short());
            }
            for number in 0..numbers {
                let bit = number * width as usize;
                let mut window = 0_u64;
                for (i, byte) in packed[bit / 8..].iter().take(5).enumerate() {
                    window |= u64::from(*byte) << (8 * i);
                }
                values.push((window >> (bit % 8) & ((1_u64 << width) - 1)) as u32);
            }
            at = at.saturating_add(groups.saturating_mul(width as usize)).min(bytes.len());
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_runs_and_groups() {
        // A run of five 7s (head 10), then one group of eight 3-bit numbers, the format's own example: 0 to 7.
        let bytes = [10, 7, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let expected = [7, 7, 7, 7, 7, 0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(hybrid(&bytes, 3, 13).unwrap(), expected);
        assert_eq!(hybrid(&bytes, 3, 6).unwrap(), expected[..6]);
        assert!(hybrid(&bytes, 3, 14).is_err());
        assert!(hybrid(&[0], 0, 3).is_err(), "an empty run would never end");
        assert_eq!(hybrid(&[6], 0, 3).unwrap(), [0, 0, 0]);
        assert_eq!(hybrid(&[3, 1, 2, 3, 4, 5, 6, 7, 8].map(|b| b), 8, 8).unwrap()[7], 8);
    }
}
