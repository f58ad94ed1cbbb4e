//! Figure 3: each variant's interpolation between two lines, below the true one; and each variant's row by itself.

use lerp_data::{LineCanvas, Lines, draw_line};
use lerp_train::{FIGURE_3_ANGLES, Run};

use super::{
    Drawn,
    captions::unfinished,
    rows::{Headings, Strip, picture},
};
use crate::{
    Result,
    reading::{LoadedRun, RunGroup, Sweep},
    verdicts::model_seeds,
};

const WHAT: &str = "figure 3";

/// Draws all variants or, with `only`, one variant under the letter of its part of the figure. Returns `None` if no run
/// has saved an interpolation yet.
pub fn draw<'a>(sweep: &'a Sweep, only: Option<(&str, char)>) -> Result<Option<Drawn<'a>>> {
    let (mut rows, mut shown) = (Vec::<(String, Strip)>::new(), Vec::new());
    let chosen = |group: &&RunGroup| only.is_none_or(|(variant, _)| group.cell().variant == variant);
    for group in sweep.shown(None).into_iter().filter(chosen) {
        let Some((loaded, strip)) = row_of(group) else { continue };
        // Rows of another size than the first do not fit into the picture.
        if rows.first().is_some_and(|(_, first)| (first.count, first.side) != (strip.count, strip.side)) {
            loaded.note_problem(&"its interpolation is of another size than those above it");
            continue;
        }
        rows.push((group.label.clone(), strip));
        shown.push((group, loaded));
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
    let caption = format!(
        "Figure 3{part}. Interpolation between lines at 5π/7 and 3π/2 (the first and last column are their \
         reconstructions){under}. Gray from -1, black, to 1, white. Models of seed {}.{}",
        model_seeds(&shown),
        unfinished(&shown),
    );
    let drawing = picture(WHAT, &rows, Headings::Alphas)?.draw()?;
    Ok(Some(Drawn { caption, drawing, shows: shown.iter().map(|(group, _)| *group).collect() }))
}

/// Returns the row of a configuration, and the run that it shows.
fn row_of(group: &RunGroup) -> Option<(&LoadedRun, Strip)> {
    group.preferred().find_map(|loaded| {
        // The first of the saved pairs is the one of Figure 3.
        let images = loaded.read_file(Run::interpolation)?;
        match (images.dims(), images.flatten_all().and_then(|images| images.to_vec1::<f32>())) {
            (&[count, side, width, 1], Ok(values)) if side == width => {
                Some((loaded, Strip::new(count, side, values.into_iter())))
            }
            _ => {
                loaded.note_problem(&"the images that it has saved are not of lines");
                None
            }
        }
    })
}

/// Returns the interpolation of a perfect model: the line turns at an even pace.
fn truth(count: usize, side: usize) -> Strip {
    let angle = |i: usize| {
        let t = i as f64 / (count - 1).max(1) as f64;
        FIGURE_3_ANGLES[0] + t * (FIGURE_3_ANGLES[1] - FIGURE_3_ANGLES[0])
    };
    let canvas = LineCanvas { height: side, width: side, line_width: Lines::LINE_WIDTH };
    let lines = (0..count).flat_map(|i| draw_line(angle(i), canvas));
    Strip::new(count, side, lines.map(|v| v as f32))
}
