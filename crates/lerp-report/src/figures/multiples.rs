//! Small multiples: a column of panels for each configuration, and rows that share an axis.

use plotters::prelude::DrawingBackend;

use super::{
    canvas::{Canvas, Drawable, Side, both},
    plot::{Axis, BandPoint, LETTERS, NUMBERS, Numbered, Plot, PlotArea},
    style::{CurveStyle, Drawing, IDEAL},
};
use crate::{
    Result,
    text::{LongWords, wrap},
};

/// The width of the figure, and the most columns next to one another.
const WIDTH: f64 = 1000.0;
const COLUMNS: usize = 7;
/// The greatest width of a panel.
const WIDEST: f64 = 250.0;
const HEIGHT: f64 = 140.0;
/// The gap between panels, the margins for numbers and titles of axes, and the height of a line of a heading.
const GAP: f64 = 18.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 14.0;
const BELOW: f64 = 50.0;
const LINE: f64 = 18.0;

/// The content of one panel.
#[derive(Debug, Default)]
pub struct GridPanel {
    /// The unbroken pieces of the curve, with quartiles.
    pub pieces: Vec<Vec<BandPoint>>,
    /// A text shown in place of the curve.
    pub note: Option<&'static str>,
    /// A text shown in the corner of the panel.
    pub corner: Option<String>,
}

/// A row of panels.
pub struct GridRow {
    /// The axis that the panels of the row share; its title may have two lines.
    pub y: Axis,
    /// The points of a dashed reference curve.
    pub ideal: Vec<(f64, f64)>,
    /// The panels, one for each column.
    pub panels: Vec<GridPanel>,
}

/// A figure of small multiples.
pub struct Multiples {
    /// The name of the figure in error messages.
    pub what: &'static str,
    /// The axis that all panels share.
    pub x: Axis,
    /// The heading and the style of every column.
    pub columns: Vec<(String, CurveStyle)>,
    /// The rows, from the top.
    pub rows: Vec<GridRow>,
}

impl Multiples {
    /// Draws the figure.
    pub fn drawing(&self) -> Result<Drawing> {
        let beside = self.beside();
        let bands = self.columns.len().div_ceil(beside.max(1));
        let width = LEFT + self.panel() * beside as f64 + GAP * (beside as f64 - 1.0) + RIGHT;
        both(self, width as u32, (self.band() * bands as f64) as u32)
    }

    /// Returns the number of columns next to one another.
    fn beside(&self) -> usize {
        self.columns.len().clamp(1, COLUMNS)
    }

    /// Returns the width of a panel.
    fn panel(&self) -> f64 {
        let n = self.beside() as f64;
        ((WIDTH - LEFT - RIGHT - GAP * (n - 1.0)) / n).min(WIDEST)
    }

    /// Returns the lines of a column's heading.
    fn heading(&self, i: usize) -> Vec<String> {
        wrap(&self.columns[i].0, (self.panel() / (0.6 * LETTERS)) as usize, LongWords::Keep)
    }

    /// Returns the height of the headings.
    fn above(&self) -> f64 {
        let lines = (0..self.columns.len()).map(|i| self.heading(i).len()).max().unwrap_or(1);
        12.0 + LINE * lines as f64
    }

    /// Returns the height of a band: the columns that are next to one another, with their headings.
    fn band(&self) -> f64 {
        self.above() + (HEIGHT + GAP) * self.rows.len() as f64 - GAP + BELOW
    }
}

impl Drawable for Multiples {
    fn what(&self) -> &'static str {
        self.what
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (i, (_, style)) in self.columns.iter().enumerate() {
            let (band, column) = (i / self.beside(), i % self.beside());
            let left = LEFT + column as f64 * (self.panel() + GAP);
            let top = band as f64 * self.band();
            let heading = self.heading(i);
            for (line, words) in heading.iter().rev().enumerate() {
                let y = top + self.above() - 6.0 - LINE * line as f64;
                canvas.text(words, LETTERS, (left + self.panel() / 2.0, y), Side::Above)?;
            }
            for (r, row) in self.rows.iter().enumerate() {
                let top = top + self.above() + r as f64 * (HEIGHT + GAP);
                let area = PlotArea { left, top, width: self.panel(), height: HEIGHT };
                let plot = Plot { area, x: &self.x, y: &row.y };
                let last = r + 1 == self.rows.len();
                plot.axes(canvas, Numbered { x: last, y: column == 0 })?;
                if column == 0 {
                    plot.title_beside(canvas, 56.0)?;
                }
                let ideal: Vec<_> = row.ideal.iter().map(|(x, y)| plot.at(*x, *y)).collect();
                let Some(panel) = row.panels.get(i) else { continue };
                for piece in &panel.pieces {
                    plot.band(canvas, piece, style)?;
                }
                if let Some(note) = panel.note {
                    let middle = (left + self.panel() / 2.0, top + HEIGHT * 0.3);
                    canvas.text(note, NUMBERS, middle, Side::Middle)?;
                    continue;
                }
                canvas.line(&ideal, IDEAL, 1.25, Some((5, 3)))?;
                for piece in &panel.pieces {
                    // Columns already tell configurations apart, so curves are not dashed.
                    plot.curve(canvas, piece, &CurveStyle { dash: None, ..*style })?;
                }
                if let Some(words) = &panel.corner {
                    canvas.text(words, NUMBERS, (left + self.panel() - 4.0, top + 10.0), Side::Left)?;
                }
            }
            if column == 0 {
                let here = (self.columns.len() - i).min(self.beside()) as f64;
                let middle = LEFT + (here * (self.panel() + GAP) - GAP) / 2.0;
                canvas.text(&self.x.title, LETTERS, (middle, top + self.band() - 24.0), Side::Below)?;
            }
        }
        Ok(())
    }
}
