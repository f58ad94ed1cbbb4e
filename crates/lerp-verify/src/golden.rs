//! Golden values: reading of their files, and conversion between their layout and this program's.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor, safetensors::load_buffer};
use serde::Deserialize;

use crate::{Error, Result};

/// Embeds the golden files with the given stems into the program.
macro_rules! embedded {
    ($($stem:literal),* $(,)?) => {
        &[$(($stem, include_bytes!(concat!("../golden/", $stem, ".safetensors.gz")) as &[u8])),*]
    };
}

const EMBEDDED_MANIFEST: &str = include_str!("../golden/manifest.json");
const EMBEDDED: &[(&str, &[u8])] = embedded![
    "classifier_adam",
    "cluster",
    "colour_aae",
    "colour_acai",
    "colour_baseline",
    "colour_common",
    "colour_denoising",
    "colour_dropout",
    "colour_vae",
    "colour_vqvae",
    "interpolation",
    "lines_aae",
    "lines_acai",
    "lines_baseline",
    "lines_common",
    "lines_denoising",
    "lines_dropout",
    "lines_vae",
    "lines_vqvae",
    "metric_draw_line",
    "metric_line_eval_abrupt",
    "metric_line_eval_all_nan",
    "metric_line_eval_correct",
    "metric_line_eval_data_space",
    "metric_line_eval_full_turn",
    "metric_line_eval_mixed_nan",
    "metric_line_eval_noisy",
    "metric_line_eval_overshooting",
    "metric_line_eval_pure_noise",
    "metric_line_eval_short",
    "metric_line_eval_unrealistic",
    "metric_line_eval_wrap_around",
    "metric_smoothness",
    "vq_bottleneck",
];

/// The part of `manifest.json` that the checks use.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// Configurations of networks by name.
    pub configs: BTreeMap<String, Config>,
    /// Hyperparameters of the oracle's runs.
    pub hyper: Settings,
    /// Number of recorded training steps.
    pub steps: u64,
    /// Tolerances by kind of value.
    pub tolerances: BTreeMap<String, Tolerance>,
    /// The files of golden values by name.
    pub files: BTreeMap<String, serde_json::Value>,
}

/// The configuration of a network and its images.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// Height and width of the images, pixels.
    pub hw: usize,
    /// Channels of the images.
    pub colors: usize,
    /// Number of halvings of the resolution.
    pub scales: usize,
    /// Channels at full resolution.
    pub depth: usize,
    /// Latent channels.
    pub latent: usize,
    /// Number of classes.
    pub nclass: usize,
}

/// Hyperparameters of the oracle's runs.
#[derive(Debug, Deserialize)]
pub struct Settings {
    /// Learning rate.
    pub lr: f64,
    /// Probability that dropout keeps an element.
    pub dropout_keep: f64,
    /// Standard deviation of the denoising noise.
    pub noise_std: f64,
    /// Weight β of the VAE's KL divergence.
    pub vae_beta: f64,
    /// Weight λ of ACAI's adversarial regulariser.
    pub advweight: f64,
    /// Blending coefficient γ of ACAI's critic regulariser.
    pub reg: f64,
    /// Weight β of the VQ-VAE's commitment loss.
    pub vq_beta: f64,
    /// Number of quantised vectors per image of the VQ-VAE.
    pub vq_num_latents: usize,
    /// Binary logarithm of the number of codes in the codebook.
    pub vq_z_log_size: u32,
    /// Width of the dense layer after quantisation.
    pub vq_filter_size: usize,
    /// Decay of the codebook's exponential moving averages.
    pub vq_decay: f64,
    /// Constant ε that smooths the counts of codes.
    pub vq_epsilon: f64,
}

/// The tolerance for a kind of value.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Tolerance {
    /// Largest error that passes.
    pub tol: f64,
    /// Fraction of the elements whose error may exceed `tol`.
    #[serde(default)]
    pub allowed_fraction_above: f64,
    /// Error that no element may exceed.
    pub hard_limit: Option<f64>,
    /// Absolute error that always passes.
    #[serde(default)]
    pub abs_floor: f64,
}

/// A set of golden values.
pub struct Golden {
    /// The manifest of the set.
    pub manifest: Manifest,
    folder: Option<PathBuf>,
}

