//! Memory for results and intermediate values, without filling it with zeros first.
#![allow(unsafe_code)]

use std::cell::Cell;

use super::lanes::LANES;

/// A vector of `len` values that are not set yet; the caller sets every one before it is read.
pub(super) fn unfilled(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: the capacity is there, and the callers, all in this folder, write every value before anything reads it;
    // filling with zeros first is a tenth of a training step.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
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
