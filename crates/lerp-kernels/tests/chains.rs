//! Tests of chains of convolutions: the fused kernels against the composed implementation, and this one against finite
//! differences in `f64`.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{central_differences, difference, on_every_isa};
use lerp_core::Draws;
use lerp_kernels::{Activation, Implementation, Link, chain, gradients, with_implementation};
use proptest::prelude::*;

fn normal(name: &str, shape: &[usize], dtype: DType) -> Tensor {
    Draws::new(5, &Device::Cpu).normal(name, shape).unwrap().to_dtype(dtype).unwrap()
}

/// A convolution of a chain under test.
#[derive(Debug, Clone, Copy)]
struct Conv {
    /// Kernel size.
    k: usize,
    /// Output channels.
    cout: usize,
    activation: Activation,
    /// Whether the input is upscaled.
    upscale: bool,
    /// Whether the output is averaged.
    downscale: bool,
    /// Whether the parameters are trained.
    trained: bool,
}

/// A trained convolution without activation and resizing.
const fn conv(k: usize, cout: usize) -> Conv {
    Conv { k, cout, activation: Activation::Linear, upscale: false, downscale: false, trained: true }
}

impl Conv {
    const fn leaky(self) -> Self {
        Self { activation: Activation::LEAKY, ..self }
    }

    const fn upscaled(self) -> Self {
        Self { upscale: true, ..self }
    }

    const fn averaged(self) -> Self {
        Self { downscale: true, ..self }
    }

    const fn trained(self, trained: bool) -> Self {
        Self { trained, ..self }
    }
}

/// A chain of convolutions with its input and parameters, in order.
struct Chain {
    x: Var,
    params: Vec<Var>,
    convs: Vec<Conv>,
}

impl Chain {
    fn new([batch, height, width, channels]: [usize; 4], convs: &[Conv], dtype: DType) -> Self {
        let var = |t: Tensor| Var::from_tensor(&t).unwrap();
        let mut params = Vec::new();
        let mut cin = channels;
        for (i, Conv { k, cout, .. }) in convs.iter().enumerate() {
            let scale = 1.0 / ((k * k * cin) as f64).sqrt();
            let weight = normal(&format!("w{i}"), &[*k, *k, cin, *cout], dtype);
            params.push(var((weight * scale).unwrap()));
            params.push(var(normal(&format!("b{i}"), &[*cout], dtype)));
            cin = *cout;
        }
        let x = var(normal("x", &[batch, height, width, channels], dtype));
        Self { x, params, convs: convs.to_vec() }
    }

    fn links(&self) -> Vec<Link> {
        let link = |(pair, conv): (&[Var], &Conv)| {
            let Conv { activation, upscale, downscale, trained, .. } = *conv;
            let tensor = |v: &Var| if trained { v.as_tensor().clone() } else { v.as_detached_tensor() };
            Link { weight: tensor(&pair[0]), bias: tensor(&pair[1]), activation, upscale, downscale }
        };
        self.params.chunks_exact(2).zip(&self.convs).map(link).collect()
    }

    /// Returns the output, then the gradients of the input and of every parameter, `None` where no gradient was
    /// computed.
    fn run(&self, input: bool) -> Vec<Option<Tensor>> {
        let x = if input { self.x.as_tensor().clone() } else { self.x.as_detached_tensor() };
        let y = chain(&x, &self.links()).unwrap();
        let weights = normal("loss", y.dims(), y.dtype());
        let grads = gradients(&(&y * weights).unwrap().sum_all().unwrap()).unwrap();
        let of = |v: &Var| grads.get(v.as_tensor()).cloned();
        let mut all = vec![Some(y.detach()), of(&self.x)];
        all.extend(self.params.iter().map(of));
        all
    }
}

fn assert_agree(what: &str, ours: &[Option<Tensor>], oracle: &[Option<Tensor>], tolerance: f64) {
    for (i, (a, b)) in ours.iter().zip(oracle).enumerate() {
        match (a, b) {
            (Some(a), Some(b)) => {
                assert_eq!(a.dims(), b.dims(), "{what}, value {i}");
                let error = difference(&a.to_dtype(DType::F64).unwrap(), b);
                assert!(error < tolerance, "{what}, value {i}: {error:e}");
            }
            (a, b) => assert_eq!(a.is_some(), b.is_some(), "{what}, value {i}"),
        }
    }
}