impl Golden {
    /// Opens the set in `folder`, or the one embedded in the program.
    ///
    /// # Errors
    /// If the manifest is missing or invalid.
    pub fn open(folder: Option<&Path>) -> Result<Self> {
        let (text, at) = match folder {
            None => (EMBEDDED_MANIFEST.to_owned(), "the program's own golden values".to_owned()),
            Some(folder) => {
                let path = folder.join("manifest.json");
                let text = fs::read_to_string(&path).map_err(|error| {
                    Error::Golden(format!(
                        "cannot read {}, which a folder of golden values contains: {error}",
                        path.display()
                    ))
                })?;
                (text, path.display().to_string())
            }
        };
        let manifest = serde_json::from_str(&text)
            .map_err(|error| Error::Golden(format!("{at} is not a manifest of golden values: {error}")))?;
        Ok(Self { manifest, folder: folder.map(Path::to_owned) })
    }

    /// Reads the file `stem.safetensors` or `stem.safetensors.gz`.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn file(&self, stem: &str) -> Result<File> {
        let (bytes, at) = if let Some(folder) = &self.folder {
            let path = folder.join(format!("{stem}.safetensors"));
            let packed = folder.join(format!("{stem}.safetensors.gz"));
            let path = if path.exists() || !packed.exists() { path } else { packed };
            let at = path.display().to_string();
            let bytes =
                fs::read(&path).map_err(|error| Error::Golden(format!("cannot read {at}: {error}")))?;
            (if path.extension().is_some_and(|end| end == "gz") { unpack(&bytes, &at)? } else { bytes }, at)
        } else {
            let Some((_, packed)) = EMBEDDED.iter().find(|(name, _)| *name == stem) else {
                return Err(Error::Golden(format!("the program has no golden values '{stem}'")));
            };
            (unpack(packed, stem)?, stem.to_owned())
        };
        let tensors = load_buffer(&bytes, &Device::Cpu).map_err(|error| {
            let error = error.to_string();
            damaged(&at, error.lines().next().unwrap_or_default())
        })?;
        Ok(File { stem: stem.into(), at, tensors: tensors.into_iter().collect(), used: RefCell::default() })
    }
}

/// Decompresses a file that was compressed with gzip.
fn unpack(packed: &[u8], at: &str) -> Result<Vec<u8>> {
    /// Size limit of a decompressed file, bytes, because a small file may decompress to any size.
    const MAX_BYTES: u64 = 1 << 30;
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(packed).take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| damaged(at, &error.to_string()))?;
    Ok(bytes)
}

/// Returns the error of the file `at` whose content is damaged.
fn damaged(at: &str, problem: &str) -> Error {
    Error::Golden(format!("{at} is cut short or damaged ({problem}); copy it again"))
}

/// One file of golden values, on the CPU, in the oracle's layout with channels first.
pub struct File {
    /// File name without extensions.
    pub stem: String,
    at: String,
    tensors: BTreeMap<String, Tensor>,
    used: RefCell<BTreeSet<String>>,
}

impl File {
    /// Returns the tensor `name` and marks it as compared. Returns `None` if the file has no such tensor.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        let tensor = self.tensors.get(name)?;
        self.used.borrow_mut().insert(name.into());
        Some(tensor)
    }

    /// Returns the tensor `name` and marks it as compared.
    ///
    /// # Errors
    /// If the file has no such tensor.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.find(name).ok_or_else(|| Error::Golden(format!("{} has no tensor '{name}'", self.at)))
    }

    /// Returns the values of the tensor `name` in row-major order of the oracle's layout.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        numbers(self.get(name)?)
    }

    /// Returns the names of the tensors whose names begin with `prefix`, with the prefix removed.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Returns the names of the tensors that were never read.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.tensors.keys().filter(|name| !used.contains(*name)).cloned().collect()
    }
}

/// Converts a golden tensor to this program's layout: images and feature maps with channels last, convolution weights
/// as `[k, k, cin, cout]`.
pub fn to_ours(name: &str, tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    let tensor = match (tensor.rank(), is_weight(name)) {
        (4, true) => tensor.permute((2, 3, 1, 0))?,
        (4, false) => tensor.permute((0, 2, 3, 1))?,
        _ => tensor.clone(),
    };
    tensor.contiguous()?.to_dtype(DType::F32)?.to_device(device)
}

/// Returns the values of a tensor of this program, in row-major order of the oracle's layout.
pub fn to_theirs(name: &str, tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = match (tensor.rank(), is_weight(name)) {
        (4, true) => tensor.permute((3, 2, 0, 1))?,
        (4, false) => tensor.permute((0, 3, 1, 2))?,
        _ => tensor.clone(),
    };
    numbers(&tensor)
}

/// Returns all values of a tensor in row-major order.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(lerp_core::on_host(tensor)?.flatten_all()?.to_vec1()?)
}

fn is_weight(name: &str) -> bool {
    name.ends_with(".weight")
}
