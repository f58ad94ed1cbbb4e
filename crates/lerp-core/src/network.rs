//! The encoder and decoder of a model: the paper's, or a variant's own.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Hyper, ImageShape, Result, check_hyper, did_you_mean, hyper::refuse_null, nearest};

/// The size of the paper's encoder and decoder (appendix A): `scales` halvings of the image, and `depth << scale`
/// channels at each scale.
///
/// ```
/// use lerp_core::{ImageShape, Network};
///
/// let network = Network { scales: 4, depth: 16, latent: 16 };
/// let image = ImageShape { height: 32, width: 32, channels: 1 };
/// assert_eq!(network.latent_shape(image)?, [2, 2, 16]);
///
/// let error = Network { scales: 6, ..network }.latent_shape(image).unwrap_err();
/// assert_eq!(error.to_string(), "a 32x32 image cannot be halved 6 times");
/// # Ok::<(), lerp_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Number of times the encoder halves the image.
    pub scales: usize,
    /// Number of channels at full resolution.
    pub depth: usize,
    /// Number of channels of the latent.
    pub latent: usize,
}

impl Network {
    /// The name in a plan.
    pub const NAME: &'static str = "paper";

    /// The largest number of channels; more are a typing error, or an attempt to exhaust the memory.
    const MAX_CHANNELS: usize = 8192;

    /// Checks the sizes independently of the images.
    ///
    /// # Errors
    /// Returns an error if a size is zero or far too large.
    pub fn check(&self) -> Result<()> {
        let Self { scales, depth, latent } = *self;
        if depth == 0 || latent == 0 {
            return Err(Error::BadNetwork("network: depth and latent must be at least 1".into()));
        }
        let widest = depth.checked_shl(scales as u32).filter(|w| scales <= 12 && *w >> scales == depth);
        if widest.is_none_or(|widest| widest > Self::MAX_CHANNELS) || latent > Self::MAX_CHANNELS {
            return Err(Error::BadNetwork(format!(
                "network: the widest layer (depth doubled scales times, and latent) may have {} channels",
                Self::MAX_CHANNELS
            )));
        }
        Ok(())
    }

    /// The height, width and channels of the latent of an image of shape `image`.
    ///
    /// # Errors
    /// Returns an error if a size is zero or the image cannot be halved `scales` times.
    pub fn latent_shape(&self, image: ImageShape) -> Result<[usize; 3]> {
        self.check()?;
        let divides = |n: usize| n > 0 && n.is_multiple_of(1 << self.scales);
        if image.channels == 0 {
            return Err(Error::BadNetwork("images must have at least 1 channel".into()));
        }
        if !divides(image.height) || !divides(image.width) {
            return Err(Error::BadNetwork(format!(
                "a {}x{} image cannot be halved {} times",
                image.height, image.width, self.scales
            )));
        }
        Ok([image.height >> self.scales, image.width >> self.scales, self.latent])
    }
}

/// The encoder and decoder of a model.
///
/// ```
/// use lerp_core::{Architecture, Hyper, Network, NetworkKind};
/// use serde::{Deserialize, Serialize};
///
/// /// The settings of a network of a variant's own, with defaults.
/// #[derive(Serialize, Deserialize)]
/// struct Settings {
///     width: usize,
/// }
///
/// impl Default for Settings {
///     fn default() -> Self {
///         Self { width: 8 }
///     }
/// }
///
/// let paper = Network { scales: 4, depth: 16, latent: 16 };
/// assert_eq!(Architecture::from(paper).name(), "paper");
///
/// let own = NetworkKind::of::<Settings>("resnet").check(&Hyper::new(), paper)?;
/// assert_eq!(own.name(), "resnet");
/// assert_eq!(own.own::<Settings>("resnet")?.width, 8);
/// assert!(own.only_paper("my-variant").is_err());
/// # Ok::<(), lerp_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Value")]
pub enum Architecture {
    /// The paper's network.
    Paper(Network),
    /// A network of the variant's own.
    Own(OwnNetwork),
}

/// A network of a variant's own: its name and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnNetwork {
    /// The name among the variant's networks.
    pub name: String,
    /// The settings, as completed by [`NetworkKind::check`].
    #[serde(flatten)]
    pub settings: Hyper,
}

