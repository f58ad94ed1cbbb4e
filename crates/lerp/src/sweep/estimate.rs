//! How long a sweep will take, from a few measured steps.

use std::{collections::HashMap, path::Path, time::Instant};

use anyhow::Result;
use candle_core::DType;
use lerp_core::{Build, Draws};
use lerp_data::{Dataset, Part};
use lerp_train::{Cell, EVALUATED_PAIRS, Learner, MOST_TRAINING, POSITIONS, Run};

use crate::{device, registry::Registry, shelf::Shelf};

/// Steps that are timed, after one that is not.
const STEPS: u64 = 2;

/// A forward pass as part of a training step, and a decoder as part of a forward pass; about.
const FORWARD: f64 = 1.0 / 3.0;
const DECODER: f64 = 0.5;

/// Seconds of one thread for each number of the training latents: to fit the classifier of frozen features, and for one
/// restart of k-means with ten clusters; about (measured on AVX2, `docs/performance.md`).
const PROBE: f64 = 2e-6;
const CLUSTERS: f64 = 3e-8;

/// Seconds that each cell still takes on `threads` threads, given what its run in the sweep `out` has done already.
///
/// A variant that cannot take a step counts as nothing: its worker will say what is wrong with it.
pub fn estimate(
    registry: &Registry,
    shelf: &Shelf,
    out: &Path,
    cells: &[Cell],
    device: &str,
    threads: usize,
) -> Vec<f64> {
    let mut known: HashMap<String, f64> = HashMap::new();
    let seconds = |cell: &Cell| {
        let Ok(dataset) = shelf.get(&cell.dataset) else { return 0.0 };
        // Hyperparameters hardly change the time, and a grid has many.
        let key = format!("{} {} {} {:?}", cell.dataset, cell.variant, cell.batch, cell.network);
        let step = *known.entry(key).or_insert_with(|| {
            let measured = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .map_err(anyhow::Error::from)
                .and_then(|pool| pool.install(|| time_step(registry, &*dataset, cell, device)));
            measured.unwrap_or(0.0)
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
            let train = count(Part::Train).unwrap_or(0).min(MOST_TRAINING) as f64;
            let test = count(Part::Test).unwrap_or(0) as f64;
            let width = cell.network.latent_shape(dataset.image()).map_or(0, |latent| latent.dims()) as f64;
            let fits = PROBE + CLUSTERS * restarts as f64;
            (train + test) * pass + train * width * fits / threads as f64
        });
        left * (step * cell.steps() as f64 + pass * passes * evaluations as f64) + worth
    };
    cells.iter().map(seconds).collect()
}

fn time_step(registry: &Registry, dataset: &dyn Dataset, cell: &Cell, device: &str) -> Result<f64> {
    let device = &device::open(device)?;
    let build = Build {
        image: dataset.image(),
        network: cell.network,
        hyper: &cell.hyper,
        seed: cell.seed,
        dtype: DType::F32,
        device,
    };
    let model = registry.find(&cell.variant)?.build(&build)?;
    let mut learner = Learner::new(model, dataset.classes(), cell.seed, cell.learning_rate)?;
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
