//! Tensors as matrices on the host with one example per row.

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

/// Features or latents of images, with the class of each image.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// The features, `[images, ...]`, of any floating type, on any device.
    pub features: &'a Tensor,
    /// One label for each image.
    pub labels: &'a [u32],
}

/// A matrix of finite numbers on the host, as `f32`, one example per row.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    /// Copies a tensor `[rows, ...]`, with each row flattened.
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

    /// Checks that there is one label per row.
    pub(crate) fn check_labels(&self, what: &'static str, labels: &[u32]) -> Result<()> {
        if labels.len() == self.len() {
            return Ok(());
        }
        Err(Error::Shape { what, wanted: format!("[{}], one a row", self.len()), given: vec![labels.len()] })
    }

    /// Checks that the width is `width`.
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

    /// Returns the numbers, row after row.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the numbers, row after row, mutably.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Returns the mean of each column, summed in `f64` in the order of the rows.
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

/// A matrix of finite numbers on the host, as `f64`, one example per row.
#[derive(Debug, Clone)]
pub(crate) struct Features {
    /// The numbers, row after row.
    pub values: Vec<f64>,
    /// Number of columns.
    pub width: usize,
}

impl Features {
    /// Copies a tensor `[rows, width]`, of any floating type and on any device.
    ///
    /// # Errors
    /// If the tensor is not a matrix, has fewer than `least` rows or no column, or a number is not finite.
    pub(crate) fn new(what: &'static str, tensor: &Tensor, least: usize) -> Result<Self> {
        let width = match tensor.dims() {
            [rows, width] if *rows >= least && *width > 0 => *width,
            given => {
                let wanted = format!("[rows, width], of which there are at least {least} and 1");
                return Err(Error::Shape { what, wanted, given: given.to_vec() });
            }
        };
        let values: Vec<f64> = lerp_core::on_host(tensor)?.flatten_all()?.to_vec1()?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(Error::NotFinite { what, row: index / width }),
            None => Ok(Self { values, width }),
        }
    }

    /// Checks that the width is `width`.
    pub(crate) fn check_width(&self, what: &'static str, width: usize) -> Result<()> {
        if self.width == width {
            return Ok(());
        }
        let wanted = format!("[rows, {width}], as wide as what they are compared to");
        Err(Error::Shape { what, wanted, given: vec![self.len(), self.width] })
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.width
    }
}