/// A table with a name is a variant's own network. Any other table is read as the paper's network, so that
/// errors are about that.
impl TryFrom<Value> for Architecture {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> std::result::Result<Self, serde_json::Error> {
        if value.get("name").is_some() {
            return serde_json::from_value(value).map(Self::Own);
        }
        serde_json::from_value(value).map(Self::Paper)
    }
}

impl From<Network> for Architecture {
    fn from(network: Network) -> Self {
        Self::Paper(network)
    }
}

impl Architecture {
    /// The sizes of the paper's network, or `None` for a variant's own.
    pub fn paper(&self) -> Option<Network> {
        match self {
            Self::Paper(network) => Some(*network),
            Self::Own(_) => None,
        }
    }

    /// The sizes of the paper's network, for a variant that can be built with no other.
    ///
    /// # Errors
    /// Returns an error if this is a variant's own network.
    pub fn only_paper(&self, variant: &str) -> Result<Network> {
        self.paper().ok_or_else(|| {
            Error::BadNetwork(format!(
                "{variant} has no network '{}'; it has: {}",
                self.name(),
                Network::NAME
            ))
        })
    }

    /// The settings of the variant's own network called `name`, converted to their type.
    ///
    /// # Errors
    /// Returns an error if this is another network than `name`, or its settings are not those of a `C`.
    pub fn own<C: Default + Serialize + DeserializeOwned>(&self, name: &str) -> Result<C> {
        match self {
            Self::Own(own) if own.name == name => check_hyper(&format!("the network {name}"), &own.settings),
            _ => Err(Error::BadNetwork(format!("the network is '{}', not '{name}'", self.name()))),
        }
    }

    /// The name in a plan.
    pub fn name(&self) -> &str {
        match self {
            Self::Paper(_) => Network::NAME,
            Self::Own(own) => &own.name,
        }
    }

    /// Checks the sizes of the paper's network, or the name of a variant's own. The latter's settings are
    /// checked by [`NetworkKind::check`].
    ///
    /// # Errors
    /// Returns an error if a size is out of range, or the name is empty or that of the paper's network.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Paper(network) => network.check(),
            Self::Own(own) if own.name.is_empty() || own.name == Network::NAME => {
                Err(Error::BadNetwork(format!("a network of one's own cannot be called '{}'", own.name)))
            }
            Self::Own(_) => Ok(()),
        }
    }

    /// Sorts the settings by name, so that equal networks have equal texts.
    pub fn sort_keys(&mut self) {
        if let Self::Own(own) = self {
            own.settings.sort_keys();
        }
    }
}

/// A network with which a variant can be built.
#[derive(Debug, Clone, Copy)]
pub struct NetworkKind {
    name: &'static str,
    /// Completes and checks settings; `None` for the paper's network, whose default sizes depend on the
    /// dataset.
    complete: Option<fn(&str, &Hyper) -> Result<Hyper>>,
}

impl NetworkKind {
    /// The paper's network.
    pub const PAPER: Self = Self { name: Network::NAME, complete: None };

    /// A network called `name` whose settings have the type `C`.
    pub const fn of<C: Default + Serialize + DeserializeOwned>(name: &'static str) -> Self {
        Self { name, complete: Some(complete::<C>) }
    }

    /// The name in a plan.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether this is the paper's network.
    pub fn is_paper(&self) -> bool {
        self.complete.is_none()
    }

    /// Checks `settings` and completes them: those of the paper's network with the sizes in `default`, those of
    /// others with the defaults of their type.
    ///
    /// # Errors
    /// Returns an error if the network does not have a setting (the error names the nearest one), or a value
    /// has the wrong type.
    pub fn check(&self, settings: &Hyper, default: Network) -> Result<Architecture> {
        let Some(complete) = self.complete else { return Ok(Architecture::Paper(paper(settings, default)?)) };
        let settings = complete(self.name, settings)?;
        Ok(Architecture::Own(OwnNetwork { name: self.name.into(), settings }))
    }

    /// Finds the network called `name` among the networks `kinds` of `variant`.
    ///
    /// # Errors
    /// Returns an error if there is none; the error names the nearest one.
    pub fn find(kinds: &[Self], name: &str, variant: &str) -> Result<Self> {
        let found = kinds.iter().find(|kind| kind.name == name).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
            let hint = did_you_mean(nearest(name, names.iter().copied()));
            Error::BadNetwork(format!(
                "{variant} has no network '{name}'{hint}; it has: {}",
                names.join(", ")
            ))
        })
    }
}

