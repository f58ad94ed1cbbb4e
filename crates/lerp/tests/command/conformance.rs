//! Variants that keep state beside parameters and buffers, or read the step number on the host: the conformance check
//! reports them, and a GPU does not capture their steps.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use candle_core::{Device, Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, CRITIC, Carry, Draws, Hyper, Model, ModelVariant, Objectives,
    ParamStore, Result, Spec, Variant,
};
use lerp_nn::{Coder, Dense, mean_squared_error};
use lerp_train::conformance::check;
use serde::{Deserialize, Serialize};

/// Kinds of [`Own`], by what its losses depend on beside parameters, images and draws. This one counts its calls.
const COUNTER: u8 = 0;
/// Scales the loss by the step number, read on the host.
const SCHEDULE: u8 = 1;
/// Counts its calls and trains the critic at every fifth only.
const EVERY_FIFTH: u8 = 2;
/// Counts its steps in `after_step` and doubles the loss from the hundredth on.
const RARELY: u8 = 3;
/// Scales the loss by a random number drawn on the host.
const HOST_DRAW: u8 = 4;
/// Scales the loss and trains the critic at every fifth step by the step number as a tensor, which is allowed.
const BY_TENSOR: u8 = 5;

/// A baseline with a critic of its latents and the behaviour that `KIND` selects.
struct Own<const KIND: u8> {
    coder: Coder,
    critic: Dense,
    /// A count of calls or steps, which no variant may keep.
    seen: AtomicU64,
}

#[derive(Default, Serialize, Deserialize)]
struct Config {}

impl<const KIND: u8> Model for Own<KIND> {
    const NAME: &'static str =
        ["counter", "schedule", "every-fifth", "rarely", "host-draw", "by-tensor"][KIND as usize];
    const TITLE: &'static str = Self::NAME;
    type Config = Config;
    fn check(_: &Config) -> Result<()> {
        Ok(())
    }
    fn new(_: Config, build: &Build) -> Result<Self> {
        let mut coder = Coder::new(Self::NAME, build)?;
        let inputs = coder.spec.shape.dims();
        let critic = Dense::new(inputs, 1, &coder.store.builder(CRITIC).pp("critic"))?;
        Ok(Self { coder, critic, seen: AtomicU64::new(0) })
    }
}

