//! `lerp train`: trains one cell in this process.

use anyhow::{Result, bail};
use lerp_train::{Error, Progress, RunInputs, TrainOutcome, runs_in};

use super::{
    PlannedRun, RecordContents, STOPPED, Survey, SweepContext, SweepFolder, display::Display, judges,
};
use crate::{
    cli::TrainArgs,
    dataset_cache::DatasetCache,
    device,
    plan::Overrides,
    process::{command_line, stop_flag},
    registry::Registry,
    say::{say, warn},
};

/// Runs `lerp train`: trains one cell in this process. Returns whether the cell is done.
///
/// # Errors
/// The errors of [`super::sweep`], or if the plan has several cells or the run cannot begin.
pub fn train(registry: &Registry, args: &TrainArgs) -> Result<bool> {
    let overrides = Overrides {
        variants: Some(vec![args.variant.clone()]),
        seeds: Some(args.seed.to_string()),
        ..Overrides::default()
    };
    let (plan, out) = super::plan(registry, &args.plan, overrides, "quick")?;
    let datasets = DatasetCache::new(registry, args.plan.data.as_deref());
    let cells = plan.cells(registry, &datasets)?;
    if cells.len() != 1 {
        bail!("these options describe {} cells, and `lerp train` trains one; use `lerp sweep`", cells.len());
    }
    let device_name = args.plan.device.names()?.remove(0);
    let folder = SweepFolder::check(&out, args.plan.config.as_deref())?;
    folder.create()?;
    let context =
        SweepContext { registry, datasets: &datasets, command: command_line(), log_suffix: String::new() };
    let threads = rayon::current_num_threads();
    let survey = Survey::new(&context, &cells, &runs_in(&out)?, &device_name, threads)?;
    if let Some(blocked) = survey.blocked.first() {
        bail!("{}", blocked.reason);
    }
    folder.notice.iter().for_each(|sentence| warn(sentence));
    let PlannedRun { record, dataset, .. } = &survey.all[0];
    let (id, dir) = (&record.id, folder.runs().join(&record.id));
    let devices = std::slice::from_ref(&device_name);
    folder.write_record_if_missing(&RecordContents {
        about: &plan.about,
        command: &context.command,
        devices,
        cells: std::slice::from_ref(id),
    })?;
    let stop = stop_flag()?;
    let missing_judges = judges::missing(&datasets, &out, &survey.missing, plan.judge());
    if !judges::train_all(&datasets, &out, &missing_judges, &stop) {
        say(STOPPED);
        return Ok(false);
    }
    let judged = !survey.missing.is_empty() && plan.is_judged();
    let judge = if judged { judges::find(&out, &*datasets.get(dataset)?, record) } else { None };
    let mut display = Display::new(std::iter::once((id.clone(), record.cell.samples)), &[1.0]);
    display.started(0);
    let mut begun = false;
    let inputs = RunInputs {
        variant: registry.find(&record.cell.variant)?,
        dataset: &*datasets.get(dataset)?,
        device: &device::open(&device_name, record.cell.precision)?,
        metrics: registry.metrics(),
        judge: judge.as_ref(),
    };
    let outcome = lerp_train::train(record, &inputs, &dir, &stop, &mut |progress: &Progress| {
        begun = true;
        display.progress(0, progress);
    });
    match &outcome {
        Ok(TrainOutcome::Done) => display.done(0),
        Ok(TrainOutcome::Interrupted) => display.interrupted(0),
        // An error before the run began is bad input, not a failure of the run.
        Err(error @ (Error::Busy { .. } | Error::BadFile { .. } | Error::File(_))) if !begun => {
            display.finish();
            bail!("{error}");
        }
        Err(error) => display.failed(0, &error.to_string()),
    }
    display.finish();
    say(&format!("Run: {}", dir.display()));
    Ok(matches!(outcome, Ok(TrainOutcome::Done)))
}
