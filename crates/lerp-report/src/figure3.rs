//! Figure 3: each variant's interpolation between two lines, under the true one.

use candle_core::DType;
use lerp_data::draw_line;
use lerp_train::FIGURE_3_ANGLES;

use crate::{
    Error, Result,
    conditions::model_seeds,
    picture::{Colors, Picture},
    style::Drawing,
    summary::{Group, Sweep},
};

/// Pixels between two images.
const GAP: usize = 2;
/// Units of the figure for one pixel of an image.
const ZOOM: usize = 2;

/// Draws it, and says what it shows; none if no run has an interpolation yet.
///
/// # Errors
/// If an interpolation is damaged or the figure cannot be drawn.
pub fn draw(sweep: &Sweep) -> Result<Option<(String, Drawing)>> {
    let (mut rows, mut seeds) = (Vec::new(), Vec::new());
    for group in sweep.on_lines() {
        if let Some((seed, strip)) = drawn(group)? {
            rows.push((group.label.clone(), strip));
            seeds.push((group.label.as_str(), seed));
        }
    }
    let Some((count, side)) = rows.first().map(|(_, strip)| (strip.count, strip.side)) else {
        return Ok(None);
    };
    let caption = format!(
        "Figure 3. Interpolation between lines at 5π/7 and 3π/2 (the first and last column are their reconstructions), \
         under the true one. Gray from -1, black, to 1, white. Models of seed {}. {}",
        model_seeds(&seeds),
        sweep.lines().all_conditions(),
    );
    rows.insert(0, ("True".into(), truth(count, side)));
    Ok(Some((caption, picture(&rows, count, side)?.draw()?)))
}

/// The images of one row.
struct Strip {
    count: usize,
    side: usize,
    /// Gray values, image by image.
    gray: Vec<u8>,
}

fn gray(value: f32) -> u8 {
    // NaN becomes 0.
    ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8
}

/// The row of a configuration: its first run by seed that has one, and that seed.
fn drawn(group: &Group) -> Result<Option<(u64, Strip)>> {
    for loaded in &group.runs {
        let Some(images) = loaded.run.interpolation()? else { continue };
        let read = || -> candle_core::Result<Strip> {
            let (count, side, _, _) = images.dims4()?;
            let values = images.to_dtype(DType::F32)?.narrow(3, 0, 1)?.flatten_all()?.to_vec1::<f32>()?;
            Ok(Strip { count, side, gray: values.into_iter().map(gray).collect() })
        };
        return Ok(Some((loaded.run.record.cell.seed, read().map_err(Error::draw("figure 3"))?)));
    }
    Ok(None)
}

/// The interpolation that a perfect model would draw: the line turns at an even pace.
fn truth(count: usize, side: usize) -> Strip {
    let angle = |i: usize| {
        let t = i as f64 / (count - 1).max(1) as f64;
        FIGURE_3_ANGLES[0] + t * (FIGURE_3_ANGLES[1] - FIGURE_3_ANGLES[0])
    };
    let lines = (0..count).flat_map(|i| draw_line(angle(i), side, side, 2.0));
    Strip { count, side, gray: lines.map(|v| gray(v as f32)).collect() }
}

/// All rows as one picture.
fn picture(rows: &[(String, Strip)], count: usize, side: usize) -> Result<Picture> {
    let pitch = side + GAP;
    let size = (count * pitch - GAP, rows.len() * pitch - GAP);
    let mut picture = Picture::new("figure 3", Colors::Gray, size, ZOOM);
    let middle = |i: usize| (i * pitch) as f64 + side as f64 / 2.0;
    for (r, (name, strip)) in rows.iter().enumerate() {
        if (strip.count, strip.side) != (count, side) || strip.gray.len() != count * side * side {
            let problem = format!("the images of {name} are of another size than those above");
            return Err(Error::draw("figure 3")(problem));
        }
        for (i, image) in strip.gray.chunks_exact(side * side).enumerate() {
            picture.put(image, side, (i * pitch, r * pitch));
        }
        picture.rows.push((name.clone(), middle(r)));
    }
    picture.columns = (0..count).map(|i| (Picture::alpha(i, count), middle(i))).collect();
    Ok(picture)
}
