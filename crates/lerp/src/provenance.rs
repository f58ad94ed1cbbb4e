//! Provenance of results: software versions, machine and data.

use std::{sync::OnceLock, time::SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use lerp_core::Precision;
use lerp_train::Provenance;

use crate::{dataset_cache::Images, device::described};

/// Version of this software.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Git revision that this program was built from.
pub const GIT: &str = env!("LERP_GIT");
/// Version of candle that this program was built with.
pub const CANDLE: &str = env!("LERP_CANDLE");

/// Where a run is trained or evaluated.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// Name of the device.
    pub device: &'a str,
    /// Precision of convolutions.
    pub precision: Precision,
    /// Number of threads.
    pub threads: usize,
}

/// Returns the provenance of a run that starts now by the given command line.
pub fn provenance(placement: Placement, images: Option<Images>, command: String) -> Provenance {
    let Placement { device, precision, threads } = placement;
    let (data, images) = images.map(|images| (images.digest, images.counts)).unzip();
    Provenance {
        version: VERSION.into(),
        git: GIT.into(),
        device: described(device, precision),
        processor: processor(),
        instructions: lerp_kernels::cpu::isas().last().map_or_else(String::new, ToString::to_string),
        threads,
        candle: CANDLE.into(),
        data,
        images,
        started: now(),
        command,
    }
}

/// Returns the model name of the processor, or an empty string if the system does not provide it.
fn processor() -> String {
    static PROCESSOR: OnceLock<String> = OnceLock::new();
    PROCESSOR.get_or_init(ask_processor).clone()
}

fn ask_processor() -> String {
    let linux = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let mac = || {
        let output = std::process::Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output();
        output
            .ok()
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .map(|name| name.trim().to_owned())
    };
    linux.or_else(mac).unwrap_or_default()
}

/// Returns the present time in UTC in the format of RFC 3339, rounded down to seconds.
pub fn now() -> String {
    rfc3339(SystemTime::now())
}

fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_written_in_rfc_3339() {
        let text = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
    }
}
