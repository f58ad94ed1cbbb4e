//! The times of all operations of a network on the CPU, as fused kernels and composed of candle's operations, beside the
//! machine's matrix-multiplication rate.

use std::{collections::BTreeSet, time::Instant};

use candle_core::{DType, Device, Module, Tensor, Var};
use lerp_core::{Build, Draws, Hyper};
use lerp_kernels::{
    Activation, Adam, Implementation, Moments, UpdateNumber, adam_steps, conv2d, cpu::matrix_rate,
    downscale2, nearest, upscale2, with_implementation,
};
use lerp_nn::Coder;

use crate::{Error, Result, TimedDataset};

/// Number of timed repetitions of a fused kernel.
const FUSED: usize = 15;
/// Number of timed repetitions of the same operation composed of candle's operations.
const COMPOSED: usize = 3;

/// Number of codes in the timed codebook.
const CODES: usize = 1 << 14;
/// Number of vectors per image that are looked up in the codebook.
const VECTORS: usize = 10;
/// Length of a code of the codebook.
const CODE_LENGTH: usize = 256;

/// Options of [`ops`].
#[derive(Debug, Clone)]
pub struct OpsOptions {
    /// The dataset whose image size and network are used.
    pub dataset: TimedDataset,
    /// Batch size.
    pub batch: usize,
}

/// A convolution of the encoder or decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Convolution {
    /// Side of the feature map.
    side: usize,
    /// Side of the kernel.
    kernel: usize,
    in_channels: usize,
    out_channels: usize,
}

impl Convolution {
    /// Returns the number of floating-point operations of a direct convolution of `batch` feature maps.
    fn flops(&self, batch: usize) -> f64 {
        let Self { side, kernel, in_channels, out_channels } = self;
        (2 * batch * side * side * kernel * kernel * in_channels * out_channels) as f64
    }
}

/// Times all operations of the encoder and decoder, the codebook lookup and Adam, on the CPU. Calls `print` with each
/// line of a table as soon as it is known.
///
/// # Errors
/// If the batch size is out of range or an operation fails.
pub fn ops(options: &OpsOptions, print: &mut dyn FnMut(&str)) -> Result<()> {
    let OpsOptions { dataset, batch } = options;
    let batch = *batch;
    if !(1..=1 << 16).contains(&batch) {
        return Err(Error::BadOption("the batch size must be at least 1 and at most 65536".into()));
    }
    let mut table = Table { rate: matrix_rate(), print };
    table.heads();
    for convolution in convolutions(dataset) {
        let Convolution { side, kernel, in_channels, out_channels } = convolution;
        let [x, weight, bias] = [
            normal(&[batch, side, side, in_channels])?,
            normal(&[kernel, kernel, in_channels, out_channels])?,
            normal(&[out_channels])?,
        ];
        let name = format!("{side}x{side} {kernel}x{kernel} {in_channels}->{out_channels}");
        let flops = convolution.flops(batch);
        table.row(&name, flops, &|| Ok(conv2d(&x, &weight, &bias, Activation::LEAKY)?))?;
    }
    coder(&mut table, dataset, batch)?;
    let (side, depth) = (dataset.image.height, dataset.network.depth);
    let (large, small) = (normal(&[batch, side, side, depth])?, normal(&[batch, side / 2, side / 2, depth])?);
    table.row(&format!("mean 2x2 {side}x{side}x{depth}"), 0.0, &|| Ok(downscale2(&large)?))?;
    table.row(&format!("upscale {0}x{0}x{depth}", side / 2), 0.0, &|| Ok(upscale2(&small)?))?;
    let (vectors, codes) = (normal(&[VECTORS * batch, CODE_LENGTH])?, normal(&[CODES, CODE_LENGTH])?);
    let flops = (2 * VECTORS * batch * CODES * CODE_LENGTH) as f64;
    table.forward(&format!("nearest of {CODES}x{CODE_LENGTH}"), flops, &|| {
        Ok(nearest(&vectors, &codes).map(|_| ())?)
    })?;
    let all = encoder(dataset).into_iter().chain(decoder(dataset));
    let parameters: usize = all.map(|c| (c.kernel * c.kernel * c.in_channels + 1) * c.out_channels).sum();
    let [p, m, v, gradient] = [(); 4].map(|()| normal(&[parameters]));
    let (p, m, v, gradient) = (p?, m?, v?, gradient?);
    v.set(&v.sqr()?)?;
    let adam = Adam::default();
    table.forward(&format!("Adam, {parameters} parameters"), 0.0, &|| {
        let moments = Moments { param: &p, grad: &gradient, m: &m, v: &v };
        Ok(adam_steps(&[moments], 1e-4, UpdateNumber::Given(1), &adam)?)
    })
}

/// Adds the rows of the whole encoder and the whole decoder, each of which runs as one operation.
fn coder(table: &mut Table, dataset: &TimedDataset, batch: usize) -> Result<()> {
    let (image, network, hyper) = (dataset.image, dataset.network, Hyper::new());
    let build = Build {
        image,
        network: &network.into(),
        hyper: &hyper,
        seed: 0,
        dtype: DType::F32,
        device: &Device::Cpu,
    };
    let coder = Coder::new("bench", &build)?;
    let flops = |convolutions: &[Convolution]| convolutions.iter().map(|c| c.flops(batch)).sum();
    let x = normal(&[batch, image.height, image.width, image.channels])?;
    let side = image.height >> network.scales;
    let z = normal(&[batch, side, side, network.latent])?;
    table.row("encoder", flops(&encoder(dataset)), &|| Ok(coder.encoder.forward(&x)?))?;
    table.row("decoder", flops(&decoder(dataset)), &|| Ok(coder.decoder.forward(&z)?))
}

