//! One convolution of a chain: its shapes, its algorithm, and its forward and backward pass.
#![allow(unsafe_code)]

use super::{
    direct::{Direct, Taps},
    epilogue::{Epilogue, apply_epilogue},
    grid::{Grid, Images, ImagesMut},
    lanes::Isa,
    resize::{repeat_blocks, sum_blocks},
    scratch::{Buffer, StepScratch, as_uninit},
    winograd::{PointSums, Row, Winograd},
};
use crate::Activation;

/// The least number of tiles or pixels that a task takes at a time.
const GROUP: usize = 64;

/// The values of one convolution's parameters.
#[derive(Clone, Copy)]
pub(super) struct Params<'a> {
    /// `[k, k, in, out]`.
    pub weight: &'a [f32],
    /// `[out]`.
    pub bias: &'a [f32],
}

/// The gradients of one convolution's parameters.
pub(super) struct ParamGradients {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// One convolution of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The grid of the input, with the border that the convolution reads.
    pub input: Grid,
    /// The number of channels of the images themselves; any further channel holds ones, which
    /// [`super::chain::forward`] adds.
    pub image_channels: usize,
    pub cout: usize,
    pub k: usize,
    pub activation: Activation,
    pub resize: Resizing,
    pub algorithm: Algorithm,
}

/// The resizing before and after a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resizing {
    /// Whether the input is first upscaled by two.
    pub upscale: bool,
    /// Whether the outputs are averaged over 2x2 blocks.
    pub downscale: bool,
}

/// The algorithm that computes a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) enum Algorithm {
    Winograd(Winograd),
    Direct(Direct),
}

/// Weights in the layout that an algorithm reads.
pub(super) enum Prepared {
    Points(Vec<Row>),
    Taps(Taps),
}

impl Step {
    /// A convolution of images of the given shape with kernels `[k, k, channels, cout]`.
    pub fn new(input: Grid, k: usize, cout: usize, activation: Activation, resize: Resizing) -> Self {
        let image_channels = input.channels;
        let (algorithm, edge) = match Winograd::fitting(input, k, cout, resize) {
            Some(winograd) => (Algorithm::Winograd(winograd), winograd.edge()),
            // A direct convolution makes upscaled images separately, and only these have a border.
            None => (
                Algorithm::Direct(Direct { k, cin: image_channels, cout }),
                if resize.upscale { 0 } else { k / 2 },
            ),
        };
        Self { input: Grid { edge, ..input }, image_channels, cout, k, activation, resize, algorithm }
    }

    /// The same step as a direct convolution, with one more input channel of ones inside the image, whose kernel acts
    /// as a bias that is absent in the border.
    pub fn with_ones(self) -> Self {
        let (image_channels, k) = (self.input.channels, self.k);
        let algorithm = Algorithm::Direct(Direct { k, cin: image_channels + 1, cout: self.cout });
        Self {
            input: Grid { channels: image_channels + 1, edge: k / 2, ..self.input },
            image_channels,
            algorithm,
            ..self
        }
    }

    /// The grid of the input, without the border and the channel of ones.
    pub fn image(&self) -> Grid {
        Grid { channels: self.image_channels, ..self.input.dense() }
    }

    /// The grid that the convolution itself reads (after upscaling), without a border.
    fn convolution_input(&self) -> Grid {
        if self.resize.upscale { self.input.dense().doubled() } else { self.input.dense() }
    }

    /// The grid of the convolution's output, before averaging.
    pub fn convolved(&self) -> Grid {
        Grid { channels: self.cout, ..self.convolution_input() }
    }

    /// The grid of the step's output, after averaging.
    pub fn outgoing(&self) -> Grid {
        if self.resize.downscale { self.convolved().halved() } else { self.convolved() }
    }

    /// The grid of the gradients of the convolution's output before the activation, with the border that the backward
    /// pass reads.
    pub fn activation_gradient(&self) -> Grid {
        let edge = match self.algorithm {
            Algorithm::Winograd(winograd) => winograd.mirrored().edge(),
            Algorithm::Direct(_) => self.k / 2,
        };
        Grid { edge, ..self.convolved() }
    }

    /// The slope of the leaky ReLU; 1 without an activation.
    pub fn slope(&self) -> f32 {
        if let Activation::LeakyRelu(slope) = self.activation { slope } else { 1.0 }
    }

    /// Whether the weights and the sums of their gradients are small enough to leave room for other data in a
    /// second-level cache.
    pub fn is_narrow(&self) -> bool {
        if let Algorithm::Winograd(winograd) = self.algorithm { winograd.is_narrow() } else { true }
    }

    /// The number of images that together have enough tiles or pixels for a task.
    pub fn images_per_task(&self) -> usize {
        GROUP.div_ceil(match self.algorithm {
            Algorithm::Winograd(winograd) => winograd.tiles(self.input),
            Algorithm::Direct(_) => self.convolution_input().height * self.convolution_input().width,
        })
    }

    /// The number of images that a task takes at a time, where that number does not affect the result's bits.
    pub fn group(&self, batch: usize) -> usize {
        self.images_per_task().min(batch.div_ceil(rayon::current_num_threads())).max(1)
    }

    /// Returns the weights in the layout for [`Self::convolve`].
    pub fn forward_weights(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.algorithm {
            Algorithm::Winograd(winograd) => Prepared::Points(winograd.forward_kernels(isa, weight)),
            Algorithm::Direct(direct) => Prepared::Taps(direct.forward_taps(weight)),
        }
    }

