//! The numbers of Tables 2, 2b, 3 and 4 without formatting, for CSV and parquet files.

use lerp_eval::{
    Quantity,
    quantity::{
        CLASSIFIER_ACCURACY, CLUSTER_ACCURACY, CLUSTER_INFORMATION, OF_CLUSTERS, PROBE_ACCURACY,
        PROBE_CONVERGED, PROBE_ITERATIONS, PROBE_LOSS, PROBE_TRAIN_ACCURACY, RECONSTRUCTION_MSE,
    },
    wilson_interval,
};
use polars::prelude::DataType;

use super::{ImageTable, Images, interval, tested};
use crate::{
    conditions,
    frame::{Frame, Value},
    pairs,
    provenance::{Provenance, command},
    set::Set,
    summary::{Group, Sweep},
    verdict,
};

impl ImageTable {
    /// Returns the metrics in the file, starting with the one that the table shows.
    pub fn metrics(self) -> Vec<&'static Quantity> {
        match self {
            Self::Classifier => vec![&CLASSIFIER_ACCURACY],
            Self::Fitted => {
                vec![&PROBE_ACCURACY, &PROBE_TRAIN_ACCURACY, &PROBE_LOSS, &PROBE_ITERATIONS, &PROBE_CONVERGED]
            }
            Self::Clusters => OF_CLUSTERS.to_vec(),
            Self::Error => vec![&RECONSTRUCTION_MSE],
        }
    }
}

type Known = Vec<(&'static str, Value)>;

/// Returns one row for each table row, configuration and metric. Values are empty where no run is finished and NaN
/// where the metric is undefined. Accuracies, ours and the paper's, are fractions from 0 to 1.
pub fn data(tables: &[&Images], sweep: &Sweep) -> Frame {
    let mut columns = vec![
        ("dataset", DataType::String),
        ("latent", DataType::Int64),
        ("variant", DataType::String),
        ("label", DataType::String),
        ("metric", DataType::String),
        ("mean", DataType::Float64),
        ("std", DataType::Float64),
        ("low", DataType::Float64),
        ("high", DataType::Float64),
        ("seeds", DataType::Int64),
    ];
    columns.extend(conditions::COLUMNS);
    columns.push(("test_images", DataType::Int64));
    columns.extend(verdict::COLUMNS);
    columns.extend(pairs::COLUMNS);
    let mut frame = Frame::new(&columns);
    for table in tables {
        for set in table.sets() {
            for (variant, title) in table.variants() {
                let mut groups = sweep.on(set).filter(|g| g.cell().variant == *variant).peekable();
                if groups.peek().is_none() {
                    let mut row = place(set, variant, title);
                    row.extend([("metric", (*table.kind.metric().key).into()), ("seeds", 0_usize.into())]);
                    row.extend(verdict::values(table.kind.paper(set, variant), 100.0, None));
                    frame.push(row, None);
                }
                for group in groups {
                    of_group(&mut frame, table, set, group, sweep);
                }
            }
            pixels(&mut frame, table.kind, set, sweep);
        }
    }
    frame
}

/// Returns the columns that identify a row.
fn place(set: &Set, variant: &str, label: &str) -> Known {
    vec![
        ("dataset", set.dataset.clone().into()),
        ("latent", set.dims.into()),
        ("variant", variant.into()),
        ("label", label.into()),
    ]
}

/// Adds the rows of one configuration, one for each metric.
fn of_group(frame: &mut Frame, table: &Images, set: &Set, group: &Group, sweep: &Sweep) {
    let (kind, cell) = (table.kind, group.cell());
    let provenance = Provenance::of(&[group], &command(&sweep.dir, None));
    let images = group.done().find_map(|loaded| tested(loaded, kind.metric()));
    for metric in kind.metrics() {
        let main = metric == kind.metric();
        let (mean, std, seeds) = group.estimate(metric).values();
        let range = main.then(|| interval(group, metric)).flatten().filter(|_| kind != ImageTable::Error);
        let mut row = place(set, &cell.variant, &group.label);
        row.extend([
            ("metric", (*metric.key).into()),
            ("mean", mean),
            ("std", std),
            ("low", range.map(|(low, _)| low).into()),
            ("high", range.map(|(_, high)| high).into()),
            ("seeds", seeds.into()),
        ]);
        row.extend(conditions::values(cell));
        row.push(("test_images", images.map(|images| images as u64).into()));
        if main {
            row.extend(verdict::values(group.paper(metric), 100.0, kind.verdict(set, group)));
            row.extend(table.standings(set).map(|all| all.values(group)).unwrap_or_default());
        }
        frame.push(row, Some(&provenance));
    }
}

/// Adds the rows of the raw-pixel reference, under the variant name `pixels`.
fn pixels(frame: &mut Frame, kind: ImageTable, set: &Set, sweep: &Sweep) {
    let Some(pixels) = sweep.pixels.get(&set.dataset) else { return };
    let images = pixels.test_images;
    let mut line = |metric: &Quantity, value: Option<f64>, accuracy: bool| {
        if let Some(value) = value {
            let range = accuracy.then(|| wilson_interval(value, images as usize).ok()).flatten();
            let mut row = place(set, "pixels", "Raw pixels");
            row.extend([
                ("metric", (*metric.key).into()),
                ("mean", value.into()),
                ("low", range.map(|(low, _)| low).into()),
                ("high", range.map(|(_, high)| high).into()),
                ("seeds", 1_usize.into()),
                ("test_images", (images as u64).into()),
                ("data", pixels.data.chars().take(12).collect::<String>().into()),
            ]);
            frame.push(row, None);
        }
    };
    match kind {
        ImageTable::Fitted => {
            line(&PROBE_ACCURACY, Some(pixels.probe_accuracy), true);
            line(&PROBE_TRAIN_ACCURACY, Some(pixels.probe_train_accuracy), false);
            line(&PROBE_ITERATIONS, Some(pixels.probe_iterations), false);
            line(&PROBE_CONVERGED, Some(f64::from(u8::from(pixels.probe_converged))), false);
        }
        ImageTable::Clusters => {
            line(&CLUSTER_ACCURACY, pixels.cluster_accuracy, true);
            line(&CLUSTER_INFORMATION, pixels.cluster_information, false);
        }
        ImageTable::Classifier | ImageTable::Error => {}
    }
}
