//! `lerp score`: models that were trained elsewhere, measured by their answers to a task.

mod prepare;

use std::{collections::HashMap, path::Path};

use anyhow::{Result, bail};
use lerp_core::Precision;
use lerp_files::printable;
use lerp_train::{Answered, Evaluation, RunRecord, Task, is_there, write_run};

use crate::{
    cli::{ScoreArgs, ScoreVerb, ScoredArgs},
    moved,
    provenance::provenance,
    registry::Registry,
    report_and_show,
    say::{say, warn},
    shelf::Shelf,
    sweep::{Folder, command_line, stop_flag},
};

/// Letters that the name of a model may have.
const LONGEST_NAME: usize = 60;

/// Runs the verb; false if something of the report is left out.
///
/// # Errors
/// If a task or its answers will not do; nothing is written then.
pub fn score(registry: &Registry, args: &ScoreArgs) -> Result<bool> {
    match (&args.verb, &args.scored) {
        (Some(ScoreVerb::Prepare(args)), _) => prepare::prepare(registry, args).map(|()| true),
        (None, Some(args)) => scored(registry, args),
        (None, None) => bail!("give the folders of answered tasks; `lerp score prepare` makes a task"),
    }
}

/// A name that tables can show.
///
/// # Errors
/// If it is none.
pub fn check_name(name: &str) -> Result<&str> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || printable(name) != name {
        bail!("--name: give the model a name of 1 to {LONGEST_NAME} letters that can be printed");
    }
    Ok(name)
}

fn scored(registry: &Registry, args: &ScoredArgs) -> Result<bool> {
    let name = check_name(&args.name)?;
    let folder = Folder::check(&args.out, None)?;
    let shelf = Shelf::new(registry, args.data.as_deref());
    let stop = stop_flag()?;
    let mut runs: Vec<(RunRecord, Option<Evaluation>)> = Vec::new();
    let mut seen: HashMap<String, &Path> = HashMap::new();
    for task in &args.tasks {
        let posed = Task::read(task)?;
        let dataset =
            args.dataset.as_deref().map_or_else(|| posed.dataset.clone(), |now| moved(&posed.dataset, now));
        let images = shelf.images(&dataset)?;
        let dataset = shelf.get(&dataset)?;
        let answered = Answered::read(task, &*dataset, images.as_ref().map(|(digest, _)| digest.as_str()))?;
        let made = provenance(("cpu", Precision::F32), rayon::current_num_threads(), images, command_line());
        let record = answered.record(name, made)?;
        if let Some(other) = seen.insert(record.id.clone(), task) {
            bail!(
                "{} and {} are both of seed {}; prepare each task with a seed of its own, or say the seed of the training in \
                 the record",
                other.display(),
                task.display(),
                record.cell.seed
            );
        }
        let evaluation = if is_there(&folder.runs().join(&record.id), &record)? {
            say(&format!("{}: these answers are in {} already", task.display(), args.out.display()));
            None
        } else {
            Some(answered.measure(&*dataset, &stop)?)
        };
        runs.push((record, evaluation));
    }
    folder.notice.iter().for_each(|sentence| warn(sentence));
    folder.create()?;
    let ids: Vec<String> = runs.iter().map(|(record, _)| record.id.clone()).collect();
    folder.record(false, "models that were trained elsewhere", &command_line(), &[], &ids)?;
    for (record, evaluation) in &runs {
        let Some(evaluation) = evaluation else { continue };
        write_run(&folder.runs().join(&record.id), record, evaluation, None)?;
        tell(record, evaluation);
    }
    let whole = report_and_show(&args.out)?;
    say(&format!("Tables, figures and the page: {}", args.out.join("index.html").display()));
    Ok(whole)
}

/// Says what was measured, a line for each number.
pub fn tell(record: &RunRecord, evaluation: &Evaluation) {
    say(&format!("{}, seed {}:", record.title, record.cell.seed));
    for (name, value) in &evaluation.metrics {
        say(&format!("  {name:<30} {value}"));
    }
}
