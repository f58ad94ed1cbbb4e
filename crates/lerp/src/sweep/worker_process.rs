//! `lerp worker`: a worker process, which trains the runs that arrive on standard input at the same time, each on its
//! own threads.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use lerp_data::Dataset;
use lerp_train::{Progress, RunInputs, mark_failed};

use super::{
    judges,
    worker::{LOG, RunMessage, RunRequest, log},
};
use crate::{cli::WorkerArgs, device, registry::Registry};

/// Runs `lerp worker`.
///
/// # Errors
/// If standard input does not have the format that a sweep sends. The failure of a run is not an error of the worker;
/// it is reported to the sweep.
pub fn worker(registry: &Registry, args: &WorkerArgs) -> Result<bool> {
    // Ctrl-C on a terminal also signals the workers, which ignore it; they stop when the sweep closes their standard
    // input.
    ctrlc::set_handler(|| ()).context("cannot catch Ctrl-C")?;
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot create {}", args.dir.display()))?;
    let process = WorkerProcess::new(registry, &args.dir, &args.device, std::io::stdout());
    process.serve(BufReader::new(std::io::stdin())).map(|()| true)
}

/// The state that the runs of a worker process share.
struct WorkerProcess<'a, W> {
    registry: &'a Registry,
    /// Folder of the runs.
    runs: &'a Path,
    device: &'a str,
    /// The datasets in use. Each is opened once per process, so that runs share its decoded images.
    datasets: Mutex<HashMap<String, Weak<dyn Dataset>>>,
    stop: AtomicBool,
    out: Mutex<W>,
}

impl<'a, W: Write + Send> WorkerProcess<'a, W> {
    fn new(registry: &'a Registry, runs: &'a Path, device: &'a str, out: W) -> Self {
        let datasets = Mutex::default();
        Self { registry, runs, device, datasets, stop: AtomicBool::new(false), out: Mutex::new(out) }
    }

    /// Starts every run that arrives. When the input ends, stops the runs and waits for them.
    fn serve(&self, input: impl BufRead) -> Result<()> {
        thread::scope(|scope| {
            let take = |line: std::io::Result<String>| -> Result<()> {
                let line = line.context("cannot read standard input")?;
                let request: RunRequest = serde_json::from_str(&line)
                    .context("standard input does not hold requests to train runs")?;
                let request = Arc::new(request);
                let of_thread = Arc::clone(&request);
                let started = thread::Builder::new().spawn_scoped(scope, move || self.run(&of_thread));
                if let Err(error) = started {
                    let reason = format!("cannot start a thread for the run ({error})");
                    let device_works = true;
                    self.failed(&request, device_works, reason);
                }
                Ok(())
            };
            let taken = input.lines().try_for_each(take);
            self.stop.store(true, Ordering::Relaxed);
            taken
        })
    }

