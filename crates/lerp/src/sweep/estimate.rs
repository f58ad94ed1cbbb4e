//! Estimates the duration of a sweep from a few timed training steps.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use candle_core::Device;
use lerp_data::{Dataset, Lines, Split};
use lerp_files::duration;
use lerp_train::{Cell, EVALUATED_PAIRS, Judge, Learner, MAX_PROBE_IMAGES, POSITIONS};

use super::{
    count,
    steps::{self, Concurrency},
    survey::PlannedRun,
};
use crate::{dataset_cache::DatasetCache, registry::Registry, say::say};

/// Shortest total time of the timed steps.
const TIME: Duration = Duration::from_millis(50);

/// Approximate time of a forward pass as a fraction of a training step.
const FORWARD: f64 = 1.0 / 3.0;
/// Approximate time of the decoder as a fraction of a forward pass.
const DECODER: f64 = 0.5;

/// Approximate seconds on one thread to fit the classifier of frozen features, per element of the training latents
/// (`docs/performance.md`).
const PROBE: f64 = 4e-6;
/// Approximate seconds on one thread of one k-means restart with ten clusters, per element of the training latents.
const CLUSTERS: f64 = 5e-8;

/// Returns the seconds that the classifier and `restarts` of k-means take on `count` latents of `width` dimensions with
/// `threads` threads.
fn fitting_seconds(count: usize, width: usize, restarts: usize, threads: usize) -> f64 {
    (count * width) as f64 * (PROBE + CLUSTERS * restarts as f64) / threads as f64
}

/// Returns the number of training images that the final evaluation of a run uses.
fn training_images_evaluated(dataset: &dyn Dataset) -> usize {
    dataset.count(Split::Train).ok().flatten().unwrap_or(0).min(MAX_PROBE_IMAGES)
}

/// Returns the seconds that the evaluation of a dataset's raw pixels takes on `threads` threads.
pub fn pixels(dataset: &dyn Dataset, restarts: usize, threads: usize) -> f64 {
    let image = dataset.image();
    fitting_seconds(
        training_images_evaluated(dataset),
        image.height * image.width * image.channels,
        restarts,
        threads,
    )
}

/// Returns the seconds that it takes to train a dataset's judge on `samples` and to compute its reference values, on
/// all threads.
pub fn judge(dataset: &dyn Dataset, samples: u64) -> f64 {
    /// Approximate number of images that a judge classifies after its training: test images, reference images and pixel
    /// blends.
    const READ: f64 = 20_000.0;
    let second = Judge::seconds_per_sample(dataset).unwrap_or(0.0);
    second * (samples as f64 + READ * FORWARD)
}

/// Timings shared by all cells of one kind, which differ only in settings that hardly change the time.
#[derive(Clone, Copy)]
struct Kind {
    /// Seconds per training step.
    step: f64,
    /// Dimensions of the latents that will be clustered; 0 if the runs do not cluster.
    latent: usize,
    /// Seconds in which a judge classifies an image; 0 if runs are not judged.
    judging: f64,
}

/// Returns the number of latent dimensions of the cell's model, which is built to find it. Returns `None` if that
/// fails.
fn latent_dims(registry: &Registry, dataset: &dyn Dataset, cell: &Cell) -> Option<usize> {
    let variant = registry.find(&cell.variant).ok()?;
    let learner = Learner::of_cell(cell, variant, dataset, &Device::Cpu).ok()?;
    Some(learner.model().spec().shape.dims())
}

/// Returns the seconds in which a judge classifies an image on `threads` threads.
fn judging_seconds(dataset: &dyn Dataset, threads: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let sample = pool.map(|pool| pool.install(|| Judge::seconds_per_sample(dataset).unwrap_or(0.0)));
    sample.unwrap_or(0.0) * FORWARD
}

/// How runs are trained while their duration is estimated.
#[derive(Debug, Clone, Copy)]
pub struct TrainingConditions<'a> {
    /// Name of the device.
    pub device: &'a str,
    /// How many runs train on the device at the same time.
    pub concurrency: Concurrency,
    /// Whether judges measure the runs.
    pub judged: bool,
}

/// The expected duration of runs.
pub struct TimeEstimate {
    /// The remaining seconds of each run; `None` for a run that could not be timed.
    pub seconds: Vec<Option<f64>>,
    /// A sentence about each kind of cell that could not be timed.
    pub failures: Vec<String>,
}

impl TimeEstimate {
    /// Returns the expected seconds of the whole sweep with `at_once` simultaneous runs. Runs that could not be timed
    /// are left out.
    pub fn total(&self, at_once: usize) -> f64 {
        let known = || self.seconds.iter().flatten().copied();
        // The sweep takes at least as long as its longest run, even if an equal share of the work is shorter.
        known().fold(known().sum::<f64>() / at_once as f64, f64::max)
    }

    /// Prints the expected duration of `runs`, in total and by dataset.
    pub fn tell(&self, runs: &[PlannedRun], at_once: usize, devices: &[String]) {
        let known: Vec<(&PlannedRun, f64)> =
            runs.iter().zip(&self.seconds).filter_map(|(run, seconds)| Some((run, (*seconds)?))).collect();
        if known.is_empty() {
            return;
        }
        let unknown = match runs.len() - known.len() {
            0 => String::new(),
            unknown => format!(", without {unknown} of unknown length"),
        };
        say(&format!(
            "Estimate: {}{unknown} on {} (from a few steps of each; a run stopped with Ctrl-C resumes where it was)",
            duration(self.total(at_once)),
            devices.join(" and ")
        ));
        let mut by_dataset: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
        for (run, seconds) in known {
            let (number, sum) = by_dataset.entry(&run.dataset).or_default();
            *number += 1;
            *sum += seconds / at_once as f64;
        }
        if by_dataset.len() > 1 {
            for (dataset, (number, seconds)) in by_dataset {
                say(&format!("  {dataset}: {}, {}", count(number, "run"), duration(seconds)));
            }
        }
    }
}

