//! The table of all cells as plain text, for pipes and scripts.

use std::fmt::Write;

use lerp_eval::{
    Quantity,
    quantity::{CLASSIFIER_ACCURACY, MEAN_DISTANCE, MEAN_SMOOTHNESS, RECONSTRUCTION_MSE},
};
use lerp_files::duration;
use lerp_files::printable;

use crate::{cell_view::CellView, sweep_view::SweepView, text::number};

/// Column headings of the table.
const HEADINGS: [&str; 8] =
    ["cell", "state", "percent", "samples/s", "distance", "smoothness", "error", "accuracy"];

/// Returns the table as text: a line about the sweep; one line per cell, with `-` for unknown values; the reasons of
/// failed cells; and the problems with files.
pub fn plain_table(sweep: &SweepView) -> String {
    let counts = sweep.counts();
    let mut out = format!("{}: {}", sweep.name, sweep.state());
    if counts.all > 0 {
        let of = [
            (counts.done, "done"),
            (counts.running, "running"),
            (counts.stalled, "stalled?"),
            (counts.failed, "failed"),
            (counts.stopped, "stopped"),
            (counts.queued, "queued"),
            (counts.waiting, "waiting"),
        ];
        let of: Vec<String> =
            of.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let _ = write!(
            out,
            ", {:.0} % of {} cells ({})",
            (100.0 * sweep.fraction()).floor(),
            counts.all,
            of.join(", ")
        );
    }
    if let Some(left) = sweep.seconds_left() {
        let _ = write!(out, ", {} left", duration(left));
    }
    out.push('\n');
    if sweep.cells.is_empty() {
        return out;
    }
    let mut rows = vec![HEADINGS.map(String::from)];
    rows.extend(sweep.cells.iter().map(row));
    let widths: [usize; HEADINGS.len()] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
    for row in &rows {
        let mut line = String::new();
        for (i, (text, width)) in row.iter().zip(widths).enumerate() {
            // Words are aligned left, numbers right.
            let _ = if i < 2 { write!(line, "{text:<width$}  ") } else { write!(line, "{text:>width$}  ") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    for cell in &sweep.cells {
        if let Some(job) = &cell.cluster_job {
            let _ = writeln!(out, "{}: {job}", printable(&cell.id));
        }
        if let Some(reason) = &cell.reason {
            let _ = writeln!(out, "{}: {reason}", printable(&cell.id));
        }
    }
    for problem in sweep.problems() {
        let _ = writeln!(out, "! {problem}");
    }
    out
}

fn row(cell: &CellView) -> [String; HEADINGS.len()] {
    let last = |metric: &Quantity| cell.last(&metric.key).map_or_else(|| "-".into(), number);
    [
        printable(&cell.id).into_owned(),
        cell.stage.name().into(),
        format!("{:.0}", (100.0 * cell.fraction()).floor()),
        cell.rate.map_or_else(|| "-".into(), |rate| format!("{rate:.0}")),
        last(&MEAN_DISTANCE),
        last(&MEAN_SMOOTHNESS),
        last(&RECONSTRUCTION_MSE),
        last(&CLASSIFIER_ACCURACY),
    ]
}
