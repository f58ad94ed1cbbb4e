//! How long a sweep will take, from a few measured steps.

use std::{collections::HashMap, time::Instant};

use anyhow::Result;
use candle_core::DType;
use lerp_core::{Build, Draws};
use lerp_train::{Cell, EVALUATED_PAIRS, Learner, POSITIONS};

use crate::{device, registry::Registry};

/// Steps that are timed, after one that is not.
const STEPS: u64 = 2;

/// A forward pass as part of a training step, and a decoder as part of a forward pass; about.
const FORWARD: f64 = 1.0 / 3.0;
const DECODER: f64 = 0.5;

/// Seconds of training each cell on all threads of this machine.
pub fn estimate(registry: &Registry, cells: &[Cell], device_name: &str) -> Result<Vec<f64>> {
    let device = device::open(device_name)?;
    let mut known: HashMap<String, f64> = HashMap::new();
    let mut seconds = Vec::with_capacity(cells.len());
    for cell in cells {
        let key =
            format!("{} {} {} {:?} {:?}", cell.dataset, cell.variant, cell.batch, cell.network, cell.hyper);
        let step = if let Some(step) = known.get(&key) {
            *step
        } else {
            let step = time_step(registry, cell, &device)?;
            known.insert(key, step);
            step
        };
        let passes = (EVALUATED_PAIRS * POSITIONS) as f64 * DECODER + cell.test_samples as f64;
        let evaluation = step * FORWARD * passes / cell.batch as f64;
        let evaluations = cell.steps().div_ceil(cell.eval_steps());
        seconds.push(step * cell.steps() as f64 + evaluation * evaluations as f64);
    }
    Ok(seconds)
}

fn time_step(registry: &Registry, cell: &Cell, device: &candle_core::Device) -> Result<f64> {
    let dataset = lerp_data::dataset(&cell.dataset)?;
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
