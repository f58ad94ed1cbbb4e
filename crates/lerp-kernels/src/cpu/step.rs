//! One convolution of a chain: its shapes, its form, and its forward and backward pass.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::{
    direct::{Direct, Taps},
    epilogue::{Epilogue, finish},
    grid::Grid,
    lanes::{Isa, LANES},
    resize::{repeat_blocks, sum_blocks},
    scratch::{Store, Work, overwritten},
    winograd::{Row, Winograd, add},
};
use crate::Activation;

/// The least number of tiles or pixels that a task takes at a time.
const GROUP: usize = 64;

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
    /// The number of the input's channels that are given; any further channel holds ones, which
    /// [`super::chain::forward`] adds.
    pub given: usize,
    pub cout: usize,
    pub k: usize,
    pub activation: Activation,
    pub resize: Resizing,
    pub form: Algorithm,
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
    /// A convolution of images `[height, width, channels]` with kernels `[k, k, channels, cout]`.
    pub fn new(
        [height, width, channels]: [usize; 3],
        [k, cout]: [usize; 2],
        activation: Activation,
        resize: Resizing,
    ) -> Self {
        let (form, edge) = match Winograd::fitting(k, [height, width], resize, channels, cout) {
            Some(form) => (Algorithm::Winograd(form), form.edge()),
            // For the direct form, upscaled images are made separately, and only these have a border.
            None => {
                (Algorithm::Direct(Direct { k, cin: channels, cout }), if resize.upscale { 0 } else { k / 2 })
            }
        };
        let input = Grid { height, width, channels, edge };
        Self { input, given: channels, cout, k, activation, resize, form }
    }

    /// The same step in the direct form, with one more input channel of ones inside the image, whose kernel acts as a
    /// bias that is absent in the border.
    pub fn with_ones(self) -> Self {
        let (given, k) = (self.input.channels, self.k);
        let form = Algorithm::Direct(Direct { k, cin: given + 1, cout: self.cout });
        Self { input: Grid { channels: given + 1, edge: k / 2, ..self.input }, given, form, ..self }
    }

    /// The grid of the input, without the border and the channel of ones.
    pub fn incoming(&self) -> Grid {
        Grid { channels: self.given, ..self.input.dense() }
    }

    /// The grid that the convolution itself reads (after upscaling), without a border.
    fn read(&self) -> Grid {
        if self.resize.upscale { self.input.dense().doubled() } else { self.input.dense() }
    }

    /// The grid of the convolution's output, before averaging.
    pub fn convolved(&self) -> Grid {
        Grid { channels: self.cout, ..self.read() }
    }

    /// The grid of the step's output, after averaging.
    pub fn outgoing(&self) -> Grid {
        if self.resize.downscale { self.convolved().halved() } else { self.convolved() }
    }

    /// The grid of the gradients of the convolution's output before the activation, with the border that the backward
    /// pass reads.
    pub fn gated(&self) -> Grid {
        let edge = match self.form {
            Algorithm::Winograd(form) => form.mirrored().edge(),
            Algorithm::Direct(_) => self.k / 2,
        };
        Grid { edge, ..self.convolved() }
    }

    /// Height, width and channels of the step's output.
    pub fn out(&self) -> [usize; 3] {
        let Grid { height, width, channels, .. } = self.outgoing();
        [height, width, channels]
    }

    /// The slope of the leaky ReLU; 1 without an activation.
    pub fn slope(&self) -> f32 {
        if let Activation::LeakyRelu(slope) = self.activation { slope } else { 1.0 }
    }

    /// Whether the weights and the sums of their gradients are small enough to leave room for other data in a
    /// second-level cache.
    pub fn narrow(&self) -> bool {
        if let Algorithm::Winograd(form) = self.form { form.narrow() } else { true }
    }

    /// The number of images that together have enough tiles or pixels for a task.
    pub fn images(&self) -> usize {
        GROUP.div_ceil(match self.form {
            Algorithm::Winograd(form) => form.tiles(self.input),
            Algorithm::Direct(_) => self.read().height * self.read().width,
        })
    }

    /// The number of images that a task takes at a time, where that number does not affect the result's bits.
    pub fn group(&self, batch: usize) -> usize {
        self.images().min(batch.div_ceil(rayon::current_num_threads())).max(1)
    }

    /// Returns the weights in the layout for [`Self::convolve`].
    pub fn forward_weights(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.form {
            Algorithm::Winograd(form) => Prepared::Points(form.forward_kernels(isa, weight)),
            Algorithm::Direct(form) => Prepared::Taps(form.forward_taps(weight)),
        }
    }

    /// Returns the weights in the layout for [`Self::input_gradient`].
    pub fn backward_weights(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.form {
            Algorithm::Winograd(form) => Prepared::Points(form.backward_kernels(isa, weight)),
            Algorithm::Direct(form) => Prepared::Taps(form.backward_taps(weight, self.given)),
        }
    }

    /// Returns the images that a direct convolution reads: upscaled if the step does so, with a border.
    fn enlarged<'a>(&self, x: &'a [f32], room: &'a mut Store<f32>) -> (&'a [f32], Grid) {
        if !self.resize.upscale {
            return (x, self.input);
        }
        let grid = Grid { edge: self.k / 2, ..self.read() };
        let large = room.first(x.len() / self.input.image() * grid.image());
        // SAFETY: the borders and every row inside them are written.
        let out = unsafe { overwritten(large) };
        grid.clear_edges(out);
        repeat_blocks((x, self.input), 1.0, (out, grid));
        (large, grid)
    }

    /// Convolves a number of images and applies an epilogue to the outputs.
    pub fn convolve(
        &self,
        isa: Isa,
        x: &[f32],
        prepared: &Prepared,
        mut epilogue: Epilogue,
        (out, to): (&mut [MaybeUninit<f32>], Grid),
        Work { room, plain, resized, .. }: &mut Work,
    ) {
        match (self.form, prepared) {
            (Algorithm::Winograd(form), Prepared::Points(points)) => {
                form.convolve(isa, (x, self.input), points, epilogue, (out, to), room);
            }
            (Algorithm::Direct(form), Prepared::Taps(taps)) => {
                let made = self.convolved();
                let plain = plain.first(x.len() / self.input.image() * made.image());
                form.convolve(isa, self.enlarged(x, resized), taps, plain);
                finish(isa, (plain, made), &mut epilogue, (out, to), &mut room.offsets);
            }
            _ => unreachable!("weights are prepared by the form that reads them"),
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
        (out, to): (&mut [MaybeUninit<f32>], Grid),
        Work { room, plain, resized, .. }: &mut Work,
    ) {
        match (self.form, prepared) {
            (Algorithm::Winograd(form), Prepared::Points(points)) => {
                form.mirrored().convolve(isa, (grad, self.gated()), points, epilogue, (out, to), room);
            }
            (Algorithm::Direct(form), Prepared::Taps(taps)) => {
                let read = Grid { channels: self.given, ..self.read() };
                let images = grad.len() / self.gated().image();
                let plain = plain.first(images * read.image());
                form.mirrored(self.given).convolve(isa, (grad, self.gated()), taps, plain);
                let incoming = self.incoming();
                let mut values: &[f32] = plain;
                if self.resize.upscale {
                    let sums = resized.first(images * incoming.image());
                    // SAFETY: every sum is written.
                    sum_blocks((plain, read), 1.0, (unsafe { overwritten(sums) }, incoming));
                    values = sums;
                }
                finish(isa, (values, incoming), &mut epilogue, (out, to), &mut room.offsets);
            }
            _ => unreachable!("weights are prepared by the form that reads them"),
        }
    }
}

