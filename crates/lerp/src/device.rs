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
        "cuda" if !cfg!(feature = "cuda") => bail!(
            "this build has no CUDA; build with --features cuda (`cargo xtask ... --device cuda` does) or use --device cpu"
        ),
        "metal" if !cfg!(feature = "metal") => bail!(
            "this build has no Metal; build with --features metal on a Mac (`cargo xtask ... --device metal` does) or use \
             --device cpu"
        ),
        "cuda" => Device::new_cuda(number).map_err(|e| {
            anyhow::anyhow!("CUDA device {number} cannot be used ({}); try --device cpu", first_line(&e))
        }),
        "metal" => Device::new_metal(number).map_err(|e| {
            anyhow::anyhow!("Metal device {number} cannot be used ({}); try --device cpu", first_line(&e))
        }),
        _ => bail!("there is no device '{name}'; there are: cpu, cuda:0, metal"),
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
