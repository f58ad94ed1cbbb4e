//! Conformance checks that every variant must pass, including those defined outside this workspace.
//!
//! ```no_run
//! # fn demo(variant: &dyn lerp_core::Variant) -> lerp_train::Result<()> {
//! for rule in lerp_train::conformance::check(variant, &candle_core::Device::Cpu)? {
//!     println!("{rule}");
//! }
//! # Ok(())
//! # }
//! ```

use std::{path::Path, sync::atomic::AtomicBool};

use candle_core::{DType, Device, Tensor};
use lerp_core::{
    Architecture, Autoencoder, Build, Decay, Draws, GroupLoss, Hyper, LearningRate, Network, NetworkKind,
    Precision, Reconstruction, Schedule, Variant,
};
use lerp_data::{Batch, Dataset, Lines};

use lerp_files::make_folder;

use crate::{
    BatchSource, Cell, Error, ExecutionMode, Gradients, Learner, Progress, Provenance, Result, Run,
    RunInputs, RunRecord, TrainOutcome, Trainer, checkpoint, files::CHECKPOINT, learner::differentiate,
    train,
};

/// A small network for lines: two scales, four channels.
const NETWORK: Network = Network { scales: 2, depth: 4, latent: 2 };
const BATCH: usize = 8;

/// The number of times that objectives are evaluated at the same parameters: enough to expose a counter inside the
/// model that acts only after some calls.
const EVALUATIONS: usize = 256;
/// The batch size of those evaluations.
const SMALL_BATCH: usize = 2;

/// The number of steps compared between graph capture and individual kernel launches.
const STEPS: usize = 12;

/// Settings that the protocol does not use and a run may have: a learning-rate schedule, and an exponential moving
/// average of weights.
const SCHEDULE: Schedule = Schedule { decay: Decay::Cosine, warmup: 2, from: 0.25, floor: 0.1 };
const EMA: f64 = 0.9;

/// A rule.
struct Rule {
    /// The rule in words.
    text: &'static str,
    /// Checks it, with a folder for files.
    check: fn(&CheckedVariant, &Path) -> Result<()>,
}

/// The losses of each step, by name.
type Losses = Vec<Vec<(String, f64)>>;

/// Checks all rules on a small model on `device`, for each network that the variant can be built with. Returns the
/// rules, one sentence each. One of them applies only to devices with graph capture.
///
/// # Errors
/// [`Error::NotConforming`] with the first rule that is broken and how; or whatever error the variant itself
/// returns.
pub fn check(variant: &dyn Variant, device: &Device) -> Result<Vec<String>> {
    let mut passed = Vec::new();
    for kind in variant.networks() {
        let rules = check_network(variant, *kind, device)?;
        // The network is named only if there are several.
        let on =
            if variant.networks().len() > 1 { format!(" (network {})", kind.name()) } else { String::new() };
        passed.extend(rules.into_iter().map(|rule| format!("{rule}{on}")));
    }
    Ok(passed)
}

/// Checks all rules on a model with one kind of network: a small one of the paper's kind, other kinds with their
/// default settings.
fn check_network(variant: &dyn Variant, kind: NetworkKind, device: &Device) -> Result<Vec<&'static str>> {
    // The folder has an unpredictable name, and is removed with its content however the checks end.
    let dir = tempfile::Builder::new().prefix("lerp-conformance-").tempdir();
    let dir = dir.map_err(lerp_files::Error::at("create a folder in", &std::env::temp_dir()))?;
    let dir = dir.path();
    let small = variant.network("conformance", NETWORK);
    let network = kind.check(&Hyper::new(), small)?;
    let subject = CheckedVariant { variant, network, hyper: variant.check(&Hyper::new())?, device };
    let captures = subject.trainer()?.mode() != ExecutionMode::Synchronous;
    let mut rules = vec![
        Rule { text: "shapes are those of its specification", check: |subject, _| subject.shapes() },
        Rule {
            text: "every group has one loss, and no loss computes another group's gradients",
            check: |subject, _| subject.groups(),
        },
        Rule {
            text: "losses and gradients are finite, and equal seeds give equal ones",
            check: |subject, _| subject.repeats(),
        },
        Rule {
            text: "updating one group leaves the others alone",
            check: |subject, _| subject.separate_updates(),
        },
        Rule {
            text: "losses and gradients depend on parameters, buffers, batch and draws alone",
            check: |subject, _| subject.keeps_nothing(),
        },
        Rule {
            text: "parameters and buffers are saved and loaded bit for bit",
            check: |subject, dir| subject.saves(dir),
        },
        Rule {
            text: "a run that is stopped and resumed equals one that is not, bit for bit",
            check: |subject, dir| subject.resumes(dir),
        },
    ];
    if captures {
        let text = "captured steps equal launched ones, bit for bit";
        rules.insert(6, Rule { text, check: |subject, _| subject.captures() });
    }
    rules.iter().map(|rule| (rule.check)(&subject, dir).map(|()| rule.text)).collect()
}

