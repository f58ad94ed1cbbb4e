//! A chain of convolutions forward and back, over slices.
//!
//! Every convolution reads images with an edge of zeros, which the one before it wrote: enlarged where it wants them
//! enlarged. Going back through a narrow layer, a few images at a time are taken through the leaky ReLU, from where their
//! gradient is spread to the input and the weights while they are in the cache; a wide layer, whose sums would not fit there
//! as well, takes the whole batch through the leaky ReLU first.
#![allow(unsafe_code)]

use std::{borrow::Cow, mem::MaybeUninit};

use rayon::prelude::*;

use super::{
    direct::{Direct, SLACK, Taps},
    grid::Grid,
    lanes::{Isa, LANES, isa},
    resize::{repeat_blocks, sum_blocks},
    scratch::{Room, Scratch, filled_by, overwritten, with_scratch},
    tile::gate,
    winograd::{Row, Winograd, add},
};
use crate::Activation;

/// Tiles or pixels that a task takes at a time.
const GROUP: usize = 64;

/// Parts in which the weights' gradient of narrow layers is summed: fixed, so that the sum has the same bits for any
/// number of threads. More than eight threads have nothing to do here: a sweep gives them to other runs.
const PARTS: usize = 8;

/// One convolution of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// What the convolution reads, with its edge.
    input: Grid,
    cout: usize,
    k: usize,
    activation: Activation,
    /// Whether `input` is what comes in, enlarged by two.
    upscale: bool,
    /// Whether blocks of 2x2 outputs are averaged.
    downscale: bool,
    form: Form,
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Winograd(Winograd),
    Direct(Direct),
}

/// Weights as a form reads them.
enum Prepared {
    Points(Vec<Row>),
    Taps(Taps),
}

impl Step {
    /// A convolution of `[height, width, channels]` with kernels `[k, k, channels, cout]`.
    pub fn new(
        [height, width, channels]: [usize; 3],
        [k, cout]: [usize; 2],
        activation: Activation,
        [upscale, downscale]: [bool; 2],
    ) -> Self {
        let incoming = Grid { height, width, channels, edge: k / 2 };
        let input = if upscale { incoming.doubled() } else { incoming };
        let form = match Winograd::fitting(k, (input.height, input.width), channels, cout) {
            Some(form) => Form::Winograd(form),
            None => Form::Direct(Direct { k, cin: channels, cout }),
        };
        Self { input, cout, k, activation, upscale, downscale, form }
    }

    /// What comes in.
    fn incoming(&self) -> Grid {
        if self.upscale { self.input.dense().halved() } else { self.input.dense() }
    }

    /// What the convolution itself makes.
    fn convolved(&self) -> Grid {
        Grid { channels: self.cout, ..self.input.dense() }
    }

    /// What goes out.
    fn outgoing(&self) -> Grid {
        if self.downscale { self.convolved().halved() } else { self.convolved() }
    }

    /// Height, width and channels of what goes out.
    pub fn out(&self) -> [usize; 3] {
        let Grid { height, width, channels, .. } = self.outgoing();
        [height, width, channels]
    }

    fn slope(&self) -> f32 {
        if let Activation::LeakyRelu(slope) = self.activation { slope } else { 1.0 }
    }

    /// Images with at least so many tiles or pixels together.
    fn images(&self, tiles: usize) -> usize {
        tiles.div_ceil(match self.form {
            Form::Winograd(form) => form.tiles(self.input),
            Form::Direct(_) => self.input.height * self.input.width,
        })
    }

    /// Images that a task takes at a time, where it does not matter to the result.
    fn group(&self, batch: usize) -> usize {
        self.images(GROUP).min(batch.div_ceil(rayon::current_num_threads())).max(1)
    }

    fn forward(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.form {
            Form::Winograd(form) => Prepared::Points(form.forward_kernels(isa, weight)),
            Form::Direct(form) => Prepared::Taps(form.forward_taps(weight)),
        }
    }

    fn backward(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.form {
            Form::Winograd(form) => Prepared::Points(form.backward_kernels(isa, weight)),
            Form::Direct(form) => Prepared::Taps(form.backward_taps(weight)),
        }
    }
}

