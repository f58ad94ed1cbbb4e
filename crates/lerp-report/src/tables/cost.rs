//! The table of costs: time, throughput and memory of runs.

use lerp_eval::Sample;

use super::{
    columns,
    frame::Frame,
    sheet::{Entry, Sheet, Table, TableLine},
};
use crate::{
    reading::{Estimate, LoadedRun, RunGroup, Sweep, title_of},
    text::fixed,
};

/// A kind of cost.
struct Cost {
    /// The name in CSV and parquet files.
    name: &'static str,
    heading: &'static str,
    /// The divisor of a value when printed.
    unit: f64,
    decimals: usize,
    /// Returns the cost of a run, or `None` if it is not known.
    of: fn(&LoadedRun) -> Option<f64>,
}

/// All costs, in the order of the columns.
const COSTS: [Cost; 3] = [
    Cost { name: "seconds", heading: "Minutes", unit: 60.0, decimals: 1, of: |l| Some(l.run.status.wall_s) },
    Cost {
        name: "samples_per_second",
        heading: "Samples a second",
        unit: 1.0,
        decimals: 0,
        of: LoadedRun::rate,
    },
    Cost {
        name: "peak_memory_bytes",
        heading: "Peak memory, MB",
        unit: 1e6,
        decimals: 0,
        of: |l| l.run.status.peak_memory.map(|bytes| bytes as f64),
    },
];

impl Cost {
    /// Returns the mean and the standard deviation (divisor n) over the finished runs whose cost is known.
    fn over(&self, group: &RunGroup) -> Estimate {
        let values: Vec<f64> =
            group.done().filter_map(self.of).filter(|v| *v > 0.0 && v.is_finite()).collect();
        let Sample { mean, std, n } = Sample::of(&values);
        if n == 0 { Estimate::Missing } else { Estimate::Known { mean, std, n } }
    }
}

/// Returns the table of costs of the finished runs that were trained here, or `None` if there are none.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let groups: Vec<&RunGroup> = sweep
        .groups
        .iter()
        .filter(|group| group.cell().origin.is_trained() && COSTS[0].over(group) != Estimate::Missing)
        .collect();
    if groups.is_empty() {
        return None;
    }
    let mut headings = vec!["Dataset, latent".to_owned(), "Variant".to_owned()];
    headings.extend(COSTS.iter().map(|cost| cost.heading.to_owned()));
    headings.extend(["Threads".to_owned(), "Seeds".to_owned()]);
    let table = Table {
        name: "Cost".into(),
        caption: "What a finished run cost, mean ± standard deviation (divisor n) over seeds: minutes of training and evaluation, \
                  training samples a second in that time, and the most memory of the host that its process had at a time (on Linux, \
                  of a run that had a process of its own; – where it is not known). Runs of a sweep may have shared the machine."
            .into(),
        label: "tab:cost".into(),
        headings,
        left: 2,
        lines: groups.iter().map(|group| line(group)).collect(),
        ..Table::about(sweep, &groups)
    };
    Some(Sheet { id: "cost", title: "Cost", tables: vec![table], data: data(&groups, sweep) })
}

fn line(group: &RunGroup) -> TableLine {
    let mut cells = vec![Entry::plain(title_of(group.set.as_ref())), Entry::plain(group.label.clone())];
    for cost in &COSTS {
        let estimate = cost.over(group);
        let text = estimate.text(|value| fixed(value / cost.unit, cost.decimals));
        cells.push(Entry::number(text, estimate.mean()));
    }
    let threads: Vec<usize> = group.done().map(|l| l.run.record.provenance.threads).collect();
    let same = threads.iter().all(|n| *n == threads[0]);
    cells.push(Entry::plain(if same { threads[0].to_string() } else { "various".into() }));
    cells.push(Entry::number(threads.len().to_string(), threads.len() as f64));
    TableLine { cells, first: true }
}

fn data(groups: &[&RunGroup], sweep: &Sweep) -> Frame {
    let columns = ["dataset", "latent_dims", "variant", "label", "cost", "mean", "std", "seeds"];
    let mut frame = Frame::new(columns);
    for group in groups {
        let provenance = sweep.provenance(&[group]);
        for cost in &COSTS {
            let estimate = cost.over(group);
            if estimate != Estimate::Missing {
                let mut row = columns::configuration(group, "latent_dims");
                row.push(("cost", cost.name.into()));
                row.extend(columns::estimate(estimate));
                frame.push(row, Some(&provenance));
            }
        }
    }
    frame
}
