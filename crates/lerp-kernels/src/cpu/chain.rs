//! A chain of convolutions forward and back, over slices.
//!
//! Every convolution reads images with an edge of zeros, which the one before it wrote. What stands between two convolutions
//! happens to outputs in registers (`epilogue.rs`): going forward bias, leaky ReLU and mean, going back the leaky ReLU's gate
//! and the mean's share, so that gradients behind a leaky ReLU are what is written, with the edge that the next convolution
//! back reads. Going back through a narrow layer, a few images at a time are spread to the input and the weights while
//! they are in the cache; a wide layer, whose sums would not fit there as well, takes the batch for one and then the other.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{
    direct::{Direct, DirectSums, Taps},
    epilogue::{Epilogue, finish},
    grid::Grid,
    lanes::{Isa, LANES, isa},
    resize::{repeat_blocks, sum_blocks},
    scratch::{Scratch, filled_by, overwritten, with_scratch},
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
    /// What comes in, with the edge that the convolution reads.
    input: Grid,
    /// How many of the input's channels are given; the rest are ones, which [`forward`] adds.
    given: usize,
    cout: usize,
    k: usize,
    activation: Activation,
    resize: Resizing,
    form: Form,
}

/// What is resized around a convolution.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Resizing {
    /// What comes in is enlarged by two first.
    pub upscale: bool,
    /// Blocks of 2x2 outputs are averaged.
    pub downscale: bool,
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
        resize: Resizing,
    ) -> Self {
        let (form, edge) = match Winograd::fitting(k, [height, width], resize.upscale, channels, cout) {
            Some(form) => (Form::Winograd(form), form.edge()),
            // It enlarges images itself, with an edge around the large ones.
            None => (Form::Direct(Direct { k, cin: channels, cout }), if resize.upscale { 0 } else { k / 2 }),
        };
        let input = Grid { height, width, channels, edge };
        Self { input, given: channels, cout, k, activation, resize, form }
    }

    /// The same with a further channel of ones inside the image, whose kernel is a bias that ends at the image's edge.
    pub fn with_ones(self) -> Self {
        let Grid { height, width, channels, .. } = self.input;
        let shape = [height, width, channels + 1];
        Self { given: channels, ..Self::new(shape, [self.k, self.cout], self.activation, self.resize) }
    }

    /// What comes in, without what is added to it.
    fn incoming(&self) -> Grid {
        Grid { channels: self.given, ..self.input.dense() }
    }

    /// What the convolution itself reads, without an edge.
    fn read(&self) -> Grid {
        if self.resize.upscale { self.input.dense().doubled() } else { self.input.dense() }
    }

    /// What the convolution itself makes.
    fn convolved(&self) -> Grid {
        Grid { channels: self.cout, ..self.read() }
    }

    /// What goes out.
    fn outgoing(&self) -> Grid {
        if self.resize.downscale { self.convolved().halved() } else { self.convolved() }
    }

    /// Gradients of what the convolution makes, behind the activation, with the edge that it reads going back.
    fn gated(&self) -> Grid {
        let edge = match self.form {
            Form::Winograd(form) => form.mirrored().edge(),
            Form::Direct(_) => self.k / 2,
        };
        Grid { edge, ..self.convolved() }
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
            Form::Direct(_) => self.read().height * self.read().width,
        })
    }

    /// Images that a task takes at a time, where it does not matter to the result.
    fn group(&self, batch: usize) -> usize {
        self.images(GROUP).min(batch.div_ceil(rayon::current_num_threads())).max(1)
    }

    fn forward_weights(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.form {
            Form::Winograd(form) => Prepared::Points(form.forward_kernels(isa, weight)),
            Form::Direct(form) => Prepared::Taps(form.forward_taps(weight)),
        }
    }

    fn backward_weights(&self, isa: Isa, weight: &[f32]) -> Prepared {
        match self.form {
            Form::Winograd(form) => Prepared::Points(form.backward_kernels(isa, weight)),
            Form::Direct(form) => Prepared::Taps(form.backward_taps(weight, self.given)),
        }
    }

    /// Some images as a direct convolution reads them, with an edge.
    fn enlarged<'a>(&self, x: &'a [f32], room: &'a mut Vec<f32>) -> (&'a [f32], Grid) {
        if !self.resize.upscale {
            return (x, self.input);
        }
        let grid = Grid { edge: self.k / 2, ..self.read() };
        room.clear();
        room.resize(x.len() / self.input.image() * grid.image(), 0.0);
        // SAFETY: the rows are written whole.
        repeat_blocks((x, self.input), 1.0, (unsafe { overwritten(room) }, grid));
        (room, grid)
    }

    /// Convolves some images.
    fn convolve(
        &self,
        isa: Isa,
        x: &[f32],
        prepared: &Prepared,
        mut epilogue: Epilogue,
        (out, to): (&mut [MaybeUninit<f32>], Grid),
        Scratch { room, plain, resized }: &mut Scratch,
    ) {
        match (self.form, prepared) {
            (Form::Winograd(form), Prepared::Points(points)) => {
                form.convolve(isa, (x, self.input), points, epilogue, (out, to), room);
            }
            (Form::Direct(form), Prepared::Taps(taps)) => {
                let made = self.convolved();
                let plain = plain.first(x.len() / self.input.image() * made.image());
                form.convolve(isa, self.enlarged(x, resized), taps, plain);
                finish(isa, (plain, made), &mut epilogue, (out, to), &mut room.offsets);
            }
            _ => unreachable!("weights are prepared by the form that reads them"),
        }
    }

    /// Spreads the gradients behind the activation of some images to those of what comes in.
    fn spread(
        &self,
        isa: Isa,
        grad: &[f32],
        prepared: &Prepared,
        mut epilogue: Epilogue,
        (out, to): (&mut [MaybeUninit<f32>], Grid),
        Scratch { room, plain, resized }: &mut Scratch,
    ) {
        match (self.form, prepared) {
            (Form::Winograd(form), Prepared::Points(points)) => {
                form.mirrored().convolve(isa, (grad, self.gated()), points, epilogue, (out, to), room);
            }
            (Form::Direct(form), Prepared::Taps(taps)) => {
                let read = Grid { channels: self.given, ..self.read() };
                let images = grad.len() / self.gated().image();
                let plain = plain.first(images * read.image());
                form.mirrored(self.given).convolve(isa, (grad, self.gated()), taps, plain);
                let incoming = self.incoming();
                let mut values: &[f32] = plain;
                if self.resize.upscale {
                    resized.clear();
                    resized.resize(images * incoming.image(), 0.0);
                    // SAFETY: the sums are written whole.
                    sum_blocks((plain, read), 1.0, (unsafe { overwritten(resized) }, incoming));
                    values = resized;
                }
                finish(isa, (values, incoming), &mut epilogue, (out, to), &mut room.offsets);
            }
            _ => unreachable!("weights are prepared by the form that reads them"),
        }
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub(super) struct Saved {
    /// What each convolution read, with its edge.
    inputs: Vec<Vec<f32>>,
    /// What it made, where that was averaged afterwards; empty elsewhere.
    whole: Vec<Vec<f32>>,
}

/// A vector of values that a task for each group of images sets.
///
/// # Safety
/// A task must set every value of its images.
unsafe fn by_groups(
    batch: usize,
    group: usize,
    image: usize,
    task: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Vec<f32> {
    let fill = |images: &mut [MaybeUninit<f32>]| {
        images.par_chunks_mut(group * image).enumerate().for_each(|(i, images)| task(i * group, images));
    };
    // SAFETY: every task sets all of its images.
    unsafe { filled_by(batch * image, fill) }
}

/// The values of some images from `first` on.
fn some(values: &[f32], image: usize, first: usize, count: usize) -> &[f32] {
    &values[first * image..(first + count) * image]
}

/// What comes into a chain, as its first convolution reads it.
fn enter(first: &Step, batch: usize, x: &[f32]) -> Vec<f32> {
    let Grid { width, .. } = first.incoming();
    let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
        first.input.clear_edges(out);
        first.input.each_row(out, |i, row| {
            let x = &x[(at * first.input.height + i) * width * first.given..][..width * first.given];
            if first.given == first.input.channels {
                row.write_copy_of_slice(x);
                return;
            }
            for (row, x) in row.chunks_exact_mut(first.input.channels).zip(x.chunks_exact(first.given)) {
                row[..first.given].write_copy_of_slice(x);
                row[first.given..].fill(MaybeUninit::new(1.0));
            }
        });
    };
    // SAFETY: the edge and every row inside it are set.
    unsafe { by_groups(batch, first.group(batch), first.input.image(), task) }
}

/// The output of a chain, and what its backward pass needs if there will be one.
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
    let mut current = enter(&steps[0], batch, x);
    let mut saved = Saved { inputs: Vec::new(), whole: Vec::new() };
    for (i, (step, (weight, bias))) in steps.iter().zip(params).enumerate() {
        let prepared = step.forward_weights(isa, weight);
        // No edge: the output of the chain.
        let to = steps.get(i + 1).map_or(step.outgoing(), |next| next.input);
        let (made, group, slope) = (step.convolved(), step.group(batch), step.slope());
        let x = |at: usize, count: usize| some(&current, step.input.image(), at, count);
        let mut whole = Vec::new();
        let next = if step.resize.downscale {
            let task = |at: usize, whole: &mut [MaybeUninit<f32>], out: &mut [MaybeUninit<f32>]| {
                to.clear_edges(out);
                let x = x(at, out.len() / to.image());
                let epilogue = Epilogue::Average { bias, slope, means: (out, to) };
                with_scratch(|scratch| step.convolve(isa, x, &prepared, epilogue, (whole, made), scratch));
            };
            let fill = |out: &mut [MaybeUninit<f32>]| {
                let images = out.par_chunks_mut(group * to.image());
                let fill = |whole: &mut [MaybeUninit<f32>]| {
                    let tasks = whole.par_chunks_mut(group * made.image()).zip(images).enumerate();
                    tasks.for_each(|(i, (whole, out))| task(i * group, whole, out));
                };
                // SAFETY: the tasks set every image's outputs.
                whole = unsafe { filled_by(batch * made.image(), fill) };
            };
            // SAFETY: the tasks set every image's means and edge.
            unsafe { filled_by(batch * to.image(), fill) }
        } else {
            let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
                to.clear_edges(out);
                let x = x(at, out.len() / to.image());
                let epilogue = Epilogue::Activate { bias: Some(bias), slope };
                with_scratch(|scratch| step.convolve(isa, x, &prepared, epilogue, (out, to), scratch));
            };
            // SAFETY: a convolution sets every pixel and channel; the edge is set first.
            unsafe { by_groups(batch, group, to.image(), task) }
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

/// What the backward pass is taken for.
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
    let isa = isa();
    // Back through what comes after a convolution, for some images.
    let behind = |i: usize, at: usize, count: usize| {
        let step: &Step = &steps[i];
        let (made, slope) = (step.convolved(), step.slope());
        if step.resize.downscale {
            let whole = some(&saved.whole[i], made.image(), at, count);
            return Epilogue::Spread { made: (whole, made), slope };
        }
        if step.activation == Activation::Linear {
            return Epilogue::NONE;
        }
        let (values, grid) =
            steps.get(i + 1).map_or((y, made), |next| (&saved.inputs[i + 1][..], next.input));
        Epilogue::Gate { made: (some(values, grid.image(), at, count), grid), slope }
    };
    let last = steps.len() - 1;
    let (gated, outgoing) = (steps[last].gated(), steps[last].outgoing());
    let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
        gated.clear_edges(out);
        let count = out.len() / gated.image();
        let grad = some(grad, outgoing.image(), at, count);
        with_scratch(|Scratch { room, .. }| {
            finish(isa, (grad, outgoing), &mut behind(last, at, count), (out, gated), &mut room.offsets);
        });
    };
    // SAFETY: the edge and every pixel inside it are set.
    let mut gradient = unsafe { by_groups(batch, steps[last].group(batch), gated.image(), task) };
    let mut params: Vec<Option<Weights>> = steps.iter().map(|_| None).collect();
    for (i, step) in steps.iter().enumerate().rev() {
        let onward = wanted.input || wanted.params[..i].contains(&true);
        let to = if i > 0 { steps[i - 1].gated() } else { step.incoming() };
        let before = |at: usize, count: usize| if i > 0 { behind(i - 1, at, count) } else { Epilogue::NONE };
        let back = Back { step, batch, isa, input: &saved.inputs[i], grad: &gradient, to };
        let prepared = onward.then(|| step.backward_weights(isa, weights[i]));
        let (input, of_params) = back.run(prepared.as_ref(), wanted.params[i], &before);
        params[i] = of_params;
        match input {
            Some(input) => gradient = input,
            None => return (None, params),
        }
    }
    (wanted.input.then_some(gradient), params)
}

