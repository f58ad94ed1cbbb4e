//! The settings of a run in the paper's protocol that do not depend on the dataset.

/// Number of training samples of a run in the paper's protocol.
pub const PROTOCOL_SAMPLES: u64 = 1 << 24;
/// Number of training samples between two evaluations in the paper's protocol.
pub const PROTOCOL_EVAL_EVERY: u64 = 1 << 16;
/// Batch size in the paper's protocol.
pub const PROTOCOL_BATCH: usize = 64;
/// Learning rate in the paper's protocol.
pub const PROTOCOL_RATE: f64 = 1e-4;
/// Number of test samples of an evaluation on lines in the paper's protocol.
pub const PROTOCOL_TEST_LINES: usize = 5_000;
/// Upper limit of the number of test samples on an image set, large enough for all of its test images.
pub const MAX_TEST_IMAGES: usize = 1 << 20;
/// Number of restarts of k-means in the paper's protocol.
pub const PROTOCOL_RESTARTS: usize = 1_000;
