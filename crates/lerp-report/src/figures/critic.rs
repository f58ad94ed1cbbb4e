//! The figure of the critic's estimates of α against its true values, over training.

use lerp_eval::{Quantity, quantity::CRITIC_ALPHA};
use plotters::prelude::DrawingBackend;

use super::{
    Drawn,
    canvas::{Canvas, Drawable, Side, both},
    captions::test_examples,
    plot::{Axis, BandPoint, LETTERS, NUMBERS, Numbered, Plot, PlotArea, pieces},
    style::{CurveStyle, shade},
};
use crate::{
    Result,
    reading::{RunGroup, SizedImageSet, Spread, Sweep},
    text::{LongWords, wrap},
};

/// The number of true values of α, and the steps between 0 and 1 that they are counted in.
const VALUES: usize = CRITIC_ALPHA.len();
const STEPS: f64 = 15.0;
/// The size of a panel with its titles, alone and among several, and the number of panels next to one another.
const ALONE: (f64, f64) = (480.0, 390.0);
const AMONG: (f64, f64) = (345.0, 330.0);
const PANELS_PER_ROW: usize = 3;
const LINE: f64 = 17.0;

/// The estimates of one configuration's critic.
struct CriticPanel {
    heading: String,
    /// The unbroken pieces of the curve of each true value.
    curves: Vec<Vec<Vec<BandPoint>>>,
}

impl CriticPanel {
    fn of(group: &RunGroup) -> Self {
        let curve = |metric: &Quantity| {
            let curve = group.curves.get(&*metric.key).into_iter().flatten();
            let mean = |spread: &Spread| spread.range(1.0).map(|[_, mean, _]| [mean; 3]);
            let points: Vec<_> = curve.map(|(samples, spread)| (*samples as f64, mean(spread))).collect();
            pieces(&points)
        };
        Self { heading: group.label.clone(), curves: CRITIC_ALPHA.iter().map(curve).collect() }
    }

    fn points(&self) -> impl Iterator<Item = &BandPoint> {
        self.curves.iter().flatten().flatten()
    }
}

/// Draws the estimates on lines or on an image set, or returns `None` if no configuration has measured any.
pub fn draw<'a>(sweep: &'a Sweep, set: Option<&SizedImageSet>) -> Result<Option<Drawn<'a>>> {
    let all = sweep.shown(set).into_iter().map(|group| (group, CriticPanel::of(group)));
    let (groups, panels): (Vec<&RunGroup>, Vec<CriticPanel>) =
        all.filter(|(_, panel)| panel.points().next().is_some()).unzip();
    if groups.is_empty() {
        return Ok(None);
    }
    let values = || panels.iter().flat_map(CriticPanel::points);
    let samples = values().map(|point| point.x).fold(1.0, f64::max);
    let low = values().map(|point| point.middle).fold(0.0, f64::min).max(-0.25);
    let high = values().map(|point| point.middle).fold(7.0 / STEPS, f64::max).min(1.0);
    let edge = values().any(|point| !(-0.25..=1.0).contains(&point.middle));
    let x = Axis::samples(samples, if groups.len() == 1 { 6 } else { 4 });
    let y = Axis::linear(low - 0.03..high + 0.03, 6, "estimate of α");
    let names: Vec<&str> = groups.iter().map(|group| group.label.as_str()).collect();
    let several = groups.iter().any(|group| group.runs.len() > 1);
    let caption = format!(
        "What the critic of {} says over training about images decoded between two {}: the mean of its estimates of α, \
         a line for each true value, folded to at most 1/2; dotted, the true values.{}{}",
        names.join(", "),
        test_examples(set),
        if several { " Mean over seeds." } else { "" },
        if edge { " Estimates below -0.25 or above 1 are drawn at the edge." } else { "" },
    );
    let figure = Critic { panels, x, y };
    let (width, height) = figure.size();
    let drawing = both(&figure, width as u32, height as u32)?;
    Ok(Some(Drawn { caption, drawing, shows: groups }))
}

struct Critic {
    panels: Vec<CriticPanel>,
    x: Axis,
    y: Axis,
}

impl Critic {
    /// Returns the size of a panel with its titles.
    fn panel(&self) -> (f64, f64) {
        if self.panels.len() == 1 { ALONE } else { AMONG }
    }

    fn heading(&self, panel: &CriticPanel) -> Vec<String> {
        if self.panels.len() == 1 { Vec::new() } else { wrap(&panel.heading, 30, LongWords::Keep) }
    }

    /// Returns the height of the headings.
    fn above(&self) -> f64 {
        let lines = self.panels.iter().map(|panel| self.heading(panel).len()).max().unwrap_or(0);
        LINE * lines as f64 + 24.0
    }

    fn size(&self) -> (f64, f64) {
        let (width, height) = self.panel();
        let rows = self.panels.len().div_ceil(PANELS_PER_ROW) as f64;
        (width * self.panels.len().min(PANELS_PER_ROW) as f64, (height + self.above()) * rows)
    }
}

impl Drawable for Critic {
    fn what(&self) -> &'static str {
        "the critic's estimates"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let (width, height) = self.panel();
        for (p, panel) in self.panels.iter().enumerate() {
            let (column, row) = ((p % PANELS_PER_ROW) as f64, (p / PANELS_PER_ROW) as f64);
            let top = row * (height + self.above()) + self.above();
            let (left, right) = (column * width + 70.0, column * width + width - 56.0);
            let area = PlotArea { left, top, width: right - left, height: height - 58.0 };
            let plot = Plot { area, x: &self.x, y: &self.y };
            for (line, words) in self.heading(panel).iter().rev().enumerate() {
                let at = (left.midpoint(right), top - 10.0 - LINE * line as f64);
                canvas.text(words, LETTERS, at, Side::Above)?;
            }
            plot.axes(canvas, Numbered::BOTH)?;
            plot.titles(canvas, 30.0, 54.0)?;
            canvas.text("true α", NUMBERS, (right + 8.0, top - 8.0), Side::Right)?;
            for (i, curves) in panel.curves.iter().enumerate() {
                let style = CurveStyle { color: shade(i, VALUES), dash: None, marker: 0 };
                let truth = i as f64 / STEPS;
                let (_, y) = plot.at(0.0, truth);
                canvas.line(&[(left, y), (right, y)], style.color, 1.25, Some((2, 4)))?;
                let label = if i == 0 { "0".to_owned() } else { format!("{i}/{STEPS}") };
                canvas.text(&label, NUMBERS, (right + 8.0, y), Side::Right)?;
                for piece in curves {
                    plot.curve(canvas, piece, &style)?;
                    if let [point] = piece.as_slice() {
                        canvas.marker(&style, plot.at(point.x, point.middle))?;
                    }
                }
            }
        }
        Ok(())
    }
}
