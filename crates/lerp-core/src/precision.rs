//! The precision of the multiplications in convolutions.

use serde::{Deserialize, Serialize};

/// The precision with which convolutions multiply. It affects the results, so runs of different precisions are
/// never averaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// All operations are in `f32`.
    #[default]
    F32,
    /// The factors of the products in convolutions are rounded to TF32 (10 bits of mantissa), for the tensor
    /// cores of an NVIDIA GPU. Sums are still in `f32`, and so are products of matrices.
    Tf32,
}

impl Precision {
    /// Whether the precision is full `f32`, which is left out of records.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
        })
    }
}
