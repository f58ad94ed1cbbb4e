//! The export format `models`: one folder per trained model, with everything needed to load it in other software and to
//! check that its outputs are the same.

use std::{
    collections::{BTreeMap, HashMap},
    f64::consts::TAU,
    path::Path,
};

use candle_core::{DType, Device, Tensor, safetensors::load_buffer};
use lerp_aae::Aae;
use lerp_acai::Acai;
use lerp_core::{Autoencoder, Build, Draws, ImageShape, Model, ParamStore, Spec, check_hyper, find_variant};
use lerp_data::{DatasetName, Lines, separate_option};
use lerp_eval::PairEnds;
use lerp_files::file_stem;
use lerp_train::{Cell, Provenance, Run, RunRecord, State};
use lerp_vae::Vae;
use lerp_vqvae::VqVae;

use crate::{
    Error, ExportOptions, Loaded, Result,
    card::Card,
    config::{Config, FORMAT, Parameter},
    write as write_file,
};

const MODEL: &str = "model.safetensors";
const STRIPS: &str = "interpolation.safetensors";

/// The PyTorch implementation of the variants [`IN_TORCH`].
const TORCH: &str = include_str!("lerp_torch.py");

/// The names of the variants that `lerp_torch.py` implements: the paper's seven, in its order.
pub const IN_TORCH: [&str; 7] = ["baseline", "dropout", "denoising", "vae", "aae", "vqvae", "acai"];

/// Number of images whose outputs are exported, so that another program can check that it loaded the same model.
pub const CHECKED_IMAGES: usize = 8;

/// Whether the run is complete and its folder contains the model.
pub fn has_model(run: &Run) -> bool {
    run.status.state == State::Done && run.dir.join(MODEL).exists()
}

/// The part of a run's record that is published with its model. A user's own images are identified by the name of their
/// folder and their digest; their location and the paths in the command are private and left out.
struct Public {
    id: String,
    cell: Cell,
    provenance: Provenance,
}

impl Public {
    fn of(record: &RunRecord) -> Self {
        let (mut cell, mut provenance) = (record.cell.clone(), record.provenance.clone());
        // A reader of the file builds the model from this name, so it must be the variant's own even for an imported
        // model.
        record.cell.builder().clone_into(&mut cell.variant);
        let mut id = record.id.clone();
        if let Some((_, location)) = record.cell.dataset.split_once(':') {
            let DatasetName { bare: location, option } = separate_option(location);
            // Both kinds of slash, because the path may come from a machine with another operating system.
            let name = location.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default();
            let option = option.map(|option| format!("?{option}")).unwrap_or_default();
            let digest: String = provenance.data.iter().flat_map(|digest| digest.chars()).take(12).collect();
            cell.dataset = format!("{name}{option} (SHA-256 {digest})");
            let hash = record.id.rsplit('-').next().unwrap_or_default();
            id = format!("{}-{}-s{}-{hash}", file_stem(name, 60), cell.variant, cell.seed);
        }
        provenance.command = without_paths(&provenance.command);
        Self { id, cell, provenance }
    }
}

/// Replaces every path and every user dataset in a command by an ellipsis.
fn without_paths(command: &str) -> String {
    let local =
        |word: &str| word.contains(['/', '\\', '\'', '~']) || (word.contains(':') && !word.contains("cuda:"));
    let mut words: Vec<&str> = Vec::new();
    // Quoted arguments contain spaces or special characters and are always replaced.
    for (i, part) in command.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push("…");
        } else {
            words.extend(part.split_whitespace().map(|word| if local(word) { "…" } else { word }));
        }
    }
    words.join(" ")
}

