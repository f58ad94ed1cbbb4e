//! A chain of convolutions forward and back, over slices.
//!
//! A convolution reads images, with an edge of zeros where it looks beyond them, that the one before it wrote. What stands between
//! two convolutions happens to outputs before they are written (`epilogue.rs`): in the forward pass bias, leaky ReLU and mean, in the
//! backward pass the leaky ReLU's gate and the mean's share. So the gradients that one convolution writes are those behind the
//! activation before it, with the edge that the next one back reads. Of narrow convolutions, the gradients of input and weights are
//! computed for a few images at a time, while these are in the cache; of a wide one, whose weights alone fill it, for the batch.
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    epilogue::{Epilogue, finish},
    grid::Grid,
    lanes::{Isa, isa},
    scratch::{Scratch, Unset, Work, clear, filled_by, overwritten, touch, with_scratch},
    step::{Form, ParamGradients, Prepared, Step, Sums},
};
use crate::Activation;

/// Floats that a convolution of a narrow segment reads and writes at a time, inside a second-level cache.
const CACHE: usize = 1 << 16;

/// Parts in which the weights' gradient of narrow layers is summed: fixed, so that the sum has the same bits for any
/// number of threads. More than eight threads have nothing to do here: a sweep gives them to other runs.
const PARTS: usize = 8;

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

/// Convolutions that follow each other. Of narrow ones, all take a few images at a time one after the other, so that what one
/// writes is in the cache when the next reads it; a wide one, whose weights alone fill the cache, is by itself.
fn segments(steps: &[Step]) -> Vec<Range<usize>> {
    let mut segments: Vec<Range<usize>> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        match segments.last_mut() {
            Some(last) if step.narrow() && steps[last.start].narrow() => last.end = i + 1,
            _ => segments.push(i..i + 1),
        }
    }
    segments
}

/// Images that a task takes at a time through the convolutions of a segment.
fn images_at_once(segment: &[Step]) -> usize {
    if !segment[0].narrow() {
        return segment[0].images();
    }
    let floats = |step: &Step| step.input.image() + step.convolved().image();
    (CACHE / segment.iter().map(floats).max().unwrap_or(1)).max(1)
}

/// What a task of the forward pass sets for one convolution.
struct Outputs<'a> {
    /// What goes out.
    next: &'a mut [MaybeUninit<f32>],
    /// What is averaged, if it is.
    whole: &'a mut [MaybeUninit<f32>],
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
    // No edge: the output of the chain.
    let to = |i: usize| steps.get(i + 1).map_or(steps[i].outgoing(), |next| next.input);
    let whole = |i: usize| if steps[i].resize.downscale { steps[i].convolved().image() } else { 0 };
    // What is not kept for a backward pass is freed when the next has read it.
    let segments = if back { segments(steps) } else { (0..steps.len()).map(|i| i..i + 1).collect() };
    for segment in segments {
        let prepared: Vec<_> = segment.clone().map(|i| steps[i].forward_weights(isa, params[i].0)).collect();
        let group = images_at_once(&steps[segment.clone()]).min(batch.div_ceil(rayon::current_num_threads()));
        let mut made: Vec<[Unset; 2]> = segment
            .clone()
            .map(|i| [Unset::new(batch * to(i).image()), Unset::new(batch * whole(i))])
            .collect();
        let mut tasks: Vec<Vec<Outputs>> = (0..batch.div_ceil(group)).map(|_| Vec::new()).collect();
        for (i, [next, averaged]) in segment.clone().zip(&mut made) {
            let mut averaged = averaged.values().chunks_mut((group * whole(i)).max(1));
            for (task, next) in tasks.iter_mut().zip(next.values().chunks_mut(group * to(i).image())) {
                task.push(Outputs { next, whole: averaged.next().unwrap_or_default() });
            }
        }
        tasks.into_par_iter().enumerate().for_each(|(task, outputs)| {
            let (at, first) = (task * group, &steps[segment.start]);
            let mut x: &[f32] =
                some(&current, first.input.image(), at, outputs[0].next.len() / to(segment.start).image());
            for ((i, prepared), Outputs { next, whole }) in segment.clone().zip(&prepared).zip(outputs) {
                let (step, to, bias) = (&steps[i], to(i), params[i].1);
                clear(next);
                clear(whole);
                if i == segment.start {
                    touch(x);
                }
                with_scratch(|Scratch { work, .. }| {
                    let slope = step.slope();
                    if step.resize.downscale {
                        let epilogue = Epilogue::Average { bias, slope, means: (next, to) };
                        step.convolve(isa, x, prepared, epilogue, (whole, step.convolved()), work);
                    } else {
                        let epilogue = Epilogue::Activate { bias: Some(bias), slope };
                        step.convolve(isa, x, prepared, epilogue, (next, to), work);
                    }
                });
                // SAFETY: all of it has been cleared, and then written by a convolution.
                x = unsafe { next.assume_init_ref() };
            }
        });
        for [next, whole] in made {
            // SAFETY: the tasks together have set the outputs of all images.
            let (next, whole) = unsafe { (next.set(), whole.set()) };
            let input = std::mem::replace(&mut current, next);
            if back {
                saved.inputs.push(input);
                saved.whole.push(whole);
            }
        }
    }
    (current, saved)
}

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
) -> (Option<Vec<f32>>, Vec<Option<ParamGradients>>) {
    let isa = isa();
    let back = Back { steps, batch, isa, saved, y, wanted };
    let mut gradient = back.enter(grad);
    let mut params: Vec<Option<ParamGradients>> = steps.iter().map(|_| None).collect();
    for segment in segments(steps).into_iter().rev() {
        let prepared: Vec<_> = segment
            .clone()
            .map(|i| back.onward(i).then(|| steps[i].backward_weights(isa, weights[i])))
            .collect();
        let (input, of_params) = back.segment(segment.clone(), &gradient, &prepared);
        for (param, gradient) in params[segment].iter_mut().zip(of_params) {
            *param = gradient;
        }
        match input {
            Some(input) => gradient = input,
            None => return (None, params),
        }
    }
    (wanted.input.then_some(gradient), params)
}