impl Form {
    fn mirrored(self) -> Self {
        match self {
            Self::Winograd(form) => Self::Winograd(form.mirrored()),
            Self::Direct(form) => Self::Direct(form.mirrored()),
        }
    }

    fn convolve(
        self,
        isa: Isa,
        x: (&[f32], Grid),
        prepared: &Prepared,
        after: (Option<&[f32]>, f32),
        out: (&mut [MaybeUninit<f32>], Grid),
        room: &mut Room,
    ) {
        match (self, prepared) {
            (Self::Winograd(form), Prepared::Points(points)) => {
                form.convolve(isa, x, points, after, out, room);
            }
            (Self::Direct(form), Prepared::Taps(taps)) => form.convolve(isa, x, taps, after, out),
            _ => unreachable!("weights are prepared by the form that reads them"),
        }
    }
}

/// What the way back needs of the way forward.
#[derive(Debug)]
pub(super) struct Saved {
    /// What each convolution read, with its edge.
    inputs: Vec<Vec<f32>>,
    /// What it made, where that was averaged afterwards; empty elsewhere.
    whole: Vec<Vec<f32>>,
}

/// A vector of values that a task for each group of images sets; `behind` floats more are zero.
///
/// # Safety
/// A task must set every value of its images.
unsafe fn by_groups(
    batch: usize,
    group: usize,
    (image, behind): (usize, usize),
    task: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Vec<f32> {
    let len = batch * image;
    let fill = |values: &mut [MaybeUninit<f32>]| {
        let (images, rest) = values.split_at_mut(len);
        rest.fill(MaybeUninit::new(0.0));
        images.par_chunks_mut(group * image).enumerate().for_each(|(i, images)| task(i * group, images));
    };
    // SAFETY: every task sets all of its images; what is behind them is set here.
    unsafe { filled_by(len + behind, fill) }
}

/// The values of some images from `first` on.
fn some(values: &[f32], image: usize, first: usize, count: usize) -> &[f32] {
    &values[first * image..(first + count) * image]
}

/// The output of a chain, and what its way back needs if there will be one.
///
/// # Shapes
/// `x` `[batch, height, width, channels]`; `params` the weights `[k, k, in, out]` and bias `[out]` of every step.
pub(super) fn forward(
    steps: &[Step],
    batch: usize,
    x: &[f32],
    params: &[(&[f32], &[f32])],
    back: bool,
) -> (Vec<f32>, Saved) {
    let isa = isa();
    let first = &steps[0];
    // No edge, no slack: the output of the chain.
    let target = |i: usize| match steps.get(i + 1) {
        Some(next) => {
            debug_assert!(!(steps[i].downscale && next.upscale), "the chain should have been cut here");
            (next.input, next.upscale, SLACK)
        }
        None => (steps[i].outgoing(), false, 0),
    };
    let enter = |at: usize, out: &mut [MaybeUninit<f32>]| {
        let incoming = first.incoming();
        let x = some(x, incoming.image(), at, out.len() / first.input.image());
        first.input.clear_edges(out);
        if first.upscale {
            repeat_blocks((x, incoming), 1.0, (out, first.input));
        } else {
            first.input.each_row(out, |i, row| {
                row.write_copy_of_slice(&x[i * row.len()..][..row.len()]);
            });
        }
    };
    // SAFETY: the edge and every row inside it are set.
    let mut current = unsafe { by_groups(batch, first.group(batch), (first.input.image(), SLACK), enter) };
    let mut saved = Saved { inputs: Vec::new(), whole: Vec::new() };
    for (i, (step, (weight, bias))) in steps.iter().zip(params).enumerate() {
        let prepared = step.forward(isa, weight);
        let (to, enlarged, behind) = target(i);
        let (made, group) = (step.convolved(), step.group(batch));
        let convolve = |at: usize, count: usize, out: (&mut [MaybeUninit<f32>], Grid), room: &mut Room| {
            let x = some(&current, step.input.image(), at, count);
            step.form.convolve(isa, (x, step.input), &prepared, (Some(bias), step.slope()), out, room);
        };
        let mut whole = Vec::new();
        let next = if step.downscale {
            let convolve_and_halve =
                |at: usize, whole: &mut [MaybeUninit<f32>], out: &mut [MaybeUninit<f32>]| {
                    with_scratch(|s| convolve(at, out.len() / to.image(), (&mut *whole, made), &mut s.room));
                    // SAFETY: a convolution sets every pixel and channel.
                    let whole = unsafe { whole.assume_init_ref() };
                    to.clear_edges(out);
                    sum_blocks((whole, made), 0.25, (out, to));
                };
            let fill = |out: &mut [MaybeUninit<f32>]| {
                let (images, rest) = out.split_at_mut(batch * to.image());
                rest.fill(MaybeUninit::new(0.0));
                let images = images.par_chunks_mut(group * to.image());
                let fill = |whole: &mut [MaybeUninit<f32>]| {
                    let tasks = whole.par_chunks_mut(group * made.image()).zip(images).enumerate();
                    tasks.for_each(|(i, (whole, out))| convolve_and_halve(i * group, whole, out));
                };
                // SAFETY: the tasks set every image's outputs.
                whole = unsafe { filled_by(batch * made.image(), fill) };
            };
            // SAFETY: the tasks set every image's means and edge; what is behind the images is set first.
            unsafe { filled_by(batch * to.image() + behind, fill) }
        } else {
            let pass = |at: usize, out: &mut [MaybeUninit<f32>]| {
                let count = out.len() / to.image();
                with_scratch(|Scratch { room, whole, .. }| {
                    to.clear_edges(out);
                    if enlarged {
                        let whole = whole.first(count * made.image());
                        // SAFETY: a convolution writes every value, and whole.
                        convolve(at, count, (unsafe { overwritten(whole) }, made), room);
                        repeat_blocks((whole, made), 1.0, (out, to));
                    } else {
                        convolve(at, count, (out, to), room);
                    }
                });
            };
            // SAFETY: a convolution sets every pixel and channel, an enlargement too; the edge is set first.
            unsafe { by_groups(batch, group, (to.image(), behind), pass) }
        };
        let input = std::mem::replace(&mut current, next);
        if back {
            saved.inputs.push(input);
            saved.whole.push(whole);
        }
    }
    (current, saved)
}

/// Gradients of one convolution's weights and bias.
pub(super) type Weights = (Vec<f32>, Vec<f32>);

/// What the way back is taken for.
pub(super) struct Wanted<'a> {
    /// The gradient of the input.
    pub input: bool,
    /// Those of each step's parameters.
    pub params: &'a [bool],
}

