//! One training step of a model with its optimisers and the jointly trained classifier.

use candle_core::{DType, Device, Module, Tensor, Var, backprop::GradStore};
use lerp_core::{
    Autoencoder, Build, Carry, Draws, Group, GroupLoss, LearningRate, Loss, ParamStore, Variant,
};
use lerp_data::{Batch, Dataset};
use lerp_kernels::{
    Adam, AveragedWeight, Clock, Moments, UpdateNumber, adam_steps, average_steps, gradients,
    mean_cross_entropy,
};
use lerp_nn::Dense;

use crate::{Cell, Error, Result};

/// The parameter group of the single-layer classifier.
const CLASSIFIER: Group = Group("classifier");

/// A trained tensor with Adam's first and second moment.
#[derive(Debug)]
pub(crate) struct Trained {
    pub name: String,
    pub group: Group,
    pub var: Var,
    pub m: Var,
    pub v: Var,
}

/// A model in training, with its optimisers and the jointly trained classifier.
///
/// ```
/// use candle_core::{DType, Device};
/// use lerp_baseline::Baseline;
/// use lerp_core::{Build, Draws, Hyper, Network, ModelVariant, Variant, scalar};
/// use lerp_data::{Dataset, Lines};
/// use lerp_train::Learner;
///
/// let build = Build {
///     image: Lines.image(),
///     network: &Network { scales: 3, depth: 4, latent: 2 }.into(),
///     hyper: &Hyper::new(),
///     seed: 0,
///     dtype: DType::F32,
///     device: &Device::Cpu,
/// };
/// let model = ModelVariant::<Baseline>::new().build(&build)?;
/// let mut learner = Learner::new(model, Lines.classes(), 0, 1e-3_f64)?;
///
/// // One training step: all gradients at the same parameters, then all updates.
/// let draws = Draws::new(0, &Device::Cpu);
/// let batch = Lines.train_batch(4, &draws.scope("data"))?;
/// let gradients = learner.gradients(&batch, &draws.scope("train"))?;
/// learner.update(&gradients)?;
/// assert_eq!(learner.step(), 1);
///
/// let (name, loss) = &gradients.losses[0];
/// assert_eq!(name, "loss/autoencoder");
/// assert!(scalar(loss)? > 0.0);
/// # Ok::<(), lerp_train::Error>(())
/// ```
pub struct Learner {
    model: Box<dyn Autoencoder>,
    classifier: Option<Dense>,
    classifier_store: ParamStore,
    trained: Vec<Trained>,
    rate: LearningRate,
    adam: Adam,
    average: Option<Average>,
    step: u64,
}

/// The exponential moving average of weights, for evaluation.
#[derive(Debug)]
struct Average {
    decay: f64,
    /// The averages, in the order of the trained tensors.
    vars: Vec<Var>,
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner")
            .field("spec", self.model.spec())
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// Losses and gradients of one step, all computed at the parameters before the step.
#[derive(Debug)]
pub struct Gradients {
    /// Every loss (`loss/<group>`) and term (`term/<name>`) by name, each a scalar `[]`.
    pub losses: Vec<(String, Tensor)>,
    /// The gradient of each trained tensor, in order; `None` if its group's loss does not depend on it.
    pub grads: Vec<Option<Tensor>>,
    /// Data that the model's objectives pass to [`Autoencoder::after_step`].
    pub carry: Carry,
}

impl Learner {
    /// Creates a learner at step 0. The classifier has `classes` outputs and is initialised with `seed`; with 0
    /// classes there is no classifier.
    ///
    /// # Errors
    /// If memory for Adam's moments cannot be allocated.
    pub fn new(
        model: Box<dyn Autoencoder>,
        classes: usize,
        seed: u64,
        rate: impl Into<LearningRate>,
    ) -> Result<Self> {
        let store = model.params();
        let mut classifier_store = ParamStore::new(seed, store.dtype(), store.device());
        let features = model.spec().shape.features;
        let classifier = (classes > 0)
            .then(|| Dense::new(features, classes, &classifier_store.builder(CLASSIFIER).pp("cls")))
            .transpose()?;
        let mut trained = Vec::new();
        for param in store.params().iter().chain(classifier_store.params()) {
            trained.push(Trained {
                name: param.name.clone(),
                group: param.group,
                m: Var::from_tensor(&param.var.zeros_like()?)?,
                v: Var::from_tensor(&param.var.zeros_like()?)?,
                var: param.var.clone(),
            });
        }
        Ok(Self {
            model,
            classifier,
            classifier_store,
            trained,
            rate: rate.into(),
            adam: Adam::default(),
            average: None,
            step: 0,
        })
    }

