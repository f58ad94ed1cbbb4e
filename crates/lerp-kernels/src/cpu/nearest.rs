//! Which row of a table is nearest to each of many vectors.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always, clippy::needless_range_loop)]

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    lanes::{Isa, LANES, isa, on_isa},
    scratch::with_scratch,
    slice,
    wino_tile::{ROW_BLOCK, product},
};

/// Rows of the table that are compared with all vectors while they are in the cache.
const ROWS: usize = 16 * ROW_BLOCK;

/// See [`crate::nearest`].
///
/// # Shapes
/// `x` `[n, d]`, `table` `[k, d]`; result `[n]`.
pub fn nearest(x: &Tensor, table: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&table.contiguous()?, &Nearest)
}

struct Nearest;

impl CustomOp2 for Nearest {
    fn name(&self) -> &'static str {
        "nearest"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        table: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, depth) = lx.shape().dims2()?;
        let indices = search(slice(x, lx)?, slice(table, lt)?, n, depth);
        Ok((CpuStorage::U32(indices), Shape::from(n)))
    }
}

/// The best of the rows seen so far, for sixteen vectors.
#[derive(Clone, Copy)]
struct Best {
    distance: [f32; LANES],
    index: [u32; LANES],
}

fn search(x: &[f32], table: &[f32], n: usize, depth: usize) -> Vec<u32> {
    let isa = isa();
    // Vectors side by side, sixteen to a panel, the last one filled up with zeros.
    let blocks = n.div_ceil(LANES);
    let mut panels = vec![[0.0; LANES]; blocks * depth];
    for (i, vector) in x.chunks_exact(depth).enumerate() {
        for (c, value) in vector.iter().enumerate() {
            panels[i / LANES * depth + c][i % LANES] = *value;
        }
    }
    let none = Best { distance: [f32::INFINITY; LANES], index: [0; LANES] };
    let of_chunk = |(chunk, rows): (usize, &[f32])| {
        let count = rows.len() / depth;
        // ‖x‖² is the same for every row and cannot change which is nearest.
        let mut squares: Vec<f32> = rows.chunks_exact(depth).map(|r| r.iter().map(|v| v * v).sum()).collect();
        let mut padded = Vec::new();
        let rows = if count.is_multiple_of(ROW_BLOCK) {
            rows
        } else {
            squares.resize(count.next_multiple_of(ROW_BLOCK), f32::INFINITY);
            padded.extend_from_slice(rows);
            padded.resize(squares.len() * depth, 0.0);
            &padded
        };
        let mut best = vec![none; blocks];
        with_scratch(|scratch| {
            let dots = scratch.room.rows.first(squares.len());
            for (panel, best) in panels.chunks_exact(depth).zip(&mut best) {
                product(isa, rows, panel, dots);
                keep_nearer(isa, dots, &squares, (chunk * ROWS) as u32, best);
            }
        });
        best
    };
    // In the order of rows, so that the first of equally near ones wins.
    let chunks: Vec<Vec<Best>> = table.par_chunks(ROWS * depth).enumerate().map(of_chunk).collect();
    let mut best = vec![none; blocks];
    for chunk in chunks {
        for (best, new) in best.iter_mut().zip(chunk) {
            for lane in 0..LANES {
                if new.distance[lane] < best.distance[lane] {
                    best.distance[lane] = new.distance[lane];
                    best.index[lane] = new.index[lane];
                }
            }
        }
    }
    let mut indices: Vec<u32> = best.iter().flat_map(|best| best.index).collect();
    indices.truncate(n);
    indices
}

/// Compares the rows from `first` on, given their products with sixteen vectors and their squares.
fn keep_nearer(isa: Isa, dots: &[[f32; LANES]], squares: &[f32], first: u32, best: &mut Best) {
    // SAFETY: the body is safe; the instruction set is one of this machine's.
    unsafe {
        on_isa!(isa, keep_nearer_body[1, 1, 1, 1](
            dots: &[[f32; LANES]], squares: &[f32], first: u32, best: &mut Best,
        ));
    }
}

/// # Safety
/// The instruction set of `L` must be there: the compiler chooses the vectors itself.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn keep_nearer_body<L, const R: usize>(
    dots: &[[f32; LANES]],
    squares: &[f32],
    first: u32,
    best: &mut Best,
) {
    let Best { mut distance, mut index } = *best;
    for (row, (dots, square)) in (first..).zip(dots.iter().zip(squares)) {
        for lane in 0..LANES {
            let new = square - 2.0 * dots[lane];
            let nearer = new < distance[lane];
            distance[lane] = if nearer { new } else { distance[lane] };
            index[lane] = if nearer { row } else { index[lane] };
        }
    }
    *best = Best { distance, index };
}
