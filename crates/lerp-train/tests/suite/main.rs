//! Tests of whole runs and of the training loop, in one binary because each takes seconds to link.

#![allow(clippy::unwrap_used)]

mod conformance;
mod failing;
mod folders;
mod metrics;
mod resumed;
mod trainer;

use lerp_core::{Hyper, Network, Precision, Schedule, Variant};
use lerp_data::Dataset;
use lerp_train::{Cell, Origin};

/// Returns the cell of a run of eight steps with four evaluations on a small network.
fn cell(variant: &dyn Variant, dataset: &dyn Dataset) -> Cell {
    Cell {
        dataset: dataset.name().into(),
        variant: variant.name().into(),
        seed: 0,
        samples: 32,
        batch: 4,
        learning_rate: 1e-3,
        eval_every: 8,
        checkpoint_every: 8,
        test_samples: 6,
        cluster_restarts: (dataset.classes() == 2).then_some(2),
        precision: Precision::F32,
        ema: None,
        schedule: Schedule::default(),
        origin: Origin::default(),
        network: Network { scales: 4, depth: 2, latent: 2 }.into(),
        hyper: variant.check(&Hyper::new()).unwrap(),
    }
}
