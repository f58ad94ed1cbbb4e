//! Datasets of `candle-datasets` equal those of this crate's readers: the original files of MNIST and CIFAR-10,
//! pixel for pixel and label for label.

use std::{env, process::Command};

use crate::common::{Parquet, cifar_record, folder, png, put, upright, write_mnist};
use candle_core::{Device, Tensor};
use candle_datasets::vision::{self, cifar, mnist};
use lerp_core::ImageShape;
use lerp_data::{Dataset, Split, TensorSet, image_set};

#[test]
fn mnist_from_its_original_files_is_the_same() {
    let (_keep, folder) = folder();
    write_mnist(&folder, false);
    let theirs = TensorSet::from_candle("theirs", &mnist::load_dir(folder.join("mnist")).unwrap()).unwrap();
    let ours = image_set("mnist", Some(&folder)).unwrap();
    assert_eq!(
        (theirs.image(), theirs.network(), theirs.classes()),
        (ours.image(), ours.network(), ours.classes())
    );
    assert_eq!(theirs.digest().unwrap(), ours.digest().unwrap());
    // The pixels are compared, too: equal digests might have a common error.
    for (split, n) in [(Split::Train, 12), (Split::Test, 3)] {
        let [theirs, ours] =
            [&theirs as &dyn Dataset, &ours].map(|set| set.range(split, 0..n, &Device::Cpu).unwrap());
        let pixels = |images: &Tensor| images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(pixels(&theirs.images), pixels(&ours.images));
        let labels = |batch: &lerp_data::Batch| batch.labels().unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(labels(&theirs), labels(&ours));
    }
}

#[test]
fn cifar10_from_its_original_files_is_the_same() {
    // The reader of `candle-datasets` requires this number of images in every file.
    const IN_FILE: usize = 10_000;
    let (_keep, folder) = folder();
    let directory = folder.join("cifar10");
    // The images are upright, and their blue channel is the low byte of their index.
    let name =
        |batch: usize| if batch == 0 { "test_batch.bin".into() } else { format!("data_batch_{batch}.bin") };
    for batch in 0..6 {
        let record = |i: usize| cifar_record(((i + batch) % 10) as u8, &upright((7 * i + batch) % 256));
        put(&directory.join(name(batch)), &(0..IN_FILE).flat_map(record).collect::<Vec<_>>());
    }
    let theirs = cifar::load_dir(&directory).unwrap();
    let ours = image_set("cifar10", Some(&folder)).unwrap();
    for (split, images, labels) in [
        (Split::Train, &theirs.train_images, &theirs.train_labels),
        (Split::Test, &theirs.test_images, &theirs.test_labels),
    ] {
        let n = images.dims()[0];
        assert_eq!(ours.count(split).unwrap(), Some(n));
        for first in (0..n).step_by(2000) {
            let batch = ours.range(split, first..first + 2000, &Device::Cpu).unwrap();
            let theirs = images.narrow(0, first, 2000).unwrap().permute((0, 2, 3, 1)).unwrap();
            let bytes = |images: &Tensor, scale: f32, shift: f32| -> Vec<u8> {
                let values = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                values.iter().map(|value| (value * scale + shift).round() as u8).collect()
            };
            assert!(bytes(&theirs, 255.0, 0.0) == bytes(&batch.images, 127.5, 127.5), "from image {first}");
            let theirs: Vec<u32> = labels
                .narrow(0, first, 2000)
                .unwrap()
                .to_vec1::<u8>()
                .unwrap()
                .iter()
                .map(|&l| l.into())
                .collect();
            assert_eq!(batch.labels().unwrap().to_vec1::<u32>().unwrap(), theirs);
        }
    }
}

fn of(images: Tensor, labels: &[u8]) -> vision::Dataset {
    let labels = Tensor::new(labels, &Device::Cpu).unwrap();
    let (train_images, train_labels) = (images.clone(), labels.clone());
    vision::Dataset { train_images, train_labels, test_images: images, test_labels: labels, labels: 5 }
}