/// The gradients of input and parameters, as far as wanted, from that of the output `y`.
///
/// # Shapes
/// `grad` and `y` `[batch, height, width, channels]` of the last step; `weights` as in [`forward`].
pub(super) fn backward(
    steps: &[Step],
    batch: usize,
    saved: &Saved,
    (y, grad): (&[f32], &[f32]),
    weights: &[&[f32]],
    wanted: &Wanted,
) -> (Option<Vec<f32>>, Vec<Option<Weights>>) {
    let mut grad = Cow::Borrowed(grad);
    let mut params: Vec<Option<Weights>> = steps.iter().map(|_| None).collect();
    for (i, step) in steps.iter().enumerate().rev() {
        let onward = wanted.input || wanted.params[..i].contains(&true);
        // What the convolution made, read from where it went.
        let made = if step.downscale {
            Made { values: &saved.whole[i], grid: step.convolved(), step: 1 }
        } else if let Some(next) = steps.get(i + 1) {
            Made { values: &saved.inputs[i + 1], grid: next.input, step: if next.upscale { 2 } else { 1 } }
        } else {
            Made { values: y, grid: step.convolved(), step: 1 }
        };
        let back = Back { step, batch, isa: isa(), input: &saved.inputs[i], made, grad: &grad };
        let (input, of_params) = back.run(weights[i], onward, wanted.params[i]);
        params[i] = of_params;
        match input {
            Some(input) => grad = Cow::Owned(input),
            None => return (None, params),
        }
    }
    (wanted.input.then(|| grad.into_owned()), params)
}

/// Where the outputs of a convolution are found again: every `step`-th pixel of a grid.
#[derive(Clone, Copy)]
struct Made<'a> {
    values: &'a [f32],
    grid: Grid,
    step: usize,
}

