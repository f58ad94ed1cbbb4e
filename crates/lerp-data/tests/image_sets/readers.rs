//! Tests of every reader on generated files: images are upright and in the right colours, labels are right, and
//! any bytes lead to an error instead of a panic.

use std::path::Path;

use crate::common::{
    Parquet, cifar_record, fault, folder, gzip, idx, jpeg, mat, png, put, test_image, upright, write_mnist,
};
use crate::spoil::{spoil, spoiled};
use candle_core::Device;
use lerp_core::{Draws, ImageShape};
use lerp_data::{Dataset, HubCache, ImageSet, Split, check, contact_sheet, image_set, image_set_with_cache};
use proptest::prelude::*;

fn open(name: &str, folder: &Path) -> ImageSet {
    image_set(name, Some(folder)).unwrap()
}

#[test]
fn mnist_is_padded_and_upright_packed_or_not() {
    for packed in [true, false] {
        let (_keep, folder) = folder();
        write_mnist(&folder, packed);
        let set = open("mnist", &folder);
        assert_eq!((set.name(), set.title(), set.classes()), ("mnist", "MNIST", 10));
        assert_eq!(set.image(), ImageShape { height: 32, width: 32, channels: 1 });
        assert_eq!(set.network().latent_shape(set.image()).unwrap(), [4, 4, 16]);
        assert_eq!(set.count(Split::Test).unwrap(), Some(3));
        let (image, label) = test_image(&set, 2);
        assert_eq!(label, Some(2));
        assert_eq!(image[(3 + 2) * 32 + 5 + 2], 102, "row 3, column 5 of 28");
        assert_eq!(image[29 * 32 + 4], 27, "the last row");
        assert!(image[..64].iter().chain(&image[30 * 32..]).all(|v| *v == 0), "black above and below");
        assert!(image.chunks(32).all(|row| row[..2] == [0, 0] && row[30..] == [0, 0]), "black at the sides");
        let batch = set.range(Split::Test, 0..1, &Device::Cpu).unwrap().images.flatten_all().unwrap();
        assert_eq!(batch.to_vec1::<f32>().unwrap()[0], -1.0);
    }
}

