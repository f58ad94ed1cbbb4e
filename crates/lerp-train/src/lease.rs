//! The lease of a folder: which process may write in it, on whichever machine that process is.
//!
//! Locks of files hold between processes of one machine at best: network file systems may have none, or keep them to
//! themselves. So whoever writes in a folder also has the folder `lease` in it, which is made elsewhere and then named, as one
//! process alone can. It says who that is ([`Holder`]), and its holder writes it anew every few seconds. Who finds it old, and
//! its job gone from the queue of Slurm, takes it away and makes one of its own; so does a job that Slurm has started again,
//! whatever its first process still does on a node that Slurm has lost.
//!
//! That one loses: files are written in the folder `lease` and renamed from there, after its nonce was read once more. What was
//! taken away is deleted, and with it every draft of the former holder.

use std::{
    fs,
    io::ErrorKind,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use lerp_files::{Draft, Lock, is_folder, printable, temporary};
use lerp_kernels::notice;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, digests::SMALL};

/// The folder.
pub(crate) const LEASE: &str = "lease";

/// The file in it.
const HOLDER: &str = "holder.json";

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Age of the last heartbeat at which nobody may be there any more.
const OLD: Duration = Duration::from_mins(1);

/// The same where Slurm cannot be asked about the holder's job.
const VERY_OLD: Duration = Duration::from_mins(10);

/// Who writes in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine's name; under Slurm the node's.
    pub host: String,
    /// What tells machines of one name apart, and one machine before and after it was started again.
    machine: String,
    /// The Slurm job, if it is one: that of the task, in an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How often Slurm has started that job again.
    #[serde(default)]
    pub restart: u32,
    /// Whether the holder has a lock of the folder, too, which tells other processes of its machine that it lives.
    locked: bool,
    /// Nobody else's.
    nonce: String,
    /// Heartbeats so far.
    beats: u64,
}

impl Holder {
    /// This process.
    fn this(locked: bool) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = machine_name();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned());
        Self {
            machine: boot.unwrap_or_else(|_| host.clone()),
            host: variable("SLURMD_NODENAME").unwrap_or(host),
            job: variable("SLURM_JOB_ID"),
            restart: variable("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0),
            locked,
            nonce: temporary(Path::new("")).to_string_lossy().into_owned(),
            beats: 0,
        }
    }

    /// Reads that of the folder `dir`, if somebody has it.
    pub fn of(dir: &Path) -> Option<Self> {
        Self::read(&dir.join(LEASE)).ok()
    }

    fn read(lease: &Path) -> Result<Self> {
        let path = lease.join(HOLDER);
        let text = lerp_files::read_to_string(&path, SMALL)?;
        serde_json::from_str(&text).map_err(|e| Error::bad_file(&path, format!("is damaged ({e})")))
    }

    /// In words, for people.
    pub fn described(&self) -> String {
        let host = printable(&self.host);
        match (&self.job, self.restart) {
            (None, _) => format!("a process on {host}"),
            (Some(job), 0) => format!("job {} on {host}", printable(job)),
            (Some(job), restart) => {
                format!("job {} on {host}, restart {restart}", printable(job))
            }
        }
    }

    /// Whether Slurm has started the job of `older` again, and this is it.
    fn succeeds(&self, older: &Self) -> bool {
        self.job.is_some() && self.job == older.job && self.restart > older.restart
    }
}

fn machine_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| {
        let output = Command::new("uname").arg("-n").output().ok()?;
        String::from_utf8(output.stdout).ok()
    });
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "another machine".into())
}

/// What is to become of a lease that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Its holder is gone.
    Take,
    /// Its holder lives.
    Leave,
    /// That is not known yet.
    Wait,
}

