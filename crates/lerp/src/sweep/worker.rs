//! A worker process: one cell. It gets its record as one line of JSON on standard input, prints its progress as lines of
//! JSON, and stops with a checkpoint when its standard input closes: on request, or because the sweep was killed.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
    thread,
};

use anyhow::{Context, Result};
use lerp_data::FOLDER_VARIABLE;
use lerp_train::{Progress, Run, RunRecord, State};

use crate::{cli::WorkerArgs, device, registry::Registry};

/// What a worker's reader sends.
pub enum Message {
    /// A line of progress.
    Progress(Progress),
    /// Its output ended.
    Ended,
}

/// How a worker ended.
pub enum End {
    /// Complete.
    Done,
    /// Stopped on request.
    Interrupted,
    /// Failed, and why.
    Failed(String),
}

/// A running worker.
pub struct Worker {
    /// Its cell's place in the plan.
    pub index: usize,
    dir: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    reason: Option<String>,
}

impl Worker {
    /// Starts a worker on `record` in `dir`; its errors go to `log.txt` there.
    pub fn start(
        index: usize,
        record: &RunRecord,
        dir: &Path,
        device: &str,
        threads: usize,
        data: Option<&Path>,
        sender: Sender<(usize, Message)>,
    ) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let log = dir.join("log.txt");
        let log = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = this_program().context("cannot find this program")?;
        let mut child = Command::new(program)
            .arg("worker")
            .arg(dir)
            .args(["--device", device])
            .env("RAYON_NUM_THREADS", threads.to_string())
            .envs(data.map(|data| (FOLDER_VARIABLE, data)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start a worker")?;
        let mut stdin = child.stdin.take().context("a worker has no input")?;
        let stdout = child.stdout.take().context("a worker has no output")?;
        stdin
            .write_all(format!("{}\n", serde_json::to_string(record)?).as_bytes())
            .context("cannot reach a worker")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(progress) = serde_json::from_str(&line) {
                    let _ = sender.send((index, Message::Progress(progress)));
                }
            }
            let _ = sender.send((index, Message::Ended));
        });
        Ok(Self { index, dir: dir.to_owned(), child, stdin: Some(stdin), reason: None })
    }

    /// Asks it to write a checkpoint and stop.
    pub fn stop(&mut self) {
        self.stdin = None;
    }

    /// Takes its last word: why it fails.
    pub fn failing(&mut self, reason: &str) {
        self.reason = Some(reason.to_owned());
    }

    /// Waits for it and tells how it ended.
    pub fn end(mut self) -> End {
        let exit = self.child.wait();
        if let Some(reason) = self.reason {
            return End::Failed(reason);
        }
        let status = Run::read(&self.dir).map(|run| run.status);
        match (exit, status) {
            (Ok(exit), Ok(status)) if exit.success() => match status.state {
                State::Done => End::Done,
                State::Interrupted => End::Interrupted,
                _ => End::Failed("the worker ended without finishing".into()),
            },
            (Ok(exit), _) => End::Failed(format!(
                "the worker died ({exit}); the next sweep goes on from its last checkpoint"
            )),
            (Err(error), _) => End::Failed(format!("cannot wait for the worker: {error}")),
        }
    }
}

/// This program, also after a new build has taken its place in the file system.
fn this_program() -> std::io::Result<PathBuf> {
    let linux = Path::new("/proc/self/exe");
    if linux.exists() { Ok(linux.into()) } else { std::env::current_exe() }
}

/// `lerp worker`.
///
/// # Errors
/// If the record is not one, or training fails.
pub fn worker(registry: &Registry, args: &WorkerArgs) -> Result<bool> {
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).context("cannot read the record")?;
    let record: RunRecord =
        serde_json::from_str(&line).context("standard input is not the record of a run")?;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    // On a terminal Ctrl-C reaches workers too; they stop when the sweep closes their input.
    ctrlc::set_handler(|| ()).context("cannot catch Ctrl-C")?;
    thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
    let mut out = std::io::stdout();
    // A sweep that is gone has closed this worker's input too, which stops it; that it does not listen is no error.
    let mut tell = |progress: &Progress| {
        if let Ok(line) = serde_json::to_string(progress) {
            let _ = writeln!(out, "{line}");
        }
    };
    let mut run = || -> Result<()> {
        let variant = registry.find(&record.cell.variant)?;
        let dataset = lerp_data::dataset(&record.cell.dataset, None)?;
        let device = device::open(&args.device)?;
        lerp_train::train(&record, variant, &*dataset, &device, &args.dir, &stop, &mut tell)?;
        Ok(())
    };
    let result = run();
    if let Err(error) = &result {
        tell(&Progress::Failed { reason: format!("{error:#}") });
    }
    result.map(|()| true)
}
