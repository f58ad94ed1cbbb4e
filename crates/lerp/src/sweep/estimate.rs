//! How long a sweep will take, from a few measured steps.

use std::{collections::HashMap, path::Path, time::Instant};

use anyhow::Result;
use lerp_core::Draws;
use lerp_data::{Dataset, Part};
use lerp_train::{Cell, EVALUATED_PAIRS, Learner, MOST_TRAINING, POSITIONS, Run};

use crate::{device, registry::Registry, shelf::Shelf};

/// Steps that are timed, after one that is not.
const STEPS: u64 = 2;

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

/// Seconds that each cell still takes on `threads` threads beside as many others as make `jobs` at once, given what its run
/// in the sweep `out` has done already.
///
/// A variant that cannot take a step counts as nothing: its worker will say what is wrong with it.
pub fn estimate(
    registry: &Registry,
    shelf: &Shelf,
    out: &Path,
    cells: &[Cell],
    device: &str,
    (jobs, threads): (usize, usize),
) -> Vec<f64> {
    let mut known: HashMap<String, f64> = HashMap::new();
    let seconds = |cell: &Cell| {
        let Ok(dataset) = shelf.get(&cell.dataset) else { return 0.0 };
        // Hyperparameters hardly change the time, and a grid has many.
        let key = format!("{} {} {} {:?}", cell.dataset, cell.variant, cell.batch, cell.network);
        let step = *known.entry(key).or_insert_with(|| {
            at_once(jobs, threads, || time_step(registry, &*dataset, cell, device)).unwrap_or(0.0)
        });
        let count = |part| dataset.count(part).ok().flatten();
        let pass = step * FORWARD / cell.batch as f64;
        let passes = match count(Part::Test) {
            None => (EVALUATED_PAIRS * POSITIONS) as f64 * DECODER + cell.test_samples as f64,
            Some(count) => cell.test_samples.min(count) as f64,
        };
        let evaluations = cell.steps().div_ceil(cell.eval_steps());
        let done = Run::read(&out.join("runs").join(cell.id())).map_or(0, |run| run.status.samples);
        let left = 1.0 - (done as f64 / cell.samples as f64).min(1.0);
        let worth = cell.cluster_restarts.map_or(0.0, |restarts| {
            let (train, test) = (seen(&*dataset), count(Part::Test).unwrap_or(0));
            let width = cell.network.latent_shape(dataset.image()).map_or(0, |latent| latent.dims());
            (train + test) as f64 * pass + fits(train, width, restarts, threads)
        });
        left * (step * cell.steps() as f64 + pass * passes * evaluations as f64) + worth
    };
    cells.iter().map(seconds).collect()
}

/// The longest of `jobs` equal measurements at once, each on `threads` threads of its own: they share the machine's memory
/// and caches, as the runs will.
fn at_once(jobs: usize, threads: usize, measure: impl Fn() -> Result<f64> + Sync) -> Result<f64> {
    let one = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        pool.install(&measure)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..jobs).map(|_| scope.spawn(one)).collect();
        let mut longest = 0.0_f64;
        for measured in running {
            longest = longest.max(measured.join().map_err(|_| anyhow::anyhow!("a step failed"))??);
        }
        Ok(longest)
    })
}

fn time_step(registry: &Registry, dataset: &dyn Dataset, cell: &Cell, device: &str) -> Result<f64> {
    let device = &device::open(device)?;
    let mut learner = Learner::of_cell(cell, registry.find(&cell.variant)?, dataset, device)?;
    let draws = Draws::new(cell.seed, device);
    let mut started = Instant::now();
    for step in 0..=STEPS {
        if step == 1 {
            device.synchronize()?;
            started = Instant::now();
        }
        let batch = dataset.train_batch(cell.batch, &draws.scope("data").at(step))?;
        let gradients = learner.gradients(&batch, &draws.scope("train").at(step))?;
        learner.update(&gradients)?;
    }
    device.synchronize()?;
    Ok(started.elapsed().as_secs_f64() / STEPS as f64)
}
