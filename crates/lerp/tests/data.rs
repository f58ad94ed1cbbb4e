//! `lerp data` says what is there, shows it, and says what to put where.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::{idx, lerp, parts};

#[test]
fn an_image_set_is_listed_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut lerp = lerp();
        // Not in the user's own cache.
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

    // Broken files and absent ones are one sentence, and exit code 2.
    fs::write(folder.join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0]).unwrap();
    for (name, said) in
        [("mnist", "train-labels-idx1-ubyte: expected more bytes"), ("svhn", "train_32x32.mat")]
    {
        let (code, _, errors) = run(&["data", "check", name]);
        assert_eq!((code, errors.lines().count(), errors.contains(said)), (2, 1, true), "{errors}");
    }
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_build_without_the_hubs_client_says_how_to_get_one() {
    let (code, _, errors) = parts(&lerp().args(["data", "fetch", "mnist"]).output().unwrap());
    assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");
    assert!(
        errors.starts_with("error: this build cannot download: `cargo xtask data fetch mnist`"),
        "{errors}"
    );
}
