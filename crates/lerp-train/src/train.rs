//! Training a whole run in a directory.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use candle_core::Device;
use lerp_core::{Draws, Variant};
use lerp_data::Dataset;
use lerp_eval::{
    LineBank, Metric, Subject, When, check_metrics, check_recorded, measured, quantity::PROBE_ACCURACY,
    recorded,
};
use lerp_files::remove_leftovers;
use lerp_kernels::notice;
use serde::{Deserialize, Serialize};

use crate::{
    BatchSource, Cell, Error, Judge, Learner, LiveProgress, MetricRow, Metrics, Phase, Result, Run, RunLock,
    RunRecord, Scorers, State, Status, Trainer, checkpoint,
    digests::RunFiles,
    evaluate::evaluate,
    events::Events,
    files::{CHECKPOINT, EVENTS, METRICS, MODEL, RUN, STATUS, json},
    measure::bank,
    memory::Memory,
    progress_file::ProgressFile,
    representation,
};

/// A progress report of a run; a worker process prints these as lines of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// Training starts, or resumes after `samples` samples.
    Started {
        /// Number of samples trained on before.
        samples: u64,
    },
    /// Some training steps were done.
    Stepped {
        /// Number of samples trained on.
        samples: u64,
        /// Training speed in samples per second since the last report, excluding evaluations and checkpoints.
        samples_per_s: f64,
        /// Losses and terms of the last step, by name.
        losses: Vec<(String, f64)>,
    },
    /// Training is over, and the measurements at the end of the run begin.
    Finishing,
    /// An evaluation was done.
    Evaluated {
        /// Number of samples trained on.
        samples: u64,
        /// Metric values by key, without undefined ones.
        metrics: Vec<(String, f64)>,
    },
    /// The run is complete.
    Done,
    /// The run was stopped on request and can be resumed.
    Interrupted {
        /// Number of samples trained on.
        samples: u64,
    },
    /// The run stopped with an error.
    Failed {
        /// Reason of the failure.
        reason: String,
    },
}

/// The outcome of a call of [`train`] without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainOutcome {
    /// The run is complete.
    Done,
    /// The run was stopped on request and has a checkpoint.
    Interrupted,
}

/// The minimum time between two reports of [`Progress::Stepped`].
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The objects that a run needs besides its record.
#[derive(Clone, Copy)]
pub struct RunInputs<'a> {
    /// The variant that the record names.
    pub variant: &'a dyn Variant,
    /// The dataset that the record names.
    pub dataset: &'a dyn Dataset,
    /// The device that the run uses.
    pub device: &'a Device,
    /// User-defined metrics, measured besides the built-in ones; they change no other result of the run.
    pub metrics: &'a [&'a dyn Metric],
    /// The judge of the dataset, if there is one; it changes no other result of the run either.
    pub judge: Option<&'a Judge>,
}

