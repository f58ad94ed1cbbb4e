//! Helpers for tests of models that were trained in other software.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use candle_core::{
    Device, Tensor,
    safetensors::{load, save},
};
use lerp_train::Run;
use serde_json::{Value, json};

use super::{parts, run, runs};

/// Arrays by name.
pub type Arrays = HashMap<String, Tensor>;

/// Returns the final values of a run's metrics by name.
pub fn values(run: &Run) -> HashMap<String, f64> {
    run.metrics().unwrap().0.into_iter().map(|row| (row.metric, row.value)).collect()
}

/// Returns the metrics that `lerp eval` prints for a run.
pub fn evaluated(dir: &Path) -> HashMap<String, f64> {
    let (code, text, errors) = parts(&run("eval --json", &[dir]));
    assert_eq!(code, 0, "{errors}");
    let values: HashMap<String, Option<f64>> = serde_json::from_str(&text).unwrap();
    values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect()
}

/// Returns the only run in a sweep's folder that was scored or imported.
pub fn foreign(sweep: &Path) -> Run {
    let all = runs(sweep).into_iter().map(|dir| Run::read(&dir).unwrap());
    let mut foreign: Vec<Run> = all.filter(|run| !run.record.cell.origin.is_trained()).collect();
    assert_eq!(foreign.len(), 1);
    foreign.remove(0)
}

/// Asserts that two sets of metrics are equal bit for bit; NaN equals NaN.
pub fn assert_same_values(ours: &HashMap<String, f64>, theirs: &HashMap<String, f64>) {
    let bits = |values: &HashMap<String, f64>| -> BTreeMap<String, Option<u64>> {
        let defined = |value: f64| (!value.is_nan()).then(|| value.to_bits());
        values.iter().map(|(name, value)| (name.clone(), defined(*value))).collect()
    };
    assert_eq!(bits(ours), bits(theirs));
}

/// Writes answers and their record into the folder of a task.
pub fn write(task: &Path, decoded: &Arrays, latents: &Arrays, record: &Value) {
    save(decoded, task.join("decoded.safetensors")).unwrap();
    save(latents, task.join("latents.safetensors")).unwrap();
    let description: Value = serde_json::from_slice(&fs::read(task.join("task.json")).unwrap()).unwrap();
    let mut all = json!({ "task": description["digest"] });
    all.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
    fs::write(task.join("record.json"), all.to_string()).unwrap();
}

/// Returns decoded images and latents of a model whose latents are the images themselves: reconstructions are perfect,
/// and interpolations are pixel blends.
pub fn blend(task: &Path) -> (Arrays, Arrays) {
    let images = load(task.join("images.safetensors"), &Device::Cpu).unwrap();
    let between = |left: &str, right: &str| {
        let at = |i: usize| {
            let t = i as f64 / 15.0;
            ((&images[left] * (1.0 - t)).unwrap() + (&images[right] * t).unwrap()).unwrap()
        };
        Tensor::stack(&(0..16).map(at).collect::<Vec<_>>(), 1).unwrap()
    };
    let (pairs, figure) = (between("left", "right"), between("figure_left", "figure_right"));
    let latents = HashMap::from([("between".to_owned(), pairs.flatten_from(2).unwrap())]);
    let test = images["test"].clone();
    let decoded =
        HashMap::from([("between".into(), pairs), ("figure".into(), figure), ("test".into(), test)]);
    (decoded, latents)
}
