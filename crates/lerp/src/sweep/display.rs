//! The progress display of a sweep: a progress bar per running cell and an overall bar on a terminal, plain lines
//! elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lerp_eval::{
    Quantity,
    quantity::{CLASSIFIER_ACCURACY, CLUSTER_ACCURACY, MEAN_DISTANCE, MEAN_SMOOTHNESS, RECONSTRUCTION_MSE},
};
use lerp_files::duration;
use lerp_train::Progress;

use crate::say::say;

/// Shortest time between two plain lines of one cell.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// Shortest time between two plain lines of the whole sweep.
const OVERALL_EVERY: Duration = Duration::from_mins(1);

/// The progress display of a sweep.
pub struct Display {
    bars: MultiProgress,
    overall: ProgressBar,
    cells: Vec<DisplayedRun>,
    started: Instant,
    overall_printed: Instant,
    terminal: bool,
}

struct DisplayedRun {
    id: String,
    total: u64,
    samples: u64,
    /// Samples that the cell had been trained on when this sweep started it.
    before: u64,
    /// Expected seconds of training that remained at the start.
    weight: f64,
    bar: Option<ProgressBar>,
    printed: Option<Instant>,
    metrics: String,
    ended: bool,
}

impl Display {
    /// Creates a display of `runs`, which are names with total numbers of samples, with the expected seconds of each.
    pub fn new(runs: impl Iterator<Item = (String, u64)>, seconds: &[f64]) -> Self {
        // The target is hidden on a terminal that cannot move its cursor (`TERM=dumb`) and if standard error is not a
        // terminal.
        let target = ProgressDrawTarget::stderr_with_hz(5);
        let terminal = !target.is_hidden();
        let bars = MultiProgress::with_draw_target(target);
        let overall = bars.add(ProgressBar::new(1000));
        overall.set_style(style("{bar:30.cyan/blue} {percent:>3}%  {msg}"));
        let cells = runs.zip(seconds).map(|((id, total), weight)| DisplayedRun {
            id,
            total,
            samples: 0,
            before: 0,
            weight: weight.max(1e-9),
            bar: None,
            printed: None,
            metrics: String::new(),
            ended: false,
        });
        Self {
            bars,
            overall,
            cells: cells.collect(),
            started: Instant::now(),
            overall_printed: Instant::now(),
            terminal,
        }
    }

    /// Shows that a worker started the cell at `index`.
    pub fn started(&mut self, index: usize) {
        let cell = &mut self.cells[index];
        if self.terminal {
            let bar = self.bars.insert_before(&self.overall, ProgressBar::new(cell.total));
            bar.set_style(style("{prefix:28} {bar:20} {percent:>3}%  {msg}"));
            bar.set_prefix(cell.id.clone());
            cell.bar = Some(bar);
        } else {
            let line = format!("start     {}", cell.id);
            self.plain(&line);
        }
        self.update();
    }

