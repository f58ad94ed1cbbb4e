//! Tests that `lerp verify` passes with the program's golden values and detects wrong ones.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor, safetensors};

use crate::common::{parts, run, succeed};

/// Asserts that `lerp verify` with these options compares every golden value, and that all of them pass.
fn every_golden_value_passes(options: &str) {
    let text = succeed(&format!("verify --device cpu {options}"), &[]);
    assert!(!text.contains("MISS") && !text.contains("not compared"), "{text}");
    assert!(text.lines().count() > 3000, "every value has its line");
}

#[test]
fn every_golden_value_passes_with_fused_kernels() {
    every_golden_value_passes("");
}

#[test]
fn every_golden_value_passes_with_the_operations_of_candle() {
    every_golden_value_passes("--composed");
}

/// Writes a folder of golden values with one file of the program's own, changed by `change`.
fn golden_of(stem: &str, dir: &Path, change: &dyn Fn(&mut HashMap<String, Tensor>)) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lerp-verify/golden");
    let manifest = fs::read_to_string(packed.join("manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["files"] = serde_json::json!({ format!("{stem}.safetensors"): {} });
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let file = fs::File::open(packed.join(format!("{stem}.safetensors.gz"))).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
    let mut tensors = safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
    change(&mut tensors);
    safetensors::save(&tensors, dir.join(format!("{stem}.safetensors"))).unwrap();
}

fn golden(dir: &Path, change: &dyn Fn(&mut HashMap<String, Tensor>)) {
    golden_of("metric_smoothness", dir, change);
}

#[test]
fn every_golden_value_of_clustering_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let verify = || parts(&run("verify --device cpu --golden", &[dir.path()]));
    let names = std::cell::RefCell::new(Vec::new());
    golden_of("cluster", dir.path(), &|tensors| names.borrow_mut().extend(tensors.keys().cloned()));
    assert_eq!(verify().0, 0);
    let mut names = names.into_inner();
    // The inputs are checked indirectly through the results.
    names.retain(|name| !["latents", "labels"].iter().any(|part| name.ends_with(part)));
    names.retain(|name| !(name.starts_with("match_") && name.ends_with("assign")));
    assert_eq!(names.len(), 20);
    for name in names {
        golden_of("cluster", dir.path(), &|tensors| {
            let tensor = &tensors[&name];
            let mut values: Vec<f64> =
                tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let largest = values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
            // Changes the last element: an integer becomes another cluster, a float is off by a hundredth of the
            // largest value.
            let last = values.last_mut().unwrap();
            *last = if tensor.dtype() == DType::I64 { (*last + 1.0) % 10.0 } else { *last + largest / 100.0 };
            let changed = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
            tensors.insert(name.clone(), changed.to_dtype(tensor.dtype()).unwrap());
        });
        let (code, text, _) = verify();
        assert_eq!((code, text.contains(&format!("MISS cluster {name}"))), (1, true), "{name}: {text}");
    }
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

    // The program's own golden values, read as compressed files from the source folder.
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lerp-verify/golden");
    let (code, text, errors) = parts(&run("verify --device cpu --quiet --filter metric_ --golden", &[&own]));
    assert_eq!((code, text.contains(" 0 failed")), (0, true), "{text} {errors}");

    let path = dir.path().join("metric_smoothness.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
    let (code, _, errors) = verify();
    assert_eq!(code, 2);
    assert!(errors.contains("cut short or damaged") && errors.lines().count() == 1, "{errors}");
    fs::remove_file(path).unwrap();
    fs::write(dir.path().join("metric_smoothness.safetensors.gz"), "no gzip").unwrap();
    let (code, _, errors) = verify();
    assert!(code == 2 && errors.contains(".gz is cut short or damaged"), "{errors}");
}
