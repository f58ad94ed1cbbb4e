//! `lerp bench ops`: times every operation of a network on the CPU, as a fused kernel and as a composition of candle's
//! operations, and compares it with the machine's matrix-multiplication rate.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, bail};
use candle_core::{DType, Device, Module, Tensor, Var};
use lerp_core::{Build, Draws, Hyper};
use lerp_kernels::{
    Activation, Adam, Kernels, Moments, UpdateNumber, adam_steps, conv2d, cpu::matrix_rate, downscale2,
    nearest, upscale2, with_kernels,
};
use lerp_nn::Coder;

use super::{Timed, timed};
use crate::{cli::BenchOpsArgs, registry::Registry, say::say};

/// Number of timed repetitions of a fused kernel.
const FUSED: usize = 15;
/// Number of timed repetitions of the same operation composed of candle's operations.
const COMPOSED: usize = 3;

/// Number of codes in the timed codebook.
const CODES: usize = 1 << 14;
/// Number of vectors per image that are looked up in the codebook.
const VECTORS: usize = 10;

/// A convolution: side of the feature map, kernel size, input channels and output channels.
type Layer = (usize, usize, usize, usize);

/// Prints a table with the times of all operations of the encoder and decoder, the codebook lookup and Adam, on the
/// CPU.
///
/// # Errors
/// If the dataset does not exist or the batch size is out of range.
pub fn ops(registry: &Registry, args: &BenchOpsArgs) -> Result<bool> {
    let shape = &timed(registry, &args.dataset)?;
    if !(1..=1 << 16).contains(&args.batch) {
        bail!("--batch must be at least 1 and at most 65536");
    }
    let table = Table { rate: matrix_rate() };
    say(&format!(
        "matrix rate of this machine: {:.0} GFLOP/s on {} threads; GFLOP/s below count a direct convolution's \
         operations, so that a form that needs fewer may exceed it\n",
        table.rate,
        rayon::current_num_threads()
    ));
    head();
    let layers = layers(shape);
    for &(side, k, cin, cout) in &layers {
        let flops = (2 * args.batch * side * side * k * k * cin * cout) as f64;
        let [x, weight, bias] =
            [normal(&[args.batch, side, side, cin])?, normal(&[k, k, cin, cout])?, normal(&[cout])?];
        let name = format!("{side}x{side} {k}x{k} {cin}->{cout}");
        table.row(&name, flops, &|| Ok(conv2d(&x, &weight, &bias, Activation::LEAKY)?))?;
    }
    whole(&table, shape, args.batch)?;
    let (side, depth) = (shape.image.height, shape.network.depth);
    let (large, small) =
        (normal(&[args.batch, side, side, depth])?, normal(&[args.batch, side / 2, side / 2, depth])?);
    table.row(&format!("mean 2x2 {side}x{side}x{depth}"), 0.0, &|| Ok(downscale2(&large)?))?;
    table.row(&format!("enlarge {0}x{0}x{depth}", side / 2), 0.0, &|| Ok(upscale2(&small)?))?;
    let dims = 256;
    let (vectors, codes) = (normal(&[VECTORS * args.batch, dims])?, normal(&[CODES, dims])?);
    let flops = (2 * VECTORS * args.batch * CODES * dims) as f64;
    table.forward(&format!("nearest of {CODES}x{dims}"), flops, &|| {
        Ok(nearest(&vectors, &codes).map(|_| ())?)
    })?;
    let all = encoder(shape).into_iter().chain(decoder(shape));
    let parameters: usize = all.map(|(_, k, cin, cout)| (k * k * cin + 1) * cout).sum();
    let [p, m, v, gradient] = [(); 4].map(|()| normal(&[parameters]));
    let (p, m, v, gradient) = (p?, m?, v?, gradient?);
    v.set(&v.sqr()?)?;
    let adam = Adam::default();
    table.forward(&format!("Adam, {parameters} parameters"), 0.0, &|| {
        let moments = Moments { param: &p, grad: &gradient, m: &m, v: &v };
        Ok(adam_steps(&[moments], 1e-4, UpdateNumber::Given(1), &adam)?)
    })?;
    Ok(true)
}

/// Adds the rows of the whole encoder and the whole decoder, each of which runs as one operation.
fn whole(table: &Table, shape: &Timed, batch: usize) -> Result<()> {
    let (image, network, hyper) = (shape.image, shape.network, Hyper::new());
    let build = Build {
        image,
        network: &network.into(),
        hyper: &hyper,
        seed: 0,
        dtype: DType::F32,
        device: &Device::Cpu,
    };
    let coder = Coder::new("bench", &build)?;
    let cost = |layers: &[Layer]| -> f64 {
        layers.iter().map(|(side, k, cin, cout)| (2 * batch * side * side * k * k * cin * cout) as f64).sum()
    };
    let x = normal(&[batch, image.height, image.width, image.channels])?;
    let side = image.height >> network.scales;
    let z = normal(&[batch, side, side, network.latent])?;
    table.row("encoder", cost(&encoder(shape)), &|| Ok(coder.encoder.forward(&x)?))?;
    table.row("decoder", cost(&decoder(shape)), &|| Ok(coder.decoder.forward(&z)?))
}

