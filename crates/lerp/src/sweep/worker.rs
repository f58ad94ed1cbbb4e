//! A worker as the sweep sees it: a process that trains runs on one device. It gets each run to train as one line of JSON
//! on standard input and answers with lines of JSON. When its standard input closes, on request or because the sweep was
//! killed, its runs stop with checkpoints.

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

/// What a run has to say, in its folder.
pub const LOG: &str = "log.txt";

/// A run to train.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Its cell's place in the sweep.
    pub index: usize,
    /// What it is. Its folder is called as the run is.
    pub record: RunRecord,
    /// What its dataset is called now, if not as in the record: the images of a run that goes on may have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Whether the sweep's judge of the dataset measures it, if there is one.
    #[serde(default)]
    pub judged: bool,
    /// Seconds after which the run stops with a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<f64>,
}

/// What a worker says of one of its runs; [`Progress::Done`], [`Progress::Interrupted`] or [`Progress::Failed`] comes last.
#[derive(Serialize, Deserialize)]
pub struct News {
    /// Its cell's place in the sweep.
    pub index: usize,
    /// False if the worker should get no more runs: one has failed, and its device does not answer.
    pub sound: bool,
    /// The news.
    #[serde(flatten)]
    pub progress: Progress,
}

/// What a worker's reader sends.
pub enum Message {
    /// Of one of its runs.
    News(News),
    /// Its output ended, and so will it.
    Ended,
}

/// A running worker.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Whether it may get another run.
    pub open: bool,
}

impl Worker {
    /// Starts the worker called `name` on a device, for runs in the folder `runs` with `threads` threads each. What it says
    /// beside its news goes to `log`.
    pub fn start(
        name: usize,
        (runs, device, threads): (&Path, &str, usize),
        data: Option<&Path>,
        log: File,
        sender: Sender<(usize, Message)>,
    ) -> Result<Self> {
        let mut child = Command::new(this_program().context("cannot find this program")?)
            .arg("worker")
            .arg(runs)
            .args(["--device", device])
            .env("RAYON_NUM_THREADS", threads.to_string())
            .envs(data.map(|data| (FOLDER_VARIABLE, data)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start a worker")?;
        let stdin = child.stdin.take().context("a worker has no input")?;
        let stdout = child.stdout.take().context("a worker has no output")?;
        let read = move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(news) = serde_json::from_str(&line) {
                    let _ = sender.send((name, Message::News(news)));
                }
            }
            let _ = sender.send((name, Message::Ended));
        };
        let worker = Self { child, stdin: Some(stdin), open: true };
        match thread::Builder::new().name("reader".into()).spawn(read) {
            Ok(_) => Ok(worker),
            Err(error) => {
                worker.end();
                Err(error).context("cannot start a thread that reads a worker's news")
            }
        }
    }

    /// Gives it a run to train.
    pub fn train(&mut self, order: &Order) -> Result<()> {
        let line = format!("{}\n", serde_json::to_string(order)?);
        if let Some(stdin) = &mut self.stdin {
            // If it has died, its end tells so.
            let _ = stdin.write_all(line.as_bytes());
        }
        Ok(())
    }

    /// Asks it to end: its runs write a checkpoint and stop.
    pub fn close(&mut self) {
        self.open = false;
        self.stdin = None;
    }

    /// Waits for it.
    pub fn end(mut self) -> End {
        self.close();
        match self.child.wait() {
            Ok(exit) if exit.success() => End::Failed("the worker ended without finishing".into()),
            Ok(exit) => {
                let reason =
                    format!("the worker died ({exit}); the next sweep goes on from its last checkpoint");
                if asked_to_stop(exit) { End::Asked(reason) } else { End::Failed(reason) }
            }
            Err(error) => End::Failed(format!("cannot wait for the worker: {error}")),
        }
    }
}

/// Why runs did not end that a worker had.
pub enum End {
    /// It was asked to stop when it did not listen yet, by a signal that the sweep has had, too, unless it was meant for
    /// the worker alone.
    Asked(String),
    /// Anything else.
    Failed(String),
}

#[cfg(unix)]
fn asked_to_stop(exit: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    matches!(exit.signal(), Some(libc::SIGINT | libc::SIGTERM | libc::SIGHUP))
}

#[cfg(not(unix))]
fn asked_to_stop(_: ExitStatus) -> bool {
    false
}

/// Opens the log in the folder of a run or a sweep to write at its end, as several may do.
pub fn log(path: &Path) -> Result<File> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    Ok(lerp_files::append(path)?)
}

/// This program, also after a new build has taken its place in the file system.
fn this_program() -> std::io::Result<PathBuf> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() { Ok(linux.into()) } else { std::env::current_exe() }
}