/// Running sums of the gradients of weights and bias; for Winograd's form, in the transform domain.
pub(super) enum Sums {
    Points { form: Winograd, points: Vec<Row>, bias: Vec<Row> },
    Weights { form: Direct, sums: ParamGradients },
}

impl Sums {
    pub fn new(form: Algorithm) -> Self {
        match form {
            Algorithm::Winograd(form) => {
                Self::Points { form, points: form.no_sums(), bias: vec![[0.0; LANES]; form.cout / LANES] }
            }
            Algorithm::Direct(form) => Self::Weights { form, sums: form.no_sums() },
        }
    }

    /// Adds the gradients from inputs `x` and the gradients `grad` of the outputs before the activation.
    pub fn add(&mut self, isa: Isa, (step, x): (&Step, &[f32]), grad: (&[f32], Grid), work: &mut Work) {
        match self {
            Self::Points { form, points, bias } => {
                form.add_weights(isa, (x, step.input), grad, (points, bias), &mut work.room);
            }
            Self::Weights { form, sums } => {
                form.add_weights(isa, step.enlarged(x, &mut work.resized), grad, sums);
            }
        }
    }

    /// Adds the sums of another part of the batch.
    pub fn plus(mut self, other: Self) -> Self {
        match (&mut self, other) {
            (Self::Points { points, bias, .. }, Self::Points { points: more, bias: too, .. }) => {
                add(points, &more);
                add(bias, &too);
            }
            (Self::Weights { sums, .. }, Self::Weights { sums: more, .. }) => {
                sums.weight.iter_mut().zip(more.weight).for_each(|(a, b)| *a += b);
                sums.bias.iter_mut().zip(more.bias).for_each(|(a, b)| *a += b);
            }
            _ => unreachable!("all parts of a batch have one form"),
        }
        self
    }

    /// Returns the gradients of weights and bias.
    pub fn finish(self, isa: Isa) -> ParamGradients {
        match self {
            Self::Points { form, points, bias } => {
                ParamGradients { weight: form.weights(isa, &points), bias: bias.into_flattened() }
            }
            Self::Weights { sums, .. } => sums,
        }
    }
}
