//! Learning curves over training samples: mean distance and mean smoothness on lines, classifier accuracy and
//! reconstruction error on image sets.

use lerp_eval::{
    LineReference, Quantity,
    quantity::{CLASSIFIER_ACCURACY, CODES_IN_USE, MEAN_DISTANCE, MEAN_SMOOTHNESS, RECONSTRUCTION_MSE},
};
use plotters::prelude::DrawingBackend;
use unicode_width::UnicodeWidthStr;

use super::{
    Drawn,
    canvas::{Canvas, Drawable, Side, both},
    plot::{Axis, LETTERS, Numbered, Plot, PlotArea, extent, pieces},
    style::{CurveStyle, Drawing, INK, curve_styles, fit},
};
use crate::{
    Result,
    reading::{RunGroup, SizedImageSet, Sweep, title_with_unit, user_metrics},
    statistics::{LineScores, reference_scores},
    verdicts::Selection,
};

/// The widths of a panel and of the legend to the right of several panels.
const PANEL: f64 = 440.0;
const LEGEND: f64 = 220.0;
/// The heights of a panel with its titles and of a line of the legend.
const HEIGHT: f64 = 400.0;
const LINE: f64 = 24.0;
/// The margins of a panel, for numbers and titles of axes.
const LEFT: f64 = 76.0;
const BELOW: f64 = 56.0;
const TOP: f64 = 14.0;
const RIGHT: f64 = 18.0;

/// The number of panels next to one another, and the most panels in all.
const PANELS_PER_ROW: usize = 2;
const MAX_PANELS: usize = 10;

/// The end of the axis of smoothness. No line turns so unevenly, but images that are not lines yet may seem to.
const MAX_SMOOTHNESS: f64 = 1.5;

/// Draws the curves on lines, or returns `None` if nothing has been evaluated yet.
pub fn lines(sweep: &Sweep) -> Result<Option<Drawn<'_>>> {
    let selection = trained(sweep, None);
    let mut panels = vec![
        CurvesPanel::new(&selection, &MEAN_DISTANCE, "mean distance, ×10⁻³", 1e3, AxisKind::Logarithmic)
            .with_reference(LineReference::Blend, |scores| scores.distance, 1e3),
        CurvesPanel::new(
            &selection,
            &MEAN_SMOOTHNESS,
            "mean smoothness",
            1.0,
            AxisKind::FromZero { most: MAX_SMOOTHNESS },
        )
        .with_reference(LineReference::Circle, |scores| scores.smoothness, 1.0),
    ];
    if panels[0].is_empty() {
        return Ok(None);
    }
    let more = codebook(&selection, &mut panels) + &user_metric_panels(&selection, &mut panels);
    let caption = format!(
        "Learning curves. Mean distance (left, logarithmic) and mean smoothness (right) of interpolations between test \
         lines, at every evaluation; lower is better for both. Dashed: left what blended pixels have, right what true lines have \
         whose latents lie on a circle (Table 1). A model that draws only black is at 30.7 ×10⁻³ and \
         has no smoothness. While images are not lines yet, smoothness jumps; values above {MAX_SMOOTHNESS} are drawn at the edge.{more}{}",
        band(&selection),
    );
    draw(&selection, panels).map(|drawing| Some(Drawn { caption, drawing, shows: selection.groups }))
}

/// Draws the curves on an image set, or returns `None` if nothing has been evaluated yet.
pub fn images<'a>(sweep: &'a Sweep, set: &SizedImageSet) -> Result<Option<Drawn<'a>>> {
    let selection = trained(sweep, Some(set));
    let accuracy = CurvesPanel::new(
        &selection,
        &CLASSIFIER_ACCURACY,
        "classifier accuracy, %",
        100.0,
        AxisKind::Percent,
    );
    let error = CurvesPanel::new(
        &selection,
        &RECONSTRUCTION_MSE,
        "reconstruction error (MSE), ×10⁻³",
        1e3,
        AxisKind::Logarithmic,
    );
    let mut panels: Vec<CurvesPanel> =
        [accuracy, error].into_iter().filter(|panel| !panel.is_empty()).collect();
    if sweep.has_one_class(set) {
        panels.retain(|panel| panel.kind != AxisKind::Percent);
    }
    let accuracy = "Accuracy of the jointly trained single-layer classifier (higher is better)";
    let error = "mean squared error of reconstructions (logarithmic; lower is better)";
    let what = match panels.as_slice() {
        [] => return Ok(None),
        [_, _] => format!("{accuracy}, left, and {error}, right"),
        [panel] if panel.kind == AxisKind::Percent => accuracy.to_owned(),
        _ => error.replacen('m', "M", 1),
    };
    let more = codebook(&selection, &mut panels) + &user_metric_panels(&selection, &mut panels);
    let caption = format!(
        "Learning curves on {}. {what}, on test images at every evaluation.{more}{}",
        set.words(),
        band(&selection),
    );
    draw(&selection, panels).map(|drawing| Some(Drawn { caption, drawing, shows: selection.groups }))
}

