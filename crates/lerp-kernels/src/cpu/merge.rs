//! A 1x1 convolution without activation and the convolution after it, as one.
//!
//! The first takes an image of few channels to many, of which the second then makes its outputs: with kernels `w₀[c, m]` and
//! `w₁[tap, m, o]` a convolution of the image itself with `Σₘ w₀[c, m]·w₁[tap, m, o]`. The first one's bias is a further
//! channel, one inside the image and zero around it, with `w₀[c, m] = b₀[m]`, because the second one's edge of zeros has none.

use super::lanes::LANES;
use crate::{Activation, Link};

/// Channels of such a pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    /// Of the image and of ones.
    inner: usize,
    /// Between the two.
    middle: usize,
    /// Of the result.
    outer: usize,
}

/// Gradients of the parameters of such a pair, other than the second bias, which is its own.
pub(super) struct Split {
    pub first_weight: Vec<f32>,
    pub first_bias: Vec<f32>,
    pub second_weight: Vec<f32>,
}

impl Merge {
    /// The first two links of a chain, if merging them saves work. Tiled, the second convolution takes a quarter of the products of
    /// a direct one; merged it is direct, and pays with at most a quarter of the input channels.
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

    /// The first kernel and bias, `[inner, middle]`.
    fn first(weight: &[f32], bias: &[f32]) -> Vec<f32> {
        [weight, bias].concat()
    }

    /// The kernel of both, `[k, k, inner, outer]`.
    pub fn weight(self, (weight, bias): (&[f32], &[f32]), second: &[f32]) -> Vec<f32> {
        let first = Self::first(weight, bias);
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

    /// The gradients of both kernels and the first bias from that of [`Self::weight`].
    pub fn split(self, grad: &[f32], (weight, bias): (&[f32], &[f32]), second: &[f32]) -> Split {
        let first = Self::first(weight, bias);
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
        let first_bias = of_first.split_off(weight.len());
        Split { first_weight: of_first, first_bias, second_weight: of_second }
    }
}