    /// Creates the learner of a cell, at step 0.
    ///
    /// # Errors
    /// If the cell's hyperparameters or network are invalid, or memory cannot be allocated.
    pub fn of_cell(
        cell: &Cell,
        variant: &dyn Variant,
        dataset: &dyn Dataset,
        device: &Device,
    ) -> Result<Self> {
        let build = Build {
            image: dataset.image(),
            network: &cell.network,
            hyper: &cell.hyper,
            seed: cell.seed,
            dtype: DType::F32,
            device,
        };
        let learner = Self::new(variant.build(&build)?, dataset.classes(), cell.seed, cell.rate())?;
        match cell.ema {
            Some(decay) => learner.averaging(decay),
            None => Ok(learner),
        }
    }

    /// Returns the learner with an exponential moving average of weights of this decay ([`average_steps`]).
    ///
    /// # Errors
    /// If memory for the averages cannot be allocated.
    pub fn averaging(self, decay: f64) -> Result<Self> {
        let vars = self.trained.iter().map(|trained| Var::from_tensor(&trained.var.as_tensor().copy()?));
        let vars = vars.collect::<candle_core::Result<_>>()?;
        Ok(Self { average: Some(Average { decay, vars }), ..self })
    }

    /// Calls `f` while the trained tensors hold their moving averages, if the learner keeps them: these weights are
    /// evaluated, saved as a model and exported. Buffers, such as a codebook, are unchanged.
    ///
    /// # Errors
    /// If `f` fails, or the tensor library does.
    pub fn averaged<T>(&self, f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let Some(Average { vars, .. }) = &self.average else { return f(self) };
        let exchange = || -> Result<()> {
            for (Trained { var, .. }, average) in self.trained.iter().zip(vars) {
                let value = var.as_tensor().copy()?;
                var.set(average)?;
                average.set(&value)?;
            }
            Ok(())
        };
        exchange()?;
        let out = f(self);
        let back = exchange();
        // The first error is the one to report.
        let out = out?;
        back.map(|()| out)
    }

    /// Returns, by name, what a checkpoint stores of each trained tensor besides its value: Adam's moments and the
    /// moving average.
    pub(crate) fn optimizer_state(&self) -> impl Iterator<Item = (String, &Var)> {
        let moments = self.trained.iter().flat_map(|Trained { name, m, v, .. }| {
            [(format!("adam.m.{name}"), m), (format!("adam.v.{name}"), v)]
        });
        let vars = self.average.iter().flat_map(|average| &average.vars);
        let averages = self.trained.iter().zip(vars).map(|(t, var)| (format!("ema.{}", t.name), var));
        moments.chain(averages)
    }

    /// Returns the model.
    pub fn model(&self) -> &dyn Autoencoder {
        &*self.model
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> &Device {
        self.model.params().device()
    }

    /// Returns the number of steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Returns the names of the trained tensors, in the order of [`Gradients::grads`]; the classifier's are
    /// `cls.weight` and `cls.bias`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.trained.iter().map(|t| t.name.as_str())
    }

    /// Returns the parameter or buffer `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.entries().find(|(n, _)| *n == name).map(|(_, var)| var)
    }