/// Selects the configurations that were trained here; others have no curves.
fn trained<'a>(sweep: &'a Sweep, set: Option<&SizedImageSet>) -> Selection<'a> {
    let mut groups = sweep.shown(set);
    groups.retain(|group| group.cell().origin.is_trained());
    Selection { groups }
}

/// Adds a panel of the codebook entries in use if runs have a codebook, and returns its part of the caption.
fn codebook(selection: &Selection, panels: &mut Vec<CurvesPanel>) -> String {
    let panel =
        CurvesPanel::new(selection, &CODES_IN_USE, "entries of the codebook in use", 1.0, AxisKind::Around);
    if panel.is_empty() {
        return String::new();
    }
    panels.push(panel);
    " Then the number of different entries of the codebook that the test images are encoded with.".into()
}

/// Adds panels of user-defined metrics, and returns their part of the caption.
fn user_metric_panels(selection: &Selection, panels: &mut Vec<CurvesPanel>) -> String {
    let mut said = String::new();
    for quantity in user_metrics(selection.groups.iter().copied()) {
        let panel = CurvesPanel::new(selection, quantity, title_with_unit(quantity), 1.0, AxisKind::Around);
        if panel.is_empty() {
            continue;
        }
        if panels.len() == MAX_PANELS {
            return said + " There are more, which the pages of runs show.";
        }
        said += if said.is_empty() { " Then metrics of this study's own: " } else { " " };
        said += &(title_with_unit(quantity) + ": " + quantity.caption.trim_end_matches('.') + ".");
        panels.push(panel);
    }
    said
}

/// Returns the sentence of the caption on bands, which curves of several seeds have.
fn band(selection: &Selection) -> &'static str {
    let several = selection.groups.iter().any(|group| group.runs.len() > 1);
    if several {
        " Mean over the seeds that have a value there; the band is from the lowest to the highest."
    } else {
        ""
    }
}

fn draw(selection: &Selection, panels: Vec<CurvesPanel>) -> Result<Drawing> {
    let groups = &selection.groups;
    let legend: Vec<(String, CurveStyle)> =
        groups.iter().map(|group| group.label.clone()).zip(curve_styles(groups)).collect();
    let all = panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    let samples = Axis::samples(all.map(|point| point.0).fold(1.0, f64::max), 6);
    let figure = Curves { panels, legend, samples };
    both(&figure, figure.width() as u32, figure.height() as u32)
}

/// The kind of a vertical axis.
#[derive(Debug, Clone, Copy, PartialEq)]
enum AxisKind {
    /// A logarithmic axis that covers the values.
    Logarithmic,
    /// A linear axis from zero; values above `most` are drawn at its end.
    FromZero { most: f64 },
    /// A linear axis that covers the values, within 0 and 100.
    Percent,
    /// A linear axis that covers the values.
    Around,
}

/// The curves of one metric, for all configurations.
struct CurvesPanel {
    title: String,
    kind: AxisKind,
    curves: Vec<Curve>,
    /// The value of a dashed reference line.
    reference: Option<f64>,
}

impl CurvesPanel {
    fn new(
        selection: &Selection,
        metric: &Quantity,
        title: impl Into<String>,
        factor: f64,
        kind: AxisKind,
    ) -> Self {
        let curves = selection.groups.iter().map(|group| Curve::of(group, metric, factor)).collect();
        Self { title: title.into(), kind, curves, reference: None }
    }

    /// Adds a dashed line at the value of a reference interpolation.
    fn with_reference(self, reference: LineReference, of: fn(&LineScores) -> f64, factor: f64) -> Self {
        Self { reference: reference_scores(reference).map(|scores| of(scores) * factor), ..self }
    }

    fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    /// Iterates over the lowest, mean and highest values of all points.
    fn values(&self) -> impl Iterator<Item = f64> {
        self.curves.iter().flat_map(|curve| &curve.points).filter_map(|point| point.1).flatten()
    }

    fn axis(&self) -> Axis {
        let (low, high) = extent(self.values());
        let shown = match self.kind {
            AxisKind::Logarithmic => return Axis::logarithmic(self.values(), &self.title),
            AxisKind::FromZero { most } => 0.0..high.max(0.5).min(most) * 1.04,
            AxisKind::Percent => {
                let room = ((high - low) * 0.06).max(0.5);
                (low - room).clamp(0.0, 99.0)..(high + room).clamp(1.0, 100.0)
            }
            AxisKind::Around => {
                let room = if high > low { (high - low) * 0.06 } else { low.abs().max(1.0) * 0.06 };
                low - room..high + room
            }
        };
        Axis::linear(shown, 7, &self.title)
    }
}

