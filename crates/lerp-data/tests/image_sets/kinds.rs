//! Image sets of many kinds: image formats, folder layouts, types of labels, and names of splits. All that is
//! read must be right, all that is not read must be reported, and no test image may be trained on.

use std::{io::Cursor, path::Path};

use crate::common::{
    Column, Parquet, cifar_record, fault, folder, gzip, idx, jpeg, png, put, test_image, upright,
};
use crate::spoil::{spoil, spoiled};
use candle_core::Device;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use lerp_core::Draws;
use lerp_data::{Dataset, ImageSet, Report, Split, check, image_set};
use proptest::prelude::*;

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A smooth image of 32x32 pixels, which lossy formats preserve.
fn smooth() -> DynamicImage {
    let pixel = |x: u32, y: u32| image::Rgb([(x / 2 * 8) as u8, (y / 2 * 8) as u8, 60]);
    RgbImage::from_fn(32, 32, pixel).into()
}

fn open(kind: &str, location: &Path) -> ImageSet {
    image_set(&format!("{kind}:{}", location.display()), None).unwrap()
}

fn refused(kind: &str, location: &Path) -> String {
    let text = image_set(&format!("{kind}:{}", location.display()), None).err().expect("refused").to_string();
    assert!(!text.contains('\n'), "{text}");
    text.replace(&format!("{}/", location.display()), "")
}

/// The name of each class, with its number of training and of test images.
fn counts(report: &Report) -> Vec<(String, usize, usize)> {
    let part = |part: &lerp_data::SplitReport| part.classes.clone().unwrap_or_default();
    let counts = part(&report.train).into_iter().zip(part(&report.test));
    report.class_names.iter().cloned().zip(counts).map(|(name, (train, test))| (name, train, test)).collect()
}

fn three(counts: &[(String, usize, usize)]) -> Vec<(&str, usize, usize)> {
    counts.iter().map(|(name, train, test)| (name.as_str(), *train, *test)).collect()
}

