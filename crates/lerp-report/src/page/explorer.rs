//! The data of the interpolation explorer: the decoded images of all variants as sprites, and on lines the metrics of
//! each image.

use std::f64::consts::TAU;

use base64::{Engine, prelude::BASE64_STANDARD};
use candle_core::{Device, Tensor};
use lerp_data::Lines;
use lerp_eval::{LineBank, PairEnds};
use lerp_train::{FIGURE_3_ANGLES, JudgeRecord, Run, State, Strips};
use serde::Serialize;

use crate::{
    Result,
    figures::{byte, curve_styles, hex, png},
    reading::{LoadedRun, RunGroup, SizedImageSet, Sweep, title_of},
    statistics::{NO_LINES, class_word},
    text::thousands,
};

/// The data that the page's script works with.
#[derive(Debug, Serialize)]
pub struct Explorer {
    sets: Vec<View>,
}

/// The images of one dataset and latent size.
#[derive(Debug, Serialize)]
struct View {
    name: String,
    width: usize,
    height: usize,
    positions: usize,
    /// The distance above which an image is not taken for a line.
    far: f64,
    sprite: Sprite,
    pairs: Vec<String>,
    rows: Vec<ExplorerRow>,
    about: String,
}

/// One picture that contains all images of a view.
#[derive(Debug, Default, Serialize)]
struct Sprite {
    width: usize,
    height: usize,
    src: String,
}

/// A row of images for each pair: of one configuration, of the test images, or of the true interpolation.
#[derive(Debug, Default, Serialize)]
struct ExplorerRow {
    label: String,
    note: String,
    /// Whether the run is not finished.
    unfinished: bool,
    color: String,
    /// Whether these are the images of the true interpolation.
    truth: bool,
    /// Whether the image is the same at all positions.
    still: bool,
    /// The left edge of the first position in the sprite, in pixels.
    x: usize,
    /// The upper edge of each pair's row in the sprite, in pixels; `None` if the run has fewer pairs than another.
    y: Vec<Option<usize>>,
    /// By pair and position: the cosine distance to the nearest line; `None` if it is undefined.
    #[serde(skip_serializing_if = "Option::is_none")]
    distance: Option<Vec<Vec<Option<f64>>>>,
    /// By pair and position: the angle of the nearest line, in radians.
    #[serde(skip_serializing_if = "Option::is_none")]
    angle: Option<Vec<Vec<f64>>>,
    /// By pair and position: the judge's word for the image, with its probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<Vec<Vec<String>>>,
    /// By pair and position: the mean squared error of the model's own reconstruction of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Vec<Vec<f64>>>,
}

/// Returns the explorer's data, or `None` if no run has saved interpolations yet.
pub fn explorer(sweep: &Sweep) -> Result<Option<Explorer>> {
    let mut sets = Vec::new();
    for set in sweep.lines_and_image_sets() {
        if let Some((mut view, sheet)) = view(set, sweep.judge(set), &sweep.shown(set))? {
            view.about += &sweep.not_shown(set);
            view.sprite = sheet.sprite()?;
            sets.push(view);
        }
    }
    Ok((!sets.is_empty()).then_some(Explorer { sets }))
}

/// Returns the saved interpolations of a configuration, preferably of a finished run, and else of the run with the
/// lowest seed that has them.
fn strips(group: &RunGroup) -> Option<(&LoadedRun, Strips)> {
    let read = |loaded| LoadedRun::read_file(loaded, Run::strips).filter(|strips| strips.images.rank() == 5);
    group.preferred().find_map(|loaded| Some((loaded, read(loaded)?)))
}

