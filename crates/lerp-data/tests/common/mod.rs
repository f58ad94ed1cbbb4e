//! Writers of the formats that the tests read.

// Every test binary uses only a part of this module, and clippy does not recognise these helpers as test code.
#![allow(dead_code, clippy::unwrap_used, clippy::needless_for_each)]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use candle_core::Device;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use lerp_data::{Dataset, HubCache, ImageSet, Split, image_set_with_cache};

/// A 32x32 image whose pixels encode their position: red increases to the right, green downwards, and blue is
/// `index`.
pub fn upright(index: usize) -> Vec<u8> {
    (0..32 * 32).flat_map(|p| [(p % 32 * 8) as u8, (p / 32 * 8) as u8, index as u8]).collect()
}

pub fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn idx(sizes: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = (0x0800 + sizes.len() as u32).to_be_bytes().to_vec();
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(body);
    bytes
}

/// One record of a CIFAR-10 batch from an image `[32, 32, 3]`.
pub fn cifar_record(label: u8, image: &[u8]) -> Vec<u8> {
    let mut record = vec![label];
    for channel in 0..3 {
        record.extend(image.iter().skip(channel).step_by(3));
    }
    record
}

pub fn png(width: usize, height: usize, rgb: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(rgb).unwrap();
    bytes
}

fn element(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn array(name: &[u8], class: u32, sizes: &[u32], kind: u32, body: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    // A name of up to four letters is stored in its tag.
    let mut small = vec![1, 0, name.len() as u8, 0];
    small.extend(name);
    small.resize(8, 0);
    let flags = [class.to_le_bytes(), [0; 4]].concat();
    element(14, &[element(6, &flags), element(5, &sizes), small, element(kind, body)].concat())
}

/// A MATLAB file of images `[32, 32, 3]` and of labels of the type with MATLAB's number `kind`, packed or not.
pub fn mat(images: &[Vec<u8>], labels: &[f64], packed: bool, kind: u32) -> Vec<u8> {
    let mut x = Vec::new();
    for image in images {
        for channel in 0..3 {
            for column in 0..32 {
                x.extend((0..32).map(|row| image[(row * 32 + column) * 3 + channel]));
            }
        }
    }
    let x = array(b"X", 9, &[32, 32, 3, images.len() as u32], 2, &x);
    let n = labels.len() as u32;
    let number = |label: &f64| match kind {
        1 | 2 => vec![*label as i64 as u8],
        3 | 4 => (*label as i16).to_le_bytes().to_vec(),
        5 | 6 => (*label as i32).to_le_bytes().to_vec(),
        7 => (*label as f32).to_le_bytes().to_vec(),
        9 => label.to_le_bytes().to_vec(),
        _ => (*label as i64).to_le_bytes().to_vec(),
    };
    let y = array(b"y", 6, &[n, 1], kind, &labels.iter().flat_map(number).collect::<Vec<_>>());
    let mut bytes = vec![b' '; 124];
    bytes.extend([0, 1, b'I', b'M']);
    // The first array is one that is not read.
    for array in [array(b"z", 9, &[1, 3], 2, &[1, 2, 3]), x, y] {
        if packed {
            let packed = zlib(&array);
            bytes.extend([15_u32.to_le_bytes(), (packed.len() as u32).to_le_bytes()].concat());
            bytes.extend(packed);
        } else {
            bytes.extend(array);
        }
    }
    bytes
}

/// A JPEG image of blocks of 8x8 equal pixels with the given colours as (Y, Cb, Cr).
pub fn jpeg(width: usize, height: usize, colour: impl Fn(usize, usize) -> [u8; 3]) -> Vec<u8> {
    let segment = |marker: u8, body: &[u8]| {
        let mut bytes = vec![0xff, marker];
        bytes.extend((body.len() as u16 + 2).to_be_bytes());
        bytes.extend(body);
        bytes
    };
    let mut bytes = vec![0xff, 0xd8];
    bytes.extend(segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"));
    // All quantisation steps are 8, so that a DC coefficient is 8 (value - 128) / 8.
    bytes.extend(segment(0xdb, &[[0].as_slice(), &[8; 64]].concat()));
    let (h, w) = ((height as u16).to_be_bytes(), (width as u16).to_be_bytes());
    bytes.extend(segment(0xc0, &[8, h[0], h[1], w[0], w[1], 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]));
    // The Huffman code of DC has twelve categories of four bits each; that of AC has one code, '0', for the end
    // of the block.
    let mut lengths = [0; 16];
    lengths[3] = 12;
    bytes.extend(segment(0xc4, &[[0].as_slice(), &lengths, &(0..12).collect::<Vec<u8>>()].concat()));
    lengths = [0; 16];
    lengths[0] = 1;
    bytes.extend(segment(0xc4, &[[0x10].as_slice(), &lengths, &[0]].concat()));
    bytes.extend(segment(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]));

    let (mut bits, mut last) = (Vec::new(), [128_i32; 3]);
    let mut write = |value: u32, n: u32| bits.extend((0..n).rev().map(|i| value >> i & 1));
    for row in 0..height.div_ceil(8) {
        for column in 0..width.div_ceil(8) {
            for (value, last) in colour(row, column).into_iter().zip(&mut last) {
                let step = i32::from(value) - *last;
                *last = i32::from(value);
                let category = 32 - step.unsigned_abs().leading_zeros();
                write(category, 4);
                let code = if step < 0 { step - 1 } else { step };
                write(code as u32 & ((1 << category) - 1), category);
                write(0, 1);
            }
        }
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    for byte in bits.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | *bit as u8)) {
        bytes.push(byte);
        if byte == 0xff {
            bytes.push(0);
        }
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// The settings with which a parquet file is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parquet {
    /// The compression codec: 0 none, 1 snappy, 2 gzip, 6 zstd.
    pub codec: u8,
    pub dictionary: bool,
    pub second_version: bool,
    /// Number of images per row group.
    pub group: usize,
    /// The encoding that pages of values claim to have, if it is not the one that they have.
    pub claimed_encoding: Option<usize>,
}

/// A parquet column of labels: its name, its physical type, its logical type, and the plain bytes of each row
/// (0 or 1 for booleans).
#[derive(Clone, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: usize,
    pub converted: Option<usize>,
    pub rows: Vec<Vec<u8>>,
    /// Whether all rows are null.
    pub is_null: bool,
}

