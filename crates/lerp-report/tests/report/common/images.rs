//! Runs on image sets for tests, written without training.

use std::path::Path;

use lerp_core::Network;
use lerp_train::{Cell, State};

use super::{Run, SEVEN, on_lines, value};

/// A run to be written; by default it is finished, on MNIST with latents of 32, and has the metrics that [`fake`]
/// lists.
#[derive(Clone)]
pub struct Fake {
    pub dataset: &'static str,
    pub channels: usize,
    pub variant: (&'static str, &'static str),
    pub seed: u64,
    pub state: State,
    pub samples: u64,
    pub rate: f64,
    pub depth: usize,
    pub restarts: Option<usize>,
    pub data: &'static str,
    pub images: Option<[usize; 2]>,
    pub hyper: Option<(&'static str, f64)>,
    pub metrics: Vec<(&'static str, f64)>,
}

/// Returns a finished run on MNIST of the variant with this index, with this classifier accuracy.
pub fn fake(variant: usize, seed: u64, accuracy: f64) -> Fake {
    Fake {
        dataset: "mnist",
        channels: 2,
        variant: SEVEN[variant],
        seed,
        state: State::Done,
        samples: 1 << 24,
        rate: 1e-4,
        depth: 16,
        restarts: Some(1000),
        data: "aaaa",
        images: Some([60_000, 10_000]),
        hyper: None,
        metrics: vec![
            ("eval/classifier_accuracy", accuracy),
            ("eval/reconstruction_mse", 0.0123),
            ("final/test_images", 10_000.0),
            ("final/cluster_accuracy", 0.8),
            ("final/cluster_information", 0.75),
            ("final/probe_accuracy", 0.985),
            ("final/probe_converged", 1.0),
            ("final/probe_iterations", 321.0),
        ],
    }
}

impl Fake {
    /// Replaces or adds a metric.
    pub fn with(mut self, metric: &'static str, value: f64) -> Self {
        self.metrics.retain(|(name, _)| *name != metric);
        self.metrics.push((metric, value));
        self
    }

    /// Removes all metrics that need labels.
    pub fn without_labels(mut self) -> Self {
        self.metrics.retain(|(name, _)| name.contains("mse") || name.contains("images"));
        self.restarts = None;
        self
    }

    /// Writes the run into the folder of a sweep, and returns the run's folder.
    pub fn write(&self, sweep: &Path) -> std::path::PathBuf {
        let cell = Cell {
            dataset: self.dataset.into(),
            samples: self.samples,
            learning_rate: self.rate,
            test_samples: 1 << 20,
            cluster_restarts: self.restarts,
            network: Network { scales: 3, depth: self.depth, latent: self.channels }.into(),
            hyper: self.hyper.map(|(k, v)| (k.to_owned(), v.into())).into_iter().collect(),
            ..on_lines(self.variant.0, self.seed)
        };
        let each = |(metric, v): &(&'static str, f64)| {
            let often = if metric.starts_with("eval/") { 1..=16 } else { 16..=16 };
            often.map(|i| value(i, metric, *v)).collect::<Vec<_>>()
        };
        let rows = self.metrics.iter().flat_map(each).collect();
        let (title, state, data) = (self.variant.1, self.state, Some(self.data));
        Run { cell, title, state, samples: self.samples, data, images: self.images, rows }.write(sweep)
    }
}
