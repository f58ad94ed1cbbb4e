//! `lerp bench ops`: every convolution of a network against its composed form and the machine's matrix rate.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, bail};
use candle_core::{Device, Var};
use lerp_core::Draws;
use lerp_kernels::{Activation, Form, conv2d, cpu::matrix_rate, with_form};

use super::{Shape, shape};
use crate::{cli::BenchOpsArgs, say::say};

/// Repetitions of a fused and of a composed operation.
const FUSED: usize = 15;
const COMPOSED: usize = 3;

/// A convolution: side of the map, kernel, input and output channels.
type Layer = (usize, usize, usize, usize);

/// Times of the convolutions of encoder and decoder, on the CPU.
///
/// # Errors
/// If the dataset is not there.
pub fn ops(args: &BenchOpsArgs) -> Result<bool> {
    let shape = shape(&args.dataset)?;
    if !(1..=1 << 16).contains(&args.batch) {
        bail!("--batch must be at least 1 and at most 65536");
    }
    let rate = matrix_rate();
    say(&format!(
        "matrix rate of this machine: {rate:.0} GFLOP/s on {} threads; GFLOP/s below count a direct convolution's \
         operations, so that a form that needs fewer may exceed it\n",
        rayon::current_num_threads()
    ));
    say(&format!(
        "{:<22} {:>9} {:>8} {:>7} {:>9} {:>8} {:>7} {:>10} {:>7}",
        "convolution",
        "forward",
        "GFLOP/s",
        "of rate",
        "and back",
        "GFLOP/s",
        "of rate",
        "composed",
        "faster"
    ));
    for layer in layers(shape) {
        let (side, k, cin, cout) = layer;
        let flops = (2 * args.batch * side * side * k * k * cin * cout) as f64;
        let forward = time(layer, args.batch, Form::Fused, false, FUSED)?;
        let both = time(layer, args.batch, Form::Fused, true, FUSED)?;
        let composed = time(layer, args.batch, Form::Composed, true, COMPOSED)?;
        let (one, three) = (flops / forward / 1e9, 3.0 * flops / both / 1e9);
        say(&format!(
            "{:<22} {:>6.2} ms {one:>8.0} {:>6.0}% {:>6.2} ms {three:>8.0} {:>6.0}% {:>7.1} ms {:>6.1}x",
            format!("{side}x{side} {k}x{k} {cin}->{cout}"),
            forward * 1e3,
            100.0 * one / rate,
            both * 1e3,
            100.0 * three / rate,
            composed * 1e3,
            composed / both
        ));
    }
    Ok(true)
}

/// The convolutions of encoder and decoder, each once.
fn layers(shape: &Shape) -> BTreeSet<Layer> {
    let (network, image) = (shape.network(), shape.image());
    let mut layers = BTreeSet::from([(image.height, 1, image.channels, network.depth)]);
    let (mut side, mut width) = (image.height, network.depth);
    for scale in 0..network.scales {
        let channels = network.depth << scale;
        layers.extend([(side, 3, width, channels), (side, 3, channels, channels)]);
        (side, width) = (side / 2, channels);
    }
    let widest = network.depth << network.scales;
    layers.extend([(side, 3, width, widest), (side, 3, widest, network.latent)]);
    width = network.latent;
    for scale in (0..network.scales).rev() {
        let channels = network.depth << scale;
        layers.extend([(side, 3, width, channels), (side, 3, channels, channels)]);
        (side, width) = (side * 2, channels);
    }
    layers.extend([(side, 3, width, network.depth), (side, 3, network.depth, image.channels)]);
    layers
}

/// Median seconds of a convolution with leaky ReLU, and with all its gradients if `back`.
fn time((side, k, cin, cout): Layer, batch: usize, form: Form, back: bool, times: usize) -> Result<f64> {
    let draws = Draws::new(0, &Device::Cpu);
    let x = Var::from_tensor(&draws.normal("x", (batch, side, side, cin))?)?;
    let weight = Var::from_tensor(&(draws.normal("w", (k, k, cin, cout))? * 0.1)?)?;
    let bias = Var::from_tensor(&draws.normal("b", cout)?)?;
    let mut seconds = Vec::new();
    for i in 0..=times {
        let started = Instant::now();
        let y = with_form(form, || conv2d(&x, &weight, &bias, Activation::LEAKY))?;
        if back {
            y.backward()?;
        }
        if i > 0 {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(lerp_eval::median(&seconds))
}
