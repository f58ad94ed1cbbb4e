//! What more than one test file compares with.

use candle_core::{DType, Tensor};
use lerp_kernels::cpu::{isas, with_isa};

/// The largest difference as a fraction of the largest value, or of 1, which is what terms are about: a bias's gradient whose
/// terms cancel is not held to fractions of what is left.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    let largest = |t: &Tensor| -> f64 {
        let t = t.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        t.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    };
    largest(&(a - b).unwrap()) / largest(b).max(1.0)
}

/// On every instruction set, in a pool of one thread, so that the forced one is used throughout.
pub fn on_every_isa(check: impl Fn(&str) + Sync) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for isa in isas() {
        pool.install(|| with_isa(*isa, || check(&format!("{isa:?}"))));
    }
}