/// One step of the backward pass.
struct Back<'a> {
    step: &'a Step,
    batch: usize,
    isa: Isa,
    input: &'a [f32],
    /// Gradients behind the activation.
    grad: &'a [f32],
    /// Where the gradients of what comes in go.
    to: Grid,
}

impl<'a> Back<'a> {
    /// Gradients of the input, taken back through what comes before this step, and of the parameters.
    fn run(
        &self,
        prepared: Option<&Prepared>,
        params: bool,
        before: &(impl Fn(usize, usize) -> Epilogue<'a> + Sync),
    ) -> (Option<Vec<f32>>, Option<Weights>) {
        match self.step.form {
            Form::Winograd(form) if params && !form.narrow() => {
                let input = prepared.map(|prepared| self.at_once(prepared, before));
                let grad = (self.grad, self.step.gated());
                let [sums, bias] = form.sum_weights(self.isa, (self.input, self.step.input), grad);
                (input, Some((form.weights(self.isa, &sums), bias.into_flattened())))
            }
            _ if params => self.part_by_part(prepared, before),
            _ => (prepared.map(|prepared| self.at_once(prepared, before)), None),
        }
    }

    /// Sets the gradients of some incoming images, with an edge.
    fn spread(
        &self,
        prepared: &Prepared,
        (at, out): (usize, &mut [MaybeUninit<f32>]),
        epilogue: Epilogue,
        scratch: &mut Scratch,
    ) {
        self.to.clear_edges(out);
        let grad = some(self.grad, self.step.gated().image(), at, out.len() / self.to.image());
        self.step.spread(self.isa, grad, prepared, epilogue, (out, self.to), scratch);
    }

    /// The gradients of the input alone.
    fn at_once(
        &self,
        prepared: &Prepared,
        before: &(impl Fn(usize, usize) -> Epilogue<'a> + Sync),
    ) -> Vec<f32> {
        let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
            let epilogue = before(at, out.len() / self.to.image());
            with_scratch(|scratch| self.spread(prepared, (at, out), epilogue, scratch));
        };
        // SAFETY: `spread` sets edge and gradients of every image.
        unsafe { by_groups(self.batch, self.step.group(self.batch), self.to.image(), task) }
    }

    /// A few images at a time, in parts of the batch that have sums of their own.
    fn part_by_part(
        &self,
        prepared: Option<&Prepared>,
        before: &(impl Fn(usize, usize) -> Epilogue<'a> + Sync),
    ) -> (Option<Vec<f32>>, Option<Weights>) {
        let (gated, part) = (self.step.gated(), self.batch.div_ceil(PARTS));
        // Not a matter of threads: a direct form's sums are taken group by group.
        let group = self.step.images(GROUP).min(part);
        let image = self.to.image();
        let run = |first: usize, mut out: Option<&mut [MaybeUninit<f32>]>| {
            let mut sums = Sums::new(self.step.form);
            let last = (first + part).min(self.batch);
            for at in (first..last).step_by(group) {
                let count = group.min(last - at);
                with_scratch(|scratch| {
                    if let (Some(prepared), Some(out)) = (prepared, &mut out) {
                        let out = &mut out[(at - first) * image..][..count * image];
                        self.spread(prepared, (at, out), before(at, count), scratch);
                    }
                    let x = some(self.input, self.step.input.image(), at, count);
                    let grad = some(self.grad, gated.image(), at, count);
                    sums.add(self.isa, (self.step, x), (grad, gated), scratch);
                });
            }
            sums
        };
        let mut sums: Vec<Sums> = Vec::new();
        let input = if prepared.is_some() {
            let fill = |out: &mut [MaybeUninit<f32>]| {
                out.par_chunks_mut(part * image)
                    .enumerate()
                    .map(|(i, out)| run(i * part, Some(out)))
                    .collect_into_vec(&mut sums);
            };
            // SAFETY: the parts cover the batch, and `spread` sets edge and gradients of every image.
            Some(unsafe { filled_by(self.batch * image, fill) })
        } else {
            let firsts = 0..self.batch.div_ceil(part);
            firsts.into_par_iter().map(|i| run(i * part, None)).collect_into_vec(&mut sums);
            None
        };
        let total = sums.into_iter().reduce(Sums::plus);
        (input, total.map(|sums| sums.finish(self.isa)))
    }
}

/// Sums for the gradients of weights and bias.
enum Sums {
    Points { form: Winograd, points: Vec<Row>, bias: Vec<Row> },
    Weights { form: Direct, sums: DirectSums },
}

impl Sums {
    fn new(form: Form) -> Self {
        match form {
            Form::Winograd(form) => {
                Self::Points { form, points: form.no_sums(), bias: vec![[0.0; LANES]; form.cout / LANES] }
            }
            Form::Direct(form) => Self::Weights { form, sums: form.no_sums() },
        }
    }

    fn add(&mut self, isa: Isa, (step, x): (&Step, &[f32]), grad: (&[f32], Grid), scratch: &mut Scratch) {
        match self {
            Self::Points { form, points, bias } => {
                form.add_weights(isa, (x, step.input), grad, (points, bias), &mut scratch.room);
            }
            Self::Weights { form, sums } => {
                form.add_weights(isa, step.enlarged(x, &mut scratch.resized), grad, sums);
            }
        }
    }

    fn plus(mut self, other: Self) -> Self {
        match (&mut self, other) {
            (Self::Points { points, bias, .. }, Self::Points { points: more, bias: too, .. }) => {
                add(points, &more);
                add(bias, &too);
            }
            (Self::Weights { sums, .. }, Self::Weights { sums: more, .. }) => {
                sums.weights.iter_mut().zip(more.weights).for_each(|(a, b)| *a += b);
                sums.bias.iter_mut().zip(more.bias).for_each(|(a, b)| *a += b);
            }
            _ => unreachable!("all parts of a batch have one form"),
        }
        self
    }

    fn finish(self, isa: Isa) -> Weights {
        match self {
            Self::Points { form, points, bias } => (form.weights(isa, &points), bias.into_flattened()),
            Self::Weights { sums, .. } => (sums.weights, sums.bias),
        }
    }
}
