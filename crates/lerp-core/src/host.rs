//! Copies numbers from a device to the host as `f64`. They are moved to the CPU before they are cast, because
//! not every device supports `f64` (candle's Metal backend has no cast to it).

use candle_core::{DType, Device, Result, Tensor};

/// Copies a tensor to the CPU as `f64`. Waits for the tensor's device.
///
/// # Shapes
/// `tensor` of any shape; the result has the same shape.
pub fn on_host(tensor: &Tensor) -> Result<Tensor> {
    tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64)
}

/// Returns the number in a scalar tensor. Waits for the tensor's device.
///
/// # Shapes
/// `tensor` `[]`.
///
/// # Examples
/// ```
/// use candle_core::{Device, Tensor};
///
/// let loss = Tensor::new(0.5_f32, &Device::Cpu)?;
/// assert_eq!(lerp_core::scalar(&loss)?, 0.5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn scalar(tensor: &Tensor) -> Result<f64> {
    on_host(tensor)?.to_scalar()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_are_the_same_on_the_host() {
        let one = |tensor: Tensor| scalar(&tensor).unwrap();
        assert_eq!(one(Tensor::new(0.1_f32, &Device::Cpu).unwrap()), f64::from(0.1_f32));
        assert_eq!(one(Tensor::new(0.1_f64, &Device::Cpu).unwrap()), 0.1);
        assert_eq!(one(Tensor::new(7_u32, &Device::Cpu).unwrap()), 7.0);
        let rows = on_host(&Tensor::new(&[[1_f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(rows.to_vec2::<f64>().unwrap(), [[1.0, 2.0], [3.0, 4.0]]);
        assert!(scalar(&rows).is_err(), "four numbers are not one");
    }
}
