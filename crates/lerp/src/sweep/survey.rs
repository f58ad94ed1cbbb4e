//! Compares a plan with the runs that a sweep's folder already has.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::Result;
use lerp_train::{Cell, LeftOutFolder, Run, RunRecord, Runs, State};

use crate::{
    dataset_cache::DatasetCache,
    provenance::{Placement, provenance},
    registry::Registry,
};

/// What all runs of a sweep share.
pub struct SweepContext<'a> {
    /// The known variants, datasets and metrics.
    pub registry: &'a Registry,
    /// The opened datasets.
    pub datasets: &'a DatasetCache<'a>,
    /// The command line of the sweep.
    pub command: String,
    /// In a task on a cluster, a suffix for the names of log files, so that no other task writes the same file. Empty
    /// elsewhere.
    pub log_suffix: String,
}

/// A run that the plan asks for.
#[derive(Clone)]
pub struct PlannedRun {
    /// Record of the run; if the run has begun, the one in the folder with a new provenance.
    pub record: RunRecord,
    /// Present name of the dataset, which differs from the one in the record if its folder has moved since the run
    /// began.
    pub dataset: String,
    /// Number of samples that the run has been trained on already.
    pub samples: u64,
}

impl PlannedRun {
    /// Creates the planned run of a cell that has no run in the folder yet.
    ///
    /// # Errors
    /// If there is no such variant, or the images cannot be read.
    pub fn new(context: &SweepContext, cell: &Cell, device: &str, threads: usize) -> Result<Self> {
        let images = context.datasets.images(&cell.dataset)?;
        let placement = Placement { device, precision: cell.precision, threads };
        let provenance = provenance(placement, images, context.command.clone());
        let title = context.registry.find(&cell.variant)?.title();
        let own = context.registry.datasets_from_code().any(|own| own == cell.dataset);
        let dataset_title =
            if own { Some(context.datasets.get(&cell.dataset)?.title().to_owned()) } else { None };
        let record = RunRecord { dataset_title, ..RunRecord::new(cell.clone(), title, provenance) };
        Ok(Self { record, dataset: cell.dataset.clone(), samples: 0 })
    }

    /// Makes this an existing run, which is resumed: the record is the run's, but the provenance is the present one.
    fn resume(&mut self, run: &Run) {
        let provenance = self.record.provenance.clone();
        self.record = RunRecord { provenance, ..run.record.clone() };
        self.samples = run.status.samples;
    }
}

/// The state of a plan's runs in a folder.
#[derive(Default)]
pub struct Survey {
    /// Every run of the plan.
    pub all: Vec<PlannedRun>,
    /// The runs of the plan that must be trained or resumed.
    pub missing: Vec<PlannedRun>,
    /// The runs of the plan that cannot be trained, because what is in their folders cannot be read.
    pub blocked: Vec<LeftOutFolder>,
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
    pub fn new(
        context: &SweepContext,
        cells: &[Cell],
        found: &Runs,
        device: &str,
        threads: usize,
    ) -> Result<Self> {
        let by_identity: HashMap<String, &Run> =
            found.runs.iter().map(|run| (run.record.identity(), run)).collect();
        let by_id: HashMap<&str, &Run> = found.runs.iter().map(|run| (run.record.id.as_str(), run)).collect();
        let reasons: HashMap<&str, &str> =
            found.left_out.iter().map(|out| (out.folder.as_str(), out.reason.as_str())).collect();
        let mut survey = Self::default();
        let (mut known, mut without_model, mut lost) = (HashMap::new(), Vec::new(), Vec::new());
        let (mut duplicates, mut of_other_images) = (BTreeSet::new(), BTreeSet::new());
        for cell in cells {
            let mut planned = PlannedRun::new(context, cell, device, threads)?;
            let identity = planned.record.identity();
            if let Some(first) = known.insert(identity.clone(), cell.dataset.clone()) {
                duplicates.insert(format!(
                    "{first} and {} are the same images; they are trained on only once",
                    cell.dataset
                ));
                continue;
            }
            // The identity of the paper's image sets is their name, so it must be checked that the folder holds the
            // same images.
            let same = |run: &&Run| {
                let (then, now) = (&run.record.provenance.data, &planned.record.provenance.data);
                then.is_none() || then == now
            };
            let run = by_identity.get(&identity).copied().filter(same);
            // A run with this cell's name but another identity was trained on other images.
            let mut other = by_id.get(planned.record.id.as_str()).copied().filter(|_| run.is_none());
            // The exception is a run of an earlier version, which gave runs of both precisions the same name.
            if other.is_some_and(|other| other.record.cell.precision != cell.precision) {
                planned.record = planned.record.renamed();
                other = None;
            }
            let id = planned.record.id.clone();
            if let Some(run) = run {
                planned.resume(run);
            }
            if let Some(reason) = reasons.get(id.as_str()).filter(|_| run.is_none()) {
                survey.blocked.push(LeftOutFolder { folder: id, reason: (*reason).to_owned() });
            } else {
                match run.or(other) {
                    Some(run) if run.status.state == State::Done => {
                        if other.is_some() {
                            of_other_images.insert(cell.dataset.clone());
                        }
                        if !run.has_model() && run.checked {
                            let reason =
                                "model.safetensors is lost; delete the run's folder to train it again";
                            lost.push(LeftOutFolder { folder: run.record.id.clone(), reason: reason.into() });
                        } else if !run.has_model() {
                            without_model.push(run.record.id.clone());
                        }
                    }
                    _ => survey.missing.push(planned.clone()),
                }
            }
            survey.all.push(planned);
        }
        let blocked: HashSet<&str> = survey.blocked.iter().map(|out| out.folder.as_str()).collect();
        let is_not_blocked = |out: &LeftOutFolder| !blocked.contains(out.folder.as_str());
        survey.left_out =
            found.left_out.iter().filter(|out| is_not_blocked(out)).cloned().chain(lost).collect();
        survey.warnings.extend(duplicates);
        survey.warnings.extend(of_other_images.into_iter().map(|name| {
            format!(
                "the complete runs on {name} were trained on other images than those that are here now; delete the folders of \
                 these runs to train them again"
            )
        }));
        if !without_model.is_empty() {
            survey.warnings.push(format!(
                "these runs are complete but have no model, which `lerp eval` and `lerp export` need: {}; delete their folders \
                 to train them again",
                without_model.join(", ")
            ));
        }
        Ok(survey)
    }
}
