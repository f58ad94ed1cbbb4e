//! What all programs that write or read the folder of a sweep agree on.

/// File name of a sweep's record: what is trained, by which software and on which devices.
pub const SWEEP_RECORD: &str = "sweep.toml";

/// Name and version of the format of a sweep's record, its member `format`.
pub const SWEEP_FORMAT: &str = "lerp sweep 1";
