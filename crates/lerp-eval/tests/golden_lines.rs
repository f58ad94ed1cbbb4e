//! The lines metric against values of the paper's own metric code.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{Device, Tensor};
use common::{Tensors, load};
use lerp_data::draw_line;
use lerp_eval::{LineBank, smoothness};

const CASES: [&str; 12] = [
    "abrupt",
    "all_nan",
    "correct",
    "data_space",
    "full_turn",
    "mixed_nan",
    "noisy",
    "overshooting",
    "pure_noise",
    "short",
    "unrealistic",
    "wrap_around",
];

/// The images, stored whole or as distinct images of lit pixels: how many, where they are and their values.
fn input(tensors: &Tensors) -> Tensor {
    if let Some(whole) = tensors.get("input") {
        return whole.clone();
    }
    let indices = |name: &str| tensors[name].to_vec1::<u32>().unwrap();
    let mut pixel = indices("input.pixel").into_iter();
    let mut value = tensors["input.value"].to_vec1::<f32>().unwrap().into_iter();
    let distinct: Vec<Vec<f32>> = indices("input.count")
        .into_iter()
        .map(|count| {
            let mut image = vec![-1.0; 1024];
            for _ in 0..count {
                image[pixel.next().unwrap() as usize] = value.next().unwrap();
            }
            image
        })
        .collect();
    let pixels: Vec<f32> =
        indices("input.image").iter().flat_map(|&i| distinct[i as usize].clone()).collect();
    let (interpolations, positions) = tensors["bank_index"].dims2().unwrap();
    Tensor::from_vec(pixels, (interpolations, positions, 32, 32), &Device::Cpu).unwrap()
}

fn reals(tensors: &Tensors, name: &str) -> Vec<f64> {
    tensors[name].flatten_all().unwrap().to_vec1().unwrap()
}

fn same(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() < tolerance || a.is_nan() && b.is_nan()
}

/// Cosine distance without any of the bank's short cuts.
fn plain_distance(image: &[f32], angle: f64) -> f64 {
    let line = draw_line(angle, 32, 32, 2.0);
    let image: Vec<f64> = image.iter().map(|&v| f64::from(v)).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    1.0 - dot(&image, &line) / (dot(&image, &image) * dot(&line, &line)).sqrt()
}

#[test]
fn distances_and_nearest_lines_equal_the_references() {
    let bank = LineBank::default();
    let (mut images, mut ties, mut means) = (0, 0, 0);
    for case in CASES {
        let golden = load(&format!("metric_line_eval_{case}.safetensors"));
        let input = input(&golden);
        let found = bank.evaluate(&input).unwrap();
        let pixels = input.flatten_to(1).unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        let index = golden["bank_index"].flatten_all().unwrap().to_vec1::<i64>().unwrap();
        let angle = reals(&golden, "closest_angle");
        let gap = reals(&golden, "runner_up_gap");
        assert_eq!(found.distance.len(), pixels.len());
        for (i, distance) in reals(&golden, "distance").into_iter().enumerate() {
            images += 1;
            assert!(same(found.distance[i], distance, 1e-9), "{case} {i}: {} {distance}", found.distance[i]);
            let plain = plain_distance(&pixels[i], found.closest_angle[i]);
            assert!((found.distance[i] - plain).abs() < 1e-12, "{case} {i}: {plain}");
            // Of equally near lines rounding chooses one; that it is as near was just checked.
            if gap[i] > 1e-9 {
                assert_eq!(found.bank_index[i] as i64, index[i], "{case} {i}");
                assert!(same(found.closest_angle[i], angle[i], 1e-12), "{case} {i}");
            } else {
                ties += 1;
            }
        }
        // Blended pixels are equally near to two mirrored lines, and the choice moves the score by up to 0.03.
        let tolerance = if case == "data_space" { 0.03 } else { 1e-9 };
        if golden.contains_key("smoothness") {
            let scores = reals(&golden, "smoothness");
            assert_eq!(scores.len(), found.smoothness.len());
            for (i, (score, angles)) in scores.iter().zip(angle.chunks(found.positions)).enumerate() {
                let ours = found.smoothness[i];
                assert!(same(ours, *score, tolerance), "{case} {i}: {ours} {score}");
                assert!(same(smoothness(angles), *score, 1e-9), "{case} {i}: of the recorded angles");
            }
        }
        if golden.contains_key("mean_distance") {
            means += 1;
            let mean = |name: &str| f64::from(golden[name].to_vec1::<f32>().unwrap()[0]);
            let distance = mean("mean_distance");
            assert!(same(found.mean_distance(), distance, 1e-9_f64.max(1e-5 * distance)), "{case}");
            let score = mean("mean_smoothness");
            let tolerance = if case == "data_space" { 0.03 } else { 1e-9_f64.max(1e-5 * score) };
            assert!(same(found.mean_smoothness(), score, tolerance), "{case}: {score}");
        }
    }
    assert!(images >= 330 && means >= 10, "{images} images, {means} means");
    assert_eq!(ties, 7, "only blended pixels tie");
}

#[test]
fn smoothness_equals_the_references() {
    let golden = load("metric_smoothness.safetensors");
    let scores = reals(&golden, "smoothness");
    assert_eq!(scores.len(), 10);
    for (angles, score) in reals(&golden, "angles").chunks(4).zip(scores) {
        assert!(same(smoothness(angles), score, 1e-9), "{angles:?}: {} {score}", smoothness(angles));
    }
}
