//! Figure 5 and similar figures: images that a variant decodes from samples of its prior.

use candle_core::Tensor;
use lerp_train::Run;
use png::ColorType;

use super::{
    Drawn,
    captions::{SAMPLES, unfinished},
    picture::Picture,
    style::byte,
};
use crate::{
    Error, Result,
    reading::{LoadedRun, RunGroup, SizedImageSet},
    text::number,
    verdicts::model_seeds,
};

const WHAT: &str = "samples";
/// The number of white pixels between images.
const GAP: usize = 2;
/// The most images in a figure.
const MAX_IMAGES: usize = 256;

/// Returns whether any run of the configuration has saved samples.
pub fn has(group: &RunGroup) -> bool {
    group.runs.iter().any(|loaded| loaded.run.dir.join(SAMPLES).exists())
}

/// Draws the samples of a configuration, or returns `None` if it has none.
pub fn draw<'a>(group: &'a RunGroup, number_of_figure: Option<&str>) -> Result<Option<Drawn<'a>>> {
    for loaded in group.preferred() {
        let Some(images) = loaded.read_file(Run::samples) else { continue };
        let range = group.set.as_ref().map_or(1.0, SizedImageSet::range);
        let (drawing, count) = match picture(&images, range) {
            Ok(picture) => picture,
            Err(error) => {
                loaded.note_problem(&error);
                continue;
            }
        };
        let caption = caption(group, loaded, number_of_figure, count, range);
        return Ok(Some(Drawn { caption, drawing: drawing.draw()?, shows: vec![group] }));
    }
    Ok(None)
}

fn caption(group: &RunGroup, loaded: &LoadedRun, figure: Option<&str>, count: usize, range: f32) -> String {
    let figure = figure.map(|figure| format!("Figure {figure}. ")).unwrap_or_default();
    let on = group.set.as_ref().map_or_else(|| "lines".to_owned(), SizedImageSet::words);
    let shown = [(group, loaded)];
    format!(
        "{figure}{count} samples of the {} on {on}: latents drawn from N(0, I), decoded. Values from -{range} to {range} \
         are from black to white. Model of seed {}.{}",
        group.label,
        model_seeds(&shown),
        unfinished(&shown),
        range = number(f64::from((range * 10.0).round()) / 10.0),
    )
}

/// Arranges the images in a square, and returns the picture and the number of images.
fn picture(images: &Tensor, range: f32) -> Result<(Picture, usize)> {
    let (all, height, width, channels) = images.dims4().map_err(Error::draw(WHAT))?;
    let count = all.min(MAX_IMAGES);
    let columns = (1..count).find(|n| n * n >= count).unwrap_or(1);
    let rows = count.div_ceil(columns);
    let side = |n: usize, size: usize| n * (size + GAP) - GAP;
    let whole = (side(columns, width), side(rows, height));
    if whole.0.max(whole.1) > 1 << 13 {
        return Err(Error::draw(WHAT)(format!(
            "{count} images of {width}x{height} pixels are too large for one figure"
        )));
    }
    let colors = if channels == 1 { ColorType::Grayscale } else { ColorType::Rgb };
    let mut picture = Picture::new(WHAT, colors, whole, 1);
    let values = images.flatten_all().and_then(|images| images.to_vec1::<f32>());
    let bytes: Vec<u8> = values.map_err(Error::draw(WHAT))?.into_iter().map(|v| byte(v, range)).collect();
    for (i, image) in bytes.chunks_exact(height * width * channels).take(count).enumerate() {
        picture.put(image, width, (i % columns * (width + GAP), i / columns * (height + GAP)));
    }
    Ok((picture, count))
}
