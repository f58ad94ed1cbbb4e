//! Tensors as matrices with one example a row.

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// A matrix of finite numbers on the host.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// `tensor` `[rows, ...]`, each row flattened.
    ///
    /// # Errors
    /// If there is no row, a row is empty, or a number is not finite.
    pub(crate) fn new(what: &'static str, tensor: &Tensor) -> Result<Self> {
        let (rows, width) = match tensor.dims() {
            [] => (0, 0),
            [rows, rest @ ..] => (*rows, rest.iter().product()),
        };
        if rows == 0 || width == 0 {
            let wanted = "[rows, ...] with at least one row and one number a row".into();
            return Err(Error::Shape { what, wanted, given: tensor.dims().to_vec() });
        }
        let values =
            tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let rows = Self { values, width };
        match rows.iter().position(|row| row.iter().any(|v| !v.is_finite())) {
            Some(row) => Err(Error::NotFinite { what, row }),
            None => Ok(rows),
        }
    }

    /// Refuses labels that are not one a row.
    pub(crate) fn check_labels(&self, what: &'static str, labels: &[u32]) -> Result<()> {
        if labels.len() == self.len() {
            return Ok(());
        }
        Err(Error::Shape { what, wanted: format!("[{}], one a row", self.len()), given: vec![labels.len()] })
    }

    /// Refuses another width than `width`.
    pub(crate) fn check_width(&self, what: &'static str, width: usize) -> Result<()> {
        if self.width == width {
            return Ok(());
        }
        let wanted = format!("[rows, {width}] like those of the fit");
        Err(Error::Shape { what, wanted, given: vec![self.len(), self.width] })
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width)
    }

    /// The numbers, row after row.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// The numbers, row after row, to change.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The mean of each column; summed in `f64` in the order of the rows.
    pub(crate) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.iter() {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let n = self.len() as f64;
        for m in &mut mean {
            *m /= n;
        }
        mean
    }
}
