//! Checks that an accelerator computes the same as the host: random draws, lines, fused operations and captured
//! training steps.

use candle_core::{DType, Device, Tensor, Var};
use lerp_core::{Build, Draws, Hyper, ImageShape, Network, Variant};
use lerp_data::{Dataset, Lines};
use lerp_kernels::{
    Activation, Adam, Implementation, Link, Moments, UpdateNumber, adam_steps, chain, dense, generator,
    gradients, mean_cross_entropy, mean_squared_error, with_implementation,
};
use lerp_train::{BatchSource, ExecutionMode, Learner, Trainer};

use crate::{Error, Result, VerifyOptions, checker::Checker};

/// Checks a device that generates random draws itself and captures training steps. Does nothing on any other device.
pub fn accelerator(checker: &mut Checker, options: &VerifyOptions) -> Result<()> {
    let device = &options.device;
    let Some(generator) = generator(device) else { return Ok(()) };
    let host = Draws::new(0x1234_5678_9abc_def0, &Device::Cpu).scope("verify");
    let there = Draws::new(0x1234_5678_9abc_def0, device).scope("verify").made_by(generator);
    draws(checker, &host, &there)?;
    lines(checker, &host, &there)?;
    for case in CHAINS {
        convolutions(checker, &there, case)?;
    }
    losses(checker, &there)?;
    adam(checker, &there)?;
    for variant in options.variants {
        steps(checker, device, *variant)?;
    }
    let notices = lerp_kernels::noticed();
    let note = notices.first().cloned().unwrap_or_default();
    checker.record("device: notices".into(), notices.len() as f64, 0.0, note);
    Ok(())
}

fn draws(checker: &mut Checker, host: &Draws, there: &Draws) -> Result<()> {
    let on_host = |t: Tensor| Ok::<_, Error>(t.to_device(&Device::Cpu)?.flatten_all()?);
    for (step, n) in [(0, 1), (3, 1023), (1 << 40, 65_537)] {
        let (host, there) = (host.at(step), there.at(step));
        let (a, b) =
            (host.uniform("u", n)?.to_vec1::<f32>()?, on_host(there.uniform("u", n)?)?.to_vec1::<f32>()?);
        let differ = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        checker.record(
            format!("device draws uniform {n} at step {step}"),
            differ as f64,
            0.0,
            "values differ",
        );
        let (a, b) = (host.uniforms_f64("v", n), on_host(there.uniform_f64("v", n)?)?.to_vec1::<f64>()?);
        let differ = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        checker.record(format!("device draws f64 {n} at step {step}"), differ as f64, 0.0, "values differ");
        let (a, b) =
            (host.normal("n", n)?.to_vec1::<f32>()?, on_host(there.normal("n", n)?)?.to_vec1::<f32>()?);
        let ulps = a.iter().zip(&b).map(|(a, b)| ulps(*a, *b)).fold(0.0, f64::max);
        checker.record(
            format!("device draws normal {n} at step {step}"),
            ulps,
            1.0,
            "units in the last place",
        );
    }
    Ok(())
}

/// Returns the distance of two numbers in units in the last place of `f32`.
fn ulps(a: f32, b: f32) -> f64 {
    let ordinal = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits } else { bits }
    };
    if a.is_nan() || b.is_nan() { f64::NAN } else { (ordinal(a) - ordinal(b)).unsigned_abs() as f64 }
}

fn lines(checker: &mut Checker, host: &Draws, there: &Draws) -> Result<()> {
    let size = 2000;
    let (a, b) = (Lines.train_batch(size, host)?, Lines.train_batch(size, there)?);
    let pixels = (a.images - b.images.to_device(&Device::Cpu)?)?.abs()?.max_all()?.to_scalar::<f32>()?;
    checker.record(format!("device lines, {size} images"), f64::from(pixels), 1.2e-7, "largest difference");
    let labels = |t: Option<Tensor>| match t {
        Some(t) => Ok(t.to_vec1::<u32>()?),
        None => Err(Error::missing(Lines::NAME, "labels")),
    };
    let differ = labels(a.labels)?.iter().zip(&labels(b.labels)?).filter(|(a, b)| a != b).count();
    checker.record(format!("device lines, {size} labels"), differ as f64, 0.0, "values differ");
    Ok(())
}

/// A chain of convolutions and its input.
struct ChainCase {
    /// Batch size, side and channels of the images.
    input: [usize; 3],
    convolutions: &'static [Convolution],
}

/// A convolution of a chain.
struct Convolution {
    /// Side of the kernel.
    kernel: usize,
    /// Number of output channels.
    channels: usize,
    /// Whether the input is first upscaled by two.
    upscale: bool,
    /// Whether the output is averaged over squares of two by two.
    downscale: bool,
}

