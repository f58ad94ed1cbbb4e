//! A binary of one's own.

use std::process::ExitCode;

use anyhow::Result;
use lerp_core::{Model, Of, Variant};
use lerp_data::Dataset;
use lerp_eval::Metric;

use crate::{
    registry::{Failure, Registry},
    say::complain,
};

/// The `lerp` command with variants, datasets and metrics of one's own beside its own. Every verb knows them: sweeps train
/// them beside the seven, in worker processes of this same binary.
///
/// ```no_run
/// use lerp_baseline::Baseline;
/// use lerp_data::Lines;
///
/// fn main() -> std::process::ExitCode {
///     lerp::App::new()
///         .model::<Baseline>() // in place of one's own: the seven are there already
///         .dataset("my-lines", || Ok(Box::new(Lines)))
///         .main()
/// }
/// ```
pub struct App {
    registry: Registry,
    /// The first mistake in what was added, told when the program runs.
    mistake: Option<anyhow::Error>,
}

impl Default for App {
    fn default() -> Self {
        Self::new()
    }
}

impl App {
    /// The command as it is, with the paper's seven.
    pub fn new() -> Self {
        Self { registry: Registry::default(), mistake: None }
    }

    /// Adds the variant of a model.
    #[must_use]
    pub fn model<M: Model>(self) -> Self {
        self.variant(Of::<M>::new())
    }

    /// Adds a variant. Its name must be a word that no other variant has.
    #[must_use]
    pub fn variant(self, variant: impl Variant + 'static) -> Self {
        // It lives as long as the program, as the seven do.
        let variant: &'static dyn Variant = Box::leak(Box::new(variant));
        self.add(|registry| registry.add_variant(variant))
    }

    /// Adds a dataset called `name`, a word that no other dataset has. It is opened where it is used, in each process
    /// that does; [`Dataset::name`] must be the same name. A run records [`Dataset::digest`], and does not go on with
    /// other images.
    #[must_use]
    pub fn dataset(
        self,
        name: &str,
        open: impl Fn() -> Result<Box<dyn Dataset>, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.add(|registry| registry.add_dataset(name, Box::new(open)))
    }

    /// Adds a metric, which every run of this program takes beside the others.
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

    /// Runs the command line of this process.
    ///
    /// Exit code 0: all went well; 1: something was done but failed (a cell, a check); 2: bad input, nothing was done.
    pub fn main(self) -> ExitCode {
        if let Some(mistake) = self.mistake {
            complain(&mistake);
            return ExitCode::from(2);
        }
        crate::main(&self.registry)
    }
}