#[test]
fn cifar_is_upright() {
    let (_keep, folder) = folder();
    let directory = folder.join("cifar10/cifar-10-batches-bin");
    for batch in 1..=5_u8 {
        let records = [cifar_record(batch, &upright(batch.into())), cifar_record(0, &upright(40))].concat();
        put(&directory.join(format!("data_batch_{batch}.bin")), &records);
    }
    put(&directory.join("test_batch.bin"), &cifar_record(9, &upright(7)));
    let set = open("cifar10", &folder);
    assert_eq!(test_image(&set, 0), (upright(7), Some(9)));
    let report = check(&set).unwrap();
    assert_eq!((report.train.images, report.test.images, report.holdout), (10, 1, None));
    assert_eq!(report.train.classes.unwrap(), [5, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(report.files.len(), 6);

    std::fs::remove_file(directory.join("data_batch_3.bin")).unwrap();
    assert!(
        fault("cifar10", &folder).contains("data_batch_3.bin"),
        "a part of the batches is not the dataset"
    );
    put(&directory.join("data_batch_3.bin"), &[0; 3072]);
    assert_eq!(
        fault("cifar10", &folder),
        "cifar10/cifar-10-batches-bin/data_batch_3.bin: expected records of 3073 bytes, found 3072 bytes in all"
    );
    put(&directory.join("data_batch_3.bin"), &cifar_record(10, &upright(0)));
    assert!(fault("cifar10", &folder).ends_with("expected labels 0 to 9, found 10 in record 0"));
}

#[test]
fn svhn_from_matlab_is_upright_and_the_digit_0_is_class_9() {
    // MATLAB's numbers of types: signed and unsigned integers of 1 to 8 bytes, and both floating-point types.
    for (packed, kind) in [1, 2, 3, 4, 5, 6, 7, 9, 12, 13].map(|kind| (kind % 2 == 1, kind)) {
        let (_keep, folder) = folder();
        let part = |name: &str, first: usize, labels: &[f64]| {
            let images: Vec<Vec<u8>> = (0..labels.len()).map(|i| upright(first + i)).collect();
            put(&folder.join(format!("svhn/{name}_32x32.mat")), &mat(&images, labels, packed, kind));
        };
        part("train", 0, &[1.0, 10.0]);
        part("test", 100, &[10.0, 2.0]);
        let set = open("svhn", &folder);
        assert_eq!(test_image(&set, 0), (upright(100), Some(9)));
        assert_eq!(test_image(&set, 1), (upright(101), Some(1)));
        assert_eq!(check(&set).unwrap().train.images, 2);
        part("extra", 50, &[3.0]);
        assert_eq!(check(&open("svhn", &folder)).unwrap().train.classes.unwrap()[..3], [1, 0, 1]);
        for (label, signed) in [(11.0, false), (-1.0, true)] {
            if signed && matches!(kind, 2 | 4 | 6 | 13) {
                continue;
            }
            part("extra", 50, &[label]);
            let text = fault("svhn", &folder);
            let said = format!("expected labels 1 to 10 in the array y, found {label} for image 0");
            assert!(text.ends_with(&said), "{text}");
        }
    }
}

#[test]
fn files_of_more_than_one_block_are_read() {
    let (_keep, folder) = folder();
    let n = 1030_usize;
    let images: Vec<Vec<u8>> = (0..n).map(upright).collect();
    let labels: Vec<f64> = (0..n).map(|i| (i % 10 + 1) as f64).collect();
    for part in ["train", "test"] {
        put(&folder.join(format!("svhn/{part}_32x32.mat")), &mat(&images, &labels, true, 2));
    }
    let set = open("svhn", &folder);
    assert_eq!(set.count(Split::Test).unwrap(), Some(n));
    for i in [0, 1023, 1024, n - 1] {
        assert_eq!(test_image(&set, i), (upright(i), Some(i as u32 % 10)), "image {i}");
    }

    write_mnist(&folder, false);
    let n = 1400_u32;
    let pixels: Vec<u8> = (0..n).flat_map(|i| [(i % 251) as u8; 28 * 28]).collect();
    let path = folder.join("mnist/t10k-images-idx3-ubyte");
    put(&path, &idx(&[n, 28, 28], &pixels));
    put(&folder.join("mnist/t10k-labels-idx1-ubyte"), &idx(&[n], &vec![3; n as usize]));
    let set = open("mnist", &folder);
    assert_eq!(set.count(Split::Test).unwrap(), Some(1400));
    for i in [0, 1336, 1337, 1338, 1399] {
        assert_eq!(test_image(&set, i).0[16 * 32 + 16], (i % 251) as u8, "image {i}");
    }
    put(&path, &idx(&[n, 28, 28], &pixels[..pixels.len() - 5]));
    let text = fault("mnist", &folder);
    assert!(text.ends_with("expected 1097600 bytes after the sizes [1400, 28, 28], found 1097595"), "{text}");
}

#[test]
fn parquet_files_in_every_form_are_upright() {
    let images: Vec<Vec<u8>> = (0..5).map(|i| png(32, 32, &upright(i))).collect();
    for codec in [0, 1, 2, 6] {
        for (dictionary, second_version) in [(false, false), (true, false), (false, true), (true, true)] {
            let (_keep, folder) = folder();
            let form = Parquet { codec, dictionary, second_version, group: 2, claimed_encoding: None };
            let labels = [3, 1, 4, 1, 5];
            put(
                &folder.join("cifar10/plain_text/train-0.parquet"),
                &form.file("img", &images, Some(&labels)),
            );
            put(&folder.join("cifar10/plain_text/test-0.parquet"), &form.file("img", &images, Some(&labels)));
            let set = open("cifar10", &folder);
            for (index, label) in labels.iter().enumerate() {
                assert_eq!(test_image(&set, index), (upright(index), Some(*label as u32)), "{form:?}");
            }
        }
    }
}

#[test]
fn svhn_is_read_from_parquet_with_and_without_labels() {
    let (_keep, folder) = folder();
    let form = Parquet { codec: 1, group: 100, ..Parquet::default() };
    let images: Vec<Vec<u8>> = (0..20).map(|i| png(32, 32, &upright(i))).collect();
    let train = folder.join("svhn/train-00000-of-00001.parquet");
    put(&train, &form.file("image", &images, None));
    let set = open("svhn", &folder);
    assert_eq!(set.classes(), 0);
    assert_eq!(test_image(&set, 1), (upright(19), None), "every tenth is held out");
    let batch = set.train_batch(4, &Draws::new(0, &Device::Cpu)).unwrap();
    assert_eq!(
        batch.labels().unwrap_err().to_string(),
        "these images have no labels, so nothing can be classified"
    );
    assert_eq!(check(&set).unwrap().train.classes, None);

    // The hub's label of the digit 0 is 0.
    let labels: Vec<i64> = (0..20).map(|i| i % 10).collect();
    put(&train, &form.file("image", &images, Some(&labels)));
    put(&folder.join("svhn/test-00000-of-00001.parquet"), &form.file("image", &images, Some(&labels)));
    let set = open("svhn", &folder);
    assert_eq!((set.classes(), test_image(&set, 0).1, test_image(&set, 1).1), (10, Some(9), Some(0)));
    let bad: Vec<i64> = (0..20).map(|i| i - 1).collect();
    put(&train, &form.file("image", &images, Some(&bad)));
    assert!(fault("svhn", &folder).ends_with("expected labels 0 to 9, found -1 in row 0"));
}

#[test]
fn celeba_is_cropped_upright_and_rightly_coloured_at_both_sizes() {
    // The image consists of blocks of eight pixels: red above, blue below, and a white strip at the left edge
    // of the crop.
    for (width, height, left, edge) in [(178, 218, 3, 13), (89, 109, 2, 7)] {
        let (_keep, folder) = folder();
        let colour = |row: usize, column: usize| match (row < edge, column) {
            (_, column) if column <= left => [255, 128, 128],
            (true, _) => [76, 85, 255],
            (false, _) => [29, 255, 107],
        };
        for i in 0..10 {
            let path = folder.join(format!("celeba/img_align_celeba/{i:06}.jpg"));
            put(&path, &jpeg(width, height, colour));
        }
        let set = open("celeba", &folder);
        assert_eq!((set.classes(), set.count(Split::Test).unwrap()), (0, Some(1)));
        let (image, label) = test_image(&set, 0);
        let at = |row: usize, column: usize| &image[(row * 32 + column) * 3..][..3];
        assert_eq!(label, None);
        assert_eq!(at(16, 0), [255, 255, 255]);
        let (above, below) = (at(4, 20), at(28, 20));
        assert!(above[0] > 240 && above[1] < 15 && above[2] < 15, "{above:?}");
        assert!(below[2] > 240 && below[0] < 15 && below[1] < 15, "{below:?}");
        // The bicubic kernel overshoots beside a sharp edge, and the values are not clipped.
        let report = check(&set).unwrap();
        assert!(report.train.min < -1.02 && report.train.max > 1.02, "{:?}", report.train);
        put(&folder.join("celeba/img_align_celeba/000003.jpg"), &jpeg(64, 64, |_, _| [9, 9, 9]));
        let text = fault("celeba", &folder);
        assert!(
            text.contains("000003.jpg: expected an image of 178x218") && text.ends_with("found 64x64"),
            "{text}"
        );
    }
}

#[test]
fn user_supplied_images_are_read() {
    let (_keep, folder) = folder();
    // The image has 64x32 pixels, of which the middle square is used.
    let wide: Vec<u8> = (0..32)
        .flat_map(|y| {
            (0..64).flat_map(move |x: usize| {
                let inside = (16..48).contains(&x);
                if inside { [((x - 16) * 8) as u8, (y * 8) as u8, 7] } else { [255; 3] }
            })
        })
        .collect();
    for (class, n) in [("cat", 15), ("dog", 5)] {
        for i in 0..n {
            put(&folder.join(format!("pets/{class}/{i:02}.png")), &png(64, 32, &wide));
        }
    }
    put(&folder.join("pets/cat/notes.txt"), b"not an image");
    let name = format!("images:{}", folder.join("pets").display());
    let set = image_set(&name, None).unwrap();
    assert_eq!((set.name(), set.title(), set.classes()), (name.as_str(), "pets", 2));
    let mut held_out = [test_image(&set, 0), test_image(&set, 1)];
    held_out.sort();
    assert_eq!(held_out, [(upright(7), Some(0)), (upright(7), Some(1))]);
    assert_eq!(check(&set).unwrap().train.classes.unwrap(), [14, 4]);
    let sheet = contact_sheet(&set).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&sheet)).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (10 * 68 + 4, 2 * 68 + 4));
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels[(4 * 684 + 4 + 62) * 3..][..3], [31 * 8, 0, 7], "the first image's upper right corner");

    let open = |option: &str| image_set(&format!("{name}?{option}"), None);
    let set = open("test-every=4").unwrap();
    assert_eq!((set.count(Split::Train).unwrap(), set.count(Split::Test).unwrap()), (Some(15), Some(5)));
    assert_eq!(set.name(), format!("{name}?test-every=4"));
    for wrong in ["test-every=1", "test-every=x", "test-every", "every=4"] {
        let text = open(wrong).err().unwrap().to_string();
        assert!(text.contains(&format!("'{wrong}' is no option")), "{text}");
    }

    put(&folder.join("pets/dog/03.png"), b"GIF89a");
    let text = image_set(&name, None).err().unwrap().to_string();
    assert!(text.contains("dog/03.png: expected a sound GIF image, found '"), "{text}");

    write_mnist(&folder, true);
    let name = format!("idx:{}", folder.join("mnist").display());
    let text = image_set(&format!("{name}?test-every=5"), None).err().unwrap().to_string();
    assert!(text.contains("have a test split"), "{text}");
    let set = image_set(&name, None).unwrap();
    assert_eq!((set.classes(), set.image().channels, set.network().depth), (10, 1, 16));

    let gray: Vec<Vec<u8>> = (0..20).map(|i| png(48, 48, &[i; 48 * 48 * 3])).collect();
    let file = folder.join("mine.parquet");
    put(&file, &Parquet { codec: 6, group: 7, ..Parquet::default() }.file("image", &gray, Some(&[2; 20])));
    let set = image_set(&format!("parquet:{}", file.display()), None).unwrap();
    assert_eq!((set.classes(), set.image().channels), (1, 1), "a label makes no empty classes below it");
    let mut held_out = [test_image(&set, 0), test_image(&set, 1)];
    held_out.sort();
    assert_eq!(held_out, [(vec![9; 1024], Some(0)), (vec![19; 1024], Some(0))]);
}

