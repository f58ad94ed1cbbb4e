//! The sweep's side of a worker process, which trains runs on one device. The worker receives each run as one line of
//! JSON on standard input and sends messages as lines of JSON on standard output. When its standard input closes, on
//! request or because the sweep was killed, its runs write checkpoints and stop.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::Sender,
    thread,
};

use anyhow::{Context, Result};
use lerp_data::FOLDER_VARIABLE;
use lerp_files::make_folder;
use lerp_train::{Progress, RunRecord};
use serde::{Deserialize, Serialize};

/// File name of the log in a run's folder.
pub const LOG: &str = "log.txt";

/// The request to train a run, as the sweep sends it to a worker.
#[derive(Serialize, Deserialize)]
pub struct RunRequest {
    /// Index of the run's cell in the sweep.
    pub index: usize,
    /// Record of the run. The run's folder has the name of the run.
    pub record: RunRecord,
    /// Present name of the dataset, if it differs from the record because the images of a resumed run have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Whether the sweep's judge of the dataset measures the run, if there is a judge.
    #[serde(default)]
    pub judged: bool,
    /// Seconds of training after which the run stops with a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
}

/// A worker's message about one of its runs; the last one is [`Progress::Done`], [`Progress::Interrupted`] or
/// [`Progress::Failed`].
#[derive(Serialize, Deserialize)]
pub struct RunMessage {
    /// Index of the run's cell in the sweep.
    pub index: usize,
    /// `false` if the worker must not get more runs, because a run failed and the device no longer works.
    pub device_works: bool,
    /// The progress of the run.
    #[serde(flatten)]
    pub progress: Progress,
}

/// What the thread that reads a worker's output sends to the queue.
pub struct WorkerEvent {
    /// Index of the worker's slot in the queue.
    pub slot: usize,
    /// A message about one of the worker's runs; `None` after the worker's standard output has ended, so that the
    /// process is ending.
    pub message: Option<RunMessage>,
}

/// What a worker process is started with.
pub struct WorkerSettings<'a> {
    /// Index of the worker's slot in the queue.
    pub slot: usize,
    /// Folder of the runs.
    pub runs: &'a Path,
    /// Name of the device.
    pub device: &'a str,
    /// Threads of each run.
    pub threads: usize,
    /// Folder of the image sets, if one was given on the command line.
    pub data: Option<&'a Path>,
    /// The file to which the worker's standard error is appended.
    pub log: File,
}

/// A running worker process.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Whether the worker may get another run.
    pub accepts_runs: bool,
}

impl Worker {
    /// Starts a worker process, whose messages are sent to `sender`.
    pub fn start(settings: WorkerSettings, sender: Sender<WorkerEvent>) -> Result<Self> {
        let WorkerSettings { slot, runs, device, threads, data, log } = settings;
        let mut child = Command::new(this_program().context("cannot find the file of this program")?)
            .arg("worker")
            .arg(runs)
            .args(["--device", device])
            .env("RAYON_NUM_THREADS", threads.to_string())
            .envs(data.map(|data| (FOLDER_VARIABLE, data)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start a worker process")?;
        let stdin = child.stdin.take().context("a worker process has no standard input")?;
        let stdout = child.stdout.take().context("a worker process has no standard output")?;
        let read = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str(&line) {
                    let _ = sender.send(WorkerEvent { slot, message: Some(message) });
                }
            }
            let _ = sender.send(WorkerEvent { slot, message: None });
        };
        let worker = Self { child, stdin: Some(stdin), accepts_runs: true };
        match thread::Builder::new().name("reader".into()).spawn(read) {
            Ok(_) => Ok(worker),
            Err(error) => {
                worker.end();
                Err(error).context("cannot start a thread that reads the messages of a worker process")
            }
        }
    }

    /// Sends the worker a run to train.
    pub fn train(&mut self, request: &RunRequest) -> Result<()> {
        let line = format!("{}\n", serde_json::to_string(request)?);
        if let Some(stdin) = &mut self.stdin {
            // A write error means that the worker has died, which its end will report.
            let _ = stdin.write_all(line.as_bytes());
        }
        Ok(())
    }

    /// Asks the worker to end: its runs write checkpoints and stop.
    pub fn close(&mut self) {
        self.accepts_runs = false;
        self.stdin = None;
    }

    /// Waits for the worker to end, and returns how it ended.
    pub fn end(mut self) -> End {
        self.close();
        match self.child.wait() {
            Ok(exit) if exit.success() => End::Failed("the worker ended without finishing".into()),
            Ok(exit) => {
                let reason = format!(
                    "the worker died ({exit}); the next sweep resumes the run from its last checkpoint"
                );
                if was_signalled_to_stop(exit) { End::Signalled(reason) } else { End::Failed(reason) }
            }
            Err(error) => End::Failed(format!("cannot wait for the worker: {error}")),
        }
    }
}

/// Why a worker ended before its runs, as a sentence.
pub enum End {
    /// A termination signal ended it before it had installed its handler. The sweep receives the same signal, unless
    /// only the worker was signalled.
    Signalled(String),
    /// Any other reason.
    Failed(String),
}

#[cfg(unix)]
fn was_signalled_to_stop(exit: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    matches!(exit.signal(), Some(libc::SIGINT | libc::SIGTERM | libc::SIGHUP))
}

#[cfg(not(unix))]
fn was_signalled_to_stop(_: ExitStatus) -> bool {
    false
}

/// Opens the log in the folder of a run or a sweep for appending, since several processes may write it.
pub fn log(path: &Path) -> Result<File> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(lerp_files::append(path)?)
}

/// Returns the path of this program, which on Linux stays valid after a new build has replaced the file.
fn this_program() -> std::io::Result<PathBuf> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() { Ok(linux.into()) } else { std::env::current_exe() }
}
