//! The figure of the usefulness of latents against the quality of interpolations, with a point for each finished run.

use plotters::prelude::DrawingBackend;

use super::{
    Drawn,
    canvas::{Canvas, Drawable, Side, both},
    plot::{Axis, LETTERS, Numbered, Plot, PlotArea, extent, legend_entry, legend_width},
    style::{CurveStyle, curve_styles},
};
use crate::{
    Result,
    reading::{RunGroup, SizedImageSet, distinct},
    statistics::{Analysis, MeasuredOn, Pairs},
    text::unique_by,
};

/// The size of a panel, and the margins for numbers and titles of axes.
const PANEL: (f64, f64) = (330.0, 230.0);
const LEFT: f64 = 84.0;
const ABOVE: f64 = 36.0;
const BELOW: f64 = 62.0;
/// The height of a line of the legend.
const LINE: f64 = 24.0;
/// The number of panels next to one another.
const PANELS_PER_ROW: usize = 2;
/// The most panels.
const MAX_PANELS: usize = 16;

/// Draws the points, or returns `None` if no image set has three configurations with both numbers.
pub fn draw<'a>(analysis: &Analysis<'a>) -> Result<Option<Drawn<'a>>> {
    let all: Vec<&Pairs> = analysis.pairs.iter().filter(|pairs| pairs.is_drawn()).collect();
    let cut = if all.len() > MAX_PANELS {
        format!(" These are the first {MAX_PANELS} of {} panels.", all.len())
    } else {
        String::new()
    };
    let pairs: Vec<Pairs> =
        all.into_iter().take(MAX_PANELS).map(|pairs| pairs.only(|group| group.shown)).collect();
    let groups = distinct(pairs.iter().flat_map(Pairs::configurations));
    // Configurations with the same label on several image sets share a style.
    let legend = unique_by(groups.iter().copied(), |group| group.label.as_str());
    if legend.is_empty() {
        return Ok(None);
    }
    let all = curve_styles(&legend);
    let style = |group: &RunGroup| {
        let index = legend.iter().position(|known| known.label == group.label).unwrap_or(0);
        all[index]
    };
    let panels = pairs.iter().map(|pairs| {
        let (x, factor) = match pairs.x.on {
            MeasuredOn::Itself => ("kernel distance of interpolations", 1.0),
            MeasuredOn::Lines => ("mean distance on lines, ×10⁻³", 1e3),
        };
        let points: Vec<(CurveStyle, f64, f64)> = pairs
            .groups
            .iter()
            .flat_map(|of| of.points.iter().map(|(x, y)| (style(of.group), x * factor, y * 100.0)))
            .collect();
        let y = if pairs.y.name().starts_with("probe") { "classifier, %" } else { "clusters, %" };
        ScatterPanel {
            heading: pairs.set.map(SizedImageSet::name).unwrap_or_default(),
            x: around(points.iter().map(|p| p.1), x),
            y: around(points.iter().map(|p| p.2), y),
            points,
        }
    });
    let panels: Vec<ScatterPanel> = panels.collect();
    let legend = legend.iter().map(|group| group.label.clone()).zip(all).collect();
    let figure = Scatter { panels, legend };
    let drawing = both(&figure, figure.width() as u32, figure.height() as u32)?;
    let caption = "Usefulness of latents against interpolation, a point for each finished run: accuracy of the classifier fitted to \
                   features and of clusters, on test images, against the kernel distance of the same model's \
                   interpolations to real images (Table 5), or the mean distance of the variant's interpolations on lines (Table 1). If \
                   better interpolation goes with more useful latents, points lie from the top left to the bottom right."
        .to_owned()
        + &cut;
    Ok(Some(Drawn { caption, drawing, shows: groups }))
}

/// Returns a linear axis that covers the values.
fn around(values: impl Iterator<Item = f64>, title: &str) -> Axis {
    let (low, high) = extent(values);
    let room = ((high - low) * 0.08).max(1e-3 * high.abs()).max(1e-6);
    Axis::linear(low - room..high + room, 5, title)
}

struct ScatterPanel {
    heading: String,
    x: Axis,
    y: Axis,
    points: Vec<(CurveStyle, f64, f64)>,
}

struct Scatter {
    panels: Vec<ScatterPanel>,
    legend: Vec<(String, CurveStyle)>,
}

impl Scatter {
    fn width(&self) -> f64 {
        let labels = self.legend.iter().map(|(label, _)| label.as_str());
        (LEFT + PANEL.0) * PANELS_PER_ROW as f64 + 60.0 + legend_width(labels)
    }

    fn height(&self) -> f64 {
        let rows = self.panels.len().div_ceil(PANELS_PER_ROW) as f64;
        ((ABOVE + PANEL.1 + BELOW) * rows).max(ABOVE + LINE * self.legend.len() as f64 + 12.0)
    }
}

impl Drawable for Scatter {
    fn what(&self) -> &'static str {
        "usefulness against interpolation"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (i, panel) in self.panels.iter().enumerate() {
            let left = LEFT + (LEFT + PANEL.0) * (i % PANELS_PER_ROW) as f64;
            let top = ABOVE + (ABOVE + PANEL.1 + BELOW) * (i / PANELS_PER_ROW) as f64;
            let area = PlotArea { left, top, width: PANEL.0, height: PANEL.1 };
            let plot = Plot { area, x: &panel.x, y: &panel.y };
            plot.axes(canvas, Numbered::BOTH)?;
            plot.titles(canvas, 28.0, 60.0)?;
            canvas.text(&panel.heading, LETTERS, (left + PANEL.0 / 2.0, top - 8.0), Side::Above)?;
            for (style, x, y) in &panel.points {
                canvas.marker(style, plot.at(*x, *y))?;
            }
        }
        for (i, (label, style)) in self.legend.iter().enumerate() {
            let at = ((LEFT + PANEL.0) * PANELS_PER_ROW as f64 + 26.0, ABOVE + 12.0 + LINE * i as f64);
            legend_entry(canvas, at, style, label)?;
        }
        Ok(())
    }
}
