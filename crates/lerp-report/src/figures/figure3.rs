//! Figure 3: each variant's interpolation between two lines, under the true one; and each variant's by itself.

use lerp_data::draw_line;
use lerp_train::FIGURE_3_ANGLES;

use super::{
    Drawn,
    rows::{Strip, picture},
    source::unfinished,
};
use crate::{
    Error, Result,
    conditions::{Selection, model_seeds},
    summary::{Group, Loaded, Sweep},
};

const WHAT: &str = "figure 3";

/// Draws all variants, or the one called `variant` as part `letter` of the figure; none if no run has an interpolation
/// yet.
///
/// # Errors
/// If an interpolation is damaged or the figure cannot be drawn.
pub fn draw<'a>(sweep: &'a Sweep, only: Option<(&str, char)>) -> Result<Option<Drawn<'a>>> {
    let (mut rows, mut shown) = (Vec::new(), Vec::new());
    for group in sweep.on_lines().filter(|g| only.is_none_or(|(variant, _)| g.cell().variant == variant)) {
        if let Some((loaded, strip)) = drawn(group)? {
            rows.push((group.label.clone(), strip));
            shown.push((group, loaded));
        }
    }
    let Some((count, side)) = rows.first().map(|(_, strip)| (strip.count, strip.side)) else {
        return Ok(None);
    };
    let (part, under) = match only {
        None => {
            rows.insert(0, ("True".into(), truth(count, side)));
            (String::new(), ", under the true one")
        }
        Some((_, letter)) => (letter.to_string(), ""),
    };
    let seeds: Vec<(&str, u64)> =
        shown.iter().map(|(group, loaded)| (group.label.as_str(), loaded.run.record.cell.seed)).collect();
    let selection = Selection { groups: shown.iter().map(|(group, _)| *group).collect() };
    let caption = format!(
        "Figure 3{part}. Interpolation between lines at 5π/7 and 3π/2 (the first and last column are their \
         reconstructions){under}. Gray from -1, black, to 1, white. Models of seed {}.{} {}",
        model_seeds(&seeds),
        unfinished(&shown),
        selection.all_conditions(),
    );
    let drawing = picture(WHAT, &rows, true)?.draw()?;
    Ok(Some(Drawn { caption, drawing, shows: selection.groups }))
}

/// The row of a configuration, and the run it is of.
fn drawn(group: &Group) -> Result<Option<(&Loaded, Strip)>> {
    for loaded in group.preferred() {
        // The first pair is Figure 3's.
        let Some(images) = loaded.run.interpolation()? else { continue };
        let &[count, side, width, 1] = images.dims() else {
            return Err(not_lines(loaded));
        };
        if side != width {
            return Err(not_lines(loaded));
        }
        let values = images.flatten_all().and_then(|images| images.to_vec1::<f32>());
        let values = values.map_err(Error::draw(WHAT))?;
        let strip = Strip::new(count, side, values.into_iter());
        return Ok(Some((loaded, strip)));
    }
    Ok(None)
}

fn not_lines(loaded: &Loaded) -> Error {
    Error::draw(WHAT)(format!("the images that run {} has saved are not of lines", loaded.run.record.id))
}

/// The interpolation that a perfect model would draw: the line turns at an even pace.
fn truth(count: usize, side: usize) -> Strip {
    let angle = |i: usize| {
        let t = i as f64 / (count - 1).max(1) as f64;
        FIGURE_3_ANGLES[0] + t * (FIGURE_3_ANGLES[1] - FIGURE_3_ANGLES[0])
    };
    let lines = (0..count).flat_map(|i| draw_line(angle(i), side, side, 2.0));
    Strip::new(count, side, lines.map(|v| v as f32))
}
