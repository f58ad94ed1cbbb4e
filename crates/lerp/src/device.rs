//! The choice of the device that computes.

use anyhow::{Result, bail};
use candle_core::Device;
use lerp_core::{Precision, unknown_name_message};

/// The device names that [`DeviceChoice`] accepts, beside lists such as `cuda:0,1`.
const KINDS: [&str; 4] = ["auto", "cpu", "cuda", "metal"];

/// A value of `--device`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best device that this build and machine have.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA devices with these indices.
    Cuda(Vec<usize>),
    /// The first Metal device.
    Metal,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "cpu" => Ok(Self::Cpu),
                "cuda" => Ok(Self::Cuda(vec![0])),
                "metal" => Ok(Self::Metal),
                _ => Err(unknown_name_message("device", text, &KINDS)),
            },
            Some(("cuda", list)) => {
                let numbers: Option<Vec<usize>> = list.split(',').map(|n| n.parse().ok()).collect();
                numbers
                    .map(Self::Cuda)
                    .ok_or_else(|| format!("'{text}' is not a list of devices; write cuda:0,1"))
            }
            Some(_) => Err(unknown_name_message("device", text, &KINDS)),
        }
    }
}

impl DeviceChoice {
    /// Returns the names of the chosen devices on this machine, such as `cpu` or `cuda:1`.
    ///
    /// # Errors
    /// If this build or machine lacks a chosen device; the message says how to get it.
    pub fn names(&self) -> Result<Vec<String>> {
        match self {
            Self::Auto => {
                let gpu = ["cuda:0", "metal"].into_iter().find(|name| open(name, Precision::F32).is_ok());
                Ok(vec![gpu.unwrap_or("cpu").into()])
            }
            Self::Cpu => Ok(vec!["cpu".into()]),
            Self::Cuda(numbers) => {
                let names: Vec<String> = numbers.iter().map(|n| format!("cuda:{n}")).collect();
                names.iter().try_for_each(|name| open(name, Precision::F32).map(drop))?;
                Ok(names)
            }
            Self::Metal => open("metal", Precision::F32).map(|_| vec!["metal".into()]),
        }
    }

    /// Resolves `Auto` for other machines, whose devices cannot be probed from here: to as many CUDA GPUs as are
    /// requested for them, or to the CPU if none are. Other choices stay as they are.
    #[must_use]
    pub fn elsewhere(&self, gpus: Option<usize>) -> Self {
        match (self, gpus) {
            (Self::Auto, Some(gpus)) => Self::Cuda((0..gpus.max(1)).collect()),
            (Self::Auto, None) => Self::Cpu,
            (choice, _) => choice.clone(),
        }
    }

    /// Returns the names of the chosen devices on other machines, without probing them.
    ///
    /// # Errors
    /// If this build cannot use such a device.
    pub fn names_elsewhere(&self) -> Result<Vec<String>> {
        match self {
            Self::Cuda(numbers) if cfg!(feature = "cuda") => {
                Ok(numbers.iter().map(|n| format!("cuda:{n}")).collect())
            }
            Self::Cuda(_) => bail!(
                "this build has no CUDA, which the tasks are to use; build with --features cuda (`cargo xtask ... --device cuda` \
                 does), or give --device cpu"
            ),
            Self::Metal => bail!("tasks on a cluster cannot use Metal; give --device cpu or cuda"),
            Self::Auto | Self::Cpu => Ok(vec!["cpu".into()]),
        }
    }

    /// Returns the precision of runs on the chosen device: TF32 on CUDA devices unless `full_f32` is set, and full
    /// `f32` elsewhere.
    ///
    /// # Errors
    /// The errors of [`DeviceChoice::names`].
    pub fn precision(&self, full_f32: bool) -> Result<Precision> {
        let cuda = match self {
            Self::Auto => self.names()?[0].starts_with("cuda"),
            Self::Cuda(_) => true,
            Self::Cpu | Self::Metal => false,
        };
        Ok(if cuda && !full_f32 { Precision::Tf32 } else { Precision::F32 })
    }
}

/// Opens a device by name. A CUDA device is opened with the given precision of convolutions; other devices always
/// compute in full `f32`.
///
/// # Errors
/// If the name is not that of a device, or this build or machine lacks the device; the message says how to get it.
pub fn open(name: &str, precision: Precision) -> Result<Device> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    let Ok(number) = number.parse::<usize>() else {
        bail!(
            "there is no device '{name}', because '{number}' is not a number; there are: cpu, cuda:0, metal"
        );
    };
    match kind {
        "cpu" => Ok(Device::Cpu),
        "cuda" => cuda(number, precision),
        "metal" if !cfg!(feature = "metal") => bail!(
            "this build has no Metal; build with --features metal on a Mac (`cargo xtask ... --device metal` does) or use \
             --device cpu"
        ),
        "metal" => Device::new_metal(number).map_err(|e| {
            anyhow::anyhow!("Metal device {number} cannot be used ({}); try --device cpu", first_line(&e))
        }),
        _ => bail!("there is no device '{name}'; there are: cpu, cuda:0, metal"),
    }
}

