//! Convolution tap by tap, for what Winograd's form does not fit: few channels, other kernels, odd sides.
//!
//! An implicit matrix product: in an image with an edge of zeros the `k·in` inputs of a row of taps are contiguous, so no
//! column matrix is built. The inner kernel (`tile.rs`) holds 6 pixels x 16 output channels in registers.

use std::mem::MaybeUninit;

use super::{
    grid::Grid,
    lanes::{Isa, LANES},
    scratch::Room,
    tile::{Ascending, ROWS, Tile, rows_by_panel, rows_by_taps, taps_by_one, taps_by_pixels},
    winograd::Row,
};

/// Floats behind the images that the tile may read: it takes the weights' gradient [`ROWS`] taps at a time.
pub(super) const SLACK: usize = ROWS;

/// A convolution with kernels `[k, k, cin, cout]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Direct {
    pub k: usize,
    pub cin: usize,
    pub cout: usize,
}

/// Weights as the inner kernels read them.
pub(super) enum Taps {
    /// Of 16 output channels at a time, `[block][tap]`, the last block filled up with zeros.
    Panels(Vec<Vec<Row>>),
    /// Of every output channel by itself, `[cout][tap]`, where a tile's lanes are better filled with inputs.
    Rows(Vec<f32>),
}

impl Direct {
    /// The same for the gradient of the input, in which inputs and outputs change places.
    pub fn mirrored(self) -> Self {
        Self { cin: self.cout, cout: self.cin, ..self }
    }

    /// Floats of one row of taps: they are contiguous in an image.
    fn tap_row(self) -> usize {
        self.k * self.cin
    }

    pub fn weights(self) -> usize {
        self.k * self.tap_row() * self.cout
    }

    /// Weights laid out for [`Self::convolve`].
    pub fn forward_taps(self, weight: &[f32]) -> Taps {
        let cout = self.cout;
        if cout <= 4 && self.tap_row().is_multiple_of(LANES) {
            return Taps::Rows(
                (0..cout).flat_map(|c| weight.iter().skip(c).step_by(cout).copied()).collect(),
            );
        }
        let block = |first: usize| {
            let width = LANES.min(cout - first);
            let row = |row: &[f32]| {
                let mut lanes = [0.0; LANES];
                lanes[..width].copy_from_slice(&row[first..first + width]);
                lanes
            };
            weight.chunks_exact(cout).map(row).collect()
        };
        Taps::Panels((0..cout).step_by(LANES).map(block).collect())
    }

    /// Weights turned by half a turn, with inputs and outputs exchanged, laid out for [`Self::convolve`] of
    /// [`Self::mirrored`].
    pub fn backward_taps(self, weight: &[f32]) -> Taps {
        let (size, taps) = (self.cin * self.cout, self.k * self.k);
        let mut turned = vec![0.0; weight.len()];
        for (tap, from) in weight.chunks_exact(size).enumerate() {
            let to = &mut turned[(taps - 1 - tap) * size..][..size];
            for (ci, row) in from.chunks_exact(self.cout).enumerate() {
                for (co, value) in row.iter().enumerate() {
                    to[co * self.cin + ci] = *value;
                }
            }
        }
        self.mirrored().forward_taps(&turned)
    }

