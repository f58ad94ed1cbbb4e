//! `lerp sweep --dry-run`: prints what a sweep would do without training anything.

use anyhow::Result;
use lerp_files::duration;
use lerp_report::text::count;
use lerp_train::runs_in;

use super::{
    Machine, Packing, PackingOptions, PlannedSweep, Survey, SweepContext, estimate,
    estimate::TrainingConditions, judges,
};
use crate::{
    cli::{Jobs, SweepArgs},
    plan::Plan,
    say::{say, warn},
};

/// Prints the state of every cell of a plan: whether it is done, or else its expected training time and device. Writes
/// nothing into the folder of the sweep. Returns `false` if a run that cannot be read blocks a cell.
///
/// # Errors
/// If images or the folder cannot be read.
pub fn run(
    context: &SweepContext,
    plan: &Plan,
    sweep: &PlannedSweep,
    machine: Machine,
    args: &SweepArgs,
) -> Result<bool> {
    let PlannedSweep { cells, out, devices } = sweep;
    let Survey { all, missing, blocked, warnings, .. } =
        Survey::new(context, cells, &runs_in(out)?, &devices[0], machine.threads)?;
    for sentence in &warnings {
        warn(sentence);
    }
    let options = PackingOptions { jobs: args.jobs, pack: args.pack };
    let packing = Packing::guessed(missing.len(), machine, options);
    let conditions = TrainingConditions {
        device: &devices[0],
        concurrency: packing.on_each(devices),
        judged: plan.is_judged(),
    };
    let estimate = estimate::estimate(context.registry, context.datasets, &missing, conditions);
    for sentence in &estimate.failures {
        warn(sentence);
    }
    let one_of = devices.join(" or ");
    let width = all.iter().map(|run| run.record.id.len()).max().unwrap_or(0);
    for run in &all {
        let id = &run.record.id;
        let state = if let Some(out) = blocked.iter().find(|out| out.folder == *id) {
            format!("blocked, because its folder cannot be read: {}", out.reason)
        } else if let Some(index) = missing.iter().position(|other| other.record.id == *id) {
            let takes = estimate.seconds[index].map_or("unknown".into(), duration);
            match run.samples {
                0 => format!("{takes} on {one_of}"),
                samples => format!("{takes} on {one_of}, resuming at {samples} samples"),
            }
        } else {
            "done".to_owned()
        };
        say(&format!("{id:<width$}  {state}"));
    }
    for missing in judges::missing(context.datasets, out, &missing, plan.judge()) {
        let dataset = missing.dataset.present;
        let takes = estimate::judge(&*context.datasets.get(dataset)?, missing.samples);
        say(&format!("judge of {dataset}: {} on this machine", duration(takes)));
    }
    let at_once = packing.at_once;
    let more = if packing.packed && args.jobs == Jobs::Auto { ", more where the GPU has room" } else { "" };
    say(&format!(
        "{} of {} to train into {}, {at_once} at a time{more}: {}. Nothing was written there.",
        missing.len(),
        count(all.len(), "run"),
        out.display(),
        duration(estimate.total(at_once))
    ));
    Ok(blocked.is_empty())
}
