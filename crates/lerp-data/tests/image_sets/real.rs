//! Tests on the real image sets, in the folder that `LERP_DATA` names. Each is skipped where its set is missing.

use std::{env, path::PathBuf};

use lerp_data::{Report, check, contact_sheet, image_set};
use lerp_test::skip;

/// Returns the report of the dataset. If its files are missing, the test is skipped and the result is `None`.
fn report(name: &str) -> Option<Report> {
    let Some(folder) = env::var_os("LERP_DATA").map(PathBuf::from) else {
        skip(name, "LERP_DATA names no folder of datasets");
        return None;
    };
    if !folder.join(name).is_dir() {
        skip(name, &format!("{} has no folder '{name}'", folder.display()));
        return None;
    }
    let set = image_set(name, Some(&folder)).unwrap();
    assert!(contact_sheet(&set).unwrap().starts_with(b"\x89PNG"));
    Some(check(&set).unwrap())
}

fn near(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < tolerance), "{found:?} for {wanted:?}");
}

#[test]
fn mnist() {
    let Some(report) = report("mnist") else { return };
    assert_eq!((report.train.images, report.test.images), (60_000, 10_000));
    let counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949];
    assert_eq!(report.train.classes.unwrap(), counts);
    // The known mean is 0.1307 over 28x28 pixels; the black padding lowers it.
    near(&report.train.means, &[0.130_66 * 784.0 / 1024.0], 1e-5);
    // The digest is recorded with every run, so a change of it would make MNIST another dataset.
    assert_eq!(report.digest, "d5b690d4d42d9431f734f271795fdf0b9f7334b4a0a4d73285eba31dc5cbd0fc");
}

#[test]
fn cifar10() {
    let Some(report) = report("cifar10") else { return };
    assert_eq!((report.train.images, report.test.images), (50_000, 10_000));
    assert_eq!(report.train.classes.unwrap(), [5000; 10]);
    assert_eq!(report.test.classes.unwrap(), [1000; 10]);
    near(&report.train.means, &[0.491_40, 0.482_16, 0.446_53], 5e-6);
}

#[test]
fn celeba() {
    let Some(report) = report("celeba") else { return };
    assert!(report.train.images >= 5400 && report.train.classes.is_none());
    near(&report.train.means, &[0.55, 0.44, 0.39], 0.06);
    assert!(report.train.min < -1.0 && report.train.max > 1.0, "overshoot is kept");
}

#[test]
fn svhn() {
    let Some(report) = report("svhn") else { return };
    near(&report.train.means, &[0.44, 0.44, 0.47], 0.06);
}
