//! Lines against values of the paper's own line drawer.
//!
//! The recorded values are sparse copies in `tests/data`; `LERP_GOLDEN` may name a folder with the full files.

#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, env, f64::consts::FRAC_PI_4, path::PathBuf};

use candle_core::{Device, Tensor, safetensors};
use lerp_data::{draw_line, line_label};

fn load(file: &str) -> HashMap<String, Tensor> {
    let small = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let folder = env::var_os("LERP_GOLDEN").map_or_else(small, PathBuf::from);
    safetensors::load(folder.join(file), &Device::Cpu).unwrap()
}

/// The images `name`, stored whole or as lit pixels: how many an image has, where they are and their values.
fn images(tensors: &HashMap<String, Tensor>, name: &str, pixels: usize) -> Vec<Vec<f64>> {
    if let Some(whole) = tensors.get(name) {
        return whole.flatten_from(1).unwrap().to_vec2().unwrap();
    }
    let part = |part: &str| &tensors[&format!("{name}.{part}")];
    let mut at = part("pixel").to_vec1::<u32>().unwrap().into_iter();
    let mut value = part("value").to_vec1::<f64>().unwrap().into_iter();
    let counts = part("count").to_vec1::<u32>().unwrap();
    let image = |count: u32| {
        let mut image = vec![-1.0; pixels];
        for _ in 0..count {
            image[at.next().unwrap() as usize] = value.next().unwrap();
        }
        image
    };
    counts.into_iter().map(image).collect()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn lines_equal_the_references() {
    let golden = load("metric_draw_line.safetensors");
    let mut jumps = 0;
    for (name, angles, side, line_width, count) in [
        ("image", "angle", 32, 2.0, 64),
        ("image_16", "angle_16", 16, 2.0, 10),
        ("image_w3", "angle_16", 32, 3.0, 10),
    ] {
        let angles = golden[angles].to_vec1::<f64>().unwrap();
        let images = images(&golden, name, side * side);
        assert_eq!((angles.len(), images.len()), (count, count));
        for (angle, expected) in angles.iter().zip(&images) {
            let error = |angle: f64| difference(&draw_line(angle, side, side, line_width), expected);
            // At exact odd multiples of π/4 the drawing jumps, and the last bit of sine and cosine chooses the side.
            let eighths = (angle / FRAC_PI_4).round();
            let mut smallest = error(*angle);
            if (eighths as i64) % 2 != 0 && (angle - eighths * FRAC_PI_4).abs() < 1e-15 {
                smallest = smallest.min(error(angle - 1e-12)).min(error(angle + 1e-12));
                jumps += 1;
            }
            assert!(smallest < 1e-9, "{name} at {angle}: {smallest:e}");
        }
    }
    assert_eq!(jumps, 7, "odd multiples of π/4 among the angles");
}

#[test]
fn labels_equal_the_references() {
    let golden = load("metric_draw_line.safetensors");
    let angles = golden["angle"].to_vec1::<f64>().unwrap();
    let labels = golden["label"].to_vec1::<i64>().unwrap();
    for (angle, expected) in angles.into_iter().zip(labels) {
        // The reference numbers an angle below zero -1, which is no class.
        assert_eq!(i64::from(line_label(angle)), expected.max(0), "label of {angle}");
    }
}
