//! The table of costs: time, throughput and memory of runs.

use lerp_data::Lines;
use lerp_eval::mean_std;
use polars::prelude::DataType;

use crate::{
    conditions::Selection,
    frame::{Frame, Value},
    provenance::{Provenance, command},
    set::Set,
    sheet::{Entry, Line, Part, Sheet},
    summary::{Group, Loaded, Sweep},
    text::fixed,
};

/// The bytes of a megabyte.
const MEGABYTE: f64 = 1e6;

/// A kind of cost.
struct Cost {
    /// The name in CSV and parquet files.
    name: &'static str,
    heading: &'static str,
    decimals: usize,
    /// Returns the cost of a run, or `None` if it is not known.
    of: fn(&Loaded) -> Option<f64>,
}

/// All costs, in the order of the columns.
const COSTS: [Cost; 3] = [
    Cost { name: "seconds", heading: "Minutes", decimals: 1, of: |l| Some(l.run.status.wall_s) },
    Cost { name: "samples_per_second", heading: "Samples a second", decimals: 0, of: Loaded::rate },
    Cost {
        name: "peak_memory_bytes",
        heading: "Peak memory, MB",
        decimals: 0,
        of: |l| l.run.status.peak_memory.map(|bytes| bytes as f64),
    },
];

impl Cost {
    /// Returns the divisor of a value when printed.
    fn unit(&self) -> f64 {
        match self.name {
            "seconds" => 60.0,
            "peak_memory_bytes" => MEGABYTE,
            _ => 1.0,
        }
    }

    /// Returns the mean, the standard deviation (divisor n) and the number of the finished runs whose cost is known, or
    /// `None` if there are none.
    fn over(&self, group: &Group) -> Option<(f64, f64, usize)> {
        let values: Vec<f64> =
            group.done().filter_map(self.of).filter(|v| *v > 0.0 && v.is_finite()).collect();
        let (mean, std) = mean_std(&values);
        (!values.is_empty()).then_some((mean, std, values.len()))
    }
}

/// Returns the table of costs of the finished runs that were trained here, or `None` if there are none.
pub fn sheet(sweep: &Sweep) -> Option<Sheet> {
    let groups: Vec<&Group> = sweep
        .groups
        .iter()
        .filter(|group| group.cell().origin.is_trained() && COSTS[0].over(group).is_some())
        .collect();
    if groups.is_empty() {
        return None;
    }
    let provenance = Provenance::of(&groups, &command(&sweep.dir, None));
    let mut headings = vec!["Dataset, latent".to_owned(), "Variant".to_owned()];
    headings.extend(COSTS.iter().map(|cost| cost.heading.to_owned()));
    headings.extend(["Threads".to_owned(), "Seeds".to_owned()]);
    let data = data(&groups, &sweep.dir);
    let part = Part {
        name: "Cost".into(),
        caption: "What a finished run cost, mean ± standard deviation (divisor n) over seeds: minutes of training and evaluation, \
                  training samples a second in that time, and the most memory of the host that its process had at a time (on Linux, \
                  of a run that had a process of its own; – where it is not known). Runs of a sweep may have shared the machine."
            .into(),
        conditions: Selection { groups: groups.clone() }.all_conditions(),
        label: "tab:cost",
        wide: true,
        headings,
        left: 2,
        lines: groups.iter().map(|group| line(group)).collect(),
        folded: Vec::new(),
        notes: Vec::new(),
        provenance: provenance.line(),
    };
    Some(Sheet { id: "cost", title: "Cost", parts: vec![part], data })
}

fn line(group: &Group) -> Line {
    let mut cells = vec![
        Entry::plain(group.set.as_ref().map_or_else(|| "Lines".into(), Set::name)),
        Entry::plain(group.label.clone()),
    ];
    for cost in &COSTS {
        let text = |v: f64| fixed(v / cost.unit(), cost.decimals);
        cells.push(match cost.over(group) {
            None => Entry::plain("–"),
            Some((mean, _, 1)) => Entry::number(text(mean), mean),
            Some((mean, std, _)) => Entry::number(format!("{} ± {}", text(mean), text(std)), mean),
        });
    }
    let threads: Vec<usize> = group.done().map(|l| l.run.record.provenance.threads).collect();
    let same = threads.iter().all(|n| *n == threads[0]);
    cells.push(Entry::plain(if same { threads[0].to_string() } else { "various".into() }));
    cells.push(Entry::number(threads.len().to_string(), threads.len() as f64));
    Line { cells, first: true }
}

fn data(groups: &[&Group], dir: &std::path::Path) -> Frame {
    let mut frame = Frame::new(&[
        ("dataset", DataType::String),
        ("latent_dims", DataType::Int64),
        ("variant", DataType::String),
        ("label", DataType::String),
        ("cost", DataType::String),
        ("mean", DataType::Float64),
        ("std", DataType::Float64),
        ("seeds", DataType::Int64),
    ]);
    for group in groups {
        let provenance = Provenance::of(&[group], &command(dir, None));
        for cost in &COSTS {
            let Some((mean, std, seeds)) = cost.over(group) else { continue };
            let row: Vec<(&'static str, Value)> = vec![
                ("dataset", group.set.as_ref().map_or(Lines::NAME, |set| &set.dataset).into()),
                ("latent_dims", group.set.as_ref().map(|set| set.dims).into()),
                ("variant", group.cell().variant.clone().into()),
                ("label", group.label.clone().into()),
                ("cost", cost.name.into()),
                ("mean", mean.into()),
                ("std", (seeds > 1).then_some(std).into()),
                ("seeds", seeds.into()),
            ];
            frame.push(row, Some(&provenance));
        }
    }
    frame
}