/// Estimates the remaining duration of each run by timing a few training steps.
pub fn estimate(
    registry: &Registry,
    datasets: &DatasetCache,
    runs: &[PlannedRun],
    conditions: TrainingConditions,
) -> TimeEstimate {
    let TrainingConditions { device, concurrency, judged } = conditions;
    let threads = concurrency.threads;
    let mut known: HashMap<String, Option<Kind>> = HashMap::new();
    let mut failures = Vec::new();
    let seconds = |run: &PlannedRun| {
        let cell = &run.record.cell;
        let dataset = datasets.get(&run.dataset).ok()?;
        // The codebook size is the only hyperparameter that changes the time much; leaving the others out avoids timing
        // every cell of a grid.
        let codes = cell.hyper.get("codes");
        let key = format!("{} {} {} {:?} {codes:?}", run.dataset, cell.variant, cell.batch, cell.network);
        let kind = *known.entry(key).or_insert_with(|| {
            match steps::seconds_per_step(registry, &*dataset, cell, device, concurrency, TIME) {
                // The slowest run counts, because the same number of runs shares the device all the time.
                Ok(steps) => {
                    let step = steps.into_iter().fold(0.0, f64::max);
                    let latent =
                        cell.cluster_restarts.map_or(Some(0), |_| latent_dims(registry, &*dataset, cell));
                    let judging = if judged { judging_seconds(&*dataset, threads) } else { 0.0 };
                    latent.map(|latent| Kind { step, latent, judging })
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    let why = error.lines().next().unwrap_or_default();
                    failures.push(format!(
                        "a step of {} on {} cannot be timed ({why}); the estimate leaves it out",
                        cell.variant, cell.dataset
                    ));
                    None
                }
            }
        });
        let Kind { step, latent, judging } = kind?;
        let count = |part| dataset.count(part).ok().flatten();
        let pass = step * FORWARD / cell.batch as f64;
        let passes = match count(Split::Test) {
            None => (EVALUATED_PAIRS * POSITIONS) as f64 * DECODER + cell.test_samples as f64,
            Some(count) => cell.test_samples.min(count) as f64,
        };
        let evaluations = cell.steps().div_ceil(cell.eval_steps());
        // On lines a judge classifies the interpolations of every evaluation; on image sets only those of the last one,
        // which are decoded for it.
        let between = (EVALUATED_PAIRS * POSITIONS) as f64;
        let judgements = if dataset.name() == Lines::NAME {
            between * judging * evaluations as f64
        } else if judging > 0.0 {
            between * (judging + pass * DECODER)
        } else {
            0.0
        };
        let left = 1.0 - (run.samples as f64 / cell.samples as f64).min(1.0);
        let final_evaluation = cell.cluster_restarts.map_or(0.0, |restarts| {
            let (train, test) = (training_images_evaluated(&*dataset), count(Split::Test).unwrap_or(0));
            (train + test) as f64 * pass + fitting_seconds(train, latent, restarts, threads)
        });
        let training = step * cell.steps() as f64 + pass * passes * evaluations as f64;
        Some(left * (training + judgements) + final_evaluation)
    };
    let seconds = runs.iter().map(seconds).collect();
    TimeEstimate { seconds, failures }
}

#[cfg(test)]
mod tests {
    use lerp_core::{Hyper, Network, Precision, Schedule};
    use lerp_train::{Provenance, RunRecord};

    use super::*;

    #[test]
    fn a_cell_that_cannot_take_a_step_is_told_and_left_out() {
        let cell = |variant: &str, seed| Cell {
            dataset: "lines".into(),
            variant: variant.into(),
            seed,
            samples: 64,
            batch: 4,
            learning_rate: 1e-3,
            eval_every: 64,
            checkpoint_every: 64,
            test_samples: 8,
            cluster_restarts: None,
            precision: Precision::F32,
            ema: None,
            schedule: Schedule::default(),
            origin: lerp_train::Origin::Trained,
            network: Network { scales: 4, depth: 2, latent: 2 }.into(),
            hyper: Hyper::new(),
        };
        let run = |cell: Cell| {
            let dataset = cell.dataset.clone();
            PlannedRun { record: RunRecord::new(cell, "", Provenance::unknown()), dataset, samples: 0 }
        };
        let runs = [cell("vae", 0), cell("gone", 0), cell("gone", 1)].map(run);
        let registry = Registry::default();
        let datasets = DatasetCache::new(&registry, None);
        let conditions =
            TrainingConditions { device: "cpu", concurrency: Concurrency::SINGLE, judged: false };
        let TimeEstimate { seconds, failures } = estimate(&registry, &datasets, &runs, conditions);
        assert!(seconds[0].is_some_and(|seconds| seconds > 0.0));
        assert_eq!(seconds[1..], [None, None]);
        let [sentence] = &failures[..] else { panic!("{failures:?}") };
        assert!(
            sentence.contains("a step of gone on lines cannot be timed (there is no variant"),
            "{sentence}"
        );
    }
}
