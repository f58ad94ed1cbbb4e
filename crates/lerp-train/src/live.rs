//! `progress.json`: what a worker does at the moment, for whoever watches.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::files::PROGRESS;

/// Time between two versions of the file.
const EVERY: Duration = Duration::from_secs(2);

/// What a worker does at the moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Samples done.
    pub samples: u64,
    /// Samples a second of late, without evaluations and checkpoints; 0 until that is known.
    pub samples_per_s: f64,
    /// The losses and terms of a late step, by name.
    pub losses: Vec<(String, f64)>,
    /// What it is at.
    pub phase: Phase,
    /// When this was written, seconds since 1970. A worker renews it every two seconds, whatever it is at: what is much
    /// older was left by one that was killed.
    pub at: f64,
}

/// Parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Training, with its evaluations.
    Training,
    /// Training is over; what its latents are worth is measured.
    Finishing,
}

impl Live {
    /// At `samples` in training, of which no more is known.
    pub(crate) fn training(samples: u64) -> Self {
        Self { samples, samples_per_s: 0.0, losses: Vec::new(), phase: Phase::Training, at: 0.0 }
    }
}

/// Keeps the file of a run up to date, from a thread of its own: an evaluation may take minutes. When it goes, the file goes.
pub(crate) struct Beacon {
    path: PathBuf,
    news: Option<Sender<Live>>,
    writer: Option<JoinHandle<()>>,
}

impl Beacon {
    /// That of the run in `dir`; a file that a killed worker left is removed.
    pub fn new(dir: &Path) -> Self {
        let path = dir.join(PROGRESS);
        let _ = fs::remove_file(&path);
        let (news, receiver) = mpsc::channel();
        let writer = {
            let path = path.clone();
            thread::Builder::new().name("progress".into()).spawn(move || keep(&path, &receiver)).ok()
        };
        Self { path, news: Some(news), writer }
    }

    /// Takes what is in the next version of the file; the first is written at once.
    pub fn tell(&self, live: Live) {
        // Without a thread nobody listens. A run does not depend on being watched.
        let _ = self.news.as_ref().map(|news| news.send(live));
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.news = None;
        let _ = self.writer.take().map(JoinHandle::join);
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes the latest news every two seconds, until there can be no more.
fn keep(path: &Path, news: &Receiver<Live>) {
    let Ok(mut latest) = news.recv() else { return };
    loop {
        latest.at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        write(path, &latest);
        let due = Instant::now() + EVERY;
        loop {
            match news.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(live) => latest = live,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Replaces the file by rename, without waiting for the disk: after a loss of power nobody needs it.
fn write(path: &Path, live: &Live) {
    let Ok(text) = serde_json::to_vec(live) else { return };
    // A disk that is full fails what the run itself writes, which says so.
    let _ = lerp_files::replace_unsynced(path, &text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Option<Live> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// What is in the file once `wanted` holds.
    fn wait(path: &Path, wanted: impl Fn(&Live) -> bool) -> Live {
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
    fn the_file_is_renewed_without_news_and_goes_with_its_worker() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PROGRESS);
        fs::write(&path, "left by a killed one").unwrap();
        let beacon = Beacon::new(dir.path());
        assert!(!path.exists());
        beacon.tell(Live::training(64));
        let first = wait(&path, |live| live.samples == 64);
        assert_eq!(Live { at: 0.0, ..first.clone() }, Live::training(64));
        let losses = vec![("loss/autoencoder".to_owned(), 0.5)];
        beacon.tell(Live { losses, phase: Phase::Finishing, ..Live::training(128) });
        let second = wait(&path, |live| live.samples == 128);
        assert!(second.at >= first.at + 1.9, "{} and {}", first.at, second.at);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(r#""losses":[["loss/autoencoder",0.5]],"phase":"finishing","at":"#), "{text}");
        let third = wait(&path, |live| live.at > second.at);
        assert_eq!(third.losses, second.losses);
        drop(beacon);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