    /// Sets the parameter or buffer `name`.
    ///
    /// # Errors
    /// If there is no such tensor, or its shape differs.
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let store = if name.starts_with("cls.") { &self.classifier_store } else { self.model.params() };
        Ok(store.set(name, value)?)
    }

    /// Returns the parameters and buffers of model and classifier, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.model.params().entries().chain(self.classifier_store.entries())
    }

    pub(crate) fn trained(&self) -> &[Trained] {
        &self.trained
    }

    /// Drops the moving averages: the parameters of a loaded model are already the averages.
    pub(crate) fn drop_average(&mut self) {
        self.average = None;
    }

    pub(crate) fn set_step(&mut self, step: u64) {
        self.step = step;
    }

    /// Returns whether there is a classifier.
    pub fn classifies(&self) -> bool {
        self.classifier.is_some()
    }

    /// Returns the classifier's logits; `None` if there is no classifier.
    ///
    /// # Shapes
    /// Features `[batch, features]` to `[batch, classes]`.
    pub fn classify(&self, features: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.classifier.as_ref().map(|classifier| classifier.forward(features)).transpose()?)
    }

    /// Computes all losses of `batch` and all gradients at the current parameters.
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn gradients(&self, batch: &Batch, draws: &Draws) -> Result<Gradients> {
        let objectives = self.model.objectives(&batch.images, draws)?;
        // Detached here as well, so that the classifier never trains the encoder, whatever a variant returns.
        let classifier = match self.classify(&objectives.features.detach())? {
            None => None,
            Some(logits) => {
                let loss = Loss::from(mean_cross_entropy(&logits, batch.labels()?)?);
                Some(GroupLoss { group: CLASSIFIER, loss })
            }
        };

        let mut losses = Vec::new();
        let mut grads = vec![None; self.trained.len()];
        for GroupLoss { group, loss } in objectives.losses.into_iter().chain(classifier) {
            let name = format!("loss/{}", group.0);
            if losses.iter().any(|(other, _)| *other == name) {
                let problem = format!("states two losses for the group '{}'", group.0);
                return Err(Error::NotConforming { variant: self.model.spec().variant.clone(), problem });
            }
            losses.push((name, loss.value().detach()));
            let mut store = differentiate(loss)?;
            for (trained, grad) in self.trained.iter().zip(&mut grads) {
                if trained.group == group {
                    *grad = store.remove(trained.var.as_tensor());
                }
            }
        }
        losses.extend(objectives.terms.into_iter().map(|term| (format!("term/{}", term.name), term.value)));
        Ok(Gradients { losses, grads, carry: objectives.carry })
    }

    /// Updates all parameter groups from `gradients`, then calls the model's [`Autoencoder::after_step`].
    ///
    /// # Errors
    /// If the tensor library fails.
    pub fn update(&mut self, gradients: &Gradients) -> Result<()> {
        self.apply(gradients, UpdateNumber::Given(self.step + 1))?;
        self.step += 1;
        Ok(())
    }

    /// Updates like [`Learner::update`], with the step number taken from a clock on the device. The learner's own
    /// step number is unchanged.
    pub(crate) fn update_by(&self, gradients: &Gradients, clock: &Clock) -> Result<()> {
        self.apply(gradients, UpdateNumber::Clock(clock))
    }

    fn apply(&self, gradients: &Gradients, number: UpdateNumber) -> Result<()> {
        let trained = self.trained.iter().zip(&gradients.grads);
        let moments = trained.filter_map(|(Trained { var, m, v, .. }, grad)| {
            grad.as_ref().map(|grad| Moments { param: var, grad, m, v })
        });
        adam_steps(&moments.collect::<Vec<_>>(), self.rate.at(self.step), number, &self.adam)?;
        if let Some(Average { decay, vars }) = &self.average {
            let weights = vars.iter().zip(&self.trained);
            let weights = weights.map(|(average, trained)| AveragedWeight { average, value: &trained.var });
            average_steps(&weights.collect::<Vec<_>>(), *decay, number)?;
        }
        self.model.after_step(&gradients.carry)?;
        Ok(())
    }

    /// Returns a clock on the learner's device, set to its step; `None` if the device does not support clocks.
    pub(crate) fn clock(&self) -> Result<Option<Clock>> {
        let clock = Clock::new(self.device(), &self.rate, &self.adam)?;
        if let Some(clock) = &clock {
            clock.set(self.step)?;
        }
        Ok(clock)
    }
}

/// Returns the gradients of a loss.
///
/// # Errors
/// If the tensor library fails.
pub(crate) fn differentiate(loss: Loss) -> Result<GradStore> {
    match loss {
        Loss::Plain(root) | Loss::Surrogate { root, .. } => Ok(gradients(&root)?),
        Loss::Differentiated { gradients, .. } => Ok(gradients),
    }
}
