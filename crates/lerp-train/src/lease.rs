//! The lease of a folder, which says which process may write in it. It also holds between the processes of several
//! machines.
//!
//! File locks hold between the processes of one machine at best: a network file system may not support them, or may
//! apply them on each machine separately. Therefore the process that writes in a folder also owns a subfolder called
//! `lease`. It creates that folder under a temporary name and then renames it, which succeeds for only one process. A
//! file in it describes the process ([`Holder`]), and the process rewrites this file every few seconds as a heartbeat.
//! A process that finds a lease whose heartbeat has stopped, and whose job is no longer in Slurm's queue, removes it
//! and creates its own. A job that Slurm has restarted takes over the lease of its earlier start at once, because that
//! process may still be running on a node that Slurm has lost.
//!
//! The former holder can no longer write. Every file is first written inside the folder `lease`, then the nonce in the
//! lease is read again, and only then is the file renamed to its place. Taking over a lease deletes the folder, and
//! with it every unfinished file of the former holder.

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

use lerp_files::{Draft, Durability, Lock, is_folder, printable, temporary};
use lerp_kernels::notice;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, digests::SMALL};

/// Name of the subfolder that is the lease.
pub(crate) const LEASE: &str = "lease";

/// Name of the file in the lease that describes its holder.
const HOLDER: &str = "holder.json";

/// Time between two heartbeats; shorter in tests, which wait for some of them.
const HEARTBEAT: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(5) };

/// Time without a heartbeat after which the holder may be gone.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// Time without a heartbeat after which a holder that is a Slurm job counts as gone although Slurm cannot be asked
/// about it.
const STALE_AFTER_WITHOUT_SLURM: Duration = Duration::from_mins(10);

/// The process that writes in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of the machine; under Slurm the name of the node.
    pub host: String,
    /// Identifier of the machine since it was last booted: it differs between machines of the same name, and changes
    /// when a machine is rebooted.
    machine: String,
    /// Number of the Slurm job, or `None` outside Slurm. Each task of an array is a job with its own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// Number of times that Slurm has restarted the job.
    #[serde(default)]
    pub restart: u32,
    /// Whether the holder also has the folder's file lock. Other processes of its machine can then tell by the lock
    /// whether it is alive.
    locked: bool,
    /// Random text that no other holder has.
    nonce: String,
    /// Number of heartbeats so far.
    beats: u64,
}

