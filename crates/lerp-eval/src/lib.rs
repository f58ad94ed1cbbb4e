//! Metrics of interpolation quality: tensors in, numbers out.
