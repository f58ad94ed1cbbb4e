//! Golden values: where they come from, and their layout.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, safetensors::load_buffer};
use serde::Deserialize;

/// The program's own copy, file by file.
macro_rules! own {
    ($($stem:literal),* $(,)?) => {
        &[$(($stem, include_bytes!(concat!("../../golden/", $stem, ".safetensors.gz")) as &[u8])),*]
    };
}

const OWN_MANIFEST: &str = include_str!("../../golden/manifest.json");
const OWN: &[(&str, &[u8])] = own![
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

/// `manifest.json`, as far as it is used.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// Networks by name.
    pub configs: BTreeMap<String, Config>,
    /// Hyperparameters.
    pub hyper: Settings,
    /// Training steps recorded.
    pub steps: u64,
    /// Tolerances by kind of value.
    pub tolerances: BTreeMap<String, Tolerance>,
    /// The files.
    pub files: BTreeMap<String, serde_json::Value>,
}

/// A network and its images.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// Side of the images.
    pub hw: usize,
    /// Channels of the images.
    pub colors: usize,
    /// Halvings.
    pub scales: usize,
    /// Channels at full resolution.
    pub depth: usize,
    /// Channels of the latent.
    pub latent: usize,
    /// Classes.
    pub nclass: usize,
}

/// Hyperparameters of the recorded runs.
#[derive(Debug, Deserialize)]
pub struct Settings {
    /// Learning rate.
    pub lr: f64,
    /// Dropout's probability of keeping.
    pub dropout_keep: f64,
    /// Standard deviation of the denoising noise.
    pub noise_std: f64,
    /// VAE's β.
    pub vae_beta: f64,
    /// ACAI's λ.
    pub advweight: f64,
    /// ACAI's γ.
    pub reg: f64,
    /// VQ-VAE's β.
    pub vq_beta: f64,
    /// Vectors an image.
    pub vq_num_latents: usize,
    /// Binary logarithm of the number of codes.
    pub vq_z_log_size: u32,
    /// Units after quantisation.
    pub vq_filter_size: usize,
    /// Decay of the moving averages.
    pub vq_decay: f64,
    /// Smooths the counts.
    pub vq_epsilon: f64,
}

/// The largest error that passes.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Tolerance {
    /// The error itself.
    pub tol: f64,
    /// Part of the elements that may be beyond `tol`.
    #[serde(default)]
    pub allowed_fraction_above: f64,
    /// What none may be beyond.
    pub hard_limit: Option<f64>,
    /// An absolute error that always passes.
    #[serde(default)]
    pub abs_floor: f64,
}

/// A set of golden values.
pub struct Golden {
    /// Its manifest.
    pub manifest: Manifest,
    folder: Option<PathBuf>,
}

impl Golden {
    /// The set in `folder`, or the program's own.
    ///
    /// # Errors
    /// If there is no manifest or it is not one.
    pub fn open(folder: Option<&Path>) -> Result<Self> {
        let (text, at) = match folder {
            None => (OWN_MANIFEST.to_owned(), "the program's own golden values".to_owned()),
            Some(folder) => {
                let path = folder.join("manifest.json");
                let text = fs::read_to_string(&path).with_context(|| {
                    format!("cannot read {}; --golden wants a folder with one", path.display())
                })?;
                (text, path.display().to_string())
            }
        };
        let manifest = serde_json::from_str(&text)
            .with_context(|| format!("{at} is not a manifest of golden values"))?;
        Ok(Self { manifest, folder: folder.map(Path::to_owned) })
    }

    /// The file `stem`.safetensors.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn file(&self, stem: &str) -> Result<File> {
        let (bytes, at) = if let Some(folder) = &self.folder {
            let path = folder.join(format!("{stem}.safetensors"));
            let packed = folder.join(format!("{stem}.safetensors.gz"));
            let path = if path.exists() || !packed.exists() { path } else { packed };
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let at = path.display().to_string();
            (if path.extension().is_some_and(|end| end == "gz") { unpack(&bytes, &at)? } else { bytes }, at)
        } else {
            let Some((_, packed)) = OWN.iter().find(|(name, _)| *name == stem) else {
                bail!("the program has no golden values '{stem}'");
            };
            (unpack(packed, stem)?, stem.to_owned())
        };
        let tensors = load_buffer(&bytes, &Device::Cpu).map_err(|e| {
            anyhow::anyhow!(
                "{at} is cut short or damaged ({}); copy it again",
                e.to_string().lines().next().unwrap_or_default()
            )
        })?;
        Ok(File { stem: stem.into(), at, tensors: tensors.into_iter().collect(), used: RefCell::default() })
    }
}

/// The contents of a file that was packed with gzip.
fn unpack(packed: &[u8], at: &str) -> Result<Vec<u8>> {
    /// Bytes that no file of golden values has: a small file may unpack to any number.
    const MOST: u64 = 1 << 30;
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(packed).take(MOST).read_to_end(&mut bytes);
    read.map_err(|e| anyhow::anyhow!("{at} is cut short or damaged ({e}); copy it again"))?;
    Ok(bytes)
}

/// One file of golden values, on the CPU, channels first as recorded.
pub struct File {
    /// Its name without the ending.
    pub stem: String,
    at: String,
    tensors: BTreeMap<String, Tensor>,
    used: RefCell<BTreeSet<String>>,
}

impl File {
    /// The tensor `name`, which counts as compared from now on.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        let tensor = self.tensors.get(name)?;
        self.used.borrow_mut().insert(name.into());
        Some(tensor)
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// If the file has none.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.find(name).with_context(|| format!("{} has no tensor '{name}'", self.at))
    }

    /// Its numbers in recorded order.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        numbers(self.get(name)?)
    }

    /// Names that begin with `prefix`, without it.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().filter_map(move |name| name.strip_prefix(prefix))
    }

    /// Names of tensors that were never asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.tensors.keys().filter(|name| !used.contains(*name)).cloned().collect()
    }
}

/// A recorded tensor in this program's layout: images and feature maps channels last, weights `[k, k, cin, cout]`.
pub fn to_ours(name: &str, tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    let tensor = match (tensor.rank(), is_weight(name)) {
        (4, true) => tensor.permute((2, 3, 1, 0))?,
        (4, false) => tensor.permute((0, 2, 3, 1))?,
        _ => tensor.clone(),
    };
    tensor.contiguous()?.to_dtype(DType::F32)?.to_device(device)
}

/// The numbers of one of our tensors, in the order in which the recorded one has them.
pub fn to_theirs(name: &str, tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = match (tensor.rank(), is_weight(name)) {
        (4, true) => tensor.permute((3, 2, 0, 1))?,
        (4, false) => tensor.permute((0, 3, 1, 2))?,
        _ => tensor.clone(),
    };
    numbers(&tensor)
}

/// All numbers of a tensor, in row-major order.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(lerp_core::on_host(tensor)?.flatten_all()?.to_vec1()?)
}

fn is_weight(name: &str) -> bool {
    name.ends_with(".weight")
}
