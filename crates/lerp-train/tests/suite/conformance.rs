//! Variants that break a rule of the trait in their shapes, losses or gradients: the conformance check says which.

use candle_core::{DType, Device, Module, Tensor};
use lerp_core::{
    AUTOENCODER, Autoencoder, Build, CRITIC, Draws, Group, Model, ModelVariant, Objectives, ParamStore,
    Reconstruction, Result, Spec,
};
use lerp_nn::{Coder, Dense, mean_squared_error};
use lerp_train::conformance::check;
use serde::{Deserialize, Serialize};

// The kinds of `Broken`, by the rule that they break.
/// Latents lack the last axis.
const LATENTS: u8 = 0;
/// The features that come with the losses are not those of `features`.
const FEATURES: u8 = 1;
/// Codes are floating-point numbers.
const CODES: u8 = 2;
/// `reconstruct_and_features` gives other images than `reconstruct`.
const TOGETHER: u8 = 3;
/// The critic has parameters and no loss.
const NO_LOSS: u8 = 4;
/// There is a loss for a group without parameters.
const NO_PARAMETERS: u8 = 5;
/// The critic's loss computes gradients for the encoder.
const LEAK: u8 = 6;
/// The loss is not a number.
const NOT_FINITE: u8 = 7;
/// The loss is finite, and its gradient is not.
const NO_GRADIENT: u8 = 8;

/// A baseline with a critic of its latents, which breaks the rule that `KIND` selects.
struct Broken<const KIND: u8> {
    coder: Coder,
    critic: Dense,
}

#[derive(Default, Serialize, Deserialize)]
struct Config {}

impl<const KIND: u8> Model for Broken<KIND> {
    const NAME: &'static str = "broken";
    const TITLE: &'static str = "Broken";
    type Config = Config;
    fn check(_: &Config) -> Result<()> {
        Ok(())
    }
    fn new(_: Config, build: &Build) -> Result<Self> {
        let mut coder = Coder::new(Self::NAME, build)?;
        let inputs = coder.spec.shape.dims();
        let critic = Dense::new(inputs, 1, &coder.store.builder(CRITIC).pp("critic"))?;
        Ok(Self { coder, critic })
    }
}

impl<const KIND: u8> Autoencoder for Broken<KIND> {
    fn spec(&self) -> &Spec {
        &self.coder.spec
    }
    fn params(&self) -> &ParamStore {
        &self.coder.store
    }
    fn encode(&self, x: &Tensor, _: &Draws) -> Result<Tensor> {
        let z = self.coder.encoder.forward(x)?;
        Ok(if KIND == LATENTS { z.flatten_from(2)? } else { z })
    }
    fn decode(&self, z: &Tensor) -> Result<Tensor> {
        Ok(self.coder.decoder.forward(z)?)
    }
    fn reconstruct_and_features(&self, x: &Tensor, draws: &Draws) -> Result<Reconstruction> {
        let images = self.reconstruct(x, draws)?;
        let images = if KIND == TOGETHER { (images * 2.0)? } else { images };
        Ok(Reconstruction { images, features: self.features(x, draws)? })
    }
    fn codes(&self, x: &Tensor, _: &Draws) -> Result<Option<Tensor>> {
        Ok(if KIND == CODES { Some(Tensor::zeros((x.dim(0)?, 2), DType::F32, x.device())?) } else { None })
    }
    fn objectives(&self, x: &Tensor, _: &Draws) -> Result<Objectives> {
        let z = self.coder.encoder.forward(x)?;
        let mut loss = mean_squared_error(&self.coder.decoder.forward(&z)?, x)?;
        let seen = if KIND == LEAK { z.clone() } else { z.detach() };
        let critic = (self.critic.forward(&seen.flatten_from(1)?)? - 1.0)?.sqr()?.mean_all()?;
        match KIND {
            NOT_FINITE => loss = (loss * f64::NAN)?,
            // The square root of zero is zero, and its derivative is infinite.
            NO_GRADIENT => loss = (&loss + (&loss - loss.detach())?.sqrt()?)?,
            _ => {}
        }
        let features = if KIND == FEATURES { z.narrow(1, 0, 1)? } else { z };
        let objectives = Objectives::new(AUTOENCODER, loss, &features)?;
        Ok(match KIND {
            NO_LOSS => objectives,
            NO_PARAMETERS => objectives.loss(CRITIC, critic.clone()).loss(Group("prior"), critic),
            _ => objectives.loss(CRITIC, critic),
        })
    }
}

#[test]
fn every_broken_rule_of_shapes_losses_and_gradients_is_named() {
    fn said<const KIND: u8>() -> String {
        check(&ModelVariant::<Broken<KIND>>::new(), &Device::Cpu).unwrap_err().to_string()
    }
    for (said, wanted) in [
        (said::<LATENTS>(), "encode gives ["),
        (said::<FEATURES>(), "objectives' features gives ["),
        (said::<CODES>(), "codes gives ("),
        (said::<TOGETHER>(), "reconstruct_and_features gives another result than reconstruct"),
        (said::<NO_LOSS>(), "group 'critic' has 0 losses, wanted 1"),
        (said::<NO_PARAMETERS>(), "there is a loss for group 'prior', which has no parameters"),
        (said::<LEAK>(), "the loss of 'critic' computes a gradient for "),
        (said::<NOT_FINITE>(), "loss/autoencoder is NaN on the first step"),
        (said::<NO_GRADIENT>(), " is not finite on the first step"),
    ] {
        assert!(said.starts_with("broken does not conform: "), "{said}");
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
