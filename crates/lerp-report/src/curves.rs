//! Learning curves against training samples: mean distance and mean smoothness on lines, classifier accuracy and
//! reconstruction error on image sets.

use std::collections::BTreeMap;

use plotters::{
    coord::{Shift, ranged1d::Ranged, types::RangedCoordf64},
    element::DashedPathElement,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    Error, Result,
    conditions::Selection,
    images::{CLASSIFIER, ERROR},
    set::Set,
    style::{Draw, Drawing, GRID, INK, Look, both, fit, font, looks},
    summary::{Group, Sweep},
    text::number,
};

const PANEL: u32 = 460;
const HEIGHT: u32 = 430;
const LEGEND: u32 = 200;
const LETTERS: f64 = 14.0;

const DISTANCE: &str = "eval/mean_distance";

/// Where the axis of smoothness ends: no line turns this unevenly, but images that are not lines yet may seem to.
const MOST: f64 = 1.5;

/// The curves on lines, and what they show; none if nothing has been evaluated yet.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn lines(sweep: &Sweep) -> Result<Option<(String, Drawing)>> {
    let selection = sweep.lines();
    let panels = vec![
        Panel::new(&selection, DISTANCE, "mean distance, ×10⁻³", 1e3, Axis::Logarithmic),
        Panel::new(&selection, "eval/mean_smoothness", "mean smoothness", 1.0, Axis::FromZero { most: MOST }),
    ];
    if panels[0].is_empty() {
        return Ok(None);
    }
    let caption = format!(
        "Learning curves. Mean distance (left, logarithmic) and mean smoothness (right) of interpolations between test \
         lines, at every evaluation; lower is better for both. A model that draws only black is at 30.7 ×10⁻³ and \
         has no smoothness. While images are not lines yet, smoothness jumps; values above {MOST} are drawn at the edge.{} {}",
        band(&selection),
        selection.conditions(),
    );
    draw(&selection, panels).map(|drawing| Some((caption, drawing)))
}

/// The curves on an image set, and what they show; none if nothing has been evaluated yet.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn images(sweep: &Sweep, set: &Set) -> Result<Option<(String, Drawing)>> {
    let selection = Selection { groups: sweep.on(set).collect() };
    let accuracy = Panel::new(&selection, CLASSIFIER, "classifier accuracy, %", 100.0, Axis::Percent);
    let error = Panel::new(&selection, ERROR, "reconstruction error (MSE), ×10⁻³", 1e3, Axis::Logarithmic);
    let panels: Vec<Panel> = [accuracy, error].into_iter().filter(|panel| !panel.is_empty()).collect();
    let accuracy = "Accuracy of the single-layer classifier trained beside (higher is better)";
    let error = "mean squared error of reconstructions (logarithmic; lower is better)";
    let what = match panels.as_slice() {
        [] => return Ok(None),
        [_, _] => format!("{accuracy}, left, and {error}, right"),
        [panel] if panel.axis == Axis::Percent => accuracy.to_owned(),
        _ => error.replacen('m', "M", 1),
    };
    let caption = format!(
        "Learning curves on {} with a latent dimensionality of {}. {what}, on test images at every evaluation.{} {}",
        set.title(),
        set.dims,
        band(&selection),
        selection.conditions(),
    );
    draw(&selection, panels).map(|drawing| Some((caption, drawing)))
}

/// What is said where a curve is of several seeds.
fn band(selection: &Selection) -> &'static str {
    let several = selection.groups.iter().any(|group| group.runs.len() > 1);
    if several { " Mean over seeds; the band is from the lowest to the highest." } else { "" }
}

fn draw(selection: &Selection, panels: Vec<Panel>) -> Result<Drawing> {
    let groups = &selection.groups;
    let legend = groups.iter().map(|group| group.label.clone()).zip(looks(groups)).collect();
    let figure = Curves { panels, legend };
    // As high as the legend needs.
    let height = HEIGHT.max(48 + 24 * figure.legend.len() as u32);
    both(&figure, LEGEND + PANEL * figure.panels.len() as u32, height)
}

/// The kind of a vertical axis.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Axis {
    /// Around the values, logarithmic.
    Logarithmic,
    /// From zero; values above `most` are drawn at it.
    FromZero { most: f64 },
    /// Around the values, within 0 and 100.
    Percent,
}

/// One metric of all configurations.
struct Panel {
    title: &'static str,
    axis: Axis,
    curves: Vec<Curve>,
}

impl Panel {
    fn new(selection: &Selection, metric: &str, title: &'static str, factor: f64, axis: Axis) -> Self {
        let curves = selection.groups.iter().map(|group| Curve::of(group, metric, factor)).collect();
        Self { title, axis, curves }
    }