/// The backward pass of a chain.
struct Back<'a> {
    steps: &'a [Step],
    batch: usize,
    isa: Isa,
    saved: &'a Saved,
    /// What the chain made.
    y: &'a [f32],
    wanted: &'a Wanted<'a>,
}

impl<'a> Back<'a> {
    /// Back through what comes after a convolution in the forward pass, for some images.
    fn behind(&self, i: usize, at: usize, count: usize) -> Epilogue<'a> {
        let step = &self.steps[i];
        let (made, slope) = (step.convolved(), step.slope());
        if step.resize.downscale {
            let whole = some(&self.saved.whole[i], made.image(), at, count);
            return Epilogue::Spread { made: (whole, made), slope };
        }
        if step.activation == Activation::Linear {
            return Epilogue::NONE;
        }
        let (values, grid) = match self.steps.get(i + 1) {
            Some(next) => (&self.saved.inputs[i + 1][..], next.input),
            None => (self.y, made),
        };
        Epilogue::Gate { made: (some(values, grid.image(), at, count), grid), slope }
    }

    /// Whether the gradient of what comes into a step is wanted by anything.
    fn onward(&self, i: usize) -> bool {
        self.wanted.input || self.wanted.params[..i].contains(&true)
    }

    /// Where the gradients of what comes into a step go: behind the activation of the one before.
    fn to(&self, i: usize) -> Grid {
        if i > 0 { self.steps[i - 1].gated() } else { self.steps[0].incoming() }
    }

    /// The gradients of the last convolution's own outputs.
    fn enter(&self, grad: &[f32]) -> Vec<f32> {
        let last = self.steps.len() - 1;
        let (gated, outgoing) = (self.steps[last].gated(), self.steps[last].outgoing());
        let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
            clear(out);
            let count = out.len() / gated.image();
            let grad = (some(grad, outgoing.image(), at, count), outgoing);
            with_scratch(|Scratch { work, .. }| {
                let offsets = &mut work.room.offsets;
                finish(self.isa, grad, &mut self.behind(last, at, count), (out, gated), offsets);
            });
        };
        // SAFETY: the edge and every pixel inside it are set.
        unsafe { by_groups(self.batch, self.steps[last].group(self.batch), gated.image(), task) }
    }

    /// Sets the gradients of what comes into a step, with an edge, for some images.
    fn input_gradient(
        &self,
        i: usize,
        grad: &[f32],
        prepared: &Prepared,
        (at, out): (usize, &mut [MaybeUninit<f32>]),
        work: &mut Work,
    ) {
        let to = self.to(i);
        clear(out);
        let count = out.len() / to.image();
        if i > 0 && self.steps[i - 1].resize.downscale {
            touch(some(&self.saved.whole[i - 1], self.steps[i - 1].convolved().image(), at, count));
        }
        let epilogue = if i > 0 { self.behind(i - 1, at, count) } else { Epilogue::NONE };
        self.steps[i].input_gradient(self.isa, grad, prepared, epilogue, (out, to), work);
    }

    /// The gradients of what comes into a segment, and of the parameters of its steps.
    fn segment(
        &self,
        segment: Range<usize>,
        grad: &[f32],
        prepared: &[Option<Prepared>],
    ) -> (Option<Vec<f32>>, Vec<Option<ParamGradients>>) {
        let first = &self.steps[segment.start];
        if first.narrow() {
            return self.part_by_part(segment, grad, prepared);
        }
        let (i, gated) = (segment.start, first.gated());
        let input = prepared[0].as_ref().map(|prepared| {
            let image = self.to(i).image();
            let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
                let grad = some(grad, gated.image(), at, out.len() / image);
                touch(grad);
                if i > 0 && !self.steps[i - 1].resize.downscale {
                    touch(some(&self.saved.inputs[i], first.input.image(), at, out.len() / image));
                }
                with_scratch(|Scratch { work, .. }| self.input_gradient(i, grad, prepared, (at, out), work));
            };
            // SAFETY: `input_gradient` sets edge and gradients of every image.
            unsafe { by_groups(self.batch, first.group(self.batch), image, task) }
        });
        let params = match first.form {
            Form::Winograd(form) if self.wanted.params[i] => {
                Some(form.sum_weights(self.isa, (&self.saved.inputs[i], first.input), (grad, gated)))
            }
            _ => None,
        };
        (input, vec![params])
    }

    /// A few images at a time through all steps of a segment, in parts of the batch that have sums of their own.
    fn part_by_part(
        &self,
        segment: Range<usize>,
        grad: &[f32],
        prepared: &[Option<Prepared>],
    ) -> (Option<Vec<f32>>, Vec<Option<ParamGradients>>) {
        let (part, image) = (self.batch.div_ceil(PARTS), self.to(segment.start).image());
        // Not a matter of threads: a direct form's sums are taken group by group.
        let group = images_at_once(&self.steps[segment.clone()]).min(part);
        let gated = self.steps[segment.end - 1].gated().image();
        let run = |first: usize, mut out: Option<&mut [MaybeUninit<f32>]>| {
            let mut sums: Vec<Option<Sums>> = segment
                .clone()
                .map(|i| self.wanted.params[i].then(|| Sums::new(self.steps[i].form)))
                .collect();
            let last = (first + part).min(self.batch);
            for at in (first..last).step_by(group) {
                let count = group.min(last - at);
                let out = out.as_mut().map(|out| &mut out[(at - first) * image..][..count * image]);
                let grad = some(grad, gated, at, count);
                with_scratch(|scratch| {
                    self.through(segment.clone(), (at, count), grad, prepared, out, &mut sums, scratch);
                });
            }
            sums
        };
        let mut sums: Vec<Vec<Option<Sums>>> = Vec::new();
        let input = if prepared[0].is_some() {
            let fill = |out: &mut [MaybeUninit<f32>]| {
                out.par_chunks_mut(part * image)
                    .enumerate()
                    .map(|(i, out)| run(i * part, Some(out)))
                    .collect_into_vec(&mut sums);
            };
            // SAFETY: the parts cover the batch, and `through` sets edge and gradients of every image.
            Some(unsafe { filled_by(self.batch * image, fill) })
        } else {
            let firsts = 0..self.batch.div_ceil(part);
            firsts.into_par_iter().map(|i| run(i * part, None)).collect_into_vec(&mut sums);
            None
        };
        let mut params: Vec<Option<Sums>> = segment.map(|_| None).collect();
        for part in sums {
            for (total, sums) in params.iter_mut().zip(part) {
                *total = match (total.take(), sums) {
                    (Some(total), Some(sums)) => Some(total.plus(sums)),
                    (total, sums) => total.or(sums),
                };
            }
        }
        (input, params.into_iter().map(|sums| sums.map(|sums| sums.finish(self.isa))).collect())
    }

    /// Some images back through all steps of a segment: sets `out`, the gradients of what comes in, if they are wanted, and adds
    /// to the sums.
    #[allow(clippy::too_many_arguments)]
    fn through(
        &self,
        segment: Range<usize>,
        (at, count): (usize, usize),
        grad: &[f32],
        prepared: &[Option<Prepared>],
        mut out: Option<&mut [MaybeUninit<f32>]>,
        sums: &mut [Option<Sums>],
        Scratch { work, grads: [current, next] }: &mut Scratch,
    ) {
        for i in segment.clone().rev() {
            let (step, place) = (&self.steps[i], i - segment.start);
            let len = count * step.gated().image();
            let grad = if i + 1 == segment.end { grad } else { current.written(len) };
            touch(some(&self.saved.inputs[i], step.input.image(), at, count));
            if let Some(sums) = &mut sums[place] {
                let x = some(&self.saved.inputs[i], step.input.image(), at, count);
                sums.add(self.isa, (step, x), (grad, step.gated()), work);
            }
            let Some(prepared) = &prepared[place] else { return };
            if place == 0 {
                if let Some(out) = out.take() {
                    self.input_gradient(i, grad, prepared, (at, out), work);
                }
                return;
            }
            // SAFETY: `input_gradient` sets edge and gradients of every image.
            let out = unsafe { overwritten(next.first(count * self.to(i).image())) };
            self.input_gradient(i, grad, prepared, (at, out), work);
            std::mem::swap(current, next);
        }
    }
}