/// Compares the fused kernels in `f32`, on every instruction set, with the composed implementation in `f64`. Rounding
/// may move a value close to zero to the other side of the leaky ReLU's corner, which changes gradients without being
/// an error. So chains with many such values are tested without activation, or with a larger tolerance.
fn check(shape: [usize; 4], convs: &[Conv], input: bool, tolerance: f64) {
    let oracle = Chain::new(shape, convs, DType::F64).run(input);
    let fused = Chain::new(shape, convs, DType::F32);
    on_every_isa(|isa| {
        assert_agree(&format!("{shape:?} {convs:?} {isa}"), &fused.run(input), &oracle, tolerance);
    });
}

/// A small encoder, built like the benchmark's, with narrow and wide layers in Winograd tiles.
const ENCODER: [Conv; 6] = [
    conv(1, 16),
    conv(3, 16).leaky(),
    conv(3, 16).leaky().averaged(),
    conv(3, 32).leaky(),
    conv(3, 32).leaky().averaged(),
    conv(3, 2),
];
/// A small decoder, built like the benchmark's.
const DECODER: [Conv; 5] = [
    conv(3, 32).leaky(),
    conv(3, 32).leaky().upscaled(),
    conv(3, 16).leaky(),
    conv(3, 16).leaky().upscaled(),
    conv(3, 1),
];

/// The same convolutions without activation.
fn linear(convs: &[Conv]) -> Vec<Conv> {
    convs.iter().map(|conv| Conv { activation: Activation::Linear, ..*conv }).collect()
}

#[test]
fn encoder_and_decoder_equal_the_composed_ones() {
    check([3, 8, 8, 1], &linear(&ENCODER), true, 2e-5);
    check([3, 2, 2, 2], &linear(&DECODER), true, 2e-5);
    check([9, 16, 8, 3], &linear(&ENCODER), false, 2e-5);
    check([2, 8, 8, 1], &ENCODER, true, 1e-3);
    check([2, 2, 2, 2], &DECODER, true, 1e-3);
}

/// Tests the gradient of the leaky ReLU after every algorithm: Winograd tiles of whole images of 2x2, F(2, 3), F(4, 3)
/// and upscaled images, and direct convolution, with and without a mean after it, and with two merged links. A value at
/// the corner may fall on either side, which changes one gradient of many, so norms are compared instead of the largest
/// difference.
#[test]
fn leaky_relu_gradients_equal_the_composed_ones_after_every_algorithm() {
    let leaky = |k, cout| conv(k, cout).leaky();
    let first = conv(1, 16);
    let cases: [([usize; 4], Vec<Conv>); 6] = [
        ([9, 2, 2, 16], vec![leaky(3, 32), leaky(3, 16).averaged(), leaky(3, 16).upscaled()]),
        ([3, 6, 6, 3], vec![first, leaky(3, 32).averaged(), leaky(3, 16).upscaled()]),
        ([2, 8, 4, 1], vec![first, leaky(3, 16), leaky(3, 32).averaged(), leaky(3, 5)]),
        (
            [2, 2, 4, 48],
            vec![
                leaky(3, 16).upscaled().averaged(),
                leaky(3, 32).upscaled(),
                leaky(3, 2).upscaled().averaged(),
            ],
        ),
        (
            [2, 3, 5, 16],
            vec![leaky(3, 80).upscaled().averaged(), leaky(5, 16), leaky(3, 48).upscaled().averaged()],
        ),
        // Consecutive wide layers.
        ([2, 8, 8, 16], vec![leaky(3, 48), leaky(3, 64).averaged(), leaky(3, 64)]),
    ];
    for (shape, convs) in cases {
        let oracle = Chain::new(shape, &convs, DType::F64).run(true);
        let fused = Chain::new(shape, &convs, DType::F32);
        on_every_isa(|isa| {
            for (i, (a, b)) in fused.run(true).iter().zip(&oracle).enumerate() {
                let (a, b) = (a.as_ref().unwrap().to_dtype(DType::F64).unwrap(), b.as_ref().unwrap());
                let norm =
                    |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt();
                let error = norm(&(a - b).unwrap()) / norm(b);
                assert!(error < 1e-3, "{shape:?} {convs:?} {isa}, value {i}: {error:e}");
            }
        });
    }
}