/// Opens a CUDA device. The error of `lerp-kernels` names the library, driver or device that is missing.
#[cfg(feature = "cuda")]
fn cuda(number: usize, precision: Precision) -> Result<Device> {
    lerp_kernels::cuda::device(number, precision)
        .map_err(|missing| anyhow::anyhow!("{missing}; try --device cpu"))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize, _: Precision) -> Result<Device> {
    bail!(
        "this build has no CUDA; build with --features cuda (`cargo xtask ... --device cuda` does) or use --device cpu"
    )
}

/// Describes a device for a run's record. The description of a CUDA device has its model and the precision of
/// convolutions, for example `cuda:0 (NVIDIA H200, TF32)`.
pub fn described(name: &str, precision: Precision) -> String {
    let model = match name.strip_prefix("cuda:").map(str::parse) {
        Some(Ok(number)) => model(number),
        _ => return name.to_owned(),
    };
    let precision = match precision {
        Precision::Tf32 => "TF32",
        Precision::F32 => "full f32",
    };
    format!("{name} ({}{precision})", model.map_or(String::new(), |model| format!("{model}, ")))
}

#[cfg(feature = "cuda")]
fn model(number: usize) -> Option<String> {
    lerp_kernels::cuda::name(number)
}

#[cfg(not(feature = "cuda"))]
fn model(_: usize) -> Option<String> {
    None
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_from_its_name() {
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(vec![0])));
        assert_eq!("cuda:0,3".parse(), Ok(DeviceChoice::Cuda(vec![0, 3])));
        for wrong in ["cuda:", "cuda:x", "cuda:0,", "cuda:all", "cuda:-1"] {
            let error = wrong.parse::<DeviceChoice>().unwrap_err();
            assert_eq!(error, format!("'{wrong}' is not a list of devices; write cuda:0,1"));
        }
        assert!("cud".parse::<DeviceChoice>().unwrap_err().contains("did you mean 'cuda'"));
    }

    #[test]
    fn a_device_whose_index_is_not_a_number_is_not_opened() {
        for wrong in ["cuda:x", "cuda:", "cuda:-1", "cuda:0,1", "cpu:x"] {
            let error = open(wrong, Precision::F32).unwrap_err().to_string();
            assert!(error.starts_with(&format!("there is no device '{wrong}'")), "{error}");
            assert!(
                error.ends_with("there are: cpu, cuda:0, metal") && error.lines().count() == 1,
                "{error}"
            );
        }
        assert!(open("cpu", Precision::F32).is_ok());
    }

    #[test]
    fn auto_is_always_a_device_that_works() {
        let names = DeviceChoice::Auto.names().unwrap();
        assert_eq!(names.len(), 1);
        assert!(open(&names[0], Precision::F32).is_ok());
    }

    #[test]
    fn runs_use_tf32_on_cuda_unless_full_f32_is_asked_for() {
        let precision = |choice: &str, full| choice.parse::<DeviceChoice>().unwrap().precision(full).unwrap();
        assert_eq!(precision("cuda:0,1", false), Precision::Tf32);
        assert_eq!(precision("cuda", true), Precision::F32);
        for full in [false, true] {
            assert_eq!([precision("cpu", full), precision("metal", full)], [Precision::F32; 2]);
        }
        assert!(described("cuda:4096", Precision::Tf32).ends_with("TF32)"));
        assert!(described("cuda:4096", Precision::F32).ends_with("full f32)"));
        assert_eq!(described("cpu", Precision::F32), "cpu");
    }

    // No machine has 4097 CUDA devices, so that either the driver or the device is missing on every machine.
    #[test]
    fn a_missing_device_is_one_sentence_that_suggests_the_cpu() {
        let error = DeviceChoice::Cuda(vec![4096]).names().unwrap_err().to_string();
        assert!(error.ends_with("--device cpu") && error.lines().count() == 1, "{error}");
        if cfg!(feature = "cuda") && open("cuda:0", Precision::F32).is_ok() {
            assert!(error.starts_with("there is no CUDA device 4096; this machine has "), "{error}");
        }
    }
}
