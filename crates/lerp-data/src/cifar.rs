//! Reads CIFAR-10's binary batches (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of a label byte and
//! the red, green and blue planes.

use std::path::Path;

use crate::{
    Result,
    error::{Error, Fault},
    resize::SIDE,
    tree,
};

const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;

/// Reads the images of the file at `path`, and appends their labels to `labels`.
///
/// # Shapes
/// Pixels `[n, 32, 32, 3]`, labels `[n]`.
pub(crate) fn read(path: &Path, labels: &mut Vec<u32>) -> Result<Vec<u8>> {
    let bytes = tree::read(path).map_err(|problem| Error::Io { file: path.into(), problem })?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        let expected = format!("records of {RECORD} bytes");
        return Err(Fault::new(expected, format!("{} bytes in all", bytes.len())).at(path));
    }
    let mut pixels = Vec::with_capacity(bytes.len());
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let (label, planes) = (record[0], &record[1..]);
        if label > 9 {
            return Err(Fault::new("labels 0 to 9", format!("{label} in record {index}")).at(path));
        }
        labels.push(label.into());
        pixels.extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    Ok(pixels)
}