#[test]
fn errors_say_what_was_found() {
    let (_keep, folder) = folder();
    write_mnist(&folder, true);
    let path = folder.join("mnist/train-images-idx3-ubyte.gz");
    let bytes = std::fs::read(&path).unwrap();
    put(&path, &bytes[..bytes.len() - 20]);
    let text = fault("mnist", &folder);
    let (said, found) = text.rsplit_once(", found ").unwrap();
    assert!(said.ends_with("expected 9408 bytes after the sizes [12, 28, 28]"), "{text}");
    assert!(found.parse::<usize>().unwrap() < 9408, "{text}");
    for (bytes, said) in [
        (gzip(&[0, 0, 8, 3, 0]), "expected more bytes (4 for a size), found the end after 1 of them"),
        (gzip(&[idx(&[1, 1, 1], &[5]), vec![0]].concat()), "after the sizes [1, 1, 1], found more"),
        (
            gzip(&idx(&[4097, 4096, 4096], &[])),
            "expected at most 4194304 images, and 4294967296 bytes of them, found the sizes [4097, 4096, 4096]",
        ),
        (gzip(&idx(&[(4 << 20) + 1, 1, 1], &[])), "found the sizes [4194305, 1, 1]"),
    ] {
        put(&path, &bytes);
        let text = fault("mnist", &folder);
        assert!(text.ends_with(said), "{text}");
    }

    let text = |start: &[u8]| [start, &[b' '; 128][start.len()..]].concat();
    let header = |start: &[u8], end: [u8; 4]| [&text(start)[..124], &end].concat();
    let hdf5 = "found version 7.3 (HDF5), where MATLAB's save -v7 writes version 5";
    for (bytes, found) in [
        (header(b"MATLAB 7.3 MAT-file", [0, 2, b'I', b'M']), hdf5),
        (header(b"MATLAB 5.0 MAT-file", [1, 0, b'M', b'I']), "found a big-endian one"),
        (vec![0, 0, 0, 0, 32, 0, 0, 0], "found version 4, or no MATLAB file"),
        (b"import os".to_vec(), "found 9 bytes that begin with 'import os'"),
        (Vec::new(), "found 0 bytes that begin with ''"),
    ] {
        put(&folder.join("svhn/train_32x32.mat"), &bytes);
        let text = fault("svhn", &folder);
        assert!(
            text.ends_with(found) && text.contains("expected a little-endian MATLAB file of version 5"),
            "{text}"
        );
    }

    put(&folder.join("mk.parquet"), b"import os, sys\n\n");
    let name = format!("parquet:{}", folder.join("mk.parquet").display());
    let text = fault(&name, &folder);
    assert!(text.ends_with("at its beginning and end), found 'impo' there and [79, 73, 0a, 0a]"), "{text}");
}

