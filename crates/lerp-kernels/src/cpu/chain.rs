//! Forward and backward pass of a chain of convolutions, over slices.
//!
//! A convolution reads images, with a border of zeros ("edge") where its kernel reaches beyond them, that the previous
//! convolution wrote. The operations between two convolutions are applied to outputs before they are written
//! (`epilogue.rs`): bias, leaky ReLU and 2x2 mean in the forward pass; the gradients of leaky ReLU and mean in the
//! backward pass. So the gradients that a convolution's backward pass writes are with respect to the previous
//! convolution's outputs before the activation ("activation gradients"), and have the border that the next backward
//! convolution reads.
//! The gradients of input and weights of narrow convolutions are computed for a few images at a time, while these are
//! in the cache; those of a wide one, whose weights alone fill the cache, for the whole batch.
#![allow(unsafe_code)]

use std::{mem::MaybeUninit, ops::Range};

use rayon::prelude::*;

use super::{
    epilogue::{Epilogue, apply_epilogue},
    grid::{Grid, Images, ImagesMut},
    lanes::{Isa, isa},
    scratch::{Scratch, StepScratch, UninitVec, as_uninit, clear, filled_by, load_into_cache, with_scratch},
    step::{Algorithm, ParamGradients, Params, Prepared, Step, Sums},
};
use crate::{Activation, Purpose, RequiredGradients};

/// Floats that a convolution of a narrow segment reads and writes at a time, which fit into a second-level cache.
const CACHE: usize = 1 << 16;

/// Parts of the batch over which the weight gradients of narrow layers are summed. The number is fixed, so that the sum
/// has the same bits for any number of threads. At most eight threads work on a segment; a sweep uses further threads
/// for other runs.
const PARTS: usize = 8;

/// The intermediate values of the forward pass that the backward pass needs.
#[derive(Debug)]
pub(super) struct Saved {
    /// The input of each convolution, with its border.
    inputs: Vec<Vec<f32>>,
    /// The activated output of each convolution before its 2x2 mean; empty for a convolution without one.
    before_mean: Vec<Vec<f32>>,
}

/// Returns a vector of images that parallel tasks fill, one task for each `group` of images. A task is given the number
/// of its first image, and the images' values.
///
/// # Safety
/// `task` must write every value of its images.
unsafe fn by_groups(
    batch: usize,
    group: usize,
    image: usize,
    task: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Vec<f32> {
    let fill = |images: &mut [MaybeUninit<f32>]| {
        images.par_chunks_mut(group * image).enumerate().for_each(|(i, images)| task(i * group, images));
    };
    // SAFETY: the tasks cover all images, and every task writes all values of its images.
    unsafe { filled_by(batch * image, fill) }
}

/// Consecutive images of the batch.
#[derive(Debug, Clone, Copy)]
struct ImageRange {
    /// The number of the first image.
    first: usize,
    count: usize,
}

impl ImageRange {
    /// Returns these images of the batch.
    fn of(self, values: &[f32], grid: Grid) -> Images<'_> {
        let image = grid.image();
        Images { values: &values[self.first * image..(self.first + self.count) * image], grid }
    }
}

/// Copies the input of a chain into images with the border, and the channel of ones if there is one, that the first
/// convolution reads.
fn enter(first: &Step, batch: usize, x: &[f32]) -> Vec<f32> {
    let Grid { width, .. } = first.image();
    let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
        first.input.clear_edges(out);
        first.input.each_row(out, |i, row| {
            let x = &x[(at * first.input.height + i) * width * first.image_channels..]
                [..width * first.image_channels];
            if first.image_channels == first.input.channels {
                row.write_copy_of_slice(x);
                return;
            }
            for (row, x) in
                row.chunks_exact_mut(first.input.channels).zip(x.chunks_exact(first.image_channels))
            {
                row[..first.image_channels].write_copy_of_slice(x);
                row[first.image_channels..].fill(MaybeUninit::new(1.0));
            }
        });
    };
    // SAFETY: a task writes the border and every row inside it.
    unsafe { by_groups(batch, first.group(batch), first.input.image(), task) }
}

/// Divides a chain into segments of consecutive convolutions. Narrow ones share a segment, in which a few images at a
/// time pass through all convolutions, so that a convolution's output is still in the cache when the next one reads it.
/// A wide convolution, whose weights alone fill the cache, is a segment of its own.
fn segments(steps: &[Step]) -> Vec<Range<usize>> {
    let mut segments: Vec<Range<usize>> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        match segments.last_mut() {
            Some(last) if step.is_narrow() && steps[last.start].is_narrow() => last.end = i + 1,
            _ => segments.push(i..i + 1),
        }
    }
    segments
}