const fn plain(kernel: usize, channels: usize) -> Convolution {
    Convolution { kernel, channels, upscale: false, downscale: false }
}

const fn upscaled(kernel: usize, channels: usize) -> Convolution {
    Convolution { upscale: true, ..plain(kernel, channels) }
}

const fn downscaled(kernel: usize, channels: usize) -> Convolution {
    Convolution { downscale: true, ..plain(kernel, channels) }
}

const CHAINS: &[ChainCase] = &[
    ChainCase {
        input: [3, 8, 1],
        convolutions: &[plain(1, 5), downscaled(3, 5), downscaled(3, 7), plain(3, 2)],
    },
    ChainCase { input: [2, 3, 4], convolutions: &[plain(3, 9), upscaled(3, 6), upscaled(5, 3), plain(3, 1)] },
    ChainCase {
        input: [2, 4, 3],
        convolutions: &[
            Convolution { upscale: true, downscale: true, ..plain(3, 256) },
            plain(3, 300),
            upscaled(3, 33),
        ],
    },
    ChainCase { input: [5, 16, 16], convolutions: &[plain(3, 16), downscaled(3, 16), plain(3, 32)] },
];

/// Compares values and gradients of a chain of convolutions, as a fused kernel and composed of candle's operations.
fn convolutions(checker: &mut Checker, draws: &Draws, case: &ChainCase) -> Result<()> {
    let ChainCase { input, convolutions } = case;
    let [batch, side, mut channels] = *input;
    let x = Var::from_tensor(&draws.normal("x", (batch, side, side, channels))?)?;
    let (mut links, mut vars) = (Vec::new(), vec![x.clone()]);
    for (i, convolution) in convolutions.iter().enumerate() {
        let &Convolution { kernel, channels: out, upscale, downscale } = convolution;
        let scale = (1.0 / (kernel * kernel * channels) as f64).sqrt();
        let weight = (draws.normal(&format!("w{i}"), (kernel, kernel, channels, out))? * scale)?;
        let weight = Var::from_tensor(&weight)?;
        let bias = Var::from_tensor(&draws.normal(&format!("b{i}"), out)?)?;
        vars.extend([weight.clone(), bias.clone()]);
        let activation = if i + 1 < convolutions.len() { Activation::LEAKY } else { Activation::Linear };
        let (weight, bias) = (weight.as_tensor().clone(), bias.as_tensor().clone());
        links.push(Link { weight, bias, activation, upscale, downscale });
        channels = out;
    }
    let run = |kernels| {
        with_implementation(kernels, || {
            let y = chain(&x, &links)?;
            let pull = draws.normal("pull", y.shape())?;
            let grads = gradients(&(&y * pull)?.sum_all()?)?;
            let mut all = vec![y.detach()];
            all.extend(vars.iter().filter_map(|var| grads.get(var).cloned()));
            Ok::<_, Error>(all)
        })
    };
    compare(
        checker,
        &format!("device chain {input:?}"),
        &run(Implementation::Fused)?,
        &run(Implementation::Composed)?,
    )
}

/// Reports for each pair of tensors the largest absolute difference relative to the largest value.
fn compare(checker: &mut Checker, name: &str, ours: &[Tensor], wanted: &[Tensor]) -> Result<()> {
    let lacking = ours.len().abs_diff(wanted.len());
    checker.record(format!("{name}: values and gradients"), lacking as f64, 0.0, "missing");
    for (i, (a, b)) in ours.iter().zip(wanted).enumerate() {
        let scalar = |t: Tensor| Ok::<_, Error>(f64::from(t.abs()?.max_all()?.to_scalar::<f32>()?));
        let (off, largest) = (scalar((a - b)?)?, scalar(b.clone())?);
        checker.record(
            format!("{name}: {i} {:?}", b.dims()),
            off / largest.max(1e-30),
            2e-5,
            "of the largest",
        );
    }
    Ok(())
}

fn losses(checker: &mut Checker, draws: &Draws) -> Result<()> {
    let a = Var::from_tensor(&draws.normal("a", (5, 16, 16, 3))?)?;
    let b = Var::from_tensor(&draws.normal("b", (5, 16, 16, 3))?)?;
    let features = Var::from_tensor(&draws.normal("features", (300, 20))?)?;
    let weight = Var::from_tensor(&draws.normal("weight", (20, 10))?)?;
    let bias = Var::from_tensor(&draws.normal("bias", 10)?)?;
    let labels = (draws.uniform("labels", 300)? * 10.0)?.to_dtype(DType::U32)?;
    let run = |kernels| {
        with_implementation(kernels, || {
            let error = mean_squared_error(&a, &b)?;
            let entropy = mean_cross_entropy(&dense(&features, &weight, &bias)?, &labels)?;
            let grads = gradients(&((&error * 3.0)? + (&entropy * 2.0)?)?)?;
            let mut all = vec![error.detach(), entropy.detach()];
            all.extend([&a, &b, &features, &weight, &bias].iter().filter_map(|v| grads.get(v).cloned()));
            Ok::<_, Error>(all)
        })
    };
    compare(checker, "device losses", &run(Implementation::Fused)?, &run(Implementation::Composed)?)
}

