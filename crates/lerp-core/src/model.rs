//! Makes a [`Variant`] from a model with a typed configuration, so that hyperparameters are checked and
//! completed in the same way for all.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Autoencoder, Build, Hyper, Network, NetworkKind, Result, Variant, check_hyper, hyper::refuse_null,
};

/// An autoencoder with a typed configuration.
pub trait Model: Autoencoder + Sized + 'static {
    /// Name on the command line and in files, such as `acai`.
    const NAME: &'static str;
    /// Name in tables and figures, such as `ACAI`.
    const TITLE: &'static str;
    /// The type of its hyperparameters, with the paper's values as defaults.
    type Config: Default + Serialize + DeserializeOwned;

    /// Hyperparameters that are left out of records when they have their default, because earlier versions did
    /// not have them: the hashes in the names of existing runs stay valid. Such a default may never change.
    const OMITTED_BY_DEFAULT: &'static [&'static str] = &[];

    /// The networks with which this model can be built, the default first. [`Model::new`] builds the one in
    /// [`Build::network`].
    const NETWORKS: &'static [NetworkKind] = &[NetworkKind::PAPER];

    /// The sizes of the paper's network on `dataset`, given those of the protocol. Only a model that deviates
    /// from the protocol overrides this.
    fn network(dataset: &str, default: Network) -> Network {
        let _ = dataset;
        default
    }

    /// Checks that hyperparameters are in range.
    ///
    /// # Errors
    /// Returns an error for the first value that is out of range; [`check_range`](crate::check_range) makes it.
    fn check(config: &Self::Config) -> Result<()>;

    /// Builds a model with initial values drawn from the seed.
    ///
    /// # Errors
    /// Returns an error if the network does not fit the images.
    fn new(config: Self::Config, build: &Build) -> Result<Self>;
}

/// The [`Variant`] of a [`Model`].
#[derive(Debug)]
pub struct Of<M>(PhantomData<fn() -> M>);

impl<M> Of<M> {
    /// Creates the variant of `M`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> Default for Of<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Model> Of<M> {
    fn config(hyper: &Hyper) -> Result<M::Config> {
        let config = check_hyper(M::NAME, hyper)?;
        M::check(&config)?;
        Ok(config)
    }
}

impl<M: Model> Variant for Of<M> {
    fn name(&self) -> &'static str {
        M::NAME
    }

    fn title(&self) -> &'static str {
        M::TITLE
    }

    fn networks(&self) -> &'static [NetworkKind] {
        M::NETWORKS
    }

    fn network(&self, dataset: &str, default: Network) -> Network {
        M::network(dataset, default)
    }

    fn check(&self, hyper: &Hyper) -> Result<Hyper> {
        match (serde_json::to_value(Self::config(hyper)?), serde_json::to_value(M::Config::default())) {
            (Ok(Value::Object(mut table)), Ok(default)) => {
                table.retain(|key, value| {
                    !M::OMITTED_BY_DEFAULT.contains(&key.as_str()) || default.get(key) != Some(value)
                });
                // Keys are always in the same order, because the name of a run contains a hash of this text.
                table.sort_keys();
                refuse_null(M::NAME, &table)?;
                Ok(table)
            }
            _ => unreachable!("check_hyper has read the configuration as a table"),
        }
    }

    fn build(&self, build: &Build) -> Result<Box<dyn Autoencoder>> {
        Ok(Box::new(M::new(Self::config(build.hyper)?, build)?))
    }
}