/// The number of images that a task passes through the convolutions of a segment at a time.
fn images_at_once(segment: &[Step]) -> usize {
    if !segment[0].is_narrow() {
        return segment[0].images_per_task();
    }
    let floats = |step: &Step| step.input.image() + step.convolved().image();
    (CACHE / segment.iter().map(floats).max().unwrap_or(1)).max(1)
}

/// The memory that a task of the forward pass writes for one convolution.
struct Outputs<'a> {
    /// The output, after the 2x2 mean if there is one.
    next: &'a mut [MaybeUninit<f32>],
    /// The activated output before the 2x2 mean; empty without one.
    before_mean: &'a mut [MaybeUninit<f32>],
}

/// Runs the forward pass of a chain. Returns its output, and the values that the backward pass needs; these are empty
/// for [`Purpose::Inference`].
///
/// # Shapes
/// `x` `[batch, height, width, channels]`; `params` holds the parameters of every step; the output is
/// `[batch, height', width', out]` of the last step.
pub(super) fn forward(
    steps: &[Step],
    batch: usize,
    x: &[f32],
    params: &[Params],
    purpose: Purpose,
) -> (Vec<f32>, Saved) {
    let isa = isa();
    let mut current = enter(&steps[0], batch, x);
    let mut saved = Saved { inputs: Vec::new(), before_mean: Vec::new() };
    // The output of the last convolution is the chain's result and has no border.
    let to = |i: usize| steps.get(i + 1).map_or(steps[i].outgoing(), |next| next.input);
    let before_mean = |i: usize| if steps[i].resize.downscale { steps[i].convolved().image() } else { 0 };
    // Without a backward pass each convolution is a segment of its own, so that an input is freed as soon as it was
    // read.
    let segments = match purpose {
        Purpose::Inference => (0..steps.len()).map(|i| i..i + 1).collect(),
        Purpose::Training => segments(steps),
    };
    for segment in segments {
        let prepared: Vec<_> =
            segment.clone().map(|i| steps[i].forward_weights(isa, params[i].weight)).collect();
        let group = images_at_once(&steps[segment.clone()]).min(batch.div_ceil(rayon::current_num_threads()));
        let mut results: Vec<[UninitVec; 2]> = segment
            .clone()
            .map(|i| [UninitVec::new(batch * to(i).image()), UninitVec::new(batch * before_mean(i))])
            .collect();
        let mut tasks: Vec<Vec<Outputs>> = (0..batch.div_ceil(group)).map(|_| Vec::new()).collect();
        for (i, [next, averaged]) in segment.clone().zip(&mut results) {
            let mut averaged = averaged.values().chunks_mut((group * before_mean(i)).max(1));
            for (task, next) in tasks.iter_mut().zip(next.values().chunks_mut(group * to(i).image())) {
                task.push(Outputs { next, before_mean: averaged.next().unwrap_or_default() });
            }
        }
        tasks.into_par_iter().enumerate().for_each(|(task, outputs)| {
            let count = outputs[0].next.len() / to(segment.start).image();
            let images = ImageRange { first: task * group, count };
            let mut x: &[f32] = images.of(&current, steps[segment.start].input).values;
            for ((i, prepared), Outputs { next, before_mean }) in segment.clone().zip(&prepared).zip(outputs)
            {
                let (step, to, bias) = (&steps[i], to(i), params[i].bias);
                clear(next);
                clear(before_mean);
                if i == segment.start {
                    load_into_cache(x);
                }
                with_scratch(|scratch| {
                    let slope = step.slope();
                    let next = ImagesMut { values: &mut *next, grid: to };
                    let (epilogue, out) = if step.resize.downscale {
                        let before_mean = ImagesMut { values: before_mean, grid: step.convolved() };
                        (Epilogue::Average { bias, slope, means: next }, before_mean)
                    } else {
                        (Epilogue::Activate { bias: Some(bias), slope }, next)
                    };
                    step.convolve(isa, x, prepared, epilogue, out, &mut scratch.step);
                });
                // SAFETY: all values have been cleared, and then written by a convolution.
                x = unsafe { next.assume_init_ref() };
            }
        });
        for [next, before_mean] in results {
            // SAFETY: the tasks together have written the outputs of all images.
            let (next, before_mean) = unsafe { (next.assume_init(), before_mean.assume_init()) };
            let input = std::mem::replace(&mut current, next);
            if purpose == Purpose::Training {
                saved.inputs.push(input);
                saved.before_mean.push(before_mean);
            }
        }
    }
    (current, saved)
}

/// The output of a chain and its gradient, `[batch, height, width, channels]`.
#[derive(Clone, Copy)]
pub(super) struct ChainOutput<'a> {
    pub values: &'a [f32],
    pub grad: &'a [f32],
}

