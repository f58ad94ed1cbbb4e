//! Compares a plan with the runs that a sweep's folder already has.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use lerp_train::{Cell, LeftOutFolder, Run, RunRecord, Runs, State};

use crate::{provenance::provenance, registry::Registry, shelf::Shelf};

/// What all runs of a sweep share.
pub struct Common<'a> {
    /// The known variants, datasets and metrics.
    pub registry: &'a Registry,
    /// The opened datasets.
    pub shelf: &'a Shelf<'a>,
    /// The command line of the sweep.
    pub command: String,
    /// On a cluster, what tells this task's files apart from those of others.
    pub task: String,
}

/// A run that the plan asks for.
#[derive(Clone)]
pub struct Job {
    /// Record of the run; if the run has begun, the one in the folder with a new provenance.
    pub record: RunRecord,
    /// Present name of the dataset, which differs from the one in the record if its folder has moved since the run
    /// began.
    pub dataset: String,
    /// Number of samples that the run has been trained on already.
    pub samples: u64,
}

impl Job {
    /// Creates the job of a cell that has no run yet.
    ///
    /// # Errors
    /// If there is no such variant, or the images cannot be read.
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

    /// Makes this job resume an existing run: the record is the run's, but the provenance is the present one.
    fn go_on(&mut self, run: &Run) {
        let provenance = self.record.provenance.clone();
        self.record = RunRecord { provenance, ..run.record.clone() };
        self.samples = run.status.samples;
    }
}

/// The state of a plan's runs in a folder.
#[derive(Default)]
pub struct Survey {
    /// Every run of the plan.
    pub jobs: Vec<Job>,
    /// The runs of the plan that must be trained or resumed.
    pub missing: Vec<Job>,
    /// Names of the plan's runs whose folders cannot be read and are in the way of training, with the reasons.
    pub blocked: Vec<(String, String)>,
    /// Other folders among the runs that cannot be read.
    pub left_out: Vec<LeftOutFolder>,
    /// Warnings for the user, as sentences without full stops.
    pub warnings: Vec<String>,
}

impl Survey {
    /// Looks up the runs of `cells` among the runs that were `found`. A run is identified by everything that determines
    /// its results; of a user's images that is their digest and not their folder.
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
            // The identity of the paper's image sets is their name, so it must be checked that the folder holds the
            // same images.
            let same = |run: &&Run| {
                let (then, now) = (&run.record.provenance.data, &job.record.provenance.data);
                then.is_none() || then == now
            };
            let run = by_identity.get(&identity).copied().filter(same);
            // A run with this cell's name but another identity was trained on other images.
            let mut other = by_id.get(job.record.id.as_str()).copied().filter(|_| run.is_none());
            // The exception is a run of an earlier version, which gave runs of both precisions the same name.
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
                            lost.push(LeftOutFolder { folder: run.record.id.clone(), reason: reason.into() });
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
        let others_left_out = |out: &LeftOutFolder| !blocked.contains(out.folder.as_str());
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
