//! Memory for results and intermediate values, without filling it with zeros first.
#![allow(unsafe_code)]

use std::cell::Cell;

use super::lanes::LANES;

/// A vector of `len` values that `fill` sets: filling it with zeros first would be a tenth of a training step.
///
/// # Safety
/// `fill` must write every value and read none before.
pub(super) unsafe fn filled_by(len: usize, fill: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: the capacity is there; the caller's `fill` writes every value before anything reads it.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
    fill(&mut values);
    values
}

thread_local! {
    static FLOATS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static ROWS: Cell<Vec<[f32; LANES]>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with `len` floats of this thread's own, with whatever the last call left in them.
pub(super) fn with_scratch<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    // Taken out while in use: should `f` end up here again, it gets a vector of its own.
    let mut floats = FLOATS.take();
    if floats.len() < len {
        floats.resize(len, 0.0);
    }
    let result = f(&mut floats[..len]);
    FLOATS.set(floats);
    result
}

/// [`with_scratch`] in rows of lanes.
pub(super) fn with_lanes<T>(len: usize, f: impl FnOnce(&mut [[f32; LANES]]) -> T) -> T {
    let mut rows = ROWS.take();
    if rows.len() < len {
        rows.resize(len, [0.0; LANES]);
    }
    let result = f(&mut rows[..len]);
    ROWS.set(rows);
    result
}