    fn is_empty(&self) -> bool {
        self.curves.iter().all(|curve| curve.points.is_empty())
    }

    /// The lowest (0), mean (1) or highest (2) values of all points.
    fn values(&self, which: usize) -> impl Iterator<Item = f64> {
        self.curves.iter().flat_map(|curve| &curve.points).map(move |point| point.1[which])
    }
}

/// One configuration's curve.
#[derive(Debug, Clone)]
struct Curve {
    /// Samples, and lowest, mean and highest value over seeds.
    points: Vec<(f64, [f64; 3])>,
    seeds: usize,
}

impl Curve {
    /// A seed whose value is undefined at a point is left out of it.
    fn of(group: &Group, metric: &str, factor: f64) -> Self {
        let mut at: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for loaded in &group.runs {
            for row in loaded.metrics.series(metric).filter(|row| row.value.is_finite()) {
                at.entry(row.samples).or_default().push(row.value * factor);
            }
        }
        let seeds = at.values().map(Vec::len).max().unwrap_or(0);
        let point = |(samples, values): (u64, Vec<f64>)| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (samples as f64, [low, values.iter().sum::<f64>() / values.len() as f64, high])
        };
        Self { points: at.into_iter().map(point).collect(), seeds }
    }
}

struct Curves {
    panels: Vec<Panel>,
    legend: Vec<(String, Look)>,
}

impl Draw for Curves {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, scale: u32) -> Result<()> {
        let failed = || Error::draw("the learning curves");
        area.fill(&WHITE).map_err(|e| failed()(e.to_string()))?;
        let all = self.panels.iter().flat_map(|panel| &panel.curves).flat_map(|c| &c.points);
        let samples = all.map(|p| p.0).fold(1.0, f64::max);
        let x = || 0.0..samples * 1.02;
        let mut rest = area.clone();
        for panel in &self.panels {
            let (here, beyond) = rest.split_horizontally((PANEL * scale) as i32);
            rest = beyond;
            let mut builder = chart(&here, scale);
            match panel.axis {
                Axis::Logarithmic => {
                    let low = panel.values(0).filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
                    let high = panel.values(2).fold(low, f64::max);
                    let (low, high) = if low.is_finite() { (low / 1.15, high * 1.15) } else { (1.0, 100.0) };
                    let y = (low..high).log_scale().with_key_points(ticks(low, high));
                    let mut chart =
                        builder.build_cartesian_2d(x(), y).map_err(|e| failed()(e.to_string()))?;
                    axes(&mut chart, scale, samples, panel.title)?;
                    self.plot(&mut chart, &panel.curves, scale, low..f64::INFINITY)?;
                }
                Axis::FromZero { most } => {
                    let high = panel.values(2).fold(0.5, f64::max).min(most);
                    let mut chart = builder
                        .build_cartesian_2d(x(), 0.0..high * 1.08)
                        .map_err(|e| failed()(e.to_string()))?;
                    axes(&mut chart, scale, samples, panel.title)?;
                    self.plot(&mut chart, &panel.curves, scale, 0.0..most)?;
                }
                Axis::Percent => {
                    let (low, high) = (
                        panel.values(0).fold(f64::INFINITY, f64::min),
                        panel.values(2).fold(f64::NEG_INFINITY, f64::max),
                    );
                    let room = ((high - low) * 0.06).max(0.5);
                    let shown = (low - room).clamp(0.0, 99.0)..(high + room).clamp(1.0, 100.0);
                    let mut chart = builder
                        .build_cartesian_2d(x(), shown.clone())
                        .map_err(|e| failed()(e.to_string()))?;
                    axes(&mut chart, scale, samples, panel.title)?;
                    self.plot(&mut chart, &panel.curves, scale, shown)?;
                }
            }
        }
        self.key(&rest, scale)
    }
}

/// Labelled values of a logarithmic axis: 1, 2 and 5 times the powers of ten, or these alone over many of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high / low < 3e3 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = powers.flat_map(|power| steps.iter().map(move |s| s * 10_f64.powi(power)));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

fn chart<'b, DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, scale: u32) -> ChartBuilder<'_, 'b, DB> {
    let mut chart = ChartBuilder::on(area);
    chart
        .margin_top(14 * scale)
        .margin_right(18 * scale)
        .margin_left(10 * scale)
        .margin_bottom(8 * scale)
        .x_label_area_size(52 * scale)
        .y_label_area_size(66 * scale);
    chart
}