/// What `ours` is to do about a lease of which `holder` is known, if it can be read, and that was renewed `age` ago. `runs`
/// asks Slurm whether it runs a job of that number in its so-and-so-many-th restart.
fn verdict(
    ours: &Holder,
    holder: Option<&Holder>,
    age: Duration,
    runs: impl Fn(&str, u32) -> Option<bool>,
) -> Verdict {
    // It has a lock, if its holder had one: then its holder is gone.
    let unlocked = |holder: &Holder| ours.locked && holder.locked && holder.machine == ours.machine;
    match holder {
        Some(holder) if ours.succeeds(holder) || unlocked(holder) => Verdict::Take,
        _ if age < OLD => Verdict::Wait,
        // A process of this very job: Slurm knows of the job, and not of the process.
        Some(holder) if holder.job == ours.job && holder.restart == ours.restart => Verdict::Take,
        Some(Holder { job: Some(job), restart, .. }) => match runs(job, *restart) {
            Some(true) => Verdict::Leave,
            None if age < VERY_OLD => Verdict::Leave,
            _ => Verdict::Take,
        },
        _ => Verdict::Take,
    }
}

/// Whether Slurm runs the job in this restart now; none where it cannot be asked.
fn runs(job: &str, restart: u32) -> Option<bool> {
    let mut command = Command::new("squeue");
    // A user's own defaults would hide jobs.
    let own = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SQUEUE_"));
    for (name, _) in own {
        command.env_remove(name);
    }
    let output = command
        .args(["--noheader", "--all", "--jobs", job, "--Format=JobID:20,RestartCnt:12,State:20"])
        .output()
        .ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return text(&output.stderr).contains("Invalid job id").then_some(false);
    }
    let is_it = |line: &str| {
        let mut words = line.split_whitespace();
        words.next() == Some(job)
            && words.next().and_then(|count| count.parse().ok()) == Some(restart)
            && words.next().is_some_and(|state| state != "PENDING")
    };
    Some(text(&output.stdout).lines().any(is_it))
}

/// A lease that this process has, until this is dropped or it is taken away.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Arc<Held>,
    ended: Option<Sender<()>>,
    heart: Option<JoinHandle<()>>,
}

/// What those share who write under a lease.
#[derive(Debug)]
pub(crate) struct Held {
    /// The folder that is leased.
    pub dir: PathBuf,
    nonce: String,
    lock: Mutex<Option<Lock>>,
    lost: AtomicBool,
}

impl Lease {
    /// Takes the lease of `dir`, of which this process may have the lock, if need be from a holder that is gone; waits for as long as
    /// that is not known, at most a minute. The lock is released with it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it, or it cannot be written.
    pub fn take(dir: &Path, lock: Option<Lock>) -> Result<Self> {
        /// Between two looks at the lease of somebody who may be gone.
        const LOOK: Duration = Duration::from_millis(500);
        let ours = Holder::this(lock.is_some());
        let lease = dir.join(LEASE);
        let mut seen: Option<(Option<Holder>, Instant)> = None;
        while let Some(now) = name(dir, &ours)? {
            let there = Holder::read(&lease).ok();
            let Some(age) = age(&lease, now) else { continue };
            // It may be dated in the future, by a clock that was set back.
            let age = seen.as_ref().map_or(age, |(_, since)| age.max(since.elapsed()));
            if seen.as_ref().is_some_and(|(seen, _)| *seen != there) {
                return Err(busy(dir));
            }
            match verdict(&ours, there.as_ref(), age, runs) {
                Verdict::Take => evict(dir, there.as_ref().map(|holder| holder.nonce.as_str()))?,
                Verdict::Leave => return Err(busy(dir)),
                Verdict::Wait => {
                    if seen.is_none() {
                        let who = there.as_ref().map_or("somebody".into(), Holder::described);
                        notice(&format!(
                            "{} was left by {who}, or is being trained there; waiting to see, a minute at most",
                            printable(&dir.to_string_lossy())
                        ));
                        seen = Some((there, Instant::now()));
                    }
                    thread::sleep(LOOK);
                }
            }
        }
        let held = Arc::new(Held {
            dir: dir.to_owned(),
            nonce: ours.nonce.clone(),
            lock: Mutex::new(lock),
            lost: AtomicBool::new(false),
        });
        let (ended, end) = mpsc::channel();
        let beating = Arc::clone(&held);
        let beat = move || {
            let mut holder = ours;
            while end.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                holder.beats += 1;
                beating.beat(&holder);
            }
        };
        // Without a thread the lease grows old, and can be lost only then.
        let heart = thread::Builder::new().name("lease".into()).spawn(beat).ok();
        Ok(Self { held, ended: Some(ended), heart })
    }

    /// What writers need.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ended = None;
        let _ = self.heart.take().map(JoinHandle::join);
        // The lease goes first: who gets the lock finds no lease then.
        let _ = evict(&self.held.dir, Some(&self.held.nonce));
        self.held.unlock();
    }
}