/// Returns the view of one dataset and latent size, without its sprite, and the sheet that the sprite is made of.
fn view(
    set: Option<&SizedImageSet>,
    judge: Option<&JudgeRecord>,
    groups: &[&RunGroup],
) -> lerp_train::Result<Option<(View, SpriteSheet)>> {
    let mut all = Vec::new();
    for (group, style) in groups.iter().zip(curve_styles(groups)) {
        if let Some((loaded, strips)) = strips(group) {
            all.push((*group, hex(style.color), loaded, strips));
        }
    }
    let Some((.., first)) = all.first() else { return Ok(None) };
    let (_, positions, height, width, channels) = first.images.dims5()?;
    // Runs whose images have another size do not fit into the sprite.
    all.retain(|(.., strips)| strips.images.dims()[1..] == [positions, height, width, channels]);
    let pairs = all.iter().map(|(.., strips)| strips.images.dims()[0]).max().unwrap_or(0);
    let longest = all.iter().map(|(.., strips)| strips).find(|strips| strips.images.dims()[0] == pairs);
    let Some(longest) = longest else { return Ok(None) };

    let range = set.map_or(1.0, SizedImageSet::range);
    let mut sheet = SpriteSheet::new(positions * width, channels, range);
    let mut rows = Vec::new();
    let names;
    if set.is_none() {
        let angles = match &longest.angles {
            Some(angles) => angles.iter().map(|pair| pair.map(f64::from)).collect(),
            None => vec![FIGURE_3_ANGLES],
        };
        rows.push(truth(&angles, positions, &mut sheet)?);
        names = angles.iter().map(|[a, b]| format!("{} to {}", degrees(*a), degrees(*b))).collect();
    } else {
        // All runs of a set have the same pairs. Runs of earlier versions did not save the classes of the images.
        let classes = all.iter().find_map(|(.., strips)| strips.classes.as_deref()).unwrap_or_default();
        let name = |pair: usize| match (set, classes.get(pair)) {
            (Some(set), Some([left, right])) => {
                format!("{} to {}", set.class_name(*left), set.class_name(*right))
            }
            _ => (pair + 1).to_string(),
        };
        let mut unlike: Vec<String> = Vec::new();
        for pair in 0..pairs {
            let name = name(pair);
            unlike.push(if unlike.contains(&name) { format!("{name} ({})", pair + 1) } else { name });
        }
        names = unlike;
        if let Some(PairEnds { left, right }) = &longest.ends {
            for (label, end) in [("Left", left), ("Right", right)] {
                let y = (0..pairs).map(|pair| sheet.push(&end.get(pair)?.unsqueeze(0)?).map(Some));
                let y = y.collect::<lerp_train::Result<_>>()?;
                let label = format!("{label} test image");
                rows.push(ExplorerRow {
                    label,
                    color: "var(--line)".into(),
                    still: true,
                    y,
                    ..ExplorerRow::default()
                });
            }
        }
    }
    let bank = set.is_none().then(LineBank::default);
    for (group, color, loaded, strips) in &all {
        let (own, status) = (strips.images.dims()[0], &loaded.run.status);
        let y =
            (0..pairs).map(|pair| (pair < own).then(|| sheet.push(&strips.images.get(pair)?)).transpose());
        let y = y.collect::<lerp_train::Result<_>>()?;
        let mut row = ExplorerRow {
            label: group.label.clone(),
            note: note(loaded),
            unfinished: status.state != State::Done,
            color: color.clone(),
            y,
            error: strips.errors.as_ref().map(errors).transpose()?,
            word: judge.and_then(|judge| words(loaded, judge, set)),
            ..ExplorerRow::default()
        };
        if let Some(bank) = &bank {
            let nearest = bank.nearest(&strips.images)?;
            let by_pair = nearest.chunks(positions);
            let distance = |n: &lerp_eval::Nearest| n.distance.is_finite().then(|| rounded(n.distance, 7));
            row.distance = Some(by_pair.clone().map(|pair| pair.iter().map(distance).collect()).collect());
            row.angle =
                Some(by_pair.map(|pair| pair.iter().map(|n| rounded(n.angle, 4)).collect()).collect());
        }
        rows.push(row);
    }
    let about = match set {
        None => "Distances are cosine distances to the nearest of 10,000 lines, angles are of that line. α moves in the 16 \
                 positions that are measured; the images at 0 and 1 are reconstructions."
            .to_owned(),
        Some(set) => {
            let errors = if rows.iter().any(|row| row.error.is_some()) {
                " The chart: how far each of these images is from what the same model makes of it when it encodes and decodes \
                 it once more. What a model was trained on comes back nearly as it was."
            } else {
                ""
            };
            format!(
                "{}: latents between two test images, decoded; at α = 0 and 1 they are reconstructions.{errors}",
                set.name()
            )
        }
    };
    let judged = if rows.iter().any(|row| row.word.is_some()) {
        " Last under an image: what the judge of Table 5 calls it, and how sure it is."
    } else {
        ""
    };
    let about = about + judged;
    let view = View {
        name: title_of(set),
        width,
        height,
        positions,
        far: NO_LINES,
        sprite: Sprite::default(),
        pairs: names,
        rows,
        about,
    };
    Ok(Some((view, sheet)))
}

