//! Tests of the fused kernels against the composed implementation, on many shapes and every instruction set, and of
//! the composed implementation against finite differences in `f64`.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::{central_differences, on_every_isa};
use lerp_core::Draws;
use lerp_kernels::{
    Activation, Adam, CodebookAverages, CodebookRestart, CodebookUpdate, Implementation, Moments,
    UpdateNumber, adam_steps, composed, conv2d, dense, downscale2, gradients, leaky_relu, nearest, upscale2,
    with_implementation,
};

fn normal(name: &str, shape: &[usize], dtype: DType) -> Tensor {
    Draws::new(11, &Device::Cpu).normal(name, shape).unwrap().to_dtype(dtype).unwrap()
}

fn largest(t: &Tensor) -> f64 {
    t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let error = largest(&(a - b).unwrap()) / largest(b).max(1e-6);
    assert!(error <= tolerance, "{what}: {error:e} above {tolerance:e}");
}

/// Returns the output of `op` and its gradients with respect to all inputs; the loss weights every output differently.
fn with_gradients(op: &dyn Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = op(&tensors).unwrap();
    let weights = normal("loss", y.dims(), y.dtype());
    let grads = gradients(&(&y * weights).unwrap().sum_all().unwrap()).unwrap();
    let mut all = vec![y.detach()];
    all.extend(tensors.iter().map(|t| grads.get(t).unwrap().clone()));
    all
}

/// Batch, height, width, kernel size, input channels and output channels: odd sizes, one channel, batch 1, images
/// smaller than a tile, channels that are not a multiple of a tile, batches that do not divide into parts.
const SHAPES: [[usize; 6]; 24] = [
    [1, 1, 1, 1, 1, 1],
    [1, 1, 1, 3, 3, 2],
    [2, 2, 2, 3, 5, 7],
    [3, 5, 7, 3, 1, 1],
    [1, 7, 3, 3, 16, 17],
    [9, 4, 4, 3, 6, 32],
    [17, 3, 2, 5, 2, 15],
    [8, 8, 8, 1, 1, 16],
    [5, 6, 9, 3, 33, 16],
    [64, 2, 2, 3, 16, 48],
    [13, 16, 16, 3, 3, 4],
    [2, 32, 32, 3, 16, 1],
    // Few output channels.
    [3, 5, 4, 3, 16, 3],
    [9, 3, 7, 3, 32, 1],
    [2, 4, 4, 5, 48, 2],
    // Narrow layers in Winograd tiles.
    [1, 2, 2, 3, 16, 16],
    [3, 4, 6, 3, 32, 16],
    [7, 2, 8, 3, 16, 48],
    [65, 8, 4, 3, 16, 32],
    [2, 16, 16, 3, 48, 64],
    // Wide layers in Winograd tiles.
    [65, 8, 8, 3, 64, 80],
    [9, 4, 4, 3, 128, 128],
    [3, 2, 2, 3, 256, 256],
    [1, 2, 4, 3, 16, 272],
];

#[test]
fn convolution_equals_the_composed_kernels_on_every_instruction_set() {
    for [b, h, w, k, cin, cout] in SHAPES {
        let inputs = [
            normal("x", &[b, h, w, cin], DType::F32),
            normal("w", &[k, k, cin, cout], DType::F32),
            normal("b", &[cout], DType::F32),
        ];
        for activation in [Activation::Linear, Activation::LEAKY] {
            let op = |t: &[Tensor]| conv2d(&t[0], &t[1], &t[2], activation);
            let oracle = with_implementation(Implementation::Composed, || with_gradients(&op, &inputs));
            on_every_isa(|isa| {
                let fused = with_gradients(&op, &inputs);
                for (what, (a, b)) in ["y", "dx", "dw", "db"].iter().zip(fused.iter().zip(&oracle)) {
                    assert_close(&format!("{what} {:?} {activation:?} {isa}", [b.dims()]), a, b, 2e-5);
                }
            });
        }
    }
}