    /// Convolves some images with an edge of half the kernel's side.
    pub fn convolve(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        taps: &Taps,
        (bias, slope): (Option<&[f32]>, f32),
        (out, to): (&mut [MaybeUninit<f32>], Grid),
    ) {
        let row = self.tap_row();
        to.each_row(out, |at, out| {
            // The first tap of the row's first pixel.
            let first = at / from.height * from.image() + at % from.height * from.pitch();
            for pixel in (0..to.width).step_by(ROWS) {
                // The last tile of a row repeats its last pixel and throws the copies away.
                let starts = std::array::from_fn(|r| first + (pixel + r).min(to.width - 1) * self.cin);
                let rows = (to.width - pixel).min(ROWS);
                let out = &mut out[pixel * self.cout..];
                let activate = |v: f32| v.max(v * slope);
                match taps {
                    Taps::Panels(panels) => {
                        for (block, panel) in panels.iter().enumerate() {
                            let channel = block * LANES;
                            let width = LANES.min(self.cout - channel);
                            let mut start = [0.0; LANES];
                            if let Some(bias) = bias {
                                start[..width].copy_from_slice(&bias[channel..channel + width]);
                            }
                            let mut tile: Tile = [start; ROWS];
                            rows_by_panel(isa, &mut tile, (x, &starts), (panel, row, from.pitch()));
                            for (r, lanes) in tile.iter().enumerate().take(rows) {
                                let out = &mut out[r * self.cout + channel..][..width];
                                out.iter_mut().zip(lanes).for_each(|(o, v)| {
                                    o.write(activate(*v));
                                });
                            }
                        }
                    }
                    Taps::Rows(taps) => {
                        for (channel, taps) in taps.chunks_exact(self.k * row).enumerate() {
                            let mut sums = [0.0; ROWS];
                            rows_by_taps(isa, (x, &starts), (taps, row, from.pitch()), &mut sums);
                            for (r, sum) in sums.iter().enumerate().take(rows) {
                                let sum = sum + bias.map_or(0.0, |bias| bias[channel]);
                                out[r * self.cout + channel].write(activate(sum));
                            }
                        }
                    }
                }
            }
        });
    }

    /// Adds the gradients of weights (`[k, k, in, out]`) and bias of some images `x` with an edge, followed by [`SLACK`] more
    /// floats, and the gradients `grad` of their outputs.
    pub fn add_weights(
        self,
        isa: Isa,
        (x, from): (&[f32], Grid),
        (grad, of): (&[f32], Grid),
        (weights, bias): (&mut [f32], &mut [f32]),
        room: &mut Room,
    ) {
        let (cout, row) = (self.cout, self.tap_row());
        // Rows of full lanes, without an edge.
        let lanes = cout.next_multiple_of(LANES);
        let images = grad.len() / of.image();
        let filled = room.floats.first(images * of.height * of.width * lanes);
        for (from, to) in of.rows(grad).zip(filled.chunks_exact_mut(of.width * lanes)) {
            for (from, to) in from.chunks_exact(cout).zip(to.chunks_exact_mut(lanes)) {
                bias.iter_mut().zip(from).for_each(|(b, g)| *b += g);
                to[..cout].copy_from_slice(from);
                to[cout..].fill(0.0);
            }
        }
        let [offsets, _] = &mut room.offsets;
        offsets.clear();
        for image in 0..images {
            for y in 0..of.height {
                let row = image * from.image() + y * from.pitch();
                offsets.extend((0..of.width).map(|x| row + x * self.cin));
            }
        }
        let pixels = Ascending::new(offsets);
        let narrow = cout <= 4 && row.is_multiple_of(3 * LANES);
        let (step, channels) = if narrow { (3 * LANES, 1) } else { (ROWS, LANES) };
        for channel in (0..cout).step_by(channels) {
            for dy in 0..self.k {
                for tap in (0..row).step_by(step) {
                    let a = (x, pixels, dy * from.pitch() + tap);
                    let weights = &mut weights[(dy * row + tap) * cout + channel..];
                    if narrow {
                        let mut sums = [[0.0; LANES]; 3];
                        taps_by_one(isa, &mut sums, a, (&filled[channel..], lanes));
                        let to = weights.iter_mut().step_by(cout);
                        to.zip(sums.as_flattened()).for_each(|(w, g)| *w += g);
                    } else {
                        let mut tile: Tile = [[0.0; LANES]; ROWS];
                        taps_by_pixels(isa, &mut tile, a, (filled, lanes, channel));
                        let width = LANES.min(cout - channel);
                        for (r, sums) in tile.iter().enumerate().take(row - tap) {
                            let to = &mut weights[r * cout..][..width];
                            to.iter_mut().zip(sums).for_each(|(w, g)| *w += g);
                        }
                    }
                }
            }
        }
    }
}