impl Held {
    /// Whether it was taken away, as far as is known by now; a heartbeat or a write finds out.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The error of a lease that was taken away.
    pub fn loss(&self) -> Error {
        Error::Lost { dir: self.dir.clone(), by: who(&self.dir) }
    }

    /// Replaces a file of the folder, as [`lerp_files::replace`] does, unless the lease was taken away.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes, true)
    }

    fn write(&self, path: &Path, bytes: &[u8], synced: bool) -> Result<()> {
        let lease = self.dir.join(LEASE);
        let written = || -> Result<()> {
            let mut draft = Draft::inside(&lease, path)?;
            draft.write_all(bytes).map_err(lerp_files::Error::at("write", path))?;
            // What was written in the folder of somebody else's lease is dropped; and if ours is taken away from here on, the
            // draft goes with it.
            if Holder::read(&lease)?.nonce != self.nonce {
                return Err(self.loss());
            }
            Ok(draft.name(synced)?)
        };
        if self.is_lost() {
            return Err(self.loss());
        }
        match written() {
            Err(Error::Lost { .. }) => {}
            Err(Error::File(error)) if error.is_not_found() && self.dir.is_dir() => {
                // It is gone, or there is another one.
                if Holder::read(&lease).is_ok_and(|holder| holder.nonce == self.nonce) {
                    return Err(error.into());
                }
            }
            result => return result,
        }
        self.lost.store(true, Ordering::Relaxed);
        // Whoever has it now may end before this process does.
        self.unlock();
        Err(self.loss())
    }

    fn unlock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn beat(&self, holder: &Holder) {
        let Ok(text) = serde_json::to_vec_pretty(holder) else { return };
        // A disk that is full fails what the run itself writes, which says so.
        let _ = self.write(&self.dir.join(LEASE).join(HOLDER), &text, false);
    }
}

/// The error of a folder that another process writes in.
pub(crate) fn busy(dir: &Path) -> Error {
    Error::Busy { dir: dir.to_owned(), by: who(dir) }
}

/// Whether whoever writes in `dir` is this Slurm job as it was before it was started again.
pub(crate) fn is_succeeded(dir: &Path) -> bool {
    Holder::of(dir).is_some_and(|holder| Holder::this(false).succeeds(&holder))
}

fn who(dir: &Path) -> String {
    Holder::of(dir).map_or("another process".into(), |holder| holder.described())
}

