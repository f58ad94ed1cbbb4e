//! Safetensors files in a run's folder.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};

use crate::{
    Error, Result,
    digests::{self, AGAIN},
};

/// Serialises named tensors as the bytes of the file `name`.
pub(crate) fn pack(name: &str, tensors: Vec<(&str, Tensor)>) -> Result<Vec<u8>> {
    safetensors::serialize(tensors, None).map_err(|e| Error::encoding(name, &e))
}

/// A file of tensors that was read from a run's folder.
pub(crate) struct Tensors {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Tensors {
    /// Reads the file `name` of the run in `dir`. Returns `None` if there is no such file.
    pub fn read(dir: &Path, name: &str) -> Result<Option<Self>> {
        let Some(bytes) = digests::read(dir, name)? else { return Ok(None) };
        let path = dir.join(name);
        match candle_core::safetensors::load_buffer(&bytes, &Device::Cpu) {
            Ok(tensors) => Ok(Some(Self { path, tensors })),
            Err(e) => Err(Error::bad_file(&path, format!("is damaged ({e}); {AGAIN}"))),
        }
    }

    /// Returns the tensor `name` as `f32`, if there is one.
    pub fn find(&self, name: &str) -> Result<Option<Tensor>> {
        let tensor = self.tensors.get(name).map(|tensor| tensor.to_dtype(DType::F32)).transpose();
        tensor.map_err(|e| self.damaged(&format!("{name}: {e}")))
    }

    /// Returns the tensor `name` as `f32`; a missing one is an error.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        self.find(name)?.ok_or_else(|| self.damaged(&format!("it holds no '{name}'")))
    }

    /// Returns the error for a file whose tensors are invalid.
    pub fn damaged(&self, why: &str) -> Error {
        Error::bad_file(&self.path, format!("is damaged ({why}); {AGAIN}"))
    }
}
