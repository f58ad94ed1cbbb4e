//! `lerp import`: weights of a variant of ours that were trained, or trained on, elsewhere.

use std::path::Path;

use anyhow::{Context, Result, bail};
use lerp_train::{Cell, Elsewhere, Origin, Parts, RunRecord, is_there, write_run};
use serde_json::Value;

use crate::{
    cli::ImportArgs,
    device,
    export::MODEL_FORMAT,
    plan::{Overrides, Plan},
    provenance::provenance,
    registry::Registry,
    report_and_show,
    say::{say, warn},
    score::{check_name, tell},
    shelf::Shelf,
    sweep::{Folder, command_line, stop_flag},
};

/// The names of a model's files.
const MODEL: &str = "model.safetensors";
const CONFIG: &str = "config.json";

/// Most bytes of these.
const MOST_MODEL: u64 = 1 << 34;
const MOST_CONFIG: u64 = 1 << 20;

/// Runs the verb; false if something of the report is left out.
///
/// # Errors
/// If the file is no model of the variant, or the folder will not do; nothing is written then.
pub fn import(registry: &Registry, args: &ImportArgs) -> Result<bool> {
    let path = if args.model.is_dir() { args.model.join(MODEL) } else { args.model.clone() };
    let model = lerp_files::read(&path, MOST_MODEL)?;
    let shelf = Shelf::new(registry, args.data.as_deref());
    let config = path.with_file_name(CONFIG);
    let cell =
        if config.exists() { described(args, &config)? } else { by_arguments(registry, &shelf, args)? };
    let variant = registry.find(&cell.variant)?;
    let hyper = variant.check(&cell.hyper)?;
    let name = check_name(args.name.as_deref().unwrap_or(variant.title()))?;
    let origin = Origin::Imported { variant: cell.variant.clone() };
    let cell = Cell { variant: origin.variant(name), origin, hyper, ..cell };
    let folder = Folder::check(&args.out, None)?;
    let device_name = args.device.names()?.remove(0);
    let images = shelf.images(&cell.dataset)?;
    let threads = rayon::current_num_threads();
    let made = provenance((&device_name, cell.precision), threads, images, command_line());
    let title = format!("{name}{}", cell.origin.mark());
    let elsewhere = Elsewhere { digest: lerp_files::digest(&model), ..Elsewhere::default() };
    let record = RunRecord { elsewhere: Some(elsewhere), ..RunRecord::new(cell, &title, made) };
    let dir = folder.runs().join(&record.id);
    if is_there(&dir, &record)? {
        say(&format!("Nothing to do: this model is in {} already.", dir.display()));
        return Ok(true);
    }
    let parts = Parts {
        variant,
        dataset: &*shelf.get(&record.cell.dataset)?,
        device: &device::open(&device_name, record.cell.precision)?,
        metrics: registry.metrics(),
    };
    let stop = stop_flag()?;
    let imported = lerp_train::import(&record, &parts, (&path, &model), &stop)?;
    folder.notice.iter().for_each(|sentence| warn(sentence));
    folder.create()?;
    let ids = std::slice::from_ref(&record.id);
    folder.record(false, "models that were trained elsewhere", &command_line(), &[], ids)?;
    write_run(&dir, &imported.record, &imported.evaluation, Some(imported.model))?;
    tell(&imported.record, &imported.evaluation);
    say(&format!("Run: {}", dir.display()));
    let whole = report_and_show(&args.out)?;
    say(&format!("Tables, figures and the page: {}", args.out.join("index.html").display()));
    Ok(whole)
}

/// The cell of the model that `config` describes.
fn described(args: &ImportArgs, config: &Path) -> Result<Cell> {
    if args.latent.is_some() || args.depth.is_some() || !args.set.is_empty() {
        bail!("--latent, --depth and --set: {} says what the model is; leave them out", config.display());
    }
    let bad = |problem: String| anyhow::anyhow!("{} {problem}", config.display());
    let text = lerp_files::read_to_string(config, MOST_CONFIG)?;
    let value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("is not JSON ({e})")))?;
    let format = value.get("format").and_then(Value::as_str);
    if format != Some(MODEL_FORMAT) {
        return Err(bad(format!("does not describe a model of ours (its format is not '{MODEL_FORMAT}')")));
    }
    let cell = value.get("cell").cloned().unwrap_or_default();
    let mut cell: Cell = serde_json::from_value(cell).map_err(|e| bad(format!("describes no cell ({e})")))?;
    if let Some(variant) = args.variant.as_ref().filter(|variant| **variant != cell.variant) {
        bail!("--variant {variant}: {} says that it is {}", config.display(), cell.variant);
    }
    cell.seed = args.seed.unwrap_or(cell.seed);
    if let Some(dataset) = &args.dataset {
        cell.dataset.clone_from(dataset);
    }
    Ok(cell)
}

/// The cell of a model without a description: the protocol's, but for what the arguments say. Nothing is known of its training.
fn by_arguments(registry: &Registry, shelf: &Shelf, args: &ImportArgs) -> Result<Cell> {
    let (Some(variant), Some(dataset)) = (&args.variant, &args.dataset) else {
        bail!(
            "there is no {CONFIG} beside {}; say with --variant and --dataset what it is",
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
    let cell = plan.cells(registry, shelf)?.pop().context("there is no such cell")?;
    Ok(Cell { samples: 0, batch: 0, learning_rate: 0.0, eval_every: 0, checkpoint_every: 0, ..cell })
}