/// Gives `holder` the lease of `dir`. If somebody has it, the time at which it was asked, by the clock of the file system; none
/// if it is ours now.
fn name(dir: &Path, holder: &Holder) -> Result<Option<SystemTime>> {
    let lease = dir.join(LEASE);
    loop {
        // Made whole and then named: a folder can be given the name of none that has something in it.
        let draft = temporary(dir);
        let named = make(&draft, holder).map(|now| (now, fs::rename(&draft, &lease)));
        let (problem, now) = match named {
            Ok((_, Ok(()))) => return Ok(None),
            Ok((now, Err(problem))) => (problem, Some(now)),
            Err(problem) => (problem, None),
        };
        let _ = fs::remove_dir_all(&draft);
        match now {
            // Whoever has the folder clears it of what others have left in it, and of this.
            _ if problem.kind() == ErrorKind::NotFound && dir.is_dir() => {}
            Some(now) if is_folder(&lease) => return Ok(Some(now)),
            Some(_) if lease.symlink_metadata().is_ok() => {
                return Err(Error::bad_file(
                    &lease,
                    "is a link or a file, where a run has a folder; remove it",
                ));
            }
            // It has been given back meanwhile.
            Some(_) if matches!(problem.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            _ => return Err(lerp_files::Error::at("write", &lease)(problem).into()),
        }
    }
}

/// Makes the folder of a lease; the time at which that was, by the clock of the file system.
fn make(folder: &Path, holder: &Holder) -> std::io::Result<SystemTime> {
    fs::create_dir(folder)?;
    let path = folder.join(HOLDER);
    fs::write(&path, serde_json::to_vec_pretty(holder)?)?;
    fs::metadata(&path)?.modified()
}

/// How long before `now` a lease was last renewed, by the clock of the file system, which all machines share; none if it is
/// gone.
fn age(lease: &Path, now: SystemTime) -> Option<Duration> {
    let last = fs::metadata(lease.join(HOLDER)).or_else(|_| fs::metadata(lease)).ok()?.modified().ok()?;
    Some(now.duration_since(last).unwrap_or_default())
}

/// Takes the lease of `dir` away that has the nonce, or none that can be read. If it is another one by now, that is given back.
///
/// # Errors
/// If it cannot be taken away.
fn evict(dir: &Path, nonce: Option<&str>) -> Result<()> {
    let (lease, away) = (dir.join(LEASE), temporary(dir));
    let there = Holder::read(&lease).ok();
    if there.as_ref().map(|holder| holder.nonce.as_str()) != nonce {
        return Ok(());
    }
    match fs::rename(&lease, &away) {
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(lerp_files::Error::at("take over", &lease))?,
    }
    let taken = Holder::read(&away).ok();
    if taken.map(|holder| holder.nonce).as_deref() != nonce && fs::rename(&away, &lease).is_ok() {
        return Ok(());
    }
    // On a network file system its former holder may still find the folder under its old name. Without the nonce it writes
    // nothing more, and then nothing more comes into the folder.
    let _ = fs::remove_file(away.join(HOLDER));
    for _ in 0..100 {
        match fs::remove_dir_all(&away) {
            Err(problem) if problem.kind() != ErrorKind::NotFound => thread::sleep(Duration::from_millis(10)),
            _ => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(machine: &str, job: Option<&str>, restart: u32) -> Holder {
        let job = job.map(String::from);
        Holder { machine: machine.into(), job, restart, ..Holder::this(true) }
    }

    /// As another process would have left its lease, some time ago.
    fn leave(dir: &Path, holder: &Holder, ago: Duration) {
        let lease = dir.join(LEASE);
        make(&lease, holder).unwrap();
        let file = fs::File::options().write(true).open(lease.join(HOLDER)).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    #[test]
    fn who_may_take_a_lease() {
        let asked = |ours: &Holder, theirs: &Holder, age: Duration, answer: Option<bool>| {
            verdict(ours, Some(theirs), age, |_, _| answer)
        };
        let (new, old, very_old) = (Duration::from_secs(1), OLD, VERY_OLD);
        let us = holder("m1", Some("7"), 1);
        // The lock of one machine tells, and that of another does not.
        assert_eq!(asked(&us, &holder("m1", None, 0), new, None), Verdict::Take);
        assert_eq!(asked(&us, &holder("m2", None, 0), new, None), Verdict::Wait);
        assert_eq!(asked(&us, &holder("m2", None, 0), old, None), Verdict::Take);
        let unlocked = Holder { locked: false, ..us.clone() };
        assert_eq!(asked(&unlocked, &holder("m1", None, 0), new, None), Verdict::Wait);
        assert_eq!(asked(&us, &Holder { locked: false, ..holder("m1", None, 0) }, new, None), Verdict::Wait);
        // The same job, started again, before it and after it.
        assert_eq!(asked(&us, &holder("m2", Some("7"), 0), new, Some(true)), Verdict::Take);
        assert_eq!(asked(&us, &holder("m2", Some("7"), 2), new, Some(true)), Verdict::Wait);
        // Another job: as Slurm says, if it can be asked.
        let other = holder("m2", Some("8"), 0);
        assert_eq!(asked(&us, &other, new, Some(false)), Verdict::Wait);
        assert_eq!(asked(&us, &other, old, Some(false)), Verdict::Take);
        assert_eq!(asked(&us, &other, very_old, Some(true)), Verdict::Leave);
        assert_eq!(asked(&us, &other, old, None), Verdict::Leave);
        assert_eq!(asked(&us, &other, very_old, None), Verdict::Take);
        // A process of this job that is gone, where there are no locks.
        let same = Holder { locked: false, ..holder("m1", Some("7"), 1) };
        assert_eq!(asked(&unlocked, &same, new, Some(true)), Verdict::Wait);
        assert_eq!(asked(&unlocked, &same, old, Some(true)), Verdict::Take);
        // One that cannot be read.
        assert_eq!(verdict(&us, None, new, |_, _| None), Verdict::Wait);
        assert_eq!(verdict(&us, None, old, |_, _| None), Verdict::Take);
    }

    #[test]
    fn one_has_it_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, path) = (dir.path(), dir.path().join("file"));
        let lease = Lease::take(dir, None).unwrap();
        lease.held().replace(&path, b"one").unwrap();
        // It is seen to live, by its heartbeat.
        assert!(matches!(Lease::take(dir, None), Err(Error::Busy { by, .. }) if by.contains("a process on")));
        drop(lease);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
        // One that is gone leaves it to another machine after a while, and to none before.
        leave(dir, &holder("another", None, 0), OLD);
        let lease = Lease::take(dir, None).unwrap();
        assert_eq!(Holder::of(dir).unwrap().nonce, lease.held.nonce);
        drop(lease);
        leave(dir, &holder("another", None, 0), OLD.saturating_sub(Duration::from_secs(2)));
        let begun = std::time::Instant::now();
        drop(Lease::take(dir, None).unwrap());
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
        fs::write(dir.join(LEASE), "mine").unwrap();
        assert!(Lease::take(dir, None).unwrap_err().to_string().contains("a link or a file"));
    }

    #[test]
    fn who_lost_it_writes_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, path) = (dir.path(), dir.path().join("file"));
        let first = Lease::take(dir, None).unwrap();
        first.held().replace(&path, b"of the first").unwrap();
        // A draft that is written before and would be named after the loss.
        let mut draft = Draft::inside(&dir.join(LEASE), &path).unwrap();
        draft.write_all(b"late").unwrap();
        evict(dir, Some(&first.held.nonce)).unwrap();
        assert!(draft.name(true).unwrap_err().is_not_found());
        assert!(matches!(first.held().replace(&path, b"too late"), Err(Error::Lost { .. })));
        assert!(first.held.is_lost());
        let second = Lease::take(dir, None).unwrap();
        let lost = first.held().replace(&path, b"too late").unwrap_err();
        assert!(lost.to_string().contains("was taken over by a process on"), "{lost}");
        first.held().beat(&holder("first", None, 0));
        drop(first);
        second.held().replace(&path, b"of the second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"of the second");
        drop(second);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    }

    #[test]
    fn of_many_that_find_it_old_one_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        leave(dir, &holder("another", None, 0), OLD);
        let counter = dir.join("counter");
        fs::write(&counter, "0").unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let Ok(lease) = Lease::take(dir, None) else { return };
                    let before: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                    thread::sleep(Duration::from_millis(20));
                    let _ = lease.held().replace(&counter, (before + 1).to_string().as_bytes());
                    // Long enough that the others see it live.
                    thread::sleep(Duration::from_secs(8));
                });
            }
        });
        assert_eq!(fs::read_to_string(&counter).unwrap(), "1");
    }
}