fn normal(shape: &[usize]) -> Result<Var> {
    Ok(Var::from_tensor(&(Draws::new(0, &Device::Cpu).normal("x", shape)? * 0.1)?)?)
}

fn head() {
    say(&format!(
        "{:<24} {:>9} {:>8} {:>7} {:>9} {:>8} {:>7} {:>10} {:>7}",
        "operation", "forward", "GFLOP/s", "of rate", "and back", "GFLOP/s", "of rate", "composed", "faster"
    ));
}

/// Prints the rows of the table, one per operation.
struct Table {
    /// The machine's matrix-multiplication rate, GFLOP/s.
    rate: f64,
}

impl Table {
    fn of_rate(&self, flops: f64, seconds: f64) -> String {
        if flops == 0.0 {
            return format!("{:>8} {:>7}", "-", "-");
        }
        let speed = flops / seconds / 1e9;
        format!("{speed:>8.0} {:>6.0}%", 100.0 * speed / self.rate)
    }

    /// Prints the row of an operation: its forward pass, and its forward and backward pass together. `flops` counts the
    /// floating-point operations of the forward pass; the backward pass takes twice as many.
    fn row(&self, name: &str, flops: f64, op: &dyn Fn() -> Result<Tensor>) -> Result<()> {
        let forward = time(FUSED, Kernels::Fused, &|| op().map(|_| ()))?;
        let back = || Ok(lerp_kernels::gradients(&op()?).map(|_| ())?);
        let both = time(FUSED, Kernels::Fused, &back)?;
        let composed = time(COMPOSED, Kernels::Composed, &back)?;
        say(&format!(
            "{name:<24} {:>6.2} ms {} {:>6.2} ms {} {:>7.1} ms {:>6.1}x",
            forward * 1e3,
            self.of_rate(flops, forward),
            both * 1e3,
            self.of_rate(3.0 * flops, both),
            composed * 1e3,
            composed / both
        ));
        Ok(())
    }

    /// Prints the row of an operation that has no backward pass.
    fn forward(&self, name: &str, flops: f64, op: &dyn Fn() -> Result<()>) -> Result<()> {
        let fused = time(FUSED, Kernels::Fused, op)?;
        let composed = time(COMPOSED, Kernels::Composed, op)?;
        say(&format!(
            "{name:<24} {:>6.2} ms {} {:>9} {:>8} {:>7} {:>7.1} ms {:>6.1}x",
            fused * 1e3,
            self.of_rate(flops, fused),
            "-",
            "-",
            "-",
            composed * 1e3,
            composed / fused
        ));
        Ok(())
    }
}

/// Returns the median time of `times` repetitions of an operation, in seconds, after one untimed repetition.
fn time(times: usize, form: Kernels, op: &dyn Fn() -> Result<()>) -> Result<f64> {
    let mut seconds = Vec::new();
    for i in 0..=times {
        let started = Instant::now();
        with_kernels(form, op)?;
        if i > 0 {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(lerp_eval::median(&seconds))
}

/// Returns the distinct convolutions of the encoder and decoder.
fn layers(shape: &Timed) -> BTreeSet<Layer> {
    encoder(shape).into_iter().chain(decoder(shape)).collect()
}

fn encoder(shape: &Timed) -> Vec<Layer> {
    let (network, image) = (shape.network, shape.image);
    let mut layers = vec![(image.height, 1, image.channels, network.depth)];
    let (mut side, mut width) = (image.height, network.depth);
    for scale in 0..network.scales {
        let channels = network.depth << scale;
        layers.extend([(side, 3, width, channels), (side, 3, channels, channels)]);
        (side, width) = (side / 2, channels);
    }
    let widest = network.depth << network.scales;
    layers.extend([(side, 3, width, widest), (side, 3, widest, network.latent)]);
    layers
}

fn decoder(shape: &Timed) -> Vec<Layer> {
    let (network, image) = (shape.network, shape.image);
    let (mut side, mut width) = (image.height >> network.scales, network.latent);
    let mut layers = Vec::new();
    for scale in (0..network.scales).rev() {
        let channels = network.depth << scale;
        layers.extend([(side, 3, width, channels), (side, 3, channels, channels)]);
        (side, width) = (side * 2, channels);
    }
    layers.extend([(side, 3, width, network.depth), (side, 3, network.depth, image.channels)]);
    layers
}
