//! The search for the row of a table that is nearest to each of many vectors.
#![allow(unsafe_code)]
// A body must be inlined into the function that enables its instructions.
#![allow(clippy::inline_always, clippy::needless_range_loop)]

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    lanes::{Isa, LANES, isa, on_isa},
    matrix_product::{ROW_BLOCK, product},
    scratch::with_scratch,
    slice,
};

/// Rows of the table that are compared with all vectors at a time, while they are in the cache.
const ROWS: usize = 16 * ROW_BLOCK;

/// The fused kernel of [`crate::nearest`].
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

/// The nearest row found so far, for each of sixteen vectors.
#[derive(Clone, Copy)]
struct Best {
    distance: [f32; LANES],
    index: [u32; LANES],
}

/// Rows that are compared first, to get an upper bound of the distance.
const TRIED: usize = 256;

/// An upper bound of the rounding error of a squared distance, in units in the last place per dimension.
const ROUNDING: f32 = 8.0;

/// Returns the nearest row of each vector. Rows whose norm alone shows that they are farther from every vector than a
/// row already compared are skipped: in a codebook in training, most rows are unused, and are either far away or all
/// zero.
fn search(x: &[f32], table: &[f32], n: usize, depth: usize) -> Vec<u32> {
    if table.len() / depth <= 2 * TRIED {
        return compare(x, table, n, depth).1;
    }
    let norms = |vectors: &[f32]| -> Vec<f32> {
        vectors.par_chunks_exact(depth).map(|v| v.iter().map(|v| v * v).sum::<f32>().sqrt()).collect()
    };
    let (of_x, of_rows) = (norms(x), norms(table));
    // Norms that are not finite give no bounds, so all rows are compared.
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
    // `|‖row‖ - ‖x‖|` is at most the distance, so a row whose norm is outside of all these ranges is no vector's
    // nearest.
    let mut ranges: Vec<[f32; 2]> = of_x
        .iter()
        .zip(bounds.iter().zip(&tried))
        .map(|(norm, (bound, row))| {
            // `bound` is the squared distance minus ‖x‖². Adding ‖x‖² may cancel, and the result has the rounding error
            // of the squares.
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

/// Compares all rows with all vectors. Returns for each vector the squared distance of its nearest row minus the
/// vector's own square, and the row's index; of equally near rows, the first.
fn compare(x: &[f32], table: &[f32], n: usize, depth: usize) -> (Vec<f32>, Vec<u32>) {
    let isa = isa();
    // Panels of sixteen vectors side by side, the last one padded with zeros.
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
        // ‖x‖² is the same for every row and cannot change which row is nearest.
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
            let dots = scratch.step.tiles.rows.first(squares.len());
            for (panel, best) in panels.chunks_exact(depth).zip(&mut best) {
                product(isa, rows, panel, dots);
                keep_nearer(isa, dots, &squares, (chunk * ROWS) as u32, best);
            }
        });
        best
    };
    // Chunks are merged in the order of rows, so that the first of equally near rows wins.
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

/// Updates `best` with the rows from `first` on, given their dot products with sixteen vectors (`dots`) and their
/// squares.
fn keep_nearer(isa: Isa, dots: &[[f32; LANES]], squares: &[f32], first: u32, best: &mut Best) {
    // SAFETY: the body is safe; this machine has the instruction set.
    unsafe {
        on_isa!(isa, keep_nearer_body[1, 1, 1, 1](
            dots: &[[f32; LANES]], squares: &[f32], first: u32, best: &mut Best,
        ));
    }
}

/// The loop of [`keep_nearer`], compiled for one instruction set.
///
/// # Safety
/// This machine must have the instruction set of `L`; the loop is vectorised by the compiler.
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