#[test]
fn any_vision_dataset_becomes_a_tensor_set() {
    // The images have two channels, four rows and six columns; each value is unique.
    let values: Vec<f32> = (0..2 * 2 * 4 * 6).map(|i| i as f32 / 96.0 + 0.001).collect();
    let images = Tensor::from_vec(values.clone(), (2, 2, 4, 6), &Device::Cpu).unwrap();
    let set = TensorSet::from_candle("two-channels", &of(images, &[3, 0])).unwrap();
    assert_eq!(set.image(), ImageShape { height: 4, width: 6, channels: 2 });
    assert_eq!(set.classes(), 5, "as many as it says, though there are images of two");
    let batch = set.range(Split::Test, 1..2, &Device::Cpu).unwrap();
    let pixel = batch.images.squeeze(0).unwrap().narrow(0, 2, 1).unwrap().narrow(1, 3, 1).unwrap();
    let wanted = [0, 1].map(|channel| values[((2 + channel) * 4 + 2) * 6 + 3] * 2.0 - 1.0);
    assert_eq!(pixel.flatten_all().unwrap().to_vec1::<f32>().unwrap(), wanted);
    assert_eq!(batch.labels().unwrap().to_vec1::<u32>().unwrap(), [0]);

    let flat = |pixels: usize| Tensor::zeros((2, pixels), candle_core::DType::F32, &Device::Cpu).unwrap();
    let small = TensorSet::from_candle("flat", &of(flat(784), &[1, 2])).unwrap();
    assert_eq!(small.image(), ImageShape { height: 32, width: 32, channels: 1 });
    let text = TensorSet::from_candle("odd", &of(flat(785), &[1, 2])).unwrap_err().to_string();
    assert!(text.starts_with("dataset odd: expected images [images, pixels], square ones, or"), "{text}");
    let text = TensorSet::from_candle("short", &of(flat(784), &[1])).unwrap_err().to_string();
    assert_eq!(text, "dataset short: expected labels [images], found [1] for 2 images");
}

/// Shows that `candle-datasets`' reader of the hub's CIFAR-10 transposes images, of which `from_candle` warns.
/// That reader finds the hub's cache by environment variables, so the test runs itself again in a process with
/// others.
#[test]
fn their_cifar10_from_parquet_is_transposed() {
    const AGAIN: &str = "LERP_TEST_TRANSPOSED";
    if env::var_os(AGAIN).is_none() {
        let (_keep, folder) = folder();
        let directory = folder.join("datasets--cifar10");
        put(&directory.join("refs/refs/convert/parquet"), "a".repeat(40).as_bytes());
        let file = Parquet { group: 9, ..Parquet::default() };
        let file = file.file("img", &[png(32, 32, &upright(0))], Some(&[3]));
        for part in ["train", "test"] {
            let file = (
                directory.join(format!("snapshots/{}/plain_text/{part}/0000.parquet", "a".repeat(40))),
                &file,
            );
            put(&file.0, file.1);
        }
        let mut again = Command::new(env::current_exe().unwrap());
        again.args(["--exact", "candle::their_cifar10_from_parquet_is_transposed"]).env(AGAIN, "1");
        let output =
            again.env("HF_HUB_CACHE", &folder).env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
        return;
    }
    let theirs = cifar::load().unwrap().test_images;
    let channel = |channel: usize| -> Vec<Vec<u8>> {
        let rows = theirs.narrow(1, channel, 1).unwrap().reshape((32, 32)).unwrap().to_vec2::<f32>().unwrap();
        rows.iter().map(|row| row.iter().map(|value| (value * 255.0).round() as u8).collect()).collect()
    };
    // Red increases to the right in the file, and downwards in what `candle-datasets` returns.
    assert_eq!((channel(0)[31][0], channel(0)[0][31]), (248, 0));
    assert_eq!((channel(1)[31][0], channel(1)[0][31]), (0, 248));
}
