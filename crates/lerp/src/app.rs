//! [`App`]: a `lerp` command extended with a user's own variants, datasets and metrics.

use std::process::ExitCode;

use anyhow::Result;
use lerp_core::{Model, Of, Variant};
use lerp_data::Dataset;
use lerp_eval::Metric;

use crate::{
    registry::{Failure, Registry},
    say::complain,
};

/// Builder of a `lerp` command that has a user's own variants, datasets and metrics beside the built-in ones. Every
/// subcommand accepts them: sweeps train them beside the seven variants of the paper, in worker processes of the same
/// binary.
///
/// ```no_run
/// use lerp_baseline::Baseline;
/// use lerp_data::Lines;
///
/// fn main() -> std::process::ExitCode {
///     lerp::App::new()
///         .model::<Baseline>() // put your own model here: the paper's seven are already registered
///         .dataset("my-lines", || Ok(Box::new(Lines)))
///         .main()
/// }
/// ```
pub struct App {
    registry: Registry,
    /// The first error among the additions, which is reported when the program runs.
    mistake: Option<anyhow::Error>,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// Creates the command with the paper's seven variants and the built-in datasets.
    pub fn new() -> Self {
        Self { registry: Registry::default(), mistake: None }
    }

    /// Adds the variant that the model type `M` defines.
    #[must_use]
    pub fn model<M: Model>(self) -> Self {
        self.variant(Of::<M>::new())
    }

    /// Adds a variant. Its name must be a single word that no other variant has.
    #[must_use]
    pub fn variant(self, variant: impl Variant + 'static) -> Self {
        // Leaked, because the registry holds variants for the lifetime of the program.
        let variant: &'static dyn Variant = Box::leak(Box::new(variant));
        self.add(|registry| registry.add_variant(variant))
    }

    /// Adds a dataset called `name`, a single word that no other dataset has. Each process that uses the dataset calls
    /// `open`; the opened dataset's [`Dataset::name`] must equal `name`. A run records [`Dataset::digest`] and refuses
    /// to resume on images with another digest.
    #[must_use]
    pub fn dataset(
        self,
        name: &str,
        open: impl Fn() -> Result<Box<dyn Dataset>, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.add(|registry| registry.add_dataset(name, Box::new(open)))
    }

    /// Adds a metric, which every evaluation by this program computes beside the built-in ones.
    #[must_use]
    pub fn metric(self, metric: impl Metric + 'static) -> Self {
        let metric: &'static dyn Metric = Box::leak(Box::new(metric));
        self.add(|registry| registry.add_metric(metric))
    }

    fn add(mut self, add: impl FnOnce(&mut Registry) -> Result<()>) -> Self {
        if let Err(mistake) = add(&mut self.registry) {
            self.mistake.get_or_insert(mistake);
        }
        self
    }

    /// Parses this process's command line and runs the command.
    ///
    /// Returns exit code 0 on success; 1 if a part of the work failed (a cell, a check); 2 on bad input, when nothing
    /// was done.
    pub fn main(self) -> ExitCode {
        if let Some(mistake) = self.mistake {
            complain(&mistake);
            return ExitCode::from(2);
        }
        crate::main(&self.registry)
    }
}