#[test]
fn an_epoch_of_batches_holds_every_image_once() {
    let (_keep, folder) = folder();
    write_mnist(&folder, false);
    let set = open("mnist", &folder);
    let draws = Draws::new(5, &Device::Cpu).scope("data");
    let seen = |steps: std::ops::Range<u64>, seed: u64| -> Vec<u32> {
        let draws = Draws::new(seed, &Device::Cpu).scope("data");
        steps
            .flat_map(|step| {
                let batch = set.train_batch(4, &draws.at(step)).unwrap();
                let pixels = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let spots: Vec<u32> = pixels
                    .chunks(1024)
                    .map(|image| ((image[5 * 32 + 7] + 1.0) * 127.5).round() as u32 - 100)
                    .collect();
                let labels = batch.labels().unwrap().to_vec1::<u32>().unwrap();
                assert!(
                    spots.iter().zip(labels).all(|(spot, label)| spot % 10 == label),
                    "labels go with images"
                );
                spots
            })
            .collect()
    };
    let (first, second) = (seen(0..3, 5), seen(3..6, 5));
    for epoch in [&first, &second] {
        let mut sorted = epoch.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<_>>());
    }
    assert_ne!(first, second);
    assert_ne!(first, seen(0..3, 6));
    // Test images come in order, and continue at the first one after the last one.
    let labels =
        |step| set.test_batch(2, &draws.at(step)).unwrap().labels().unwrap().to_vec1::<u32>().unwrap();
    assert_eq!((labels(0), labels(1)), (vec![0, 1], vec![2, 0]));
    assert!(set.range(Split::Test, 2..4, &Device::Cpu).is_err());
}

