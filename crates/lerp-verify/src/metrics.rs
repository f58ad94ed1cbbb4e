//! Checks of line drawing, the metrics on lines (mean distance and smoothness), and interpolation.

use std::f64::consts::FRAC_PI_4;

use candle_core::{DType, Device};
use lerp_data::{LineCanvas, Lines, line_label};
use lerp_eval::{LineBank, interpolation as interpolate, smoothness as path_smoothness};

use crate::{
    Result,
    checker::Checker,
    golden::{File, numbers},
};

/// The golden images of lines of one width.
struct DrawnLines {
    /// Name of the tensor with the images.
    images: &'static str,
    /// Name of the tensor with the angles.
    angles: &'static str,
    /// Width of the lines, pixels.
    width: f64,
}

/// Compares drawn lines with the golden images of the same angles.
fn draw_lines(checker: &mut Checker, file: &File, lines: &DrawnLines) -> Result<()> {
    let name = lines.images;
    let tolerance = checker.tolerance("metric_draw_line image")?.tol;
    let (_, side, _) = file.get(name)?.dims3()?;
    let images = file.numbers(name)?;
    for (angle, expected) in file.numbers(lines.angles)?.into_iter().zip(images.chunks(side * side)) {
        let canvas = LineCanvas { height: side, width: side, line_width: lines.width };
        let error = |angle: f64| difference(&lerp_data::draw_line(angle, canvas), expected);
        // The drawing is discontinuous at odd multiples of π/4, where the last bit of sine and cosine chooses the side.
        let eighths = (angle / FRAC_PI_4).round();
        let jump = eighths as i64 % 2 != 0 && (angle - eighths * FRAC_PI_4).abs() < 1e-15;
        let error = if jump {
            error(angle).min(error(angle - 1e-12)).min(error(angle + 1e-12))
        } else {
            error(angle)
        };
        checker.record(format!("{} {name} at {angle:.9}", file.stem), error, tolerance, "");
    }
    Ok(())
}

/// Checks the values of the file `metric_draw_line`.
pub fn draw_line(checker: &mut Checker, file: &File) -> Result<()> {
    for lines in [
        DrawnLines { images: "image", angles: "angle", width: 2.0 },
        DrawnLines { images: "image_16", angles: "angle_16", width: 2.0 },
        DrawnLines { images: "image_w3", angles: "angle_16", width: 3.0 },
    ] {
        draw_lines(checker, file, &lines)?;
    }
    let labels = file.numbers("label")?;
    let angles = file.numbers("angle")?;
    // The oracle gives an angle below zero the invalid class -1, where this program gives class 0.
    let differing = angles
        .iter()
        .zip(&labels)
        .filter(|(angle, label)| f64::from(line_label(**angle)) != label.max(0.0))
        .count();
    checker.record(format!("{} label", file.stem), differing as f64, 0.0, "");
    Ok(())
}

/// Checks that the golden images `x.stepS` in a configuration's common file are the lines at the golden angles
/// `angle.stepS`.
pub fn lines_of_step(checker: &mut Checker, file: &File, step: u64, stem: &str) -> Result<()> {
    let Some(angles) = file.find(&format!("angle.step{step}")) else { return Ok(()) };
    let x = file.get(&format!("x.step{step}"))?;
    let side = x.dim(2)?;
    let images = numbers(x)?;
    let mut worst: f64 = 0.0;
    for (angle, expected) in numbers(angles)?.into_iter().zip(images.chunks(side * side)) {
        // The golden images have single precision.
        let canvas = LineCanvas { height: side, width: side, line_width: Lines::LINE_WIDTH };
        let ours: Vec<f64> =
            lerp_data::draw_line(angle, canvas).iter().map(|v| f64::from(*v as f32)).collect();
        worst = worst.max(difference(&ours, expected));
    }
    let tolerance = checker.tolerance("metric_draw_line image")?.tol;
    // 1.2e-7 is one unit in the last place of an `f32` near 1.
    checker.record(
        format!("{stem} x.step{step}"),
        worst,
        tolerance.max(1.2e-7),
        "lines of the recorded angles",
    );
    Ok(())
}

