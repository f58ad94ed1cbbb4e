//! Tests of `lerp data fetch` with a local server, selected by the environment variables that all clients of the
//! Hugging Face hub use.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../lerp-data/tests/common/mod.rs"]
mod formats;
#[path = "../../lerp-data/tests/common/hub.rs"]
mod server;

use std::{path::Path, process::Command};

use common::{lerp, parts};
use formats::{Parquet, png};
use server::{Fault, Hub, REVISION, TEST, TRAIN, files_below};

fn hub(fault: Fault) -> Hub {
    let file = |n: usize| {
        let images: Vec<_> = (0..n).map(|i| png(28, 28, &[i as u8; 28 * 28 * 3])).collect();
        Parquet { group: 20, ..Parquet::default() }.file("image", &images, Some(&vec![3; n]))
    };
    Hub::start(fault, &[(TRAIN, file(20)), (TEST, file(5))])
}

/// Returns the command `lerp data ...` with the server as the hub and without the user's own settings.
fn data(words: &[&str], server: &Hub, home: &Path) -> Command {
    let mut command = lerp();
    for variable in
        ["LERP_DATA", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "ALL_PROXY"]
    {
        command.env_remove(variable);
    }
    command.arg("data").args(words).env("HF_ENDPOINT", &server.endpoint).env("HF_HOME", home);
    command
}

#[test]
fn an_image_set_is_downloaded_and_then_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = hub(Fault::Nothing);
    let run = |words: &[&str]| parts(&data(words, &server, dir.path()).output().unwrap());

    let (code, _, errors) =
        parts(&data(&["fetch", "mnist"], &server, dir.path()).env("HF_HUB_OFFLINE", "1").output().unwrap());
    assert_eq!((code, errors.lines().count()), (2, 1), "{errors}");
    assert!(errors.contains("HF_HUB_OFFLINE forbids"), "{errors}");

    let (code, text, errors) = run(&["fetch", "mnist"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    let directory = dir.path().join(format!("hub/datasets--ylecun--mnist/snapshots/{REVISION}/mnist"));
    let source = format!("ylecun/mnist at {REVISION}, in {}", directory.display());
    assert!(
        text.starts_with("mnist: 2 files, ") && text.contains(&format!("mnist was downloaded: {source}")),
        "{text}"
    );

    let (_, text, _) = run(&["list"]);
    assert!(text.contains(&format!("mnist    32x32x1 images, 10 classes, from the hub, {source}")), "{text}");
    let (code, text, errors) = run(&["check", "mnist"]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("train    20 images") && text.contains("test     5 images"), "{text}");

    // A cached image set needs no network.
    server.fault(Fault::Absent);
    let mut offline = data(&["fetch", "mnist"], &server, dir.path());
    let (code, text, _) = parts(&offline.env("HF_HUB_OFFLINE", "1").output().unwrap());
    assert!(code == 0 && text.contains(&format!("mnist was already here: {source}")), "{text}");
}

#[test]
fn a_failed_download_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let server = hub(Fault::WrongBytes);
    let run = |words: &[&str]| parts(&data(words, &server, dir.path()).output().unwrap());
    let (code, _, errors) = run(&["fetch", "mnist"]);
    assert_eq!((code, errors.lines().count()), (1, 1), "{errors}");
    assert!(errors.starts_with(&format!("error: {TRAIN} came with SHA-256 ")), "{errors}");
    assert!(!files_below(dir.path()).iter().any(|name| name.contains("train")));
    for (name, said) in [("lines", "lines are drawn"), ("mnsit", "did you mean 'mnist'?")] {
        let (code, _, errors) = run(&["fetch", name]);
        assert_eq!((code, errors.lines().count(), errors.contains(said)), (2, 1, true), "{errors}");
    }
}
