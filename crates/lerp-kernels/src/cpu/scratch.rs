//! Memory for results and intermediate values that is not filled with zeros first.
#![allow(unsafe_code)]

use std::{cell::Cell, mem::MaybeUninit, slice};

use super::lanes::LANES;

/// Returns a vector of `len` values that `fill` writes. Filling it with zeros first would take a tenth of a training
/// step.
///
/// # Safety
/// `fill` must write every value.
pub(super) unsafe fn filled_by<T: Copy>(len: usize, fill: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller's `fill` has written every value.
    unsafe { values.set_len(len) };
    values
}

/// A vector whose values are written piece by piece; see [`filled_by`].
pub(super) struct UninitVec {
    values: Vec<f32>,
    len: usize,
}

impl UninitVec {
    /// Allocates memory for `len` values.
    pub fn new(len: usize) -> Self {
        Self { values: Vec::with_capacity(len), len }
    }

    /// The values to be written.
    pub fn values(&mut self) -> &mut [MaybeUninit<f32>] {
        &mut self.values.spare_capacity_mut()[..self.len]
    }

    /// Returns the written vector.
    ///
    /// # Safety
    /// Every value must have been written.
    pub unsafe fn assume_init(mut self) -> Vec<f32> {
        // SAFETY: the capacity is at least `len`, and the caller has written every value.
        unsafe { self.values.set_len(self.len) };
        self.values
    }
}

/// Returns initialised values as uninitialised ones, for functions that write values without reading them.
///
/// # Safety
/// Only initialised values may be written, because they are read as such afterwards.
pub(super) unsafe fn as_uninit(values: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: `MaybeUninit<f32>` has the layout of `f32`, and the caller writes initialised values only.
    unsafe { slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// A thread's memory for intermediate values; it keeps the values of its last use.
#[derive(Default)]
pub(super) struct Scratch {
    pub step: StepScratch,
    /// Gradients between two convolutions, read from one and written to the other.
    pub grads: [Buffer<f32>; 2],
}

/// Memory for one convolution and the operations before and after it.
#[derive(Default)]
pub(super) struct StepScratch {
    pub tiles: TileScratch,
    /// The output of a direct convolution, before its epilogue.
    pub plain: Buffer<f32>,
    /// The weight gradient of a wide layer, in the transform domain of Winograd tiles.
    pub sums: Buffer<[f32; LANES]>,
    /// Upscaled images, or sums over 2x2 blocks of their gradients.
    pub resized: Buffer<f32>,
}

/// Memory for the tiles of one convolution.
#[derive(Default)]
pub(super) struct TileScratch {
    pub floats: Buffer<f32>,
    pub rows: Buffer<[f32; LANES]>,
    pub origins: TileOrigins,
}

/// The index at which each tile begins, in each of the tensors that a tile reads or writes.
#[derive(Default)]
pub(super) struct TileOrigins {
    /// In the convolution's input.
    pub input: Vec<usize>,
    /// In the convolution's output, or in its gradient.
    pub output: Vec<usize>,
    /// In the second tensor of an epilogue; empty if it has none.
    pub second: Vec<usize>,
}

/// Memory that grows on demand.
#[derive(Default)]
pub(super) struct Buffer<T>(Vec<T>);

impl<T: Copy + Default> Buffer<T> {
    /// The first `len` values, writable; the memory grows if it is smaller.
    pub fn first(&mut self, len: usize) -> &mut [T] {
        if self.0.len() < len {
            self.0.resize(len, T::default());
        }
        &mut self.0[..len]
    }

    /// The first `len` values, as they were last written.
    pub fn written(&self, len: usize) -> &[T] {
        &self.0[..len]
    }
}

/// Sets values to zero in memory order before a task writes them tile by tile. This loads them into the cache much
/// faster than scattered writes would, and sets the borders of images to zero.
pub(super) fn clear(values: &mut [MaybeUninit<f32>]) {
    values.fill(MaybeUninit::new(0.0));
}

/// Reads values in memory order before a task reads them tile by tile. This loads them into the cache much faster than
/// scattered reads would.
pub(super) fn load_into_cache(values: &[f32]) {
    let lines = values.iter().step_by(64 / size_of::<f32>());
    std::hint::black_box(lines.fold(0, |all, value| all ^ value.to_bits()));
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Calls `f` with this thread's own scratch memory.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    // The memory is taken out while in use, so a nested call gets memory of its own.
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = f(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}
