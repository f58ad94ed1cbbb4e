//! The file `progress.json`: the current progress of a worker process, for programs that watch a run.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{files::PROGRESS, lease::Held};

/// The time between two updates of the file; shorter in tests, which wait for some of them.
const UPDATE_EVERY: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(2) };

/// The current progress of a worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveProgress {
    /// Number of samples trained on.
    pub samples: u64,
    /// Recent training speed in samples per second, excluding evaluations and checkpoints; 0 until it is known.
    pub samples_per_s: f64,
    /// Losses and terms of a recent step, by name.
    pub losses: Vec<(String, f64)>,
    /// Current phase of the run.
    pub phase: Phase,
    /// Time of the report, in seconds since 1970. A worker renews it every two seconds in every phase, so a much
    /// older report was left by a worker that was killed.
    pub at: f64,
}

/// The phases of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Training, including evaluations.
    Training,
    /// Training is over, and the measurements at the end of the run are taken.
    Finishing,
}

impl LiveProgress {
    /// Returns a report of training at `samples` samples, with speed and losses unknown.
    pub(crate) fn training(samples: u64) -> Self {
        Self { samples, samples_per_s: 0.0, losses: Vec::new(), phase: Phase::Training, at: 0.0 }
    }
}

/// Keeps the progress file of a run up to date from a separate thread, because an evaluation may take minutes.
/// Dropping it removes the file.
pub(crate) struct ProgressFile {
    held: Arc<Held>,
    path: PathBuf,
    reports: Option<Sender<LiveProgress>>,
    writer: Option<JoinHandle<()>>,
}

impl ProgressFile {
    /// Starts the thread for the run whose folder is held, after removing a file that a killed worker left.
    pub fn new(held: Arc<Held>) -> Self {
        let path = held.dir.join(PROGRESS);
        let _ = fs::remove_file(&path);
        let (reports, receiver) = mpsc::channel();
        let writer = {
            let (held, path) = (Arc::clone(&held), path.clone());
            thread::Builder::new()
                .name("progress".into())
                .spawn(move || write_reports(&held, &path, &receiver))
                .ok()
        };
        Self { held, path, reports: Some(reports), writer }
    }

    /// Sets the content of the file's next update; the first one is written at once.
    pub fn update(&self, live: LiveProgress) {
        // Errors are ignored: if the thread could not be started nobody listens, and a run does not depend on its
        // progress file.
        let _ = self.reports.as_ref().map(|reports| reports.send(live));
    }
}

impl Drop for ProgressFile {
    fn drop(&mut self) {
        self.reports = None;
        let _ = self.writer.take().map(JoinHandle::join);
        // Another process that has taken the run over writes its own.
        if !self.held.is_lost() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes the latest report every two seconds until the sender is dropped.
fn write_reports(held: &Held, path: &Path, reports: &Receiver<LiveProgress>) {
    let Ok(mut latest) = reports.recv() else { return };
    loop {
        latest.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        write(held, path, &latest);
        let due = Instant::now() + UPDATE_EVERY;
        loop {
            match reports.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(live) => latest = live,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Replaces the file by renaming, without waiting for the disk: nobody needs it after a loss of power.
fn write(held: &Held, path: &Path, live: &LiveProgress) {
    let Ok(text) = serde_json::to_vec(live) else { return };
    // On a full disk the run's own writes fail and report it.
    let _ = held.replace_unsynced(path, &text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunLock;

    fn read(path: &Path) -> Option<LiveProgress> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Waits until the content of the file satisfies `wanted`, and returns it.
    fn wait(path: &Path, wanted: impl Fn(&LiveProgress) -> bool) -> LiveProgress {
        let begun = Instant::now();
        loop {
            if let Some(live) = read(path).filter(&wanted) {
                return live;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", read(path));
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn the_file_is_renewed_without_reports_and_removed_with_its_worker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRESS);
        fs::write(&path, "left by a killed one").unwrap();
        let lock = RunLock::take(dir.path()).unwrap();
        let progress_file = ProgressFile::new(lock.held());
        assert!(!path.exists());
        progress_file.update(LiveProgress::training(64));
        let first = wait(&path, |live| live.samples == 64);
        assert_eq!(LiveProgress { at: 0.0, ..first.clone() }, LiveProgress::training(64));
        let losses = vec![("loss/autoencoder".to_owned(), 0.5)];
        progress_file.update(LiveProgress { losses, phase: Phase::Finishing, ..LiveProgress::training(128) });
        let second = wait(&path, |live| live.samples == 128);
        let least = 0.95 * UPDATE_EVERY.as_secs_f64();
        assert!(second.at >= first.at + least, "{} and {}", first.at, second.at);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""losses":[["loss/autoencoder",0.5]],"phase":"finishing","at":"#), "{text}");
        let third = wait(&path, |live| live.at > second.at);
        assert_eq!(third.losses, second.losses);
        drop(progress_file);
        assert!(!path.exists());
    }
}