/// Writes `model.safetensors`, `config.json`, `README.md`, `check.safetensors` and, for the seven variants,
/// `lerp_torch.py`.
///
/// # Errors
/// If the model's file is missing, damaged or not of this variant, or a file cannot be written.
pub fn write(options: &ExportOptions, loaded: &Loaded, folder: &Path) -> Result<()> {
    let run = &loaded.run;
    let public = Public::of(&run.record);
    let cell = &run.record.cell;
    let variant = find_variant(options.variants, cell.builder())?;
    let bytes = run.model()?.ok_or_else(|| Error::BadRun(format!("it has no {MODEL}")))?;
    let tensors = load_buffer(&bytes, &Device::Cpu).map_err(|error| {
        let path = run.dir.join(MODEL);
        Error::BadRun(format!("{} is cut short or damaged ({error})", path.display()))
    })?;
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    let images = check_images(run)?;
    let (_, height, width, channels) = images.dims4()?;
    let build = Build {
        image: ImageShape { height, width, channels },
        network: &cell.network,
        hyper: &cell.hyper,
        seed: cell.seed,
        dtype: DType::F32,
        device: &Device::Cpu,
    };
    let model = variant.build(&build)?;
    set_parameters(model.params(), &tensors)?;
    let check = Check { build: &build, tensors: &tensors }.outputs(&*model, &images)?;
    let spec: &Spec = model.spec();
    let config = Config {
        format: FORMAT,
        id: &public.id,
        title: &run.record.title,
        image: spec.image,
        latent: &spec.shape.latent,
        features: spec.shape.features,
        classes: tensors.get("cls.bias").map(Tensor::dims1).transpose()?,
        step: cell.steps(),
        cell: &public.cell,
        provenance: &public.provenance,
    };
    let card = Card {
        loaded,
        config: &config,
        protocol: variant.check(&lerp_core::Hyper::new()).unwrap_or_default(),
        parameters: parameters(model.params(), &tensors),
        in_torch: IN_TORCH.contains(&cell.builder()),
        critic: check.contains_key("critic"),
        loading_example: options.loading_example,
    };
    // Only one metadata entry, because the library writes several in random order and equal models must give equal
    // files.
    let metadata = HashMap::from([("lerp".to_owned(), serde_json::to_string(&config)?)]);
    write_file(folder, MODEL, &safetensors::serialize(&tensors, Some(metadata))?)?;
    write_file(folder, "config.json", (serde_json::to_string_pretty(&config)? + "\n").as_bytes())?;
    write_file(folder, "check.safetensors", &safetensors::serialize(&check, None)?)?;
    if card.in_torch {
        write_file(folder, "lerp_torch.py", TORCH.as_bytes())?;
    }
    write_file(folder, "README.md", card.text()?.as_bytes())
}

/// Sets a model's parameters and buffers to the tensors of the same names.
fn set_parameters(store: &ParamStore, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    for (name, _) in store.entries() {
        let tensor = tensors.get(name).ok_or_else(|| {
            Error::BadRun(format!("{MODEL} has no '{name}', so it is not of this variant or version"))
        })?;
        store.set(name, tensor)?;
    }
    Ok(())
}

/// Returns the input images of the check: lines at fixed angles, or the test images at the ends of the run's stored
/// interpolations, so that an export needs no dataset.
///
/// # Shapes
/// `[n, height, width, channels]` with `n` at most [`CHECKED_IMAGES`].
fn check_images(run: &Run) -> Result<Tensor> {
    if run.record.cell.dataset == Lines::NAME {
        let angles: Vec<f64> =
            (0..CHECKED_IMAGES).map(|i| (i as f64 + 0.3) * TAU / CHECKED_IMAGES as f64).collect();
        return Ok(Lines::images(&angles, &Device::Cpu)?);
    }
    let Some(PairEnds { left, right }) = run.strips()?.and_then(|strips| strips.ends) else {
        return Err(Error::BadRun(format!("its {STRIPS} has no test images, with which to check the model")));
    };
    let images = Tensor::cat(&[left, right], 0)?;
    Ok(images.narrow(0, 0, CHECKED_IMAGES.min(images.dim(0)?))?)
}

/// Lists all tensors of the file: the model's in its own order, then the classifier's.
fn parameters(store: &ParamStore, tensors: &BTreeMap<String, Tensor>) -> Vec<Parameter> {
    let group = |name: &str| store.params().iter().find(|p| p.name == name).map(|p| p.group.0.to_owned());
    let own: Vec<&str> = store.entries().map(|(name, _)| name).collect();
    let others = tensors.keys().map(String::as_str).filter(|name| !own.contains(name));
    let parameter = |name: &str| {
        let moved_by = match group(name) {
            Some(group) => format!("loss of the {group}"),
            None if name.starts_with("cls.") => "loss of the classifier".into(),
            None => "not by a gradient".into(),
        };
        Some(Parameter { name: name.to_owned(), shape: tensors.get(name)?.dims().to_vec(), moved_by })
    };
    own.iter().copied().chain(others).filter_map(parameter).collect()
}

