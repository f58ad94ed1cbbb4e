//! Errors about missing image sets; and user-supplied image sets: class folders, splits, and the order of their
//! images.

use crate::common::{Parquet, fault, folder, png, put, test_image, upright, write_mnist};
use lerp_data::{Dataset, HubCache, Split, check, image_set, image_set_with_cache};

#[test]
fn errors_about_missing_files_name_the_files_to_add() {
    let (_keep, folder) = folder();
    for (name, file) in
        [("mnist", "train-images-idx3-ubyte"), ("svhn", "train_32x32.mat"), ("cifar10", "data_batch_1.bin")]
    {
        let text = fault(name, &folder);
        assert!(text.starts_with(&format!("{name}: found no images in {name}: put there ")), "{text}");
        assert!(text.contains(file) && text.contains(".parquet"), "{text}");
        assert!(text.ends_with(&format!(", or let `cargo xtask data fetch {name}` download it")), "{text}");
    }
    let without = image_set_with_cache("mnist", None, &HubCache::at(folder.join("hub"))).err();
    // The environment may name a folder of datasets that has MNIST.
    if std::env::var_os(lerp_data::FOLDER_VARIABLE).is_none() {
        let text = without.unwrap().to_string();
        assert!(
            text.starts_with("mnist is not in the hub's cache: `cargo xtask data fetch mnist`"),
            "{text}"
        );
    }
    let text = fault("images:/nowhere/at/all", &folder);
    assert!(text.contains("found no images in /nowhere/at/all: put there one sub-folder of PNG"), "{text}");
    let text = fault("images:~/pets", &folder);
    assert!(text.ends_with("('~' is expanded only by a shell, at the beginning of a word)"), "{text}");
    for kind in ["images", "idx", "parquet"] {
        let text = fault(&format!("{kind}:"), &folder);
        assert_eq!(text, format!("'{kind}:': expected a path after '{kind}:', found nothing"));
    }
    let text = fault("image:foo", &folder);
    assert!(text.ends_with("and your own: idx:DIR, images:DIR, parquet:PATH"), "{text}");
    put(&folder.join("flat/a.png"), &png(32, 32, &upright(0)));
    let text = fault(&format!("images:{}", folder.join("flat").display()), &folder);
    assert!(
        text.ends_with("(pictures are there, but not in a sub-folder: its name is their class)"),
        "{text}"
    );

    for data in ["absent", "flat/a.png"].map(|name| folder.join(name)) {
        let text = image_set("mnist", Some(&data)).err().unwrap().to_string();
        assert_eq!(text, format!("--data {} is not a folder", data.display()));
    }
}

#[test]
fn sorted_images_of_ones_own_are_mixed_and_stay_with_their_labels() {
    let (_keep, folder) = folder();
    for class in 0..4_u8 {
        for i in 0..25 {
            put(&folder.join(format!("sorted/{class}/{i:02}.png")), &png(32, 32, &upright(class.into())));
        }
    }
    let name = format!("images:{}?test-every=2", folder.join("sorted").display());
    let set = image_set(&name, None).unwrap();
    assert_eq!((set.count(Split::Train).unwrap(), set.count(Split::Test).unwrap()), (Some(50), Some(50)));
    let first: Vec<_> = (0..20).map(|i| test_image(&set, i)).collect();
    let count = |class| first.iter().filter(|(_, label)| *label == Some(class)).count();
    assert!((0..4).all(|class| count(class) > 0), "{:?}", [0, 1, 2, 3].map(count));
    assert!(first.iter().all(|(image, label)| *image == upright(label.unwrap() as usize)));
    let classes = check(&set).unwrap().test.classes.unwrap();
    assert_eq!(classes, [12, 13, 12, 13], "every second is held out, as before the mixing");
    let again = image_set(&name, None).unwrap();
    assert_eq!(again.digest().unwrap(), set.digest().unwrap(), "always in the same order");
}

#[test]
fn class_folders_become_classes() {
    let (_keep, folder) = folder();
    let put = |path: &str, i: usize| put(&folder.join(path), &png(32, 32, &upright(i)));
    let open = |directory: &str| image_set(&format!("images:{}", folder.join(directory).display()), None);
    for class in ["cat", "dog"] {
        for i in 0..3 {
            put(&format!("what?dir/train/{class}/{i}.png"), i);
        }
        put(&format!("what?dir/val/{class}/0.png"), 9);
    }
    for empty in ["__MACOSX", "bird"] {
        std::fs::create_dir(folder.join("what?dir/train").join(empty)).unwrap();
    }
    let set = open("what?dir").unwrap();
    assert_eq!(
        (set.title(), set.classes()),
        ("what?dir", 2),
        "a question mark in a name, and two empty folders"
    );
    let report = check(&set).unwrap();
    assert_eq!((report.train.images, report.test.images, report.holdout), (6, 2, None));
    assert!(open("what?dir?test-every=3").err().unwrap().to_string().contains("have a test split"));
    put("what?dir/test/dog/0.png", 9);
    assert_eq!(open("what?dir").unwrap().count(Split::Test).unwrap(), Some(1), "test goes before val");
    put("what?dir/test/bird/0.png", 9);
    let text = open("what?dir").err().unwrap().to_string();
    assert!(text.ends_with("expected a class that the training split has, found 'bird'"), "{text}");
}

#[test]
fn labels_in_one_part_only_are_an_error_at_once() {
    let (_keep, folder) = folder();
    let directory = folder.join("mnist");
    for (lacks, file) in [("train", "train-images-idx3-ubyte"), ("t10k", "t10k-images-idx3-ubyte")] {
        write_mnist(&folder, false);
        std::fs::remove_file(directory.join(format!("{lacks}-labels-idx1-ubyte"))).unwrap();
        for name in ["mnist".to_owned(), format!("idx:{}", directory.display())] {
            let text = image_set(&name, Some(&folder)).err().unwrap().to_string();
            assert!(text.contains(&format!("{file}: expected labels in this ")), "{text}");
        }
    }
    let images: Vec<Vec<u8>> = (0..3).map(|i| png(32, 32, &upright(i))).collect();
    let file = |labels| Parquet { group: 9, ..Parquet::default() }.file("image", &images, labels);
    let (with, without) = (file(Some(&[1, 2, 3])), file(None));
    for (train, test, lacks) in [(&with, &without, "test.parquet"), (&without, &with, "train.parquet")] {
        put(&folder.join("svhn/train.parquet"), train);
        put(&folder.join("svhn/test.parquet"), test);
        for name in ["svhn".to_owned(), format!("parquet:{}", folder.join("svhn").display())] {
            let text = image_set(&name, Some(&folder)).err().unwrap().to_string();
            assert!(text.contains(&format!("{lacks}: expected labels in this ")), "{text}");
        }
    }
}