#[test]
fn a_mean_before_upscaling_equals_the_composed_one() {
    let convs = [conv(3, 16).averaged(), conv(3, 16).upscaled().averaged(), conv(3, 5).upscaled()];
    check([2, 8, 8, 16], &convs, true, 2e-5);
}

#[test]
fn only_what_is_trained_gets_a_gradient() {
    let mut convs = ENCODER;
    for frozen in [0, 2, 3] {
        convs[frozen].trained = false;
    }
    for input in [false, true] {
        check([2, 8, 8, 1], &linear(&convs), input, 2e-5);
    }
    let frozen = linear(&ENCODER).into_iter().map(|conv| conv.trained(false));
    check([2, 8, 8, 1], &frozen.collect::<Vec<_>>(), true, 2e-5);
}

/// Tests a 1x1 convolution and the one after it, on both sides of the threshold for merging them: with few and many
/// channels, also one less than a vector's lanes; kernel sizes 1, 3 and 5; constant parameters in either one; inputs
/// with and without a gradient; and a mean afterwards.
#[test]
fn two_merged_convolutions_equal_the_composed_ones() {
    for (channels, middle) in [(1, 8), (1, 7), (3, 16), (3, 15), (4, 48), (15, 64), (15, 32), (31, 128)] {
        for (k, outer, down) in [(3, 16, true), (1, 32, false), (5, 16, false), (3, 12, true)] {
            for (first, second) in [(true, true), (true, false), (false, true)] {
                let convs = [
                    conv(1, middle).trained(first),
                    Conv { downscale: down, ..conv(k, outer).trained(second) },
                ];
                for input in [false, true] {
                    check([3, 4, 8, channels], &convs, input, 2e-5);
                }
            }
        }
    }
}

#[test]
fn a_computed_weight_in_two_merged_convolutions_gets_its_gradient() {
    let run = |implementation| {
        with_implementation(implementation, || {
            let convs = [conv(1, 16), conv(3, 16).leaky()];
            let chain_of = Chain::new([2, 4, 4, 1], &convs, DType::F32);
            let mut links = chain_of.links();
            links[0].weight = (&links[0].weight * 2.0).unwrap();
            let y = chain(chain_of.x.as_tensor(), &links).unwrap();
            let grads =
                gradients(&(&y * normal("loss", y.dims(), y.dtype())).unwrap().sum_all().unwrap()).unwrap();
            let all = chain_of.params.iter().map(|param| grads.get(param.as_tensor()).unwrap().clone());
            all.collect::<Vec<_>>()
        })
    };
    for (fused, composed) in run(Implementation::Fused).iter().zip(&run(Implementation::Composed)) {
        assert!(difference(fused, composed) < 2e-5);
    }
}

/// Without a backward pass, intermediate values are not kept, but the results are the same.
#[test]
fn a_forward_pass_alone_has_the_same_bits() {
    for (shape, convs) in [([5, 16, 16, 1], &ENCODER[..]), ([5, 4, 4, 2], &DECODER[..])] {
        let chain_of = Chain::new(shape, convs, DType::F32);
        let links = chain_of.links();
        let constant: Vec<Link> = links
            .iter()
            .map(|link| Link { weight: link.weight.detach(), bias: link.bias.detach(), ..link.clone() })
            .collect();
        let values = |links: &[Link]| {
            let y = chain(&chain_of.x.as_detached_tensor(), links).unwrap();
            y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(&links), values(&constant));
    }
}

#[test]
fn a_chain_that_is_used_twice_gets_both_gradients() {
    for implementation in [Implementation::Fused, Implementation::Composed] {
        let chain_of = Chain::new([2, 4, 4, 16], &[conv(3, 16)], DType::F32);
        let weight = chain_of.params[0].as_tensor();
        let run = |times: usize| {
            with_implementation(implementation, || {
                let links = chain_of.links();
                let y = chain(chain_of.x.as_tensor(), &links).unwrap();
                let y = if times == 2 {
                    (&y + chain(chain_of.x.as_tensor(), &links).unwrap()).unwrap()
                } else {
                    y
                };
                gradients(&y.sum_all().unwrap()).unwrap().get(weight).unwrap().clone()
            })
        };
        assert!(difference(&run(2), &(run(1) * 2.0).unwrap()) < 1e-6);
    }
}