/// Axes, grid and the titles of axes.
fn axes<DB: DrawingBackend, Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>>(
    chart: &mut ChartContext<DB, Cartesian2d<RangedCoordf64, Y>>,
    scale: u32,
    samples: f64,
    title: &str,
) -> Result<()> {
    let (unit, name) = match samples {
        s if s >= 4e6 => (1e6, "training samples, millions"),
        s if s >= 8e3 => (1e3, "training samples, thousands"),
        _ => (1.0, "training samples"),
    };
    let round = |v: f64| number((v * 1e6).round() / 1e6);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(scale))
        .axis_style(INK.stroke_width(scale))
        .x_labels(6)
        .y_labels(8)
        .x_label_formatter(&|v| round(v / unit))
        .y_label_formatter(&|v| round(*v))
        .label_style(font(LETTERS, scale))
        .x_desc(name)
        .y_desc(title)
        .axis_desc_style(font(LETTERS, scale))
        .draw()
        .map_err(|e| Error::draw("the learning curves")(e.to_string()))
}

impl Curves {
    fn plot<DB: DrawingBackend, Y: Ranged<ValueType = f64>>(
        &self,
        chart: &mut ChartContext<DB, Cartesian2d<RangedCoordf64, Y>>,
        curves: &[Curve],
        scale: u32,
        shown: std::ops::Range<f64>,
    ) -> Result<()> {
        let shown = |v: f64| v.clamp(shown.start, shown.end);
        let failed = |e: String| Error::draw("the learning curves")(e);
        for (curve, (_, look)) in curves.iter().zip(&self.legend) {
            if curve.seeds > 1 {
                let low = curve.points.iter().map(|(x, v)| (*x, shown(v[0])));
                let high = curve.points.iter().rev().map(|(x, v)| (*x, shown(v[2])));
                let band = Polygon::new(low.chain(high).collect::<Vec<_>>(), look.color.mix(0.18));
                chart.draw_series(std::iter::once(band)).map_err(|e| failed(e.to_string()))?;
            }
        }
        for (curve, (_, look)) in curves.iter().zip(&self.legend) {
            let points: Vec<(f64, f64)> = curve.points.iter().map(|(x, v)| (*x, shown(v[1]))).collect();
            let stroke = look.color.stroke_width(2 * scale);
            match look.dash {
                None => chart.draw_series(LineSeries::new(points.clone(), stroke)).map(|_| ()),
                Some((dash, gap)) => {
                    let line = DashedLineSeries::new(points.clone(), dash * scale, gap * scale, stroke);
                    chart.draw_series(line).map(|_| ())
                }
            }
            .map_err(|e| failed(e.to_string()))?;
            let every = points.len().div_ceil(12).max(1);
            let marks = points.iter().step_by(every).map(|at| EmptyElement::at(*at) + marker(look, scale));
            chart.draw_series(marks).map_err(|e| failed(e.to_string()))?;
        }
        Ok(())
    }

    /// The legend, one for both panels.
    fn key<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, scale: u32) -> Result<()> {
        let failed = |e: String| Error::draw("the learning curves")(e);
        let s = scale as i32;
        for (i, (label, look)) in self.legend.iter().enumerate() {
            let y = (24 + 24 * i as i32) * s;
            let ends = vec![(6 * s, y), (40 * s, y)];
            let stroke = look.color.stroke_width(2 * scale);
            match look.dash {
                None => area.draw(&PathElement::new(ends, stroke)),
                Some((dash, gap)) => {
                    area.draw(&DashedPathElement::new(ends, dash * scale, gap * scale, stroke))
                }
            }
            .map_err(|e| failed(e.to_string()))?;
            area.draw(&(EmptyElement::at((23 * s, y)) + marker(look, scale)))
                .map_err(|e| failed(e.to_string()))?;
            let style = font(LETTERS * fit(label), scale).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(label, &style, (48 * s, y)).map_err(|e| failed(e.to_string()))?;
        }
        Ok(())
    }
}

/// A marker around the origin: disc, square, triangle or diamond.
fn marker<DB: DrawingBackend>(look: &Look, scale: u32) -> DynElement<'static, DB, (i32, i32)> {
    let s = scale as i32;
    let fill = look.color.filled();
    let polygon = |corners: &[(i32, i32)]| {
        Polygon::new(corners.iter().map(|(x, y)| (x * s, y * s)).collect::<Vec<_>>(), fill).into_dyn()
    };
    match look.marker {
        0 => Circle::new((0, 0), 4 * s, fill).into_dyn(),
        1 => polygon(&[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
        2 => polygon(&[(0, -5), (5, 4), (-5, 4)]),
        _ => polygon(&[(0, -6), (5, 0), (0, 6), (-5, 0)]),
    }
}
