//! Tests of `lerp data`: listing and checking image sets, contact sheets, and messages about missing files.

use std::fs;

use crate::common::{idx, lerp, parts};

#[test]
fn an_image_set_is_listed_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut lerp = lerp();
        // Keeps the test out of the user's own cache.
        lerp.args(words).arg("--data").arg(dir.path()).env("HF_HUB_CACHE", dir.path().join("hub"));
        parts(&lerp.output().unwrap())
    };
    let (code, text, _) = run(&["data", "list"]);
    assert_eq!(code, 0);
    assert!(text.contains("lines    drawn, needs no files"), "{text}");
    assert!(text.contains("mnist    not here: mnist: found no images in "), "{text}");

    let folder = dir.path().join("mnist");
    fs::create_dir(&folder).unwrap();
    for (part, n) in [("train", 30), ("t10k", 20)] {
        let values = |n: u32| (0..n).map(|i| (i % 10) as u8);
        idx(&folder.join(format!("{part}-images-idx3-ubyte")), &[n, 28, 28], values(n * 28 * 28));
        idx(&folder.join(format!("{part}-labels-idx1-ubyte")), &[n], values(n));
    }
    let (_, text, _) = run(&["data", "list"]);
    let said = format!("mnist    32x32x1 images, 10 classes, in {}", folder.display());
    assert!(text.contains(&said), "{text}");

    let sheet = dir.path().join("sheet.png");
    let (code, text, errors) = run(&["data", "check", "mnist", "--sheet", sheet.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("train-images-idx3-ubyte") && text.contains("23536 bytes  sha256 "), "{text}");
    assert!(
        text.contains("train    30 images") && text.contains("10 classes: 3 3 3 3 3 3 3 3 3 3"),
        "{text}"
    );
    assert!(fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));

    // Damaged and absent files are an error of one sentence, with exit code 2.
    fs::write(folder.join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0]).unwrap();
    for (name, said) in
        [("mnist", "train-labels-idx1-ubyte: expected more bytes"), ("svhn", "train_32x32.mat")]
    {
        let (code, _, errors) = run(&["data", "check", name]);
        assert_eq!((code, errors.lines().count(), errors.contains(said)), (2, 1, true), "{errors}");
    }
}

#[test]
fn classes_are_told_by_name_and_what_is_not_read_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut picture = Vec::new();
    let encoder = png::Encoder::new(&mut picture, 4, 4);
    encoder.write_header().unwrap().write_image_data(&[9; 16]).unwrap();
    for (class, n) in [("cat", 3), ("dog\u{1b}[2J", 2)] {
        for i in 0..n {
            let path = dir.path().join(format!("pets/{class}/more/{i}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &picture).unwrap();
        }
    }
    fs::write(dir.path().join("pets/cat/notes.txt"), "none").unwrap();
    let name = format!("images:{}", dir.path().join("pets").display());
    let (code, text, errors) = parts(&lerp().args(["data", "check", &name]).output().unwrap());
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(
        text.contains(r"         2 classes: cat: 2, dog\u{1b}[2J: 1") && !text.contains('\u{1b}'),
        "{text}"
    );
    assert!(text.contains("not read 1 file (cat/notes.txt): no image of a format that is read"), "{text}");
    assert!(text.contains("one of every 10 images of a class is held out"), "{text}");

    fs::remove_dir_all(dir.path().join("pets/cat")).unwrap();
    let (_, text, _) = parts(&lerp().args(["data", "check", &name]).output().unwrap());
    assert!(text.contains("         1 class: dog"), "{text}");

    // The reason why a file cannot be read is printed once.
    fs::create_dir_all(dir.path().join("cifar10")).unwrap();
    fs::write(dir.path().join("cifar10/data_batch_1.bin"), [0; 3073]).unwrap();
    let check = lerp().args(["data", "check", "cifar10", "--data"]).arg(dir.path()).output().unwrap();
    let (code, _, errors) = parts(&check);
    assert_eq!((code, errors.matches("(os error 2)").count()), (2, 1), "{errors}");
}
