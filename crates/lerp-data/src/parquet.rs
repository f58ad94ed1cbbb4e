//! Reads parquet files of images in the layouts of the Hugging Face hub: a column `image` or `img` of encoded
//! images (`{bytes, path}` or the bytes themselves), and optionally a column of labels: integers, whole
//! floating-point numbers, booleans or text.
//!
//! Polars decompresses and decodes, but allocates the sizes that a file claims: a list, a page or a dictionary
//! that claims gigabytes gets them, and an allocation that fails ends the process. So the footer is first read
//! with the decoder of `polars-parquet-format`, which has a limit, and the sizes in the header of every page
//! are compared with the size of its bytes. Polars' `ParquetReader` cannot be extended by such checks, and maps
//! the whole file into memory, where an unreadable sector raises a signal that ends the process. Therefore this
//! module reads the row groups itself and hands them to the parts from which that reader is made.

use std::{
    collections::BTreeSet,
    fmt::Display,
    fs::File,
    io::{BufReader, Cursor, Read, Seek, SeekFrom},
    panic::AssertUnwindSafe,
    path::Path,
};

use polars::prelude::{ArrowDataType, ArrowField, BinaryChunked, PlSmallStr, Series};
use polars_parquet::{
    parquet::{
        metadata::{ColumnDescriptor, FileMetadata},
        schema::{
            Repetition,
            types::{PhysicalType, PrimitiveConvertedType},
        },
    },
    read::{BasicDecompressor, PageReader, column_iter_to_arrays, read_metadata},
};
use polars_parquet_format::{
    Encoding, FileMetaData, PageHeader, PageType,
    thrift::{self, protocol::TCompactInputProtocol},
};

use crate::{
    Result,
    error::{Error, Fault, fill, show},
    labels::{Label, whole},
    picture::one_line,
    tree,
};

type Faulty<T> = std::result::Result<T, Fault>;

const MAGIC: &[u8; 4] = b"PAR1";
/// The largest ratio of the unpacked to the packed size of a page, beyond [`PAGE_SLACK`], that is believed.
const PAGE_RATIO: usize = 64;
/// The largest such ratio for all pages of a column in a row group together.
const COLUMN_RATIO: usize = 8;
/// Number of bytes to which a page may always unpack, whatever its ratio.
const PAGE_SLACK: usize = 4 << 20;
/// The number of bytes that decoding metadata may allocate for each byte of it. An element of a list has at
/// least one byte there, and is counted as 8.
const METADATA_RATIO: usize = 8;

const IMAGES: [&str; 4] = ["image.bytes", "img.bytes", "image", "img"];
const LABELS: [&str; 9] =
    ["label", "labels", "fine_label", "fine_labels", "target", "targets", "class", "classes", "y"];

