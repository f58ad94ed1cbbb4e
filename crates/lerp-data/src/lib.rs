//! The synthetic lines benchmark: drawing, classes and batches.
