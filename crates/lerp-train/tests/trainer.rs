//! The loop of steps: batches are read ahead, each once, none beyond the last step; what goes wrong beside a step is an
//! error of the step that needs the batch.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use candle_core::{DType, Device};
use lerp_baseline::Baseline;
use lerp_core::{Build, Draws, Hyper, ImageShape, Network, Of, Variant, scalar};
use lerp_data::{Batch, Dataset, Error, Lines, Result};
use lerp_train::{Learner, Mode, Source, Trainer};

const SEED: u64 = 3;
const BATCH: usize = 4;

/// What the dataset below does at one step.
#[derive(Clone, Copy)]
enum Fault {
    Error,
    Panic,
}

/// Lines, with the steps that batches were read for.
#[derive(Default)]
struct Watched {
    read: Mutex<Vec<u64>>,
    fault: Option<(u64, Fault)>,
}

impl Dataset for Watched {
    fn name(&self) -> &'static str {
        "watched"
    }
    fn title(&self) -> &'static str {
        "Watched"
    }
    fn image(&self) -> ImageShape {
        Lines.image()
    }
    fn network(&self) -> Network {
        Lines.network()
    }
    fn classes(&self) -> usize {
        Lines.classes()
    }
    fn train_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        self.read.lock().unwrap().push(draws.step());
        match self.fault {
            Some((step, Fault::Error)) if step == draws.step() => Err(Error::NoLabels),
            Some((step, Fault::Panic)) if step == draws.step() => panic!("a broken image"),
            _ => Lines.train_batch(size, draws),
        }
    }
    fn test_batch(&self, size: usize, draws: &Draws) -> Result<Batch> {
        Lines.test_batch(size, draws)
    }
}

fn learner() -> Learner {
    let (hyper, device) = (Hyper::new(), Device::Cpu);
    let network = Network { scales: 3, depth: 4, latent: 2 };
    let build = Build {
        image: Lines.image(),
        network: &network.into(),
        hyper: &hyper,
        seed: 0,
        dtype: DType::F32,
        device: &device,
    };
    Learner::new(Of::<Baseline>::new().build(&build).unwrap(), Lines.classes(), 0, 1e-3).unwrap()
}

fn trainer(dataset: &dyn Dataset) -> Trainer<'_> {
    Trainer::new(learner(), Source::Dataset { dataset, size: BATCH }, SEED).unwrap()
}

fn bits(learner: &Learner) -> Vec<u32> {
    let values = learner.entries().flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    values.map(f32::to_bits).collect()
}

/// Calls `f` in pools of one and of two threads.
fn in_pools(f: impl Fn() + Sync) {
    for threads in [1, 2] {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&f);
    }
}

#[test]
fn steps_are_those_of_a_plain_loop_and_no_batch_is_read_twice_or_beyond_the_last() {
    const STEPS: u64 = 5;
    let draws = Draws::new(SEED, &Device::Cpu);
    let (mut plain, mut losses) = (learner(), Vec::new());
    for step in 0..STEPS {
        let batch = Lines.train_batch(BATCH, &draws.scope("data").at(step)).unwrap();
        let gradients = plain.gradients(&batch, &draws.scope("train").at(step)).unwrap();
        losses = gradients.losses.iter().map(|(name, loss)| (name.clone(), scalar(loss).unwrap())).collect();
        plain.update(&gradients).unwrap();
    }
    let parameters = bits(&plain);
    let check = || {
        let dataset = Watched::default();
        let mut trainer = trainer(&dataset).until(STEPS);
        assert_eq!(trainer.mode(), Mode::Synchronous);
        for step in 0..STEPS {
            trainer.step().unwrap();
            let ahead = (step + 2).min(STEPS);
            assert_eq!(*dataset.read.lock().unwrap(), (0..ahead).collect::<Vec<_>>());
        }
        assert_eq!(trainer.learner().step(), STEPS);
        assert_eq!(trainer.losses().unwrap(), losses);
        assert_eq!(bits(trainer.learner()), parameters);
    };
    in_pools(check);
    // Also outside of any pool.
    check();
}

#[test]
fn a_fault_beside_a_step_is_an_error_of_the_step_that_needs_the_batch() {
    in_pools(|| {
        for fault in [Fault::Error, Fault::Panic] {
            let dataset = Watched { fault: Some((2, fault)), ..Watched::default() };
            let mut trainer = trainer(&dataset);
            trainer.step().unwrap();
            trainer.step().unwrap();
            let before = bits(trainer.learner());
            let error = trainer.step().unwrap_err().to_string();
            let wanted = match fault {
                Fault::Error => Error::NoLabels.to_string(),
                Fault::Panic => {
                    "watched: the batch of step 3 cannot be read: the reader panicked: a broken image".into()
                }
            };
            assert_eq!(error, wanted);
            assert_eq!((trainer.learner().step(), bits(trainer.learner())), (2, before));
        }
    });
}

#[test]
fn a_step_that_fails_is_tried_again_with_its_own_batch() {
    let dataset = Watched::default();
    let mut trainer = trainer(&dataset);
    trainer.step().unwrap();
    let weight = trainer.learner().names().next().unwrap().to_owned();
    let value = trainer.learner().get(&weight).unwrap().as_tensor().copy().unwrap();
    trainer.learner().set(&weight, &(&value * f64::NAN).unwrap()).unwrap();
    let error = trainer.step().unwrap_err().to_string();
    assert!(error.contains("at step 2 (4 samples)"), "{error}");
    trainer.learner().set(&weight, &value).unwrap();
    trainer.step().unwrap();
    let whole = Watched::default();
    let mut unbroken = self::trainer(&whole);
    unbroken.step().unwrap();
    unbroken.step().unwrap();
    assert_eq!(bits(trainer.learner()), bits(unbroken.learner()));
}

#[test]
fn a_fixed_batch_is_that_of_every_step() {
    let batch = Lines.train_batch(BATCH, &Draws::new(1, &Device::Cpu)).unwrap();
    let draws = Draws::new(SEED, &Device::Cpu).scope("train");
    let mut plain = learner();
    for step in 0..2 {
        let gradients = plain.gradients(&batch, &draws.at(step)).unwrap();
        plain.update(&gradients).unwrap();
    }
    let mut trainer = Trainer::new(learner(), Source::Fixed(batch), SEED).unwrap();
    trainer.step().unwrap();
    trainer.step().unwrap();
    assert_eq!(bits(trainer.learner()), bits(&plain));
}