/// Runs the backward pass of a chain. Returns the gradients of the input and of each step's parameters, each `None` if
/// it is not required.
///
/// # Shapes
/// `output` has the shape of the last step's output; `params` as in [`forward`].
pub(super) fn backward(
    steps: &[Step],
    batch: usize,
    saved: &Saved,
    output: ChainOutput,
    params: &[Params],
    required: &RequiredGradients,
) -> (Option<Vec<f32>>, Vec<Option<ParamGradients>>) {
    let isa = isa();
    let pass = BackwardPass { steps, batch, isa, saved, y: output.values, required };
    let mut gradient = pass.enter(output.grad);
    let mut of_params: Vec<Option<ParamGradients>> = steps.iter().map(|_| None).collect();
    for segment in segments(steps).into_iter().rev() {
        let prepared: Vec<_> = segment
            .clone()
            .map(|i| pass.continues(i).then(|| steps[i].backward_weights(isa, params[i].weight)))
            .collect();
        let (input, of_segment) = pass.segment(segment.clone(), &gradient, &prepared);
        for (param, gradient) in of_params[segment].iter_mut().zip(of_segment) {
            *param = gradient;
        }
        match input {
            Some(input) => gradient = input,
            None => return (None, of_params),
        }
    }
    (required.input.then_some(gradient), of_params)
}

/// The state of a chain's backward pass.
struct BackwardPass<'a> {
    steps: &'a [Step],
    batch: usize,
    isa: Isa,
    saved: &'a Saved,
    /// The chain's output.
    y: &'a [f32],
    required: &'a RequiredGradients<'a>,
}

