//! Comparisons and oracles that several test files use.

// Not every test file uses every function.
#![allow(dead_code)]

use candle_core::{DType, Tensor};
use lerp_kernels::cpu::{isas, with_isa};

/// Returns the largest absolute difference divided by the largest value, but by at least 1. That is the size of the
/// terms of sums: a bias gradient whose terms cancel need not be exact relative to the small remainder.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    let largest = |t: &Tensor| -> f64 {
        let t = t.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        t.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    };
    largest(&(a - b).unwrap()) / largest(b).max(1.0)
}

/// Returns the gradient of a function at a point, by central differences.
pub fn central_differences(point: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-6;
    let moved = |i: usize, by: f64| {
        let mut values = point.to_vec();
        values[i] += by;
        f(&values)
    };
    (0..point.len()).map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP)).collect()
}

/// Runs a check on every instruction set, in a pool of one thread, so that all work is done on the thread for which the
/// instruction set is forced.
pub fn on_every_isa(check: impl Fn(&str) + Sync) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for isa in isas() {
        pool.install(|| with_isa(*isa, || check(&format!("{isa:?}"))));
    }
}
