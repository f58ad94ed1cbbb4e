//! Parquet files of images, in the layouts of the Hugging Face hub: a column `image` or `img` of encoded images
//! (`{bytes, path}` or the bytes themselves) and, where there are any, a column of labels: whole numbers of any kind, truths,
//! or text.
//!
//! A reader of its own, for a few hundred lines of code spare a first build the general one: flat columns, pages of
//! both versions, plain and dictionary values, packed with snappy, gzip, zstd or nothing. Whatever a file claims, no
//! more is allocated than a small multiple of its size.

mod footer;
mod page;
mod thrift;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, Seek, SeekFrom},
    path::Path,
};

use footer::{Chunk, Footer, Leaf};
use page::{Cell, Column, Span, Value};

use crate::{
    Result,
    error::{Error, Fault, fill},
    labels::{Label, whole},
    tree,
};

const BOOLEAN: i64 = 0;
const INT32: i64 = 1;
const INT64: i64 = 2;
const FLOAT: i64 = 4;
const DOUBLE: i64 = 5;
const BYTES: i64 = 6;
/// The kinds of values in a column of labels.
const KINDS: [i64; 6] = [BOOLEAN, INT32, INT64, FLOAT, DOUBLE, BYTES];
/// What such values stand for: text, an enumeration, and whole numbers of all widths, where anything is said.
const TEXT: [i64; 2] = [0, 4];
const NUMBERS: std::ops::RangeInclusive<i64> = 11..=18;
const UINT32: i64 = 13;

const IMAGES: [&str; 4] = ["image.bytes", "img.bytes", "image", "img"];
const LABELS: [&str; 9] =
    ["label", "labels", "fine_label", "fine_labels", "target", "targets", "class", "classes", "y"];