impl<'a> BackwardPass<'a> {
    /// Returns the epilogue that takes gradients of some images back through the mean and activation after convolution
    /// `i`.
    fn through_activation(&self, i: usize, images: ImageRange) -> Epilogue<'a> {
        let step = &self.steps[i];
        let (convolved, slope) = (step.convolved(), step.slope());
        if step.resize.downscale {
            return Epilogue::Spread { activated: images.of(&self.saved.before_mean[i], convolved), slope };
        }
        if step.activation == Activation::Linear {
            return Epilogue::NONE;
        }
        let (values, grid) = match self.steps.get(i + 1) {
            Some(next) => (&self.saved.inputs[i + 1][..], next.input),
            None => (self.y, convolved),
        };
        Epilogue::Gate { activated: images.of(values, grid), slope }
    }

    /// The input of step `i`, with its border, for some images.
    fn input(&self, i: usize, images: ImageRange) -> Images<'a> {
        images.of(&self.saved.inputs[i], self.steps[i].input)
    }

    /// Whether the gradient of step `i`'s input is needed, for the chain's input or for the parameters of an earlier
    /// step.
    fn continues(&self, i: usize) -> bool {
        self.required.input || self.required.params[..i].contains(&true)
    }

    /// Returns the grid of the gradients that step `i`'s backward pass writes: those of the previous convolution's
    /// outputs before the activation, or of the chain's input.
    fn to(&self, i: usize) -> Grid {
        if i > 0 { self.steps[i - 1].activation_gradient() } else { self.steps[0].image() }
    }

    /// Returns the gradients of the last convolution's outputs before the activation, given those of the chain's
    /// output.
    fn enter(&self, grad: &[f32]) -> Vec<f32> {
        let last = self.steps.len() - 1;
        let (gradient_grid, outgoing) = (self.steps[last].activation_gradient(), self.steps[last].outgoing());
        let task = |first: usize, out: &mut [MaybeUninit<f32>]| {
            clear(out);
            let images = ImageRange { first, count: out.len() / gradient_grid.image() };
            let mut epilogue = self.through_activation(last, images);
            let out = ImagesMut { values: out, grid: gradient_grid };
            with_scratch(|scratch| {
                let origins = &mut scratch.step.tiles.origins;
                apply_epilogue(self.isa, images.of(grad, outgoing), &mut epilogue, out, origins);
            });
        };
        // SAFETY: a task writes the border and every pixel inside it.
        unsafe { by_groups(self.batch, self.steps[last].group(self.batch), gradient_grid.image(), task) }
    }

    /// Writes the gradients of step `i`'s input, taken back through the previous step's activation and with a border,
    /// into `out`, for the images from number `first` on.
    fn input_gradient(
        &self,
        i: usize,
        grad: &[f32],
        prepared: &Prepared,
        first: usize,
        out: &mut [MaybeUninit<f32>],
        scratch: &mut StepScratch,
    ) {
        let to = self.to(i);
        clear(out);
        let images = ImageRange { first, count: out.len() / to.image() };
        let mut epilogue = Epilogue::NONE;
        if i > 0 {
            epilogue = self.through_activation(i - 1, images);
            if let Epilogue::Spread { activated, .. } = &epilogue {
                load_into_cache(activated.values);
            }
        }
        let out = ImagesMut { values: out, grid: to };
        self.steps[i].input_gradient(self.isa, grad, prepared, epilogue, out, scratch);
    }

    /// Returns the gradients of a segment's input, if required, and of the parameters of its steps.
    fn segment(
        &self,
        segment: Range<usize>,
        grad: &[f32],
        prepared: &[Option<Prepared>],
    ) -> (Option<Vec<f32>>, Vec<Option<ParamGradients>>) {
        let first = &self.steps[segment.start];
        if first.is_narrow() {
            return self.part_by_part(segment, grad, prepared);
        }
        let (i, gradient_grid) = (segment.start, first.activation_gradient());
        let input = prepared[0].as_ref().map(|prepared| {
            let image = self.to(i).image();
            let task = |at: usize, out: &mut [MaybeUninit<f32>]| {
                let images = ImageRange { first: at, count: out.len() / image };
                let grad = images.of(grad, gradient_grid).values;
                load_into_cache(grad);
                if i > 0 && !self.steps[i - 1].resize.downscale {
                    load_into_cache(self.input(i, images).values);
                }
                with_scratch(|scratch| {
                    self.input_gradient(i, grad, prepared, at, out, &mut scratch.step);
                });
            };
            // SAFETY: `input_gradient` writes the border and the gradients of every image.
            unsafe { by_groups(self.batch, first.group(self.batch), image, task) }
        });
        let all = ImageRange { first: 0, count: self.batch };
        let params = match first.algorithm {
            Algorithm::Winograd(winograd) if self.required.params[i] => Some(winograd.sum_weights(
                self.isa,
                self.input(i, all),
                Images { values: grad, grid: gradient_grid },
            )),
            _ => None,
        };
        (input, vec![params])
    }

    /// The backward pass of a narrow segment: a few images at a time pass through all steps. Each part of the batch has
    /// its own sums, which are added at the end.
    fn part_by_part(
        &self,
        segment: Range<usize>,
        grad: &[f32],
        prepared: &[Option<Prepared>],
    ) -> (Option<Vec<f32>>, Vec<Option<ParamGradients>>) {
        let (part, image) = (self.batch.div_ceil(PARTS), self.to(segment.start).image());
        // The group size must not depend on the number of threads, because the sums of direct convolutions are
        // accumulated group by group.
        let group = images_at_once(&self.steps[segment.clone()]).min(part);
        let gradient_grid = self.steps[segment.end - 1].activation_gradient();
        let run = |first: usize, mut out: Option<&mut [MaybeUninit<f32>]>| {
            let mut sums: Vec<Option<Sums>> = segment
                .clone()
                .map(|i| self.required.params[i].then(|| Sums::new(self.steps[i].algorithm)))
                .collect();
            let last = (first + part).min(self.batch);
            for at in (first..last).step_by(group) {
                let images = ImageRange { first: at, count: group.min(last - at) };
                let out = out.as_mut().map(|out| &mut out[(at - first) * image..][..images.count * image]);
                let grad = images.of(grad, gradient_grid).values;
                with_scratch(|scratch| {
                    self.through(segment.clone(), images, grad, prepared, out, &mut sums, scratch);
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
            // SAFETY: the parts cover the batch, and `through` writes the border and the gradients of every image.
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

    /// The backward pass of some images through all steps of a segment: writes the gradients of the segment's input to
    /// `out`, if they are required, and adds the parameters' gradients to `sums`.
    #[allow(clippy::too_many_arguments)]
    fn through(
        &self,
        segment: Range<usize>,
        images: ImageRange,
        grad: &[f32],
        prepared: &[Option<Prepared>],
        mut out: Option<&mut [MaybeUninit<f32>]>,
        sums: &mut [Option<Sums>],
        Scratch { step: scratch, grads: [current, next] }: &mut Scratch,
    ) {
        let ImageRange { first, count } = images;
        for i in segment.clone().rev() {
            let (step, within) = (&self.steps[i], i - segment.start);
            let (gradient_grid, x) = (step.activation_gradient(), self.input(i, images));
            let grad =
                if i + 1 == segment.end { grad } else { current.written(count * gradient_grid.image()) };
            load_into_cache(x.values);
            if let Some(sums) = &mut sums[within] {
                sums.add(self.isa, step, x, Images { values: grad, grid: gradient_grid }, scratch);
            }
            let Some(prepared) = &prepared[within] else { return };
            if within == 0 {
                if let Some(out) = out.take() {
                    self.input_gradient(i, grad, prepared, first, out, scratch);
                }
                return;
            }
            // SAFETY: `input_gradient` writes the border and the gradients of every image.
            let out = unsafe { as_uninit(next.first(count * self.to(i).image())) };
            self.input_gradient(i, grad, prepared, first, out, scratch);
            std::mem::swap(current, next);
        }
    }
}