impl<const KIND: u8> Autoencoder for Own<KIND> {
    fn spec(&self) -> &Spec {
        &self.coder.spec
    }
    fn params(&self) -> &ParamStore {
        &self.coder.store
    }
    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        Ok(self.coder.encoder.forward(x)?)
    }
    // Only the features are overridden, so the default methods that use features must follow this one.
    fn features(&self, x: &Tensor, draws: &Draws) -> Result<Tensor> {
        Ok(self.encode(x, draws)?.flatten_from(1)?.tanh()?)
    }
    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.coder.decoder.forward(z)?)
    }
    fn objectives(&self, x: &Tensor, draws: &Draws) -> Result<Objectives> {
        let z = self.coder.encoder.forward(x)?;
        let mut loss = mean_squared_error(&self.coder.decoder.forward(&z)?, x)?;
        let guess = self.critic.forward(&z.detach().flatten_from(1)?)?;
        let mut critic = (guess - 1.0)?.sqr()?.mean_all()?;
        match KIND {
            COUNTER => loss = (loss * (1.0 + 0.01 * self.seen.fetch_add(1, Relaxed) as f64))?,
            SCHEDULE => loss = (loss * (draws.step() as f64 / 100.0).min(1.0))?,
            EVERY_FIFTH if !self.seen.fetch_add(1, Relaxed).is_multiple_of(5) => critic = (critic * 0.0)?,
            // This kind counts in `after_step`.
            RARELY if self.seen.load(Relaxed) >= 100 => loss = (loss * 2.0)?,
            HOST_DRAW => loss = (loss * f64::from(draws.uniforms("weight", 1)[0]))?,
            BY_TENSOR => {
                let step = draws.step_tensor()?;
                loss = (loss * (&step / 100.0)?.minimum(1.0)?)?;
                let rest = (&step - ((&step / 5.0)?.floor()? * 5.0)?)?;
                critic = (critic * rest.eq(0.0)?.to_dtype(step.dtype())?)?;
            }
            _ => {}
        }
        Ok(Objectives::new(AUTOENCODER, loss, &z)?.loss(CRITIC, critic))
    }
    fn after_step(&self, _: &Carry) -> Result<()> {
        if KIND == RARELY {
            self.seen.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}

#[test]
fn hidden_state_and_values_read_on_the_host_do_not_conform() {
    let broken = |variant: &dyn lerp_core::Variant| check(variant, &Device::Cpu).unwrap_err().to_string();
    for (counts, name) in [
        (broken(&ModelVariant::<Own<COUNTER>>::new()), "counter"),
        (broken(&ModelVariant::<Own<EVERY_FIFTH>>::new()), "every-fifth"),
        (broken(&ModelVariant::<Own<RARELY>>::new()), "rarely"),
    ] {
        assert!(counts.starts_with(&format!("{name} does not conform: ")), "{counts}");
        assert!(counts.contains("beside parameters and buffers (a counter?)"), "{counts}");
    }
    for (reads, name) in [
        (broken(&ModelVariant::<Own<SCHEDULE>>::new()), "schedule"),
        (broken(&ModelVariant::<Own<HOST_DRAW>>::new()), "host-draw"),
    ] {
        assert!(reads.starts_with(&format!("{name} does not conform: ")), "{reads}");
        assert!(reads.contains("on the host") && reads.contains("Draws::step_tensor"), "{reads}");
    }
}

#[test]
fn a_schedule_from_the_step_as_a_tensor_conforms() {
    let rules = check(&ModelVariant::<Own<BY_TENSOR>>::new(), &Device::Cpu).unwrap();
    assert_eq!(rules.len(), 7, "{rules:?}");
    // The losses do depend on the step.
    let network = &lerp_core::Network { scales: 2, depth: 4, latent: 2 }.into();
    let (hyper, device) = (lerp_core::Hyper::new(), Device::Cpu);
    let image = lerp_core::ImageShape { height: 8, width: 8, channels: 1 };
    let dtype = candle_core::DType::F32;
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype, device: &device };
    let model = Own::<BY_TENSOR>::new(Config {}, &build).unwrap();
    let draws = Draws::new(0, &device);
    let x = draws.uniform("x", (2, 8, 8, 1)).unwrap();
    let losses = |step: u64| {
        let losses = model.objectives(&x, &draws.at(step)).unwrap().losses;
        losses.iter().map(|of| of.loss.value().to_scalar::<f32>().unwrap()).collect::<Vec<_>>()
    };
    let (fifth, later) = (losses(50), losses(101));
    assert!((fifth[0] / later[0] - 0.5).abs() < 1e-6, "half of the schedule: {fifth:?} {later:?}");
    assert!(fifth[1] > 0.0 && later[1] == 0.0, "the critic every fifth step: {fifth:?} {later:?}");
}

/// Returns a learner of a small model on lines.
#[cfg(feature = "cuda")]
fn on_lines(variant: &dyn Variant, device: &Device, rate: lerp_core::LearningRate) -> lerp_train::Learner {
    use lerp_data::Dataset;

    let network = &lerp_core::Network { scales: 2, depth: 4, latent: 2 }.into();
    let (image, hyper, dtype) = (lerp_data::Lines.image(), Hyper::new(), candle_core::DType::F32);
    let build = Build { image, network, hyper: &hyper, seed: 0, dtype, device };
    lerp_train::Learner::new(variant.build(&build).unwrap(), 10, 0, rate).unwrap()
}

