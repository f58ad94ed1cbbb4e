//! Figures of interpolations by position, over all pairs of the last evaluation: the nearest line's angle and distance,
//! the size of its turns, and the norm of the latent.

use lerp_eval::unwrap;
use lerp_train::{Profile, Run};

use super::{
    Drawn,
    captions::{test_examples, unfinished},
    multiples::{GridPanel, GridRow, Multiples},
    plot::{Axis, BandPoint, pieces, quartiles},
    style::curve_styles,
};
use crate::{
    Result,
    reading::{LoadedRun, RunGroup, SizedImageSet, Sweep},
};

/// The least turn between the two ends, in radians, for which a line counts as turning.
const SMALLEST_TURN: f64 = 1e-4;
/// The most runs of a configuration that are pooled; more would not change what is visible.
const MAX_RUNS: usize = 20;
/// The least distance that is drawn, in 10⁻³.
const FLOOR: f64 = 1e-3;

const ALPHA: &str = "α, position between the two ends";

/// The interpolations of one configuration: of all its finished runs, or, if there are none, of the first unfinished
/// run that has saved any.
struct Pool<'a> {
    group: &'a RunGroup,
    runs: Vec<&'a LoadedRun>,
    /// The norm of the latent, by interpolation and position. `distance` and `angle` are indexed alike.
    norm: Vec<Vec<f64>>,
    distance: Vec<Vec<f64>>,
    angle: Vec<Vec<f64>>,
}

impl<'a> Pool<'a> {
    fn read(group: &'a RunGroup) -> Self {
        let (norm, distance, angle) = (vec![], vec![], vec![]);
        let mut pool = Self { group, runs: vec![], norm, distance, angle };
        let finished = group.done().count();
        for (i, loaded) in group.preferred().enumerate() {
            if pool.runs.len() == MAX_RUNS || (i >= finished && !pool.runs.is_empty()) {
                break;
            }
            let Some(paths) = loaded.read_file(Run::paths) else { continue };
            pool.runs.push(loaded);
            pool.norm.extend(rows(&paths.norm));
            pool.distance.extend(paths.distance.iter().flat_map(rows));
            pool.angle.extend(paths.angle.iter().flat_map(rows));
        }
        pool
    }
}

fn rows(profile: &Profile) -> impl Iterator<Item = Vec<f64>> {
    profile.iter().map(|row| row.iter().copied().map(f64::from).collect())
}

/// The configurations that have paths, and the labels of those that have none.
struct Pools<'a> {
    pools: Vec<Pool<'a>>,
    without: Vec<&'a str>,
}

impl<'a> Pools<'a> {
    fn read(groups: Vec<&'a RunGroup>, has: impl Fn(&Pool) -> bool) -> Self {
        let (mut pools, mut without) = (Vec::new(), Vec::new());
        for group in groups {
            let pool = Pool::read(group);
            if has(&pool) { pools.push(pool) } else { without.push(group.label.as_str()) }
        }
        Self { pools, without }
    }

    /// Draws the figure of these rows, or returns `None` if there are no paths.
    fn draw(self, what: &'static str, x: Axis, rows: Vec<GridRow>, words: &str) -> Result<Option<Drawn<'a>>> {
        if self.pools.is_empty() {
            return Ok(None);
        }
        let groups: Vec<&RunGroup> = self.pools.iter().map(|pool| pool.group).collect();
        let columns = groups.iter().map(|group| group.label.clone()).zip(curve_styles(&groups)).collect();
        let shown: Vec<(&RunGroup, &LoadedRun)> =
            self.pools.iter().flat_map(|pool| pool.runs.iter().map(|run| (pool.group, *run))).collect();
        let several = self.pools.iter().any(|pool| pool.runs.len() > 1);
        let cut = self.pools.iter().any(|pool| pool.group.runs.len() > MAX_RUNS);
        let together = match (several, cut) {
            (true, true) => &format!(
                " Runs that differ in the seed alone are taken together, at most {MAX_RUNS} of them."
            ),
            (true, false) => " Runs that differ in the seed alone are taken together.",
            (false, _) => "",
        };
        let without = match self.without.as_slice() {
            [] => String::new(),
            names => format!(" Without saved paths: {}.", names.join(", ")),
        };
        let caption =
            format!("{words} Median (line) and quartiles (band).{together}{}{without}", unfinished(&shown));
        let drawing = Multiples { what, x, columns, rows }.drawing()?;
        Ok(Some(Drawn { caption, drawing, shows: groups }))
    }

    /// Returns the number of interpolations of each configuration in words.
    fn count(&self, of: fn(&Pool) -> usize) -> String {
        let counts: Vec<usize> = self.pools.iter().map(of).collect();
        match (counts.iter().min(), counts.iter().max()) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => String::new(),
        }
    }
}

