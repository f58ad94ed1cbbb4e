//! Compares this build with golden values, which an oracle computed: a program with the semantics of the paper's own
//! code. The command `lerp verify` prints the result. On an accelerator that generates random draws or captures
//! training steps, these are compared with the host's as well.
//!
//! A folder of golden values holds `manifest.json` (configurations, hyperparameters, tolerances, files) and safetensors
//! files: one per variant and configuration, and one or more for each metric. The program embeds a reduced copy, the
//! folder `golden` of this crate; its `README.md` describes the values.

mod accelerator;
mod checker;
mod cluster;
mod error;
mod golden;
mod metrics;
mod models;
mod parts;

use std::path::PathBuf;

use candle_core::Device;
use lerp_core::Variant;
use lerp_kernels::{Implementation, with_implementation};

use checker::Checker;
use golden::{File, Golden};

pub use error::{Error, Result};

/// Options of [`verify`].
#[derive(Clone)]
pub struct VerifyOptions<'a> {
    /// Folder of golden values; `None` for the copy embedded in the program.
    pub golden: Option<PathBuf>,
    /// The paper's seven variants, which are compared.
    pub variants: &'a [&'static dyn Variant],
    /// Device on which models run, opened in full `f32`.
    pub device: Device,
    /// Whether operations are fused kernels or composed of candle's operations.
    pub implementation: Implementation,
    /// Report only checks whose names contain this text.
    pub filter: Option<String>,
}

/// One comparison.
#[derive(Debug, Clone)]
pub struct Check {
    /// Names of the file and the tensor.
    pub name: String,
    /// The error, in the measure of the tolerance.
    pub error: f64,
    /// The largest error that passes.
    pub tolerance: f64,
    /// Whether the check passed.
    pub passed: bool,
    /// A remark about the comparison, or an empty string.
    pub note: String,
}

/// The numbers of comparisons that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of comparisons that passed.
    pub passed: usize,
    /// Number of comparisons that failed.
    pub failed: usize,
}

/// Compares everything and calls `report` after each comparison. A golden value that is never compared counts as
/// failed.
///
/// ```
/// use candle_core::Device;
/// use lerp_core::Variant;
/// use lerp_kernels::Implementation;
/// use lerp_verify::{VerifyOptions, Result, verify};
///
/// /// Returns the names of the failed checks.
/// fn failures(variants: &[&'static dyn Variant]) -> Result<Vec<String>> {
///     let (golden, filter) = (None, None);
///     let options = VerifyOptions { golden, variants, device: Device::Cpu, implementation: Implementation::Fused, filter };
///     let mut failed = Vec::new();
///     verify(&options, &mut |check| {
///         if !check.passed {
///             failed.push(check.name.clone());
///         }
///     })?;
///     Ok(failed)
/// }
/// ```
///
/// # Errors
/// If a file is missing, truncated or has another layout, if a variant is missing, or if the filter matches no check.
pub fn verify(options: &VerifyOptions, report: &mut dyn FnMut(&Check)) -> Result<Summary> {
    let golden = Golden::open(options.golden.as_deref())?;
    let mut checker = Checker::new(&golden.manifest, options.filter.as_deref(), report);
    with_implementation(options.implementation, || {
        for name in golden.manifest.files.keys() {
            let stem = name.trim_end_matches(".safetensors");
            // The common file of a configuration is read together with each of its variants.
            if stem.ends_with("_common") {
                continue;
            }
            let file = golden.file(stem)?;
            check_file(&mut checker, &golden, &file, options)?;
            checker.report_unused(&file);
        }
        accelerator::accelerator(&mut checker, options)
    })?;
    let summary = checker.summary;
    if let Some(filter) = &options.filter
        && summary == Summary::default()
    {
        return Err(Error::NoCheck(filter.clone()));
    }
    Ok(summary)
}

fn check_file(checker: &mut Checker, golden: &Golden, file: &File, options: &VerifyOptions) -> Result<()> {
    let device = &options.device;
    match file.stem.as_str() {
        "metric_draw_line" => metrics::draw_line(checker, file),
        "metric_smoothness" => metrics::smoothness(checker, file),
        "interpolation" => metrics::interpolation(checker, file, device),
        "cluster" => cluster::cluster(checker, file),
        "classifier_adam" => parts::classifier_and_adam(checker, file, device),
        "vq_bottleneck" => parts::vq_bottleneck(checker, golden, file, device),
        stem if stem.starts_with("metric_line_eval_") => metrics::line_eval(checker, file),
        stem => match stem.split_once('_') {
            Some((network, variant)) if golden.manifest.configs.contains_key(network) => {
                models::model(checker, golden, file, network, variant, options)
            }
            // Every value of an unknown file is reported as not compared.
            _ => Ok(()),
        },
    }
}
