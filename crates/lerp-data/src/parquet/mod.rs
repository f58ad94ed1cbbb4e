//! Parquet files of images, in the layouts of the Hugging Face hub: a column `image` or `img` of encoded images
//! (`{bytes, path}` or the bytes themselves) and, where there are any, a column `label` of whole numbers.
//!
//! A reader of its own, for a few hundred lines of code spare a first build the general one: flat columns, pages of
//! both versions, plain and dictionary values, packed with snappy, gzip, zstd or nothing. Whatever a file claims, no
//! more is allocated than a small multiple of its size.

mod footer;
mod page;
mod thrift;

use std::{
    fs::File,
    io::{BufReader, Seek, SeekFrom},
    path::Path,
};

use footer::{Chunk, Footer, Leaf};
use page::{Column, Span, Value};

use crate::{
    Result,
    error::{Error, Fault, fill},
};

const INT32: i64 = 1;
const INT64: i64 = 2;
const BYTES: i64 = 6;

const IMAGES: [&str; 4] = ["image.bytes", "img.bytes", "image", "img"];
const LABELS: [&str; 2] = ["label", "labels"];

/// One row group: encoded images, and a class each if the file has any.
pub(crate) struct Rows {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Classes, as they stand in the file.
    pub labels: Option<Vec<i64>>,
}

impl Rows {
    /// The encoded images.
    pub fn images(&self) -> Vec<&[u8]> {
        self.spans.iter().map(|span| &self.bytes[span.start..span.end]).collect()
    }
}

/// Whether the file at `path` has a column of classes.
pub(crate) fn has_labels(path: &Path) -> Result<bool> {
    let mut file = Open::new(path).map_err(|fault| fault.at(path))?;
    let footer = Footer::read(&mut file.file, file.length).map_err(|fault| fault.at(path))?;
    Ok(find(&footer, &LABELS, &[INT32, INT64]).is_some())
}

/// Hands the row groups of the file at `path` to `each`, in order.
pub(crate) fn read(path: &Path, mut each: impl FnMut(&Rows) -> Result<()>) -> Result<()> {
    let at = |fault: Fault| fault.at(path);
    let mut open = Open::new(path).map_err(at)?;
    let footer = Footer::read(&mut open.file, open.length).map_err(at)?;
    let Some((image, leaf)) = find(&footer, &IMAGES, &[BYTES]) else {
        let names: Vec<&str> = footer.leaves.iter().map(|leaf| leaf.path.as_str()).take(12).collect();
        let expected = "a column 'image' or 'img' of encoded images".into();
        return Err(Error::Format { file: path.into(), expected, found: names.join(", ") });
    };
    let label = find(&footer, &LABELS, &[INT32, INT64]);
    let mut first = 0;
    for group in &footer.groups {
        let images: Column<Span> = open.column(leaf, group.chunks[image], group.rows).map_err(at)?;
        let mut spans = Vec::new();
        for (row, cell) in images.cells.iter().enumerate() {
            spans.push(cell.ok_or_else(|| at(nothing("an image", first + row)))?);
        }
        let labels = match label {
            None => None,
            Some((index, leaf)) => {
                let column: Column<i64> = open.column(leaf, group.chunks[index], group.rows).map_err(at)?;
                let mut labels = Vec::new();
                for (row, cell) in column.cells.iter().enumerate() {
                    labels.push(cell.ok_or_else(|| at(nothing("a label", first + row)))?);
                }
                Some(labels)
            }
        };
        first += group.rows;
        each(&Rows { bytes: images.bytes, spans, labels })?;
    }
    Ok(())
}

fn nothing(what: &str, row: usize) -> Fault {
    Fault::new(format!("{what} in every row"), format!("none in row {row}"))
}

fn find<'a>(footer: &'a Footer, names: &[&str], kinds: &[i64]) -> Option<(usize, &'a Leaf)> {
    let fits = |name: &str| {
        let mut leaves = footer.leaves.iter().enumerate();
        leaves.find(|(_, leaf)| leaf.path == name && kinds.contains(&leaf.kind) && !leaf.repeated)
    };
    names.iter().find_map(|name| fits(name))
}

struct Open {
    file: BufReader<File>,
    length: u64,
}

impl Open {
    fn new(path: &Path) -> std::result::Result<Self, Fault> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::new(file), length })
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