/// Trains the cell of `record` in `dir`, whose name must be the record's id, or resumes it from its last
/// checkpoint.
///
/// Results depend on the cell alone: a run that was killed at any moment and resumed ends with the same parameters
/// and metrics, bit for bit, as an uninterrupted one. When `stop` becomes true, the run writes a checkpoint and
/// returns.
///
/// # Errors
/// If the cell is invalid, the folder is busy or not writable, or its checkpoint is damaged or belongs to another
/// cell; or if a loss is no longer finite, in which case the run is marked as failed and its last checkpoint is
/// kept.
///
/// # Examples
/// A short run is trained, read back and measured once more, with the same results.
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use candle_core::Device;
/// use lerp_baseline::Baseline;
/// use lerp_core::{Hyper, ModelVariant, Network, Precision, Schedule};
/// use lerp_data::Lines;
/// use lerp_train::{
///     Cell, EVALUATED_PAIRS, FIGURE_3_ANGLES, Origin, Provenance, Run, RunInputs, RunRecord, State, TrainOutcome,
///     measure, train,
/// };
///
/// let cell = Cell {
///     dataset: "lines".into(),
///     variant: "baseline".into(),
///     seed: 0,
///     samples: 8,
///     batch: 4,
///     learning_rate: 1e-3,
///     eval_every: 8,
///     checkpoint_every: 8,
///     test_samples: 4,
///     cluster_restarts: None,
///     precision: Precision::F32,
///     ema: None,
///     schedule: Schedule::default(),
///     origin: Origin::default(),
///     network: Network { scales: 4, depth: 2, latent: 2 }.into(),
///     hyper: Hyper::new(),
/// };
/// let record = RunRecord::new(cell, "Baseline", Provenance::unknown());
/// let variant = ModelVariant::<Baseline>::new();
/// let inputs =
///     RunInputs { variant: &variant, dataset: &Lines, device: &Device::Cpu, metrics: &[], judge: None };
/// let (runs, never) = (tempfile::tempdir()?, AtomicBool::new(false));
/// let dir = runs.path().join(&record.id);
/// let outcome = train(&record, &inputs, &dir, &never, &mut |progress| println!("{progress:?}"))?;
/// assert_eq!(outcome, TrainOutcome::Done);
///
/// let run = Run::read(&dir)?;
/// assert_eq!((run.status.state, run.status.samples), (State::Done, 8));
/// // Strips are the interpolations that figures show, the first of them that of Figure 3.
/// let strips = run.strips()?.unwrap();
/// assert_eq!(strips.images.dims(), [6, 16, 32, 32, 1]);
/// assert_eq!(strips.angles.unwrap()[0], FIGURE_3_ANGLES.map(|angle| angle as f32));
/// // Paths are what was measured along all interpolations of the last evaluation.
/// let paths = run.paths()?.unwrap();
/// assert_eq!((paths.norm.len(), paths.distance.unwrap().len()), (EVALUATED_PAIRS, EVALUATED_PAIRS));
///
/// let again = measure(&run, &inputs, None, &never)?;
/// let metrics = run.metrics()?;
/// for (key, value) in &again.metrics {
///     let last = metrics.series(key).last().unwrap().value;
///     assert_eq!(last.to_bits(), value.to_bits(), "{key}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn train(
    record: &RunRecord,
    inputs: &RunInputs,
    dir: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<TrainOutcome> {
    record.cell.check()?;
    check_metrics(inputs.metrics)?;
    let mut named = record.clone().with_quantities(inputs.metrics);
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    record.check(&folder).map_err(|problem| Error::bad_file(&dir.join(RUN), problem))?;
    let lock = RunLock::take(dir)?;
    // With the lock held, no other process writes here.
    remove_leftovers(dir, Duration::ZERO);
    let progress_file = ProgressFile::new(lock.held());
    let begun = dir.join(RUN).exists();
    let (mut stored, mut peak) = (None, None);
    if begun {
        let run = Run::read(dir)?;
        peak = run.status.peak_memory;
        let (then, now) = (&run.record.provenance.data, &record.provenance.data);
        if run.record.cell == record.cell && then.is_some() && then != now {
            let problem = format!(
                "is the record of a run on other images than those of {} here; choose another folder, or delete the \
                 run's to redo it",
                record.cell.dataset
            );
            return Err(Error::bad_file(&dir.join(RUN), problem));
        }
        if run.record.identity() != record.identity() {
            let (then, now) = (run.record.cell.precision, record.cell.precision);
            let problem = if then == now {
                "was changed after the run began; delete the run's folder to redo it".into()
            } else {
                format!("is the record of a run in {then}, not in {now}; choose another folder")
            };
            return Err(Error::bad_file(&dir.join(RUN), problem));
        }
        if run.status.state == State::Done {
            return Ok(TrainOutcome::Done);
        }
        named = run.record.clone().with_quantities(inputs.metrics);
        let (then, now) = (run.record.last_segment(), &record.provenance);
        if then.device != now.device {
            notice(&format!(
                "{} was started on {} and is resumed on {}, so its results are not those of one device bit for bit",
                record.id, then.device, now.device
            ));
        } else if then.instructions != now.instructions
            && !then.instructions.is_empty()
            && now.device == "cpu"
        {
            notice(&format!(
                "{} was started with {} and is resumed with {}, so its results are not those of one processor bit for bit",
                record.id, then.instructions, now.instructions
            ));
        }
        stored = Some(run.record);
    }
    check_recorded(&named.quantities).map_err(|problem| Error::bad_file(&dir.join(RUN), problem))?;
    let mut files = RunFiles::open(&lock, &record.id)?;
    if !begun {
        files.write(&[status(State::Running, 0, 0.0, None)?, packed(&named)?])?;
    }
    let memory = Memory::begin(peak);
    let mut session = match Session::open(record, inputs, files, memory) {
        Ok(session) => session,
        Err(error) => {
            let _ = fail(&lock, record, &error.to_string());
            return Err(error);
        }
    };
    // The shape of the latents is known only once the model is built.
    named.shape = Some(session.trainer.learner().model().spec().shape.clone());
    if stored.is_some() {
        named.add_segment(&record.provenance, session.samples());
    }
    if stored.is_none_or(|stored| stored != named) {
        session.files.write(&[packed(&named)?])?;
    }
    let outcome = session.run(stop, &progress_file, progress);
    if let Err(error) = &outcome
        && !matches!(error, Error::Lost { .. })
    {
        // If the disk is full this fails too; the first error is the one to report.
        let failed = session.status(State::Failed, Some(error.to_string()));
        let _ = failed.and_then(|status| session.files.write(&[status]));
    }
    outcome
}

