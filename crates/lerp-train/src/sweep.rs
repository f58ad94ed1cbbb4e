//! What all programs that write or read the folder of a sweep agree on.

/// File name of a sweep's record: what is trained, by which software and on which devices.
pub const SWEEP_RECORD: &str = "sweep.toml";

/// Size limit of a sweep's record, bytes.
pub const MAX_SWEEP_RECORD_BYTES: u64 = 1 << 28;

/// Name and version of the format of a sweep's record, its member `format`.
pub const SWEEP_FORMAT: &str = "lerp sweep 1";
