//! Learning curves: mean distance and mean smoothness against training samples.

use std::collections::BTreeMap;

use plotters::{
    coord::{Shift, ranged1d::Ranged, types::RangedCoordf64},
    element::DashedPathElement,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    Error, Result,
    style::{Draw, Drawing, GRID, INK, Look, both, fit, font, looks},
    summary::{Group, Sweep},
    text::number,
};

const WIDTH: u32 = 1120;
const HEIGHT: u32 = 430;
const LEGEND: u32 = 200;
const LETTERS: f64 = 14.0;

/// Where the axis of smoothness ends: no line turns this unevenly, but images that are not lines yet may seem to.
const MOST: f64 = 1.5;

/// What the figure shows.
pub fn caption(sweep: &Sweep) -> String {
    let several = sweep.on_lines().any(|group| group.runs.len() > 1);
    format!(
        "Learning curves. Mean distance (left, logarithmic) and mean smoothness (right) of interpolations between test \
         lines, at every evaluation; lower is better for both. A model that draws only black is at 30.7 ×10⁻³ and \
         has no smoothness. While images are not lines yet, smoothness jumps; values above {MOST} are drawn at the edge.{} {}",
        if several { " Mean over seeds; the band is from the lowest to the highest." } else { "" },
        sweep.conditions(),
    )
}

/// Draws it; none if nothing has been evaluated yet.
///
/// # Errors
/// If the figure cannot be drawn.
pub fn draw(sweep: &Sweep) -> Result<Option<Drawing>> {
    let groups: Vec<&Group> = sweep.on_lines().collect();
    let curves = |metric: &str, factor: f64| -> Vec<Curve> {
        groups.iter().map(|group| Curve::of(group, metric, factor)).collect()
    };
    let figure = Curves {
        distance: curves("eval/mean_distance", 1e3),
        smoothness: curves("eval/mean_smoothness", 1.0),
        legend: groups.iter().map(|g| g.label.clone()).zip(looks(&groups)).collect(),
    };
    if figure.distance.iter().all(|curve| curve.points.is_empty()) {
        return Ok(None);
    }
    // As high as the legend needs.
    let height = HEIGHT.max(48 + 24 * figure.legend.len() as u32);
    both(&figure, WIDTH, height).map(Some)
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
    distance: Vec<Curve>,
    smoothness: Vec<Curve>,
    legend: Vec<(String, Look)>,
}

impl Draw for Curves {
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, scale: u32) -> Result<()> {
        let failed = || Error::draw("the learning curves");
        area.fill(&WHITE).map_err(|e| failed()(e.to_string()))?;
        let width = ((WIDTH - LEGEND) / 2 * scale) as i32;
        let (left, rest) = area.split_horizontally(width);
        let (right, legend) = rest.split_horizontally(width);

        let all = || self.distance.iter().chain(&self.smoothness).flat_map(|c| &c.points);
        let samples = all().map(|p| p.0).fold(1.0, f64::max);
        let x = || 0.0..samples * 1.02;
        let values = |curves: &[Curve]| {
            let of =
                |i: usize| curves.iter().flat_map(|c| &c.points).map(move |p| p.1[i]).collect::<Vec<_>>();
            (of(0), of(2))
        };

        let (low, high) = values(&self.distance);
        let low = low.into_iter().filter(|v| *v > 0.0).fold(f64::INFINITY, f64::min);
        let high = high.into_iter().fold(low, f64::max);
        let (low, high) = if low.is_finite() { (low / 1.15, high * 1.15) } else { (1.0, 100.0) };
        let mut chart = chart(&left, scale)
            .build_cartesian_2d(x(), (low..high).log_scale().with_key_points(ticks(low, high)))
            .map_err(|e| failed()(e.to_string()))?;
        panel(&mut chart, scale, samples, "mean distance, ×10⁻³")?;
        self.plot(&mut chart, &self.distance, scale, low..f64::INFINITY)?;

        let high = values(&self.smoothness).1.into_iter().fold(0.5, f64::max).min(MOST);
        let mut chart = self::chart(&right, scale)
            .build_cartesian_2d(x(), 0.0..high * 1.08)
            .map_err(|e| failed()(e.to_string()))?;
        panel(&mut chart, scale, samples, "mean smoothness")?;
        self.plot(&mut chart, &self.smoothness, scale, 0.0..MOST)?;
        self.key(&legend, scale)
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
fn panel<DB: DrawingBackend, Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>>(
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
