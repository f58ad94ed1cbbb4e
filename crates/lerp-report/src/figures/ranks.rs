//! The critical-difference diagram: average ranks of the variants on a line, with bars that join those that cannot be
//! told apart (Demšar, 2006, figure 1).

use plotters::prelude::DrawingBackend;

use super::{
    Drawn,
    canvas::{Canvas, Drawable, Side, both},
    plot::{LETTERS, NUMBERS},
    style::{INK, fit},
};
use crate::{Result, statistics::Analysis, text::fixed};

/// The width of the drawing, and the margin for names on either side of the line.
const WIDTH: f64 = 640.0;
const SIDE: f64 = 170.0;
/// The height of the line of ranks, the distance of the first bar below it, and the spacing of bars and of names.
const AXIS: f64 = 62.0;
const BARS: f64 = 12.0;
const BAR: f64 = 9.0;
const NAME: f64 = 24.0;

/// Draws the diagram, or returns `None` if fewer than two variants are in two tables, or more than ten.
pub fn draw<'a>(analysis: &Analysis<'a>) -> Result<Option<Drawn<'a>>> {
    let Some(ranks) = &analysis.ranks else { return Ok(None) };
    let Some(critical) = ranks.ranking.critical_difference else { return Ok(None) };
    let names = ranks.variants.iter().map(|(title, _)| title.clone()).collect();
    let diagram = Diagram { names, mean: ranks.ranking.mean.clone(), critical };
    let caption = format!(
        "Average ranks over {} columns of the tables (table Ranks), the best at the left; bars join variants that cannot be told \
         apart. CD: the critical difference. {}",
        ranks.ranking.ranks.len(),
        ranks.sentences()
    );
    let drawing = both(&diagram, WIDTH as u32, diagram.height() as u32)?;
    Ok(Some(Drawn { caption, drawing, shows: ranks.groups() }))
}

struct Diagram {
    /// The names of the variants, the best first. `mean` has their average ranks.
    names: Vec<String>,
    mean: Vec<f64>,
    /// The critical difference.
    critical: f64,
}

impl Diagram {
    /// Returns the horizontal position of a rank.
    fn x(&self, rank: f64) -> f64 {
        SIDE + (rank - 1.0) / (self.mean.len() as f64 - 1.0) * (WIDTH - 2.0 * SIDE)
    }

    /// Returns the first and last of the variants that each bar joins: a longest run of variants within the critical
    /// difference that is not contained in another bar.
    fn bars(&self) -> Vec<(usize, usize)> {
        let last = |first: usize| {
            let near = |i: &usize| self.mean[*i] - self.mean[first] < self.critical;
            (first..self.mean.len()).take_while(near).last().unwrap_or(first)
        };
        let mut bars: Vec<(usize, usize)> = Vec::new();
        for first in 0..self.mean.len() {
            let last = last(first);
            if last > first && bars.last().is_none_or(|(_, before)| last > *before) {
                bars.push((first, last));
            }
        }
        bars
    }

    /// Returns the vertical position of the first name.
    fn names_from(&self) -> f64 {
        AXIS + BARS + BAR * self.bars().len() as f64 + 14.0
    }

    fn height(&self) -> f64 {
        self.names_from() + NAME * self.names.len().div_ceil(2) as f64
    }
}

impl Drawable for Diagram {
    fn what(&self) -> &'static str {
        "the diagram of ranks"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let k = self.mean.len();
        canvas.line(&[(self.x(1.0), AXIS), (self.x(k as f64), AXIS)], INK, 1.5, None)?;
        for rank in 1..=k {
            let x = self.x(rank as f64);
            canvas.line(&[(x, AXIS - 5.0), (x, AXIS)], INK, 1.5, None)?;
            canvas.text(&rank.to_string(), NUMBERS, (x, AXIS - 8.0), Side::Above)?;
        }
        // The critical difference is drawn to the scale of the line, and cut if it is longer than the drawing is wide.
        let (from, to) = (self.x(1.0), self.x(1.0 + self.critical).min(WIDTH - 8.0));
        let label = format!("CD = {}", fixed(self.critical, 2));
        canvas.text(&label, NUMBERS, (from - 8.0, 16.0), Side::Left)?;
        canvas.line(&[(from, 16.0), (to, 16.0)], INK, 1.5, None)?;
        for x in [from, to] {
            canvas.line(&[(x, 12.0), (x, 20.0)], INK, 1.5, None)?;
        }
        for (i, (first, last)) in self.bars().into_iter().enumerate() {
            let y = AXIS + BARS + BAR * i as f64;
            let ends = [self.x(self.mean[first]) - 4.0, self.x(self.mean[last]) + 4.0];
            canvas.line(&ends.map(|x| (x, y)), INK, 4.0, None)?;
        }
        // The better half of the names is at the left, from the top down; the others are at the right, from the bottom
        // up.
        let half = k.div_ceil(2);
        for (i, (name, mean)) in self.names.iter().zip(&self.mean).enumerate() {
            let (row, left) = if i < half { (i, true) } else { (k - 1 - i, false) };
            let y = self.names_from() + NAME * row as f64;
            let (x, end) = (self.x(*mean), if left { SIDE - 12.0 } else { WIDTH - SIDE + 12.0 });
            canvas.line(&[(x, AXIS), (x, y), (end, y)], INK, 1.0, None)?;
            let label = format!("{name} ({})", fixed(*mean, 2));
            let (at, side) = if left { (end - 6.0, Side::Left) } else { (end + 6.0, Side::Right) };
            canvas.text(&label, LETTERS * fit(&label), (at, y), side)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_join_what_cannot_be_told_apart() {
        let bars = |mean: &[f64], critical: f64| {
            let names = vec![String::new(); mean.len()];
            Diagram { names, mean: mean.to_vec(), critical }.bars()
        };
        assert_eq!(bars(&[1.0, 1.5, 3.0, 3.2], 1.0), [(0, 1), (2, 3)]);
        assert_eq!(bars(&[1.0, 2.0, 2.5, 3.5], 1.2), [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(bars(&[1.0, 2.0, 3.0], 5.0), [(0, 2)]);
        assert!(bars(&[1.0, 2.0, 3.0], 0.5).is_empty());
    }
}