impl Holder {
    /// Describes this process.
    fn this_process(locked: bool) -> Self {
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

    /// Reads the holder of the folder `dir`. Returns `None` if the folder has no lease or the lease cannot be read.
    pub fn of(dir: &Path) -> Option<Self> {
        Self::read(&dir.join(LEASE)).ok()
    }

    fn read(lease: &Path) -> Result<Self> {
        let path = lease.join(HOLDER);
        let text = lerp_files::read_to_string(&path, SMALL)?;
        serde_json::from_str(&text).map_err(|e| Error::bad_file(&path, format!("is damaged ({e})")))
    }

    /// Describes the holder for messages, for example `job 7 on node-3, restart 1`.
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

    /// Whether this is a later start of the same Slurm job as `other`.
    fn is_later_start_of(&self, other: &Self) -> bool {
        self.job.is_some() && self.job == other.job && self.restart > other.restart
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

/// What to do about a lease that another process has created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaseDecision {
    /// The holder is gone: remove its lease.
    TakeOver,
    /// The holder is alive: give up.
    GiveUp,
    /// It is not known yet whether the holder is alive: look again later.
    Wait,
}

/// Decides what the process `ours` does about an existing lease that was last renewed `age` ago. The `holder` is `None`
/// if it cannot be read. The function `is_running` asks Slurm whether it is running the job with this number in this
/// restart; it returns `None` if Slurm cannot be asked.
fn decide(
    ours: &Holder,
    holder: Option<&Holder>,
    age: Duration,
    is_running: impl Fn(&str, u32) -> Option<bool>,
) -> LeaseDecision {
    // The holder had the file lock, and this process on the same machine has it now, so the holder is gone.
    let has_lost_its_lock = |holder: &Holder| ours.locked && holder.locked && holder.machine == ours.machine;
    match holder {
        Some(holder) if ours.is_later_start_of(holder) || has_lost_its_lock(holder) => {
            LeaseDecision::TakeOver
        }
        _ if age < STALE_AFTER => LeaseDecision::Wait,
        // The holder is a process of this process's own job, and Slurm knows only whether the job is running.
        Some(holder) if holder.job == ours.job && holder.restart == ours.restart => LeaseDecision::TakeOver,
        Some(Holder { job: Some(job), restart, .. }) => match is_running(job, *restart) {
            Some(true) => LeaseDecision::GiveUp,
            None if age < STALE_AFTER_WITHOUT_SLURM => LeaseDecision::GiveUp,
            _ => LeaseDecision::TakeOver,
        },
        _ => LeaseDecision::TakeOver,
    }
}

/// A lease that this process has. It lasts until this value is dropped or another process takes the lease over.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Arc<Held>,
    /// Dropping this sender ends the thread of the heartbeat.
    stop_heartbeat: Option<Sender<()>>,
    heartbeat: Option<JoinHandle<()>>,
}

/// The part of a lease that is shared by everything that writes under it.
#[derive(Debug)]
pub(crate) struct Held {
    /// The folder that the lease is for.
    pub dir: PathBuf,
    nonce: String,
    lock: Mutex<Option<Lock>>,
    lost: AtomicBool,
}

impl Lease {
    /// Takes the lease of the folder `dir`. If another process has it and is gone, its lease is taken over; if that is
    /// not known yet, this waits for at most about a minute. If this process has the folder's file lock, the lease
    /// keeps the lock and releases it at its own end.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has the lease; otherwise if the lease cannot be written.
    pub fn take(dir: &Path, lock: Option<Lock>) -> Result<Self> {
        /// Time between two looks at the lease of a process that may be gone.
        const LOOK_AGAIN: Duration = Duration::from_millis(500);
        let ours = Holder::this_process(lock.is_some());
        let lease = dir.join(LEASE);
        let mut first_look: Option<(Option<Holder>, Instant)> = None;
        while let Some(now) = try_acquire(dir, &ours)? {
            let holder = Holder::read(&lease).ok();
            let Some(age) = age(&lease, now) else { continue };
            // The heartbeat may have a time in the future, if a clock was set back. So the time that this process has
            // been waiting counts as well.
            let age = first_look.as_ref().map_or(age, |(_, since)| age.max(since.elapsed()));
            // A heartbeat or a new holder: some process is alive.
            if first_look.as_ref().is_some_and(|(seen, _)| *seen != holder) {
                return Err(busy_error(dir));
            }
            match decide(&ours, holder.as_ref(), age, lerp_cluster::is_running) {
                LeaseDecision::TakeOver => {
                    remove_lease(dir, holder.as_ref().map(|holder| holder.nonce.as_str()))?;
                }
                LeaseDecision::GiveUp => return Err(busy_error(dir)),
                LeaseDecision::Wait => {
                    if first_look.is_none() {
                        let who = holder.as_ref().map_or("another process".into(), Holder::described);
                        notice(&format!(
                            "{} has a lease of {who}, which may have ended; waiting at most a minute for its heartbeat",
                            printable(&dir.to_string_lossy())
                        ));
                        first_look = Some((holder, Instant::now()));
                    }
                    thread::sleep(LOOK_AGAIN);
                }
            }
        }
        let held = Arc::new(Held {
            dir: dir.to_owned(),
            nonce: ours.nonce.clone(),
            lock: Mutex::new(lock),
            lost: AtomicBool::new(false),
        });
        let (stop_heartbeat, stopped) = mpsc::channel();
        let renewed = Arc::clone(&held);
        let renew = move || {
            let mut holder = ours;
            while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                holder.beats += 1;
                renewed.write_heartbeat(&holder);
            }
        };
        // If the thread cannot be started, the lease still holds until it is stale, and is lost only if another process
        // then wants it.
        let heartbeat = thread::Builder::new().name("lease".into()).spawn(renew).ok();
        Ok(Self { held, stop_heartbeat: Some(stop_heartbeat), heartbeat })
    }

