//! Property tests of the fused kernels against the composed implementation on random shapes. Every fused kernel
//! checks its bounds, so an access outside of a slice panics or shows as a difference. `chains.rs` does the same for
//! whole chains.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::{difference, on_every_isa};
use lerp_core::Draws;
use lerp_kernels::{
    Activation, Implementation, conv2d, downscale2, gradients, nearest, upscale2, with_implementation,
};
use proptest::prelude::*;

fn normal(name: &str, shape: &[usize]) -> Tensor {
    Draws::new(3, &Device::Cpu).normal(name, shape).unwrap()
}

/// Returns the output and gradients of `op`; the loss weights every output differently, by `weights`.
fn with_gradients(
    op: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[Tensor],
    weights: &Tensor,
) -> Vec<Tensor> {
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = op(&tensors).unwrap();
    let grads = gradients(&(&y * weights).unwrap().sum_all().unwrap()).unwrap();
    let all = tensors.iter().map(|t| grads.get(t).unwrap().clone());
    std::iter::once(y.detach()).chain(all).collect()
}

/// A number of channels: any small one, or a multiple of a vector's lanes.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..20, (1_usize..7).prop_map(|n| 16 * n)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions_agree(
        batch in 1_usize..10,
        height in 1_usize..12,
        width in 1_usize..12,
        k in prop_oneof![Just(1_usize), Just(3), Just(5)],
        cin in channels(),
        cout in channels(),
        leaky: bool,
    ) {
        let inputs = [
            normal("x", &[batch, height, width, cin]),
            normal("w", &[k, k, cin, cout]),
            normal("b", &[cout]),
        ];
        let activation = if leaky { Activation::LEAKY } else { Activation::Linear };
        let op = |t: &[Tensor]| conv2d(&t[0], &t[1], &t[2], activation);
        // Outputs so close to the leaky ReLU's corner that rounding decides their side are excluded from the loss.
        let before = with_implementation(Implementation::Composed, || conv2d(&inputs[0], &inputs[1], &inputs[2], Activation::Linear)).unwrap();
        let clear = before.abs().unwrap().gt(1e-3).unwrap().to_dtype(DType::F32).unwrap();
        let weights = (normal("loss", before.dims()) * clear).unwrap();
        let oracle = with_implementation(Implementation::Composed, || with_gradients(&op, &inputs, &weights));
        on_every_isa(|isa| {
            for (what, (a, b)) in ["y", "dx", "dw", "db"].iter().zip(with_gradients(&op, &inputs, &weights).iter().zip(&oracle)) {
                let error = difference(a, b);
                assert!(error < 1e-4, "{what} on {isa}: {error:e}");
            }
        });
    }

    #[test]
    fn resizing_agrees(batch in 1_usize..6, h in 1_usize..7, w in 1_usize..7, c in channels()) {
        let x = [normal("x", &[batch, 2 * h, 2 * w, c])];
        for op in [downscale2, upscale2] {
            let op = |t: &[Tensor]| op(&t[0]);
            let weights = normal("loss", op(&x).unwrap().dims());
            let oracle = with_implementation(Implementation::Composed, || with_gradients(&op, &x, &weights));
            for (a, b) in with_gradients(&op, &x, &weights).iter().zip(&oracle) {
                prop_assert!(difference(a, b) < 1e-6);
            }
        }
    }

    #[test]
    fn the_nearest_row_agrees(n in 1_usize..40, k in 1_usize..300, d in 1_usize..40) {
        let (x, table) = (normal("x", &[n, d]), normal("t", &[k, d]));
        let find = || nearest(&x, &table).unwrap().to_vec1::<u32>().unwrap();
        // If two rows are equally near up to rounding, either index is correct, so distances are compared.
        let distance = |found: &[u32]| -> Vec<f32> {
            let rows = table.index_select(&Tensor::new(found, &Device::Cpu).unwrap(), 0).unwrap();
            (&x - rows).unwrap().sqr().unwrap().sum(1).unwrap().to_vec1().unwrap()
        };
        let oracle = distance(&with_implementation(Implementation::Composed, find));
        on_every_isa(|isa| {
            for (a, b) in distance(&find()).iter().zip(&oracle) {
                assert!((a - b).abs() <= 1e-4 * b.max(1.0), "{isa}: {a} {b}");
            }
        });
    }
}
