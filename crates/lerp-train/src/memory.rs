//! How much memory a run took.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Runs that this process has begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// The watch over the memory of a run.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Whether no run was begun before it in this process.
    first: bool,
    /// The most that was seen before the run was interrupted, bytes.
    before: Option<u64>,
}

impl Memory {
    /// Of a run that begins now, or goes on with `before`.
    pub fn begin(before: Option<u64>) -> Self {
        Self { first: BEGUN.fetch_add(1, Ordering::Relaxed) == 0, before }
    }

    /// The most memory that the run has had at a time, bytes: that of its process. None where the system does not tell (it is
    /// Linux that does) or where other runs share the process, whose memory that is, too.
    pub fn peak(&self) -> Option<u64> {
        let alone = self.first && BEGUN.load(Ordering::Relaxed) == 1;
        let now = alone.then(resident).flatten()?;
        Some(self.before.map_or(now, |before| before.max(now)))
    }
}

/// The most memory that this process has had at a time, bytes.
fn resident() -> Option<u64> {
    // A line such as `VmHWM:     8192 kB`.
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_of_the_only_run_of_a_process() {
        let (first, second) = (Memory::begin(Some(1 << 60)), Memory::begin(None));
        assert_eq!((first.peak(), second.peak()), (None, None), "two runs share this process");
        if cfg!(target_os = "linux") {
            assert!(resident().unwrap() > 1 << 20);
        }
    }
}
