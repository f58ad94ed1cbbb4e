//! A whole run in a directory.

use std::{
    io::Cursor,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use candle_core::{DType, Device, Tensor};
use lerp_core::{Build, Draws, Variant};
use lerp_data::Dataset;
use lerp_eval::LineBank;
use serde::{Deserialize, Serialize};

use crate::{
    Cell, Error, Learner, Metrics, Result, Row, Run, RunLock, RunRecord, State, Status, checkpoint,
    evaluate::{evaluate, figure_3},
    events::Events,
    rundir::{CHECKPOINT, INTERPOLATION, METRICS, MODEL, RUN, STATUS, write_json},
    write_atomic,
};

/// What a run reports while it goes on; a worker prints these as lines of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// Training begins, or goes on after `samples`.
    Started {
        /// Samples done before.
        samples: u64,
    },
    /// Some steps were done.
    Stepped {
        /// Samples done.
        samples: u64,
        /// Samples a second since the last report, without evaluations and checkpoints.
        samples_per_s: f64,
        /// The losses and terms of the last step, by name.
        losses: Vec<(String, f64)>,
    },
    /// An evaluation was done.
    Evaluated {
        /// Samples done.
        samples: u64,
        /// Its numbers, by name; a number that is undefined is left out.
        metrics: Vec<(String, f64)>,
    },
    /// The run is complete.
    Done,
    /// The run was stopped on request and can be resumed.
    Interrupted {
        /// Samples done.
        samples: u64,
    },
    /// The run stopped with an error.
    Failed {
        /// Why.
        reason: String,
    },
}

/// How a run ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Complete.
    Done,
    /// Stopped on request after a checkpoint.
    Interrupted,
}

/// Time between two reports of [`Progress::Stepped`].
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Trains the cell of `record` in `dir`, or goes on with it from its last checkpoint.
///
/// The numbers depend on the cell alone: a run that was killed at any moment and resumed ends with the same parameters
/// and metrics, bit for bit, as one that was not. When `stop` becomes true the run writes a checkpoint and returns.
///
/// # Errors
/// If the cell is not valid, the folder is busy or not writable, its checkpoint is damaged or another cell's, or a loss
/// is no longer finite: then the run is marked as failed, and its last checkpoint stays.
pub fn train(
    record: &RunRecord,
    variant: &dyn Variant,
    dataset: &dyn Dataset,
    device: &Device,
    dir: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Outcome> {
    record.cell.check()?;
    let _lock = RunLock::take(dir)?;
    if dir.join(RUN).exists() {
        let run = Run::read(dir)?;
        if run.record.cell != record.cell {
            let problem = if run.record.id == record.id {
                "was changed after the run began; delete the run's folder to redo it".into()
            } else {
                format!("is the record of {}, not of {}; choose another folder", run.record.id, record.id)
            };
            return Err(Error::bad_file(&dir.join(RUN), problem));
        }
        if run.status.state == State::Done {
            return Ok(Outcome::Done);
        }
    } else {
        write_status(dir, State::Running, 0, 0.0, None)?;
        write_record(dir, record)?;
    }
    let mut session = match Session::open(&record.cell, variant, dataset, device, dir) {
        Ok(session) => session,
        Err(error) => {
            let _ = mark_failed(dir, record, &error.to_string());
            return Err(error);
        }
    };
    let outcome = session.run(stop, progress);
    if let Err(error) = &outcome {
        let (samples, wall_s) = (session.samples(), session.wall_s());
        // If the disk is full this fails too; the first error is the one to tell.
        let _ = write_status(dir, State::Failed, samples, wall_s, Some(error.to_string()));
    }
    outcome
}

/// Records a run that could not even begin as failed.
///
/// # Errors
/// If its folder cannot be written.
pub fn mark_failed(dir: &Path, record: &RunRecord, reason: &str) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    let before = if dir.join(RUN).exists() { Some(Run::read(dir)?.status) } else { None };
    let (samples, wall_s) = before.map_or((0, 0.0), |status| (status.samples, status.wall_s));
    write_status(dir, State::Failed, samples, wall_s, Some(reason.into()))?;
    if !dir.join(RUN).exists() {
        write_record(dir, record)?;
    }
    Ok(())
}

fn write_record(dir: &Path, record: &RunRecord) -> Result<()> {
    let text = toml::to_string(record)
        .map_err(|e| Error::bad_file(&dir.join(RUN), format!("cannot be made: {e}")))?;
    write_atomic(&dir.join(RUN), text.as_bytes())
}

/// A run in memory.
struct Session<'a> {
    cell: &'a Cell,
    dataset: &'a dyn Dataset,
    dir: &'a Path,
    learner: Learner,
    bank: LineBank,
    draws: Draws,
    metrics: Metrics,
    events: Events,
    started: Instant,
    wall_before: f64,
}