/// Tensors by name, as the bits of their values.
type Bits = Vec<(String, Vec<u32>)>;

struct CheckedVariant<'a> {
    variant: &'a dyn Variant,
    network: Architecture,
    hyper: Hyper,
    device: &'a Device,
}

impl CheckedVariant<'_> {
    fn broken<T>(&self, problem: impl Into<String>) -> Result<T> {
        Err(Error::NotConforming { variant: self.variant.name().into(), problem: problem.into() })
    }

    fn model(&self, seed: u64) -> Result<Box<dyn Autoencoder>> {
        self.model_on(self.device, seed)
    }

    fn model_on(&self, device: &Device, seed: u64) -> Result<Box<dyn Autoencoder>> {
        let (network, hyper) = (&self.network, &self.hyper);
        let build = Build { image: Lines.image(), network, hyper, seed, dtype: DType::F32, device };
        Ok(self.variant.build(&build)?)
    }

    fn learner(&self, seed: u64) -> Result<Learner> {
        self.learner_on(self.device, seed)
    }

    fn learner_on(&self, device: &Device, seed: u64) -> Result<Learner> {
        let rate = LearningRate { peak: 1e-3, schedule: SCHEDULE, steps: STEPS as u64 };
        Learner::new(self.model_on(device, seed)?, Lines.classes(), seed, rate)?.averaging(EMA)
    }

    fn trainer(&self) -> Result<Trainer<'static>> {
        Trainer::new(self.learner(1)?, BatchSource::Dataset { dataset: &Lines, size: BATCH }, 1)
    }

    fn batch(&self, seed: u64) -> Result<(Batch, Draws)> {
        batch(&Draws::new(seed, self.device), BATCH)
    }

    fn shapes(&self) -> Result<()> {
        let model = self.model(1)?;
        let (batch, draws) = self.batch(1)?;
        let (spec, images) = (model.spec(), batch.images.dims());
        let latent = spec.shape.batch(BATCH);
        let is = |what: &str, tensor: &Tensor, wanted: &[usize]| match tensor.dims() {
            got if got == wanted => Ok(()),
            got => self.broken(format!("{what} gives {got:?}, its specification says {wanted:?}")),
        };
        let z = model.encode(&batch.images, &draws)?;
        is("encode", &z, &latent)?;
        let half = model.mix(&z, &z, 0.5)?;
        is("mix", &half, &latent)?;
        is("decode", &model.decode(&half)?, images)?;
        is("reconstruct", &model.reconstruct(&batch.images, &draws)?, images)?;
        let features = [BATCH, spec.shape.features];
        is("features", &model.features(&batch.images, &draws)?, &features)?;
        is("objectives' features", &model.objectives(&batch.images, &draws)?.features, &features)?;
        if let Some(prior) = model.prior(BATCH, &draws)? {
            is("prior", &prior, &latent)?;
        }
        if let Some(coefficient) = model.coefficient(&batch.images)? {
            is("coefficient", &coefficient, &[BATCH])?;
        }
        if let Some(codes) = model.codes(&batch.images, &draws)?
            && (codes.rank() != 2 || codes.dim(0)? != BATCH || codes.dtype() != DType::U32)
        {
            let got = (codes.dims(), codes.dtype());
            return self.broken(format!("codes gives {got:?}, wanted [{BATCH}, vectors] of U32"));
        }
        let Reconstruction { images: recon, features } =
            model.reconstruct_and_features(&batch.images, &draws)?;
        for (what, together, alone) in [
            ("reconstruct", recon, model.reconstruct(&batch.images, &draws)?),
            ("features", features, model.features(&batch.images, &draws)?),
        ] {
            if together.dims() != alone.dims() || bits(&together)? != bits(&alone)? {
                return self.broken(format!("reconstruct_and_features gives another result than {what}"));
            }
        }
        Ok(())
    }

    fn groups(&self) -> Result<()> {
        let model = self.model(1)?;
        let (batch, draws) = self.batch(1)?;
        let objectives = model.objectives(&batch.images, &draws)?;
        let groups = model.params().groups();
        for group in &groups {
            let losses = objectives.losses.iter().filter(|of| of.group == *group).count();
            if losses != 1 {
                return self.broken(format!("group '{}' has {losses} losses, wanted 1", group.0));
            }
        }
        for GroupLoss { group: of, loss } in objectives.losses {
            if !groups.contains(&of) {
                return self.broken(format!("there is a loss for group '{}', which has no parameters", of.0));
            }
            let grads = differentiate(loss)?;
            for param in model.params().params() {
                if param.group != of && grads.get(param.var.as_tensor()).is_some() {
                    return self.broken(format!(
                        "the loss of '{}' computes a gradient for {} of '{}', which nobody uses; detach it",
                        of.0, param.name, param.group.0
                    ));
                }
            }
        }
        Ok(())
    }

    fn repeats(&self) -> Result<()> {
        let (first, second) = (self.learner(3)?, self.learner(3)?);
        let (batch, draws) = self.batch(3)?;
        let (a, b) = (first.gradients(&batch, &draws)?, second.gradients(&batch, &draws)?);
        for ((name, a), (_, b)) in a.losses.iter().zip(&b.losses) {
            let (a, b) = (a.to_scalar::<f32>()?, b.to_scalar::<f32>()?);
            if !a.is_finite() {
                return self.broken(format!("{name} is {a} on the first step"));
            }
            if a.to_bits() != b.to_bits() {
                return self.broken(format!("{name} is {a} and {b} from equal seeds"));
            }
        }
        for (name, (a, b)) in first.names().zip(a.grads.iter().zip(&b.grads)) {
            if let (Some(a), Some(b)) = (a, b) {
                let a = bits(a)?;
                if a != bits(b)? {
                    return self.broken(format!("the gradient of {name} differs between equal seeds"));
                }
                if a.iter().any(|v| !f32::from_bits(*v).is_finite()) {
                    return self.broken(format!("the gradient of {name} is not finite on the first step"));
                }
            }
        }
        Ok(())
    }

    fn separate_updates(&self) -> Result<()> {
        for group in self.model(1)?.params().groups() {
            let mut learner = self.learner(1)?;
            let (batch, draws) = self.batch(1)?;
            let before = snapshot(&learner)?;
            let mut gradients = learner.gradients(&batch, &draws)?;
            let member: Vec<bool> = learner.trained().iter().map(|t| t.group == group).collect();
            for (grad, member) in gradients.grads.iter_mut().zip(&member) {
                if !member {
                    *grad = None;
                }
            }
            learner.update(&gradients)?;
            let trained: Vec<(&str, bool)> = learner.names().zip(member.iter().copied()).collect();
            for ((name, old), (_, new)) in before.iter().zip(snapshot(&learner)?) {
                let inside = trained.iter().any(|(n, member)| n == name && *member);
                let buffer = !trained.iter().any(|(n, _)| n == name);
                if !inside && !buffer && *old != new {
                    return self.broken(format!("an update of group '{}' changed {name}", group.0));
                }
            }
        }
        Ok(())
    }

    /// Runs on the CPU, whatever the device, because hidden state of a model is on the host.
    fn keeps_nothing(&self) -> Result<()> {
        let (batch, draws) = batch(&Draws::new(7, &Device::Cpu), SMALL_BATCH)?;
        let draws = draws.watched();
        let mut stepped = self.learner_on(&Device::Cpu, 7)?;
        for step in 0..3 {
            let gradients = stepped.gradients(&batch, &draws.at(step))?;
            stepped.update(&gradients)?;
        }
        let fresh = self.learner_on(&Device::Cpu, 8)?;
        let state: Vec<(String, Tensor)> = stepped
            .entries()
            .map(|(name, var)| Ok((name.to_owned(), var.as_tensor().detach().copy()?)))
            .collect::<Result<_>>()?;
        for (name, value) in &state {
            fresh.set(name, value)?;
        }
        let wanted = answers(&fresh, &fresh.gradients(&batch, &draws)?)?;
        for asked in 1..=EVALUATIONS {
            let gradients = stepped.gradients(&batch, &draws)?;
            if draws.read_on_host() {
                return self.broken(
                    "its objectives read the number of the step, or draws, on the host, which a captured step would keep \
                     as they were; Draws::step_tensor, uniform and normal give tensors that follow the step",
                );
            }
            for ((name, ours), (_, wanted)) in answers(&stepped, &gradients)?.iter().zip(&wanted) {
                if ours != wanted {
                    let times = if asked == 1 { "once".into() } else { format!("{asked} times") };
                    return self.broken(format!(
                        "{name} is another than a fresh model's with the same parameters, buffers, batch and draws, when \
                         it was asked {times}: it keeps something beside parameters and buffers (a counter?), which \
                         stands still in a captured step and is not in a checkpoint; Draws::step_tensor has the number \
                         of the step"
                    ));
                }
            }
            stepped.model().after_step(&gradients.carry)?;
            for (name, value) in &state {
                stepped.set(name, value)?;
            }
        }
        Ok(())
    }

    fn captures(&self) -> Result<()> {
        let run = |capture: bool| -> Result<(Losses, Bits)> {
            let mut trainer = self.trainer()?;
            if !capture {
                trainer = trainer.without_graph_capture();
            }
            let mut losses = Vec::new();
            for _ in 0..STEPS {
                trainer.step()?;
                losses.push(trainer.losses()?);
            }
            Ok((losses, snapshot(trainer.learner())?))
        };
        let ((launched, wanted), (captured, ours)) = (run(false)?, run(true)?);
        for (step, (launched, captured)) in launched.iter().zip(&captured).enumerate() {
            for ((name, launched), (_, captured)) in launched.iter().zip(captured) {
                if launched.to_bits() != captured.to_bits() {
                    return self.broken(format!(
                        "{name} of step {step} is {captured} in a captured step and {launched} in a launched one: \
                         something of the step is computed on the host; Draws::step_tensor has its number on the device"
                    ));
                }
            }
        }
        for ((name, ours), (_, wanted)) in ours.iter().zip(&wanted) {
            if ours != wanted {
                return self
                    .broken(format!("{name} differs after {STEPS} captured steps from launched ones"));
            }
        }
        Ok(())
    }

    fn saves(&self, dir: &Path) -> Result<()> {
        let cell = self.cell(1, 64);
        let mut saved = self.learner(1)?;
        let (batch, draws) = self.batch(1)?;
        let gradients = saved.gradients(&batch, &draws)?;
        saved.update(&gradients)?;
        let bytes = checkpoint::save("saved", &cell, &saved, 0.0)?;
        lerp_files::replace(&dir.join(CHECKPOINT), &bytes)?;
        let mut loaded = self.learner(2)?;
        checkpoint::restore(dir, "saved", &mut loaded)?;
        for ((name, a), (_, b)) in snapshot(&saved)?.iter().zip(snapshot(&loaded)?) {
            if *a != b {
                return self.broken(format!("{name} differs after saving and loading"));
            }
        }
        Ok(())
    }

    fn cell(&self, seed: u64, samples: u64) -> Cell {
        Cell {
            dataset: "lines".into(),
            variant: self.variant.name().into(),
            seed,
            samples,
            batch: BATCH,
            learning_rate: 1e-3,
            eval_every: samples,
            checkpoint_every: samples,
            test_samples: BATCH,
            cluster_restarts: None,
            precision: Precision::F32,
            ema: Some(EMA),
            schedule: SCHEDULE,
            origin: crate::Origin::default(),
            network: self.network.clone(),
            hyper: self.hyper.clone(),
        }
    }

    fn resumes(&self, dir: &Path) -> Result<()> {
        let cell = self.cell(5, 5 * BATCH as u64);
        let run = |name: &str, stop_after: u64| -> Result<(Vec<u8>, Bits)> {
            let stop = AtomicBool::new(false);
            let record = RunRecord::new(cell.clone(), self.variant.title(), Provenance::unknown());
            make_folder(&dir.join(name))?;
            let dir = dir.join(name).join(&record.id);
            let stopping =
                StopAfter { variant: self.variant, device: self.device, steps: stop_after, stop: &stop };
            while stopping.go(&record, &dir)? == TrainOutcome::Interrupted {
                stop.store(false, std::sync::atomic::Ordering::Relaxed);
            }
            let mut learner = Learner::of_cell(&cell, self.variant, &Lines, self.device)?;
            checkpoint::restore(&dir, &record.id, &mut learner)?;
            Ok((Run::read(&dir)?.model()?.unwrap_or_default(), snapshot(&learner)?))
        };
        if run("whole", u64::MAX)? != run("resumed", 2)? {
            return self.broken("a run stopped after each step and resumed ends with other parameters");
        }
        Ok(())
    }
}

