//! Mean over 2x2 blocks and nearest-neighbour enlargement; each is the other's gradient up to a factor.

use rayon::prelude::*;

/// `out = factor · (sum over 2x2 blocks of x)`; `width` and `channels` are the output's.
pub(super) fn sum_blocks(x: &[f32], width: usize, channels: usize, factor: f32, out: &mut [f32]) {
    let row = width * channels;
    out.par_chunks_mut(row).zip(x.par_chunks(4 * row)).for_each(|(out, x)| {
        let (top, bottom) = x.split_at(2 * row);
        let blocks = top.chunks_exact(2 * channels).zip(bottom.chunks_exact(2 * channels));
        for (out, (top, bottom)) in out.chunks_exact_mut(channels).zip(blocks) {
            let ((a, b), (c, d)) = (top.split_at(channels), bottom.split_at(channels));
            for (i, out) in out.iter_mut().enumerate() {
                *out = factor * (a[i] + b[i] + c[i] + d[i]);
            }
        }
    });
}

/// `out = factor · x`, each pixel four times; `width` and `channels` are the input's.
pub(super) fn repeat_blocks(x: &[f32], width: usize, channels: usize, factor: f32, out: &mut [f32]) {
    let row = width * channels;
    out.par_chunks_mut(4 * row).zip(x.par_chunks(row)).for_each(|(out, x)| {
        let (top, bottom) = out.split_at_mut(2 * row);
        for (to, from) in top.chunks_exact_mut(2 * channels).zip(x.chunks_exact(channels)) {
            let (left, right) = to.split_at_mut(channels);
            for ((l, r), x) in left.iter_mut().zip(right).zip(from) {
                *l = factor * x;
                *r = *l;
            }
        }
        bottom.copy_from_slice(top);
    });
}
