//! Loads a model that `lerp export --to models` wrote, and compares it with the outputs beside it:
//! `cargo run --release -p lerpbench --example load_model -- FOLDER`

use std::{fs, path::Path};

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor, safetensors};
use lerp_core::{Architecture, Autoencoder, Build, Hyper, ImageShape};
use serde_json::Value;

/// Builds the model that `folder` describes and sets its parameters.
pub fn load(folder: &Path, device: &Device) -> Result<Box<dyn Autoencoder>> {
    let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json"))?)?;
    let (image, cell) = (&config["image"], &config["cell"]);
    let image: ImageShape = serde_json::from_value(image.clone())?;
    let network: Architecture = serde_json::from_value(cell["network"].clone())?;
    let hyper: Hyper = serde_json::from_value(cell["hyper"].clone())?;
    // For a variant of your own, which is not among the seven, call its `build` here instead.
    let variant = lerp::seven().into_iter().find(|variant| cell["variant"] == variant.name());
    let variant = variant.with_context(|| format!("{} is none of the seven", cell["variant"]))?;
    let model = variant.build(&Build {
        image,
        network: &network,
        hyper: &hyper,
        seed: 0,
        dtype: DType::F32,
        device,
    })?;
    let tensors = safetensors::load(folder.join("model.safetensors"), device)?;
    for (name, _) in model.params().entries() {
        model.params().set(name, tensors.get(name).with_context(|| format!("there is no {name}"))?)?;
    }
    Ok(model)
}

/// Returns the largest absolute difference between the decoded images and the stored ones. Pixel values range from
/// about -1 to 1.
pub fn check(folder: &Path) -> Result<f32> {
    let model = load(folder, &Device::Cpu)?;
    let expected = safetensors::load(folder.join("check.safetensors"), &Device::Cpu)?;
    let get = |name: &str| expected.get(name).with_context(|| format!("there is no {name}"));
    let z: &Tensor = get("z")?;
    let deviation = (model.decode(z)? - get("decoded")?)?.abs()?;
    Ok(deviation.max_all()?.to_scalar()?)
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("give the folder of a model")?;
    println!("largest deviation {:.1e}", check(folder.as_ref())?);
    Ok(())
}
