//! Interpolation and classifier against values of the paper's own code.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{Tensor, Var};
use common::load;
use lerp_eval::{
    classifier::{accuracy, learning_rate, loss, per_example},
    interpolation::{linear, slerp},
};

/// Largest difference of two tensors over the largest recorded value.
fn relative(ours: &Tensor, recorded: &Tensor) -> f32 {
    assert_eq!(ours.dims(), recorded.dims());
    let largest = |x: Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    largest((ours - recorded).unwrap()) / largest(recorded.clone())
}

#[test]
fn interpolations_equal_the_references() {
    let golden = load("interpolation.safetensors");
    for network in ["lines", "colour"] {
        let get = |name: &str| &golden[&format!("{network}.{name}")];
        let (start, end) = (get("start"), get("end"));
        let both = [("linear", linear(start, end, 16)), ("slerp", slerp(start, end, 16))];
        for (name, ours) in both {
            let mut ours = ours.unwrap();
            assert_eq!(ours.dim(0).unwrap(), 16);
            if let Some(positions) = golden.get("positions") {
                ours = ours.index_select(positions, 0).unwrap();
            }
            assert_eq!(ours.dims(), get(name).dims());
            let difference = (ours - get(name)).unwrap().abs().unwrap().max_all().unwrap();
            let difference = difference.to_scalar::<f32>().unwrap();
            assert!(difference < 2e-5, "{network} {name}: {difference:e}");
        }
    }
}

#[test]
fn classifier_equals_the_references() {
    let golden = load("classifier_adam.safetensors");
    for (case, smoothing) in [("plain", 0.0), ("smoothed", 0.1)] {
        let get = |name: &str| &golden[&format!("{case}.{name}")];
        let weight = Var::from_tensor(get("weight")).unwrap();
        let bias = Var::from_tensor(get("bias")).unwrap();
        // Recorded channels first, flattened channels last.
        let x = get("x").permute((0, 2, 3, 1)).unwrap().flatten_from(1).unwrap();
        let logits = x.matmul(&weight).unwrap().broadcast_add(&bias).unwrap();
        let labels = get("label").argmax(1).unwrap();

        let close = |name: &str, ours: &Tensor| {
            let difference = relative(ours, get(name));
            assert!(difference < 1e-5, "{case} {name}: {difference:e}");
        };
        close("loss_per_example", &per_example(&logits, &labels, smoothing).unwrap());
        let loss = loss(&logits, &labels, smoothing).unwrap();
        assert_eq!(loss.rank(), 0);
        close("loss", &loss.unsqueeze(0).unwrap());
        let gradients = loss.backward().unwrap();
        close("grad_weight", gradients.get(&weight).unwrap());
        close("grad_bias", gradients.get(&bias).unwrap());

        let chosen = get("argmax").to_vec1::<i64>().unwrap();
        let classes = labels.to_vec1::<u32>().unwrap();
        let right = chosen.iter().zip(&classes).filter(|(a, b)| **a == i64::from(**b)).count();
        assert_eq!(accuracy(&logits, &labels).unwrap(), right as f64 / chosen.len() as f64);
        let chosen: Vec<u32> = chosen.into_iter().map(|c| c as u32).collect();
        let chosen = Tensor::new(chosen, labels.device()).unwrap();
        assert_eq!(accuracy(&logits, &chosen).unwrap(), 1.0, "every choice is the reference's");
    }
}

#[test]
fn learning_rates_equal_the_references() {
    let golden = load("classifier_adam.safetensors");
    let steps = golden["lr_schedule.step"].to_vec1::<i64>().unwrap();
    let rates = golden["lr_schedule.lr"].to_vec1::<f32>().unwrap();
    for (step, rate) in steps.into_iter().zip(rates) {
        let ours = learning_rate(step as u64);
        assert!((ours / f64::from(rate) - 1.0).abs() < 1e-5, "step {step}: {ours:e} {rate:e}");
    }
}
