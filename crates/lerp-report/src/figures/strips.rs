//! Figures 4 and 6 to 11: strips of interpolations between test images of an image set, with the variants below one
//! another.

use candle_core::Tensor;
use lerp_eval::{PairEnds, quantity::CLASSIFIER_ACCURACY};
use lerp_train::Run;
use png::ColorType;

use super::{Drawn, captions::unfinished, picture::Picture, style::byte};
use crate::{
    Error, Result,
    reading::{LoadedRun, RunGroup, SizedImageSet, Sweep},
    text::plural,
    verdicts::model_seeds,
};

/// The number of white pixels between test images and decoded ones, and between rows.
const GAP: usize = 2;
/// The number of white pixels between pairs.
const BLOCK: usize = 10;
/// The units of the figure for one pixel of an image.
const ZOOM: usize = 2;

/// The number of the figure, and how many pairs it shows.
#[derive(Debug, Clone, Copy)]
pub struct StripsOptions {
    /// The figure's number in the paper; `None` if the paper does not have it.
    pub number: Option<&'static str>,
    /// The number of pairs shown; `None` for all.
    pub pairs: Option<usize>,
}

/// Draws the strips of `set`, or returns `None` if no run has saved any yet.
pub fn draw<'a>(sweep: &'a Sweep, set: &SizedImageSet, options: StripsOptions) -> Result<Option<Drawn<'a>>> {
    let mut rows: Vec<(&RunGroup, &LoadedRun, StripBytes)> = Vec::new();
    for group in sweep.shown(Some(set)) {
        let read = |loaded: &'a LoadedRun| {
            Some((loaded, loaded.read_file(|run| StripBytes::read(run, set.range()))?))
        };
        if let Some((loaded, strips)) = group.preferred().find_map(read) {
            rows.push((group, loaded, strips));
        }
    }
    let Some(size) = rows.first().map(|(.., strips)| strips.size) else { return Ok(None) };
    rows.retain(|(_, loaded, strips)| {
        let fits = strips.size == size;
        if !fits {
            loaded.note_problem(&"its interpolations are of another size or number than those above them");
        }
        fits
    });
    let Some((_, _, first)) = rows.first() else { return Ok(None) };
    let pairs = options.pairs.unwrap_or(first.size.pairs).min(first.size.pairs);
    let drawing = picture(&rows, pairs)?.draw()?;
    let shows = rows.iter().map(|(group, ..)| *group).collect();
    Ok(Some(Drawn { caption: caption(set, options, &rows, pairs), drawing, shows }))
}

const WHAT: &str = "strips of interpolations";

/// Returns the letter of a row.
fn letter(i: usize) -> String {
    // Rows beyond the alphabet have numbers.
    u8::try_from(i).ok().filter(|i| *i < 26).map_or((i + 1).to_string(), |i| char::from(b'a' + i).to_string())
}

fn caption(
    set: &SizedImageSet,
    options: StripsOptions,
    rows: &[(&RunGroup, &LoadedRun, StripBytes)],
    pairs: usize,
) -> String {
    let number = options.number.map(|number| format!("Figure {number}. ")).unwrap_or_default();
    let names: Vec<String> =
        rows.iter().enumerate().map(|(i, (group, ..))| format!("({}) {}", letter(i), group.label)).collect();
    let names = match names.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => names.join(", "),
    };
    let shown: Vec<(&RunGroup, &LoadedRun)> =
        rows.iter().map(|(group, loaded, _)| (*group, *loaded)).collect();
    let early = unfinished(&shown);
    let classes = rows.iter().any(|(group, ..)| group.has(&CLASSIFIER_ACCURACY));
    // The pairs of a user's own images may all be of one class, so the sentence on classes is only for the paper's
    // sets.
    let choice = match (pairs, classes && set.always_labelled()) {
        (4, true) => {
            "Four pairs of test images, fixed before training: in the first two both images are of one class, in the last \
             two of different classes."
        }
        (1, _) => "A pair of test images, fixed before training.",
        _ => "Pairs of test images, fixed before training.",
    };
    let range = set.range();
    let (_, _, first) = &rows[0];
    let other = rows.iter().any(|(.., strips)| (&strips.left, &strips.right) != (&first.left, &first.right));
    let other = if other { " The runs are not of the same test images." } else { "" };
    format!(
        "{number}Example interpolations on {} for {names} {}. Left and \
         right the test images, between them the decoded latents; the ones at α = 0 and 1 are their reconstructions. \
         {choice}{other} Values from -{range} to {range} are from black to white. Models of seed {}.{early}",
        set.words(),
        plural(rows.len(), "autoencoder"),
        model_seeds(&shown),
    )
}

