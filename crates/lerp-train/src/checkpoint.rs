//! Checkpoints: parameters, buffers, Adam's moments and the step, in one safetensors file.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor, Var, safetensors::load_buffer};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{Cell, Error, Learner, Result, write_atomic};

const FORMAT: &str = "lerp checkpoint 1";

/// The one entry of a file's metadata: the library writes several in random order, and equal runs give equal files.
const KEY: &str = "lerp";

/// What a checkpoint says about itself.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    cell: String,
    step: u64,
    wall_s: f64,
}

/// Writes the learner's whole state. Nothing random is in it: draws depend on seed and step alone.
///
/// # Errors
/// If a parameter is not finite (the last good checkpoint is kept), or the file cannot be written.
pub(crate) fn save(path: &Path, cell: &Cell, learner: &Learner, wall_s: f64) -> Result<()> {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (name, var) in learner.entries() {
        let sum = var
            .as_tensor()
            .detach()
            .abs()?
            .sum_all()?
            .to_dtype(candle_core::DType::F64)?
            .to_scalar::<f64>()?;
        if !sum.is_finite() {
            let (step, samples) = (learner.step(), cell.samples_at(learner.step()));
            return Err(Error::NotFinite { loss: format!("parameter {name}"), value: sum, step, samples });
        }
        tensors.push((name.to_owned(), var.as_tensor().clone()));
    }
    for trained in learner.trained() {
        tensors.push((format!("adam.m.{}", trained.name), trained.m.as_tensor().clone()));
        tensors.push((format!("adam.v.{}", trained.name), trained.v.as_tensor().clone()));
    }
    let header = Header { format: FORMAT.into(), cell: cell.id(), step: learner.step(), wall_s };
    write(path, tensors, &header)
}

/// Writes the parameters and buffers alone, for use elsewhere.
pub(crate) fn save_model(path: &Path, cell: &Cell, learner: &Learner) -> Result<()> {
    let tensors = learner.entries().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
    write(path, tensors, cell)
}

fn write(path: &Path, tensors: Vec<(String, Tensor)>, header: &impl Serialize) -> Result<()> {
    let broken = |e: String| Error::bad_file(path, format!("cannot be made: {e}"));
    let header = serde_json::to_string(header).map_err(|e| broken(e.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| broken(e.to_string()))?;
    write_atomic(path, &bytes)
}

/// Reads a checkpoint into the learner and returns the seconds that it took until then.
///
/// # Errors
/// If the file is cut short or damaged, belongs to another cell, or does not fit the model; nothing is changed then.
pub(crate) fn restore(path: &Path, cell: &Cell, learner: &mut Learner) -> Result<f64> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let damaged = |e: &str| {
        Error::bad_file(
            path,
            format!("is cut short or damaged ({e}); delete it to train this cell from the start"),
        )
    };
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e.to_string()))?;
    let header = metadata.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(|| damaged("no header"))?;
    let header: Header = serde_json::from_str(header).map_err(|e| damaged(&e.to_string()))?;
    if header.format != FORMAT {
        return Err(damaged("another format"));
    }
    if header.cell != cell.id() {
        return Err(Error::bad_file(
            path,
            format!("belongs to {}, not to {}; delete it, or choose another folder", header.cell, cell.id()),
        ));
    }
    let moments = learner.trained().iter().flat_map(|t| {
        [(format!("adam.m.{}", t.name), t.m.clone()), (format!("adam.v.{}", t.name), t.v.clone())]
    });
    let vars = learner.entries().map(|(n, v)| (n.to_owned(), v.clone())).chain(moments);
    fill(vars, &bytes, damaged)?;
    learner.set_step(header.step);
    Ok(header.wall_s)
}

/// Reads parameters and buffers that [`save_model`] wrote into the learner of the same cell, which is then at the end of
/// its run, without the moments to train on.
///
/// # Errors
/// If the file is not there, cut short or damaged, or does not fit the model; nothing is changed then.
pub(crate) fn restore_model(path: &Path, cell: &Cell, learner: &mut Learner) -> Result<()> {
    let bytes = std::fs::read(path).map_err(Error::file("read", path))?;
    let damaged =
        |e: &str| Error::bad_file(path, format!("is cut short or damaged, or of another model ({e})"));
    fill(learner.entries().map(|(n, v)| (n.to_owned(), v.clone())), &bytes, damaged)?;
    learner.set_step(cell.steps());
    Ok(())
}

/// Sets `vars` to the tensors of their names in a safetensors file; all or none.
fn fill(
    vars: impl Iterator<Item = (String, Var)>,
    bytes: &[u8],
    damaged: impl Fn(&str) -> Error,
) -> Result<()> {
    let tensors = load_buffer(bytes, &Device::Cpu).map_err(|e| damaged(&e.to_string()))?;
    let mut changes = Vec::new();
    for (name, var) in vars {
        let tensor = tensors.get(&name).ok_or_else(|| damaged(&format!("{name} is missing")))?;
        if tensor.dims() != var.dims() || tensor.dtype() != var.dtype() {
            return Err(damaged(&format!("{name} is {:?}, wanted {:?}", tensor.dims(), var.dims())));
        }
        changes.push((var, tensor));
    }
    for (var, tensor) in changes {
        var.set(&tensor.to_device(var.device())?)?;
    }
    Ok(())
}
