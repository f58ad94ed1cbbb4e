//! With the feature `cuda`, compiles the CUDA kernels to PTX and passes the toolkit's version to the crate.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cuda::build();
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::{env, path::PathBuf, process::Command};

    use cudaforge::KernelBuilder;

    pub fn build() {
        println!("cargo::rerun-if-changed=src/cuda/kernels.cu");
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        // Multiply and add are not contracted, so that the arithmetic equals the CPU's.
        let kernels = KernelBuilder::new()
            .source_files(["src/cuda/kernels.cu"])
            .arg("-std=c++17")
            .arg("-O3")
            .arg("--fmad=false")
            .build_ptx()
            .expect("nvcc compiles src/cuda/kernels.cu");
        kernels.write(out.join("ptx.rs")).expect("OUT_DIR can be written");
        let version = version();
        println!("cargo::rustc-env=LERP_CUDA_VERSION={version}");
        println!("cargo::rustc-env=LERP_CUDA_MAJOR={}", version.split('.').next().unwrap_or_default());
    }

    /// Returns the toolkit's version, such as `13.0`. The libraries' file names contain its major part, and drivers
    /// older than the toolkit cannot load its kernels.
    fn version() -> String {
        let roots = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"].map(env::var_os);
        let named = roots.into_iter().flatten().map(|root| PathBuf::from(root).join("bin/nvcc"));
        let nvcc = named.chain(["nvcc".into(), "/usr/local/cuda/bin/nvcc".into()]);
        let version = nvcc.filter_map(|nvcc| Command::new(nvcc).arg("--version").output().ok());
        let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).next();
        let release = text.as_deref().and_then(|text| text.split("release ").nth(1)?.split(',').next());
        release.expect("nvcc tells its version").to_owned()
    }
}