#[test]
fn pictures_of_all_formats_are_read_whatever_they_are_called() {
    let (_keep, folder) = folder();
    let image = smooth();
    let paletted = encoded(&image, ImageFormat::Gif);
    let jpeg = encoded(&image, ImageFormat::Jpeg);
    for (name, bytes) in [
        ("bird/0.webp", encoded(&image, ImageFormat::WebP)),
        ("cat/0.bmp", encoded(&image, ImageFormat::Bmp)),
        ("cat/1.tif", encoded(&image, ImageFormat::Tiff)),
        ("cat/2.TIFF", encoded(&image, ImageFormat::Tiff)),
        ("dog/0.jfif", jpeg.clone()),
        ("dog/1.png", jpeg.clone()),
        ("dog/2", jpeg.clone()),
        ("dog/3.dat", jpeg),
        ("dog/4.gif", paletted),
        ("dog/5.png", encoded(&image, ImageFormat::Png)),
    ] {
        put(&folder.join(name), &bytes);
    }
    for other in ["bird/notes.txt", "cat/scan.heic", "dog/photo.cr2", "dog/.hidden.png", "empty/readme.md"] {
        put(&folder.join(other), b"II*\0no picture");
    }
    let set = image_set(&format!("images:{}?test-every=2", folder.display()), None).unwrap();
    let report = check(&set).unwrap();
    assert_eq!(three(&counts(&report)), [("bird", 1, 0), ("cat", 1, 2), ("dog", 3, 3)]);
    let wanted = image.to_rgb8().into_raw();
    for split in [Split::Train, Split::Test] {
        let n = set.count(split).unwrap().unwrap();
        let batch = set.range(split, 0..n, &Device::Cpu).unwrap().images.flatten_all().unwrap();
        let batch = batch.to_vec1::<f32>().unwrap();
        for image in batch.chunks(32 * 32 * 3) {
            let off = |(found, wanted): (&f32, &u8)| ((found + 1.0) * 127.5 - f32::from(*wanted)).abs();
            let most = image.iter().zip(&wanted).map(off).fold(0.0, f32::max);
            assert!(most <= 12.0, "{most} gray levels off");
        }
    }
    let said = report.left_out.join("; ");
    for line in [
        "4 files (bird/notes.txt, cat/scan.heic, dog/photo.cr2, ...): no image of a format that is read",
        "1 file (dog/.hidden.png): hidden",
        "1 folder (empty): nothing in it that is read",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // A notice reports what is not read when the set is used for training.
    set.train_batch(2, &Draws::new(0, &Device::Cpu)).unwrap();
    let notices = lerp_kernels::noticed();
    assert!(
        notices.iter().any(|notice| notice.contains("not read: ") && notice.contains("scan.heic")),
        "{notices:?}"
    );
}

#[test]
fn exif_orientation_is_applied_and_transparency_is_white() {
    let (_keep, folder) = folder();
    // The image is red above and blue below, given as (Y, Cb, Cr); its EXIF orientation says that it must be
    // rotated clockwise.
    let plain = jpeg(64, 64, |row, _| if row < 4 { [76, 85, 255] } else { [29, 255, 107] });
    let exif = [&b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"[..]].concat();
    let size = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&plain[..2], &[0xff, 0xe1], &size, &exif, &plain[2..]].concat();
    let mut clear = image::RgbaImage::from_pixel(32, 32, image::Rgba([255, 0, 0, 255]));
    clear.put_pixel(0, 0, image::Rgba([9, 9, 9, 0]));
    for (class, bytes) in
        [("plain", plain), ("turned", turned), ("clear", encoded(&clear.into(), ImageFormat::Png))]
    {
        for i in 0..2 {
            put(&folder.join(format!("{class}/{i}.jpg")), &bytes);
        }
    }
    let set = open("images", &folder);
    let images: Vec<_> = (0..3).map(|i| test_image(&set, i)).collect();
    let of = |class| &images.iter().find(|(_, label)| *label == Some(class)).unwrap().0;
    let at = |image: &[u8], row: usize, column: usize| image[(row * 32 + column) * 3..][..3].to_vec();
    let red = |pixel: &[u8]| pixel[0] > 200 && pixel[2] < 60;
    let (clear, plain, turned) = (of(0), of(1), of(2));
    assert_eq!((at(clear, 0, 0), at(clear, 0, 1)), (vec![255; 3], vec![255, 0, 0]));
    assert!(red(&at(plain, 2, 2)) && red(&at(plain, 2, 29)) && !red(&at(plain, 29, 29)));
    // The image was rotated clockwise: its upper half is on the right.
    assert!(red(&at(turned, 2, 29)) && red(&at(turned, 29, 29)) && !red(&at(turned, 2, 2)));
}

#[test]
fn large_photos_are_read_and_larger_images_are_reported() {
    let (_keep, folder) = folder();
    let photo = GrayImage::from_fn(6400, 5600, |x, _| image::Luma([if x < 3200 { 0 } else { 255 }]));
    let photo = encoded(&photo.into(), ImageFormat::Png);
    // An image of 400 megapixels with one bit each.
    let mut huge = Vec::new();
    let mut encoder = png::Encoder::new(&mut huge, 20_000, 20_000);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header().unwrap().write_image_data(&vec![0; 2500 * 20_000]).unwrap();
    for (name, bytes) in [
        ("a/0.png", &photo),
        ("a/1.png", &photo),
        ("b/0.png", &photo),
        ("b/1.png", &photo),
        ("b/2.png", &huge),
    ] {
        put(&folder.join(name), bytes);
    }
    let report = check(&open("images", &folder)).unwrap();
    assert_eq!(three(&counts(&report)), [("a", 1, 1), ("b", 1, 1)]);
    assert_eq!(report.left_out, ["1 picture (b/2.png): more than 256 megapixels, the most that is read"]);
    let images = [photo, huge].map(|bytes| bytes[..].to_vec());
    let file = folder.join("own.parquet");
    let rows = [&images[0], &images[1], &images[0]].map(Clone::clone);
    put(&file, &Parquet { group: 9, ..Parquet::default() }.file("image", &rows, Some(&[4, 4, 4])));
    let report = check(&open("parquet", &file)).unwrap();
    assert_eq!(three(&counts(&report)), [("4", 1, 1)]);
    assert!(report.left_out[0].starts_with("1 picture (own.parquet row 1): more than 256 megapixels"));
}

#[test]
#[cfg(unix)]
fn links_are_followed_and_pipes_are_not_waited_for() {
    let (_keep, folder) = folder();
    let (set, elsewhere) = (folder.join("set"), folder.join("elsewhere"));
    for i in 0..3 {
        put(&set.join(format!("cat/{i}.png")), &png(32, 32, &upright(i)));
        put(&elsewhere.join(format!("{i}.png")), &png(32, 32, &upright(i)));
    }
    let link = |target: &Path, link: &str| std::os::unix::fs::symlink(target, set.join(link)).unwrap();
    link(&elsewhere, "dog");
    link(&elsewhere.join("1.png"), "cat/linked.png");
    link(&set, "cat/back");
    link(&folder.join("nothing"), "cat/gone.png");
    for pipe in ["cat/pipe.png", "cat/pipe"] {
        assert!(std::process::Command::new("mkfifo").arg(set.join(pipe)).status().unwrap().success());
    }
    let report = check(&open("images", &set)).unwrap();
    assert_eq!(three(&counts(&report)), [("cat", 3, 1), ("dog", 2, 1)]);
    let said = report.left_out.join("; ");
    for line in [
        "1 folder (cat/back): a link back to a folder that holds it",
        "1 file (cat/gone.png): a link to nothing",
        "2 files (cat/pipe, cat/pipe.png): neither a file nor a folder",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let data = folder.join("data/cifar10");
    std::fs::create_dir_all(&data).unwrap();
    for i in 1..5 {
        put(&data.join(format!("data_batch_{i}.bin")), &cifar_record(1, &upright(i)));
    }
    put(&data.join("test_batch.bin"), &cifar_record(1, &upright(0)));
    assert!(
        std::process::Command::new("mkfifo").arg(data.join("data_batch_5.bin")).status().unwrap().success()
    );
    let text = fault("cifar10", &folder.join("data"));
    assert_eq!(text, "cannot read cifar10/data_batch_5.bin: it is not a plain file");
}

fn pictures(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| png(32, 32, &upright(i))).collect()
}

#[test]
fn parquet_files_are_of_the_part_that_their_names_say() {
    let file = |n: usize| Parquet { group: 9, ..Parquet::default() }.file("image", &pictures(n), None);
    for (paths, [train, test]) in [
        (&["train/0000.parquet", "test/0000.parquet"][..], [2, 3]),
        (&["TRAIN-0.parquet", "Eval-0.parquet"], [2, 3]),
        (&["x-training.parquet", "deep/er/testing/x.parquet"], [2, 3]),
        (&["mnist-train-00000-of-00001.parquet", "mnist-test-00000-of-00001.parquet"], [2, 3]),
        (&["train.parquet", "dev/x.parquet"], [2, 3]),
        (&["train.parquet", "test.parquet", "validation.parquet"], [2, 3]),
    ] {
        let (_keep, folder) = folder();
        for (n, path) in (2..).zip(paths) {
            put(&folder.join("own").join(path), &file(n));
            put(&folder.join("svhn").join(path), &file(n));
        }
        for set in [open("parquet", &folder.join("own")), image_set("svhn", Some(&folder)).unwrap()] {
            let report = check(&set).unwrap();
            assert_eq!([report.train.images, report.test.images], [train, test], "{paths:?}");
            assert!(report.holdout.is_none());
            let unused = report.left_out.iter().filter(|line| line.contains("validation")).count();
            assert_eq!(unused, paths.len() - 2, "{:?}", report.left_out);
        }
    }
    for (paths, said) in [
        (
            &["train.parquet", "more.parquet"][..],
            "more.parquet: expected 'train', 'test' or 'validation' in its name",
        ),
        (
            &["test/0.parquet", "0.parquet", "1.parquet"],
            "0.parquet: expected 'train', 'test' or 'validation' in",
        ),
        (&["train/test-0.parquet"], "train/test-0.parquet: expected a name that tells to which split"),
        (&["test/0.parquet"], "test/0.parquet: expected files of a training split beside it, found none"),
    ] {
        let (_keep, folder) = folder();
        for path in paths {
            put(&folder.join(path), &file(2));
        }
        let text = refused("parquet", &folder);
        assert!(text.starts_with(said), "{text}");
    }
    // If no name tells a split, all files are one split.
    let (_keep, folder) = folder();
    for i in 0..2 {
        put(&folder.join(format!("{i:04}.parquet")), &file(10));
    }
    let report = check(&open("parquet", &folder)).unwrap();
    assert_eq!((report.train.images, report.test.images, report.holdout), (18, 2, Some(10)));
}

#[test]
fn labels_of_all_kinds_are_classes() {
    let bytes = |rows: &[f64]| rows.iter().map(|row| row.to_le_bytes().to_vec()).collect::<Vec<_>>();
    let small = |rows: &[i32]| rows.iter().map(|row| row.to_le_bytes().to_vec()).collect::<Vec<_>>();
    let unsigned = Column { converted: Some(13), ..Column::new("class", 1, small(&[-1, 5, -1, 5])) };
    let notes =
        r#"{"info": {"features": {"label": {"names": ["cat", "dog", "emu"], "_type": "ClassLabel"}}}}"#;
    for (columns, notes, wanted, unread) in [
        (vec![Column::texts("label", &["zebra", "ant", "zebra", "ant"])], "", ["ant", "zebra"], ""),
        (vec![Column::integers("labels", &[7, 3, 7, 3])], "", ["3", "7"], ""),
        (vec![Column::integers("target", &[1, -1, 1, -1])], "", ["-1", "1"], ""),
        (vec![Column::new("y", 5, bytes(&[2.0, 1.0, 2.0, 1.0]))], "", ["1", "2"], ""),
        (
            vec![Column::new("Label", 0, [[1], [0], [1], [0]].map(|bit| bit.to_vec()))],
            "",
            ["false", "true"],
            "",
        ),
        (vec![unsigned], "", ["5", "4294967295"], ""),
        (vec![Column::integers("label", &[2, 0, 2, 0])], notes, ["cat", "emu"], ""),
        (
            vec![
                Column::integers("coarse_label", &[1, 1, 1, 1]),
                Column::integers("fine_label", &[9, 4, 9, 4]),
            ],
            "",
            ["4", "9"],
            "1 column (coarse_label): neither the images nor their labels",
        ),
        (
            vec![Column::new("label", 5, bytes(&[0.5, 1.0, 2.0, 1.0])), Column::integers("y", &[1, 0, 1, 0])],
            "",
            ["0", "1"],
            "1 column (label): labels that are no whole numbers",
        ),
    ] {
        for (codec, dictionary, second_version) in [(0, false, false), (1, true, false), (6, true, true)] {
            let (_keep, folder) = folder();
            let form = Parquet { codec, dictionary, second_version, group: 3, claimed_encoding: None };
            let images = [1, 0, 1, 0].map(|i| png(32, 32, &upright(i)));
            for part in ["train", "test"] {
                put(
                    &folder.join(format!("{part}.parquet")),
                    &form.file_of("image", &images, &columns, notes),
                );
            }
            let set = open("parquet", &folder);
            let report = check(&set).unwrap();
            assert_eq!(three(&counts(&report)), wanted.map(|name| (name, 2, 2)), "{columns:?}");
            assert_eq!(report.left_out.concat(), unread);
            for i in 0..4 {
                let (image, label) = test_image(&set, i);
                assert_eq!(image, upright(label.unwrap() as usize), "labels go with their images");
            }
        }
    }
    // The only column of labels has values that cannot be classes, which is reported.
    let (_keep, folder) = folder();
    let column = Column::new("label", 5, bytes(&[0.5, 1.0]));
    let location = folder.join("own.parquet");
    put(&location, &Parquet { group: 9, ..Parquet::default() }.file_of("image", &pictures(2), &[column], ""));
    let set = image_set(&format!("parquet:{}?test-every=2", location.display()), None).unwrap();
    assert_eq!(set.classes(), 0);
    assert_eq!(check(&set).unwrap().left_out, ["1 column (label): labels that are no whole numbers"]);
}

#[test]
fn parquet_files_that_cannot_be_read_say_why() {
    let (_keep, folder) = folder();
    let plain = Parquet { group: 9, ..Parquet::default() };
    let file = folder.join("own.parquet");
    let said = |bytes: &[u8]| {
        put(&file, bytes);
        refused("parquet", &file)
    };
    let text = said(&plain.file("picture", &pictures(2), None));
    let wanted = "expected a column 'image' or 'img' of encoded images, found picture.bytes, picture.path";
    assert!(text.ends_with(wanted), "{text}");
    for (encoding, name) in [
        (5, "DELTA_BINARY_PACKED"),
        (6, "DELTA_LENGTH_BYTE_ARRAY"),
        (7, "DELTA_BYTE_ARRAY"),
        (9, "BYTE_STREAM_SPLIT"),
        (42, "encoding 42"),
    ] {
        for second_version in [false, true] {
            let claims = Parquet { claimed_encoding: Some(encoding), second_version, ..plain };
            let text = said(&claims.file("image", &pictures(2), None));
            let wanted = format!(
                "expected plain or dictionary values in column image.bytes, found {name}: write the file with \
                 another setting"
            );
            assert!(text.ends_with(&wanted), "{text}");
        }
    }
    let labels = Column { is_null: true, ..Column::integers("label", &[0, 1]) };
    let text = said(&plain.file_of("image", &pictures(2), &[labels], ""));
    assert!(text.ends_with("expected a label in every row, found none in row 0"), "{text}");
}

#[test]
fn classes_in_turn_are_in_both_splits() {
    let (_keep, folder) = folder();
    let labels: Vec<i64> = (0..40).map(|i| i % 10).collect();
    let location = folder.join("turns.parquet");
    put(&location, &Parquet { group: 9, ..Parquet::default() }.file("image", &pictures(40), Some(&labels)));
    for every in [2, 5, 10] {
        let name = format!("parquet:{}?test-every={every}", location.display());
        let report = check(&image_set(&name, None).unwrap()).unwrap();
        assert!(counts(&report).iter().all(|(_, train, test)| *train > 0 && *test > 0 && train + test == 4));
        assert_eq!(report.digest, check(&image_set(&name, None).unwrap()).unwrap().digest);
    }
}

#[test]
fn idx_files_are_found_under_torchvisions_names() {
    let (_keep, folder) = folder();
    let image =
        |i: u8| -> Vec<u8> { (0..28 * 28).map(|p: u32| if p == 3 * 28 + 5 { 200 + i } else { 0 }).collect() };
    let images = |n: u8| idx(&[n.into(), 28, 28], &(0..n).flat_map(image).collect::<Vec<_>>());
    let write = |location: &Path, prefix: &str, test: &str| {
        for (part, n) in [("train", 4), (test, 2)] {
            put(&location.join(format!("{prefix}{part}-images-idx3-ubyte.gz")), &gzip(&images(n)));
            let labels: Vec<u8> = (0..n).map(|i| 1 + i % 2).collect();
            put(
                &location.join(format!("{prefix}{part}-labels-idx1-ubyte.gz")),
                &gzip(&idx(&[n.into()], &labels)),
            );
        }
    };
    let spot = |set: &ImageSet, row: usize, column: usize| test_image(set, 0).0[(row + 2) * 32 + column + 2];
    write(&folder.join("EMNIST/raw"), "emnist-letters-", "test");
    for location in [
        folder.clone(),
        folder.join("EMNIST/raw"),
        folder.join("EMNIST"),
        folder.join("EMNIST/raw/emnist-letters"),
    ] {
        let set = open("idx", &location);
        let report = check(&set).unwrap();
        assert_eq!(three(&counts(&report)), [("1", 2, 1), ("2", 2, 1)], "labels from 1 on");
        assert!(
            spot(&set, 5, 3) >= 200 && spot(&set, 3, 5) == 0,
            "rows and columns are exchanged in the file"
        );
    }
    write(&folder.join("EMNIST/raw"), "emnist-digits-", "test");
    let text = refused("idx", &folder.join("EMNIST/raw"));
    assert!(
        text.contains(
            "expected the files of one image set, found 2 of them: name one, as in idx:emnist-digits"
        ),
        "{text}"
    );
    assert_eq!(open("idx", &folder.join("EMNIST/raw/emnist-digits")).classes(), 2);

    let qmnist = folder.join("q/QMNIST/raw");
    write(&qmnist, "qmnist-", "test");
    for (part, n) in [("train", 4_u32), ("test", 2)] {
        std::fs::remove_file(qmnist.join(format!("qmnist-{part}-labels-idx1-ubyte.gz"))).unwrap();
        let rows: Vec<u8> = (0..n).flat_map(|i| [7 + i % 2, 99].map(u32::to_be_bytes).concat()).collect();
        let file = [&[0, 0, 12, 2][..], &n.to_be_bytes(), &2_u32.to_be_bytes(), &rows].concat();
        put(&qmnist.join(format!("qmnist-{part}-labels-idx2-int.gz")), &gzip(&file));
    }
    let set = open("idx", &folder.join("q"));
    assert_eq!(three(&counts(&check(&set).unwrap())), [("7", 2, 1), ("8", 2, 1)]);
    assert!(spot(&set, 3, 5) >= 200, "only EMNIST's are exchanged");

    write(&folder.join("data/MNIST/raw"), "", "t10k");
    assert_eq!(image_set("mnist", Some(&folder.join("data"))).unwrap().count(Split::Test).unwrap(), Some(2));
}

#[test]
fn archives_unpacked_in_the_data_folder_are_found() {
    let (_keep, folder) = folder();
    for i in 1..=5 {
        let path = folder.join(format!("cifar-10-batches-bin/data_batch_{i}.bin"));
        put(&path, &cifar_record(i as u8, &upright(i)));
    }
    put(&folder.join("cifar-10-batches-bin/test_batch.bin"), &cifar_record(9, &upright(7)));
    let report = check(&image_set("cifar10", Some(&folder)).unwrap()).unwrap();
    assert_eq!((report.train.images, report.class_names[9].as_str()), (5, "truck"));
    for location in ["celeba/img_align_celeba/img_align_celeba", "img_align_celeba/img_align_celeba"] {
        let data = folder.join(location.split('/').next().unwrap()).join("data");
        for i in 0..10 {
            put(&data.join(location).join(format!("{i:06}.jpg")), &jpeg(178, 218, |_, _| [100, 128, 128]));
        }
        assert_eq!(image_set("celeba", Some(&data)).unwrap().count(Split::Test).unwrap(), Some(1));
    }
}

#[test]
fn no_damaged_picture_is_skipped() {
    let (_keep, folder) = folder();
    let whole = jpeg(64, 64, |row, column| [(row * 9) as u8, (column * 9) as u8, 3]);
    for i in 0..4 {
        put(&folder.join(format!("a/{i}.jpg")), &whole);
    }
    for (bytes, said) in [
        (&whole[..whole.len() - 8], "a/2.jpg: expected a whole JPEG image, found one that ends early"),
        (&whole[..0], "a/2.jpg: expected a PNG, JPEG, WebP, BMP, TIFF or GIF image, found 0 bytes"),
        (b"<html>404</html>", "a/2.jpg: expected a PNG, JPEG, WebP, BMP, TIFF or GIF image, found 16 bytes"),
    ] {
        put(&folder.join("a/2.jpg"), bytes);
        let text = refused("images", &folder);
        assert!(text.starts_with(said), "{text}");
    }
}

/// A PNG image of four pixels whose palette has `size` bytes; a valid size is a multiple of three.
fn paletted(size: usize) -> Vec<u8> {
    let chunk = |kind: &[u8], body: &[u8]| {
        let mut sum = flate2::Crc::new();
        sum.update(&[kind, body].concat());
        [&(body.len() as u32).to_be_bytes(), kind, body, &sum.sum().to_be_bytes()].concat()
    };
    let header = chunk(b"IHDR", &[0, 0, 0, 2, 0, 0, 0, 2, 8, 3, 0, 0, 0]);
    let pixels = chunk(b"IDAT", &crate::common::zlib(&[0, 0, 1, 0, 1, 0]));
    let palette = chunk(b"PLTE", &vec![7; size]);
    [&b"\x89PNG\r\n\x1a\n"[..], &header, &palette, &pixels, &chunk(b"IEND", &[])].concat()
}

/// Opens a set of a sound image and of `bytes`: either both are read, or the second is reported.
fn read_or_named(bytes: &[u8]) {
    let (_keep, folder) = folder();
    put(&folder.join("a/0.png"), &png(32, 32, &upright(0)));
    put(&folder.join("a/damaged.jpg"), bytes);
    let file = folder.join("rows.parquet");
    put(
        &file,
        &Parquet { group: 9, ..Parquet::default() }.file(
            "image",
            &[png(32, 32, &upright(0)), bytes.to_vec()],
            None,
        ),
    );
    for (name, named) in [("images", "damaged.jpg"), ("parquet", "row 1")] {
        let location = if name == "images" { &folder } else { &file };
        match image_set(&format!("{name}:{}?test-every=2", location.display()), None) {
            Err(error) => assert!(error.to_string().contains(named), "{error}"),
            Ok(set) => {
                let report = check(&set).unwrap();
                let left_out = report.left_out.iter().any(|line| line.contains(named));
                assert_eq!(report.train.images + report.test.images, if left_out { 1 } else { 2 });
            }
        }
    }
}

#[test]
fn palettes_of_any_length_are_no_panic() {
    for size in 0..=10 {
        read_or_named(&paletted(size));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn spoiled_pictures_are_errors_not_panics((keep, changes) in spoiled(), which in 0..8_usize) {
        let bytes = match which {
            0 => paletted(6),
            1 => jpeg(64, 64, |row, column| [(row * 9) as u8, (column * 9) as u8, 3]),
            other => {
                use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
                encoded(&smooth(), [Png, Jpeg, WebP, Bmp, Tiff, Gif][other - 2])
            }
        };
        read_or_named(&spoil(&bytes, keep, &changes));
    }
}