    /// Shows progress of the cell at `index`.
    pub fn progress(&mut self, index: usize, progress: &Progress) {
        let cell = &mut self.cells[index];
        match progress {
            Progress::Started { samples } => {
                cell.samples = *samples;
                cell.before = *samples;
                if *samples > 0 {
                    let line = format!("resume    {} at {samples} samples", cell.id);
                    self.note(&line);
                }
            }
            Progress::Stepped { samples, samples_per_s, losses } => {
                cell.samples = *samples;
                let losses: Vec<String> = losses
                    .iter()
                    .filter_map(|(name, value)| Some((name.strip_prefix("loss/")?, value)))
                    .map(|(name, value)| format!("{name} {value:.4}"))
                    .collect();
                let message = format!("{samples_per_s:>6.0}/s  {}{}", losses.join("  "), cell.metrics);
                if let Some(bar) = &cell.bar {
                    bar.set_position(*samples);
                    bar.set_message(message);
                } else if cell.printed.is_none_or(|at| at.elapsed() >= PLAIN_EVERY) {
                    cell.printed = Some(Instant::now());
                    let line = format!("train     {} {:>3.0}%  {message}", cell.id, percent(cell));
                    self.plain(&line);
                }
            }
            Progress::Evaluated { samples, metrics } => {
                cell.samples = *samples;
                let find =
                    |of: &Quantity| metrics.iter().find(|(key, _)| *key == of.key).map(|(_, value)| *value);
                let percent = |of: &Quantity, word: &str| {
                    find(of).map_or(String::new(), |v| format!("  {word} {:.1} %", 100.0 * v))
                };
                let error = find(&RECONSTRUCTION_MSE).map(|v| format!("  error {v:.4}"));
                let distance = find(&MEAN_DISTANCE).map(|v| format!("  distance {:.2}e-3", v * 1e3));
                let smoothness = find(&MEAN_SMOOTHNESS).map(|v| format!("  smoothness {v:.2}"));
                let ends = percent(&CLUSTER_ACCURACY, "clusters");
                cell.metrics = match distance {
                    Some(distance) => distance + &smoothness.unwrap_or_default(),
                    None if ends.is_empty() => {
                        error.unwrap_or_default() + &percent(&CLASSIFIER_ACCURACY, "accuracy")
                    }
                    None => std::mem::take(&mut cell.metrics) + &ends,
                };
            }
            Progress::Finishing => {
                let message = "classifying and clustering the latents";
                if let Some(bar) = &cell.bar {
                    bar.set_message(message);
                } else {
                    let line = format!("measure   {}", cell.id);
                    self.plain(&line);
                }
            }
            Progress::Done | Progress::Interrupted { .. } | Progress::Failed { .. } => {}
        }
        self.update();
    }

    /// Shows that the cell at `index` is complete.
    pub fn done(&mut self, index: usize) {
        self.cells[index].samples = self.cells[index].total;
        self.end(index, "done", "");
    }

    /// Shows that the cell at `index` was stopped on request.
    pub fn interrupted(&mut self, index: usize) {
        self.end(index, "stopped", "");
    }

    /// Shows that the cell at `index` failed.
    pub fn failed(&mut self, index: usize, reason: &str) {
        self.end(index, "FAILED", &format!(": {reason}"));
    }

    /// Prints a line above the bars.
    pub fn note(&mut self, line: &str) {
        if self.terminal {
            let _ = self.bars.println(line);
        } else {
            self.plain(line);
        }
    }

    /// Removes the bars.
    pub fn finish(&mut self) {
        self.overall.finish_and_clear();
        let _ = self.bars.clear();
    }

    fn end(&mut self, index: usize, word: &str, detail: &str) {
        let cell = &mut self.cells[index];
        cell.ended = true;
        let line = format!("{word:<9} {}{detail}{}", cell.id, cell.metrics);
        if let Some(bar) = cell.bar.take() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        self.note(&line);
        self.update();
    }

    /// Updates the overall bar. The remaining time is extrapolated from the work that this sweep itself has done.
    fn update(&mut self) {
        let all: f64 = self.cells.iter().map(|c| c.weight).sum();
        let share = |c: &DisplayedRun| {
            let (done, left) = (c.samples - c.before.min(c.samples), c.total - c.before.min(c.total));
            if c.ended { 1.0 } else { done as f64 / left.max(1) as f64 }
        };
        let fraction = self.cells.iter().map(|c| c.weight * share(c)).sum::<f64>() / all;
        let elapsed = self.started.elapsed().as_secs_f64();
        let left = if fraction > 1e-3 {
            duration(elapsed * (1.0 - fraction) / fraction)
        } else {
            duration(all * (1.0 - fraction))
        };
        let ended = self.cells.iter().filter(|c| c.ended).count();
        self.overall.set_position((fraction * 1000.0) as u64);
        let message = format!("{ended}/{} runs, {left} left", self.cells.len());
        if !self.terminal && self.cells.len() > 1 && self.overall_printed.elapsed() >= OVERALL_EVERY {
            self.overall_printed = Instant::now();
            self.plain(&format!("overall   {:>3.0}%  {message}", 100.0 * fraction));
        }
        self.overall.set_message(message);
    }

    fn plain(&self, line: &str) {
        say(&format!("[{:>7.1}s] {line}", self.started.elapsed().as_secs_f64()));
    }
}

fn percent(cell: &DisplayedRun) -> f64 {
    100.0 * cell.samples as f64 / cell.total.max(1) as f64
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