/// Trains a run and asks it to stop after `steps` more training batches.
struct StopAfter<'a> {
    variant: &'a dyn Variant,
    device: &'a Device,
    steps: u64,
    stop: &'a AtomicBool,
}

impl StopAfter<'_> {
    fn go(&self, record: &RunRecord, dir: &Path) -> Result<TrainOutcome> {
        let dataset = Counting { left: self.steps.into(), stop: self.stop };
        let inputs = RunInputs {
            variant: self.variant,
            dataset: &dataset,
            device: self.device,
            metrics: &[],
            judge: None,
        };
        train(record, &inputs, dir, self.stop, &mut |_: &Progress| {})
    }
}

/// The lines dataset, which sets a stop flag once a given number of training batches was drawn.
struct Counting<'a> {
    left: std::sync::atomic::AtomicU64,
    stop: &'a AtomicBool,
}

impl Dataset for Counting<'_> {
    fn name(&self) -> &'static str {
        Lines.name()
    }
    fn title(&self) -> &str {
        Lines.name()
    }
    fn image(&self) -> lerp_core::ImageShape {
        Lines.image()
    }
    fn network(&self) -> Network {
        NETWORK
    }
    fn classes(&self) -> usize {
        Lines.classes()
    }
    fn train_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.left.fetch_sub(1, Relaxed) == 1 {
            self.stop.store(true, Relaxed);
        }
        Lines.train_batch(size, draws)
    }
    fn test_batch(&self, size: usize, draws: &Draws) -> lerp_data::Result<Batch> {
        Lines.test_batch(size, draws)
    }
}

/// Returns a training batch and the draws of its step.
fn batch(draws: &Draws, size: usize) -> Result<(Batch, Draws)> {
    Ok((Lines.train_batch(size, &draws.scope("data"))?, draws.scope("train")))
}

/// Returns losses, terms and gradients as bits.
fn answers(learner: &Learner, gradients: &Gradients) -> Result<Bits> {
    let losses = gradients.losses.iter().map(|(name, value)| Ok((name.clone(), bits(value)?)));
    let grads = learner.names().zip(&gradients.grads).map(|(name, grad)| {
        let bits = grad.as_ref().map_or(Ok(Vec::new()), bits)?;
        Ok((format!("the gradient of {name}"), bits))
    });
    losses.chain(grads).collect()
}

fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
}

/// Returns everything that a checkpoint stores, as bits.
fn snapshot(learner: &Learner) -> Result<Bits> {
    let entries = learner.entries().map(|(name, var)| (name.to_owned(), var));
    entries.chain(learner.optimizer_state()).map(|(name, var)| Ok((name, bits(var.as_tensor())?))).collect()
}