/// Returns the word and probability in percent that the sweep's judge gives each image, or `None` if another judge was
/// used.
fn words(loaded: &LoadedRun, judge: &JudgeRecord, set: Option<&SizedImageSet>) -> Option<Vec<Vec<String>>> {
    let scores = loaded.read_file(Run::judge_scores).filter(|scores| scores.judge == judge.weights)?;
    let text = |(class, probability): &(u32, f32)| {
        format!("{}, {:.0} %", class_word(judge, set, *class), probability * 100.0)
    };
    Some(scores.strips.iter().map(|row| row.iter().map(text).collect()).collect())
}

/// Adds the true interpolation between the ends of each pair: lines that turn at an even pace the shorter way round.
fn truth(angles: &[[f64; 2]], positions: usize, sheet: &mut SpriteSheet) -> lerp_train::Result<ExplorerRow> {
    let (mut y, mut all) = (Vec::new(), Vec::new());
    for [left, right] in angles {
        let turn = (right - left + TAU / 2.0).rem_euclid(TAU) - TAU / 2.0;
        let at = |i: usize| left + turn * i as f64 / (positions - 1).max(1) as f64;
        let turned: Vec<f64> = (0..positions).map(at).collect();
        let images = Lines::images(&turned, &Device::Cpu)?;
        y.push(Some(sheet.push(&images)?));
        all.push(turned.into_iter().map(|angle| rounded(angle, 4)).collect());
    }
    let color = "var(--soft)".into();
    Ok(ExplorerRow {
        label: "True".into(),
        color,
        truth: true,
        y,
        angle: Some(all),
        ..ExplorerRow::default()
    })
}

/// Returns which run the images are of.
fn note(loaded: &LoadedRun) -> String {
    let (cell, status) = (&loaded.run.record.cell, &loaded.run.status);
    let samples = thousands(status.samples);
    match status.state {
        State::Done if cell.known_samples().is_none() => format!("seed {}", cell.seed),
        State::Done => format!("seed {}, {samples} samples", cell.seed),
        _ => format!("seed {}, unfinished: {samples} of {} samples", cell.seed, thousands(cell.samples)),
    }
}

/// Returns the reconstruction errors by pair and position.
fn errors(errors: &Tensor) -> lerp_train::Result<Vec<Vec<f64>>> {
    let values = errors.to_vec2::<f32>()?;
    Ok(values.into_iter().map(|pair| pair.into_iter().map(|v| rounded(v.into(), 7)).collect()).collect())
}

fn degrees(radians: f64) -> String {
    format!("{:.0}°", radians.to_degrees())
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (value * unit).round() / unit
}

/// The pixels of a sprite: rows of images below one another.
struct SpriteSheet {
    width: usize,
    channels: usize,
    range: f32,
    pixels: Vec<u8>,
}

impl SpriteSheet {
    fn new(width: usize, channels: usize, range: f32) -> Self {
        Self { width, channels, range, pixels: Vec::new() }
    }

    /// Adds a row of images, and returns its upper edge in pixels.
    ///
    /// # Shapes
    /// `images` is `[positions, height, width, channels]`, `f32`. Rows that are narrower than the sheet are padded with
    /// white.
    fn push(&mut self, images: &Tensor) -> lerp_train::Result<usize> {
        let y = self.pixels.len() / (self.width * self.channels);
        let (positions, _, width, channels) = images.dims4()?;
        let values = images.transpose(0, 1)?.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        for line in values.chunks_exact(positions * width * channels) {
            self.pixels.extend(line.iter().map(|v| byte(*v, self.range)));
            self.pixels.resize(self.pixels.len() + (self.width - positions * width) * channels, 255);
        }
        Ok(y)
    }

    fn sprite(&self) -> Result<Sprite> {
        let height = self.pixels.len() / (self.width * self.channels);
        let color = if self.channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale };
        let bytes = png(&self.pixels, self.width as u32, height as u32, color)?;
        let src = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
        Ok(Sprite { width: self.width, height, src })
    }
}
