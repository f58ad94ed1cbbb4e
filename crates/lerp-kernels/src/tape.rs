//! Differentiation of a loss, and the tape that collects the gradients of parameters from this crate's operations.
//!
//! candle's `Tensor::backward` calls the backward pass of every custom operation with the gradient of its result, and
//! accepts the gradients of at most three arguments, each of which it adds to a tensor of zeros. A chain of
//! convolutions has about twenty parameters. Therefore its backward pass puts their gradients onto this tape, and
//! [`gradients`] moves them into the gradient store unchanged; on a GPU this also saves two launches per parameter.
//!
//! A tape belongs to one call of [`gradients`]. Operations find it in a thread-local variable because `CustomOp2::bwd`
//! has no argument for it, and because candle 0.11.1 keeps `Tensor::op` private, without which no code outside candle
//! can traverse a graph of tensors.

use std::cell::RefCell;

use candle_core::{Result, Tensor, backprop::GradStore};

/// Parameters and their gradients, in the order in which they were put onto the tape.
#[derive(Default)]
struct Tape(Vec<(Tensor, Tensor)>);

thread_local! {
    /// The tape of the loss that is being differentiated on this thread.
    static CURRENT: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

/// The tape of an enclosing call of [`gradients`]; dropping this restores it, also if differentiation fails or panics.
struct Outer(Option<Tape>);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Returns the gradients of a scalar with respect to all variables that it depends on. A loss that contains this
/// crate's convolutions or dense layers must be differentiated by this function; `Tensor::backward` fails on their
/// fused kernels.
///
/// # Shapes
/// `loss` `[]`.
///
/// # Errors
/// If candle's backward pass or an addition of gradients fails.
pub fn gradients(loss: &Tensor) -> Result<GradStore> {
    let outer = Outer(CURRENT.replace(Some(Tape::default())));
    let mut store = loss.backward()?;
    let tape = CURRENT.take().unwrap_or_default();
    drop(outer);
    for (parameter, gradient) in tape.0 {
        let sum = match store.remove(&parameter) {
            Some(other) => (other + gradient)?,
            None => gradient,
        };
        store.insert(&parameter, sum);
    }
    Ok(store)
}

/// Whether a tensor is trained but is not a variable itself, being computed from variables. candle must continue the
/// backward pass from its gradient.
pub(crate) fn is_computed(tensor: &Tensor) -> bool {
    tensor.track_op() && !tensor.is_variable()
}

/// Puts an operation's gradient for one of its parameters onto the tape.
///
/// # Shapes
/// `gradient` has the shape of `parameter`.
///
/// # Errors
/// If no call of [`gradients`] is running on this thread.
pub(crate) fn put(parameter: &Tensor, gradient: Tensor) -> Result<()> {
    CURRENT.with_borrow_mut(|tape| match tape {
        Some(tape) => {
            tape.0.push((parameter.clone(), gradient));
            Ok(())
        }
        None => candle_core::bail!(
            "the gradients of convolutions and dense layers come from lerp_kernels::gradients(&loss), not from \
             loss.backward()"
        ),
    })
}

/// Takes the gradient of a parameter that is computed from variables off the tape, so that candle continues the
/// backward pass from there. Returns `None` if the tape has no gradient for it.
///
/// # Shapes
/// The result has the shape of `parameter`.
pub(crate) fn take(parameter: &Tensor) -> Result<Option<Tensor>> {
    let found = CURRENT.with_borrow_mut(|tape| match tape {
        Some(Tape(entries)) => entries.extract_if(.., |(other, _)| other.id() == parameter.id()).collect(),
        None => Vec::new(),
    });
    let mut gradients = found.into_iter().map(|(_, gradient)| gradient);
    let Some(first) = gradients.next() else { return Ok(None) };
    gradients.try_fold(first, |sum, gradient| sum + gradient).map(Some)
}

#[cfg(test)]
mod tests {
    use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Var};

    use super::*;

    /// An identity operation whose backward pass calls a function and then puts the argument's gradient onto the tape.
    struct PutsOnTape(Box<dyn Fn() -> Result<()> + Send + Sync>);

    impl CustomOp1 for PutsOnTape {
        fn name(&self) -> &'static str {
            "puts-on-tape"
        }

        fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
            Ok((CpuStorage::F64(storage.as_slice::<f64>()?.to_vec()), layout.shape().clone()))
        }

        fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
            (self.0)()?;
            put(arg, grad.clone())?;
            Ok(None)
        }
    }

    fn with_callback(x: &Var, meanwhile: impl Fn() -> Result<()> + Send + Sync + 'static) -> Tensor {
        x.as_tensor().apply_op1(PutsOnTape(Box::new(meanwhile))).unwrap()
    }

    fn put_on_tape(x: &Var) -> Tensor {
        with_callback(x, || Ok(()))
    }

    fn values(store: &GradStore, x: &Var) -> Vec<f64> {
        store.get(x).unwrap().to_vec1::<f64>().unwrap()
    }

    #[test]
    fn gradients_on_the_tape_add_to_those_that_candle_returns() {
        let x = Var::new(&[1.0, 2.0], &Device::Cpu).unwrap();
        // The variable is used three times, once of them outside of the operation.
        let loss = (put_on_tape(&x).sqr().unwrap().sum_all().unwrap()
            + (put_on_tape(&x) * 3.0).unwrap().sum_all().unwrap())
        .unwrap();
        let loss = (loss + x.sum_all().unwrap()).unwrap();
        assert_eq!(values(&gradients(&loss).unwrap(), &x), [6.0, 8.0]);
        let error = loss.backward().unwrap_err().to_string();
        assert!(error.contains("lerp_kernels::gradients(&loss)"), "{error}");
    }

    #[test]
    fn a_nested_call_has_its_own_tape() {
        let (x, z) = (Var::new(&[1.0, 2.0], &Device::Cpu).unwrap(), Var::new(&[5.0], &Device::Cpu).unwrap());
        let (inner, of) = (put_on_tape(&z).sum_all().unwrap(), z.clone());
        let within = with_callback(&x, move || {
            assert_eq!(values(&gradients(&inner)?, &of), [1.0]);
            Ok(())
        });
        // Whatever order candle's backward pass takes, the tape receives a gradient both before and after the inner
        // loss.
        let loss = (put_on_tape(&x) + within).unwrap().sum_all().unwrap();
        let loss = (loss + put_on_tape(&x).sum_all().unwrap()).unwrap();
        let store = gradients(&loss).unwrap();
        assert!(store.get(&z).is_none());
        assert_eq!(values(&store, &x), [3.0, 3.0]);
    }

    #[test]
    fn a_failed_call_leaves_no_tape_behind() {
        let x = Var::new(&[1.0, 2.0], &Device::Cpu).unwrap();
        let fails = with_callback(&x, || candle_core::bail!("no gradient")).sum_all().unwrap();
        assert!(gradients(&fails).unwrap_err().to_string().contains("no gradient"));
        assert!(put_on_tape(&x).sum_all().unwrap().backward().is_err());
    }
}
