//! Figure 2: examples of good and bad interpolations between lines, with their metrics. It does not depend on any run.

use std::f64::consts::{PI, TAU};

use candle_core::{Device, Tensor};
use lerp_data::{Lines, draw_line};
use lerp_eval::LineBank;
use lerp_train::FIGURE_3_ANGLES;

use super::{
    Drawn,
    rows::{Headings, Strip, picture},
};
use crate::{
    Error, Result,
    text::{number, two_digits},
};

const WHAT: &str = "figure 2";
/// The number of images in a row.
const COUNT: usize = 16;
const SIDE: usize = Lines::SIDE;

/// The order of the lines in Figure 2a. The paper's own order is not known, so this one was shuffled once.
const MIXED: [usize; COUNT] = [9, 2, 14, 5, 0, 11, 7, 3, 15, 10, 1, 12, 6, 4, 13, 8];

/// The rows: letter, name, and a description.
const CASES: [(char, &str, &str); 6] = [
    ('a', "Lines", "Lines at 16 angles all around, in a fixed mixed order"),
    ('b', "Correct", "The line turns from 5π/7 to 3π/2 at an even pace"),
    ('c', "Data space", "The pixels of the two lines are blended"),
    ('d', "Abrupt", "Half-way the first line is exchanged for the second"),
    ('e', "Overshooting", "The line turns at an even pace, but the long way around"),
    ('f', "Unrealistic", "The line turns at an even pace, blurred and brightened in between"),
];

/// Returns the letters of the rows.
pub fn letters() -> impl Iterator<Item = char> {
    CASES.iter().map(|(letter, ..)| *letter)
}

/// Draws all rows with their metrics or, with `only`, the row of that letter without metrics.
pub fn draw(only: Option<char>) -> Result<Option<Drawn<'static>>> {
    let cases = || CASES.iter().filter(|(letter, ..)| only.is_none_or(|only| only == *letter));
    let strip = |letter: char| Strip::new(COUNT, SIDE, images(letter).into_iter().map(|v| v as f32));
    let name =
        |letter: char, name: &str| if only.is_some() { name.into() } else { format!("({letter}) {name}") };
    let rows: Vec<(String, Strip)> =
        cases().map(|(letter, case, _)| (name(*letter, case), strip(*letter))).collect();
    let mut picture = picture(WHAT, &rows, Headings::None)?;
    let scale = "Gray from -1, black, to 1, white. Drawn, not trained.";
    let caption = if let (Some(letter), Some((.., how))) = (only, cases().next()) {
        format!("Figure 2{letter}. {how}. {scale}")
    } else {
        let bank = LineBank::default();
        let scores = cases().map(|(letter, ..)| scores(*letter, &bank)).collect::<Result<Vec<Scores>>>()?;
        let distances = scores.iter().map(|score| number(two_digits(1e3 * score.distance))).collect();
        let smoothness = scores.iter().map(|score| {
            score.smoothness.map_or("–".to_owned(), |smoothness| format!("{:.3}", smoothness.abs()))
        });
        picture.beside =
            vec![("distance, ×10⁻³".into(), distances), ("smoothness".into(), smoothness.collect())];
        let how: Vec<String> = cases().map(|(letter, _, how)| format!("({letter}) {how}.")).collect();
        format!(
            "Figure 2. What interpolations between lines can look like. {} Beside each row its mean distance and mean \
             smoothness, lower is better, by the metrics of the tables; (a) interpolates nothing. Read them together: (d) \
             has a line everywhere, and so a small distance; (e) and (f) turn evenly, and so are smooth. {scale}",
            how.join(" ")
        )
    };
    Ok(Some(Drawn { caption, drawing: picture.draw()?, shows: Vec::new() }))
}

/// Returns `COUNT` numbers at equal steps, including both ends.
fn linspace(from: f64, to: f64) -> [f64; COUNT] {
    std::array::from_fn(|i| from + (to - from) * i as f64 / (COUNT - 1) as f64)
}

