//! The networks that a plan asks for.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use lerp_core::{Architecture, Build, Hyper, Network, NetworkKind, Variant, unknown_name_message};
use lerp_data::Dataset;
use lerp_train::Cell;
use serde::Deserialize;
use serde_json::Value;

use super::grid;

/// The value of `network` in a plan: a name, or a table of settings with an optional `name`; a setting that is a list
/// spans a grid. Without a name the settings are for the variant's default network in a variant's section, and for the
/// paper's network elsewhere.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Value")]
pub struct NetworkPlan {
    name: Option<String>,
    settings: Hyper,
}

impl TryFrom<Value> for NetworkPlan {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(name) => Ok(Self { name: Some(name), settings: Hyper::new() }),
            Value::Object(mut settings) => match settings.remove("name") {
                None => Ok(Self { name: None, settings }),
                Some(Value::String(name)) => Ok(Self { name: Some(name), settings }),
                Some(other) => Err(format!("a network's name must be a text, not {other}")),
            },
            other => Err(format!(
                "network must be a name or a table, not {other}; for example network = {{ depth = 8 }}"
            )),
        }
    }
}

/// Returns the network setting that the key of `VARIANT.KEY=VALUE` stands for: `network` sets the name, and
/// `network.KEY` the setting `KEY`. Returns `None` if the key is a hyperparameter.
pub fn network_setting(key: &str) -> Option<&str> {
    if key == "network" { Some("name") } else { key.strip_prefix("network.") }
}

impl NetworkPlan {
    /// Sets the network's name (key `name`) or a setting.
    pub fn set(&mut self, key: &str, value: Value) {
        match (key, value) {
            ("name", Value::String(name)) => self.name = Some(name),
            (key, value) => {
                self.settings.insert(key.into(), value);
            }
        }
    }

    /// Checks the settings of a network outside a variant's section, which are for the paper's network unless another
    /// is named.
    ///
    /// # Errors
    /// If the paper's network has no such setting.
    pub fn check_sizes(&self, table: &str) -> Result<()> {
        const SIZES: [&str; 3] = ["scales", "depth", "latent"];
        let paper = self.name.as_deref().is_none_or(|name| name == Network::NAME);
        match self.settings.keys().find(|key| !SIZES.contains(&key.as_str())) {
            Some(key) if paper => bail!("in [{table}]: {}", unknown_name_message("key", key, &SIZES)),
            _ => Ok(()),
        }
    }

    /// Checks the network in the section of `variant`.
    ///
    /// # Errors
    /// If the variant does not have the network or one of its settings.
    pub fn check_of(&self, variant: &dyn Variant) -> Result<()> {
        let kind = self.kind(variant)?;
        for settings in grid(&self.settings) {
            kind.check(&settings, Network { scales: 1, depth: 1, latent: 1 })?;
        }
        Ok(())
    }

    /// Returns the kind of network of `variant` that these settings are for.
    fn kind(&self, variant: &dyn Variant) -> Result<NetworkKind> {
        let (kinds, name) = (variant.networks(), variant.name());
        match &self.name {
            Some(own) => Ok(NetworkKind::find(kinds, own, name)?),
            None => kinds.first().copied().with_context(|| format!("the variant {name} has no network")),
        }
    }
}

/// Returns the networks of `variant` on `dataset`, one for each combination of the settings that are lists. A variant's
/// settings override the dataset's, which override the common ones; `sizes`, for the paper's network only, overrides
/// all.
///
/// # Errors
/// If the variant does not have the network or one of its settings.
pub fn networks(
    [own, of_dataset, common]: [&NetworkPlan; 3],
    sizes: &Hyper,
    variant: &dyn Variant,
    dataset: &dyn Dataset,
) -> Result<Vec<Architecture>> {
    let named = [own, of_dataset, common].into_iter().find(|plan| plan.name.is_some());
    let kind = named.unwrap_or(own).kind(variant)?;
    let mut settings = Hyper::new();
    for (plan, is_own) in [(common, false), (of_dataset, false), (own, true)] {
        let about = match &plan.name {
            Some(name) => name == kind.name(),
            None => kind.is_paper() || is_own,
        };
        if about {
            settings.extend(plan.settings.clone());
        }
    }
    if kind.is_paper() {
        settings.extend(sizes.clone());
    }
    let default = variant.network(dataset.name(), dataset.network());
    grid(&settings).iter().map(|settings| Ok(kind.check(settings, default)?)).collect()
}

/// Remembers which networks were found to fit which images, so that each combination is checked once.
#[derive(Default)]
pub struct Fitting(HashSet<String>);

impl Fitting {
    /// Checks that a cell's network fits the dataset's images. A network other than the paper's is built on the CPU,
    /// because only its variant can tell.
    ///
    /// # Errors
    /// If the network does not fit.
    pub fn check(&mut self, variant: &dyn Variant, dataset: &dyn Dataset, cell: &Cell) -> Result<()> {
        let image = dataset.image();
        if let Some(network) = cell.network.paper() {
            network.latent_shape(image)?;
            return Ok(());
        }
        let key = serde_json::to_string(&(&cell.variant, &cell.network, &cell.hyper, image))?;
        if self.0.contains(&key) {
            return Ok(());
        }
        let (network, hyper) = (&cell.network, &cell.hyper);
        let build = Build { image, network, hyper, seed: 0, dtype: DType::F32, device: &Device::Cpu };
        variant.build(&build).with_context(|| format!("network {}", network.name()))?;
        self.0.insert(key);
        Ok(())
    }
}
