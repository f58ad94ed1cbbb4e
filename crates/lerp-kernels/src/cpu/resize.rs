//! 2x2 sums and nearest-neighbour upscaling; each is the other's gradient up to a factor.

use super::grid::{Images, ImagesMut};

/// Computes `out = factor · (sum over 2x2 blocks of x)` for a number of images.
pub(super) fn sum_blocks(x: Images, factor: f32, out: ImagesMut) {
    let (from, ImagesMut { values, grid: to }) = (x.grid, out);
    let channels = to.channels;
    to.each_row(values, |at, out| {
        let (image, y) = (at / to.height, at % to.height);
        let row = |dy| &x.values[image * from.image() + from.at(2 * y + dy, 0)..][..from.row()];
        let blocks = row(0).chunks_exact(2 * channels).zip(row(1).chunks_exact(2 * channels));
        for (out, (top, bottom)) in out.chunks_exact_mut(channels).zip(blocks) {
            let ((a, b), (c, d)) = (top.split_at(channels), bottom.split_at(channels));
            for (i, out) in out.iter_mut().enumerate() {
                out.write(factor * (a[i] + b[i] + c[i] + d[i]));
            }
        }
    });
}

/// Computes `out = factor · x` for a number of images, with each pixel repeated in a 2x2 block.
pub(super) fn repeat_blocks(x: Images, factor: f32, out: ImagesMut) {
    let (from, ImagesMut { values, grid: to }) = (x.grid, out);
    let channels = to.channels;
    to.each_row(values, |at, out| {
        let (image, y) = (at / to.height, at % to.height / 2);
        let row = &x.values[image * from.image() + from.at(y, 0)..][..from.row()];
        for (to, from) in out.chunks_exact_mut(2 * channels).zip(row.chunks_exact(channels)) {
            let (left, right) = to.split_at_mut(channels);
            for ((l, r), x) in left.iter_mut().zip(right).zip(from) {
                r.write(*l.write(factor * x));
            }
        }
    });
}
