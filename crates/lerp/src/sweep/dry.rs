//! `lerp sweep --dry-run`: prints what a sweep would do without training anything.

use std::path::Path;

use anyhow::Result;
use lerp_train::{Cell, runs_in, text::duration};

use super::{Beside, Common, Survey, estimate, judges};
use crate::{
    cli::{Jobs, SweepArgs},
    plan::Plan,
    say::{say, warn},
};

/// Prints the state of every cell of a plan in the folder `out`: whether it is done, or else its expected training time
/// and device. Writes nothing into the folder. Returns `false` if a run that cannot be read blocks a cell.
///
/// # Errors
/// If images or the folder cannot be read.
pub fn run(
    common: &Common,
    plan: &Plan,
    cells: &[Cell],
    (out, devices, threads): (&Path, &[String], usize),
    args: &SweepArgs,
) -> Result<bool> {
    let Survey { jobs, missing, blocked, warnings, .. } =
        Survey::new(common, cells, &runs_in(out)?, &devices[0], threads)?;
    let told = |sentences: &[String]| {
        for sentence in sentences {
            warn(sentence);
        }
    };
    told(&warnings);
    let beside = Beside::guessed(missing.len(), (devices, threads), args.jobs, args.pack);
    let at_once = beside.at_once;
    let on_each = beside.on_each(devices);
    let (seconds, failures) =
        estimate::estimate(common.registry, common.shelf, &missing, &devices[0], on_each, plan.is_judged());
    told(&failures);
    let place = devices.join(" or ");
    let width = jobs.iter().map(|job| job.record.id.len()).max().unwrap_or(0);
    for job in &jobs {
        let id = &job.record.id;
        let state = if let Some((_, reason)) = blocked.iter().find(|(blocked, _)| blocked == id) {
            format!("stands in the way: {reason}")
        } else if let Some(at) = missing.iter().position(|other| other.record.id == *id) {
            let takes = seconds[at].map_or("unknown".into(), duration);
            match job.samples {
                0 => format!("{takes} on {place}"),
                samples => format!("{takes} on {place}, from {samples} samples on"),
            }
        } else {
            "done".to_owned()
        };
        say(&format!("{id:<width$}  {state}"));
    }
    for judges::Wanted { dataset, samples, .. } in judges::missing(common.shelf, out, &missing, plan.judge())
    {
        let takes = estimate::judge(&*common.shelf.get(&dataset)?, samples);
        say(&format!("judge of {dataset}: {} on this machine", duration(takes)));
    }
    // The sweep takes at least as long as its longest run, even if an equal share of the work is shorter.
    let even = seconds.iter().flatten().sum::<f64>() / at_once as f64;
    let work = seconds.iter().flatten().copied().fold(even, f64::max);
    let more = if beside.packed && args.jobs == Jobs::Auto { ", more where the GPU has room" } else { "" };
    say(&format!(
        "{} of {} to train into {}, {at_once} at a time{more}: {}. Nothing was written there.",
        missing.len(),
        super::count(jobs.len(), "run"),
        out.display(),
        duration(work)
    ));
    Ok(blocked.is_empty())
}
