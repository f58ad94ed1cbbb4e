//! Tables 2 to 4 as plain numbers.

use std::fmt::Write;

use lerp_eval::wilson_interval;

use super::{CLUSTERS, INFORMATION, Images, Kind, interval, tested};
use crate::{
    set::Set,
    summary::{Group, Sweep},
    text::{csv as field, number},
};

impl Kind {
    /// Metrics in the file, the one of the table first.
    fn metrics(self) -> &'static [&'static str] {
        match self {
            Self::Classifier => &["eval/classifier_accuracy"],
            Self::Fitted => &[
                "final/probe_accuracy",
                "final/probe_train_accuracy",
                "final/probe_loss",
                "final/probe_iterations",
                "final/probe_converged",
            ],
            Self::Clusters => {
                &[CLUSTERS, "final/cluster_accuracy_train", INFORMATION, "final/cluster_inertia"]
            }
            Self::Error => &["eval/reconstruction_mse"],
        }
    }
}

/// One line for each row, configuration and metric: empty where no run is finished, `NaN` where undefined, accuracies from 0
/// to 1, ours and the paper's.
pub fn csv(tables: &[&Images], sweep: &Sweep) -> String {
    let mut out = String::from(
        "dataset,latent,variant,label,metric,mean,std,low,high,seeds,samples,learning_rate,test_images,published_mean,\
         published_std,published_mean_checked\n",
    );
    for table in tables {
        for set in table.sets() {
            for (variant, title) in table.variants() {
                let paper = paper(table.kind, set, variant);
                let mut groups = sweep.on(set).filter(|g| g.cell().variant == *variant).peekable();
                if groups.peek().is_none() {
                    let metric = table.kind.metric();
                    let place = place(set, variant, title);
                    let _ = writeln!(out, "{place},{metric},,,,,0,,,,{paper}");
                }
                for group in groups {
                    of_group(&mut out, table.kind, set, group, &paper);
                }
            }
            pixels(&mut out, table.kind, set, sweep);
        }
    }
    out
}

fn place(set: &Set, variant: &str, label: &str) -> String {
    format!("{},{},{},{}", field(&set.dataset), set.dims, field(variant), field(label))
}

fn of_group(out: &mut String, kind: Kind, set: &Set, group: &Group, paper: &str) {
    let cell = group.cell();
    let place = place(set, &cell.variant, &group.label);
    let images = group.done().find_map(|loaded| tested(loaded, kind.metric()));
    let images = images.map(number).unwrap_or_default();
    for metric in kind.metrics() {
        let main = *metric == kind.metric();
        let (mean, std, seeds) = group.estimate(metric).fields();
        let range = main.then(|| interval(group, metric)).flatten().filter(|_| kind != Kind::Error);
        let (low, high) = range.map(|(a, b)| (number(a), number(b))).unwrap_or_default();
        let _ = writeln!(
            out,
            "{place},{metric},{mean},{std},{low},{high},{seeds},{},{},{images},{}",
            cell.samples,
            number(cell.learning_rate),
            if main { paper } else { ",," }
        );
    }
}

/// The reference of raw pixels, as if it were a variant.
fn pixels(out: &mut String, kind: Kind, set: &Set, sweep: &Sweep) {
    let Some(pixels) = sweep.pixels.get(&set.dataset) else { return };
    let place = place(set, "pixels", "Raw pixels");
    let images = pixels.test_images;
    let mut line = |metric: &str, value: Option<f64>, accuracy: bool| {
        if let Some(value) = value {
            let range = accuracy.then(|| wilson_interval(value, images as usize).ok()).flatten();
            let (low, high) = range.map(|(a, b)| (number(a), number(b))).unwrap_or_default();
            let _ =
                writeln!(out, "{place},{metric},{},,{low},{high},1,,,{},,,", number(value), number(images));
        }
    };
    match kind {
        Kind::Fitted => {
            line("final/probe_accuracy", Some(pixels.probe_accuracy), true);
            line("final/probe_train_accuracy", Some(pixels.probe_train_accuracy), false);
            line("final/probe_iterations", Some(pixels.probe_iterations), false);
            line("final/probe_converged", Some(f64::from(u8::from(pixels.probe_converged))), false);
        }
        Kind::Clusters => {
            line(CLUSTERS, pixels.cluster_accuracy, true);
            line(INFORMATION, pixels.cluster_information, false);
        }
        Kind::Classifier | Kind::Error => {}
    }
}

/// The paper's mean, deviation and whether the mean is checked.
fn paper(kind: Kind, set: &Set, variant: &str) -> String {
    let row = kind.published().iter().find(|row| (&row.dataset, row.dims) == (&set.dataset, set.dims));
    // Rounded, since dividing by 100 is not exact.
    let share = |v: f64| number((v / 100.0 * 1e9).round() / 1e9);
    row.and_then(|row| row.number(variant)).map_or(",,".into(), |n| {
        format!("{},{},{}", share(n.mean), n.std.map(share).unwrap_or_default(), n.mean_checked)
    })
}
