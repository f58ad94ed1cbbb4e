//! What a parquet file says about itself: its leaf columns and where their bytes are.

use std::io::{Read, Seek, SeekFrom};

use super::thrift::Thrift;
use crate::error::{Fault, fill, show};

type Result<T> = std::result::Result<T, Fault>;

const MAGIC: [u8; 4] = *b"PAR1";

/// A column of plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its name with those of the structures around it, such as `image.bytes`.
    pub path: String,
    /// Physical type, by parquet's number.
    pub kind: i64,
    /// Definition level of a value that is there.
    pub defined: u32,
    /// Whether it lies in a list.
    pub repeated: bool,
    /// What its values stand for, by parquet's number.
    pub converted: Option<i64>,
}

/// The bytes of one leaf in one row group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chunk {
    pub codec: i64,
    pub start: u64,
    pub length: u64,
}

/// Rows, and one chunk a leaf.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub rows: usize,
    pub chunks: Vec<Chunk>,
}

/// The whole of it.
#[derive(Debug, Clone)]
pub(super) struct Footer {
    pub leaves: Vec<Leaf>,
    pub groups: Vec<Group>,
    /// What the hub's library notes of the columns, as JSON; empty where there is nothing.
    pub notes: String,
}

#[derive(Default)]
struct Element {
    kind: i64,
    repetition: i64,
    name: String,
    children: usize,
    converted: Option<i64>,
}

impl Footer {
    /// Reads the end of a file of `length` bytes.
    pub fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Self> {
        let foreign = |found| Fault::new("a parquet file ('PAR1' at its beginning and end)", found);
        if length < 12 {
            return Err(foreign(format!("{length} bytes in all")));
        }
        let (mut head, mut tail) = ([0; 4], [0; 8]);
        file.rewind()?;
        fill(file, &mut head, "its beginning")?;
        file.seek(SeekFrom::Start(length - 8))?;
        fill(file, &mut tail, "its end")?;
        if head != MAGIC || tail[4..] != MAGIC {
            return Err(foreign(format!("{} there and {}", show(&head), show(&tail[4..]))));
        }
        let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        if size > length - 12 {
            return Err(Fault::new(
                format!("metadata within the file's {length} bytes"),
                format!("{size} bytes of it"),
            ));
        }
        file.seek(SeekFrom::Start(length - 8 - size))?;
        let mut bytes = vec![0; size as usize];
        fill(file, &mut bytes, "the metadata")?;
        let footer = Self::parse(&bytes)?;
        footer.check(length)?;
        Ok(footer)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (mut elements, mut groups, mut notes) = (Vec::new(), Vec::new(), String::new());
        Thrift::new(bytes).structure(&mut |thrift, id, _| {
            match id {
                2 => elements = thrift.structures(element)?,
                4 => groups = thrift.structures(group)?,
                5 => {
                    let pairs = thrift.structures(pair)?;
                    let own = pairs.into_iter().find(|(key, _)| key == "huggingface");
                    notes = own.map(|(_, value)| value).unwrap_or_default();
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let mut leaves = Vec::new();
        let root = elements.first().ok_or_else(|| Fault::new("a schema", "none"))?;
        let mut rest = elements[1..].iter();
        for _ in 0..root.children {
            walk(&mut rest, "", 0, false, 0, &mut leaves)?;
        }
        Ok(Self { leaves, groups, notes })
    }

    /// Sizes and places within a file of `length` bytes.
    fn check(&self, length: u64) -> Result<()> {
        // An image takes more than 16 bytes; this bounds what is allocated for a file that claims anything.
        let rows = self.groups.iter().fold(0_usize, |sum, group| sum.saturating_add(group.rows));
        if rows as u64 > length / 16 {
            return Err(Fault::new(format!("rows that fit into {length} bytes"), format!("{rows} rows")));
        }
        for group in &self.groups {
            if group.chunks.len() != self.leaves.len() {
                let found = format!("{} of them for {} columns", group.chunks.len(), self.leaves.len());
                return Err(Fault::new("one column chunk a column in every row group", found));
            }
            for chunk in &group.chunks {
                if chunk.start.checked_add(chunk.length).is_none_or(|end| end > length) {
                    let found = format!("{} bytes from {}", chunk.length, chunk.start);
                    return Err(Fault::new(format!("column chunks within the file's {length} bytes"), found));
                }
            }
        }
        Ok(())
    }
}

/// One element of the schema and all below it.
fn walk(
    rest: &mut std::slice::Iter<'_, Element>,
    above: &str,
    defined: u32,
    repeated: bool,
    depth: usize,
    leaves: &mut Vec<Leaf>,
) -> Result<()> {
    let element = rest.next().ok_or_else(|| Fault::new("a whole schema", "one with parts missing"))?;
    if depth > 8 {
        return Err(Fault::new("columns at most 8 deep", "deeper ones"));
    }
    let path = if above.is_empty() { element.name.clone() } else { format!("{above}.{}", element.name) };
    let defined = defined + u32::from(element.repetition != 0);
    let repeated = repeated || element.repetition == 2;
    if element.children == 0 {
        leaves.push(Leaf { path, kind: element.kind, defined, repeated, converted: element.converted });
        return Ok(());
    }
    for _ in 0..element.children {
        walk(rest, &path, defined, repeated, depth + 1, leaves)?;
    }
    Ok(())
}

fn element(thrift: &mut Thrift<'_>) -> Result<Element> {
    let mut element = Element::default();
    thrift.structure(&mut |thrift, id, _| {
        match id {
            1 => element.kind = thrift.int()?,
            3 => element.repetition = thrift.int()?,
            4 => element.name = thrift.text()?,
            5 => element.children = thrift.size()?,
            6 => element.converted = Some(thrift.int()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(element)
}

/// A key and its value.
fn pair(thrift: &mut Thrift<'_>) -> Result<(String, String)> {
    let mut pair = (String::new(), String::new());
    thrift.structure(&mut |thrift, id, _| {
        match id {
            1 => pair.0 = thrift.text()?,
            2 => pair.1 = thrift.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(pair)
}

fn group(thrift: &mut Thrift<'_>) -> Result<Group> {
    let mut group = Group { rows: 0, chunks: Vec::new() };
    thrift.structure(&mut |thrift, id, _| {
        match id {
            1 => group.chunks = thrift.structures(chunk)?,
            3 => group.rows = thrift.size()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(group)
}

fn chunk(thrift: &mut Thrift<'_>) -> Result<Chunk> {
    let mut chunk = Chunk::default();
    let (mut data, mut dictionary) = (0, 0);
    thrift.structure(&mut |thrift, id, _| {
        if id != 3 {
            return Ok(false);
        }
        thrift.structure(&mut |thrift, id, _| {
            match id {
                4 => chunk.codec = thrift.int()?,
                7 => chunk.length = thrift.size()? as u64,
                9 => data = thrift.size()? as u64,
                11 => dictionary = thrift.size()? as u64,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(true)
    })?;
    // Some writers give 0 for a dictionary that is not there.
    chunk.start = if dictionary > 0 { dictionary.min(data) } else { data };
    Ok(chunk)
}
