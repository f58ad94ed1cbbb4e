//! Differentiation of a loss, with a short way for parameters.
//!
//! candle adds every gradient to a tensor of zeros first. An operation that has the whole gradient of a parameter may
//! [`leave`] it here instead, and [`gradients`] puts it into the store as it is: on a GPU this saves two launches for
//! each parameter.

use std::cell::RefCell;

use candle_core::{Result, Tensor, backprop::GradStore};

thread_local! {
    /// What was left while a loss is differentiated on this thread; none while none is.
    static LEFT: RefCell<Option<Vec<(Tensor, Tensor)>>> = const { RefCell::new(None) };
}

/// Takes down what was left, also if differentiation fails or panics.
struct Collect(Option<Vec<(Tensor, Tensor)>>);

impl Drop for Collect {
    fn drop(&mut self) {
        LEFT.set(self.0.take());
    }
}

/// The gradients of a scalar, as `Tensor::backward` gives them, but sooner.
///
/// # Shapes
/// `loss` `[]`.
///
/// # Errors
/// If the tensor library fails.
pub fn gradients(loss: &Tensor) -> Result<GradStore> {
    let outer = Collect(LEFT.replace(Some(Vec::new())));
    let mut store = loss.backward()?;
    let left = LEFT.take().unwrap_or_default();
    drop(outer);
    for (parameter, gradient) in left {
        let sum = match store.remove(&parameter) {
            Some(other) => (other + gradient)?,
            None => gradient,
        };
        store.insert(&parameter, sum);
    }
    Ok(store)
}

/// Leaves the gradient of a parameter for [`gradients`]; gives it back where nobody collects, or where the parameter is no
/// variable but computed from some, so that an operation's backward pass returns it to candle as usual.
///
/// # Shapes
/// `gradient` has the shape of `parameter`.
pub fn leave(parameter: &Tensor, gradient: Tensor) -> Option<Tensor> {
    LEFT.with_borrow_mut(|left| match left {
        Some(left) if parameter.is_variable() => {
            left.push((parameter.clone(), gradient));
            None
        }
        _ => Some(gradient),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Var};

    use super::*;

    /// The identity, which leaves the gradient of its argument.
    struct Leaving;

    impl CustomOp1 for Leaving {
        fn name(&self) -> &'static str {
            "leaving"
        }

        fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            Ok((CpuStorage::F64(storage.as_slice::<f64>()?.to_vec()), layout.shape().clone()))
        }

        fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
            Ok(leave(arg, grad.clone()))
        }
    }

    #[test]
    fn what_is_left_counts_like_what_is_returned() {
        let x = Var::new(&[1.0, 2.0], &Device::Cpu).unwrap();
        let y = x.as_tensor();
        // Met three times, once outside of the operation.
        let loss = (y.apply_op1(Leaving).unwrap().sqr().unwrap().sum_all().unwrap()
            + (y.apply_op1(Leaving).unwrap() * 3.0).unwrap().sum_all().unwrap())
        .unwrap();
        let loss = (loss + y.sum_all().unwrap()).unwrap();
        for store in [gradients(&loss).unwrap(), loss.backward().unwrap()] {
            assert_eq!(store.get(&x).unwrap().to_vec1::<f64>().unwrap(), [6.0, 8.0]);
        }
    }

    #[test]
    fn what_is_computed_from_a_variable_passes_its_gradient_on() {
        let x = Var::new(&[1.0, 2.0], &Device::Cpu).unwrap();
        let doubled = (x.as_tensor() * 2.0).unwrap();
        let store = gradients(&doubled.apply_op1(Leaving).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(store.get(&x).unwrap().to_vec1::<f64>().unwrap(), [2.0, 2.0]);
    }
}