impl Column {
    pub fn new(name: &'static str, kind: usize, rows: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { name, kind, converted: None, rows: rows.into_iter().collect(), is_null: false }
    }

    pub fn texts(name: &'static str, rows: &[&str]) -> Self {
        let text = |text: &&str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        Self { converted: Some(0), ..Self::new(name, 6, rows.iter().map(text)) }
    }

    pub fn integers(name: &'static str, rows: &[i64]) -> Self {
        Self::new(name, 2, rows.iter().map(|row| row.to_le_bytes().to_vec()))
    }
}

/// A structure in Thrift's compact protocol; fields are added in the order of their ids.
#[derive(Default)]
struct Structure {
    bytes: Vec<u8>,
    last: i16,
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

impl Structure {
    fn field(mut self, id: i16, kind: u8, body: &[u8]) -> Self {
        self.bytes.push(((id - self.last) as u8) << 4 | kind);
        self.last = id;
        self.bytes.extend(body);
        self
    }
    fn int(self, id: i16, value: usize) -> Self {
        self.field(id, 6, &varint((value as u64) << 1))
    }
    fn text(self, id: i16, text: &str) -> Self {
        self.field(id, 8, &[varint(text.len() as u64), text.as_bytes().to_vec()].concat())
    }
    fn inner(self, id: i16, inner: Self) -> Self {
        self.field(id, 12, &inner.end())
    }
    fn list(self, id: i16, elements: Vec<Self>) -> Self {
        let mut body = vec![0xfc];
        body.extend(varint(elements.len() as u64));
        elements.into_iter().for_each(|element| body.extend(element.end()));
        self.field(id, 9, &body)
    }
    fn texts(self, id: i16, texts: &[&str]) -> Self {
        let text = |text: &&str| [varint(text.len() as u64), text.as_bytes().to_vec()].concat();
        let body = [vec![(texts.len() as u8) << 4 | 8], texts.iter().flat_map(text).collect()].concat();
        self.field(id, 9, &body)
    }
    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

/// A run-length encoded run of `n` times `value`, which is below 256.
fn run(value: u8, n: usize) -> Vec<u8> {
    [varint((n as u64) << 1), vec![value]].concat()
}

impl Parquet {
    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self.codec {
            1 => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            2 => gzip(bytes),
            6 => zstd::stream::encode_all(bytes, 3).unwrap(),
            _ => bytes.to_vec(),
        }
    }