#[test]
fn a_dense_layer_equals_the_composed_one() {
    let inputs = [
        normal("x", &[7, 33], DType::F32),
        normal("w", &[33, 20], DType::F32),
        normal("b", &[20], DType::F32),
    ];
    // The weight is a variable with factor 1, and is computed from one with factor 2.
    for factor in [1.0, 2.0] {
        let op = |t: &[Tensor]| {
            let weight = if factor == 1.0 { t[1].clone() } else { (&t[1] * factor)? };
            dense(&t[0], &weight, &t[2])
        };
        let oracle = with_implementation(Implementation::Composed, || with_gradients(&op, &inputs));
        for (what, (a, b)) in
            ["y", "dx", "dw", "db"].iter().zip(with_gradients(&op, &inputs).iter().zip(&oracle))
        {
            assert_close(what, a, b, 1e-6);
        }
    }
    // Only what is trained gets a gradient.
    let [x, w, b] = inputs.map(|t| Var::from_tensor(&t).unwrap());
    let y = dense(&x.as_detached_tensor(), &w.as_detached_tensor(), b.as_tensor()).unwrap();
    let grads = gradients(&y.sum_all().unwrap()).unwrap();
    assert!(grads.get(&b).is_some() && grads.get(&w).is_none() && grads.get(&x).is_none());
    assert!(y.sum_all().unwrap().backward().is_err());
}

#[test]
fn the_nearest_row_equals_the_composed_one_and_is_the_first_of_equal_ones() {
    for [n, k, d] in [[1, 1, 1], [5, 7, 3], [16, 16, 16], [33, 300, 20], [40, 1025, 256]] {
        let (x, table) = (normal("x", &[n, d], DType::F32), normal("t", &[k, d], DType::F32));
        // Every row occurs twice, and the first of the two must be returned.
        let table = Tensor::cat(&[&table, &table], 0).unwrap();
        let find = || nearest(&x, &table).unwrap().to_vec1::<u32>().unwrap();
        let oracle = with_implementation(Implementation::Composed, find);
        assert!(oracle.iter().all(|i| (*i as usize) < k));
        on_every_isa(|isa| assert_eq!(find(), oracle, "{n} {k} {d} {isa}"));
    }
}

/// Tests a table like a codebook in training: most rows are far away or zero, a few are close to the vectors, and every
/// row occurs twice.
#[test]
fn skipping_rows_does_not_change_the_nearest_row() {
    let (n, k, d) = (50, 3000, 12);
    let x = normal("x", &[n, d], DType::F32);
    for far in [0.0, 1e-3, 30.0, 1e6] {
        let scales: Vec<f32> = (0..k).map(|row| if row % 97 == 5 { 1.0 } else { far }).collect();
        let scales = Tensor::from_vec(scales, (k, 1), &Device::Cpu).unwrap();
        let table = normal("t", &[k, d], DType::F32).broadcast_mul(&scales).unwrap();
        let table = Tensor::cat(&[&table, &table], 0).unwrap();
        let find = || nearest(&x, &table).unwrap().to_vec1::<u32>().unwrap();
        let oracle = with_implementation(Implementation::Composed, find);
        on_every_isa(|isa| assert_eq!(find(), oracle, "others at {far}, {isa}"));
    }
}

/// Tests a row so close to the vector that its computed distance is only rounding error, among rows that are far away.
#[test]
fn a_row_very_close_to_a_vector_is_found() {
    for d in [256, 1024] {
        for (name, x) in [
            ("constant", Tensor::ones((1, d), DType::F32, &Device::Cpu).unwrap()),
            ("normal", normal("x", &[1, d], DType::F32)),
        ] {
            let x = (x * 1.639_772_2).unwrap();
            for others in [0.0, 50.0] {
                for off in [0.0, 1e-4, -1e-4, 1e-3, -1.2e-3, 5e-3, -1e-2] {
                    let near = (&x * (1.0 + off)).unwrap();
                    let rest = (Tensor::ones((1023, d), DType::F32, &Device::Cpu).unwrap() * others).unwrap();
                    let table = Tensor::cat(&[&rest, &near], 0).unwrap();
                    let found = nearest(&x, &table).unwrap().to_vec1::<u32>().unwrap();
                    assert_eq!(found, [1023], "{name}, {d} numbers, off by {off}, others at {others}");
                }
            }
        }
    }
}