/// Marks a run that could not be started as failed.
///
/// # Errors
/// If the folder cannot be written, or another process holds its lock.
pub fn mark_failed(dir: &Path, record: &RunRecord, reason: &str) -> Result<()> {
    fail(&RunLock::take(dir)?, record, reason)
}

fn fail(lock: &RunLock, record: &RunRecord, reason: &str) -> Result<()> {
    let dir = &lock.held().dir;
    let begun = dir.join(RUN).exists();
    let before = if begun { Some(Run::read(dir)?.status) } else { None };
    let (samples, wall_s) = before.map_or((0, 0.0), |status| (status.samples, status.wall_s));
    let mut files = vec![status(State::Failed, samples, wall_s, Some(reason.into()))?];
    if !begun {
        files.push(packed(record)?);
    }
    RunFiles::open(lock, &record.id)?.write(&files)
}

/// Returns the name and the bytes of a run's record file.
pub(crate) fn packed(record: &RunRecord) -> Result<(&'static str, Vec<u8>)> {
    let text = toml::to_string(record).map_err(|e| Error::encoding(RUN, &e))?;
    Ok((RUN, text.into_bytes()))
}

/// Returns the name and the bytes of a run's status file, without peak memory.
pub(crate) fn status(
    state: State,
    samples: u64,
    wall_s: f64,
    reason: Option<String>,
) -> Result<(&'static str, Vec<u8>)> {
    Ok((STATUS, json(STATUS, &Status { state, samples, wall_s, reason, peak_memory: None })?))
}

/// A run that is being trained by this process.
struct Session<'a> {
    id: &'a str,
    cell: &'a Cell,
    dataset: &'a dyn Dataset,
    /// User-defined metrics.
    user_metrics: &'a [&'a dyn Metric],
    judge: Option<&'a Judge>,
    files: RunFiles,
    trainer: Trainer<'a>,
    /// The bank of true lines; on the lines dataset only.
    bank: Option<LineBank>,
    draws: Draws,
    metrics: Metrics,
    events: Events,
    started: Instant,
    wall_before: f64,
    memory: Memory,
}

impl<'a> Session<'a> {
    fn open(record: &'a RunRecord, inputs: &RunInputs<'a>, files: RunFiles, memory: Memory) -> Result<Self> {
        let RunInputs { variant, dataset, device, metrics: user_metrics, judge } = *inputs;
        let RunRecord { id, cell, .. } = record;
        let dir = files.dir();
        let mut learner = Learner::of_cell(cell, variant, dataset, device)?;
        let (mut metrics, mut wall_before) = (Metrics::default(), 0.0);
        if let Some(wall_s) = checkpoint::restore(dir, id, &mut learner)? {
            wall_before = wall_s;
            // Rows from after the checkpoint will be measured again, with the same values.
            let table = dir.join(METRICS);
            if table.exists() {
                metrics = Metrics::read(&table)?;
            }
            metrics.0.retain(|row| row.step <= learner.step());
            let evaluated = learner.step() / cell.eval_steps() * cell.eval_steps();
            if evaluated > 0 && metrics.0.last().is_none_or(|row| row.step < evaluated) {
                let problem =
                    "lacks evaluations from before the checkpoint; delete the run's folder to redo it";
                return Err(Error::bad_file(&table, problem));
            }
        }
        let events = Events::create(&files, &metrics.0)?;
        let source = BatchSource::Dataset { dataset, size: cell.batch };
        let trainer = Trainer::new(learner, source, cell.seed)?.until(cell.steps());
        Ok(Self {
            id,
            cell,
            dataset,
            user_metrics,
            judge,
            files,
            trainer,
            bank: bank(dataset),
            draws: Draws::new(cell.seed, device),
            metrics,
            events,
            started: Instant::now(),
            wall_before,
            memory,
        })
    }