/// The curve of one configuration.
#[derive(Debug, Clone)]
struct Curve {
    /// The number of samples, and the lowest, mean and highest value over seeds, which are `None` if the metric is
    /// undefined for every seed.
    points: Vec<(f64, Option<[f64; 3]>)>,
    /// The most seeds behind any point.
    seeds: usize,
}

impl Curve {
    /// Collects the curve of a metric. A seed whose value is undefined at a point is left out of that point.
    fn of(group: &RunGroup, metric: &Quantity, factor: f64) -> Self {
        let curve = group.curves.get(&*metric.key).into_iter().flatten();
        let points: Vec<_> =
            curve.clone().map(|(samples, spread)| (*samples as f64, spread.range(factor))).collect();
        Self { points, seeds: curve.map(|(_, spread)| spread.count).max().unwrap_or(0) }
    }
}

struct Curves {
    panels: Vec<CurvesPanel>,
    legend: Vec<(String, CurveStyle)>,
    samples: Axis,
}

impl Curves {
    /// Returns whether the legend is below the panel, as for a single panel.
    fn legend_is_below(&self) -> bool {
        self.panels.len() < 2
    }

    fn columns(&self) -> usize {
        let longest = self.legend.iter().map(|(label, _)| label.width()).max().unwrap_or(0);
        match longest {
            _ if !self.legend_is_below() => 1,
            0..=12 => 3,
            _ => 2,
        }
    }

    fn width(&self) -> f64 {
        if self.legend_is_below() {
            PANEL + 40.0
        } else {
            PANEL * self.panels.len().min(PANELS_PER_ROW) as f64 + LEGEND
        }
    }

    fn height(&self) -> f64 {
        let legend = LINE * self.legend.len().div_ceil(self.columns()) as f64;
        if self.legend_is_below() {
            HEIGHT + legend + 8.0
        } else {
            let rows = self.panels.len().div_ceil(PANELS_PER_ROW) as f64;
            (HEIGHT * rows).max(24.0 + legend)
        }
    }

    /// Draws the legend, which all panels share.
    fn draw_legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let columns = self.columns();
        let (left, top) =
            if self.legend_is_below() { (24.0, HEIGHT + 8.0) } else { (self.width() - LEGEND + 6.0, 26.0) };
        for (i, (label, style)) in self.legend.iter().enumerate() {
            let x = left + (self.width() - left) / columns as f64 * (i % columns) as f64;
            let y = top + LINE * (i / columns) as f64;
            canvas.line(&[(x, y), (x + 34.0, y)], style.color, 2.0, style.dash)?;
            canvas.marker(style, (x + 17.0, y))?;
            canvas.text(label, LETTERS * fit(label), (x + 42.0, y), Side::Right)?;
        }
        Ok(())
    }
}

impl Drawable for Curves {
    fn what(&self) -> &'static str {
        "the learning curves"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        for (i, panel) in self.panels.iter().enumerate() {
            let wide = if self.legend_is_below() { self.width() } else { PANEL };
            let area = PlotArea {
                left: PANEL * (i % PANELS_PER_ROW) as f64 + LEFT,
                top: HEIGHT * (i / PANELS_PER_ROW) as f64 + TOP,
                width: wide - LEFT - RIGHT,
                height: HEIGHT - TOP - BELOW,
            };
            let y = panel.axis();
            let plot = Plot { area, x: &self.samples, y: &y };
            plot.axes(canvas, Numbered::BOTH)?;
            plot.titles(canvas, 28.0, 60.0)?;
            if let Some(value) = panel.reference.filter(|value| y.shows(*value)) {
                let (_, height) = plot.at(0.0, value);
                canvas.line(
                    &[(area.left, height), (area.left + area.width, height)],
                    INK,
                    1.0,
                    Some((5, 4)),
                )?;
            }
            let curves = || panel.curves.iter().zip(self.legend.iter().map(|(_, style)| style));
            for (curve, style) in curves().filter(|(curve, _)| curve.seeds > 1) {
                for piece in pieces(&curve.points) {
                    plot.band(canvas, &piece, style)?;
                }
            }
            for (curve, style) in curves() {
                let pieces = pieces(&curve.points);
                for piece in &pieces {
                    plot.curve(canvas, piece, style)?;
                }
                // A point between two gaps has no line, so it always gets a marker.
                let every = curve.points.len().div_ceil(12).max(1);
                let marked = pieces.iter().enumerate().flat_map(|(p, piece)| {
                    let lone = piece.len() == 1;
                    piece.iter().enumerate().filter(move |(i, _)| lone || (i + p).is_multiple_of(every))
                });
                for (_, point) in marked {
                    canvas.marker(style, plot.at(point.x, point.middle))?;
                }
            }
        }
        self.draw_legend(canvas)
    }
}