/// The columns that are not read, each as (reason, name).
pub(crate) type Unread = BTreeSet<(&'static str, String)>;

/// The rows of one row group: encoded images, and their labels if the file has any.
pub(crate) struct Rows {
    images: BinaryChunked,
    /// The labels in the file, each with the name of its class if the file has one.
    pub labels: Option<Vec<(Label, Option<String>)>>,
}

impl Rows {
    /// The encoded images.
    pub fn images(&self) -> Vec<&[u8]> {
        self.images.iter().flatten().collect()
    }
}

/// Whether the file at `path` has a column of labels.
pub(crate) fn has_labels(path: &Path) -> Result<bool> {
    let labels = Open::new(path).and_then(|mut open| open.labels(&mut Unread::new()));
    Ok(labels.map_err(|fault| fault.at(path))?.is_some())
}

/// Passes the row groups of the file at `path` to `each`, in order. Columns that are not read are added to
/// `unread`.
pub(crate) fn read(
    path: &Path,
    unread: &mut Unread,
    mut each: impl FnMut(&Rows) -> Result<()>,
) -> Result<()> {
    let at = |fault: Fault| fault.at(path);
    let mut open = Open::new(path).map_err(at)?;
    let Some(image) = open.images() else {
        let names: Vec<String> = open.leaves().iter().map(path_of).take(12).collect();
        let expected = "a column 'image' or 'img' of encoded images".into();
        return Err(Error::Format { file: path.into(), expected, found: names.join(", ") });
    };
    let mut others = Unread::new();
    let label = open.labels(&mut others).map_err(at)?;
    for other in open.leaves() {
        let name = root(other);
        let read = [Some(image), label].iter().flatten().any(|&index| name == root(&open.leaves()[index]));
        if !read && others.iter().all(|(_, before)| before != name) {
            others.insert(("neither the images nor their labels", name.into()));
        }
    }
    unread.append(&mut others);
    let names = label.map(|index| open.names(&path_of(&open.leaves()[index]))).unwrap_or_default();
    let mut first = 0;
    for group in 0..open.metadata.row_groups.len() {
        let rows = open.metadata.row_groups[group].num_rows();
        if rows == 0 {
            continue;
        }
        let images = open.column(group, image).and_then(|column| binary(column, first)).map_err(at)?;
        let mut labels = None;
        if let Some(index) = label {
            let column = open.column(group, index).map_err(at)?;
            let leaf = &open.leaves()[index];
            let cells = (0..rows).map(|row| {
                let cell = cell(&column, leaf, row)?.ok_or_else(|| nothing("a label", first + row))?;
                Ok(meaning(cell, &names))
            });
            labels = Some(cells.collect::<Faulty<_>>().map_err(at)?);
        }
        each(&Rows { images, labels })?;
        first += rows;
    }
    Ok(())
}

fn nothing(what: &str, row: usize) -> Fault {
    Fault::new(format!("{what} in every row"), format!("none in row {row}"))
}

/// The path of a leaf column, such as `image.bytes`.
fn path_of(leaf: &ColumnDescriptor) -> String {
    leaf.path_in_schema.join(".")
}

/// The name of the top-level column to which a leaf belongs.
fn root(leaf: &ColumnDescriptor) -> &str {
    leaf.path_in_schema.first().map_or("", |name| name)
}

/// The value of a cell in a column of labels.
enum Cell {
    Whole(i64),
    Real(f64),
    Truth(bool),
    Text(String),
}

/// Reads the cell of a column in `row`. Returns `None` if it is null.
fn cell(column: &Series, leaf: &ColumnDescriptor, row: usize) -> Faulty<Option<Cell>> {
    let unsigned = leaf.descriptor.primitive_type.converted_type == Some(PrimitiveConvertedType::Uint32);
    let cell = || {
        Ok::<_, polars::error::PolarsError>(
            match leaf.descriptor.primitive_type.physical_type {
                PhysicalType::Boolean => column.bool()?.get(row).map(Cell::Truth),
                PhysicalType::Int32 if unsigned => {
                    column.i32()?.get(row).map(|number| Cell::Whole((number as u32).into()))
                }
                PhysicalType::Int32 => column.i32()?.get(row).map(|number| Cell::Whole(number.into())),
                PhysicalType::Int64 => column.i64()?.get(row).map(Cell::Whole),
                PhysicalType::Float => column.f32()?.get(row).map(|number| Cell::Real(number.into())),
                PhysicalType::Double => column.f64()?.get(row).map(Cell::Real),
                _ => {
                    let Some(bytes) = column.binary()?.get(row) else { return Ok(None) };
                    let text = std::str::from_utf8(bytes).map(ToOwned::to_owned);
                    return Ok(Some(text.map(Cell::Text)));
                }
            }
            .map(Ok),
        )
    };
    let text = |_| Fault::new(format!("text in column {}", path_of(leaf)), "bytes that are none");
    cell().map_err(|error| sound(&error))?.transpose().map_err(text)
}

/// The label in a cell, and the name of its class if the file has one.
fn meaning(cell: Cell, names: &[String]) -> (Label, Option<String>) {
    let number = match cell {
        Cell::Truth(truth) => return (Label::Number(truth.into()), Some(truth.to_string())),
        Cell::Text(text) => return (Label::Text(text), None),
        Cell::Whole(number) => number,
        // The number is whole: [`Open::labels`] does not choose a column with other numbers.
        Cell::Real(number) => number as i64,
    };
    let name = usize::try_from(number).ok().and_then(|number| names.get(number));
    (Label::Number(number), name.cloned())
}

/// The encoded images of a row group whose first row in the file is `first`. If the column is a structure, they
/// are its only field that was read.
fn binary(column: Series, first: usize) -> Faulty<BinaryChunked> {
    let inner = match column.struct_() {
        Ok(outer) => outer.fields_as_series().remove(0),
        Err(_) => column,
    };
    let images = inner.binary().map_err(|error| sound(&error))?.clone();
    let lacks = images.iter().position(|image| image.is_none());
    lacks.map_or(Ok(images), |row| Err(nothing("an image", first + row)))
}

struct Open {
    file: BufReader<File>,
    metadata: FileMetadata,
}

impl Open {
    fn new(path: &Path) -> Faulty<Self> {
        let file = tree::open(path)?;
        let length = file.metadata()?.len();
        let mut file = BufReader::new(file);
        believe_footer(&mut file, length)?;
        let metadata = guarded(|| read_metadata(&mut file))?;
        Ok(Self { file, metadata })
    }

    fn leaves(&self) -> &[ColumnDescriptor] {
        self.metadata.schema().columns()
    }

    /// The index of the leaf column of images, or `None` if there is none.
    fn images(&self) -> Option<usize> {
        let fits = |leaf: &ColumnDescriptor| {
            let kind = leaf.descriptor.primitive_type.physical_type;
            kind == PhysicalType::ByteArray && leaf.descriptor.max_rep_level == 0
        };
        IMAGES
            .iter()
            .find_map(|name| self.leaves().iter().position(|leaf| path_of(leaf) == *name && fits(leaf)))
    }

    /// The index of the leaf column of labels: the first of the usual names whose values can be classes, or
    /// `None` if there is none. Other columns with such names are added to `unread`.
    fn labels(&mut self, unread: &mut Unread) -> Faulty<Option<usize>> {
        for wanted in LABELS {
            for index in 0..self.leaves().len() {
                let leaf = &self.leaves()[index];
                let name = root(leaf).to_owned();
                if name.to_lowercase() != wanted {
                    continue;
                }
                let flat = leaf.path_in_schema.len() == 1 && leaf.descriptor.max_rep_level == 0;
                let why = if !(flat && can_be_labels(leaf)) {
                    "labels of a kind that is not read (numbers, truths and text are)"
                } else if !self.whole(index)? {
                    "labels that are no whole numbers"
                } else {
                    return Ok(Some(index));
                };
                unread.insert((why, name));
            }
        }
        Ok(None)
    }

    /// Whether all numbers in a column are whole; true for columns of other types.
    fn whole(&mut self, index: usize) -> Faulty<bool> {
        let kind = self.leaves()[index].descriptor.primitive_type.physical_type;
        if !matches!(kind, PhysicalType::Float | PhysicalType::Double) {
            return Ok(true);
        }
        for group in 0..self.metadata.row_groups.len() {
            let column = self.column(group, index)?;
            for row in 0..column.len() {
                if let Some(Cell::Real(number)) = cell(&column, &self.leaves()[index], row)?
                    && whole(number).is_none()
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The class names of a column of labels, from the metadata that the hub's library `datasets` writes; empty
    /// if there are none.
    fn names(&self, column: &str) -> Vec<String> {
        let pairs = self.metadata.key_value_metadata().iter().flatten();
        let own = pairs.filter(|pair| pair.key == "huggingface").find_map(|pair| pair.value.as_deref());
        let notes: serde_json::Value = serde_json::from_str(own.unwrap_or_default()).unwrap_or_default();
        let names = notes["info"]["features"][column]["names"].as_array();
        let text = |name: &serde_json::Value| name.as_str().unwrap_or_default().to_owned();
        names.map(|names| names.iter().map(text).collect()).unwrap_or_default()
    }

    /// Reads the values of a leaf column in a row group.
    fn column(&mut self, group: usize, leaf: usize) -> Faulty<Series> {
        let group = &self.metadata.row_groups[group];
        let (rows, chunk) = (group.num_rows(), &group.parquet_columns()[leaf]);
        // The range lies within the file, as `believe_footer` has checked.
        let start = start(chunk.data_page_offset(), chunk.dictionary_page_offset());
        let mut bytes = vec![0; chunk.compressed_size() as usize];
        self.file.seek(SeekFrom::Start(start as u64))?;
        fill(&mut self.file, &mut bytes, "a column")?;
        believe_pages(&bytes, rows, &path_of(chunk.descriptor()))?;
        let column = guarded(|| {
            let limit = bytes.len();
            let pages = PageReader::new(Cursor::new(bytes.into()), chunk, Vec::new(), limit);
            let kinds = vec![&chunk.descriptor().descriptor.primitive_type];
            let pages = vec![BasicDecompressor::new(pages, Vec::new())];
            let (arrays, _) = column_iter_to_arrays(pages, kinds, field(chunk.descriptor()), None)?;
            Series::try_from((PlSmallStr::EMPTY, arrays))
        })?;
        if column.len() != rows {
            let expected = format!("{rows} rows in column {}", path_of(chunk.descriptor()));
            return Err(Fault::new(expected, column.len().to_string()));
        }
        Ok(column)
    }
}

/// Whether the values of a leaf column can be classes, by their physical type and, if it is given, their
/// logical type.
fn can_be_labels(leaf: &ColumnDescriptor) -> bool {
    use PrimitiveConvertedType as Said;
    let kind = &leaf.descriptor.primitive_type;
    match (kind.physical_type, kind.converted_type) {
        (PhysicalType::Int96 | PhysicalType::FixedLenByteArray(_), _) => false,
        (_, None) => true,
        (PhysicalType::ByteArray, Some(said)) => matches!(said, Said::Utf8 | Said::Enum),
        (_, Some(said)) => matches!(
            said,
            Said::Uint8
                | Said::Uint16
                | Said::Uint32
                | Said::Uint64
                | Said::Int8
                | Said::Int16
                | Said::Int32
                | Said::Int64
        ),
    }
}

/// The Arrow field of a leaf's values, wrapped in the structure to which the leaf belongs, if any.
fn field(leaf: &ColumnDescriptor) -> ArrowField {
    let kind = match leaf.descriptor.primitive_type.physical_type {
        PhysicalType::Boolean => ArrowDataType::Boolean,
        PhysicalType::Int32 => ArrowDataType::Int32,
        PhysicalType::Int64 => ArrowDataType::Int64,
        PhysicalType::Float => ArrowDataType::Float32,
        PhysicalType::Double => ArrowDataType::Float64,
        _ => ArrowDataType::BinaryView,
    };
    let optional = |repetition: Repetition| repetition == Repetition::Optional;
    let inner = &leaf.descriptor.primitive_type.field_info;
    let values = ArrowField::new(inner.name.clone(), kind, optional(inner.repetition));
    if leaf.path_in_schema.len() == 1 {
        return values;
    }
    let outer = leaf.base_type.get_field_info();
    ArrowField::new(outer.name.clone(), ArrowDataType::Struct(vec![values]), optional(outer.repetition))
}

/// The offset of a column's first page. Some writers give 0 as the offset of a dictionary that does not exist.
fn start(data: i64, dictionary: Option<i64>) -> i64 {
    dictionary.filter(|&offset| offset > 0).map_or(data, |offset| offset.min(data))
}

/// Checks the sizes that the footer claims against the size of the file, before polars allocates memory for
/// them.
fn believe_footer(file: &mut (impl Read + Seek), length: u64) -> Faulty<()> {
    let foreign = |found| Fault::new("a parquet file ('PAR1' at its beginning and end)", found);
    if length < 12 {
        return Err(foreign(format!("{length} bytes in all")));
    }
    let (mut head, mut tail) = ([0; 4], [0; 8]);
    file.rewind()?;
    fill(file, &mut head, "its beginning")?;
    file.seek(SeekFrom::Start(length - 8))?;
    fill(file, &mut tail, "its end")?;
    if head != *MAGIC || tail[4..] != *MAGIC {
        return Err(foreign(format!("{} there and {}", show(&head), show(&tail[4..]))));
    }
    let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if size > length - 12 {
        let expected = format!("metadata within the file's {length} bytes");
        return Err(Fault::new(expected, format!("{size} bytes of it")));
    }
    file.seek(SeekFrom::Start(length - 8 - size))?;
    let mut bytes = vec![0; size as usize];
    fill(file, &mut bytes, "the metadata")?;
    let limit = bytes.len() * METADATA_RATIO;
    let mut bytes = TCompactInputProtocol::new(&bytes[..], limit);
    let footer = decoded(|| FileMetaData::read_from_in_protocol(&mut bytes))?;
    // An encoded image has more than 16 bytes, so this bounds the allocations for a file that claims any number
    // of rows.
    let rows = footer.row_groups.iter().fold(0_i64, |sum, group| sum.saturating_add(group.num_rows.max(0)));
    if rows as u64 > length / 16 {
        return Err(Fault::new(format!("rows that fit into {length} bytes"), format!("{rows} rows")));
    }
    for (group, column) in
        footer.row_groups.iter().flat_map(|group| group.columns.iter().map(move |c| (group, c)))
    {
        let Some(data) = &column.meta_data else {
            return Err(Fault::new("metadata of every column", "none of one"));
        };
        if data.num_values < group.num_rows {
            let expected = format!("{} values of each column in a row group of as many rows", group.num_rows);
            return Err(Fault::new(expected, data.num_values.to_string()));
        }
        let start = start(data.data_page_offset, data.dictionary_page_offset);
        let end = start.checked_add(data.total_compressed_size);
        if start < 0 || data.total_compressed_size < 0 || end.is_none_or(|end| end as u64 > length) {
            let found = format!("{} bytes from {start}", data.total_compressed_size);
            return Err(Fault::new(format!("columns within the file's {length} bytes"), found));
        }
    }
    Ok(())
}

/// Checks the sizes that the page headers of a column claim against their bytes, before polars allocates memory
/// for them.
fn believe_pages(bytes: &[u8], rows: usize, name: &str) -> Faulty<()> {
    let (mut rest, mut seen, mut unpacked) = (bytes, 0, 0);
    while seen < rows {
        let limit = rest.len() * METADATA_RATIO;
        let head =
            decoded(|| PageHeader::read_from_in_protocol(&mut TCompactInputProtocol::new(&mut rest, limit)))?;
        let size = |claimed: i32| {
            usize::try_from(claimed)
                .map_err(|_| Fault::new("a size in the head of a page", claimed.to_string()))
        };
        let (packed, whole) = (size(head.compressed_page_size)?, size(head.uncompressed_page_size)?);
        rest = rest
            .get(packed..)
            .ok_or_else(|| Fault::new("pages within their column", format!("a page of {packed} bytes")))?;
        unpacked += whole;
        if whole > PAGE_SLACK + PAGE_RATIO * packed || unpacked > PAGE_SLACK + COLUMN_RATIO * bytes.len() {
            return Err(Fault::new("a plausible size of a page", format!("{whole} bytes from {packed}")));
        }
        // Polars uses the header that the type of the page selects; the values in all of them are checked.
        let first = head.data_page_header.as_ref().map(|data| (data.num_values, data.encoding));
        let second = head.data_page_header_v2.as_ref().map(|data| (data.num_values, data.encoding));
        let dictionary = head.dictionary_page_header.as_ref().map(|data| (data.num_values, data.encoding));
        for (_, encoding) in [first, second, dictionary].into_iter().flatten() {
            // For other encodings, polars allocates the lengths that the page claims.
            let read = [Encoding::PLAIN, Encoding::PLAIN_DICTIONARY, Encoding::RLE, Encoding::RLE_DICTIONARY];
            if !read.contains(&encoding) {
                let found = format!("{}: write the file with another setting", encoding_name(encoding));
                return Err(Fault::new(format!("plain or dictionary values in column {name}"), found));
            }
        }
        // A dictionary value has at least one byte.
        if let Some((values, _)) = dictionary
            && size(values)? > whole
        {
            return Err(Fault::new(
                "a dictionary of plausible size",
                format!("{values} values in {whole} bytes"),
            ));
        }
        let of_type = match head.type_ {
            PageType::DATA_PAGE => first,
            PageType::DATA_PAGE_V2 => second,
            _ => None,
        };
        seen += of_type.map_or(Ok(0), |(values, _)| size(values))?;
    }
    if seen > rows {
        return Err(Fault::new(format!("{rows} rows in column {name}"), "more"));
    }
    Ok(())
}

fn encoding_name(encoding: Encoding) -> String {
    match encoding {
        Encoding::DELTA_BINARY_PACKED => "DELTA_BINARY_PACKED".into(),
        Encoding::DELTA_LENGTH_BYTE_ARRAY => "DELTA_LENGTH_BYTE_ARRAY".into(),
        Encoding::DELTA_BYTE_ARRAY => "DELTA_BYTE_ARRAY".into(),
        Encoding::BYTE_STREAM_SPLIT => "BYTE_STREAM_SPLIT".into(),
        Encoding(other) => format!("encoding {other}"),
    }
}

/// Calls polars' crates on the content of a file: their errors and panics become faults of the file.
fn guarded<T, E: Display>(work: impl FnOnce() -> std::result::Result<T, E>) -> Faulty<T> {
    match lerp_files::caught(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| sound(&error)),
        Err(panic) => Err(sound(&panic)),
    }
}

/// Like [`guarded`], for the decoder of metadata, whose protocol errors carry the message in a field.
fn decoded<T>(work: impl FnOnce() -> thrift::Result<T>) -> Faulty<T> {
    guarded(|| {
        work().map_err(|error| match error {
            thrift::Error::Protocol(error) => error.message,
            error => error.to_string(),
        })
    })
}

fn sound(error: &impl Display) -> Fault {
    Fault::new("a sound parquet file", format!("'{}'", one_line(error)))
}
