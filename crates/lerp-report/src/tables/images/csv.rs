//! The numbers of Tables 2, 2b, 3 and 4 without formatting, for CSV and parquet files.

use super::{ImageTable, Images, interval, tested};
use crate::{
    reading::{RunGroup, SizedImageSet, Sweep},
    tables::{
        columns,
        frame::{Frame, FrameRow},
    },
    text::short_digest,
};
use lerp_eval::{
    Quantity,
    quantity::{
        CLASSIFIER_ACCURACY, CLUSTER_ACCURACY, CLUSTER_INFORMATION, OF_CLUSTERS, PROBE_ACCURACY,
        PROBE_CONVERGED, PROBE_ITERATIONS, PROBE_LOSS, PROBE_TRAIN_ACCURACY, RECONSTRUCTION_MSE,
    },
    wilson_interval,
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

/// Returns one row for each table row, configuration and metric. Values are empty where no run is finished and NaN
/// where the metric is undefined. Accuracies, ours and the paper's, are fractions from 0 to 1.
pub fn data(tables: &[&Images], sweep: &Sweep) -> Frame {
    let own = ["dataset", "latent", "variant", "label", "metric", "mean", "std", "low", "high", "seeds"]
        .into_iter();
    let shared = own.chain(columns::CONDITIONS).chain(["test_images"]).chain(columns::VERDICT);
    let mut frame = Frame::new(shared.chain(columns::STANDING));
    for table in tables {
        for set in &table.sets {
            for (variant, title) in &table.variants {
                let mut groups = sweep.on(Some(set)).filter(|g| g.cell().variant == *variant).peekable();
                if groups.peek().is_none() {
                    let mut row = identifying_columns(set, variant, title);
                    row.extend([("metric", (*table.kind.metric().key).into()), ("seeds", 0_usize.into())]);
                    row.extend(columns::verdict(table.kind.paper(set, variant), 100.0, None));
                    frame.push(row, None);
                }
                for group in groups {
                    configuration(&mut frame, table, set, group, sweep);
                }
            }
            pixels(&mut frame, table.kind, set, sweep);
        }
    }
    frame
}

/// Returns the columns that identify a row.
fn identifying_columns(set: &SizedImageSet, variant: &str, label: &str) -> FrameRow {
    vec![
        ("dataset", set.dataset.clone().into()),
        ("latent", set.dims.into()),
        ("variant", variant.into()),
        ("label", label.into()),
    ]
}

/// Adds the rows of one configuration, one for each metric.
fn configuration(frame: &mut Frame, table: &Images, set: &SizedImageSet, group: &RunGroup, sweep: &Sweep) {
    let kind = table.kind;
    let provenance = sweep.provenance(&[group]);
    let images = group.done().find_map(|loaded| tested(loaded, kind.metric()));
    for metric in kind.metrics() {
        let main = metric == kind.metric();
        let range = main.then(|| interval(group, metric)).flatten().filter(|_| kind != ImageTable::Error);
        let mut row = columns::configuration(group, "latent");
        row.push(("metric", (*metric.key).into()));
        row.extend(columns::estimate(group.estimate(metric)));
        row.extend(columns::interval(range));
        row.extend(columns::conditions(group.cell()));
        row.push(("test_images", images.map(|images| images as u64).into()));
        if main {
            row.extend(columns::verdict(group.paper(metric), 100.0, kind.verdict(set, group)));
            row.extend(columns::standing(table.standings(set), group));
        }
        frame.push(row, Some(&provenance));
    }
}

/// Adds the rows of the raw-pixel reference, under the variant name `pixels`.
fn pixels(frame: &mut Frame, kind: ImageTable, set: &SizedImageSet, sweep: &Sweep) {
    let Some(pixels) = sweep.pixels.get(&set.dataset) else { return };
    let images = pixels.test_images;
    let mut line = |metric: &Quantity, value: Option<f64>, accuracy: bool| {
        if let Some(value) = value {
            let range = accuracy.then(|| wilson_interval(value, images as usize).ok()).flatten();
            let mut row = identifying_columns(set, "pixels", "Raw pixels");
            row.extend([
                ("metric", (*metric.key).into()),
                ("mean", value.into()),
                ("seeds", 1_usize.into()),
                ("test_images", (images as u64).into()),
                ("data", short_digest(&pixels.data).into()),
            ]);
            row.extend(columns::interval(range));
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
