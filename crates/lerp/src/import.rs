//! `lerp import`: imports weights of a known variant that were trained or fine-tuned in other software.

use std::path::Path;

use anyhow::{Context, Result, bail};
use lerp_data::is_own;
use lerp_export::MODEL_FORMAT;
use lerp_train::{Cell, ExternalModel, ImportedModel, ModelFile, Origin, RunInputs, RunRecord, contains_run};
use serde_json::Value;

use crate::{
    cli::ImportArgs,
    dataset_cache::{DatasetCache, with_recorded_option},
    device,
    plan::{Overrides, Plan},
    process::{command_line, stop_flag},
    provenance::{Placement, provenance},
    registry::Registry,
    say::{say, warn},
    score::{Measured, Publisher, check_name},
    sweep::judge_of,
};

/// File name of a model's tensors.
const MODEL: &str = "model.safetensors";
/// File name of a model's description.
const CONFIG: &str = "config.json";

/// Largest accepted size of the tensors' file, bytes.
const MAX_MODEL_BYTES: u64 = 1 << 34;
/// Largest accepted size of the description, bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Runs `lerp import`. Returns `false` if a part of the report was left out.
///
/// # Errors
/// If the file is not a model of the variant, or the output folder is unsuitable; in both cases nothing is written.
pub fn import(registry: &Registry, args: &ImportArgs) -> Result<bool> {
    let path = if args.model.is_dir() { args.model.join(MODEL) } else { args.model.clone() };
    let model = lerp_files::read(&path, MAX_MODEL_BYTES)?;
    let datasets = DatasetCache::new(registry, args.data.as_deref());
    let config = path.with_file_name(CONFIG);
    let cell =
        if config.exists() { described(args, &config)? } else { by_arguments(registry, &datasets, args)? };
    let variant = registry.find(&cell.variant)?;
    let hyper = variant.check(&cell.hyper)?;
    let name = check_name(args.name.as_deref().unwrap_or(variant.title()))?;
    let origin = Origin::Imported { variant: cell.variant.clone() };
    let cell = Cell { variant: origin.variant(name), origin, hyper, ..cell };
    let publisher = Publisher::check(&args.out)?;
    let device_name = args.device.names()?.remove(0);
    let images = datasets.images(&cell.dataset)?;
    let placement =
        Placement { device: &device_name, precision: cell.precision, threads: rayon::current_num_threads() };
    let provenance = provenance(placement, images, command_line());
    let title = format!("{name}{}", cell.origin.mark());
    let elsewhere = ExternalModel { digest: lerp_files::digest(&model), ..ExternalModel::default() };
    let record = RunRecord { elsewhere: Some(elsewhere), ..RunRecord::new(cell, &title, provenance) };
    if contains_run(&publisher.runs, &record)? {
        say(&format!("Nothing to do: this model is already in {}.", args.out.display()));
        return Ok(true);
    }
    let dataset = datasets.get(&record.cell.dataset)?;
    let judge = judge_of(&args.out, &*dataset, &record);
    let inputs = RunInputs {
        variant,
        dataset: &*dataset,
        device: &device::open(&device_name, record.cell.precision)?,
        metrics: registry.metrics(),
        judge: judge.as_ref(),
    };
    let stop = stop_flag()?;
    let imported = lerp_train::import(&record, &inputs, ModelFile { path: &path, bytes: &model }, &stop)?;
    let ImportedModel { record, evaluation, model } = imported;
    publisher.publish(vec![Measured { record: &record, evaluation: &evaluation, model: Some(model) }])
}

/// Returns the cell that a model's `config.json` describes, with the seed and dataset from the arguments if given.
fn described(args: &ImportArgs, config: &Path) -> Result<Cell> {
    if args.latent.is_some() || args.depth.is_some() || !args.set.is_empty() {
        bail!("leave out --latent, --depth and --set, because {} describes the model", config.display());
    }
    let bad = |problem: String| anyhow::anyhow!("{} {problem}", config.display());
    let text = lerp_files::read_to_string(config, MAX_CONFIG_BYTES)?;
    let value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("is not JSON ({e})")))?;
    let format = value.get("format").and_then(Value::as_str);
    if format != Some(MODEL_FORMAT) {
        return Err(bad(format!("was not written by `lerp export` (its format is not '{MODEL_FORMAT}')")));
    }
    let cell = value.get("cell").cloned().unwrap_or_default();
    let mut cell: Cell =
        serde_json::from_value(cell).map_err(|e| bad(format!("has no valid description of a cell ({e})")))?;
    if let Some(variant) = args.variant.as_ref().filter(|variant| **variant != cell.variant) {
        bail!("--variant {variant}: {} says that the variant is {}", config.display(), cell.variant);
    }
    cell.seed = args.seed.unwrap_or(cell.seed);
    if let Some(dataset) = &args.dataset {
        let now = with_recorded_option(dataset, &cell.dataset);
        if now != cell.dataset && !is_own(&now) {
            warn(&format!(
                "{} says that the model was trained on {}; it is measured on {now}",
                config.display(),
                cell.dataset
            ));
        }
        cell.dataset = now;
    }
    Ok(cell)
}

/// Returns the cell of a model without a description: the paper's protocol, changed by the arguments. The settings of
/// its training are unknown and set to zero.
fn by_arguments(registry: &Registry, datasets: &DatasetCache, args: &ImportArgs) -> Result<Cell> {
    let (Some(variant), Some(dataset)) = (&args.variant, &args.dataset) else {
        if args.model.join("run.toml").exists() {
            bail!("{0} is a run; export its model first: lerp export {0} --to models", args.model.display());
        }
        bail!(
            "there is no {CONFIG} beside {}; describe the model with --variant and --dataset",
            args.model.display()
        );
    };
    let mut plan = Plan::preset("lines")?;
    plan.apply(&Overrides {
        variants: Some(vec![variant.clone()]),
        datasets: Some(vec![dataset.clone()]),
        seeds: Some(args.seed.unwrap_or(0).to_string()),
        latent: args.latent.map(|latent| vec![latent]),
        depth: args.depth,
        set: args.set.clone(),
        ..Overrides::default()
    })?;
    let cell = plan.cells(registry, datasets)?.pop().context("there is no such cell")?;
    Ok(Cell { samples: 0, batch: 0, learning_rate: 0.0, eval_every: 0, checkpoint_every: 0, ..cell })
}
