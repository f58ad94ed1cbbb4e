//! `lerp verify` passes on its own values and notices wrong ones.

#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::HashMap, fs, path::Path};

use candle_core::{Device, Tensor, safetensors};
use common::{parts, run};

#[test]
fn every_golden_value_passes_in_both_forms() {
    for form in ["", "--composed"] {
        let (code, text, errors) = parts(&run(&format!("verify --device cpu {form}"), &[]));
        assert_eq!(code, 0, "{text}{errors}");
        assert!(!text.contains("MISS") && !text.contains("not compared"), "{text}");
        assert!(text.lines().count() > 3000, "every value has its line");
    }
}

/// The part of the program's own values that `metric_smoothness` needs, with a change.
fn golden(dir: &Path, change: &dyn Fn(&mut HashMap<String, Tensor>)) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let manifest = fs::read_to_string(packed.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["files"] = serde_json::json!({ "metric_smoothness.safetensors": {} });
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let file = fs::File::open(packed.join("metric_smoothness.safetensors.gz")).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
    let mut tensors = safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
    change(&mut tensors);
    safetensors::save(&tensors, dir.join("metric_smoothness.safetensors")).unwrap();
}

#[test]
fn wrong_missing_unknown_and_damaged_values_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let verify = || parts(&run("verify --device cpu --golden", &[dir.path()]));
    golden(dir.path(), &|_| ());
    let (code, text, _) = verify();
    assert_eq!((code, text.contains("1 passed, 0 failed")), (0, true), "{text}");

    golden(dir.path(), &|tensors| {
        let wrong = (&tensors["smoothness"] + 1e-6).unwrap();
        tensors.insert("smoothness".into(), wrong);
    });
    let (code, text, _) = verify();
    assert_eq!((code, text.contains("MISS metric_smoothness smoothness")), (1, true), "{text}");

    golden(dir.path(), &|tensors| {
        tensors.insert("more".into(), tensors["angles"].clone());
    });
    let (code, text, _) = verify();
    assert_eq!(
        (code, text.contains("metric_smoothness more") && text.contains("not compared")),
        (1, true),
        "{text}"
    );

    golden(dir.path(), &|tensors| {
        tensors.remove("smoothness");
    });
    let (code, _, errors) = verify();
    assert_eq!((code, errors.contains("has no tensor 'smoothness'")), (2, true), "{errors}");

    let path = dir.path().join("metric_smoothness.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
    let (code, _, errors) = verify();
    assert_eq!(code, 2);
    assert!(errors.contains("cut short or damaged") && errors.lines().count() == 1, "{errors}");
}
