//! Benchmarks of the fused and the composed implementations: `cargo bench -p lerp-kernels`.

#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::{Device, Tensor, Var};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lerp_core::Draws;
use lerp_kernels::{
    Activation, Adam, Implementation, Link, Moments, UpdateNumber, adam_steps, chain, conv2d, downscale2,
    gradients, nearest, upscale2, with_implementation,
};

const IMPLEMENTATIONS: [(&str, Implementation); 2] =
    [("fused", Implementation::Fused), ("composed", Implementation::Composed)];

fn normal(name: &str, shape: &[usize]) -> Tensor {
    Draws::new(0, &Device::Cpu).normal(name, shape).unwrap()
}

/// Forward and backward pass of narrow, middle and wide layers of the lines network, batch 64.
fn convolution(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv2d");
    group.sample_size(10);
    for (side, cin, cout) in [(32, 16, 16), (16, 32, 32), (8, 64, 64), (4, 128, 128), (32, 16, 1)] {
        let var = |name, shape: &[usize]| Var::from_tensor(&normal(name, shape)).unwrap();
        let (x, b) = (var("x", &[64, side, side, cin]), var("b", &[cout]));
        let w = var("w", &[3, 3, cin, cout]);
        for (name, implementation) in IMPLEMENTATIONS {
            let id = BenchmarkId::new(name, format!("{side}x{side} {cin}->{cout}"));
            group.bench_function(id, |bench| {
                bench.iter(|| {
                    gradients(
                        &with_implementation(implementation, || conv2d(&x, &w, &b, Activation::LEAKY))
                            .unwrap(),
                    )
                    .unwrap()
                });
            });
        }
    }
    group.finish();
}

/// Forward and backward pass of the lines encoder's first scale as one chain, batch 64; and Adam on 941,457 parameters.
fn chains(c: &mut Criterion) {
    let mut group = c.benchmark_group("chain");
    group.sample_size(10);
    let var = |name, shape: &[usize]| Var::from_tensor(&normal(name, shape)).unwrap();
    let (x, bias) = (var("x", &[64, 32, 32, 1]), var("b", &[16]));
    let (first, second) = (var("1", &[1, 1, 1, 16]), var("3", &[3, 3, 16, 16]));
    let link = |weight: &Var, activation, downscale| Link {
        weight: weight.as_tensor().clone(),
        bias: bias.as_tensor().clone(),
        activation,
        upscale: false,
        downscale,
    };
    let links = [
        link(&first, Activation::Linear, false),
        link(&second, Activation::LEAKY, false),
        link(&second, Activation::LEAKY, true),
    ];
    for (name, implementation) in IMPLEMENTATIONS {
        group.bench_function(BenchmarkId::new(name, "1->16->16->16, mean"), |bench| {
            bench.iter(|| {
                gradients(&with_implementation(implementation, || chain(&x, &links)).unwrap()).unwrap()
            });
        });
    }
    let [p, m, v, g] = ["p", "m", "v", "g"].map(|name| var(name, &[941_457]));
    v.set(&v.sqr().unwrap()).unwrap();
    for (name, implementation) in IMPLEMENTATIONS {
        group.bench_function(BenchmarkId::new(name, "Adam"), |bench| {
            let moments = [Moments { param: &p, grad: &g, m: &m, v: &v }];
            bench.iter(|| {
                let step = || adam_steps(&moments, 1e-4, UpdateNumber::Given(1), &Adam::default());
                with_implementation(implementation, step).unwrap();
            });
        });
    }
    group.finish();
}

fn others(c: &mut Criterion) {
    let mut group = c.benchmark_group("others");
    group.sample_size(10);
    let x = normal("x", &[64, 32, 32, 16]);
    let (vectors, table) = (normal("v", &[640, 256]), normal("t", &[16_384, 256]));
    for (name, implementation) in IMPLEMENTATIONS {
        group.bench_function(BenchmarkId::new(name, "downscale2"), |bench| {
            bench.iter(|| with_implementation(implementation, || downscale2(&x)).unwrap());
        });
        group.bench_function(BenchmarkId::new(name, "upscale2"), |bench| {
            bench.iter(|| with_implementation(implementation, || upscale2(&x)).unwrap());
        });
        group.bench_function(BenchmarkId::new(name, "nearest of 16384"), |bench| {
            bench.iter(|| with_implementation(implementation, || nearest(&vectors, &table)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, convolution, chains, others);
criterion_main!(benches);
