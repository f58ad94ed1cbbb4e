//! Which runs of a plan are in a sweep's folder already.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use lerp_train::{Cell, LeftOut, Run, RunRecord, Runs, State};

use crate::{provenance::provenance, registry::Registry, shelf::Shelf};

/// What the runs of a sweep have in common.
pub struct Common<'a> {
    /// The variants.
    pub registry: &'a Registry,
    /// The datasets.
    pub shelf: &'a Shelf<'a>,
    /// What the user typed.
    pub command: String,
    /// On a cluster, what tells this task's files apart from those of others.
    pub task: String,
}

/// A run of the plan.
#[derive(Clone)]
pub struct Job {
    /// Its record: that of the folder, if it has begun there.
    pub record: RunRecord,
    /// What its dataset is called now. The images of a run that has begun may have been in another place then.
    pub dataset: String,
    /// Samples that it is trained on already.
    pub samples: u64,
}

impl Job {
    /// That of a cell which has no run yet.
    ///
    /// # Errors
    /// If there is no such variant, or its images cannot be read.
    pub fn new(common: &Common, cell: &Cell, device: &str, threads: usize) -> Result<Self> {
        let images = common.shelf.images(&cell.dataset)?;
        let provenance = provenance((device, cell.precision), threads, images, common.command.clone());
        let title = common.registry.find(&cell.variant)?.title();
        let own = common.registry.datasets_from_code().any(|own| own == cell.dataset);
        let dataset_title =
            if own { Some(common.shelf.get(&cell.dataset)?.title().to_owned()) } else { None };
        let record = RunRecord { dataset_title, ..RunRecord::new(cell.clone(), title, provenance) };
        Ok(Self { record, dataset: cell.dataset.clone(), samples: 0 })
    }

    /// The same, to go on with the run that it has. What it goes on with is of now.
    fn go_on(&mut self, run: &Run) {
        let provenance = self.record.provenance.clone();
        self.record = RunRecord { provenance, ..run.record.clone() };
        self.samples = run.status.samples;
    }
}

/// What a folder has of a plan.
#[derive(Default)]
pub struct Survey {
    /// Every run of the plan.
    pub jobs: Vec<Job>,
    /// Those of them to train.
    pub missing: Vec<Job>,
    /// Runs that can neither be read nor be written, with the reasons.
    pub blocked: Vec<(String, String)>,
    /// Everything else among the runs that cannot be read.
    pub left_out: Vec<LeftOut>,
    /// What a user should know, as sentences without their ends.
    pub warnings: Vec<String>,
}

impl Survey {
    /// Looks for the runs of `cells` among those that were `found`: a run is told by everything that decides its numbers,
    /// which is its images themselves and not the folder in which they happen to be.
    ///
    /// # Errors
    /// If there is no such variant, or images cannot be read.
    pub fn new(common: &Common, cells: &[Cell], found: &Runs, device: &str, threads: usize) -> Result<Self> {
        let by_identity: HashMap<String, &Run> =
            found.runs.iter().map(|run| (run.record.identity(), run)).collect();
        let by_id: HashMap<&str, &Run> = found.runs.iter().map(|run| (run.record.id.as_str(), run)).collect();
        let reasons: HashMap<&str, &str> =
            found.left_out.iter().map(|out| (out.folder.as_str(), out.reason.as_str())).collect();
        let mut survey = Self::default();
        let (mut known, mut lean, mut lost) = (HashMap::new(), Vec::new(), Vec::new());
        let (mut twins, mut others) = (BTreeSet::new(), BTreeSet::new());
        for cell in cells {
            let mut job = Job::new(common, cell, device, threads)?;
            let identity = job.record.identity();
            if let Some(first) = known.insert(identity.clone(), cell.dataset.clone()) {
                twins.insert(format!(
                    "{first} and {} are the same images, which are trained on once",
                    cell.dataset
                ));
                continue;
            }
            // The paper's sets are told by their names, under which a folder may hold other images.
            let same = |run: &&Run| {
                let (then, now) = (&run.record.provenance.data, &job.record.provenance.data);
                then.is_none() || then == now
            };
            let run = by_identity.get(&identity).copied().filter(same);
            // The folder has the cell's name, and so the run is of other images.
            let mut other = by_id.get(job.record.id.as_str()).copied().filter(|_| run.is_none());
            // Or it is of an earlier version, which named runs of every precision alike.
            if other.is_some_and(|other| other.record.cell.precision != cell.precision) {
                job.record = job.record.renamed();
                other = None;
            }
            let id = job.record.id.clone();
            if let Some(run) = run {
                job.go_on(run);
            }
            if let Some(reason) = reasons.get(id.as_str()).filter(|_| run.is_none()) {
                survey.blocked.push((id.clone(), (*reason).to_owned()));
            } else {
                match run.or(other) {
                    Some(run) if run.status.state == State::Done => {
                        if other.is_some() {
                            others.insert(cell.dataset.clone());
                        }
                        if !run.has_model() && run.checked {
                            let reason =
                                "model.safetensors is lost; delete the run's folder to train it again";
                            lost.push(LeftOut { folder: run.record.id.clone(), reason: reason.into() });
                        } else if !run.has_model() {
                            lean.push(run.record.id.clone());
                        }
                    }
                    _ => survey.missing.push(job.clone()),
                }
            }
            survey.jobs.push(job);
        }
        let blocked: HashSet<&str> = survey.blocked.iter().map(|(id, _)| id.as_str()).collect();
        let others_left_out = |out: &LeftOut| !blocked.contains(out.folder.as_str());
        survey.left_out =
            found.left_out.iter().filter(|out| others_left_out(out)).cloned().chain(lost).collect();
        survey.warnings.extend(twins);
        survey.warnings.extend(others.into_iter().map(|name| {
            format!("complete runs are of other images than those of {name} here; delete them to redo them")
        }));
        if !lean.is_empty() {
            survey.warnings.push(format!(
                "complete without a model, which eval and export need: {}; delete their folders to train them again",
                lean.join(", ")
            ));
        }
        Ok(survey)
    }
}