    /// Trains one run to its end. The last message about the run says how it ended.
    fn run(&self, request: &RunRequest) {
        let record = &request.record;
        let dir = self.runs.join(&record.id);
        // A run that was already complete reports no progress, so this is the default.
        let mut end = Progress::Done;
        let trained = catch_unwind(AssertUnwindSafe(|| {
            self.train(request, &dir, &mut |progress| match progress {
                // The end is reported after the run has released its folder.
                Progress::Done | Progress::Interrupted { .. } => end = progress.clone(),
                progress => self.tell(request, progress),
            })
        }));
        let reason = match trained {
            Ok(Ok(())) => return self.tell(request, &end),
            Ok(Err(error)) => format!("{error:#}"),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
                let reason =
                    format!("the run panicked ({said}); the next sweep resumes it from its last checkpoint");
                // An error here, for example on a full disk, is ignored: the panic is the failure to report.
                let _ = mark_failed(&dir, record, &reason);
                reason
            }
        };
        // A failed CUDA kernel makes the GPU unusable for the whole process, so the device is tested before more runs
        // are accepted.
        let device_works = device::open(self.device, record.cell.precision).is_ok_and(|device| {
            let works = device.synchronize().is_ok();
            lerp_kernels::release_device(device);
            works
        });
        self.failed(request, device_works, reason);
    }

    /// Reports that a run failed, to the sweep and in the run's log.
    fn failed(&self, request: &RunRequest, device_works: bool, reason: String) {
        let path = self.runs.join(&request.record.id).join(LOG);
        let _ = log(&path).map(|mut log| writeln!(log, "error: {reason}"));
        self.send(&RunMessage { index: request.index, device_works, progress: Progress::Failed { reason } });
    }

    /// Trains a run on a thread pool of its own.
    fn train(
        &self,
        request: &RunRequest,
        dir: &Path,
        tell: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<()> {
        let cell = &request.record.cell;
        // Each run has its own thread pool, so that a thread that waits for this run's work does not take up work of
        // another run.
        let threads = rayon::ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
        // The threads are named after the run, so that a panic message identifies it.
        let name = request.record.id.clone();
        let pool = threads.thread_name(move |_| name.clone()).build().map_err(|error| {
            anyhow!("cannot start the threads of the run ({error}); give --jobs a smaller number")
        })?;
        pool.install(|| {
            let variant = self.registry.find(&cell.variant)?;
            let dataset = self.dataset(request.dataset.as_ref().unwrap_or(&cell.dataset))?;
            // Opening the device gives the run its own CUDA stream.
            let device = device::open(self.device, cell.precision)?;
            let metrics = self.registry.metrics();
            let sweep = self.runs.parent().unwrap_or(self.runs);
            let judge = if request.judged { judges::find(sweep, &*dataset, &request.record) } else { None };
            let judge = judge.as_ref();
            let inputs = RunInputs { variant, dataset: &*dataset, device: &device, metrics, judge };
            let measuring = AtomicBool::new(false);
            let trained = self.within(request.time_limit, &measuring, |stop| {
                lerp_train::train(&request.record, &inputs, dir, stop, &mut |progress| {
                    measuring.fetch_or(matches!(progress, Progress::Finishing), Ordering::Relaxed);
                    tell(progress);
                })
            });
            lerp_kernels::release_device(device);
            Ok(trained.map(drop)?)
        })
    }

    /// Calls `train` with a stop flag that is raised when all runs are to stop or after `limit` seconds, and returns
    /// its result. The limit does not stop the final evaluation, signalled by `measuring`, which would have to start
    /// from its beginning at every attempt.
    fn within<T>(
        &self,
        limit: Option<f64>,
        measuring: &AtomicBool,
        train: impl FnOnce(&AtomicBool) -> T,
    ) -> T {
        /// Interval between two checks of the time.
        const EVERY: Duration = Duration::from_millis(50);
        let Some(limit) = limit else { return train(&self.stop) };
        let (stop, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let started = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let late = started.elapsed().as_secs_f64() >= limit && !measuring.load(Ordering::Relaxed);
                    if self.stop.load(Ordering::Relaxed) || late {
                        stop.store(true, Ordering::Relaxed);
                        break;
                    }
                    thread::sleep(EVERY);
                }
            });
            let trained = catch_unwind(AssertUnwindSafe(|| train(&stop)));
            // Set after a panic too, or the timing thread would never end.
            over.store(true, Ordering::Relaxed);
            trained.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Returns the dataset called `name`, which is opened unless another run of the process has it open.
    fn dataset(&self, name: &str) -> Result<Arc<dyn Dataset>> {
        let mut datasets = self.datasets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dataset) = datasets.get(name).and_then(Weak::upgrade) {
            return Ok(dataset);
        }
        let dataset: Arc<dyn Dataset> = self.registry.dataset(name, None)?.into();
        datasets.insert(name.to_owned(), Arc::downgrade(&dataset));
        Ok(dataset)
    }

    /// Reports the progress of a run, on a device that works.
    fn tell(&self, request: &RunRequest, progress: &Progress) {
        self.send(&RunMessage { index: request.index, device_works: true, progress: progress.clone() });
    }

    /// Sends a message to the sweep. A write error is ignored: if the sweep has ended, the worker's input is closed as
    /// well, which stops the worker.
    fn send(&self, message: &RunMessage) {
        if let Ok(line) = serde_json::to_string(message) {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use candle_core::Tensor;
    use lerp_baseline::Baseline;
    use lerp_core::{
        Autoencoder, Build, Draws, Hyper, Model, ModelVariant, Network, Objectives, ParamStore, Precision,
        Schedule, Spec,
    };
    use lerp_eval::{Better, Metric, Quantity, Subject};
    use lerp_train::{Cell, Run, RunRecord, State};

    use super::*;
    use crate::provenance::{Placement, provenance};

    /// A baseline that panics in its third step.
    struct Panics(Baseline);

    impl Model for Panics {
        const NAME: &'static str = "panics";
        const TITLE: &'static str = "Panics";
        type Config = <Baseline as Model>::Config;
        fn check(config: &Self::Config) -> lerp_core::Result<()> {
            Baseline::check(config)
        }
        fn new(config: Self::Config, build: &Build) -> lerp_core::Result<Self> {
            Ok(Self(Baseline::new(config, build)?))
        }
    }

    impl Autoencoder for Panics {
        fn spec(&self) -> &Spec {
            self.0.spec()
        }
        fn params(&self) -> &ParamStore {
            self.0.params()
        }
        fn encode(&self, x: &Tensor, draws: &Draws) -> lerp_core::Result<Tensor> {
            self.0.encode(x, draws)
        }
        fn decode(&self, z: &Tensor) -> lerp_core::Result<Tensor> {
            self.0.decode(z)
        }
        fn objectives(&self, x: &Tensor, draws: &Draws) -> lerp_core::Result<Objectives> {
            assert!(draws.step() != 2, "the third step");
            self.0.objectives(x, draws)
        }
    }

    static PANICS: ModelVariant<Panics> = ModelVariant::new();

    /// Returns the request to train a small model, as a line of JSON.
    fn request(index: usize, variant: &str, samples: u64) -> String {
        let cell = Cell {
            dataset: "lines".into(),
            variant: variant.into(),
            seed: 0,
            samples,
            batch: 4,
            learning_rate: 1e-3,
            eval_every: 1 << 30,
            checkpoint_every: 1 << 30,
            test_samples: 8,
            cluster_restarts: None,
            precision: Precision::F32,
            ema: None,
            schedule: Schedule::default(),
            origin: lerp_train::Origin::Trained,
            network: Network { scales: 4, depth: 2, latent: 2 }.into(),
            hyper: Hyper::new(),
        };
        let provenance = provenance(
            Placement { device: "cpu", precision: Precision::F32, threads: 1 },
            None,
            String::new(),
        );
        let record = RunRecord::new(cell, variant, provenance);
        serde_json::to_string(&RunRequest { index, record, dataset: None, judged: false, time_limit: None })
            .unwrap()
            + "\n"
    }

    #[test]
    fn a_panic_fails_its_own_run_and_a_closed_input_stops_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = Registry::default();
        registry.add_variant(&PANICS).unwrap();
        let (input, mut requests) = io::pipe().unwrap();
        let (messages, out) = io::pipe().unwrap();
        let mut messages =
            BufReader::new(messages).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let mut until = |wanted: &dyn Fn(&RunMessage) -> bool| {
            messages.find(|message: &RunMessage| wanted(message)).unwrap()
        };
        thread::scope(|scope| {
            let serving = scope
                .spawn(|| WorkerProcess::new(&registry, dir.path(), "cpu", out).serve(BufReader::new(input)));
            // One run would take hours, and another panics while it is training.
            requests.write_all(request(7, "baseline", 1 << 30).as_bytes()).unwrap();
            until(&|message| message.index == 7 && matches!(message.progress, Progress::Stepped { .. }));
            requests.write_all(request(8, "panics", 1 << 30).as_bytes()).unwrap();
            let failed = until(&|message| matches!(message.progress, Progress::Failed { .. }));
            let Progress::Failed { reason } = failed.progress else { panic!("{}", failed.index) };
            assert!(failed.index == 8 && failed.device_works, "{reason}");
            assert!(reason.contains("panicked") && reason.contains("the third step"), "{reason}");
            // The worker accepts another run and does not wait for the first.
            requests.write_all(request(9, "vae", 8).as_bytes()).unwrap();
            until(&|message| message.index == 9 && message.progress == Progress::Done);
            drop(requests);
            until(&|message| {
                message.index == 7 && matches!(message.progress, Progress::Interrupted { samples: 8.. })
            });
            serving.join().unwrap().unwrap();
        });
        let state = |variant: &str| {
            let folders = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            let runs = folders.map(|dir| Run::read(&dir).unwrap());
            runs.into_iter().find(|run| run.record.cell.variant == variant).unwrap().status.state
        };
        assert_eq!(
            [state("baseline"), state("panics"), state("vae")],
            [State::Interrupted, State::Failed, State::Done]
        );
    }

    /// A metric: the mean pixel value of decoded images.
    struct Brightness([Quantity; 1]);

    impl Metric for Brightness {
        fn quantities(&self) -> &[Quantity] {
            &self.0
        }
        fn measure(&self, of: &Subject<'_>) -> lerp_eval::Result<Vec<f64>> {
            Ok(vec![lerp_core::scalar(&of.between(2, &[0.5])?.images.mean_all()?)?])
        }
    }

    static BRIGHTNESS: Brightness =
        Brightness([Quantity::new("brightness", "Brightness", Better::Neither, "How bright images are.")]);

    #[test]
    fn a_worker_takes_the_metrics_of_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = Registry::default();
        registry.add_metric(&BRIGHTNESS).unwrap();
        WorkerProcess::new(&registry, dir.path(), "cpu", io::sink())
            .serve(request(0, "vae", 8).as_bytes())
            .unwrap();
        let folder = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let run = Run::read(&folder).unwrap();
        assert_eq!(run.record.quantities, lerp_eval::recorded(&BRIGHTNESS).collect::<Vec<_>>());
    }

    #[test]
    fn a_worker_whose_device_is_gone_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (messages, out) = io::pipe().unwrap();
        let registry = Registry::default();
        let worker = WorkerProcess::new(&registry, dir.path(), "cuda:4096", out);
        worker.serve(request(3, "vae", 8).as_bytes()).unwrap();
        drop(worker);
        let lines: Vec<RunMessage> = BufReader::new(messages)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        let [RunMessage { index: 3, device_works: false, progress: Progress::Failed { reason } }] =
            &lines[..]
        else {
            panic!("{} lines", lines.len())
        };
        assert!(reason.contains("--device cpu"), "{reason}");
        let log = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path().join(LOG);
        assert_eq!(std::fs::read_to_string(log).unwrap(), format!("error: {reason}\n"));
    }
}