    /// Returns the name and the bytes of the status file.
    fn status(&self, state: State, reason: Option<String>) -> Result<(&'static str, Vec<u8>)> {
        let (samples, wall_s, peak_memory) = (self.samples(), self.wall_s(), self.memory.peak());
        Ok((STATUS, json(STATUS, &Status { state, samples, wall_s, reason, peak_memory })?))
    }

    fn step(&self) -> u64 {
        self.trainer.learner().step()
    }

    fn samples(&self) -> u64 {
        self.cell.samples_at(self.step())
    }

    fn wall_s(&self) -> f64 {
        self.wall_before + self.started.elapsed().as_secs_f64()
    }

    fn run(
        &mut self,
        stop: &AtomicBool,
        progress_file: &ProgressFile,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<TrainOutcome> {
        let mut live = LiveProgress::training(self.samples());
        progress_file.update(live.clone());
        progress(&Progress::Started { samples: self.samples() });
        let running = self.status(State::Running, None)?;
        self.files.write(&[running])?;
        let steps = self.cell.steps();
        let mut reported = (Instant::now(), self.samples());
        while self.step() < steps {
            if stop.load(Ordering::Relaxed) {
                return self.interrupted(progress);
            }
            self.files.check()?;
            self.trainer.step()?;
            let (step, last) = (self.step(), self.step() == steps);
            let evaluated = last || step.is_multiple_of(self.cell.eval_steps());
            let saved = !last && step.is_multiple_of(self.cell.checkpoint_steps());
            if evaluated || saved {
                // Waits for the device, so that `trained` below marks the end of the training steps.
                self.trainer.losses()?;
            }
            let trained = Instant::now();
            if evaluated {
                let metrics = self.evaluate()?;
                progress(&Progress::Evaluated { samples: self.samples(), metrics });
            }
            if saved {
                self.save(State::Running)?;
            }
            reported.0 += trained.elapsed();
            let elapsed = reported.0.elapsed();
            if last || elapsed >= REPORT_EVERY {
                let losses = self.trainer.losses()?;
                let samples = self.samples();
                let samples_per_s = (samples - reported.1) as f64 / elapsed.as_secs_f64().max(1e-9);
                live = LiveProgress { samples, samples_per_s, losses: losses.clone(), ..live };
                progress_file.update(live.clone());
                progress(&Progress::Stepped { samples, samples_per_s, losses });
                reported = (Instant::now(), samples);
            }
        }
        live.phase = Phase::Finishing;
        progress_file.update(live);
        // The checkpoint comes first, because it refuses parameters that are not finite.
        let checkpoint = checkpoint::save(self.id, self.cell, self.trainer.learner(), self.wall_s())?;
        let model = self.trainer.learner().averaged(|learner| checkpoint::save_model(self.cell, learner))?;
        self.files.write(&[(CHECKPOINT, checkpoint), (MODEL, model)])?;
        if self.finish(stop, progress)? == TrainOutcome::Interrupted {
            return self.interrupted(progress);
        }
        self.files.adopt(EVENTS)?;
        let done = self.status(State::Done, None)?;
        self.files.write(&[done])?;
        // Digests of the files' former contents are no longer needed.
        self.files.settle()?;
        progress(&Progress::Done);
        Ok(TrainOutcome::Done)
    }

    /// Writes a checkpoint and reports the interruption.
    fn interrupted(&mut self, progress: &mut dyn FnMut(&Progress)) -> Result<TrainOutcome> {
        self.save(State::Interrupted)?;
        progress(&Progress::Interrupted { samples: self.samples() });
        Ok(TrainOutcome::Interrupted)
    }

    /// Evaluates the model at this step, and writes metrics, files and status. Returns the finite metrics.
    fn evaluate(&mut self) -> Result<Vec<(String, f64)>> {
        let losses = self.trainer.losses()?;
        let draws = self.draws.scope("eval").at(self.step());
        let test_samples = self.cell.test_samples;
        let bank = self.bank.as_ref();
        // On lines the judge scores every evaluation, so that its scores can be compared with the exact line
        // metrics.
        let judge = self.judge.filter(|_| bank.is_some() || self.step() == self.cell.steps());
        let scorers = Scorers { bank, judge };
        let evaluation = self.trainer.learner().averaged(|learner| {
            let mut evaluation = evaluate(learner, self.dataset, scorers, test_samples, &draws)?;
            for metric in self.user_metrics.iter().filter(|metric| metric.when() == When::EachEvaluation) {
                let (model, dataset, draws) = (learner.model(), self.dataset, draws.clone());
                let subject = Subject { model, dataset, draws, samples: test_samples };
                evaluation.metrics.extend(measured(*metric, &subject.for_metric(*metric))?);
            }
            Ok(evaluation)
        })?;
        let metrics = self.record(losses.iter().chain(&evaluation.metrics))?;
        let mut files = vec![metrics];
        files.extend(evaluation.files()?);
        files.push(self.status(State::Running, None)?);
        self.files.write(&files)?;
        let mut metrics = evaluation.metrics;
        metrics.retain(|(_, value)| value.is_finite());
        Ok(metrics)
    }

    /// Adds values at this step to the metrics, and returns the name and the bytes of their file.
    fn record<'v>(
        &mut self,
        values: impl Iterator<Item = &'v (String, f64)>,
    ) -> Result<(&'static str, Vec<u8>)> {
        let (step, samples, wall_s) = (self.step(), self.samples(), self.wall_s());
        let row = |(metric, value): &(String, f64)| MetricRow {
            step,
            samples,
            metric: metric.clone(),
            value: *value,
            wall_s,
        };
        let rows: Vec<MetricRow> = values.map(row).collect();
        self.events.append(&rows)?;
        self.metrics.0.extend(rows);
        Ok((METRICS, self.metrics.parquet()?))
    }

