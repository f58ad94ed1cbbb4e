//! Known scores of artificial interpolations, and the time of an evaluation.

#![allow(clippy::unwrap_used)]

use std::{
    f64::consts::{PI, TAU},
    sync::LazyLock,
    time::Instant,
};

use candle_core::{Device, Tensor};
use lerp_core::Draws;
use lerp_data::Lines;
use lerp_eval::{LineBank, LineMetrics, interpolation};

/// The bank of the benchmark, which takes some time to build.
static BANK: LazyLock<LineBank> = LazyLock::new(LineBank::default);
const PAIRS: usize = 256;
const POSITIONS: usize = 16;

fn draws() -> Draws {
    Draws::new(11, &Device::Cpu)
}

/// Angles of 256 random pairs, radians.
fn ends() -> (Vec<f64>, Vec<f64>) {
    let angles: Vec<f64> = draws().uniforms_f64("angle", 2 * PAIRS).iter().map(|u| u * TAU).collect();
    (angles[..PAIRS].to_vec(), angles[PAIRS..].to_vec())
}

/// Returns 256 interpolations; `path(a, b, t)` is the angle at the fraction `t` between the ends `a` and `b`.
fn paths(path: impl Fn(f64, f64, f64) -> f64) -> Tensor {
    let (from, to) = ends();
    let fraction = |i: usize| i as f64 / (POSITIONS - 1) as f64;
    let angles: Vec<f64> = from
        .iter()
        .zip(&to)
        .flat_map(|(&a, &b)| (0..POSITIONS).map(move |i| (a, b, fraction(i))))
        .map(|(a, b, t)| path(a, b, t).rem_euclid(TAU))
        .collect();
    let images = Lines::images(&angles, &Device::Cpu).unwrap();
    images.reshape((PAIRS, POSITIONS, 32, 32, 1)).unwrap()
}

/// Turns evenly along the shorter arc.
fn oracle(a: f64, b: f64, t: f64) -> f64 {
    a + ((b - a + PI).rem_euclid(TAU) - PI) * t
}

fn near(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value:e} is not {expected:e}");
}

#[test]
fn the_correct_interpolation_scores_best() {
    let m = BANK.evaluate(&paths(oracle)).unwrap();
    near(m.mean_distance(), 1.7e-7, 0.3e-7);
    near(m.mean_smoothness(), 0.001, 0.001);
    near(m.mean_detour(), 0.0, 1e-9);
    assert_eq!(m.valid_fraction(), 1.0);
}

#[test]
fn the_longer_arc_is_smooth_but_a_detour() {
    let long = |a: f64, b: f64, t: f64| {
        let short = (b - a + PI).rem_euclid(TAU) - PI;
        a + (short - TAU * short.signum()) * t
    };
    let m = BANK.evaluate(&paths(long)).unwrap();
    near(m.mean_smoothness(), 0.0, 1e-3);
    // The shorter arc is π/2 long on average, the longer one 3π/2.
    near(m.mean_detour(), 2.0, 0.3);
}

#[test]
fn a_jump_scores_best_in_distance_and_worst_in_smoothness() {
    let m = BANK.evaluate(&paths(|a, b, t| if t < 0.5 { a } else { b })).unwrap();
    near(m.mean_distance(), 1.8e-7, 0.6e-7);
    near(m.mean_smoothness(), 0.933, 0.002);
}

#[test]
fn blended_pixels_score_as_published() {
    let (from, to) = ends();
    let image = |angles: &[f64]| Lines::images(angles, &Device::Cpu).unwrap();
    let blend =
        interpolation::linear(&image(&from), &image(&to), POSITIONS).unwrap().transpose(0, 1).unwrap();
    let m = BANK.evaluate(&blend).unwrap();
    near(m.mean_distance(), 6.3e-3, 0.3e-3);
    near(m.mean_smoothness(), 0.89, 0.02);
}

#[test]
fn pixel_noise_and_black_images_score_as_known() {
    let images = paths(oracle);
    for (deviation, distance) in [(0.01, 5.1e-5), (0.02, 2.0e-4), (0.05, 1.27e-3)] {
        let noise = (draws().normal("noise", images.shape()).unwrap() * deviation).unwrap();
        let m = BANK.evaluate(&(&images + noise).unwrap()).unwrap();
        near(m.mean_distance(), distance, 0.03 * distance);
    }
    let black = (images.zeros_like().unwrap() - 1.0).unwrap();
    let m = BANK.evaluate(&black).unwrap();
    near(m.mean_distance(), 3.07e-2, 0.01e-2);
    assert!(m.mean_smoothness().is_nan());
}

#[test]
fn scores_are_invariant_under_rotation_by_whole_lines_of_the_bank() {
    let bank = LineBank::new(360);
    let at = |turn: usize| -> LineMetrics {
        let angles: Vec<f64> = [3, 9, 40, 41, 80, 170, 10, 10, 12, 15, 300, 200]
            .iter()
            .map(|i| bank.angles()[(i + turn) % 360])
            .collect();
        let images = Lines::images(&angles, &Device::Cpu).unwrap().reshape((2, 6, 32, 32)).unwrap();
        bank.evaluate(&images).unwrap()
    };
    let still = at(0);
    assert_eq!(still.bank_index, [3, 9, 40, 41, 80, 170, 10, 10, 12, 15, 300, 200]);
    for turn in [1, 90, 200, 359] {
        let turned = at(turn);
        near(turned.mean_distance(), 0.0, 1e-12);
        near(turned.mean_smoothness(), still.mean_smoothness(), 1e-9);
        near(turned.mean_detour(), still.mean_detour(), 1e-9);
    }
}

/// Compares 4096 images, as many as in one evaluation of a run, and checks some of them against an exhaustive dense
/// search.
#[test]
fn an_evaluation_is_exact_and_its_time_is_printed() {
    let start = Instant::now();
    let bank = LineBank::default();
    let built = start.elapsed();
    let images = paths(oracle);
    let noise = (draws().normal("noise", images.shape()).unwrap() * 0.1).unwrap();
    let images = (images + noise).unwrap();
    let start = Instant::now();
    let m = bank.evaluate(&images).unwrap();
    println!(
        "bank {built:?}, {} images against {} lines {:?}",
        m.distance.len(),
        bank.angles().len(),
        start.elapsed()
    );

    let unit = |v: &[f32]| {
        let norm = v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        v.iter().map(|&x| f64::from(x) / norm).collect::<Vec<_>>()
    };
    let pixels = images.flatten_to(1).unwrap().flatten_from(1).unwrap();
    for i in (0..4096).step_by(173) {
        let image = unit(&pixels.get(i).unwrap().to_vec1::<f32>().unwrap());
        let distances = bank.angles().iter().map(|&angle| {
            let line = lerp_data::draw_line(angle, Lines::CANVAS);
            let norm = line.iter().map(|x| x * x).sum::<f64>().sqrt();
            1.0 - line.iter().zip(&image).map(|(a, b)| a * b).sum::<f64>() / norm
        });
        let (index, distance) = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert_eq!(m.bank_index[i], index, "image {i}");
        near(m.distance[i], distance, 1e-12);
    }
}