/// Checks two steps of Adam over more parameter tensors than one kernel launch takes.
fn adam(checker: &mut Checker, draws: &Draws) -> Result<()> {
    let run = |kernels| {
        with_implementation(kernels, || {
            let mut all = Vec::new();
            for i in 0..30 {
                let value = |name: &str| draws.normal(&format!("{name}{i}"), (i + 1, 37));
                let param = Var::from_tensor(&value("p")?)?;
                let (m, v) = (Var::from_tensor(&value("m")?)?, Var::from_tensor(&value("v")?.sqr()?)?);
                all.push((param, value("g")?, m, v));
            }
            let moments: Vec<_> =
                all.iter().map(|(param, grad, m, v)| Moments { param, grad, m, v }).collect();
            for step in 1..3 {
                adam_steps(&moments, 1e-2, UpdateNumber::Given(step), &Adam::default())?;
            }
            Ok::<_, Error>(all.iter().map(|(param, ..)| param.as_detached_tensor()).collect::<Vec<_>>())
        })
    };
    compare(checker, "device adam", &run(Implementation::Fused)?, &run(Implementation::Composed)?)
}

/// How the training steps of [`steps`] are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// Every step is launched kernel by kernel.
    Launched,
    /// A step is captured once and replayed.
    Captured,
    /// Steps are launched kernel by kernel, and another trainer takes over half way.
    TakenOver,
}

/// The result of training steps.
struct Trained {
    /// The bits of the losses and of all parameters and buffers.
    bits: Vec<u64>,
    /// Whether the steps were captured.
    captured: bool,
    /// Whether all losses are finite.
    finite: bool,
}

/// Checks that training steps of a variant on lines have the same bits in each of the ways of [`Steps`].
fn steps(checker: &mut Checker, device: &Device, variant: &dyn Variant) -> Result<()> {
    const STEPS: usize = 6;
    let mut hyper = Hyper::new();
    if variant.name() == "vqvae" {
        hyper.insert("codes".into(), 64.into());
        hyper.insert("filter".into(), 16.into());
    }
    let hyper = variant.check(&hyper)?;
    let run = |steps: Steps| -> Result<Trained> {
        let build = Build {
            image: ImageShape { height: Lines::SIDE, width: Lines::SIDE, channels: 1 },
            network: &Network { scales: 3, depth: 4, latent: 2 }.into(),
            hyper: &hyper,
            seed: 7,
            dtype: DType::F32,
            device,
        };
        let make = |learner| -> Result<Trainer> {
            let trainer = Trainer::new(learner, BatchSource::Dataset { dataset: &Lines, size: 4 }, 7)?;
            Ok(if steps == Steps::Captured { trainer } else { trainer.without_graph_capture() })
        };
        let mut trainer = make(Learner::new(variant.build(&build)?, 10, 7, 1e-3)?)?;
        for step in 0..STEPS {
            if steps == Steps::TakenOver && step == STEPS / 2 {
                trainer = make(trainer.into_learner())?;
            }
            trainer.step()?;
        }
        let losses = trainer.losses();
        let finite = losses.is_ok();
        let mut bits: Vec<u64> =
            losses.unwrap_or_default().iter().map(|(_, value)| value.to_bits()).collect();
        for (_, var) in trainer.learner().entries() {
            bits.extend(var.flatten_all()?.to_vec1::<f32>()?.iter().map(|v| u64::from(v.to_bits())));
        }
        Ok(Trained { bits, captured: trainer.mode() == ExecutionMode::Captured, finite })
    };
    let name = variant.name();
    let mut zero = |what: &str, error: f64, note: &str| {
        checker.record(format!("device steps {name}: {what}"), error, 0.0, note);
    };
    let launched = run(Steps::Launched)?;
    let differ =
        |other: &Trained| launched.bits.iter().zip(&other.bits).filter(|(a, b)| a != b).count() as f64;
    zero("finite", f64::from(u8::from(!launched.finite)), "");
    let captured = run(Steps::Captured)?;
    zero("captured", f64::from(u8::from(!captured.captured)), "");
    zero("captured as launched", differ(&captured), "values differ");
    zero("taken over", differ(&run(Steps::TakenOver)?), "values differ");
    Ok(())
}
