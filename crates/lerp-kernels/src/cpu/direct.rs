//! Direct convolution, for shapes that no Winograd tiling fits: few channels, kernels other than 3x3, odd image sizes.
//!
//! It is an implicit matrix product: in an image with a border of zeros, the `k·in` inputs of a row of kernel taps are
//! contiguous, so no matrix of columns is built. The inner kernels (`direct_kernels.rs`) keep the sums of several
//! pixels or taps in registers.

use super::{
    direct_kernels::{
        ChannelWeights, Panel, Pixels, Strided, StridedMut, TapRows, pixels_by_panel, pixels_by_taps,
        sum_pixels, taps_by_one, taps_by_pixels,
    },
    grid::Images,
    lanes::{Isa, LANES},
    step::ParamGradients,
    winograd::Row,
};

/// The shape of a direct convolution, with kernels `[k, k, cin, cout]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Direct {
    pub k: usize,
    pub cin: usize,
    pub cout: usize,
}

/// Weights in the layout that the inner kernels read.
pub(super) enum Taps {
    /// Blocks of 16 output channels, `[block][tap]`, the last block padded with zeros.
    Panels(Vec<Vec<Row>>),
    /// Each output channel by itself, `[cout][tap]`, for convolutions with so few of them that a vector's lanes are
    /// better filled with inputs.
    Rows(Vec<f32>),
}

impl Direct {
    /// The convolution that computes the gradient of the first `channels` input channels, in which inputs and outputs
    /// are exchanged.
    pub fn mirrored(self, channels: usize) -> Self {
        Self { k: self.k, cin: self.cout, cout: channels }
    }

    /// Floats of one row of kernel taps, which are contiguous in an image.
    fn tap_row(self) -> usize {
        self.k * self.cin
    }

    /// The rows of kernel taps in an image whose rows of pixels are `pitch` floats apart.
    fn taps(self, pitch: usize) -> TapRows {
        TapRows { row: self.tap_row(), shift: pitch }
    }

    /// Whether there are so few output channels that a vector's lanes are better filled with inputs.
    fn few(self) -> bool {
        self.cout <= 4 && self.cin.is_multiple_of(LANES)
    }