    /// Takes the measurements at the end of the run: the classifier and the clusters of labelled images, and
    /// user-defined metrics. Measurements from before an interruption are kept.
    fn finish(&mut self, stop: &AtomicBool, progress: &mut dyn FnMut(&Progress)) -> Result<TrainOutcome> {
        let draws = self.draws.scope("final").at(self.step());
        let missing = |session: &Self, key: &str| session.metrics.0.iter().all(|row| row.metric != key);
        let restarts = self.cell.cluster_restarts.filter(|_| missing(self, &PROBE_ACCURACY.key));
        let user_metrics: Vec<&dyn Metric> = self
            .user_metrics
            .iter()
            .copied()
            .filter(|metric| {
                metric.when() == When::AtTheEnd
                    && recorded(*metric).any(|quantity| missing(self, &quantity.key))
            })
            .collect();
        if restarts.is_some() || !user_metrics.is_empty() {
            progress(&Progress::Finishing);
        }
        if let Some(restarts) = restarts {
            let measured = self.trainer.learner().averaged(|learner| {
                representation::probe_and_cluster_model(learner, self.dataset, restarts, &draws, stop)
            });
            match measured {
                Err(Error::Eval(lerp_eval::Error::Stopped)) => return Ok(TrainOutcome::Interrupted),
                metrics => self.finished(metrics?, progress)?,
            }
        }
        for metric in user_metrics {
            if stop.load(Ordering::Relaxed) {
                return Ok(TrainOutcome::Interrupted);
            }
            let measured = self.trainer.learner().averaged(|learner| {
                let (model, dataset, draws) = (learner.model(), self.dataset, draws.clone());
                let subject = Subject { model, dataset, draws, samples: self.cell.test_samples };
                Ok(measured(metric, &subject.for_metric(metric))?)
            });
            match measured {
                Err(Error::Eval(lerp_eval::Error::Stopped)) => return Ok(TrainOutcome::Interrupted),
                metrics => self.finished(metrics?, progress)?,
            }
        }
        Ok(TrainOutcome::Done)
    }

    /// Records and reports measurements that are taken at the end.
    fn finished(
        &mut self,
        mut metrics: Vec<(String, f64)>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let file = self.record(metrics.iter())?;
        self.files.write(&[file])?;
        metrics.retain(|(_, value)| value.is_finite());
        progress(&Progress::Evaluated { samples: self.samples(), metrics });
        Ok(())
    }

    /// Writes a checkpoint; the metrics up to this step were written before.
    fn save(&mut self, state: State) -> Result<()> {
        let checkpoint = checkpoint::save(self.id, self.cell, self.trainer.learner(), self.wall_s())?;
        let status = self.status(state, None)?;
        self.files.write(&[(CHECKPOINT, checkpoint), status])
    }
}
