//! Peak memory of a run.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The number of runs that this process has started.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// Tracks the peak memory of a run.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Whether this is the first run that the process started.
    first: bool,
    /// Peak memory in bytes from before the run was interrupted.
    before: Option<u64>,
}

impl Memory {
    /// Starts tracking a new run, or a resumed one whose peak memory so far is `before`.
    pub fn begin(before: Option<u64>) -> Self {
        Self { first: BEGUN.fetch_add(1, Ordering::Relaxed) == 0, before }
    }

    /// Returns the run's peak memory in bytes, which is that of its process. Returns `None` on systems other than
    /// Linux, and if the process has started other runs, whose memory would be included.
    pub fn peak(&self) -> Option<u64> {
        let alone = self.first && BEGUN.load(Ordering::Relaxed) == 1;
        let now = alone.then(resident).flatten()?;
        Some(self.before.map_or(now, |before| before.max(now)))
    }
}

/// Returns the peak memory of this process in bytes.
fn resident() -> Option<u64> {
    // The line has the form `VmHWM:     8192 kB`.
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reported_only_for_the_only_run_of_a_process() {
        let (first, second) = (Memory::begin(Some(1 << 60)), Memory::begin(None));
        assert_eq!((first.peak(), second.peak()), (None, None), "two runs share this process");
        if cfg!(target_os = "linux") {
            assert!(resident().unwrap() > 1 << 20);
        }
    }
}