#[test]
fn two_backward_passes_give_the_same_gradients() {
    let chain_of = Chain::new([2, 4, 4, 16], &[conv(3, 16).leaky().averaged()], DType::F32);
    let weight = chain_of.params[0].as_tensor();
    let loss = || chain(chain_of.x.as_tensor(), &chain_of.links()).unwrap().sqr().unwrap().sum_all().unwrap();
    let once = loss();
    let gradient = || gradients(&once).unwrap().get(weight).unwrap().clone();
    let oracle = with_implementation(Implementation::Composed, || {
        gradients(&loss()).unwrap().get(weight).unwrap().clone()
    });
    for _ in 0..2 {
        assert!(difference(&gradient(), &oracle) < 2e-5);
    }
}

#[test]
fn a_shared_weight_and_transposed_inputs_get_the_composed_gradients() {
    let run = |implementation| {
        with_implementation(implementation, || {
            let chain_of = Chain::new([4, 6, 2, 16], &[conv(3, 16)], DType::F32);
            let link = chain_of.links().remove(0);
            // The input is transposed and so not contiguous, and neither is the gradient of the output.
            let x = chain_of.x.as_tensor().transpose(1, 2).unwrap();
            let weight = Var::from_tensor(&chain_of.params[0].as_tensor().transpose(0, 1).unwrap()).unwrap();
            let turned = weight.as_tensor().transpose(0, 1).unwrap();
            let links = [Link { weight: turned, ..link.clone() }, link];
            let y = chain(&x, &links).unwrap().transpose(1, 2).unwrap();
            let loss = (&y * normal("loss", y.dims(), y.dtype())).unwrap().sum_all().unwrap();
            let grads = gradients(&loss).unwrap();
            [
                chain_of.x.as_tensor(),
                weight.as_tensor(),
                chain_of.params[0].as_tensor(),
                chain_of.params[1].as_tensor(),
            ]
            .map(|t| grads.get(t).unwrap().contiguous().unwrap())
        })
    };
    for (fused, composed) in run(Implementation::Fused).iter().zip(&run(Implementation::Composed)) {
        assert!(difference(fused, composed) < 2e-5);
    }
}

#[test]
fn a_constant_bias_gets_no_gradient() {
    for implementation in [Implementation::Fused, Implementation::Composed] {
        with_implementation(implementation, || {
            let chain_of = Chain::new([2, 4, 4, 16], &[conv(3, 16)], DType::F32);
            let bias = chain_of.params[1].as_detached_tensor();
            let link = Link { bias: bias.clone(), ..chain_of.links().remove(0) };
            let y = chain(chain_of.x.as_tensor(), &[link]).unwrap();
            let grads = gradients(&y.sum_all().unwrap()).unwrap();
            assert!(grads.get(chain_of.params[0].as_tensor()).is_some() && grads.get(&bias).is_none());
        });
    }
}

#[test]
fn a_slope_of_zero_equals_the_composed_one() {
    let run = |implementation| {
        with_implementation(implementation, || {
            let chain_of = Chain::new([2, 8, 8, 16], &[conv(3, 16).leaky().averaged()], DType::F32);
            let link = Link { activation: Activation::LeakyRelu(0.0), ..chain_of.links().remove(0) };
            let y = chain(chain_of.x.as_tensor(), &[link]).unwrap();
            let grads = gradients(&y.sum_all().unwrap()).unwrap();
            [y.detach(), grads.get(chain_of.x.as_tensor()).unwrap().clone()]
        })
    };
    for (fused, composed) in run(Implementation::Fused).iter().zip(&run(Implementation::Composed)) {
        assert!(difference(fused, composed) < 2e-5);
    }
}

