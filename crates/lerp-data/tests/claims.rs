//! Small files that claim to hold gigabytes are refused without allocating gigabytes. This test has a binary of
//! its own, because it measures the memory of the process.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Parquet, gzip, idx, jpeg, mat, png, put, upright, zlib};
use lerp_data::image_set;

/// The peak address space of this process in MB; 0 if the system does not report it.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Replaces all occurrences of `old` in `bytes` by `new`.
fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let (mut out, mut at, mut found) = (Vec::new(), 0, false);
    while at < bytes.len() {
        if bytes[at..].starts_with(old) {
            out.extend(new);
            at += old.len();
            found = true;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    assert!(found, "nothing was replaced");
    out
}

#[test]
fn files_that_claim_gigabytes_are_refused_without_allocating_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut before = None;
    let mut refused = |name: &str, file: &str, bytes: &[u8]| {
        let path = folder.path().join(name).join(file);
        put(&path, bytes);
        let error = match image_set(name, Some(folder.path())) {
            Err(error) => error,
            Ok(set) => lerp_data::check(&set).unwrap_err(),
        };
        let text = error.to_string();
        assert!(text.contains(file) && text.contains("expected"), "{text}");
        // The baseline is measured after the first file, which starts the threads; these take address space of
        // their own.
        let before = *before.get_or_insert_with(peak);
        assert!(peak() < before + 700, "{text}: {before} MB before, {} MB after", peak());
        fs::remove_file(path).unwrap();
    };

    let tiny = png(178, 218, &vec![9; 178 * 218 * 3]);
    refused("celeba", "0.png", &tiny[..50]);
    // Either the checksum of the header or the size is refused.
    refused("celeba", "1.png", &replace(&tiny, &[0, 0, 0, 178, 0, 0, 0, 218], &[0, 1, 0, 0, 0, 1, 0, 0]));
    let face = jpeg(178, 218, |_, _| [9; 3]);
    refused("celeba", "2.jpg", &replace(&face, &[8, 0, 218, 0, 178], &[8, 255, 255, 255, 255]));
    refused("celeba", "3.jpg", &replace(&face, &[8, 0, 218, 0, 178], &[8, 4, 0, 127, 255]));

    let huge = idx(&[u32::MAX, 4096, 4096], &[1; 100]);
    refused("mnist", "train-images-idx3-ubyte", &huge);
    refused("mnist", "train-images-idx3-ubyte.gz", &gzip(&huge));

    let honest = mat(&[upright(0)], &[1.0], false, 2);
    let n = u32::MAX / 3072;
    let sizes = |n: u32| [32, 32, 3, n].map(u32::to_le_bytes).concat();
    let lie = replace(&honest, &sizes(1), &sizes(n));
    let lie = replace(&lie, &3072_u32.to_le_bytes(), &(n * 3072).to_le_bytes());
    refused("svhn", "train_32x32.mat", &lie);
    // The same array is packed, in an element that claims the largest possible size.
    let mut packed = lie[..128].to_vec();
    let start = 128 + 64;
    assert_eq!(lie[start..start + 4], 14_u32.to_le_bytes(), "the second array");
    let array = zlib(&[&14_u32.to_le_bytes(), &[255; 4], &lie[start + 8..]].concat());
    packed.extend([15_u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat());
    packed.extend(array);
    refused("svhn", "train_32x32.mat", &packed);

    // Encodes a page size as Thrift does: zigzag (300 becomes 300 << 1), in groups of seven bits.
    let varint = |mut value: u64| {
        let mut bytes = Vec::new();
        value <<= 1;
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let image = png(32, 32, &upright(0));
    let page = 4 + 2 + 4 + image.len() as u64;
    let images = std::slice::from_ref(&image);
    for codec in [0, 1, 2, 6] {
        let file = Parquet { codec, group: 9, ..Parquet::default() }.file("image", images, None);
        let old = [vec![0x16], varint(page)].concat();
        for claimed in [i32::MAX as u64, u64::from(u32::MAX) * 16] {
            let new = [vec![0x16], varint(claimed)].concat();
            refused("svhn", "train.parquet", &replace(&file, &old, &new));
        }
    }
    // The header of a dictionary page claims two billion values.
    let form = Parquet { codec: 1, dictionary: true, group: 9, ..Parquet::default() };
    let file = form.file("image", images, None);
    let head = |values| [vec![0x4c, 0x16], varint(values), vec![0x16, 0]].concat();
    refused("svhn", "train.parquet", &replace(&file, &head(1), &head(i32::MAX as u64)));
    // Lists and the number of rows in the metadata claim huge sizes.
    let file = Parquet { group: 9, ..Parquet::default() }.file("image", images, None);
    let many = [0xff, 0xff, 0xff, 0xff, 7];
    let lists = [[0x19, 0xfc, 4], [0x19, 0xfc, 1], [0x19, 0xfc, 2]];
    for (i, list) in lists.iter().enumerate() {
        let lie = in_metadata(&file, list, &[&list[..2], &many].concat());
        refused("svhn", &format!("train-{i}.parquet"), &lie);
    }
    let rows = [vec![0x16], varint(1), vec![0]].concat();
    let lie = in_metadata(&file, &rows, &[vec![0x16], varint(u64::from(u32::MAX)), vec![0]].concat());
    refused("svhn", "train.parquet", &lie);
}

/// Replaces `old` by `new` in the metadata of a parquet file.
fn in_metadata(file: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let (rest, tail) = file.split_at(file.len() - 8);
    let size = u32::from_le_bytes(tail[..4].try_into().unwrap()) as usize;
    let (data, metadata) = rest.split_at(rest.len() - size);
    let metadata = replace(metadata, old, new);
    [data, &metadata, &(metadata.len() as u32).to_le_bytes(), b"PAR1"].concat()
}
