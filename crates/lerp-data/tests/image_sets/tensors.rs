//! Tests of datasets made of tensors.

use candle_core::{DType, Device, Tensor};
use lerp_core::{Draws, ImageShape, Network};
use lerp_data::{Dataset, Split, TensorSet, Tensors};

/// Images of one pixel, whose value is the index of the image; the labels repeat 0 to `n - 1`.
fn numbered(images: u8, n: u8) -> Tensors {
    let numbers: Vec<u8> = (0..images).collect();
    let labels: Vec<u8> = numbers.iter().map(|i| i % n).collect();
    let images = Tensor::from_vec(numbers, (usize::from(images), 1, 1, 1), &Device::Cpu).unwrap();
    Tensors { images, labels: Some(Tensor::new(labels, &Device::Cpu).unwrap()) }
}

fn bytes(images: &Tensor) -> Vec<u8> {
    let values = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect()
}

#[test]
fn batches_are_epochs_of_the_training_part_and_the_test_part_in_order() {
    let set = TensorSet::new("numbers", &numbered(12, 3), &numbered(5, 3)).unwrap();
    assert_eq!((set.name(), set.title(), set.classes()), ("numbers", "numbers", 3));
    assert_eq!((set.count(Split::Train).unwrap(), set.count(Split::Test).unwrap()), (Some(12), Some(5)));
    let draws = |step| Draws::new(5, &Device::Cpu).scope("data").at(step);
    let mut seen = Vec::new();
    for step in 0..3 {
        let batch = set.train_batch(4, &draws(step)).unwrap();
        let (numbers, labels) = (bytes(&batch.images), batch.labels().unwrap().to_vec1::<u32>().unwrap());
        assert!(numbers.iter().zip(labels).all(|(number, label)| u32::from(number % 3) == label));
        seen.extend(numbers);
    }
    assert_ne!(seen, (0..12).collect::<Vec<_>>());
    seen.sort_unstable();
    assert_eq!(seen, (0..12).collect::<Vec<_>>(), "every image once in an epoch");
    assert_eq!(bytes(&set.test_batch(3, &draws(1)).unwrap().images), [3, 4, 0]);
    assert_eq!(bytes(&set.range(Split::Test, 1..3, &Device::Cpu).unwrap().images), [1, 2]);
    assert!(set.range(Split::Test, 3..6, &Device::Cpu).is_err());
    let again = TensorSet::new("others", &numbered(12, 3), &numbered(5, 3)).unwrap();
    assert_eq!(set.digest().unwrap(), again.digest().unwrap());
    let other = TensorSet::new("others", &numbered(12, 3), &numbered(5, 2)).unwrap();
    assert_ne!(set.digest().unwrap(), other.digest().unwrap());
}

#[test]
fn real_numbers_of_any_number_of_channels_stay_as_they_are() {
    let values: Vec<f32> = (0..2 * 3 * 2 * 5).map(|i| i as f32 / 30.0 - 1.0).collect();
    let images = Tensor::from_vec(values.clone(), (2, 3, 2, 5), &Device::Cpu).unwrap();
    let part = |dtype| Tensors { images: images.to_dtype(dtype).unwrap(), labels: None };
    let network = Network { scales: 1, depth: 4, latent: 2 };
    let set = TensorSet::new("x", &part(DType::F32), &part(DType::F64)).unwrap();
    let set = set.titled("Five channels").with_network(network);
    assert_eq!((set.title(), set.network(), set.classes()), ("Five channels", network, 0));
    assert_eq!(set.image(), ImageShape { height: 3, width: 2, channels: 5 });
    for split in [Split::Train, Split::Test] {
        let batch = set.range(split, 0..2, &Device::Cpu).unwrap();
        assert_eq!(batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap(), values);
        assert!(batch.labels.is_none());
    }
}

#[test]
fn invalid_tensors_are_refused_in_one_sentence() {
    let part = |shape: &[usize]| Tensors {
        images: Tensor::zeros(shape, DType::U8, &Device::Cpu).unwrap(),
        labels: None,
    };
    let good = || part(&[2, 4, 4, 1]);
    let labelled =
        |labels: &[i64]| Tensors { labels: Some(Tensor::new(labels, &Device::Cpu).unwrap()), ..good() };
    let filled = |value: f32| Tensors {
        images: Tensor::full(value, (2, 4, 4, 1), &Device::Cpu).unwrap(),
        labels: None,
    };
    for (name, train, test, said) in [
        (
            "mnist",
            good(),
            good(),
            "dataset mnist: expected a name of its own, of letters, digits, '.', '-' and '_', found 'mnist'",
        ),
        ("idx:x", good(), good(), "of letters, digits, '.', '-' and '_', found 'idx:x'"),
        ("x", part(&[2, 16]), good(), "expected images [images, height, width, channels], found [2, 16]"),
        ("x", good(), part(&[0, 4, 4, 1]), "expected at least one image in each split, found [0, 4, 4, 1]"),
        ("x", good(), part(&[2, 4, 4, 3]), "found 4x4x1 to train on and 4x4x3 to test on"),
        ("x", labelled(&[0, 1]), good(), "expected labels in both splits or in neither, found them in one"),
        ("x", labelled(&[0]), good(), "expected labels [images], found [1] for 2 images"),
        ("x", labelled(&[0, -1]), good(), "expected labels from 0 on, found -1"),
        ("x", labelled(&[0, 10_000]), labelled(&[0, 1]), "expected labels below 10000, found 10000"),
        ("x", filled(255.0), good(), "expected values from -1 to 1, found 255"),
        ("x", filled(f32::NAN), good(), "expected values from -1 to 1, found NaN"),
    ] {
        let text = TensorSet::new(name, &train, &test).unwrap_err().to_string();
        assert!(text.ends_with(said) && !text.contains('\n'), "{text}");
    }
}
