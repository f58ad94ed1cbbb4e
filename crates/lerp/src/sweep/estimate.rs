//! How long a sweep will take, from a few measured steps.

use std::{collections::HashMap, time::Duration};

use lerp_data::{Dataset, Part};
use lerp_train::{EVALUATED_PAIRS, MOST_TRAINING, POSITIONS};

use super::{steps, survey::Job};
use crate::{registry::Registry, shelf::Shelf};

/// How long steps are timed, at least.
const TIME: Duration = Duration::from_millis(50);

/// A forward pass as part of a training step, and a decoder as part of a forward pass; about.
const FORWARD: f64 = 1.0 / 3.0;
const DECODER: f64 = 0.5;

/// Seconds of one thread for each number of the training latents: to fit the classifier of frozen features, and for one
/// restart of k-means with ten clusters; about (`docs/performance.md`).
const PROBE: f64 = 4e-6;
const CLUSTERS: f64 = 5e-8;

/// Seconds that fits to `count` latents of `width` numbers take on `threads` threads.
fn fits(count: usize, width: usize, restarts: usize, threads: usize) -> f64 {
    (count * width) as f64 * (PROBE + CLUSTERS * restarts as f64) / threads as f64
}

/// Training images that are looked at when a run is over.
fn seen(dataset: &dyn Dataset) -> usize {
    dataset.count(Part::Train).ok().flatten().unwrap_or(0).min(MOST_TRAINING)
}

/// Seconds that the measurement of a dataset's raw pixels takes on all `threads`.
pub fn pixels(dataset: &dyn Dataset, restarts: usize, threads: usize) -> f64 {
    let image = dataset.image();
    fits(seen(dataset), image.height * image.width * image.channels, restarts, threads)
}

/// Seconds that each run still takes when so many run `at_once` on so many threads each.
///
/// A variant that cannot take a step counts as nothing: its worker will say what is wrong with it.
pub fn estimate(
    registry: &Registry,
    shelf: &Shelf,
    jobs: &[Job],
    device: &str,
    at_once: (usize, usize),
) -> Vec<f64> {
    let threads = at_once.1;
    let mut known: HashMap<String, f64> = HashMap::new();
    let seconds = |job: &Job| {
        let cell = &job.record.cell;
        let Ok(dataset) = shelf.get(&job.dataset) else { return 0.0 };
        // Hyperparameters hardly change the time, and a grid has many.
        let key = format!("{} {} {} {:?}", job.dataset, cell.variant, cell.batch, cell.network);
        let step = *known.entry(key).or_insert_with(|| {
            let steps = steps::at_once(registry, &*dataset, cell, device, at_once, TIME);
            // The slowest: the runs are as many all the time.
            steps.map_or(0.0, |steps| steps.into_iter().fold(0.0, f64::max))
        });
        let count = |part| dataset.count(part).ok().flatten();
        let pass = step * FORWARD / cell.batch as f64;
        let passes = match count(Part::Test) {
            None => (EVALUATED_PAIRS * POSITIONS) as f64 * DECODER + cell.test_samples as f64,
            Some(count) => cell.test_samples.min(count) as f64,
        };
        let evaluations = cell.steps().div_ceil(cell.eval_steps());
        let left = 1.0 - (job.samples as f64 / cell.samples as f64).min(1.0);
        let worth = cell.cluster_restarts.map_or(0.0, |restarts| {
            let (train, test) = (seen(&*dataset), count(Part::Test).unwrap_or(0));
            let width = cell.network.latent_shape(dataset.image()).map_or(0, |latent| latent.dims());
            (train + test) as f64 * pass + fits(train, width, restarts, threads)
        });
        left * (step * cell.steps() as f64 + pass * passes * evaluations as f64) + worth
    };
    jobs.iter().map(seconds).collect()
}
