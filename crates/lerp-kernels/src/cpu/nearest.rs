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

/// Rows that are tried first, for a first bound.
const TRIED: usize = 256;

/// Rounding of a squared distance, in units of the last place for every number of a vector: more than it can be.
const ROUNDING: f32 = 8.0;

/// The nearest row of each vector. A row whose norm alone says that it is farther from every vector than a row tried
/// before is not compared: most rows of a codebook are not in use, and far away or all at zero.
fn search(x: &[f32], table: &[f32], n: usize, depth: usize) -> Vec<u32> {
    if table.len() / depth <= 2 * TRIED {
        return compare(x, table, n, depth).1;
    }
    let norms = |vectors: &[f32]| -> Vec<f32> {
        vectors.par_chunks_exact(depth).map(|v| v.iter().map(|v| v * v).sum::<f32>().sqrt()).collect()
    };
    let (of_x, of_rows) = (norms(x), norms(table));
    // What is not a number is compared as it stands.
    if of_x.iter().chain(&of_rows).any(|norm| !norm.is_finite()) {
        return compare(x, table, n, depth).1;
    }
    let gather = |rows: &[usize]| -> Vec<f32> {
        rows.iter().flat_map(|row| &table[row * depth..][..depth]).copied().collect()
    };
    let middle = of_x.iter().sum::<f32>() / n as f32;
    let mut likely: Vec<usize> = (0..of_rows.len()).collect();
    let apart = |row: &usize| (of_rows[*row] - middle).abs();
    likely.select_nth_unstable_by(TRIED, |a, b| apart(a).total_cmp(&apart(b)));
    let (bounds, tried) = compare(x, &gather(&likely[..TRIED]), n, depth);
    let tried: Vec<usize> = tried.into_iter().map(|i| likely[i as usize]).collect();
    // `|‖row‖ - ‖x‖|` is at most the distance: a row outside of all these ranges is no vector's nearest.
    let mut ranges: Vec<[f32; 2]> = of_x
        .iter()
        .zip(bounds.iter().zip(&tried))
        .map(|(norm, (bound, row))| {
            // The bound lacks ‖x‖², and what is left of it when that is added is no more exact than the squares are.
            let squares = norm * norm + of_rows[*row] * of_rows[*row];
            let rounding = ROUNDING * depth as f32 * f32::EPSILON;
            let reach = (bound + norm * norm + rounding * squares).max(0.0).sqrt() * (1.0 + rounding);
            [norm - reach, norm + reach]
        })
        .collect();
    ranges.sort_unstable_by(|a, b| a[0].total_cmp(&b[0]));
    let mut merged: Vec<[f32; 2]> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range[0] <= last[1] => last[1] = last[1].max(range[1]),
            _ => merged.push(range),
        }
    }
    let within = |norm: f32| {
        let before = merged.partition_point(|range| range[0] <= norm);
        before > 0 && norm <= merged[before - 1][1]
    };
    let mut near: Vec<usize> = (0..of_rows.len()).filter(|row| within(of_rows[*row])).collect();
    near.extend(tried);
    near.sort_unstable();
    near.dedup();
    if 2 * near.len() > of_rows.len() {
        return compare(x, table, n, depth).1;
    }
    let (_, found) = compare(x, &gather(&near), n, depth);
    found.into_iter().map(|i| near[i as usize] as u32).collect()
}

/// The squared distance of each vector from its nearest row, less its own square, and that row; the first of equally near
/// ones.
fn compare(x: &[f32], table: &[f32], n: usize, depth: usize) -> (Vec<f32>, Vec<u32>) {
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
            let dots = scratch.work.room.rows.first(squares.len());
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
    let (mut distances, mut indices): (Vec<f32>, Vec<u32>) =
        best.iter().flat_map(|best| best.distance.into_iter().zip(best.index)).unzip();
    distances.truncate(n);
    indices.truncate(n);
    (distances, indices)
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