/// Columns that are not read, each with the reason.
pub(crate) type Unread = BTreeSet<(&'static str, String)>;

/// One row group: encoded images, and a label each if the file has any.
pub(crate) struct Rows {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Labels, as they stand in the file, and names of their classes where it has some.
    pub labels: Option<Vec<(Label, Option<String>)>>,
}

impl Rows {
    /// The encoded images.
    pub fn images(&self) -> Vec<&[u8]> {
        self.spans.iter().map(|span| &self.bytes[span.start..span.end]).collect()
    }
}

/// Whether the file at `path` has a column of labels.
pub(crate) fn has_labels(path: &Path) -> Result<bool> {
    let at = |fault: Fault| fault.at(path);
    let mut open = Open::new(path).map_err(at)?;
    let footer = Footer::read(&mut open.file, open.length).map_err(at)?;
    Ok(open.labels(&footer, &mut Unread::new()).map_err(at)?.is_some())
}

/// Hands the row groups of the file at `path` to `each`, in order; columns that are not read come into `unread`.
pub(crate) fn read(
    path: &Path,
    unread: &mut Unread,
    mut each: impl FnMut(&Rows) -> Result<()>,
) -> Result<()> {
    let at = |fault: Fault| fault.at(path);
    let mut open = Open::new(path).map_err(at)?;
    let footer = Footer::read(&mut open.file, open.length).map_err(at)?;
    let image = IMAGES.iter().find_map(|name| {
        let mut leaves = footer.leaves.iter().enumerate();
        leaves.find(|(_, leaf)| leaf.path == *name && leaf.kind == BYTES && !leaf.repeated)
    });
    let Some((image, leaf)) = image else {
        let names: Vec<&str> = footer.leaves.iter().map(|leaf| leaf.path.as_str()).take(12).collect();
        let expected = "a column 'image' or 'img' of encoded images".into();
        return Err(Error::Format { file: path.into(), expected, found: names.join(", ") });
    };
    let mut others = Unread::new();
    let label = open.labels(&footer, &mut others).map_err(at)?;
    for other in &footer.leaves {
        let name = column(other);
        let read = name == column(leaf) || label.is_some_and(|index| name == column(&footer.leaves[index]));
        if !read && others.iter().all(|(_, before)| before != name) {
            others.insert(("neither the images nor their labels", name.into()));
        }
    }
    unread.append(&mut others);
    let names = label.map(|index| names(&footer, &footer.leaves[index].path)).unwrap_or_default();
    let mut first = 0;
    for group in &footer.groups {
        let images: Column<Span> = open.column(leaf, group.chunks[image], group.rows).map_err(at)?;
        let mut spans = Vec::new();
        for (row, cell) in images.cells.iter().enumerate() {
            spans.push(cell.ok_or_else(|| at(nothing("an image", first + row)))?);
        }
        let mut labels = None;
        if let Some(index) = label {
            let leaf = &footer.leaves[index];
            let column: Column<Cell> = open.column(leaf, group.chunks[index], group.rows).map_err(at)?;
            let mut all = Vec::new();
            for (row, cell) in column.cells.iter().enumerate() {
                let cell = cell.ok_or_else(|| at(nothing("a label", first + row)))?;
                all.push(meaning(cell, leaf, &column.bytes, &names).map_err(at)?);
            }
            labels = Some(all);
        }
        first += group.rows;
        each(&Rows { bytes: images.bytes, spans, labels })?;
    }
    Ok(())
}

/// The name of the column that a leaf is in.
fn column(leaf: &Leaf) -> &str {
    leaf.path.split('.').next().unwrap_or_default()
}

/// The label that a cell holds, and its class's name.
fn meaning(
    cell: Cell,
    leaf: &Leaf,
    bytes: &[u8],
    names: &[String],
) -> std::result::Result<(Label, Option<String>), Fault> {
    Ok(match cell {
        Cell::Truth(truth) => (Label::Number(truth.into()), Some(truth.to_string())),
        Cell::Text(Span { start, end }) => {
            let text = std::str::from_utf8(&bytes[start..end]);
            let fault = |_| Fault::new(format!("text in column {}", leaf.path), "bytes that are none");
            (Label::Text(text.map_err(fault)?.to_owned()), None)
        }
        Cell::Whole(_) | Cell::Real(_) => {
            let number = match cell {
                Cell::Whole(number) if leaf.converted == Some(UINT32) => i64::from(number as u32),
                Cell::Whole(number) => number,
                // They are whole, or the column would not be read.
                Cell::Real(number) => number as i64,
                Cell::Truth(_) | Cell::Text(_) => 0,
            };
            let name = usize::try_from(number).ok().and_then(|number| names.get(number));
            (Label::Number(number), name.cloned())
        }
    })
}

/// The names of the classes in a column, where the hub's library has noted them.
fn names(footer: &Footer, column: &str) -> Vec<String> {
    let notes: serde_json::Value = serde_json::from_str(&footer.notes).unwrap_or_default();
    let names = notes["info"]["features"][column]["names"].as_array();
    let text = |name: &serde_json::Value| name.as_str().unwrap_or_default().to_owned();
    names.map(|names| names.iter().map(text).collect()).unwrap_or_default()
}

fn nothing(what: &str, row: usize) -> Fault {
    Fault::new(format!("{what} in every row"), format!("none in row {row}"))
}

struct Open {
    file: BufReader<File>,
    length: u64,
}

impl Open {
    fn new(path: &Path) -> std::result::Result<Self, Fault> {
        let file = tree::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::new(file), length })
    }

    /// The place of the column of labels among the leaves: the first of the usual names whose values can be classes. Others of
    /// these names come into `unread`.
    fn labels(&mut self, footer: &Footer, unread: &mut Unread) -> std::result::Result<Option<usize>, Fault> {
        for wanted in LABELS {
            for (index, leaf) in footer.leaves.iter().enumerate() {
                let name = column(leaf);
                if name.to_lowercase() != wanted {
                    continue;
                }
                let stands_for = match (leaf.kind, leaf.converted) {
                    (_, None) => true,
                    (BYTES, Some(kind)) => TEXT.contains(&kind),
                    (_, Some(kind)) => NUMBERS.contains(&kind),
                };
                let flat = name == leaf.path && !leaf.repeated;
                let why = if !(flat && stands_for && KINDS.contains(&leaf.kind)) {
                    "labels of a kind that is not read (numbers, truths and text are)"
                } else if !self.whole(footer, index)? {
                    "labels that are no whole numbers"
                } else {
                    return Ok(Some(index));
                };
                unread.insert((why, name.into()));
            }
        }
        Ok(None)
    }

    /// Whether the numbers in a column, if it holds any, are whole.
    fn whole(&mut self, footer: &Footer, index: usize) -> std::result::Result<bool, Fault> {
        let leaf = &footer.leaves[index];
        if leaf.kind != FLOAT && leaf.kind != DOUBLE {
            return Ok(true);
        }
        for group in &footer.groups {
            let column: Column<Cell> = self.column(leaf, group.chunks[index], group.rows)?;
            let broken = |cell: &Cell| matches!(cell, Cell::Real(number) if whole(*number).is_none());
            if column.cells.iter().flatten().any(broken) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn column<T: Value>(
        &mut self,
        leaf: &Leaf,
        chunk: Chunk,
        rows: usize,
    ) -> std::result::Result<Column<T>, Fault> {
        // Within the file, as the footer was checked.
        self.file.seek(SeekFrom::Start(chunk.start))?;
        let mut raw = vec![0; chunk.length as usize];
        fill(&mut self.file, &mut raw, "a column")?;
        Column::read(&raw, leaf, chunk, rows)
    }
}