/// Opens and reads a set completely; the test is that no call panics.
fn swallow(name: &str, folder: &Path) {
    if let Ok(set) = image_set(name, Some(folder)) {
        let _ = contact_sheet(&set);
        let _ = check(&set);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn spoiled_files_are_errors_not_panics((keep, changes) in spoiled(), which in 0..8_usize, packed: bool) {
        let (_keep, folder) = folder();
        let images: Vec<Vec<u8>> = (0..3).map(|i| png(32, 32, &upright(i))).collect();
        let form = Parquet { codec: [0, 1, 2, 6][changes.len() % 4], dictionary: packed, second_version: keep < 1.0, group: 2, claimed_encoding: None };
        let (name, path, bytes) = match which {
            0 => {
                write_mnist(&folder, packed);
                let path = folder.join(format!("mnist/train-images-idx3-ubyte{}", if packed { ".gz" } else { "" }));
                let bytes = std::fs::read(&path).unwrap();
                ("mnist", path, bytes)
            }
            1 => ("svhn", folder.join("svhn/train_32x32.mat"), mat(&[upright(1), upright(2)], &[1.0, 10.0], packed, 2)),
            2 => ("svhn", folder.join("svhn/train_32x32.mat"), mat(&[upright(1)], &[1.0], packed, 9)),
            3 | 4 => ("svhn", folder.join("svhn/train.parquet"), form.file("image", &images, Some(&[1, 2, 3]))),
            7 => {
                let records = [cifar_record(9, &upright(7)), cifar_record(0, &upright(1))].concat();
                put(&folder.join("cifar10/test_batch.bin"), &records);
                for i in 2..=5 {
                    put(&folder.join(format!("cifar10/data_batch_{i}.bin")), &records);
                }
                ("cifar10", folder.join("cifar10/data_batch_1.bin"), records)
            }
            5 => ("celeba", folder.join("celeba/1.jpg"), jpeg(178, 218, |y, x| [(y * 8) as u8, (x * 9) as u8, 3])),
            _ => ("celeba", folder.join("celeba/1.png"), png(178, 218, &vec![50; 178 * 218 * 3])),
        };
        put(&path, &spoil(&bytes, keep, &changes));
        swallow(name, &folder);
    }
}

#[test]
fn every_truncation_of_the_small_formats_is_an_error() {
    let form =
        Parquet { codec: 1, dictionary: true, second_version: false, group: 2, claimed_encoding: None };
    let parquet = form.file("image", &[png(32, 32, &upright(0))], Some(&[1]));
    let mat = mat(&[upright(1)], &[1.0], true, 2);
    for (name, file, bytes) in [("svhn", "train_32x32.mat", mat), ("svhn", "train.parquet", parquet)] {
        let (_keep, folder) = folder();
        for length in (0..bytes.len()).step_by(7) {
            put(&folder.join(name).join(file), &bytes[..length]);
            assert!(fault(name, &folder).contains(file), "cut to {length} bytes");
        }
    }
}

#[test]
fn the_hubs_cache_is_looked_into_after_the_folder() {
    let (_keep, folder) = folder();
    let cache = HubCache::at(folder.join("hub"));
    let empty = folder.join("empty");
    std::fs::create_dir(&empty).unwrap();
    let open = |name: &str, data: &Path| image_set_with_cache(name, Some(data), &cache);
    let image = |i: usize| png(32, 32, &upright(i));
    let images: Vec<_> = (0..3).map(image).collect();
    let snapshots = folder.join("hub/datasets--ufldl-stanford--svhn/snapshots");
    let directory = snapshots.join("f9e1717d73324ebbc1ece84267ccd80d0aca0690/cropped_digits");
    let parquet =
        |labels: i64| Parquet { group: 9, ..Parquet::default() }.file("image", &images, Some(&[labels; 3]));

    // Files of another revision are not used.
    put(&snapshots.join("0000/cropped_digits/train-00000-of-00001.parquet"), &parquet(1));
    assert!(open("svhn", &empty).err().unwrap().to_string().contains("found no images"));
    for (i, file) in
        ["train-00000-of-00002", "extra-00000-of-00001", "train-00001-of-00002", "test-00000-of-00001"]
            .iter()
            .enumerate()
    {
        put(&directory.join(format!("{file}.parquet")), &parquet(i as i64));
        let said = match i {
            0 => "lacks train-00001-of-00002.parquet and 2 more: `cargo xtask data fetch svhn`",
            1 => "lacks train-00001-of-00002.parquet and 1 more: ",
            2 => "lacks test-*.parquet: ",
            _ => break,
        };
        let text = open("svhn", &empty).err().unwrap().to_string();
        assert!(text.contains(said), "{text}");
    }
    put(&directory.join("valid-00000-of-00001.parquet"), &parquet(9));
    let set = open("svhn", &empty).unwrap();
    assert_eq!((set.folder(), set.hub().unwrap().repository), (directory.as_path(), "ufldl-stanford/svhn"));
    let report = check(&set).unwrap();
    assert_eq!((report.train.images, report.test.images), (9, 3), "train and extra, not valid");
    // The labels are the digits 0 and 2, then 1 of the extra split, which comes last; the digit 0 is class 9.
    assert_eq!(report.train.classes.unwrap(), [3, 3, 0, 0, 0, 0, 0, 0, 0, 3]);

    let own = folder.join("own");
    for part in ["train", "test"] {
        put(&own.join(format!("svhn/{part}.parquet")), &parquet(5));
    }
    let set = open("svhn", &own).unwrap();
    assert_eq!((set.folder(), set.hub()), (own.join("svhn").as_path(), None), "the folder goes first");
}
