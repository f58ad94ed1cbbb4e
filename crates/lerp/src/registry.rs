//! The variants that this binary knows: the paper's seven, and whatever a caller adds.

use anyhow::{Result, bail};
use lerp_core::{Of, Variant, nearest};
use lerp_eval::Metric;

static BASELINE: Of<lerp_baseline::Baseline> = Of::new();
static DROPOUT: Of<lerp_dropout::Dropout> = Of::new();
static DENOISING: Of<lerp_denoising::Denoising> = Of::new();
static VAE: Of<lerp_vae::Vae> = Of::new();
static AAE: Of<lerp_aae::Aae> = Of::new();
static VQVAE: Of<lerp_vqvae::VqVae> = Of::new();
static ACAI: Of<lerp_acai::Acai> = Of::new();

/// The paper's seven, in its order.
pub fn seven() -> [&'static dyn Variant; 7] {
    [&BASELINE, &DROPOUT, &DENOISING, &VAE, &AAE, &VQVAE, &ACAI]
}

/// Variants by name, and metrics besides Lerpbench's own.
pub struct Registry {
    variants: Vec<&'static dyn Variant>,
    pub metrics: Vec<&'static dyn Metric>,
}

impl Registry {
    /// The seven and `extra`.
    ///
    /// # Panics
    /// If two variants have one name: a mistake in the program that adds it.
    pub fn new(extra: &[&'static dyn Variant]) -> Self {
        let mut variants = seven().to_vec();
        for variant in extra {
            assert!(
                variants.iter().all(|v| v.name() != variant.name()),
                "two variants are named {}",
                variant.name()
            );
            variants.push(*variant);
        }
        Self { variants, metrics: Vec::new() }
    }

    /// The metrics besides Lerpbench's own, which every run takes.
    pub fn metrics(&self) -> &[&'static dyn Metric] {
        &self.metrics
    }

    /// All variants, in order.
    pub fn all(&self) -> &[&'static dyn Variant] {
        &self.variants
    }

    /// The variant `name`.
    ///
    /// # Errors
    /// If there is none, with the nearest name.
    pub fn find(&self, name: &str) -> Result<&'static dyn Variant> {
        if let Some(variant) = self.variants.iter().find(|v| v.name() == name) {
            return Ok(*variant);
        }
        let names: Vec<&str> = self.variants.iter().map(|v| v.name()).collect();
        bail!("{}", unknown("variant", name, &names));
    }
}

/// "there is no WHAT 'NAME' (did you mean 'X'?); there are: ..."
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let hint =
        nearest(name, known.iter().copied()).map_or_else(String::new, |n| format!(" (did you mean '{n}'?)"));
    format!("there is no {what} '{name}'{hint}; there are: {}", known.join(", "))
}