fn normal(shape: &[usize]) -> Result<Var> {
    Ok(Var::from_tensor(&(Draws::new(0, &Device::Cpu).normal("x", shape)? * 0.1)?)?)
}

/// A table with a row for each operation, which is printed row by row.
struct Table<'a> {
    /// The machine's matrix-multiplication rate, GFLOP/s.
    rate: f64,
    print: &'a mut dyn FnMut(&str),
}

impl Table<'_> {
    fn heads(&mut self) {
        let line = format!(
            "matrix rate of this machine: {:.0} GFLOP/s on {} threads; GFLOP/s below count a direct convolution's \
             operations, so that an algorithm that needs fewer may exceed it",
            self.rate,
            rayon::current_num_threads()
        );
        (self.print)(&line);
        (self.print)("");
        let line = format!(
            "{:<24} {:>9} {:>8} {:>7} {:>9} {:>8} {:>7} {:>10} {:>7}",
            "operation",
            "forward",
            "GFLOP/s",
            "of rate",
            "and back",
            "GFLOP/s",
            "of rate",
            "composed",
            "faster"
        );
        (self.print)(&line);
    }

    /// Formats the speed of an operation, and its share of the machine's rate.
    fn of_rate(&self, flops: f64, seconds: f64) -> String {
        if flops == 0.0 {
            return format!("{:>8} {:>7}", "-", "-");
        }
        let speed = flops / seconds / 1e9;
        format!("{speed:>8.0} {:>6.0}%", 100.0 * speed / self.rate)
    }

    /// Prints the row of an operation: its forward pass, and its forward and backward pass together. `flops` counts the
    /// floating-point operations of the forward pass; the backward pass takes twice as many.
    fn row(&mut self, name: &str, flops: f64, op: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        let forward = time(FUSED, Implementation::Fused, &|| op().map(|_| ()))?;
        let back = || Ok(lerp_kernels::gradients(&op()?).map(|_| ())?);
        let both = time(FUSED, Implementation::Fused, &back)?;
        let composed = time(COMPOSED, Implementation::Composed, &back)?;
        let line = format!(
            "{name:<24} {:>6.2} ms {} {:>6.2} ms {} {:>7.1} ms {:>6.1}x",
            forward * 1e3,
            self.of_rate(flops, forward),
            both * 1e3,
            self.of_rate(3.0 * flops, both),
            composed * 1e3,
            composed / both
        );
        (self.print)(&line);
        Ok(())
    }

    /// Prints the row of an operation that has no backward pass.
    fn forward(&mut self, name: &str, flops: f64, op: &dyn Fn() -> Result<()>) -> Result<()> {
        let fused = time(FUSED, Implementation::Fused, op)?;
        let composed = time(COMPOSED, Implementation::Composed, op)?;
        let line = format!(
            "{name:<24} {:>6.2} ms {} {:>9} {:>8} {:>7} {:>7.1} ms {:>6.1}x",
            fused * 1e3,
            self.of_rate(flops, fused),
            "-",
            "-",
            "-",
            composed * 1e3,
            composed / fused
        );
        (self.print)(&line);
        Ok(())
    }
}

/// Returns the median time of `times` repetitions of an operation, in seconds, after one untimed repetition.
fn time(times: usize, implementation: Implementation, op: &dyn Fn() -> Result<()>) -> Result<f64> {
    let mut seconds = Vec::new();
    for i in 0..=times {
        let started = Instant::now();
        with_implementation(implementation, op)?;
        if i > 0 {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(lerp_eval::median(&seconds))
}

/// Returns the distinct convolutions of the encoder and decoder.
fn convolutions(dataset: &TimedDataset) -> BTreeSet<Convolution> {
    encoder(dataset).into_iter().chain(decoder(dataset)).collect()
}

fn encoder(dataset: &TimedDataset) -> Vec<Convolution> {
    let (network, image) = (dataset.network, dataset.image);
    let (mut side, mut width) = (image.height, network.depth);
    let mut convolutions =
        vec![Convolution { side, kernel: 1, in_channels: image.channels, out_channels: network.depth }];
    for scale in 0..network.scales {
        let channels = network.depth << scale;
        convolutions.extend(pair(side, [width, channels, channels]));
        (side, width) = (side / 2, channels);
    }
    convolutions.extend(pair(side, [width, network.depth << network.scales, network.latent]));
    convolutions
}

fn decoder(dataset: &TimedDataset) -> Vec<Convolution> {
    let (network, image) = (dataset.network, dataset.image);
    let (mut side, mut width) = (image.height >> network.scales, network.latent);
    let mut convolutions = Vec::new();
    for scale in (0..network.scales).rev() {
        let channels = network.depth << scale;
        convolutions.extend(pair(side, [width, channels, channels]));
        (side, width) = (side * 2, channels);
    }
    convolutions.extend(pair(side, [width, network.depth, image.channels]));
    convolutions
}

/// Returns two successive convolutions with kernels of 3x3, which lead through the given numbers of channels.
fn pair(side: usize, channels: [usize; 3]) -> [Convolution; 2] {
    let convolution = |in_channels, out_channels| Convolution { side, kernel: 3, in_channels, out_channels };
    [convolution(channels[0], channels[1]), convolution(channels[1], channels[2])]
}
