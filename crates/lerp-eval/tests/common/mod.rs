//! Recorded values: small copies in `tests/data`, or the full files of the folder that `LERP_GOLDEN` names.

use std::{collections::HashMap, env, path::PathBuf};

use candle_core::{Device, Tensor, safetensors};

pub type Tensors = HashMap<String, Tensor>;

pub fn load(file: &str) -> Tensors {
    let small = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let folder = env::var_os("LERP_GOLDEN").map_or_else(small, PathBuf::from);
    safetensors::load(folder.join(file), &Device::Cpu).unwrap()
}