/// This test needs a GPU or the emulator in `tools/cuda-emulator`.
#[cfg(feature = "cuda")]
#[test]
fn a_gpu_captures_steps_that_read_the_step_tensor_but_none_that_read_the_host() {
    use lerp_core::Precision;
    use lerp_data::Lines;
    use lerp_train::{BatchSource, ExecutionMode, Trainer};

    let device = match lerp_kernels::cuda::device(0, Precision::F32) {
        Ok(device) => device,
        Err(missing) => return lerp_test::skip("cuda", &missing),
    };
    let run = |variant: &dyn Variant, capture: bool| {
        let learner = on_lines(variant, &device, 1e-3.into());
        let mut trainer =
            Trainer::new(learner, BatchSource::Dataset { dataset: &Lines, size: 4 }, 0).unwrap();
        if !capture {
            trainer = trainer.without_graph_capture();
        }
        let mut losses = Vec::new();
        for _ in 0..8 {
            trainer.step().unwrap();
            losses.push(trainer.losses().unwrap());
        }
        (losses, trainer.mode() == ExecutionMode::Captured)
    };
    for (variant, captures) in [
        (&ModelVariant::<Own<SCHEDULE>>::new() as &dyn Variant, false),
        (&ModelVariant::<Own<HOST_DRAW>>::new(), false),
        (&ModelVariant::<Own<BY_TENSOR>>::new(), true),
    ] {
        let ((launched, _), (ours, captured)) = (run(variant, false), run(variant, true));
        assert_eq!(captured, captures, "{}", variant.name());
        assert_eq!(ours, launched, "{}", variant.name());
    }
    // Graph capture cannot detect that a host counter was read, but comparing the losses can.
    let counts = ModelVariant::<Own<COUNTER>>::new();
    assert_ne!(run(&counts, false).0, run(&counts, true).0);
    check(&ModelVariant::<Own<BY_TENSOR>>::new(), &device).unwrap();
    lerp_kernels::release_device(device);
}

/// This test needs a GPU or its emulator. It compares the learning rates and averaging weights that the GPU computes
/// itself with the host's.
#[cfg(feature = "cuda")]
#[test]
fn a_gpu_follows_the_hosts_schedule_and_averages_and_restarts_entries() {
    use lerp_core::{LearningRate, Precision};
    use lerp_data::{Batch, Dataset, Lines};
    use lerp_train::{BatchSource, Learner, Trainer};

    let gpu = match lerp_kernels::cuda::device(0, Precision::F32) {
        Ok(device) => device,
        Err(missing) => return lerp_test::skip("cuda", &missing),
    };
    let averages = |device: &Device| {
        let schedule = "cosine,from=0.25,floor=0.1,warmup=3".parse().unwrap();
        let rate = LearningRate { peak: 1e-3, schedule, steps: 12 };
        let baseline = ModelVariant::<lerp_baseline::Baseline>::new();
        let learner = on_lines(&baseline, device, rate).averaging(0.6).unwrap();
        let batch: Batch = Lines.train_batch(4, &Draws::new(0, &Device::Cpu)).unwrap();
        let mut trainer = Trainer::new(learner, BatchSource::Fixed(batch), 0).unwrap();
        (0..12).for_each(|_| trainer.step().unwrap());
        let values = |learner: &Learner| {
            let of = |(_, var): (&str, &candle_core::Var)| {
                lerp_core::on_host(var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
            };
            learner.entries().flat_map(of).collect::<Vec<f64>>()
        };
        trainer.learner().averaged(|learner| Ok(values(learner))).unwrap()
    };
    let (host, device) = (averages(&Device::Cpu), averages(&gpu));
    // A wrong learning rate in a single step would change the weights by about 1e-4.
    let furthest = host.iter().zip(&device).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(furthest < 2e-5, "{furthest}");
    let rules = check(&Restarting(ModelVariant::new()), &gpu).unwrap();
    assert!(rules.iter().any(|rule| rule.starts_with("captured steps")), "{rules:?}");
    lerp_kernels::release_device(gpu);
}

/// A VQ-VAE that by default restarts unused codebook entries.
struct Restarting(ModelVariant<lerp_vqvae::VqVae>);

impl Variant for Restarting {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn title(&self) -> &'static str {
        self.0.title()
    }
    fn check(&self, hyper: &Hyper) -> Result<Hyper> {
        let mut all = Hyper::new();
        all.insert("codes".into(), 32.into());
        all.insert("decay".into(), 0.5.into());
        all.insert("restart".into(), 0.3.into());
        all.extend(hyper.clone());
        self.0.check(&all)
    }
    fn build(&self, build: &Build) -> Result<Box<dyn Autoencoder>> {
        self.0.build(build)
    }
}

#[test]
fn restarts_of_a_codebook_are_resumed_bit_for_bit() {
    let rules = check(&Restarting(ModelVariant::new()), &Device::Cpu).unwrap();
    assert!(rules.iter().any(|rule| rule.contains("stopped and resumed")), "{rules:?}");
}
