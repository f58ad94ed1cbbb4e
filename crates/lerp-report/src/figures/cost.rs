//! The figure of quality against training time, with a point for each finished run.

use lerp_eval::{
    Quantity,
    quantity::{MEAN_DISTANCE, PROBE_ACCURACY},
};
use plotters::prelude::DrawingBackend;

use super::{
    Drawn,
    canvas::{Canvas, Drawable, both},
    plot::{Axis, Numbered, Plot, PlotArea, extent, legend_entry, legend_width},
    style::{CurveStyle, curve_styles},
};
use crate::{
    Result,
    reading::{LoadedRun, RunGroup, SizedImageSet, Sweep},
};

/// The size of the plot, and the margins for numbers and titles of axes.
const PLOT: (f64, f64) = (440.0, 330.0);
const LEFT: f64 = 84.0;
const TOP: f64 = 14.0;
const BELOW: f64 = 56.0;
/// The height of a line of the legend.
const LINE: f64 = 24.0;

/// Draws the points on lines or on an image set, or returns `None` if no run is finished there.
pub fn draw<'a>(sweep: &'a Sweep, set: Option<&SizedImageSet>) -> Result<Option<Drawn<'a>>> {
    let (metric, title, factor): (&Quantity, _, _) = match set {
        None => (&MEAN_DISTANCE, "mean distance, ×10⁻³", 1e3),
        Some(_) => (&PROBE_ACCURACY, "fitted classifier's accuracy, %", 100.0),
    };
    let mut groups = sweep.shown(set);
    groups.retain(|group| group.cell().origin.is_trained() && !points(group, metric, factor).is_empty());
    if groups.is_empty() {
        return Ok(None);
    }
    let series = groups.iter().zip(curve_styles(&groups)).map(|(group, style)| Series {
        label: group.label.clone(),
        style,
        points: points(group, metric, factor),
    });
    let series: Vec<Series> = series.collect();
    let all = || series.iter().flat_map(|series| &series.points);
    let longest = all().map(|point| point.0).fold(0.0, f64::max);
    let y = if set.is_none() {
        Axis::logarithmic(all().map(|point| point.1), title)
    } else {
        let (low, high) = extent(all().map(|point| point.1));
        let room = ((high - low) * 0.08).max(0.5);
        Axis::linear((low - room).max(0.0)..(high + room).min(100.0), 6, title)
    };
    let x = Axis::linear(0.0..longest * 1.06, 6, "minutes");
    let (what, good) = match set {
        None => ("Mean distance of interpolations between lines (logarithmic)".to_owned(), "lower"),
        Some(set) => (format!("Accuracy of the fitted classifier on {}", set.words()), "higher"),
    };
    let caption = format!(
        "{what} against the minutes that a run took, training and evaluation together; {good} and further to the left is better. A \
         point for each finished run. Runs of a sweep may have shared the machine."
    );
    let figure = CostScatter { series, x, y };
    let drawing = both(&figure, figure.width() as u32, (PLOT.1 + TOP + BELOW) as u32)?;
    Ok(Some(Drawn { caption, drawing, shows: groups }))
}

/// Returns the minutes and the final value of each finished run of a configuration.
fn points(group: &RunGroup, metric: &Quantity, factor: f64) -> Vec<(f64, f64)> {
    let point = |loaded: &LoadedRun| {
        let value = loaded.final_value(&metric.key).filter(|value| value.is_finite())?;
        let minutes = loaded.run.status.wall_s / 60.0;
        (minutes > 0.0).then_some((minutes, value * factor))
    };
    group.done().filter_map(point).collect()
}

struct Series {
    label: String,
    style: CurveStyle,
    /// The minutes and the value of each run.
    points: Vec<(f64, f64)>,
}

struct CostScatter {
    series: Vec<Series>,
    x: Axis,
    y: Axis,
}

impl CostScatter {
    fn width(&self) -> f64 {
        LEFT + PLOT.0 + 60.0 + legend_width(self.series.iter().map(|series| series.label.as_str()))
    }
}

impl Drawable for CostScatter {
    fn what(&self) -> &'static str {
        "quality against time"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let area = PlotArea { left: LEFT, top: TOP, width: PLOT.0, height: PLOT.1 };
        let plot = Plot { area, x: &self.x, y: &self.y };
        plot.axes(canvas, Numbered::BOTH)?;
        plot.titles(canvas, 28.0, 60.0)?;
        for (i, series) in self.series.iter().enumerate() {
            for (x, y) in &series.points {
                canvas.marker(&series.style, plot.at(*x, *y))?;
            }
            let at = (LEFT + PLOT.0 + 26.0, TOP + 12.0 + LINE * i as f64);
            legend_entry(canvas, at, &series.style, &series.label)?;
        }
        Ok(())
    }
}
