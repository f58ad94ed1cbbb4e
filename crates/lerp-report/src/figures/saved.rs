//! What runs have saved for figures, and which runs a figure is of.

use std::{collections::HashMap, path::PathBuf};

use candle_core::{DType, Device, Tensor};
use lerp_train::{Run, State};

use crate::{
    Error, Result,
    summary::{Group, Loaded},
    text::thousands,
};

/// Interpolations to look at.
pub const INTERPOLATION: &str = "interpolation.safetensors";
/// The interpolations of the last evaluation, in numbers.
pub const PATHS: &str = "paths.safetensors";
/// Decoded draws from the prior.
pub const SAMPLES: &str = "samples.safetensors";

/// The tensors of one file of a run.
pub struct Saved {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Saved {
    /// Those of `file`; none if the run has not written it, as runs of older versions.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read(run: &Run, file: &str) -> Result<Option<Self>> {
        let path = run.dir.join(file);
        if !path.exists() {
            return Ok(None);
        }
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).map_err(|e| {
            Error::bad_file(&path, format!("is damaged ({e}); delete its run to redo it"))
        })?;
        Ok(Some(Self { path, tensors }))
    }

    /// What is wrong with the file.
    pub fn bad(&self, problem: &str) -> Error {
        Error::bad_file(&self.path, format!("{problem}; delete its run to redo it"))
    }

    /// A tensor that may be missing.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// A tensor that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.find(name).ok_or_else(|| self.bad(&format!("holds no '{name}'")))
    }

    /// All values of a tensor of any type, in order.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn values(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let read = || tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        read().map_err(|e: candle_core::Error| self.bad(&format!("cannot be read ({e})")))
    }

    /// The rows of a table: one for each interpolation, with at least two positions; none if it is missing.
    ///
    /// # Errors
    /// If it is no such table.
    pub fn rows(&self, name: &str) -> Result<Option<Vec<Vec<f64>>>> {
        let Some(tensor) = self.find(name) else { return Ok(None) };
        let &[_, positions] = tensor.dims() else {
            return Err(self.bad(&format!("has a '{name}' that is no table")));
        };
        if positions < 2 {
            return Err(self.bad(&format!("has a '{name}' of fewer than two positions")));
        }
        let values = self.values(tensor)?;
        Ok(Some(values.chunks(positions).map(|row| row.iter().copied().map(f64::from).collect()).collect()))
    }
}

/// The runs of a configuration: finished ones rather than others, by seed.
pub fn preferred(group: &Group) -> impl Iterator<Item = &Loaded> {
    group.done().chain(group.runs.iter().filter(|loaded| loaded.run.status.state != State::Done))
}

/// A sentence about those of the runs shown that are not finished, with a space before it; empty if all are.
pub fn unfinished(shown: &[(&Group, &Loaded)]) -> String {
    let early: Vec<String> = shown
        .iter()
        .filter(|(_, loaded)| loaded.run.status.state != State::Done)
        .map(|(group, loaded)| format!("{} ({} samples)", group.label, thousands(loaded.run.status.samples)))
        .collect();
    if early.is_empty() { String::new() } else { format!(" Not finished: {}.", early.join(", ")) }
}
