//! Memory for results and intermediate values, which is not filled with zeros for the compiler's sake.
#![allow(unsafe_code)]

use std::{cell::Cell, mem::MaybeUninit, slice};

use super::lanes::LANES;

/// A vector of `len` values that `fill` sets: filling it with zeros first would be a tenth of a training step.
///
/// # Safety
/// `fill` must write every value.
pub(super) unsafe fn filled_by<T: Copy>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is there, and the caller's `fill` has written every value.
    unsafe { values.set_len(len) };
    values
}

/// A vector of values that are set piece by piece; see [`filled_by`].
pub(super) struct Unset {
    values: Vec<f32>,
    len: usize,
}

impl Unset {
    /// Of so many values.
    pub fn new(len: usize) -> Self {
        Self { values: Vec::with_capacity(len), len }
    }

    /// The values, to be set.
    pub fn values(&mut self) -> &mut [MaybeUninit<f32>] {
        &mut self.values.spare_capacity_mut()[..self.len]
    }

    /// The vector.
    ///
    /// # Safety
    /// Every value must have been set.
    pub unsafe fn set(mut self) -> Vec<f32> {
        // SAFETY: the capacity is there, and the caller has set every value.
        unsafe { self.values.set_len(self.len) };
        self.values
    }
}

/// Values that were written before, for whoever writes values without reading them.
///
/// # Safety
/// What is written must be written whole: the values are read as such afterwards.
pub(super) unsafe fn overwritten(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: a value that may not be written yet lies in memory as one that is; the caller leaves no other kind.
    unsafe { slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// A thread's memory for intermediate values, with whatever its last use left in it.
#[derive(Default)]
pub(super) struct Scratch {
    pub work: Work,
    /// Gradients between two convolutions.
    pub grads: [Store<f32>; 2],
}

/// Memory of one convolution and what comes before and after it.
#[derive(Default)]
pub(super) struct Work {
    pub room: Room,
    /// What a direct convolution makes, before its epilogue.
    pub plain: Store<f32>,
    /// Sums of a wide layer's points.
    pub sums: Store<[f32; LANES]>,
    /// Images that were enlarged, or gradients of such that were summed.
    pub resized: Store<f32>,
}

/// Memory of one convolution.
#[derive(Default)]
pub(super) struct Room {
    pub floats: Store<f32>,
    pub rows: Store<[f32; LANES]>,
    pub offsets: [Vec<usize>; 3],
}

/// Memory that grows as it is asked for.
#[derive(Default)]
pub(super) struct Store<T>(Vec<T>);

impl<T: Copy + Default> Store<T> {
    /// The first `len` values.
    pub fn first(&mut self, len: usize) -> &mut [T] {
        if self.0.len() < len {
            self.0.resize(len, T::default());
        }
        &mut self.0[..len]
    }

    /// The first `len` values, as they were left.
    pub fn written(&self, len: usize) -> &[T] {
        &self.0[..len]
    }
}

/// Clears what a task is about to write here and there, in the order in which it lies in memory: so it comes into the cache at
/// many times the rate, and edges are zero.
pub(super) fn clear(values: &mut [MaybeUninit<f32>]) {
    values.fill(MaybeUninit::new(0.0));
}

/// Reads values in the order in which they lie in memory, from where they come at many times the rate at which a tile here and
/// a tile there would fetch them; afterwards they are in the cache.
pub(super) fn touch(values: &[f32]) {
    let lines = values.iter().step_by(64 / size_of::<f32>());
    std::hint::black_box(lines.fold(0, |all, value| all ^ value.to_bits()));
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Calls `f` with this thread's own scratch memory.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    // Taken out while in use: should `f` end up here again, it gets memory of its own.
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = f(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}