    /// Returns the weights in the layout for [`Self::input_gradient`].
    pub fn backward_weights(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.algorithm {
            Algorithm::Winograd(winograd) => Prepared::Points(winograd.backward_kernels(isa, weight)),
            Algorithm::Direct(direct) => Prepared::Taps(direct.backward_taps(weight, self.image_channels)),
        }
    }

    /// Returns the images that a direct convolution reads: upscaled if the step does so, with a border.
    fn upscaled<'a>(&self, x: Images<'a>, memory: &'a mut Buffer<f32>) -> Images<'a> {
        if !self.resize.upscale {
            return x;
        }
        let grid = Grid { edge: self.k / 2, ..self.convolution_input() };
        let large = memory.first(x.count() * grid.image());
        // SAFETY: the borders and every row inside them are written.
        let out = unsafe { as_uninit(large) };
        grid.clear_edges(out);
        repeat_blocks(x, 1.0, ImagesMut { values: out, grid });
        Images { values: large, grid }
    }

    /// Convolves a number of images, which have the layout [`Self::input`], and applies an epilogue to the outputs.
    pub fn convolve(
        &self,
        isa: Isa,
        x: &[f32],
        prepared: &Prepared,
        mut epilogue: Epilogue,
        out: ImagesMut,
        StepScratch { tiles, plain, resized, .. }: &mut StepScratch,
    ) {
        let x = Images { values: x, grid: self.input };
        match (self.algorithm, prepared) {
            (Algorithm::Winograd(winograd), Prepared::Points(points)) => {
                winograd.convolve(isa, x, points, epilogue, out, tiles);
            }
            (Algorithm::Direct(direct), Prepared::Taps(taps)) => {
                let grid = self.convolved();
                let plain = plain.first(x.count() * grid.image());
                direct.convolve(isa, self.upscaled(x, resized), taps, plain);
                let plain = Images { values: plain, grid };
                apply_epilogue(isa, plain, &mut epilogue, out, &mut tiles.origins);
            }
            _ => unreachable!("weights are prepared by the algorithm that reads them"),
        }
    }

    /// Computes the gradients of the input from those of the convolution's output before the activation, for a number
    /// of images, and applies an epilogue to them.
    pub fn input_gradient(
        &self,
        isa: Isa,
        grad: &[f32],
        prepared: &Prepared,
        mut epilogue: Epilogue,
        out: ImagesMut,
        StepScratch { tiles, plain, resized, .. }: &mut StepScratch,
    ) {
        let grad = Images { values: grad, grid: self.activation_gradient() };
        match (self.algorithm, prepared) {
            (Algorithm::Winograd(winograd), Prepared::Points(points)) => {
                winograd.mirrored().convolve(isa, grad, points, epilogue, out, tiles);
            }
            (Algorithm::Direct(direct), Prepared::Taps(taps)) => {
                let grid = Grid { channels: self.image_channels, ..self.convolution_input() };
                let images = grad.count();
                let plain = plain.first(images * grid.image());
                direct.mirrored(self.image_channels).convolve(isa, grad, taps, plain);
                let mut dx = Images { values: plain, grid };
                if self.resize.upscale {
                    let grid = self.image();
                    let sums = resized.first(images * grid.image());
                    // SAFETY: every sum is written.
                    sum_blocks(dx, 1.0, ImagesMut { values: unsafe { as_uninit(sums) }, grid });
                    dx = Images { values: sums, grid };
                }
                apply_epilogue(isa, dx, &mut epilogue, out, &mut tiles.origins);
            }
            _ => unreachable!("weights are prepared by the algorithm that reads them"),
        }
    }
}

/// Running sums of the gradients of weights and bias, as the algorithm keeps them.
pub(super) enum Sums {
    Winograd { algorithm: Winograd, sums: PointSums },
    Direct { algorithm: Direct, sums: ParamGradients },
}

impl Sums {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Winograd(algorithm) => Self::Winograd { algorithm, sums: algorithm.no_sums() },
            Algorithm::Direct(algorithm) => Self::Direct { algorithm, sums: algorithm.no_sums() },
        }
    }

    /// Adds the gradients from inputs `x` of a step and the gradients `grad` of its outputs before the activation.
    pub fn add(&mut self, isa: Isa, step: &Step, x: Images, grad: Images, scratch: &mut StepScratch) {
        match self {
            Self::Winograd { algorithm, sums } => {
                algorithm.add_weights(isa, x, grad, sums, &mut scratch.tiles);
            }
            Self::Direct { algorithm, sums } => {
                algorithm.add_weights(isa, step.upscaled(x, &mut scratch.resized), grad, sums);
            }
        }
    }

    /// Adds the sums of another part of the batch.
    pub fn plus(mut self, other: Self) -> Self {
        match (&mut self, other) {
            (Self::Winograd { sums, .. }, Self::Winograd { sums: more, .. }) => sums.add(&more),
            (Self::Direct { sums, .. }, Self::Direct { sums: more, .. }) => {
                sums.weight.iter_mut().zip(more.weight).for_each(|(a, b)| *a += b);
                sums.bias.iter_mut().zip(more.bias).for_each(|(a, b)| *a += b);
            }
            _ => unreachable!("all parts of a batch use one algorithm"),
        }
        self
    }

    /// Returns the gradients of weights and bias.
    pub fn finish(self, isa: Isa) -> ParamGradients {
        match self {
            Self::Winograd { algorithm, sums } => algorithm.gradients(isa, sums),
            Self::Direct { sums, .. } => sums,
        }
    }
}
