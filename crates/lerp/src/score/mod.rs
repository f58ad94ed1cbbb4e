//! `lerp score`: evaluates models that were trained in other software by their answers to a task.

mod prepare;

use std::{collections::HashMap, path::Path};

use anyhow::{Result, bail};
use lerp_core::Precision;
use lerp_files::printable;
use lerp_train::{Evaluation, Run, RunRecord, Task, TaskAnswers, contains_run, runs_in, write_run};

use crate::{
    cli::{ScoreAnswersArgs, ScoreArgs, ScoreCommand},
    dataset_cache::{DatasetCache, with_recorded_option},
    process::{command_line, stop_flag},
    provenance::{Placement, provenance},
    registry::Registry,
    report,
    say::{say, warn},
    sweep::{RecordContents, SweepFolder, judge_of},
};

/// Largest length of a model's name, characters.
const MAX_NAME_CHARS: usize = 60;

/// Runs `lerp score`. Returns `false` if a part of the report was left out.
///
/// # Errors
/// If a task or its answers are unsuitable; nothing is written in that case.
pub fn score(registry: &Registry, args: &ScoreArgs) -> Result<bool> {
    match (&args.command, &args.answers) {
        (Some(ScoreCommand::Prepare(args)), _) => prepare::prepare(registry, args).map(|()| true),
        (None, Some(args)) => score_answers(registry, args),
        (None, None) => bail!("give the folders of answered tasks; `lerp score prepare` creates a task"),
    }
}

/// Trims a model's name and checks that tables can show it.
///
/// # Errors
/// If the name is too long, has no letter or digit, or contains characters that cannot be printed.
pub fn check_name(name: &str) -> Result<&str> {
    let name = name.trim();
    let plain = name.chars().any(char::is_alphanumeric) && printable(name) == name;
    if !plain || name.chars().count() > MAX_NAME_CHARS {
        bail!(
            "--name: give the model a name of at most {MAX_NAME_CHARS} printable characters, with at least one letter or digit"
        );
    }
    Ok(name)
}

/// Measures the answers to tasks and writes them as runs.
fn score_answers(registry: &Registry, args: &ScoreAnswersArgs) -> Result<bool> {
    let name = check_name(&args.name)?;
    let publisher = Publisher::check(&args.out)?;
    let datasets = DatasetCache::new(registry, args.data.as_deref());
    let stop = stop_flag()?;
    let mut scored: Vec<(RunRecord, Evaluation)> = Vec::new();
    let mut seen: HashMap<u64, &Path> = HashMap::new();
    let mut figures: HashMap<Option<String>, &Path> = HashMap::new();
    for task in &args.tasks {
        let posed = Task::read(task)?;
        let dataset = args
            .dataset
            .as_deref()
            .map_or_else(|| posed.dataset.clone(), |now| with_recorded_option(now, &posed.dataset));
        let images = datasets.images(&dataset)?;
        let dataset = datasets.get(&dataset)?;
        let digest = images.as_ref().map(|images| images.digest.as_str());
        let answered = TaskAnswers::read(task, &*dataset, digest, &stop)?;
        let threads = rayon::current_num_threads();
        let placement = Placement { device: "cpu", precision: Precision::F32, threads };
        let record = answered.record(name, provenance(placement, images, command_line()))?;
        let shown = |other: &Path| format!("{} and {}", other.display(), task.display());
        if let Some(other) = seen.insert(record.cell.seed, task) {
            bail!(
                "{} are both of seed {}; prepare each task with a seed of its own, or give the seed of the training in \
                 record.json",
                shown(other),
                record.cell.seed
            );
        }
        let alike = record.elsewhere.as_ref().and_then(|known| known.figures.clone());
        if let Some(other) = figures.insert(alike, task) {
            bail!("{} have answers of the same model; train a model of its own for each seed", shown(other));
        }
        if contains_run(&publisher.runs, &record)? {
            say(&format!("{}: these answers are already in {}", task.display(), args.out.display()));
        } else {
            let judge = judge_of(&args.out, &*dataset, &record);
            let evaluation = answered.measure(&*dataset, judge.as_ref(), &stop)?;
            scored.push((record, evaluation));
        }
    }
    let runs = scored.iter().map(|(record, evaluation)| Measured { record, evaluation, model: None });
    publisher.publish(runs.collect())
}

/// An evaluated model that was trained in other software, ready to be written as a run.
pub struct Measured<'a> {
    /// The record of the run.
    pub record: &'a RunRecord,
    /// The results of the evaluation.
    pub evaluation: &'a Evaluation,
    /// The bytes of `model.safetensors`; `None` for a model that was scored by its answers.
    pub model: Option<Vec<u8>>,
}

/// Writes models that were trained in other software into the folder of a sweep.
pub struct Publisher<'a> {
    out: &'a Path,
    folder: SweepFolder,
    /// The runs that the folder already has.
    pub runs: Vec<Run>,
}

impl<'a> Publisher<'a> {
    /// Reads the folder `out` without creating anything.
    ///
    /// # Errors
    /// If the folder exists and is not a sweep's.
    pub fn check(out: &'a Path) -> Result<Self> {
        Ok(Self { out, folder: SweepFolder::check(out, None)?, runs: runs_in(out)?.runs })
    }

    /// Writes the runs and draws the report. Returns `false` if a part of the report was left out.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn publish(&self, measured: Vec<Measured>) -> Result<bool> {
        self.folder.notice.iter().for_each(|sentence| warn(sentence));
        self.folder.create()?;
        let ids: Vec<String> = measured.iter().map(|run| run.record.id.clone()).collect();
        self.folder.write_record_if_missing(&RecordContents {
            about: "models that were trained elsewhere",
            command: &command_line(),
            devices: &[],
            cells: &ids,
        })?;
        for Measured { record, evaluation, model } in measured {
            write_run(&self.folder.runs().join(&record.id), record, evaluation, model)?;
            tell(record, evaluation);
        }
        report::draw_and_print(self.out)
    }
}

/// Prints the results of an evaluation, one line per metric.
fn tell(record: &RunRecord, evaluation: &Evaluation) {
    say(&format!("{}, seed {}:", record.title, record.cell.seed));
    for (name, value) in &evaluation.metrics {
        say(&format!("  {name:<30} {value}"));
    }
}
