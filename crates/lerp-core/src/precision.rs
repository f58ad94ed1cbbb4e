//! How exactly a run multiplies.

use serde::{Deserialize, Serialize};

/// How exactly convolutions multiply: part of what decides a run's numbers, so runs of two precisions are never averaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in `f32`.
    #[default]
    F32,
    /// Factors of the products in convolutions are rounded to TF32 (10 bits after the point), on an NVIDIA GPU's tensor
    /// cores. Sums are in `f32` all the same, and products of matrices in full `f32`.
    Tf32,
}

impl Precision {
    /// Whether it is full `f32`, which records leave out.
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
