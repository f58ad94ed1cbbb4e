//! The figure of training samples per second.

use plotters::{prelude::DrawingBackend, style::RGBColor};

use super::{
    Drawn,
    canvas::{Canvas, Drawable, Side, both},
    plot::{Axis, LETTERS, NUMBERS, Numbered, Plot, PlotArea, legend_width},
    style::{CurveStyle, INK, curve_styles, fit},
};
use crate::{
    Result,
    reading::{LoadedRun, RunGroup, Sweep, title_of},
    verdicts::Selection,
};

const WIDTH: f64 = 480.0;
/// The heights of a bar with its gap, of the title of a set, and of the axis below.
const BAR: f64 = 26.0;
const TITLE: f64 = 30.0;
const BELOW: f64 = 32.0;
const RIGHT: f64 = 20.0;
/// The outline of a range, which sets it off from a dark bar.
const WHITE_EDGE: RGBColor = RGBColor(255, 255, 255);

/// A bar for one configuration: the least, mean and most samples per second over runs.
struct Bar {
    label: String,
    style: CurveStyle,
    rates: [f64; 3],
}

/// The bars of an image set, or of lines.
struct Block {
    title: String,
    bars: Vec<Bar>,
}

/// Returns the least, mean and most samples per second over the finished runs of a configuration, or `None` if no speed
/// is known.
fn rates(group: &RunGroup) -> Option<[f64; 3]> {
    let rates: Vec<f64> = group.done().filter_map(LoadedRun::rate).collect();
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    (!rates.is_empty()).then(|| [least, rates.iter().sum::<f64>() / rates.len() as f64, most])
}

/// Draws the bars, or returns `None` if no run is finished.
pub fn draw(sweep: &Sweep) -> Result<Option<Drawn<'_>>> {
    let (mut blocks, mut shows) = (Vec::new(), Vec::new());
    for set in sweep.lines_and_image_sets() {
        let groups = sweep.shown(set);
        let bar = |(group, style): (&&RunGroup, CurveStyle)| {
            Some(Bar { label: group.label.clone(), style, rates: rates(group)? })
        };
        let bars: Vec<Bar> = groups.iter().zip(curve_styles(&groups)).filter_map(bar).collect();
        if !bars.is_empty() {
            shows.extend(groups.into_iter().filter(|group| rates(group).is_some()));
            blocks.push(Block { title: title_of(set), bars });
        }
    }
    if blocks.is_empty() {
        return Ok(None);
    }
    let selection = Selection { groups: shows.clone() };
    let several = shows.iter().any(|group| group.done().count() > 1);
    let caption = format!(
        "Training samples a second of each variant, training and evaluation together, of finished runs{}. Device {}, threads \
         of a run: {}. Runs of a sweep may share the machine.",
        if several { "; mean over seeds, and the range from the slowest to the fastest" } else { "" },
        selection.by(|loaded| Some(loaded.run.record.provenance.device.clone())),
        selection.by(|loaded| Some(loaded.run.record.provenance.threads.to_string())),
    );
    let figure = Speed { blocks };
    let drawing = both(&figure, WIDTH as u32, figure.height() as u32)?;
    Ok(Some(Drawn { caption, drawing, shows }))
}

struct Speed {
    blocks: Vec<Block>,
}

impl Speed {
    /// Returns the height of a set's title, which is left out if there is only one set.
    fn titled(&self) -> f64 {
        if self.blocks.len() > 1 { TITLE } else { 10.0 }
    }

    fn height(&self) -> f64 {
        let block = |block: &Block| self.titled() + BAR * block.bars.len() as f64 + BELOW;
        self.blocks.iter().map(block).sum::<f64>() + 22.0
    }

    /// Returns the width of the margin for names.
    fn left(&self) -> f64 {
        let bars = self.blocks.iter().flat_map(|block| &block.bars);
        24.0 + legend_width(bars.map(|bar| bar.label.as_str()))
    }
}

impl Drawable for Speed {
    fn what(&self) -> &'static str {
        "speeds"
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Result<()> {
        let left = self.left();
        let mut top = 0.0;
        for block in &self.blocks {
            if self.blocks.len() > 1 {
                canvas.text(&block.title, LETTERS, (left, top + TITLE - 14.0), Side::Right)?;
            }
            top += self.titled();
            let most = block.bars.iter().map(|bar| bar.rates[2]).fold(0.0, f64::max);
            // The axis leaves room for the number after the longest bar.
            let x = Axis::linear(0.0..most * 1.25, 5, "training samples a second");
            let y = Axis::numbered(0.0..1.0, &[], "");
            let height = BAR * block.bars.len() as f64;
            let area = PlotArea { left, top, width: WIDTH - left - RIGHT, height };
            let plot = Plot { area, x: &x, y: &y };
            plot.axes(canvas, Numbered { x: true, y: false })?;
            for (i, bar) in block.bars.iter().enumerate() {
                let middle = top + BAR * (i as f64 + 0.5);
                let [least, mean, most] = bar.rates.map(|rate| plot.at(rate, 0.0).0);
                canvas.rectangle((left, middle - 8.0), (mean, middle + 8.0), bar.style.color)?;
                let mut end = mean;
                if bar.rates[2] > bar.rates[0] {
                    end = most;
                    canvas.line(&[(least, middle), (most, middle)], WHITE_EDGE, 3.5, None)?;
                    canvas.line(&[(least, middle), (most, middle)], INK, 1.5, None)?;
                    for x in [least, most] {
                        canvas.line(&[(x, middle - 4.0), (x, middle + 4.0)], INK, 1.5, None)?;
                    }
                }
                canvas.text(&bar.label, LETTERS * fit(&bar.label), (left - 8.0, middle), Side::Left)?;
                let rate = bar.rates[1];
                let number = if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
                canvas.text(&number, NUMBERS, (end + 6.0, middle), Side::Right)?;
            }
            top += height + BELOW;
        }
        let middle = left.midpoint(WIDTH - RIGHT);
        canvas.text("training samples a second", LETTERS, (middle, top - 6.0), Side::Below)
    }
}
