//! Arrays in `NumPy`'s format (`.npy`, versions 1 to 3). Only arrays of numbers are read: nothing is ever
//! unpickled.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::View;

use crate::{Error, Result};

const MAGIC: &[u8] = b"\x93NUMPY";

/// The maximum size in bytes of an array's header.
const MAX_HEADER: usize = 1 << 16;

/// The maximum number of dimensions of an array.
const MAX_DIMENSIONS: usize = 16;

/// Returns an array of numbers as the bytes of an `.npy` file.
///
/// # Shapes
/// Any shape; `f32` or `i64`.
pub fn bytes(tensor: &Tensor) -> Vec<u8> {
    let kind = if tensor.dtype() == DType::I64 { "<i8" } else { "<f4" };
    let sizes: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({},), }}", sizes.join(", "));
    // The header, including its line end, ends at a multiple of 64 bytes.
    let padded = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend((padded as u16).to_le_bytes());
    out.extend(format!("{header:<width$}\n", width = padded - 1).into_bytes());
    out.extend_from_slice(&View::data(tensor));
    out
}

/// Parses `bytes`, the content of the `.npy` file at `path`, and returns the array as `f32` on the CPU.
///
/// # Errors
/// If they are not an array of floating-point numbers in C order.
pub fn tensor(path: &Path, bytes: &[u8]) -> Result<Tensor> {
    let bad = |problem: String| Error::bad_file(path, problem);
    let header = bytes.strip_prefix(MAGIC).and_then(split_header).ok_or_else(|| {
        bad("is no .npy file (pickles and archives are not read); write it with np.save".into())
    })?;
    let (text, data) = header;
    // Programs other than `NumPy` may use double quotes.
    let text = &text.replace('"', "'");
    let damaged = |what: &str| bad(format!("has a damaged header ({what}); write it with np.save"));
    let kind = quoted(text, "descr").ok_or_else(|| damaged("no type"))?;
    let Some(order) = value(text, "fortran_order") else { return Err(damaged("no order")) };
    if order.starts_with("True") {
        return Err(bad("is in Fortran order; write np.ascontiguousarray(x)".into()));
    }
    let (dtype, size) = match kind {
        "<f4" => (DType::F32, 4),
        "<f8" => (DType::F64, 8),
        "<f2" => (DType::F16, 2),
        kind if kind.contains('O') => {
            return Err(bad(
                "holds Python objects, which are not read (they are pickled); write an array of \
                            numbers of one shape: np.asarray(x, dtype=np.float32)"
                    .into(),
            ));
        }
        kind => {
            return Err(bad(format!(
                "holds numbers of type '{kind}'; write x.astype('<f4'), images in [-1, 1]"
            )));
        }
    };
    let shape = shape(text).ok_or_else(|| damaged("no shape"))?;
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let wanted = count.and_then(|count| count.checked_mul(size));
    if wanted != Some(data.len()) {
        return Err(bad(format!(
            "is cut short or damaged: {} bytes for an array {shape:?} of '{kind}'",
            data.len()
        )));
    }
    Ok(Tensor::from_raw_buffer(data, dtype, &shape, &Device::Cpu)?.to_dtype(DType::F32)?)
}

/// Splits the rest of a file, after the magic number, into the header's text and the data.
fn split_header(rest: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = match version[0] {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length).filter(|_| length <= MAX_HEADER)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// Returns the text that follows a key in the header, which is a Python dictionary.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let after = header.split_once(&format!("'{key}':"))?.1;
    Some(after.trim_start())
}

/// Returns the quoted text after a key. The type of a structured array is a list instead, for which a placeholder
/// is returned.
fn quoted<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let value = value(header, key)?;
    value.strip_prefix('\'').map_or(Some("of several fields"), |text| Some(text.split_once('\'')?.0))
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let sizes = value(header, "shape")?.strip_prefix('(')?.split_once(')')?.0;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    (sizes.len() <= MAX_DIMENSIONS).then_some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> std::result::Result<Tensor, String> {
        tensor(Path::new("x.npy"), bytes).map_err(|e| e.to_string())
    }

    fn file(kind: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.into_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn arrays_survive_a_round_trip() {
        for dims in [&[2, 3][..], &[6], &[1, 2, 3, 1]] {
            let x = Tensor::arange(0_f32, 6.0, &Device::Cpu).unwrap().reshape(dims).unwrap();
            let bytes = bytes(&x);
            assert_eq!((bytes.len() - 24) % 64, 0);
            let back = read(&bytes).unwrap();
            assert_eq!(back.dims(), dims);
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(&back), values(&x));
        }
        let double = read(&file("'<f8'", "False", "(1,)", &2.5_f64.to_le_bytes())).unwrap();
        assert_eq!(double.to_vec1::<f32>().unwrap(), [2.5]);
        let quoted = String::from_utf8(file("'<f4'", "False", "(0,)", &[])[10..].to_vec()).unwrap();
        let quoted = quoted.replace('\'', "\"");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((quoted.len() as u16).to_le_bytes());
        bytes.extend(quoted.into_bytes());
        assert_eq!(read(&bytes).unwrap().dims(), [0]);
    }

    #[test]
    fn files_that_are_no_arrays_of_numbers_are_refused_with_advice() {
        let one = 1.0_f32.to_le_bytes();
        for (bytes, wanted) in [
            (b"\x80\x04\x95pickle".to_vec(), "x.npy is no .npy file (pickles"),
            (b"PK\x03\x04".to_vec(), "is no .npy file"),
            (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "is no .npy file"),
            (b"\x93NUMPY\x09\x00\x01\x00{".to_vec(), "is no .npy file"),
            (file("'|O'", "False", "(1,)", b"\x80\x04N."), "holds Python objects, which are not read"),
            (file("'|u1'", "False", "(4,)", &one), "holds numbers of type '|u1'; write x.astype('<f4')"),
            (file("'>f4'", "False", "(1,)", &one), "holds numbers of type '>f4'"),
            (file("[('a', '<f4')]", "False", "(1,)", &one), "of type 'of several fields'"),
            (file("'<f4'", "True", "(1,)", &one), "is in Fortran order"),
            (file("'<f4'", "False", "(2,)", &one), "4 bytes for an array [2] of '<f4'"),
            (file("'<f4'", "False", "(4294967296, 4294967296, 4)", &one), "is cut short or damaged"),
            (file("'<f4'", "False", "(-1,)", &one), "has a damaged header (no shape)"),
            (file("'<f4'", "False", "1", &one), "has a damaged header (no shape)"),
        ] {
            let message = read(&bytes).unwrap_err();
            assert!(message.contains(wanted), "{message}");
        }
    }
}