/// Returns how far the line has turned at each position, as a share of the whole turn, or `None` if it does not turn.
fn progress(angles: &[f64]) -> Option<Vec<f64>> {
    let path = unwrap(angles);
    let (first, last) = (*path.first()?, *path.last()?);
    let turn = last - first;
    (turn.abs() >= SMALLEST_TURN).then(|| path.iter().map(|angle| (angle - first) / turn).collect())
}

/// Returns the turn between each two neighbouring positions as a share of the whole turn, or `None` if the line does
/// not turn.
fn turns(angles: &[f64]) -> Option<Vec<f64>> {
    Some(progress(angles)?.windows(2).map(|w| (w[1] - w[0]).abs()).collect())
}

/// Returns the norms of the latent relative to the mean of those at the two ends, or `None` if that mean is zero or not
/// finite.
fn relative(norms: &[f64]) -> Option<Vec<f64>> {
    let ends = norms.first()?.midpoint(*norms.last()?);
    (ends > 0.0 && ends.is_finite()).then(|| norms.iter().map(|norm| norm / ends).collect())
}

/// Returns the median and quartiles at each position, with α from `first` to `last`.
fn curve(rows: &[Vec<f64>], first: f64, last: f64) -> Vec<Vec<BandPoint>> {
    let positions = rows.iter().map(Vec::len).min().unwrap_or(0);
    let at = |i: usize| {
        let alpha = first + (last - first) * i as f64 / positions.saturating_sub(1).max(1) as f64;
        (alpha, quartiles(rows.iter().map(|row| row[i])))
    };
    pieces(&(0..positions).map(at).collect::<Vec<_>>())
}

/// Returns a panel for each configuration, and all values drawn in them.
fn panels(rows: &[Vec<Vec<f64>>], first: f64, last: f64, note: &'static str) -> (Vec<GridPanel>, Vec<f64>) {
    let panel = |rows: &Vec<Vec<f64>>| {
        let pieces = curve(rows, first, last);
        let note = pieces.is_empty().then_some(note);
        GridPanel { pieces, note, corner: None }
    };
    let panels: Vec<GridPanel> = rows.iter().map(panel).collect();
    let drawn =
        panels.iter().flat_map(|panel| panel.pieces.iter().flatten()).flat_map(BandPoint::values).collect();
    (panels, drawn)
}

fn lowest(values: &[f64], start: f64) -> f64 {
    values.iter().copied().fold(start, f64::min)
}

fn highest(values: &[f64], start: f64) -> f64 {
    values.iter().copied().fold(start, f64::max)
}

fn alphas() -> Axis {
    Axis::numbered(0.0..1.0, &[0.0, 0.5, 1.0], ALPHA)
}

/// Applies `of` to the interpolations that turn, by configuration, and returns a sentence on those that do not.
fn turning(pools: &Pools, of: fn(&[f64]) -> Option<Vec<f64>>) -> (Vec<Vec<Vec<f64>>>, String) {
    let kept: Vec<Vec<Vec<f64>>> =
        pools.pools.iter().map(|pool| pool.angle.iter().filter_map(|row| of(row)).collect()).collect();
    let still: Vec<String> = pools
        .pools
        .iter()
        .zip(&kept)
        .filter(|(pool, kept)| kept.len() < pool.angle.len())
        .map(|(pool, kept)| {
            format!("{} of {} ({})", pool.angle.len() - kept.len(), pool.angle.len(), pool.group.label)
        })
        .collect();
    let words = match still.as_slice() {
        [] => String::new(),
        _ => format!(" Left out, because the line does not turn: {}.", still.join(", ")),
    };
    (kept, words)
}

/// Draws the angle and distance of the nearest line along interpolations, or returns `None` if no run has saved them.
pub fn lines(sweep: &Sweep) -> Result<Option<Drawn<'_>>> {
    let has = |pool: &Pool| !pool.angle.is_empty() && !pool.distance.is_empty();
    let pools = Pools::read(sweep.shown(None), has);
    let (angles, still) = turning(&pools, progress);
    let (progress, drawn) = panels(&angles, 0.0, 1.0, "no line turns");
    let shown = lowest(&drawn, -0.05).max(-0.5)..highest(&drawn, 1.05).min(1.5);
    let progress = GridRow {
        y: Axis::numbered(shown, &[0.0, 0.5, 1.0], "angle,\nshare of the turn"),
        ideal: vec![(0.0, 0.0), (1.0, 1.0)],
        panels: progress,
    };
    // `clamp` keeps NaN, which `max` would replace.
    let thousandths = |pool: &Pool| -> Vec<Vec<f64>> {
        pool.distance
            .iter()
            .map(|row| row.iter().map(|v| (v * 1e3).clamp(FLOOR, f64::INFINITY)).collect())
            .collect()
    };
    let (distance, drawn) =
        panels(&pools.pools.iter().map(thousandths).collect::<Vec<_>>(), 0.0, 1.0, "undefined");
    let y = Axis::logarithmic(drawn.into_iter(), "distance to\na line, ×10⁻³");
    let distance = GridRow { y, ideal: Vec::new(), panels: distance };
    let words = format!(
        "The nearest true line along the interpolation between two test lines, over {} interpolations of the last \
         evaluation. Above, how far its angle has turned, as a share of the turn from first to last; dashed, an even \
         pace. Below, the cosine distance to it (logarithmic, from {FLOOR} ×10⁻³ on).{still}",
        pools.count(|pool| pool.distance.len()),
    );
    pools.draw("the paths of lines", alphas(), vec![progress, distance], &words)
}