#[test]
fn chains_have_the_same_bits_for_any_number_of_threads() {
    // Narrow and wide layers in Winograd tiles, and a direct convolution.
    let wide = [
        conv(1, 16),
        conv(3, 48).leaky().averaged(),
        conv(3, 128).leaky().averaged(),
        conv(3, 64).leaky().upscaled(),
        conv(3, 3),
    ];
    // Whole images of 2x2, upscaled images with a mean after them, and two merged links.
    let mixed = [
        conv(1, 16),
        conv(3, 16).leaky().averaged(),
        conv(3, 32).leaky().averaged(),
        conv(3, 64).leaky(),
        conv(3, 32).leaky().upscaled(),
        conv(3, 16).leaky().upscaled().averaged(),
    ];
    // Numbers of channels that are not a multiple of a vector's lanes, on images so small that a task takes many of
    // them.
    let small = [conv(3, 6).leaky(), conv(3, 5).leaky().upscaled().averaged()];
    for (shape, convs) in [
        ([23, 16, 16, 1], &ENCODER[..]),
        ([23, 16, 16, 1], &wide[..]),
        ([64, 2, 2, 3], &small[..]),
        ([23, 8, 8, 3], &mixed[..]),
    ] {
        let chain_of = Chain::new(shape, convs, DType::F32);
        let bits = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let all = pool.install(|| chain_of.run(true)).into_iter().flatten();
            all.flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                .map(f32::to_bits)
                .collect::<Vec<_>>()
        };
        let one = bits(1);
        for threads in [2, 3, 5, 16, 40] {
            assert!(one == bits(threads), "{threads} threads differ from one");
        }
    }
}

#[test]
fn composed_chains_equal_finite_differences_in_f64() {
    let convs = [conv(1, 2), conv(3, 3).leaky().upscaled(), conv(3, 2).leaky().averaged()];
    let chain_of = Chain::new([2, 2, 4, 2], &convs, DType::F64);
    let analytic = chain_of.run(true);
    let loss = || -> f64 {
        let y = chain(chain_of.x.as_tensor(), &chain_of.links()).unwrap();
        (&y * normal("loss", y.dims(), y.dtype())).unwrap().sum_all().unwrap().to_scalar().unwrap()
    };
    for (i, var) in std::iter::once(&chain_of.x).chain(&chain_of.params).enumerate() {
        let flat = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let set = |values: &[f64]| {
            var.set(&Tensor::from_slice(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        };
        let numeric = central_differences(&flat, |values| {
            set(values);
            loss()
        });
        set(&flat);
        let numeric = Tensor::from_vec(numeric, var.shape(), &Device::Cpu).unwrap();
        let error = difference(analytic[i + 1].as_ref().unwrap(), &numeric);
        assert!(error < 1e-7, "value {i}: {error:e}");
    }
}

#[test]
fn chains_that_do_not_fit_are_refused() {
    let refused = |shape: [usize; 4], convs: &[Conv]| {
        let chain_of = Chain::new(shape, convs, DType::F32);
        chain(chain_of.x.as_tensor(), &chain_of.links()).is_err()
    };
    assert!(refused([1, 4, 4, 2], &[]));
    assert!(refused([1, 3, 4, 2], &[conv(3, 2).leaky().averaged()]));
    assert!(!refused([1, 3, 3, 2], &[conv(3, 2).leaky().upscaled().averaged()]));
    let one = Chain::new([1, 4, 4, 2], &[conv(3, 5).leaky()], DType::F32);
    let two = Chain::new([1, 4, 4, 2], &[conv(3, 2).leaky()], DType::F32);
    let links: Vec<Link> = one.links().into_iter().chain(two.links()).collect();
    assert!(chain(one.x.as_tensor(), &links).is_err(), "five channels into a kernel of two");
}

/// A number of channels: any small one, or a multiple of a vector's lanes.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..20, (1_usize..4).prop_map(|n| 16 * n)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Links of every kind in any order, without activation, so that rounding cannot change the side of a corner.
    #[test]
    fn any_chain_agrees(
        batch in 1_usize..10,
        height in 1_usize..5,
        width in 1_usize..5,
        cin in channels(),
        links in prop::collection::vec(
            (prop_oneof![Just(1_usize), Just(3), Just(5)], channels(), any::<bool>(), any::<bool>(), any::<bool>()),
            1..4,
        ),
        input: bool,
    ) {
        // An image is downscaled only if both sides are even.
        let (mut sides, mut convs): ([usize; 2], Vec<Conv>) = ([height, width], Vec::new());
        for (k, cout, up, down, trained) in links {
            sides = if up { sides.map(|s| 2 * s) } else { sides };
            let down = down && sides.iter().all(|s| s % 2 == 0);
            sides = if down { sides.map(|s| s / 2) } else { sides };
            convs.push(Conv { upscale: up, downscale: down, trained, ..conv(k, cout) });
        }
        prop_assume!(input || convs.iter().any(|conv| conv.trained));
        check([batch, height, width, cin], &convs, input, 1e-4);
    }
}
