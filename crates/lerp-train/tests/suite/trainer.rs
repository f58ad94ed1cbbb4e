//! The training loop: each batch is read ahead once, none beyond the last step, and an error in reading ahead is
//! reported by the step that needs the batch.

use std::sync::Mutex;

use candle_core::{DType, Device};
use lerp_baseline::Baseline;
use lerp_core::{Build, Draws, Hyper, ImageShape, LearningRate, ModelVariant, Network, Variant, scalar};
use lerp_data::{Batch, Dataset, Error, Lines, Result};
use lerp_train::{BatchSource, ExecutionMode, Learner, Trainer};

const SEED: u64 = 3;
const BATCH: usize = 4;

/// How the dataset below fails at one step.
#[derive(Clone, Copy)]
enum Fault {
    Error,
    Panic,
}

/// The lines dataset, which logs the steps that batches were read for.
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
    learner_at(1e-3.into())
}

fn learner_at(rate: LearningRate) -> Learner {
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
    Learner::new(ModelVariant::<Baseline>::new().build(&build).unwrap(), Lines.classes(), 0, rate).unwrap()
}

fn trainer(dataset: &dyn Dataset) -> Trainer<'_> {
    Trainer::new(learner(), BatchSource::Dataset { dataset, size: BATCH }, SEED).unwrap()
}

fn bits(learner: &Learner) -> Vec<u32> {
    let values = learner.entries().flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    values.map(f32::to_bits).collect()
}

/// Calls `f` in thread pools of one and of two threads.
fn in_pools(f: impl Fn() + Sync) {
    for threads in [1, 2] {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&f);
    }
}

#[test]
fn steps_equal_a_plain_loop_and_no_batch_is_read_twice_or_beyond_the_last() {
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
        assert_eq!(trainer.mode(), ExecutionMode::Synchronous);
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
    // The same holds outside of any pool.
    check();
}

#[test]
fn a_fault_in_reading_ahead_is_an_error_of_the_step_that_needs_the_batch() {
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
fn a_failed_step_can_be_repeated_with_the_same_batch() {
    let dataset = Watched::default();
    let mut trainer = trainer(&dataset);
    trainer.step().unwrap();
    let weight = trainer.learner().names().next().unwrap().to_owned();
    let value = trainer.learner().get(&weight).unwrap().as_tensor().copy().unwrap();
    trainer.learner().set(&weight, &(&value * f64::NAN).unwrap()).unwrap();
    let error = trainer.step().unwrap_err().to_string();
    assert!(error.contains("at step 2 (8 samples)"), "{error}");
    trainer.learner().set(&weight, &value).unwrap();
    trainer.step().unwrap();
    let whole = Watched::default();
    let mut unbroken = self::trainer(&whole);
    unbroken.step().unwrap();
    unbroken.step().unwrap();
    assert_eq!(bits(trainer.learner()), bits(unbroken.learner()));
}

#[test]
fn a_fixed_batch_is_used_by_every_step() {
    let batch = Lines.train_batch(BATCH, &Draws::new(1, &Device::Cpu)).unwrap();
    let draws = Draws::new(SEED, &Device::Cpu).scope("train");
    let mut plain = learner();
    for step in 0..2 {
        let gradients = plain.gradients(&batch, &draws.at(step)).unwrap();
        plain.update(&gradients).unwrap();
    }
    let mut trainer = Trainer::new(learner(), BatchSource::Fixed(batch), SEED).unwrap();
    trainer.step().unwrap();
    trainer.step().unwrap();
    assert_eq!(bits(trainer.learner()), bits(&plain));
}

/// Returns all parameters and buffers, concatenated.
fn values(learner: &Learner) -> Vec<f32> {
    let of = |(_, var): (&str, &candle_core::Var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    learner.entries().flat_map(of).collect()
}

#[test]
fn averages_follow_the_parameters_and_replace_them_only_inside_averaged() {
    let of =
        |learner| Trainer::new(learner, BatchSource::Dataset { dataset: &Lines, size: BATCH }, SEED).unwrap();
    let (mut plain, mut averaging) = (of(learner()), of(learner().averaging(0.4).unwrap()));
    let mut wanted: Vec<f64> = values(plain.learner()).into_iter().map(f64::from).collect();
    for step in 1..=6 {
        plain.step().unwrap();
        averaging.step().unwrap();
        let keep = 0.4_f64.min((1.0 + f64::from(step)) / (10.0 + f64::from(step)));
        let now = values(plain.learner());
        wanted.iter_mut().zip(&now).for_each(|(w, v)| *w = keep * *w + (1.0 - keep) * f64::from(*v));
        let averages = averaging.learner().averaged(|learner| Ok(values(learner))).unwrap();
        assert!(averages.iter().zip(&wanted).all(|(a, w)| (f64::from(*a) - w).abs() < 1e-6), "step {step}");
        assert_ne!(averages, now);
        assert!(values(averaging.learner()) == now, "training goes on with the parameters themselves");
    }
    assert_eq!(plain.learner().averaged(|learner| Ok(values(learner))).unwrap(), values(plain.learner()));
}

#[test]
fn every_step_has_the_learning_rate_of_its_schedule() {
    // Two steps of warm-up, then a decay over the last two of four steps.
    let schedule = "cosine,from=0.5,warmup=2".parse().unwrap();
    let of = |rate| {
        let source = BatchSource::Dataset { dataset: &Lines, size: BATCH };
        let mut trainer = Trainer::new(learner_at(rate), source, SEED).unwrap();
        let before = values(trainer.learner());
        trainer.step().unwrap();
        (before, values(trainer.learner()), trainer)
    };
    let (before, constant, _) = of(1e-3.into());
    let (_, warming, mut trainer) = of(LearningRate { peak: 1e-3, schedule, steps: 4 });
    let moved = |to: &[f32]| before.iter().zip(to).map(|(a, b)| f64::from(b - a).abs()).sum::<f64>();
    let share = moved(&warming) / moved(&constant);
    assert!((share - 0.5).abs() < 1e-3, "{share}");
    // At the end of the schedule the learning rate is 0, so parameters stay the same.
    (0..3).for_each(|_| trainer.step().unwrap());
    let end = values(trainer.learner());
    trainer.step().unwrap();
    assert!(values(trainer.learner()) == end && end != warming);
}