/// The inputs from which a model's check outputs are computed.
struct Check<'a> {
    build: &'a Build<'a>,
    tensors: &'a BTreeMap<String, Tensor>,
}

impl Check<'_> {
    /// Returns the tensors of `check.safetensors`: `images` and the model's outputs for them, and latents `z` with the
    /// images `decoded` from them. The outputs of the seven variants are deterministic; a user's variant may draw
    /// random numbers.
    fn outputs(&self, model: &dyn Autoencoder, images: &Tensor) -> Result<BTreeMap<&'static str, Tensor>> {
        let draws = Draws::new(0, &Device::Cpu).scope("export");
        let features = model.features(images, &draws)?;
        let mut all = BTreeMap::new();
        // `encode` of a VAE draws a sample, so the posterior mean is exported instead.
        let posterior = match self.build_as::<Vae>(model)? {
            Some(vae) => {
                let h = features.reshape(model.spec().shape.batch(features.dim(0)?))?;
                let q = vae.posterior(&h)?;
                all.insert("log_variance", q.log_variance);
                Some(q.mean.reshape(h.shape())?)
            }
            None => None,
        };
        let latents = posterior.map_or_else(|| model.encode(images, &draws), Ok)?;
        let z = draws.normal("z", latents.shape())?;
        let decoded = model.decode(&z)?;
        if let Some(acai) = self.build_as::<Acai>(model)? {
            all.insert("critic", acai.guess(&decoded)?);
        }
        if let Some(aae) = self.build_as::<Aae>(model)? {
            all.insert("critic", aae.discriminator.forward(&latents)?.flatten_all()?);
        }
        if let Some(vqvae) = self.build_as::<VqVae>(model)? {
            for (name, latents) in [("codes", &latents), ("codes_z", &z)] {
                let quantised = vqvae.bottleneck(latents)?.quantised;
                let images = latents.dim(0)?;
                all.insert(name, quantised.indices.to_dtype(DType::I64)?.reshape((images, ()))?);
                if name == "codes" {
                    let width = quantised.vectors.dim(1)?;
                    all.insert("vectors", quantised.vectors.reshape((images, (), width))?);
                }
            }
        }
        if let (Some(weight), Some(bias)) = (self.tensors.get("cls.weight"), self.tensors.get("cls.bias")) {
            all.insert("logits", lerp_kernels::dense(&features, weight, bias)?);
        }
        all.insert("reconstructions", model.decode(&latents)?);
        all.extend([("images", images.clone()), ("latents", latents), ("features", features)]);
        all.extend([("z", z), ("decoded", decoded)]);
        all.into_iter().map(|(name, tensor)| Ok((name, tensor.detach().contiguous()?))).collect()
    }

    /// Rebuilds the model as its concrete type, for outputs that the trait does not have. Returns `None` if the model
    /// is of another variant.
    fn build_as<M: Model>(&self, model: &dyn Autoencoder) -> Result<Option<M>> {
        if model.spec().variant != M::NAME {
            return Ok(None);
        }
        let own = M::new(check_hyper(M::NAME, self.build.hyper)?, self.build)?;
        set_parameters(own.params(), self.tensors)?;
        Ok(Some(own))
    }
}

#[cfg(test)]
mod tests {
    use super::without_paths;

    #[test]
    fn a_command_goes_out_without_paths() {
        for (command, public) in [
            (
                "cargo xtask sweep --preset smoke --device cuda:0",
                "cargo xtask sweep --preset smoke --device cuda:0",
            ),
            ("cargo xtask sweep --out /home/ann/x --seeds 0..5", "cargo xtask sweep --out … --seeds 0..5"),
            ("mine train --datasets 'images:my pets' --latent 2", "mine train --datasets … --latent 2"),
            ("lerp sweep --datasets images:pets,mnist", "lerp sweep --datasets …"),
            (r"lerp sweep --data=C:\Users\ann", "lerp sweep …"),
        ] {
            assert_eq!(without_paths(command), public);
        }
    }
}