    /// Returns the weights in the layout for [`Self::convolve`].
    pub fn forward_taps(self, weight: &[f32]) -> Taps {
        let cout = self.cout;
        if self.few() {
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

    /// Returns the kernels rotated by 180°, with outputs and the first `channels` inputs exchanged, in the layout for
    /// [`Self::convolve`] of [`Self::mirrored`].
    pub fn backward_taps(self, weight: &[f32], channels: usize) -> Taps {
        let taps = self.k * self.k;
        let size = channels * self.cout;
        let mut turned = vec![0.0; taps * size];
        for (tap, from) in weight.chunks_exact(self.cin * self.cout).enumerate() {
            let to = &mut turned[(taps - 1 - tap) * size..][..size];
            for (ci, row) in from.chunks_exact(self.cout).take(channels).enumerate() {
                for (co, value) in row.iter().enumerate() {
                    to[co * channels + ci] = *value;
                }
            }
        }
        self.mirrored(channels).forward_taps(&turned)
    }

    /// Convolves images whose border is half the kernel size wide, without bias; `out` has no border.
    pub fn convolve(self, isa: Isa, x: Images, taps: &Taps, out: &mut [f32]) {
        let (Images { values: x, grid: from }, cout) = (x, self.cout);
        let tap_rows = self.taps(from.pitch());
        for (at, out) in out.chunks_exact_mut(from.width * cout).enumerate() {
            let start = at / from.height * from.image() + at % from.height * from.pitch();
            let pixels = Pixels { values: x, start, step: self.cin, count: from.width };
            match taps {
                Taps::Panels(panels) => {
                    for (block, panel) in panels.iter().enumerate() {
                        let (panel, channel) = (Panel { lanes: panel, taps: tap_rows }, block * LANES);
                        if channel + LANES <= cout {
                            let out = StridedMut { values: &mut out[channel..], stride: cout };
                            pixels_by_panel(isa, pixels, panel, out);
                            continue;
                        }
                        // The last block has fewer channels than a vector has lanes.
                        for (p, out) in out.chunks_exact_mut(cout).enumerate() {
                            let one = Pixels { start: start + p * self.cin, count: 1, ..pixels };
                            let mut lanes = [0.0; LANES];
                            let to = StridedMut { values: &mut lanes, stride: LANES };
                            pixels_by_panel(isa, one, panel, to);
                            out[channel..].copy_from_slice(&lanes[..cout - channel]);
                        }
                    }
                }
                Taps::Rows(weights) => {
                    for (channel, weights) in weights.chunks_exact(self.k * self.tap_row()).enumerate() {
                        let weights = ChannelWeights { values: weights, taps: tap_rows };
                        let out = StridedMut { values: &mut out[channel..], stride: cout };
                        pixels_by_taps(isa, pixels, weights, out);
                    }
                }
            }
        }
    }

    /// Returns sums of zero for [`Self::add_weights`].
    pub fn no_sums(self) -> ParamGradients {
        ParamGradients { weight: vec![0.0; self.k * self.tap_row() * self.cout], bias: vec![0.0; self.cout] }
    }

    /// Adds to `sums` the gradients of weights and bias from images `x`, whose border is half the kernel size wide, and
    /// the gradients `grad` of their outputs.
    pub fn add_weights(self, isa: Isa, x: Images, grad: Images, sums: &mut ParamGradients) {
        let (cout, row, step) = (self.cout, self.tap_row(), self.cin);
        let images = grad.count();
        let (Images { values: x, grid: from }, Images { values: grad, grid: of }) = (x, grad);
        let starts =
            (0..images * of.height).map(|at| at / of.height * from.image() + at % of.height * from.pitch());
        // The gradients of each row of output pixels, with the index of the row's first tap in `x`.
        let rows = || of.rows(grad).zip(starts.clone());
        if self.few() && row.is_multiple_of(3 * LANES) {
            for (channel, bias) in sums.bias.iter_mut().enumerate() {
                *bias +=
                    rows().map(|(grad, _)| grad.iter().skip(channel).step_by(cout).sum::<f32>()).sum::<f32>();
                for dy in 0..self.k {
                    for tap in (0..row).step_by(3 * LANES) {
                        let mut vectors = [[0.0; LANES]; 3];
                        for (grad, start) in rows() {
                            let start = start + dy * from.pitch() + tap;
                            let pixels = Pixels { values: x, start, step, count: of.width };
                            let grad = Strided { values: &grad[channel..], stride: cout };
                            taps_by_one(isa, pixels, grad, &mut vectors);
                        }
                        let to = sums.weight[(dy * row + tap) * cout + channel..].iter_mut().step_by(cout);
                        to.zip(vectors.as_flattened()).for_each(|(w, g)| *w += g);
                    }
                }
            }
            return;
        }
        let mut taps = vec![[0.0; LANES]; row];
        let mut filled = vec![0.0; of.width * LANES];
        for channel in (0..cout).step_by(LANES) {
            let width = LANES.min(cout - channel);
            let mut total = [0.0; LANES];
            for dy in 0..self.k {
                taps.fill([0.0; LANES]);
                for (grad, start) in rows() {
                    let start = start + dy * from.pitch();
                    let pixels = Pixels { values: x, start, step, count: of.width };
                    let grad = if width == LANES {
                        Strided { values: &grad[channel..], stride: cout }
                    } else {
                        for (to, from) in filled.chunks_exact_mut(LANES).zip(grad.chunks_exact(cout)) {
                            to[..width].copy_from_slice(&from[channel..]);
                        }
                        Strided { values: &filled, stride: LANES }
                    };
                    if dy == 0 {
                        sum_pixels(isa, grad, of.width, &mut total);
                    }
                    taps_by_pixels(isa, pixels, grad, &mut taps);
                }
                for (t, lanes) in taps.iter().enumerate() {
                    let to = &mut sums.weight[(dy * row + t) * cout + channel..][..width];
                    to.iter_mut().zip(lanes).for_each(|(w, g)| *w += g);
                }
            }
            sums.bias[channel..channel + width].iter_mut().zip(&total).for_each(|(b, g)| *b += g);
        }
    }
}