/// Checks the values of a file `metric_line_eval_CASE`.
pub fn line_eval(checker: &mut Checker, file: &File) -> Result<()> {
    let bank = LineBank::default();
    let input = file.get("input")?.to_dtype(DType::F32)?;
    let (interpolations, positions, side, _) = input.dims4()?;
    let found = bank.evaluate(&input)?;
    let name = |what: &str| format!("{} {what}", file.stem);

    let distance = file.numbers("distance")?;
    let tolerance = checker.tolerance("metric_line_eval distance")?.tol;
    checker.record(name("distance"), difference(&found.distance, &distance), tolerance, "");

    // If two lines are equally near, either may be chosen.
    let gap = file.numbers("runner_up_gap")?;
    let pixels = numbers(&input)?;
    let (index, angle) = (file.numbers("bank_index")?, file.numbers("closest_angle")?);
    let (mut differing, mut ties, mut angle_error) = (0, 0, 0.0_f64);
    for i in 0..interpolations * positions {
        if gap[i] > 1e-9 {
            differing += usize::from(found.bank_index[i] as f64 != index[i]);
            angle_error = angle_error.max((found.closest_angle[i] - angle[i]).abs());
        } else {
            ties += 1;
            let image = &pixels[i * side * side..(i + 1) * side * side];
            differing +=
                usize::from((cosine_distance(image, found.closest_angle[i]) - distance[i]).abs() > 1e-9);
        }
    }
    let note = if ties == 0 { String::new() } else { format!("({ties} ties)") };
    checker.record(name("bank_index"), differing as f64, 0.0, note);
    checker.record(
        name("closest_angle"),
        angle_error,
        checker.tolerance("metric_line_eval closest_angle")?.tol,
        "",
    );

    let scores = file.numbers("smoothness")?;
    let tolerance = checker.tolerance("metric_line_eval smoothness")?.tol;
    let of_recorded: Vec<f64> = angle.chunks(positions).map(path_smoothness).collect();
    checker.record(
        name("smoothness"),
        difference(&of_recorded, &scores),
        tolerance,
        "of the recorded angles",
    );
    // The choice among tied lines changes the score; 0.03 is the spread of the oracle itself.
    let own_tolerance = if ties == 0 { tolerance } else { 0.03 };
    checker.record(
        name("smoothness"),
        difference(&found.smoothness, &scores),
        own_tolerance,
        "of our angles",
    );

    let tolerance = checker.tolerance("mean_distance, mean_smoothness")?;
    let mut mean = |what: &str, ours: f64, loose: f64| -> Result<()> {
        let expected = file.numbers(what)?[0];
        let error = difference(&[ours], &[expected]);
        let relative = if error <= tolerance.abs_floor { 0.0 } else { error / expected.abs() };
        checker.record(name(what), relative, tolerance.tol.max(loose), "");
        Ok(())
    };
    mean("mean_distance", found.mean_distance(), 0.0)?;
    mean("mean_smoothness", found.mean_smoothness(), if ties == 0 { 0.0 } else { 0.05 })
}

/// Checks the values of the file `metric_smoothness`.
pub fn smoothness(checker: &mut Checker, file: &File) -> Result<()> {
    let positions = file.get("angles")?.dim(1)?;
    let ours: Vec<f64> = file.numbers("angles")?.chunks(positions).map(path_smoothness).collect();
    let tolerance = checker.tolerance("metric_line_eval smoothness")?.tol;
    checker.record(
        format!("{} smoothness", file.stem),
        difference(&ours, &file.numbers("smoothness")?),
        tolerance,
        "",
    );
    Ok(())
}

/// Checks the values of the file `interpolation`: linear and spherical interpolations (`NETWORK.linear`,
/// `NETWORK.slerp`) between `NETWORK.start` and `NETWORK.end`.
pub fn interpolation(checker: &mut Checker, file: &File, device: &Device) -> Result<()> {
    let networks: Vec<String> =
        file.names("").filter_map(|n| n.strip_suffix(".start").map(str::to_owned)).collect();
    for network in networks {
        // The tensors stay in the oracle's layout, because the angle between flattened latents does not depend on
        // it.
        let get =
            |name: &str| -> Result<_> { Ok(file.get(&format!("{network}.{name}"))?.to_device(device)?) };
        let (start, end) = (get("start")?, get("end")?);
        for (name, ours) in [
            ("linear", interpolate::linear(&start, &end, 16)?),
            ("slerp", interpolate::slerp(&start, &end, 16)?),
        ] {
            let key = format!("{network}.{name}");
            let error = difference(&numbers(&ours)?, &file.numbers(&key)?);
            let tolerance = checker.tolerance("interpolation")?.tol;
            checker.record(format!("{} {key}", file.stem), error, tolerance, "");
        }
    }
    Ok(())
}

/// Returns the largest absolute difference; NaN equals NaN and differs infinitely from every number.
fn difference(ours: &[f64], expected: &[f64]) -> f64 {
    if ours.len() != expected.len() {
        return f64::INFINITY;
    }
    let errors = ours.iter().zip(expected).map(|(a, b)| match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) => (a - b).abs(),
        _ => f64::INFINITY,
    });
    errors.fold(0.0, f64::max)
}

/// Returns the cosine distance between an image and the line at `angle`, computed directly without the line bank's
/// optimisations.
fn cosine_distance(image: &[f64], angle: f64) -> f64 {
    let line = lerp_data::draw_line(angle, Lines::CANVAS);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    1.0 - dot(image, &line) / (dot(image, image) * dot(&line, &line)).sqrt()
}
