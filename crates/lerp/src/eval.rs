//! `lerp eval`: evaluates the model of a finished run again.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use anyhow::{Context, Result, bail};
use lerp_data::is_own;
use lerp_train::{
    DatasetIdentity, JUDGE_SAMPLES, Judge, Origin, Run, RunInputs, RunLock, SWEEP_RECORD, State,
};

use crate::{
    cli::EvalArgs,
    dataset_cache::{DatasetCache, with_recorded_option},
    device,
    plan::{check_judge, check_restarts},
    registry::Registry,
    say::{note, say, warn},
    sweep::{DatasetNames, train_judge},
};

/// Runs `lerp eval`. Always returns `true`.
///
/// # Errors
/// If the run has no model, an argument is unsuitable, or the images cannot be read; nothing is written in these cases.
pub fn eval(registry: &Registry, args: &EvalArgs) -> Result<bool> {
    let run = finished_run(&args.dir)?;
    let cell = &run.record.cell;
    check_restarts(args.cluster_restarts)?;
    check_judge(args.judge)?;
    let lock = args.write.then(|| RunLock::take(&args.dir)).transpose()?;
    let datasets = DatasetCache::new(registry, args.data.as_deref());
    let present = args
        .dataset
        .as_deref()
        .map_or_else(|| cell.dataset.clone(), |now| with_recorded_option(now, &cell.dataset));
    let digest = datasets.digest(&present).map_err(|error| match args.dataset {
        None if is_own(&cell.dataset) => {
            anyhow::anyhow!("{error:#}; if they are elsewhere now, give their path with --dataset")
        }
        _ => error,
    })?;
    if run.record.provenance.data != digest {
        if args.write {
            bail!(
                "the images of {present} here are not those that {} was trained on; leave out --write, or give the path of the \
                 run's images with --data or --dataset",
                args.dir.display()
            );
        }
        warn(&format!("the images of {present} here are not those that the run was trained on"));
    }
    let name = DatasetNames { present: &present, recorded: &cell.dataset };
    let judge = judge(args, &datasets, name, digest.as_deref())?;
    let inputs = RunInputs {
        variant: registry.find(cell.builder())?,
        dataset: &*datasets.get(&present)?,
        device: &device::open(&args.device.names()?.remove(0), cell.precision)?,
        metrics: registry.metrics(),
        judge: judge.as_ref(),
    };
    let evaluation = lerp_train::measure(&run, &inputs, args.cluster_restarts, &AtomicBool::new(false))?;
    if let Some(lock) = &lock {
        let files = evaluation.write(&run, lock)?;
        // On standard error, because a program may read standard output.
        note(&format!("written again in {}: {}", args.dir.display(), files.join(", ")));
    }
    let values = evaluation.metrics;
    if args.json {
        say(&serde_json::to_string(
            &values.into_iter().map(|(name, value)| (name, value.into())).collect::<serde_json::Map<_, _>>(),
        )?);
    } else {
        for (name, value) in &values {
            say(&format!("{name:<30} {value}"));
        }
    }
    Ok(true)
}

/// Reads a run and checks that it is complete and has a model.
fn finished_run(dir: &Path) -> Result<Run> {
    let shown = dir.display();
    if dir.join(SWEEP_RECORD).exists() {
        bail!("{shown} is a sweep; give one of the folders in its subfolder runs");
    }
    let run = Run::read(dir)?;
    if run.status.state != State::Done {
        bail!("{shown} is not finished; train it first");
    }
    if run.record.cell.origin == Origin::Scored {
        bail!("{shown} has no model: it was scored by its answers to a task; score these again");
    }
    Ok(run)
}

/// Returns the folder of the sweep that a run belongs to, if there is one.
fn sweep_of(run: &Path) -> Result<Option<PathBuf>> {
    let run = run.canonicalize().with_context(|| format!("cannot read {}", run.display()))?;
    // A run's folder is SWEEP/runs/CELL.
    let runs = run.parent().filter(|runs| runs.file_name().is_some_and(|name| name == "runs"));
    let sweep = runs.and_then(Path::parent).filter(|sweep| sweep.join(SWEEP_RECORD).exists());
    Ok(sweep.map(PathBuf::from))
}

/// Returns the judge that measures the run: the judge of its sweep, or a newly trained one. Returns `None` if no judge
/// is asked for or the dataset has too few images for one. `digest` is that of the images.
fn judge(
    args: &EvalArgs,
    datasets: &DatasetCache,
    name: DatasetNames,
    digest: Option<&str>,
) -> Result<Option<Judge>> {
    let dataset = datasets.get(name.present)?;
    let sweep = sweep_of(&args.dir)?;
    if args.judge != Some(0)
        && let Some(sweep) = &sweep
        && let Some(judge) =
            Judge::find(sweep, &*dataset, DatasetIdentity { name: name.recorded, digest }, args.judge)?
    {
        return Ok(Some(judge));
    }
    let is_unwanted = args.judge == Some(0) || (args.judge.is_none() && !args.write);
    if is_unwanted || !Judge::has_enough_images(&*dataset)? {
        return Ok(None);
    }
    let samples = args.judge.unwrap_or(JUDGE_SAMPLES);
    let judge = train_judge(datasets, name, samples, &AtomicBool::new(false))?;
    if let (Some(judge), Some(sweep), true) = (&judge, &sweep, args.write) {
        judge.save(sweep)?;
    }
    Ok(judge)
}
