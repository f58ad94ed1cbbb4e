//! `lerp verify` and `lerp conformance`: checks of this build against golden values, and of variants against the
//! contract of [`lerp_core::Autoencoder`].

use anyhow::Result;
use lerp_core::Precision;
use lerp_kernels::Implementation;

use crate::{
    cli::{ConformanceArgs, VerifyArgs},
    device,
    registry::{Registry, seven},
    say::say,
};

/// Runs `lerp verify`. Returns whether every check passed.
///
/// # Errors
/// If the golden values cannot be read, or this build or machine lacks the device.
pub fn verify(args: &VerifyArgs) -> Result<bool> {
    let name = args.device.names()?.remove(0);
    let options = lerp_verify::VerifyOptions {
        golden: args.golden.clone(),
        variants: &seven(),
        // The golden values were computed in full f32.
        device: device::open(&name, Precision::F32)?,
        implementation: if args.composed { Implementation::Composed } else { Implementation::Fused },
        filter: args.filter.clone(),
    };
    let summary = lerp_verify::verify(&options, &mut |check| {
        if !args.quiet || !check.passed {
            let word = if check.passed { "ok  " } else { "MISS" };
            say(&format!(
                "{word} {:<60} {:>9.2e} <= {:.0e} {}",
                check.name, check.error, check.tolerance, check.note
            ));
        }
    })?;
    say(&format!("{} passed, {} failed, on {name}", summary.passed, summary.failed));
    Ok(summary.failed == 0)
}

/// Runs `lerp conformance`. Returns whether every variant keeps the contract.
///
/// # Errors
/// If there is no such variant, or this build or machine lacks the device.
pub fn conformance(registry: &Registry, args: &ConformanceArgs) -> Result<bool> {
    // The default precision of runs on the device.
    let device = device::open(&args.device.names()?.remove(0), args.device.precision(false)?)?;
    let mut passed = true;
    let variants = match &args.variants {
        Some(names) => names.iter().map(|name| registry.find(name)).collect::<Result<Vec<_>>>()?,
        None => registry.all().to_vec(),
    };
    for variant in variants {
        match lerp_train::conformance::check(variant, &device) {
            Ok(rules) => {
                for rule in rules {
                    say(&format!("ok  {:<10} {rule}", variant.name()));
                }
            }
            Err(error) => {
                passed = false;
                say(&format!("MISS {error}"));
            }
        }
    }
    lerp_kernels::release_device(device);
    Ok(passed)
}