    /// Returns what is needed to write files under the lease.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop_heartbeat = None;
        let _ = self.heartbeat.take().map(JoinHandle::join);
        // The lease is removed before the lock is released, so that the next process to get the lock finds no lease.
        let _ = remove_lease(&self.held.dir, Some(&self.held.nonce));
        self.held.release_lock();
    }
}

impl Held {
    /// Whether the lease is known to be lost to another process. A loss is noticed at the next heartbeat or write.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Returns the error that says that the lease was lost to another process.
    pub fn lost_error(&self) -> Error {
        Error::Lost { dir: self.dir.clone(), by: describe_holder(&self.dir) }
    }

    /// Replaces a file of the folder atomically, as [`lerp_files::replace`] does, but only if the lease is not lost.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes, Durability::Synced)
    }

    /// Replaces a file as [`Held::replace`] does, but without waiting for the disk: after a loss of power the file may be
    /// gone.
    pub fn replace_unsynced(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write(path, bytes, Durability::Unsynced)
    }

    fn write(&self, path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
        let lease = self.dir.join(LEASE);
        let written = || -> Result<()> {
            let mut draft = Draft::inside(&lease, path)?;
            draft.write_all(bytes).map_err(lerp_files::Error::at("write", path))?;
            // If the folder is another process's lease by now, the draft is dropped. If our lease is taken over after
            // this check, its folder is deleted together with the draft.
            if Holder::read(&lease)?.nonce != self.nonce {
                return Err(self.lost_error());
            }
            Ok(draft.commit(durability)?)
        };
        if self.is_lost() {
            return Err(self.lost_error());
        }
        match written() {
            Err(Error::Lost { .. }) => {}
            Err(Error::File(error))
                if matches!(
                    error.problem.kind(),
                    ErrorKind::NotFound | ErrorKind::StaleNetworkFileHandle
                ) && self.dir.is_dir() =>
            {
                // Either the lease is gone or replaced by another one, or the missing file has another cause.
                if Holder::read(&lease).is_ok_and(|holder| holder.nonce == self.nonce) {
                    return Err(error.into());
                }
            }
            result => return result,
        }
        self.lost.store(true, Ordering::Relaxed);
        // The new holder may end before this process does, so the lock must not be held until then.
        self.release_lock();
        Err(self.lost_error())
    }

    fn release_lock(&self) {
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn write_heartbeat(&self, holder: &Holder) {
        let Ok(text) = serde_json::to_vec_pretty(holder) else { return };
        // Errors such as a full disk are ignored here, because the run's own writes report them.
        let _ = self.replace_unsynced(&self.dir.join(LEASE).join(HOLDER), &text);
    }
}

/// Returns the error that says that another process writes in the folder `dir`.
pub(crate) fn busy_error(dir: &Path) -> Error {
    Error::Busy { dir: dir.to_owned(), by: describe_holder(dir) }
}

/// Whether the folder's lease belongs to an earlier start of the Slurm job that this process is.
pub(crate) fn is_held_by_earlier_start(dir: &Path) -> bool {
    Holder::of(dir).is_some_and(|holder| Holder::this_process(false).is_later_start_of(&holder))
}

fn describe_holder(dir: &Path) -> String {
    Holder::of(dir).map_or("another process".into(), |holder| holder.described())
}

