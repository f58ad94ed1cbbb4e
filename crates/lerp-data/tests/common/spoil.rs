//! Damages files at random.

use proptest::prelude::*;

/// Truncates a file to the fraction `keep`, and changes some of its bytes.
pub fn spoil(bytes: &[u8], keep: f64, changes: &[(f64, u8)]) -> Vec<u8> {
    let mut bytes = bytes[..(bytes.len() as f64 * keep) as usize].to_vec();
    for (share, value) in changes {
        let index = (bytes.len() as f64 * share) as usize;
        if let Some(byte) = bytes.get_mut(index) {
            *byte = *value;
        }
    }
    bytes
}

/// A strategy for the arguments of [`spoil`].
pub fn spoiled() -> impl Strategy<Value = (f64, Vec<(f64, u8)>)> {
    let keep = prop_oneof![3 => Just(1.0), 1 => 0.0..1.0];
    // Two thirds of the changes are at the beginning and at the end, where formats store sizes.
    let share = prop_oneof![0.0..1.0, 0.0..0.02, 0.9..1.0];
    (keep, prop::collection::vec((share, any::<u8>()), 0..6))
}