    /// The pages of one column chunk: plain values, all at the definition level `level`.
    fn chunk(self, values: &[Vec<u8>], level: u8, kind: usize) -> Vec<u8> {
        let page = |header: Structure, kind: usize, unpacked: usize, body: &[u8]| {
            let head = Structure::default().int(1, kind).int(2, unpacked).int(3, body.len());
            let id = [5, 0, 7, 8][kind];
            [head.inner(id, header).end(), body.to_vec()].concat()
        };
        let n = values.len();
        let (mut bytes, mut data, mut encoding) = (Vec::new(), values.concat(), 0);
        if kind == 0 {
            // Booleans take one bit each.
            data =
                data.chunks(8).map(|eight| eight.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect();
        } else if self.dictionary {
            let packed = self.pack(&data);
            bytes.extend(page(Structure::default().int(1, n).int(2, 0), 2, data.len(), &packed));
            // Every value has its own dictionary entry, and its index is a run of length one.
            encoding = 8;
            data = vec![8];
            (0..n).for_each(|index| data.extend(run(index as u8, 1)));
        }
        if level == 0 {
            data = Vec::new();
        }
        let encoding = self.claimed_encoding.unwrap_or(encoding);
        let levels = run(level, n);
        if self.second_version {
            let header = Structure::default().int(1, n).int(2, 0).int(3, n).int(4, encoding);
            let header = header.int(5, levels.len()).int(6, 0).field(7, 1, &[]);
            let body = [levels.clone(), self.pack(&data)].concat();
            bytes.extend(page(header, 3, levels.len() + data.len(), &body));
        } else {
            let data = [(levels.len() as u32).to_le_bytes().to_vec(), levels, data].concat();
            // The levels are run-length encoded, too.
            let header = Structure::default().int(1, n).int(2, encoding).int(3, 3).int(4, 3);
            bytes.extend(page(header, 0, data.len(), &self.pack(&data)));
        }
        bytes
    }

    /// A file in the hub's layout: a column `name{bytes, path}` and, if there are labels, a column `label`.
    pub fn file(self, name: &str, images: &[Vec<u8>], labels: Option<&[i64]>) -> Vec<u8> {
        let columns: Vec<Column> =
            labels.map(|labels| Column::integers("label", labels)).into_iter().collect();
        self.file_of(name, images, &columns, "")
    }

    /// A file in the hub's layout with additional columns of any kind, and the metadata `notes` of the hub's
    /// library.
    pub fn file_of(self, name: &str, images: &[Vec<u8>], others: &[Column], notes: &str) -> Vec<u8> {
        let mut bytes = b"PAR1".to_vec();
        let mut groups = Vec::new();
        let size = self.group.max(1);
        for (index, images) in images.chunks(size).enumerate() {
            let array = |value: &[u8]| [(value.len() as u32).to_le_bytes().to_vec(), value.to_vec()].concat();
            let [encoded, paths]: [Vec<Vec<u8>>; 2] = [
                images.iter().map(|image| array(image)).collect(),
                images.iter().map(|_| array(b"a.png")).collect(),
            ];
            let mut columns = vec![
                (self.chunk(&encoded, 2, 6), 6, vec![name, "bytes"]),
                (self.chunk(&paths, 2, 6), 6, vec![name, "path"]),
            ];
            for column in others {
                let rows = &column.rows[index * size..][..images.len()];
                let level = u8::from(!column.is_null);
                columns.push((self.chunk(rows, level, column.kind), column.kind, vec![column.name]));
            }
            let (mut chunks, start) = (Vec::new(), bytes.len());
            for (chunk, kind, path) in columns {
                // The encodings are plain and run-length.
                let meta = Structure::default().int(1, kind).field(2, 9, &[0x25, 0, 6]).texts(3, &path);
                let meta = meta.int(4, self.codec.into()).int(5, images.len());
                let meta = meta.int(6, chunk.len()).int(7, chunk.len()).int(9, bytes.len());
                chunks.push(Structure::default().int(2, bytes.len()).inner(3, meta));
                bytes.extend(chunk);
            }
            let size = bytes.len() - start;
            groups.push(Structure::default().list(1, chunks).int(2, size).int(3, images.len()));
        }
        let leaf = |name: &str, kind| Structure::default().int(1, kind).int(3, 1).text(4, name);
        let mut schema = vec![
            Structure::default().text(4, "schema").int(5, 1 + others.len()),
            Structure::default().int(3, 1).text(4, name).int(5, 2),
            leaf("bytes", 6),
            leaf("path", 6).int(6, 0),
        ];
        schema.extend(others.iter().map(|column| {
            let leaf = leaf(column.name, column.kind);
            if let Some(converted) = column.converted { leaf.int(6, converted) } else { leaf }
        }));
        let mut footer = Structure::default().int(1, 1).list(2, schema).int(3, images.len()).list(4, groups);
        if !notes.is_empty() {
            footer = footer.list(5, vec![Structure::default().text(1, "huggingface").text(2, notes)]);
        }
        let footer = footer.end();
        bytes.extend(&footer);
        bytes.extend((footer.len() as u32).to_le_bytes());
        bytes.extend(b"PAR1");
        bytes
    }
}

/// Opens and reads an image set, which must fail, and returns the message of the error.
pub fn fault(name: &str, folder: &Path) -> String {
    // The hub cache is a folder of the test, not the user's.
    let error = match image_set_with_cache(name, Some(folder), &HubCache::at(folder.join("hub"))) {
        Err(error) => error,
        Ok(set) => set.count(Split::Test).unwrap_err(),
    };
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 900, "one sentence: {text}");
    text.replace(&format!("{}/", folder.display()), "")
}

/// The pixels of test image `index` as bytes, and its label.
pub fn test_image(set: &ImageSet, index: usize) -> (Vec<u8>, Option<u32>) {
    let batch = set.range(Split::Test, index..index + 1, &Device::Cpu).unwrap();
    let values = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let bytes = values.iter().map(|v| ((v + 1.0) * 127.5).round() as u8).collect();
    (bytes, batch.labels.map(|labels| labels.to_vec1::<u32>().unwrap()[0]))
}

pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, path)
}

pub fn write_mnist(folder: &Path, packed: bool) {
    let image =
        |i: u8| (0..28 * 28).map(move |p: u32| if p == 28 * 3 + 5 { 100 + i } else { (p / 28) as u8 });
    let end = |bytes: Vec<u8>| if packed { gzip(&bytes) } else { bytes };
    let tail = if packed { ".gz" } else { "" };
    for (part, n) in [("train", 12), ("t10k", 3)] {
        let images: Vec<u8> = (0..n).flat_map(image).collect();
        let labels: Vec<u8> = (0..n).map(|i| i % 10).collect();
        let directory = folder.join("mnist");
        put(
            &directory.join(format!("{part}-images-idx3-ubyte{tail}")),
            &end(idx(&[n.into(), 28, 28], &images)),
        );
        put(&directory.join(format!("{part}-labels-idx1-ubyte{tail}")), &end(idx(&[n.into()], &labels)));
    }
}