impl<'a> Session<'a> {
    fn open(
        cell: &'a Cell,
        variant: &dyn Variant,
        dataset: &'a dyn Dataset,
        device: &Device,
        dir: &'a Path,
    ) -> Result<Self> {
        let build = Build {
            image: dataset.image(),
            network: cell.network,
            hyper: &cell.hyper,
            seed: cell.seed,
            dtype: DType::F32,
            device,
        };
        let model = variant.build(&build)?;
        let mut learner = Learner::new(model, dataset.classes(), cell.seed, cell.learning_rate)?;
        let (mut metrics, mut wall_before) = (Metrics::default(), 0.0);
        let saved = dir.join(CHECKPOINT);
        if saved.exists() {
            wall_before = checkpoint::restore(&saved, cell, &mut learner)?;
            // Rows measured after the checkpoint are measured again, with the same values.
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
        let events = Events::create(dir, &metrics.0)?;
        Ok(Self {
            cell,
            dataset,
            dir,
            learner,
            bank: LineBank::default(),
            draws: Draws::new(cell.seed, device),
            metrics,
            events,
            started: Instant::now(),
            wall_before,
        })
    }

    fn samples(&self) -> u64 {
        self.cell.samples_at(self.learner.step())
    }

    fn wall_s(&self) -> f64 {
        self.wall_before + self.started.elapsed().as_secs_f64()
    }

    fn run(&mut self, stop: &AtomicBool, progress: &mut dyn FnMut(&Progress)) -> Result<Outcome> {
        progress(&Progress::Started { samples: self.samples() });
        write_status(self.dir, State::Running, self.samples(), self.wall_s(), None)?;
        let steps = self.cell.steps();
        let mut reported = (Instant::now(), self.samples());
        while self.learner.step() < steps {
            if stop.load(Ordering::Relaxed) {
                self.save(State::Interrupted)?;
                progress(&Progress::Interrupted { samples: self.samples() });
                return Ok(Outcome::Interrupted);
            }
            let losses = self.step()?;
            let (step, last) = (self.learner.step(), self.learner.step() == steps);
            let trained = Instant::now();
            if last || step.is_multiple_of(self.cell.eval_steps()) {
                let metrics = self.evaluate(&losses)?;
                progress(&Progress::Evaluated { samples: self.samples(), metrics });
            }
            if !last && step.is_multiple_of(self.cell.checkpoint_steps()) {
                self.save(State::Running)?;
            }
            reported.0 += trained.elapsed();
            let elapsed = reported.0.elapsed();
            if last || elapsed >= REPORT_EVERY {
                let samples = self.samples();
                let samples_per_s = (samples - reported.1) as f64 / elapsed.as_secs_f64().max(1e-9);
                progress(&Progress::Stepped { samples, samples_per_s, losses });
                reported = (Instant::now(), samples);
            }
        }
        // The checkpoint first: it refuses parameters that are not finite.
        checkpoint::save(&self.dir.join(CHECKPOINT), self.cell, &self.learner, self.wall_s())?;
        checkpoint::save_model(&self.dir.join(MODEL), self.cell, &self.learner)?;
        write_status(self.dir, State::Done, self.samples(), self.wall_s(), None)?;
        progress(&Progress::Done);
        Ok(Outcome::Done)
    }

    /// One training step; the values of its losses and terms.
    fn step(&mut self) -> Result<Vec<(String, f64)>> {
        let step = self.learner.step();
        let batch = self.dataset.train_batch(self.cell.batch, &self.draws.scope("data").at(step))?;
        let gradients = self.learner.gradients(&batch, &self.draws.scope("train").at(step))?;
        let mut losses = Vec::with_capacity(gradients.losses.len());
        for (name, loss) in &gradients.losses {
            let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            if !value.is_finite() {
                let samples = self.samples();
                return Err(Error::NotFinite { loss: name.clone(), value, step: step + 1, samples });
            }
            losses.push((name.clone(), value));
        }
        self.learner.update(&gradients)?;
        Ok(losses)
    }

    /// Measures, records and writes what is known at this step.
    fn evaluate(&mut self, losses: &[(String, f64)]) -> Result<Vec<(String, f64)>> {
        let (step, samples) = (self.learner.step(), self.samples());
        let draws = self.draws.scope("eval").at(step);
        let mut metrics = evaluate(&self.learner, self.dataset, &self.bank, self.cell.test_samples, &draws)?;
        let wall_s = self.wall_s();
        let row = |(metric, value): &(String, f64)| Row {
            step,
            samples,
            metric: metric.clone(),
            value: *value,
            wall_s,
        };
        let rows: Vec<Row> = losses.iter().chain(&metrics).map(row).collect();
        self.events.append(&rows)?;
        self.metrics.0.extend(rows);
        self.metrics.write(&self.dir.join(METRICS))?;

        let images = figure_3(&self.learner, &draws.scope("figure"))?;
        let bytes = safetensors::serialize([("images", &images)], None)
            .map_err(|e| Error::bad_file(&self.dir.join(INTERPOLATION), format!("cannot be made: {e}")))?;
        write_atomic(&self.dir.join(INTERPOLATION), &bytes)?;
        write_atomic(&self.dir.join("interpolation.png"), &strip(&images)?)?;
        write_status(self.dir, State::Running, samples, wall_s, None)?;
        metrics.retain(|(_, value)| value.is_finite());
        Ok(metrics)
    }

    /// Writes a checkpoint; the metrics up to here were written before it.
    fn save(&self, state: State) -> Result<()> {
        checkpoint::save(&self.dir.join(CHECKPOINT), self.cell, &self.learner, self.wall_s())?;
        write_status(self.dir, state, self.samples(), self.wall_s(), None)
    }
}

fn write_status(dir: &Path, state: State, samples: u64, wall_s: f64, reason: Option<String>) -> Result<()> {
    write_json(&dir.join(STATUS), &Status { state, samples, wall_s, reason })
}

/// The images side by side as a gray PNG, [-1, 1] to black and white; the first channel of each.
fn strip(images: &Tensor) -> Result<Vec<u8>> {
    let (count, height, width, _) = images.dims4()?;
    let first = images.narrow(3, 0, 1)?.squeeze(3)?.to_vec3::<f32>()?;
    let mut pixels = Vec::with_capacity(count * height * width);
    for y in 0..height {
        for image in &first {
            pixels.extend(image[y].iter().map(|v| ((v + 1.0) * 127.5).round() as u8));
        }
    }
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = png::Encoder::new(&mut bytes, (count * width) as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|e| Error::BadCell(format!("cannot make interpolation.png: {e}")))?;
    Ok(bytes.into_inner())
}