/// One step on the way back.
struct Back<'a> {
    step: &'a Step,
    batch: usize,
    isa: Isa,
    input: &'a [f32],
    made: Made<'a>,
    grad: &'a [f32],
}

impl Back<'_> {
    /// The grid of gradients behind the activation.
    fn gated(&self) -> Grid {
        Grid { edge: self.step.k / 2, ..self.step.convolved() }
    }

    /// Gradients of the input and of the parameters.
    fn run(&self, weight: &[f32], input: bool, params: bool) -> (Option<Vec<f32>>, Option<Weights>) {
        let prepared = input.then(|| self.step.backward(self.isa, weight));
        match self.step.form {
            _ if !params => self.at_once(prepared.as_ref(), None),
            Form::Winograd(form) if !form.narrow() => self.at_once(prepared.as_ref(), Some(form)),
            _ => self.part_by_part(prepared.as_ref(), params),
        }
    }

    /// The gradients of the whole batch behind the activation first, then those of input and weights one after the other.
    fn at_once(
        &self,
        prepared: Option<&Prepared>,
        form: Option<Winograd>,
    ) -> (Option<Vec<f32>>, Option<Weights>) {
        let (gated, group) = (self.gated(), self.step.group(self.batch));
        // SAFETY: `gate` sets edge and rows of every image.
        let grad = unsafe { by_groups(self.batch, group, (gated.image(), 0), |at, out| self.gate(at, out)) };
        let input = prepared.map(|prepared| {
            let incoming = self.step.incoming().image();
            let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
                let count = out.len() / incoming;
                let grad = some(&grad, gated.image(), at, count);
                with_scratch(|Scratch { room, whole, .. }| {
                    self.spread(prepared, grad, out, room, whole.first(self.whole(count)));
                });
            };
            // SAFETY: `spread` sets the gradients of every image.
            unsafe { by_groups(self.batch, group, (incoming, 0), task) }
        });
        let params = form.map(|form| {
            let [sums, bias] = form.sum_weights(self.isa, (self.input, self.step.input), (&grad, gated));
            (form.weights(self.isa, &sums), bias.into_flattened())
        });
        (input, params)
    }

    /// A few images at a time, in parts of the batch that have sums of their own.
    fn part_by_part(&self, prepared: Option<&Prepared>, params: bool) -> (Option<Vec<f32>>, Option<Weights>) {
        let (gated, part) = (self.gated(), self.batch.div_ceil(PARTS));
        // Not a matter of threads: a direct form's sums are taken group by group.
        let group = self.step.images(GROUP).min(part);
        let incoming = self.step.incoming().image();
        let run = |first: usize, mut out: Option<&mut [MaybeUninit<f32>]>| {
            let mut sums = params.then(|| Sums::new(self.step.form));
            let last = (first + part).min(self.batch);
            for at in (first..last).step_by(group) {
                let count = group.min(last - at);
                with_scratch(|Scratch { room, gated: store, whole }| {
                    let grad = store.first(count * gated.image());
                    // SAFETY: `gate` writes every value, and whole.
                    self.gate(at, unsafe { overwritten(grad) });
                    if let (Some(prepared), Some(out)) = (prepared, &mut out) {
                        let out = &mut out[(at - first) * incoming..][..count * incoming];
                        self.spread(prepared, grad, out, room, whole.first(self.whole(count)));
                    }
                    if let Some(sums) = &mut sums {
                        // To the end, for the slack behind it.
                        let x = &self.input[at * self.step.input.image()..];
                        sums.add(self.isa, (x, self.step.input), (grad, gated), room);
                    }
                });
            }
            sums
        };
        let mut sums: Vec<Option<Sums>> = Vec::new();
        let firsts = 0..self.batch.div_ceil(part);
        let input = if prepared.is_some() {
            let fill = |out: &mut [MaybeUninit<f32>]| {
                out.par_chunks_mut(part * incoming)
                    .enumerate()
                    .map(|(i, out)| run(i * part, Some(out)))
                    .collect_into_vec(&mut sums);
            };
            // SAFETY: the parts cover the batch, and `spread` sets the gradients of every image.
            Some(unsafe { filled_by(self.batch * incoming, fill) })
        } else {
            firsts.into_par_iter().map(|i| run(i * part, None)).collect_into_vec(&mut sums);
            None
        };
        let total = sums.into_iter().flatten().reduce(Sums::plus);
        (input, total.map(|sums| sums.finish(self.isa)))
    }

    /// Sets the gradients behind the activation of some images from `first` on, with an edge.
    fn gate(&self, first: usize, out: &mut [MaybeUninit<f32>]) {
        let (gated, outgoing) = (self.gated(), self.step.outgoing());
        let Made { values, grid, step } = self.made;
        gated.clear_edges(out);
        let (halving, factor) = if self.step.downscale { (1, 0.25) } else { (0, 1.0) };
        gated.each_row(out, |at, out| {
            let (image, y) = (first + at / gated.height, at % gated.height);
            let grad =
                &self.grad[image * outgoing.image() + outgoing.at(y >> halving, 0)..][..outgoing.row()];
            if self.step.activation == Activation::Linear && halving == 0 {
                out.write_copy_of_slice(grad);
                return;
            }
            let made = &values[image * grid.image() + grid.at(y * step, 0)..][..grid.row()];
            let pixels = (made, step * grid.channels);
            gate(self.isa, pixels, (grad, halving), (factor, self.step.slope()), (out, gated.channels));
        });
    }

    /// Floats that [`Self::spread`] needs for `count` images that were enlarged.
    fn whole(&self, count: usize) -> usize {
        if self.step.upscale { count * self.step.input.dense().image() } else { 0 }
    }

    /// Sets the gradients of some incoming images from those behind the activation.
    fn spread(
        &self,
        prepared: &Prepared,
        grad: &[f32],
        out: &mut [MaybeUninit<f32>],
        room: &mut Room,
        whole: &mut [f32],
    ) {
        let (form, dense, incoming) =
            (self.step.form.mirrored(), self.step.input.dense(), self.step.incoming());
        if !self.step.upscale {
            return form.convolve(
                self.isa,
                (grad, self.gated()),
                prepared,
                (None, 1.0),
                (out, incoming),
                room,
            );
        }
        // SAFETY: a convolution writes every value, and whole.
        let enlarged = unsafe { overwritten(whole) };
        form.convolve(self.isa, (grad, self.gated()), prepared, (None, 1.0), (enlarged, dense), room);
        sum_blocks((whole, dense), 1.0, (out, incoming));
    }
}