/// Draws the size of each turn of the line, or returns `None` if no run has saved it.
pub fn pace(sweep: &Sweep) -> Result<Option<Drawn<'_>>> {
    let pools = Pools::read(sweep.shown(None), |pool| !pool.angle.is_empty());
    let (rows, still) = turning(&pools, turns);
    let steps = pools.pools.first().and_then(|pool| pool.angle.first()).map_or(15, |row| row.len() - 1);
    let even = 1.0 / steps.max(1) as f64;
    let (mut panels, drawn) = panels(&rows, even / 2.0, 1.0 - even / 2.0, "no line turns");
    let largest = |row: &Vec<f64>| highest(row, 0.0);
    for (panel, rows) in panels.iter_mut().zip(&rows) {
        panel.corner =
            quartiles(rows.iter().map(largest)).map(|[_, median, _]| format!("largest {median:.2}"));
    }
    // The axis leaves room above for the text in the corner.
    let most = highest(&drawn, 2.0 * even).min(1.0) * 1.15;
    let row = GridRow {
        y: Axis::linear(0.0..most * 1.05, 5, "one turn, share\nof the whole"),
        ideal: vec![(0.0, even), (1.0, even)],
        panels,
    };
    let words = format!(
        "The pace of the line: each of the {steps} turns between neighbouring positions of an interpolation between two \
         test lines, as a share of the turn from first to last, over {} interpolations of the last evaluation. Dashed, an \
         even pace, 1/{steps}. In the corner, the median of the largest share, which decides smoothness: a jump whose place \
         differs from pair to pair does not show in the curve.{still}",
        pools.count(|pool| pool.angle.len()),
    );
    pools.draw("the pace of lines", alphas(), vec![row], &words)
}

/// Draws the norm of the latent along interpolations, on lines or on an image set, or returns `None` if no run has
/// saved it.
pub fn norms<'a>(sweep: &'a Sweep, set: Option<&SizedImageSet>) -> Result<Option<Drawn<'a>>> {
    let pools = Pools::read(sweep.shown(set), |pool| !pool.norm.is_empty());
    let rows: Vec<Vec<Vec<f64>>> =
        pools.pools.iter().map(|pool| pool.norm.iter().filter_map(|row| relative(row)).collect()).collect();
    let (panels, drawn) = panels(&rows, 0.0, 1.0, "undefined");
    let shown = (lowest(&drawn, 0.65) - 0.02).max(0.0)..(highest(&drawn, 1.05) + 0.02).min(2.0);
    let right_angle = |i: u32| {
        let alpha = f64::from(i) / 40.0;
        (alpha, alpha.hypot(1.0 - alpha))
    };
    let row = GridRow {
        y: Axis::linear(shown, 5, "norm, relative\nto the ends"),
        ideal: (0..=40).map(right_angle).collect(),
        panels,
    };
    let (examples, pairs) =
        (test_examples(set), if set.is_none() { "interpolations of the last evaluation" } else { "pairs" });
    let words = format!(
        "The norm of the latent along the interpolation between two {examples}, relative to the mean of its ends, over {} \
         {pairs}. Dashed, between two latents of equal norm at a right angle.",
        pools.count(|pool| pool.norm.len()),
    );
    pools.draw("norms of latents", alphas(), vec![row], &words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_whole_turn() {
        let half = std::f64::consts::PI;
        // The angle decreases and crosses zero.
        let angles = [0.2, 0.1, 2.0 * half - 0.2];
        let near = |ours: &[f64], wanted: &[f64]| ours.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near(&progress(&angles).unwrap(), &[0.0, 0.25, 1.0]));
        assert!(near(&turns(&angles).unwrap(), &[0.25, 0.75]));
        assert_eq!(progress(&[1.0, 2.0, 1.0]), None);
        assert_eq!(progress(&[f64::NAN, 2.0]), None);
        assert_eq!(relative(&[1.0, 1.0, 3.0]), Some(vec![0.5, 0.5, 1.5]));
        assert_eq!([relative(&[0.0, 0.0]), relative(&[f64::NAN, 1.0])], [None, None]);
    }
}
