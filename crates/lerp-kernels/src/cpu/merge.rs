//! Merging of a 1x1 convolution without activation and the convolution after it into one convolution.
//!
//! The first maps an image of few channels to many, from which the second computes its outputs. With kernels `w₀[c, m]`
//! and `w₁[tap, m, o]` this is a convolution of the image itself with `Σₘ w₀[c, m]·w₁[tap, m, o]`. The first one's bias
//! becomes one more input channel, with value one inside the image and zero in its border, and with `w₀[c, m] = b₀[m]`:
//! the border of zeros that the second one reads is not offset by the first one's bias.

use super::{lanes::LANES, step::Params};
use crate::{Activation, Link};

/// The channel numbers of a merged pair of convolutions.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergedPair {
    /// Channels of the image, and the channel of ones.
    inner: usize,
    /// Channels between the two convolutions.
    middle: usize,
    /// Channels of the result.
    outer: usize,
}

/// The gradients of a merged pair's parameters, except the second bias, whose gradient is that of the merged
/// convolution's bias.
pub(super) struct PairGradients {
    pub first_weight: Vec<f32>,
    pub first_bias: Vec<f32>,
    pub second_weight: Vec<f32>,
}

impl MergedPair {
    /// Returns how to merge the first two links of a chain, or `None` if they cannot be merged or merging saves no
    /// work. As a Winograd convolution, the second one takes a quarter of a direct one's multiplications; merged, it is
    /// direct, which pays off with at most a quarter of the input channels.
    pub fn of(links: &[Link]) -> Option<Self> {
        let [first, second, ..] = links else { return None };
        let ([k, .., channels, middle], [.., outer]) = (first.weight.dims(), second.weight.dims()) else {
            return None;
        };
        let plain = *k == 1 && first.activation == Activation::Linear && !first.upscale && !first.downscale;
        let saves = 4 * (channels + 1) <= *middle && outer.is_multiple_of(LANES);
        (plain && !second.upscale && saves).then_some(Self {
            inner: channels + 1,
            middle: *middle,
            outer: *outer,
        })
    }

    /// The first kernel with its bias as the last row, `[inner, middle]`.
    fn extended(first: Params) -> Vec<f32> {
        [first.weight, first.bias].concat()
    }

    /// Returns the merged kernel, `[k, k, inner, outer]`.
    pub fn weight(self, first: Params, second: &[f32]) -> Vec<f32> {
        let first = Self::extended(first);
        let mut merged = vec![0.0; second.len() / self.middle * self.inner];
        let taps = merged.chunks_exact_mut(self.inner * self.outer);
        for (merged, second) in taps.zip(second.chunks_exact(self.middle * self.outer)) {
            for (merged, first) in merged.chunks_exact_mut(self.outer).zip(first.chunks_exact(self.middle)) {
                for (factor, second) in first.iter().zip(second.chunks_exact(self.outer)) {
                    merged.iter_mut().zip(second).for_each(|(m, s)| *m += factor * s);
                }
            }
        }
        merged
    }

    /// Returns the gradients of both kernels and the first bias, given the gradient of [`Self::weight`].
    pub fn gradients(self, grad: &[f32], first: Params, second: &[f32]) -> PairGradients {
        let weights = first.weight.len();
        let first = Self::extended(first);
        let (mut of_first, mut of_second) = (vec![0.0; first.len()], vec![0.0; second.len()]);
        let size = self.middle * self.outer;
        let taps = grad.chunks_exact(self.inner * self.outer).zip(second.chunks_exact(size));
        for ((grad, second), of_second) in taps.zip(of_second.chunks_exact_mut(size)) {
            for (i, grad) in grad.chunks_exact(self.outer).enumerate() {
                let rows = second.chunks_exact(self.outer).zip(of_second.chunks_exact_mut(self.outer));
                for (m, (second, of_second)) in rows.enumerate() {
                    let at = i * self.middle + m;
                    of_first[at] += grad.iter().zip(second).map(|(g, s)| g * s).sum::<f32>();
                    of_second.iter_mut().zip(grad).for_each(|(s, g)| *s += first[at] * g);
                }
            }
        }
        let first_bias = of_first.split_off(weights);
        PairGradients { first_weight: of_first, first_bias, second_weight: of_second }
    }
}