/// Completes settings with the defaults of `C`, sorted by name.
fn complete<C: Default + Serialize + DeserializeOwned>(name: &str, settings: &Hyper) -> Result<Hyper> {
    let of = format!("the network {name}");
    let config: C = check_hyper(&of, settings)?;
    let mut table = match serde_json::to_value(config) {
        Ok(Value::Object(table)) => table,
        _ => Hyper::new(),
    };
    refuse_null(&of, &table)?;
    if table.contains_key("name") {
        return Err(Error::BadNetwork(format!("{name}: a setting of a network cannot be called 'name'")));
    }
    table.sort_keys();
    Ok(table)
}

/// The paper's network with the sizes in `settings`, or those of `default` where none is given.
fn paper(settings: &Hyper, default: Network) -> Result<Network> {
    /// The sizes of the paper's network; a plan may give some of them.
    #[derive(Default, Serialize, Deserialize)]
    struct Sizes {
        scales: usize,
        depth: usize,
        latent: usize,
    }
    let Sizes { scales, depth, latent } = check_hyper("the paper's network", settings)?;
    let given = |name: &str, value: usize, default: usize| {
        if settings.contains_key(name) { value } else { default }
    };
    Ok(Network {
        scales: given("scales", scales, default.scales),
        depth: given("depth", depth, default.depth),
        latent: given("latent", latent, default.latent),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAPER: Network = Network { scales: 4, depth: 16, latent: 16 };

    #[derive(Serialize, Deserialize)]
    struct Config {
        width: usize,
        blocks: usize,
    }
    impl Default for Config {
        fn default() -> Self {
            Self { width: 8, blocks: 2 }
        }
    }

    fn settings(json: &str) -> Hyper {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn latent_shapes_and_their_errors() {
        let lines = ImageShape { height: 32, width: 32, channels: 1 };
        assert_eq!(PAPER.latent_shape(lines).unwrap(), [2, 2, 16]);
        assert!(Network { scales: 6, ..PAPER }.latent_shape(lines).is_err());
        assert!(Network { scales: 999, ..PAPER }.latent_shape(lines).is_err());
        assert!(Network { depth: 0, ..PAPER }.latent_shape(lines).is_err());
        assert!(Network { depth: 1 << 20, ..PAPER }.latent_shape(lines).is_err());
    }

    #[test]
    fn the_papers_network_is_written_as_before_and_others_by_name() {
        let paper = Architecture::from(PAPER);
        assert_eq!(serde_json::to_string(&paper).unwrap(), r#"{"scales":4,"depth":16,"latent":16}"#);
        let own = NetworkKind::of::<Config>("resnet").check(&settings(r#"{"width": 4}"#), PAPER).unwrap();
        let text = serde_json::to_string(&own).unwrap();
        assert_eq!(text, r#"{"name":"resnet","blocks":2,"width":4}"#);
        for (network, text) in [(&paper, r#"{"latent":16,"scales":4,"depth":16}"#), (&own, &text)] {
            assert_eq!(&serde_json::from_str::<Architecture>(text).unwrap(), network);
        }
        assert_eq!(own.own::<Config>("resnet").unwrap().width, 4);
        assert!(own.own::<Config>("other").is_err() && own.only_paper("vae").is_err());
        let error = serde_json::from_str::<Architecture>(r#"{"depth":16}"#).unwrap_err().to_string();
        assert!(error.contains("missing field `scales`"), "{error}");
    }

    #[test]
    fn settings_are_checked_and_names_told() {
        let kinds = [NetworkKind::PAPER, NetworkKind::of::<Config>("resnet")];
        let error = NetworkKind::find(&kinds, "resnt", "mine").unwrap_err().to_string();
        assert_eq!(error, "mine has no network 'resnt' (did you mean 'resnet'?); it has: paper, resnet");
        let error = kinds[1].check(&settings(r#"{"witdh": 4}"#), PAPER).unwrap_err().to_string();
        assert!(error.contains("'witdh' (did you mean 'width'?)"), "{error}");
        let error = kinds[0].check(&settings(r#"{"deph": 4}"#), PAPER).unwrap_err().to_string();
        assert!(error.contains("'deph' (did you mean 'depth'?)"), "{error}");
        let deeper = kinds[0].check(&settings(r#"{"depth": 32}"#), PAPER).unwrap();
        assert_eq!(deeper, Network { depth: 32, ..PAPER }.into());
    }
}
