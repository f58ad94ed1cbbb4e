//! The CUDA libraries, opened at the first call of one of their functions and not when the program starts.
//!
//! candle links against the CUDA libraries, and a program linked against them does not start on a machine without them,
//! not even to print an error. So every CUDA function that the program refers to is defined here (`symbols.rs`), as a
//! trampoline: a few instructions that jump to an address in a table. The address is null at first; the first call
//! opens the library, looks the function up and stores the address (`trampolines.rs`). The linker finds all functions
//! here and needs no library. `cargo xtask cuda-check` reports functions that are missing from the list.
//!
//! Without its library, a function returns an error code of that library. [`load`] reports beforehand which library is
//! missing.
//!
//! # When it can be deleted
//!
//! Two changes in candle, both needed, end the need for this loader:
//!
//! 1. candle-core takes cudarc with the feature `dynamic-loading` instead of `dynamic-linking`, or lets its users
//!    choose. Then cudarc opens each library itself at its first use. In 0.11.1 no other crate can choose that, because
//!    cudarc's build script refuses both features together.
//! 2. candle-kernels no longer links `libcudart` (`cargo:rustc-link-lib=dylib=cudart` in the build script of 0.11.1):
//!    it links `libcudart_static`, or makes the quantized and mixture-of-experts kernels optional, which alone need it
//!    and are not used here.
//!
//! Whether a newer candle has both is seen by `readelf -d` on a build without `trampolines.rs` and `symbols.rs`: it
//! must list no CUDA library as `NEEDED`. Then these two files are deleted, and [`load`] asks cudarc which library is
//! missing (`is_culib_present`) and still checks the driver's version.
//!
//! # Platforms
//!
//! On platforms other than Linux with glibc on x86-64 or 64-bit Arm, the libraries are linked in the usual way.
#![allow(unsafe_code)]

use std::ffi::c_int;

#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod symbols;
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod trampolines;
#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod trampolines {
    /// Does nothing: without the libraries the program would not have started.
    pub(super) fn open_all() -> Result<(), String> {
        Ok(())
    }
}

/// The CUDA toolkit's version at build time, such as `13.0`.
const VERSION: &str = env!("LERP_CUDA_VERSION");

unsafe extern "C" {
    fn cuDriverGetVersion(version: *mut c_int) -> c_int;
}

/// Opens all libraries that computations need, and checks the driver's version.
///
/// # Errors
/// A sentence without a full stop that names the first missing library, or the driver if it is too old for this build,
/// and says what to do.
pub fn load() -> Result<(), String> {
    trampolines::open_all()?;
    let mut version = 0;
    // SAFETY: the driver writes one number to a valid address.
    let code = unsafe { cuDriverGetVersion(&raw mut version) };
    if code == 0 {
        fits(version, VERSION)
    } else {
        Err(format!("the NVIDIA driver does not answer (error {code})"))
    }
}

/// Checks that a driver which supports CUDA up to `version` (13020 is 13.2) can run kernels built by a toolkit of
/// version `built`. The driver compiles the kernels for its GPU, and cannot read those of a newer toolkit.
fn fits(version: c_int, built: &str) -> Result<(), String> {
    let known = (version / 1000, version % 1000 / 10);
    let needed =
        built.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    if needed.is_some_and(|needed: (c_int, c_int)| known >= needed) {
        return Ok(());
    }
    Err(format!(
        "the NVIDIA driver is too old: it knows CUDA up to {}.{}, and this build is of CUDA {built}; install a newer \
         driver, or build with an older toolkit",
        known.0, known.1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_older_than_the_toolkit_is_refused() {
        assert!(fits(13000, "13.0").is_ok() && fits(13020, "12.9").is_ok());
        for (version, built, known) in [(12080, "13.0", "12.8"), (13000, "13.2", "13.0")] {
            let error = fits(version, built).unwrap_err();
            let said = format!("knows CUDA up to {known}, and this build is of CUDA {built}");
            assert!(error.contains(&said), "{error}");
        }
    }
}