/// Sums for the gradients of weights and bias.
enum Sums {
    Points { form: Winograd, points: Vec<Row>, bias: Vec<Row> },
    Weights { form: Direct, weights: Vec<f32>, bias: Vec<f32> },
}

impl Sums {
    fn new(form: Form) -> Self {
        match form {
            Form::Winograd(form) => {
                Self::Points { form, points: form.no_sums(), bias: vec![[0.0; LANES]; form.cout / LANES] }
            }
            Form::Direct(form) => {
                Self::Weights { form, weights: vec![0.0; form.weights()], bias: vec![0.0; form.cout] }
            }
        }
    }

    fn add(&mut self, isa: Isa, x: (&[f32], Grid), grad: (&[f32], Grid), room: &mut Room) {
        match self {
            Self::Points { form, points, bias } => form.add_weights(isa, x, grad, (points, bias), room),
            Self::Weights { form, weights, bias } => form.add_weights(isa, x, grad, (weights, bias), room),
        }
    }

    fn plus(mut self, other: Self) -> Self {
        match (&mut self, other) {
            (Self::Points { points, bias, .. }, Self::Points { points: more, bias: too, .. }) => {
                add(points, &more);
                add(bias, &too);
            }
            (Self::Weights { weights, bias, .. }, Self::Weights { weights: more, bias: too, .. }) => {
                weights.iter_mut().zip(more).for_each(|(a, b)| *a += b);
                bias.iter_mut().zip(too).for_each(|(a, b)| *a += b);
            }
            _ => unreachable!("all parts of a batch have one form"),
        }
        self
    }

    fn finish(self, isa: Isa) -> Weights {
        match self {
            Self::Points { form, points, bias } => (form.weights(isa, &points), bias.into_flattened()),
            Self::Weights { weights, bias, .. } => (weights, bias),
        }
    }
}