/// The dimensions of a run's strips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    pairs: usize,
    positions: usize,
    height: usize,
    width: usize,
    channels: usize,
}

/// The strips of a run, as bytes.
struct StripBytes {
    size: Size,
    /// The left test images, pair by pair.
    left: Vec<u8>,
    /// The right test images, pair by pair.
    right: Vec<u8>,
    /// The decoded images, pair by pair and by position.
    images: Vec<u8>,
}

impl StripBytes {
    /// Reads the strips of `run`, with pixel values from `-range` to `range` mapped to bytes, or returns `None` if it
    /// has not been evaluated yet.
    fn read(run: &Run, range: f32) -> lerp_train::Result<Option<Self>> {
        let Some(strips) = run.strips()? else { return Ok(None) };
        let (Some(PairEnds { left, right }), &[pairs, positions, height, width, channels]) =
            (&strips.ends, strips.images.dims())
        else {
            let problem = "holds interpolations without their test images, which are no strips; delete its run to redo it";
            let path = run.dir.join("interpolation.safetensors");
            return Err(lerp_train::Error::BadFile { path, problem: problem.into() });
        };
        let size = Size { pairs, positions, height, width, channels };
        let bytes = |tensor: &Tensor| -> candle_core::Result<Vec<u8>> {
            let values = tensor.flatten_all()?.to_vec1::<f32>()?;
            Ok(values.into_iter().map(|v| byte(v, range)).collect())
        };
        Ok(Some(Self { size, left: bytes(left)?, right: bytes(right)?, images: bytes(&strips.images)? }))
    }
}

/// Arranges the strips of the first `pairs` pairs, in a block of rows for each pair.
fn picture(rows: &[(&RunGroup, &LoadedRun, StripBytes)], pairs: usize) -> Result<Picture> {
    let size = rows[0].2.size;
    let Size { positions, height, width, channels, .. } = size;
    // The horizontal positions of the decoded images and of the right test image within a strip.
    let (decoded, right) = (width + GAP, width + GAP + positions * width + GAP);
    let block = rows.len() * (height + GAP) - GAP + BLOCK;
    let whole = (right + width, pairs * block - BLOCK);
    if whole.0.max(whole.1).saturating_mul(ZOOM) > 1 << 14 {
        return Err(Error::draw(WHAT)(format!(
            "{} rows of images of {width}x{height} pixels are too many for one figure",
            rows.len() * pairs
        )));
    }
    let colors = if channels == 1 { ColorType::Grayscale } else { ColorType::Rgb };
    let mut picture = Picture::new(WHAT, colors, whole, ZOOM);
    let image = height * width * channels;
    for pair in 0..pairs {
        for (r, (group, _, strips)) in rows.iter().enumerate() {
            let y = pair * block + r * (height + GAP);
            let part = |bytes: &[u8], i: usize| bytes[i * image..(i + 1) * image].to_vec();
            picture.put(&part(&strips.left, pair), width, (0, y));
            picture.put(&part(&strips.right, pair), width, (right, y));
            for i in 0..positions {
                let decoded = decoded + i * width;
                picture.put(&part(&strips.images, pair * positions + i), width, (decoded, y));
            }
            let name = format!("({}) {}", letter(r), group.label);
            picture.rows.push((name, y as f64 + height as f64 / 2.0));
        }
    }
    let middle = |x: usize| x as f64 + width as f64 / 2.0;
    picture.columns.push(("test image".into(), middle(0)));
    picture.columns.push(("test image".into(), middle(right)));
    let headings = (0..positions).map(|i| (Picture::alpha(i, positions), middle(decoded + i * width)));
    picture.columns.extend(headings);
    Ok(picture)
}