/// Returns the pixels of the images of a row, image by image.
fn images(letter: char) -> Vec<f64> {
    let line = |angle: f64| draw_line(angle, Lines::CANVAS);
    let lines = |angles: [f64; COUNT]| angles.into_iter().flat_map(line).collect();
    let [start, end] = FIGURE_3_ANGLES;
    match letter {
        'a' => {
            let around = linspace(0.0, TAU - PI / 16.0);
            lines(MIXED.map(|i| around[i]))
        }
        'c' => {
            let (first, last) = (line(start), line(end));
            let blend = |weight: f64| {
                first.iter().zip(&last).map(move |(a, b)| weight * a + (1.0 - weight) * b).collect::<Vec<_>>()
            };
            linspace(1.0, 0.0).into_iter().flat_map(blend).collect()
        }
        'd' => lines(std::array::from_fn(|i| if i < COUNT / 2 { start } else { end })),
        'e' => lines(linspace(start, end - TAU)),
        'f' => {
            let blurred = |(angle, blend): (f64, f64)| {
                let much = blend.sin();
                let bright: Vec<f64> = line(angle).iter().map(|v| v + much.max(0.0).sqrt()).collect();
                blur(&bright, SIDE, 1.5 * much)
            };
            linspace(start, end).into_iter().zip(linspace(0.0, PI)).flat_map(blurred).collect()
        }
        _ => lines(linspace(start, end)),
    }
}

/// The metrics of a row.
struct Scores {
    /// The mean distance.
    distance: f64,
    /// The mean smoothness; `None` for the row that is no interpolation.
    smoothness: Option<f64>,
}

/// Measures a row.
fn scores(letter: char, bank: &LineBank) -> Result<Scores> {
    let scored = || -> std::result::Result<Scores, lerp_eval::Error> {
        let images = Tensor::from_vec(images(letter), (1, COUNT, SIDE, SIDE), &Device::Cpu)?;
        let metrics = bank.evaluate(&images)?;
        let smoothness = (letter != 'a').then(|| metrics.mean_smoothness());
        Ok(Scores { distance: metrics.mean_distance(), smoothness })
    };
    scored().map_err(Error::draw(WHAT))
}

/// Applies a Gaussian filter to a square image as scipy does: the kernel is cut off at four standard deviations, and
/// edges are reflected.
fn blur(image: &[f64], side: usize, deviation: f64) -> Vec<f64> {
    let radius = (4.0 * deviation + 0.5) as i64;
    if radius == 0 {
        return image.to_vec();
    }
    let weights: Vec<f64> =
        (-radius..=radius).map(|x| (-0.5 * (x as f64 / deviation).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let reflected = |at: i64| {
        let within = at.rem_euclid(2 * side as i64) as usize;
        within.min(2 * side - 1 - within)
    };
    // Filters along one axis and transposes the result, so that applying it twice filters both axes.
    let along = |image: &[f64]| -> Vec<f64> {
        let value = |line: usize, at: usize| {
            let near = weights.iter().zip(-radius..);
            near.map(|(w, d)| w * image[line * side + reflected(at as i64 + d)]).sum::<f64>() / sum
        };
        (0..side)
            .flat_map(|at| (0..side).map(move |line| (line, at)))
            .map(|(line, at)| value(line, at))
            .collect()
    };
    along(&along(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_match_known_values() {
        let bank = LineBank::default();
        for (letter, distance, smoothness) in [
            ('b', 2.0e-7, 0.0),
            ('c', 7.2e-3, 0.940),
            ('d', 2.5e-7, 0.933),
            ('e', 1.8e-7, 0.0),
            ('f', 4.1e-1, 0.011),
        ] {
            let Scores { distance: ours, smoothness: smooth } = scores(letter, &bank).unwrap();
            assert!((ours / distance - 1.0).abs() < 0.03, "{letter}: distance {ours:e} is not {distance:e}");
            assert!((smooth.unwrap() - smoothness).abs() < 6e-4, "{letter}: smoothness {smooth:?}");
        }
        assert_eq!(scores('a', &bank).unwrap().smoothness, None);
    }

    #[test]
    fn the_mixed_order_has_every_line_once() {
        let mut sorted = MIXED;
        sorted.sort_unstable();
        assert_eq!(sorted, std::array::from_fn(|i| i));
    }

    /// Values of `scipy.ndimage.gaussian_filter`.
    #[test]
    fn blur_matches_scipy() {
        let image: Vec<f64> = (0..16).map(|i| f64::from(i * i % 7)).collect();
        let ours = blur(&image, 4, 1.3);
        for (index, value) in SCIPY {
            assert!((ours[index] - value).abs() < 1e-12, "{index}: {} is not {value}", ours[index]);
        }
    }

    const SCIPY: [(usize, f64); 4] = [
        (0, 1.557_346_786_682_303_6),
        (3, 1.869_980_386_747_813_7),
        (6, 1.864_572_185_568_557_5),
        (13, 1.973_581_970_143_721_6),
    ];
}