const UPDATE: CodebookUpdate = CodebookUpdate { decay: 0.9, epsilon: 1e-5 };

#[test]
fn fused_and_composed_codebook_updates_are_equal() {
    let run = |dtype| {
        let var = |t: Tensor| Var::from_tensor(&t).unwrap();
        // The codebook has enough entries for several tasks.
        let means = normal("m", &[300, 5], dtype);
        let book = CodebookAverages {
            count: var(Tensor::zeros(300, dtype, &Device::Cpu).unwrap()),
            sums: var(means.clone()),
            means: var(means),
        };
        let indices = Tensor::new(&[1_u32, 3, 3, 260, 1, 1], &Device::Cpu).unwrap();
        for step in 0..3 {
            book.update(&normal(&format!("v{step}"), &[6, 5], dtype), &indices, UPDATE).unwrap();
        }
        [&book.means, &book.count, &book.sums].map(|v| v.as_tensor().to_dtype(DType::F64).unwrap())
    };
    for (fused, composed) in run(DType::F32).iter().zip(&run(DType::F64)) {
        assert_close("codebook", fused, composed, 1e-5);
    }
}

/// Tests more and fewer entries than vectors, with random starts that wrap around; all entries are 100, and counts are
/// from 0 to 0.9.
#[test]
fn fused_and_composed_random_restarts_are_equal() {
    let tensor = |values: Vec<f32>| Tensor::new(values, &Device::Cpu).unwrap();
    let counted = |n: usize| tensor((0..n).map(|i| i as f32).collect());
    for (codes, n) in [(10, 4), (4, 10), (7, 7), (1, 1)] {
        for draws in [[0.0, 0.0], [0.55, 0.35], [0.99, 0.99]] {
            let run = |implementation| {
                let var = |t: Tensor| Var::from_tensor(&t).unwrap();
                let far = Tensor::full(100.0_f32, (codes, 3), &Device::Cpu).unwrap();
                let count = (0..codes).map(|i| (i * 7 % 10) as f32 / 10.0).collect();
                let book =
                    CodebookAverages { count: var(tensor(count)), sums: var(far.clone()), means: var(far) };
                // Vector i is (i, i, i).
                let vectors = counted(n).unsqueeze(1).unwrap().expand((n, 3)).unwrap();
                let (draws, order) = (tensor(draws.to_vec()), counted(codes));
                let choice = CodebookRestart { draws: &draws, order: &order, min_count: 0.5 };
                with_implementation(implementation, || book.restart(&vectors, choice)).unwrap();
                [&book.means, &book.sums, &book.count]
                    .map(|v| v.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            let [means, sums, count] = run(Implementation::Fused);
            assert_eq!(
                [means.clone(), sums.clone(), count.clone()],
                run(Implementation::Composed),
                "{codes} {n}"
            );
            let (entry, vector) = ((draws[0] * codes as f32) as usize, (draws[1] * n as f32) as usize);
            let checked = n.min(codes);
            for i in 0..codes {
                let before = (i * 7 % 10) as f32 / 10.0;
                let distance = (i + codes - entry) % codes;
                let (value, now) = if before < 0.5 && distance < checked {
                    (((vector + distance) % n) as f32, 1.0)
                } else {
                    (100.0, before)
                };
                assert_eq!((&means[3 * i..][..3], count[i]), (&[value; 3][..], now), "entry {i} of {codes}");
            }
            assert_eq!(sums, means);
        }
    }
}

#[test]
fn a_codebook_refuses_what_does_not_fit() {
    let zeros = |shape: &[usize]| Var::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let book = CodebookAverages { means: zeros(&[4, 2]), count: zeros(&[4]), sums: zeros(&[4, 2]) };
    let vectors = normal("v", &[2, 2], DType::F32);
    let indices = |values: &[u32]| Tensor::new(values, &Device::Cpu).unwrap();
    assert!(book.update(&vectors, &indices(&[0, 3]), UPDATE).is_ok());
    assert!(book.update(&vectors, &indices(&[0, 4]), UPDATE).is_err(), "index too large");
    assert!(book.update(&vectors, &indices(&[0]), UPDATE).is_err(), "an index too few");
    let own = book.means.as_tensor();
    assert!(book.update(own, &indices(&[0, 1, 2, 3]), UPDATE).is_err(), "its own entries");
    let (draws, order) = (normal("d", &[2], DType::F32), normal("o", &[4], DType::F32));
    let choice = CodebookRestart { draws: &draws, order: &order, min_count: 0.5 };
    assert!(book.restart(&normal("v", &[2, 3], DType::F32), choice).is_err(), "other vectors");
    assert!(book.restart(&vectors, CodebookRestart { draws: &order, ..choice }).is_err(), "draws");
    assert!(book.restart(own, choice).is_err(), "its own entries");
}

#[test]
fn resizing_equals_the_composed_kernels() {
    for [b, h, w, c] in [[1, 2, 2, 1], [3, 4, 6, 5], [2, 16, 8, 16]] {
        let x = [normal("x", &[b, h, w, c], DType::F32)];
        for op in [downscale2, upscale2] {
            let op = |t: &[Tensor]| op(&t[0]);
            let oracle = with_implementation(Implementation::Composed, || with_gradients(&op, &x));
            for (a, b) in with_gradients(&op, &x).iter().zip(&oracle) {
                assert_close("resize", a, b, 1e-6);
            }
        }
    }
}

#[test]
fn results_have_the_same_bits_for_any_number_of_threads() {
    // A direct convolution, and Winograd tiles of a narrow and a wide layer.
    for (cin, cout) in [(16, 20), (16, 32), (80, 64)] {
        same_bits(cin, cout);
    }
}

fn same_bits(cin: usize, cout: usize) {
    let inputs = [
        normal("x", &[23, 8, 8, cin], DType::F32),
        normal("w", &[3, 3, cin, cout], DType::F32),
        normal("b", &[cout], DType::F32),
    ];
    let op = |t: &[Tensor]| upscale2(&downscale2(&conv2d(&t[0], &t[1], &t[2], Activation::LEAKY)?)?);
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let all = pool.install(|| with_gradients(&op, &inputs));
        all.iter()
            .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    let one = bits(1);
    for threads in [2, 3, 5] {
        assert!(one == bits(threads), "{threads} threads differ from one");
    }
}

/// Compares every gradient of an operation with central differences.
fn assert_differentiates(what: &str, op: &dyn Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Tensor]) {
    let analytic = with_gradients(op, inputs);
    let loss = |inputs: &[Tensor]| -> f64 {
        let y = op(inputs).unwrap();
        let weights = normal("loss", y.dims(), y.dtype());
        (y * weights).unwrap().sum_all().unwrap().to_scalar().unwrap()
    };
    for (i, input) in inputs.iter().enumerate() {
        let flat = input.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let numeric = central_differences(&flat, |values| {
            let mut inputs = inputs.to_vec();
            inputs[i] = Tensor::from_slice(values, input.shape(), &Device::Cpu).unwrap();
            loss(&inputs)
        });
        let numeric = Tensor::from_vec(numeric, input.shape(), &Device::Cpu).unwrap();
        assert_close(&format!("{what}, input {i}"), &analytic[i + 1], &numeric, 1e-7);
    }
}

#[test]
fn composed_kernels_equal_finite_differences_in_f64() {
    let x = normal("x", &[2, 4, 6, 3], DType::F64);
    let (w, b) = (normal("w", &[3, 3, 3, 2], DType::F64), normal("b", &[2], DType::F64));
    for activation in [Activation::Linear, Activation::LEAKY] {
        let op = |t: &[Tensor]| composed::conv2d(&t[0], &t[1], &t[2], activation);
        assert_differentiates("conv2d", &op, &[x.clone(), w.clone(), b.clone()]);
    }
    assert_differentiates("downscale2", &|t| downscale2(&t[0]), std::slice::from_ref(&x));
    assert_differentiates("upscale2", &|t| upscale2(&t[0]), std::slice::from_ref(&x));
    assert_differentiates("leaky_relu", &|t| leaky_relu(&t[0], 0.2), std::slice::from_ref(&x));
    // The input is used twice, where candle's own upsampling would overwrite one of the two gradients.
    let twice = |t: &[Tensor]| upscale2(&t[0])? + upscale2(&t[0].sqr()?)?;
    assert_differentiates("upscale2 twice", &twice, &[x]);
}

#[test]
fn constants_get_no_gradient() {
    let x = Var::from_tensor(&normal("x", &[2, 4, 4, 3], DType::F32)).unwrap();
    let (w, b) = (normal("w", &[3, 3, 3, 2], DType::F32), normal("b", &[2], DType::F32));
    let loss = conv2d(&x, &w, &b, Activation::LEAKY).unwrap().sum_all().unwrap();
    let grads = gradients(&loss).unwrap();
    assert!(grads.get(&w).is_none() && grads.get(&b).is_none() && grads.get(x.as_tensor()).is_some());
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let t = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    assert!(conv2d(&t(&[1, 4, 4, 2]), &t(&[3, 3, 3, 2]), &t(&[2]), Activation::Linear).is_err());
    assert!(conv2d(&t(&[1, 4, 4, 2]), &t(&[2, 2, 2, 2]), &t(&[2]), Activation::Linear).is_err());
    assert!(conv2d(&t(&[1, 4, 4, 2]), &t(&[3, 3, 2, 2]), &t(&[3]), Activation::Linear).is_err());
    assert!(downscale2(&t(&[1, 3, 4, 2])).is_err());
    assert!(conv2d(&t(&[0, 4, 4, 2]), &t(&[3, 3, 2, 2]), &t(&[2]), Activation::Linear).is_err());
    assert!(downscale2(&t(&[0, 2, 2, 1])).is_err() && upscale2(&t(&[0, 2, 2, 1])).is_err());
    let steep = Activation::LeakyRelu(1.5);
    assert!(conv2d(&t(&[1, 4, 4, 2]), &t(&[3, 3, 2, 2]), &t(&[2]), steep).is_err());
}

/// One update of one parameter.
fn adam_step(moments: Moments, number: u64) -> Result<()> {
    adam_steps(&[moments], 1e-2, UpdateNumber::Given(number), &Adam::default())
}

#[test]
fn adam_has_the_same_result_fused_and_composed() {
    // More elements than a task processes, and not a multiple of a vector's lanes.
    let n = (1 << 14) + 37;
    let run = |dtype| {
        let var = |name| Var::from_tensor(&normal(name, &[n], dtype)).unwrap();
        let p = var("p");
        let zero = || Var::from_tensor(&Tensor::zeros(n, dtype, &Device::Cpu).unwrap()).unwrap();
        let (m, v) = (zero(), zero());
        for step in 1..=5 {
            let grad = (normal("g", &[n], dtype) * f64::from(step as u32)).unwrap();
            adam_step(Moments { param: &p, grad: &grad, m: &m, v: &v }, step).unwrap();
        }
        [p, m, v].map(|v| v.as_tensor().to_dtype(DType::F64).unwrap())
    };
    let oracle = run(DType::F64);
    on_every_isa(|isa| {
        for (fused, oracle) in run(DType::F32).iter().zip(&oracle) {
            assert_close(&format!("adam {isa}"), fused, oracle, 1e-6);
        }
    });
    let p = Var::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let other = || Var::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let same = adam_step(Moments { param: &p, grad: p.as_tensor(), m: &other(), v: &other() }, 1);
    assert!(same.is_err(), "a parameter as its own gradient");
}
