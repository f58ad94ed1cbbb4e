//! Checkpoints: parameters, buffers, Adam's moments, the moving average of weights if there is one, and the step,
//! in one safetensors file.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor, Var, safetensors::load_buffer};
use lerp_core::{on_host, scalar};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{
    Cell, Error, Learner, ModelFile, Result, digests,
    files::{CHECKPOINT, MODEL},
};

const FORMAT: &str = "lerp checkpoint 1";

/// The key of the only entry of a file's metadata. The library writes several entries in random order, and equal
/// runs must give equal files.
const KEY: &str = "lerp";

/// The header of a checkpoint.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    cell: String,
    step: u64,
    wall_s: f64,
}

/// Serialises the whole state of a learner. It contains no random state, because draws depend on seed and step
/// alone.
///
/// # Errors
/// If a parameter is not finite; the last good checkpoint is to be kept then.
pub(crate) fn save(id: &str, cell: &Cell, learner: &Learner, wall_s: f64) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (name, var) in learner.entries() {
        let sum = scalar(&var.as_tensor().detach().abs()?.sum_all()?)?;
        if !sum.is_finite() {
            let step = learner.step();
            let samples = step * cell.batch as u64;
            return Err(Error::NotFinite { loss: format!("parameter {name}"), value: sum, step, samples });
        }
        tensors.push((name.to_owned(), var.as_tensor().clone()));
    }
    tensors.extend(learner.optimizer_state().map(|(name, var)| (name, var.as_tensor().clone())));
    let header = Header { format: FORMAT.into(), cell: id.to_owned(), step: learner.step(), wall_s };
    pack(CHECKPOINT, tensors, &header)
}

/// Serialises the parameters and buffers alone, for use elsewhere.
pub(crate) fn save_model(cell: &Cell, learner: &Learner) -> Result<Vec<u8>> {
    let tensors = learner.entries().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
    pack(MODEL, tensors, cell)
}

fn pack(name: &str, tensors: Vec<(String, Tensor)>, header: &impl Serialize) -> Result<Vec<u8>> {
    let header = serde_json::to_string(header).map_err(|e| Error::encoding(name, &e))?;
    let metadata = HashMap::from([(KEY.to_owned(), header)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|e| Error::encoding(name, &e))
}

/// Reads the checkpoint of the run `id` in `dir` into the learner. Returns the seconds of training and evaluation
/// before the checkpoint, or `None` if there is no checkpoint.
///
/// # Errors
/// If the file is cut short or damaged, belongs to another cell, or does not fit the model; the learner is
/// unchanged then.
pub(crate) fn restore(dir: &Path, id: &str, learner: &mut Learner) -> Result<Option<f64>> {
    let Some(bytes) = digests::read(dir, CHECKPOINT)? else { return Ok(None) };
    let path = &dir.join(CHECKPOINT);
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
    if header.cell != id {
        return Err(Error::bad_file(
            path,
            format!("belongs to {}, not to {id}; delete it, or choose another folder", header.cell),
        ));
    }
    let state = learner.optimizer_state().map(|(name, var)| (name, var.clone()));
    let vars = learner.entries().map(|(n, v)| (n.to_owned(), v.clone())).chain(state);
    fill(vars, &bytes, damaged)?;
    learner.set_step(header.step);
    Ok(Some(header.wall_s))
}

/// Reads the parameters and buffers that [`save_model`] wrote, from the folder of a run into the learner of the
/// same cell. The learner is then at the end of its run, but has no moments to continue training with.
///
/// # Errors
/// If the file is missing, cut short or damaged, or does not fit the model; the learner is unchanged then.
pub(crate) fn restore_model(dir: &Path, cell: &Cell, learner: &mut Learner) -> Result<()> {
    let path = &dir.join(MODEL);
    let missing =
        || Error::bad_file(path, "is missing, so the run cannot be measured; delete its folder to redo it");
    let bytes = digests::read(dir, MODEL)?.ok_or_else(missing)?;
    let damaged =
        |e: &str| Error::bad_file(path, format!("is cut short or damaged, or of another model ({e})"));
    fill(learner.entries().map(|(n, v)| (n.to_owned(), v.clone())), &bytes, damaged)?;
    learner.set_step(cell.steps());
    learner.drop_average();
    Ok(())
}

/// Reads parameters and buffers from a file that other software wrote into the learner of a cell of the same
/// model. The learner is then at the end of that cell's run.
///
/// # Errors
/// If the file is no safetensors file or does not fit the model (the learner is unchanged then), or if a number in
/// it is not finite.
pub(crate) fn import_model(file: ModelFile, cell: &Cell, learner: &mut Learner) -> Result<()> {
    let ModelFile { path, bytes } = file;
    let unfit = |e: &str| {
        Error::bad_file(
            path,
            format!(
                "is not a model of {} on {} of this size ({e}); kernels are [height, width, in, out] and dense weights \
                 [in, out], as `save` of lerp_torch.py writes them",
                cell.builder(),
                cell.dataset
            ),
        )
    };
    SafeTensors::deserialize(bytes).map_err(|e| {
        Error::bad_file(
            path,
            format!("is no safetensors file, or cut short or damaged ({e}); write it again"),
        )
    })?;
    fill(learner.entries().map(|(n, v)| (n.to_owned(), v.clone())), bytes, unfit)?;
    for (name, var) in learner.entries() {
        // In `f64` a sum of finite `f32` numbers does not overflow.
        if !scalar(&on_host(&var.as_tensor().detach())?.abs()?.sum_all()?)?.is_finite() {
            return Err(Error::bad_file(path, format!("holds numbers that are not finite, in {name}")));
        }
    }
    learner.set_step(cell.steps());
    learner.drop_average();
    Ok(())
}

/// Sets `vars` to the tensors with their names in a safetensors file; all of them or none.
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