/// Tries to create the lease of `dir` for `holder`. Returns `None` on success. If there is a lease already, returns the
/// present time by the clock of the file system.
fn try_acquire(dir: &Path, holder: &Holder) -> Result<Option<SystemTime>> {
    let lease = dir.join(LEASE);
    loop {
        // The draft is complete before it is renamed. Renaming it fails if there is a lease already, because a folder
        // cannot replace another one that is not empty.
        let draft = temporary(dir);
        let renamed = write_draft(&draft, holder).map(|now| (now, fs::rename(&draft, &lease)));
        let (problem, now) = match renamed {
            Ok((_, Ok(()))) => return Ok(None),
            Ok((now, Err(problem))) => (problem, Some(now)),
            Err(problem) => (problem, None),
        };
        let _ = fs::remove_dir_all(&draft);
        match now {
            // The holder removes leftovers of other processes from the folder, and has removed this draft too. Try
            // again.
            _ if problem.kind() == ErrorKind::NotFound && dir.is_dir() => {}
            Some(now) if is_folder(&lease) => return Ok(Some(now)),
            Some(_) if lease.symlink_metadata().is_ok() => {
                return Err(Error::bad_file(
                    &lease,
                    "is a link or a file, where a run has a folder; remove it",
                ));
            }
            // There was a lease, and its holder has removed it meanwhile. Try again.
            Some(_) if matches!(problem.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            _ => return Err(lerp_files::Error::at("write", &lease)(problem).into()),
        }
    }
}

/// Creates the folder of a lease under a temporary name. Returns the time at which it was written, by the clock of the
/// file system.
fn write_draft(folder: &Path, holder: &Holder) -> std::io::Result<SystemTime> {
    fs::create_dir(folder)?;
    let path = folder.join(HOLDER);
    fs::write(&path, serde_json::to_vec_pretty(holder)?)?;
    fs::metadata(&path)?.modified()
}

/// Returns how long before `now` a lease was last renewed, or `None` if there is no lease any more. Both times are by
/// the clock of the file system, which all machines share.
fn age(lease: &Path, now: SystemTime) -> Option<Duration> {
    let last = fs::metadata(lease.join(HOLDER)).or_else(|_| fs::metadata(lease)).ok()?.modified().ok()?;
    Some(now.duration_since(last).unwrap_or_default())
}

/// Removes the lease of `dir` if it has this nonce; with `None`, removes a lease that cannot be read. If it turns out
/// that another lease was moved away instead, that one is moved back.
///
/// # Errors
/// If the lease cannot be moved away.
fn remove_lease(dir: &Path, nonce: Option<&str>) -> Result<()> {
    let (lease, away) = (dir.join(LEASE), temporary(dir));
    let holder = Holder::read(&lease).ok();
    if holder.as_ref().map(|holder| holder.nonce.as_str()) != nonce {
        return Ok(());
    }
    match fs::rename(&lease, &away) {
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(lerp_files::Error::at("take over", &lease))?,
    }
    let moved = Holder::read(&away).ok();
    if moved.map(|holder| holder.nonce).as_deref() != nonce && fs::rename(&away, &lease).is_ok() {
        return Ok(());
    }
    // On a network file system the former holder may still find the folder under its old name and create files in it.
    // Without the file that has the nonce it stops doing so, and the folder can then be emptied and removed.
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
        Holder { machine: machine.into(), job, restart, ..Holder::this_process(true) }
    }

    /// Creates the lease of a process that wrote its last heartbeat some time ago.
    fn leave_lease(dir: &Path, holder: &Holder, ago: Duration) {
        let lease = dir.join(LEASE);
        write_draft(&lease, holder).unwrap();
        let file = fs::File::options().write(true).open(lease.join(HOLDER)).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    #[test]
    fn a_lease_is_taken_over_only_from_a_holder_that_is_gone() {
        // The last argument is Slurm's answer to the question whether it is running the holder's job.
        let decided = |ours: &Holder, theirs: &Holder, age: Duration, answer: Option<bool>| {
            decide(ours, Some(theirs), age, |_, _| answer)
        };
        let (new, old, very_old) = (Duration::from_secs(1), STALE_AFTER, STALE_AFTER_WITHOUT_SLURM);
        let us = holder("m1", Some("7"), 1);
        // A file lock tells about processes of the same machine, but not about those of another one.
        assert_eq!(decided(&us, &holder("m1", None, 0), new, None), LeaseDecision::TakeOver);
        assert_eq!(decided(&us, &holder("m2", None, 0), new, None), LeaseDecision::Wait);
        assert_eq!(decided(&us, &holder("m2", None, 0), old, None), LeaseDecision::TakeOver);
        let unlocked = Holder { locked: false, ..us.clone() };
        assert_eq!(decided(&unlocked, &holder("m1", None, 0), new, None), LeaseDecision::Wait);
        assert_eq!(
            decided(&us, &Holder { locked: false, ..holder("m1", None, 0) }, new, None),
            LeaseDecision::Wait
        );
        // An earlier and a later start of the same job.
        assert_eq!(decided(&us, &holder("m2", Some("7"), 0), new, Some(true)), LeaseDecision::TakeOver);
        assert_eq!(decided(&us, &holder("m2", Some("7"), 2), new, Some(true)), LeaseDecision::Wait);
        // Another job: Slurm's answer decides, if there is one.
        let other = holder("m2", Some("8"), 0);
        assert_eq!(decided(&us, &other, new, Some(false)), LeaseDecision::Wait);
        assert_eq!(decided(&us, &other, old, Some(false)), LeaseDecision::TakeOver);
        assert_eq!(decided(&us, &other, very_old, Some(true)), LeaseDecision::GiveUp);
        assert_eq!(decided(&us, &other, old, None), LeaseDecision::GiveUp);
        assert_eq!(decided(&us, &other, very_old, None), LeaseDecision::TakeOver);
        // Another process of the same start of this job, on a file system without locks.
        let same = Holder { locked: false, ..holder("m1", Some("7"), 1) };
        assert_eq!(decided(&unlocked, &same, new, Some(true)), LeaseDecision::Wait);
        assert_eq!(decided(&unlocked, &same, old, Some(true)), LeaseDecision::TakeOver);
        // A holder that cannot be read.
        assert_eq!(decide(&us, None, new, |_, _| None), LeaseDecision::Wait);
        assert_eq!(decide(&us, None, old, |_, _| None), LeaseDecision::TakeOver);
    }

    #[test]
    fn one_process_has_the_lease_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, path) = (dir.path(), dir.path().join("file"));
        let lease = Lease::take(dir, None).unwrap();
        lease.held().replace(&path, b"one").unwrap();
        // The heartbeat shows that the holder is alive.
        assert!(matches!(Lease::take(dir, None), Err(Error::Busy { by, .. }) if by.contains("a process on")));
        drop(lease);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
        // The lease of a holder that is gone is taken over once it is stale, and not before.
        leave_lease(dir, &holder("another", None, 0), STALE_AFTER);
        let lease = Lease::take(dir, None).unwrap();
        assert_eq!(Holder::of(dir).unwrap().nonce, lease.held.nonce);
        drop(lease);
        leave_lease(dir, &holder("another", None, 0), STALE_AFTER.saturating_sub(Duration::from_secs(2)));
        let begun = Instant::now();
        drop(Lease::take(dir, None).unwrap());
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
        fs::write(dir.join(LEASE), "mine").unwrap();
        assert!(Lease::take(dir, None).unwrap_err().to_string().contains("a link or a file"));
    }

    #[test]
    fn a_process_that_lost_its_lease_writes_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, path) = (dir.path(), dir.path().join("file"));
        let first = Lease::take(dir, None).unwrap();
        first.held().replace(&path, b"of the first").unwrap();
        // A draft that is begun before the loss cannot get its final name after it.
        let mut draft = Draft::inside(&dir.join(LEASE), &path).unwrap();
        draft.write_all(b"late").unwrap();
        remove_lease(dir, Some(&first.held.nonce)).unwrap();
        assert!(draft.commit(Durability::Synced).unwrap_err().is_not_found());
        assert!(matches!(first.held().replace(&path, b"too late"), Err(Error::Lost { .. })));
        assert!(first.held.is_lost());
        let second = Lease::take(dir, None).unwrap();
        let lost = first.held().replace(&path, b"too late").unwrap_err();
        assert!(lost.to_string().contains("was taken over by a process on"), "{lost}");
        first.held().write_heartbeat(&holder("first", None, 0));
        drop(first);
        second.held().replace(&path, b"of the second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"of the second");
        drop(second);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    }

    #[test]
    fn only_one_of_many_processes_takes_over_a_stale_lease() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        leave_lease(dir, &holder("another", None, 0), STALE_AFTER);
        let counter = dir.join("counter");
        fs::write(&counter, "0").unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let Ok(lease) = Lease::take(dir, None) else { return };
                    let before: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                    thread::sleep(Duration::from_millis(20));
                    let _ = lease.held().replace(&counter, (before + 1).to_string().as_bytes());
                    // The lease is held long enough for the others to see its heartbeat.
                    thread::sleep(HEARTBEAT + Duration::from_secs(4));
                });
            }
        });
        assert_eq!(fs::read_to_string(&counter).unwrap(), "1");
    }
}
