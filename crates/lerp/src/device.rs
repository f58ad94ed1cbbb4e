//! Which device computes.

use anyhow::{Result, bail};
use candle_core::Device;

use crate::registry::unknown;

/// What [`Choice`] reads, and `cuda:0,1`.
const KINDS: [&str; 4] = ["auto", "cpu", "cuda", "metal"];

/// A device as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The best that this build and machine have.
    Auto,
    /// The CPU.
    Cpu,
    /// These CUDA devices.
    Cuda(Vec<usize>),
    /// The first Metal device.
    Metal,
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "cpu" => Ok(Self::Cpu),
                "cuda" => Ok(Self::Cuda(vec![0])),
                "metal" => Ok(Self::Metal),
                _ => Err(unknown("device", text, &KINDS)),
            },
            Some(("cuda", list)) => {
                let numbers: Option<Vec<usize>> = list.split(',').map(|n| n.parse().ok()).collect();
                numbers
                    .map(Self::Cuda)
                    .ok_or_else(|| format!("'{text}' is not a list of devices; write cuda:0,1"))
            }
            Some(_) => Err(unknown("device", text, &KINDS)),
        }
    }
}

impl Choice {
    /// Names of the devices that this choice means here, such as `cpu` or `cuda:1`.
    ///
    /// # Errors
    /// If this build or machine does not have it; the message says how to get it.
    pub fn names(&self) -> Result<Vec<String>> {
        match self {
            Self::Auto => {
                let gpu = ["cuda:0", "metal"].into_iter().find(|name| open(name).is_ok());
                Ok(vec![gpu.unwrap_or("cpu").into()])
            }
            Self::Cpu => Ok(vec!["cpu".into()]),
            Self::Cuda(numbers) => {
                let names: Vec<String> = numbers.iter().map(|n| format!("cuda:{n}")).collect();
                names.iter().try_for_each(|name| open(name).map(drop))?;
                Ok(names)
            }
            Self::Metal => open("metal").map(|_| vec!["metal".into()]),
        }
    }
}

/// Opens a device by name.
///
/// # Errors
/// If this build or machine does not have it; the message says how to get it.
pub fn open(name: &str) -> Result<Device> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    let number = number.parse().unwrap_or(0);
    match kind {
        "cpu" => Ok(Device::Cpu),
        "cuda" => cuda(number),
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

/// Which library, driver or device is missing, `lerp-kernels` says.
#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device> {
    lerp_kernels::cuda::device(number).map_err(|missing| anyhow::anyhow!("{missing}; try --device cpu"))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device> {
    bail!(
        "this build has no CUDA; build with --features cuda (`cargo xtask ... --device cuda` does) or use --device cpu"
    )
}

/// A device for the record: a GPU with its model and whether convolutions round to TF32, such as
/// `cuda:0 (NVIDIA H200, TF32)`.
pub fn described(name: &str) -> String {
    let model = match name.strip_prefix("cuda:").map(str::parse) {
        Some(Ok(number)) => model(number),
        _ => return name.to_owned(),
    };
    let precision = if lerp_kernels::tf32() { "TF32" } else { "full f32" };
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
        assert_eq!("cuda".parse(), Ok(Choice::Cuda(vec![0])));
        assert_eq!("cuda:0,3".parse(), Ok(Choice::Cuda(vec![0, 3])));
        for wrong in ["cuda:", "cuda:x", "cuda:0,", "cuda:all", "cuda:-1"] {
            let error = wrong.parse::<Choice>().unwrap_err();
            assert_eq!(error, format!("'{wrong}' is not a list of devices; write cuda:0,1"));
        }
        assert!("cud".parse::<Choice>().unwrap_err().contains("did you mean 'cuda'"));
    }

    #[test]
    fn auto_is_always_a_device_that_works() {
        let names = Choice::Auto.names().unwrap();
        assert_eq!(names.len(), 1);
        assert!(open(&names[0]).is_ok());
    }

    /// Whatever is missing, the driver or the device: no machine has as many as this.
    #[test]
    fn what_is_missing_is_one_sentence_that_offers_the_cpu() {
        let error = Choice::Cuda(vec![4096]).names().unwrap_err().to_string();
        assert!(error.ends_with("--device cpu") && error.lines().count() == 1, "{error}");
        if cfg!(feature = "cuda") && open("cuda:0").is_ok() {
            assert!(error.starts_with("there is no CUDA device 4096; this machine has "), "{error}");
        }
    }
}
